"""Killed between any two commits and run again: the tables of a run that nothing disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdp_assets.events.replay import replay
from cdp_assets.lake import Lake
from cdp_assets.raw import quarantine
from cdp_assets_tests.events.world import (
    NOW,
    PROPERTIES,
    VALUES,
    content,
    event,
    line,
    run,
    source,
    table,
    write,
)

CHILD = """
import sys
from pathlib import Path
from cdp_assets.lake import Lake
from cdp_assets_tests.events.world import NOW, run, source
run(Lake(Path(sys.argv[1]), clock=lambda: NOW), source(Path(sys.argv[2])), chunk_rows=6)
"""
INGEST = [
    pytest.param("ingest:after-quarantine", marks=pytest.mark.slow),
    "ingest:after-typed",
    "ingest:before-events",
    "ingest:after-events",
    pytest.param("ingest:before-files", marks=pytest.mark.slow),
    pytest.param("ingest:after-files", marks=pytest.mark.slow),
]
REBUILD = [
    "rebuild:after-part",
    "rebuild:after-truncate",
    pytest.param("rebuild:before-catalogue", marks=pytest.mark.slow),
]


def lines(first: int, last: int) -> list[bytes]:
    made = []
    for number in range(first, last):
        made.append(line(event(number)))
        traits = {"email": f"{number // 3}@x"}
        made.append(line(event(number, type="identify", messageId=f"i{number}", traits=traits)))
    return [*made, b"{bad", made[0], line(event(first, messageId=None))]


def killed(root: Path, folder: Path, point: str) -> int:
    environment = {**os.environ, "CDP_CRASH_AT": point}
    command = [sys.executable, "-c", CHILD, str(root), str(folder)]
    return subprocess.run(command, env=environment, check=False).returncode


@pytest.mark.parametrize("point", INGEST)
def test_a_killed_ingest_leaves_no_trace(point: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    lake, calm = Lake(tmp_path / "lake"), Lake(tmp_path / "calm")
    write(folder, "a.jsonl", lines(0, 4))
    for each in (lake, calm):
        run(each, source(folder))
    write(folder, "b.jsonl", lines(3, 9))
    write(folder, "c.jsonl", lines(9, 12))
    assert killed(lake.root, folder, point) == 137
    run(lake, source(folder), chunk_rows=6)
    run(calm, source(folder))
    assert content(lake) == content(calm)
    for key in ("raw/quarantine", "raw/files"):
        ours, theirs = table(lake, key), table(calm, key)
        assert sorted(ours.rows(), key=repr) == sorted(theirs.rows(), key=repr)


@pytest.mark.parametrize("point", REBUILD)
def test_a_killed_rebuild_is_done_again(point: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    lake, calm = Lake(tmp_path / "lake"), Lake(tmp_path / "calm")
    write(folder, "a.jsonl", lines(0, 9))
    old = {"Order Completed": {"currency": PROPERTIES["Order Completed"]["currency"]}}
    run(lake, source(folder), properties=old, values=["events.traits.plan"])
    assert killed(lake.root, folder, point) == 137
    # back to the old names in between: what was half done must not pass for whole
    run(lake, source(folder), properties=old, values=["events.traits.plan"])
    run(calm, source(folder), properties=old, values=["events.traits.plan"])
    assert table(lake, "events/order_completed").select("message_id", "currency").sort(
        "message_id"
    ).equals(table(calm, "events/order_completed").sort("message_id").select(
        "message_id", "currency"))  # fmt: skip
    run(lake, source(folder))
    run(calm, source(folder))
    assert content(lake) == content(calm)


@pytest.mark.slow
def test_killed_at_random_and_run_again(tmp_path: Path) -> None:
    import random
    import time

    folder = tmp_path / "in"
    write(folder, "a.jsonl", [line(event(number)) for number in range(3_000)])
    calm, lake = Lake(tmp_path / "calm"), Lake(tmp_path / "lake")
    run(calm, source(folder))
    dice = random.Random(7)
    command = [sys.executable, "-c", CHILD.replace("=6)", "=100)"), str(lake.root), str(folder)]
    for _ in range(12):
        child = subprocess.Popen(command)
        time.sleep(0.8 + 2 * dice.random())
        child.kill()
        child.wait()
    run(lake, source(folder))
    assert content(lake) == content(calm)


def test_replay_stores_what_is_an_event_now(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder, "a.jsonl", [line(event(1)), line(event(2, messageId=None)), b"{bad"])
    good = Lake(tmp_path / "good", clock=lambda: NOW)
    run(good, source(folder))
    # as if an earlier version had refused every line
    sha256 = table(good, "events")["origin"][0]
    refused = [
        quarantine.Refusal(number, "not_json", "too strict", text)
        for number, text in enumerate((folder / "a.jsonl").read_bytes().splitlines(), 1)
    ]
    quarantine.add(lake, quarantine.frame("events/app", sha256, refused, NOW))
    result = replay(lake, [source(folder)], PROPERTIES, VALUES, NOW)
    assert (result.read, result.stored, result.refused, result.skipped) == (3, 2, 1, 0)
    assert content(lake) == content(good)
    assert quarantine.open_rows(lake)["position"].to_list() == [3]
    again = replay(lake, [source(folder)], PROPERTIES, VALUES, NOW)
    assert (again.read, again.stored, again.refused) == (1, 0, 1)
