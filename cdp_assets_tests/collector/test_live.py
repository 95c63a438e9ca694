"""Definitions that are changed, hurt or gone while events are taken."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from cdp_assets.deployment.live import Live, mistakes
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.settings import Settings
from cdp_assets_tests.collector.serving import DEFS, KEY, serving, write_defs

BLOCKING = """\
type: cdp_assets.TrackingPlan
attributes:
  unplanned_events: block
  events: {Known: {}}
"""
MISTAKE = "type: cdp_assets.Traits\nattributes: {nonsense: 1}\n"
EVENT = b'{"type": "track", "event": "Other", "userId": "u"}'


@pytest.fixture
def defs(tmp_path: Path) -> Path:
    web = DEFS + "  tracking_plan: plan\n"
    return write_defs(tmp_path / "defs", {"web": web, "plan": BLOCKING})


@pytest.fixture
def read(tmp_path: Path, defs: Path) -> Callable[[], Live]:
    """What a worker that starts now knows."""
    return lambda: Live(Settings(home=tmp_path / "home", defs=defs), seconds=3600)


def known(live: Live, key: str = KEY) -> bool:
    return live.ring is not None and live.ring.find(key) is not None


def rejected(live: Live) -> list[str]:
    return [item.reason for item in live.verdicts.of("web", "track", EVENT, None).rejected]


def test_a_mistake_elsewhere_stops_no_source_and_no_new_key(
    defs: Path, read: Callable[[], Live]
) -> None:
    running = read()
    write_defs(defs, {"other": MISTAKE, "web": DEFS.replace(KEY, "another_key")})
    running.read()
    for live in (running, read()):
        assert known(live, "another_key")
        assert not known(live), "a key that was replaced counts no more"
    assert rejected(running), "the last plan without a mistake"
    assert not rejected(read()), "none is known: what came is judged when it is ingested"


@pytest.mark.parametrize("text", [MISTAKE, DEFS.replace(KEY, "'{{ env.NOT_SET }}'"), None])
def test_a_source_with_a_mistake_is_as_it_was(
    defs: Path, read: Callable[[], Live], text: str | None
) -> None:
    running = read()
    if text is None:
        shutil.rmtree(defs)
    else:
        write_defs(defs, {"web": text})
    running.read()
    for live in (running, read()):
        assert known(live)
        assert live.ring is not None
        assert live.ring.public[KEY].origins == ("https://shop.example", "https://*.shop.example")


def test_a_source_that_was_taken_away_is_no_more(defs: Path, read: Callable[[], Live]) -> None:
    read()
    shutil.rmtree(defs / "web")
    write_defs(defs, {"other": MISTAKE})
    assert not known(read())


def test_a_changed_plan_counts_without_a_restart(defs: Path, read: Callable[[], Live]) -> None:
    live = read()
    assert rejected(live)
    write_defs(defs, {"plan": BLOCKING.replace("Known", "Other")})
    live.read()
    assert not rejected(live)


def test_a_changed_schema_counts_without_a_restart(defs: Path, read: Callable[[], Live]) -> None:
    schema = {"type": "object", "required": ["a"]}
    plan = BLOCKING.replace("{Known: {}}", "{Other: {schema: other.json, violations: block}}")
    write_defs(defs, {"plan": plan})
    file = defs / "plan" / "other.json"
    file.write_text(json.dumps(schema))
    live = read()
    assert rejected(live)
    file.write_text(json.dumps({"type": "object"}))
    live.read()
    assert not rejected(live)


def test_a_worker_that_is_replaced_while_a_definition_is_wrong(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as served:
        write_defs(served.defs, {"other": MISTAKE})
        (worker,) = served.workers()
        os.kill(worker, signal.SIGKILL)
        event = {**json.loads(EVENT), "writeKey": KEY}
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.1)
            with contextlib.suppress(requests.RequestException):
                answer = requests.post(f"{served.url}/v1/t", json=event, timeout=5)
                if answer.status_code == 200 and worker not in served.workers():
                    return
    raise AssertionError("no worker took the place of the one that was killed")


def test_without_any_source_the_mistakes_are_told(tmp_path: Path) -> None:
    defs = write_defs(tmp_path / "defs", {"web": MISTAKE})
    with pytest.raises(ConfigurationError, match="nonsense"):
        mistakes(Settings(home=tmp_path / "home", defs=defs))
    write_defs(defs, {"web": DEFS, "other": MISTAKE})
    said = mistakes(Settings(home=tmp_path / "home", defs=defs))
    assert "nonsense" in " ".join(said)
