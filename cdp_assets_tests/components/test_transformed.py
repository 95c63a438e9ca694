"""A deployment whose source has a transformation and enrichment: mistakes with their line, what a
run does, what the command says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest

from cdp_assets import cli
from cdp_assets.components.base import platform
from cdp_assets.definitions import shared
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.plans import blockers
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.events.tables import EVENTS
from cdp_assets.settings import Settings
from cdp_assets_tests.components.deployed import SILENT
from cdp_assets_tests.components.projects import Project, project

TRANSFORM = """\
def transform(event):
    if event["event"] == "Debug":
        return None
    if event["event"] == "Bad":
        raise ValueError(event["userId"])
    return [event, {**event, "event": event["event"] + " too"}]
"""
FIXTURES = """\
- in: {event: Debug}
  out: null
- in: {event: Bad, userId: u}
  fails: true
- name: twice
  in: {event: A}
  out: [{event: A}, {event: A too}]
"""
PLAN = "type: cdp_assets.TrackingPlan\nattributes: {unplanned_events: block}\n"
AGENT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.fixture
def shop(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Project:
    del settings
    monkeypatch.setenv("CDP_NOW", "2026-03-02T12:00:00Z")
    mine = project(tmp_path / "shop", name=f"shop_{uuid4().hex[:8]}", own_defs=False)
    monkeypatch.syspath_prepend(str(mine.root / "src"))
    mine.write(
        "app",
        f"type: cdp_assets.EventFiles\nattributes:\n  path: {tmp_path}/*.jsonl\n"
        "  transform: transform.py\n  enrich: [bots]\n",
    )
    (mine.defs / "app" / "transform.py").write_text(TRANSFORM)
    (mine.defs / "app" / "fixtures.yaml").write_text(FIXTURES)
    events = [
        {"type": "track", "event": name, "userId": "zenobia", "messageId": name,
         "context": {"userAgent": AGENT}, "timestamp": "2026-03-01T00:00:00Z"}
        for name in ("Seen", "Debug", "Bad")
    ]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    os.utime(tmp_path / "a.jsonl", (1e9, 1e9))
    monkeypatch.setenv("CDP_DEFS", str(mine.defs))
    return mine


def test_mistakes_stand_at_their_line(shop: Project, settings: Settings) -> None:
    assert shop.mistakes(settings) == []
    file = shop.defs / "app" / "transform.py"
    file.write_text(TRANSFORM.replace('["event"] ==', '["event"] =', 1))
    (found,) = shop.mistakes(settings)
    assert "app/defs.yaml:4: transform.py:2: " in found
    with pytest.raises(ConfigurationError, match=r"transform\.py:2"):
        platform(load_deployment(shop.defs)).ingest(None, "run")  # nothing passes unhashed
    file.write_text(TRANSFORM.replace(" too", " two"))
    (found,) = shop.mistakes(settings)
    assert 'fixtures.yaml case 3 (twice): event 2: event: expected "A too", came "A two"' in found
    file.write_text(TRANSFORM)
    shop.change("app", "transform.py", "transfrm.py")
    assert "did you mean transform.py?" in shop.mistakes(settings)[0]
    shop.change("app", "transfrm.py", "../transform.py")
    assert "inside the definition's own folder" in shop.mistakes(settings)[0]
    shop.change("app", "../transform.py", "transform.py")
    shop.change("app", "[bots]", "[bots, place]")
    (found,) = shop.mistakes(settings)
    assert "app/defs.yaml:5: `place` needs CDP_GEO_DATABASE" in found


def test_the_command_shows_what_differs(shop: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["transform", "test"]) == 0
    assert "app: 3 of 3 cases come out as they should" in capsys.readouterr().out
    (shop.defs / "app" / "transform.py").write_text(TRANSFORM.replace("Debug", "Bug"))
    assert cli.main(["transform", "test", "app"]) == 1
    assert "fixtures.yaml case 1\n  expected 0 events, came 2" in capsys.readouterr().out
    assert cli.main(["transform", "test", "ap"]) == 2
    assert "did you mean app?" in capsys.readouterr().err


def test_the_collector_does_not_speak_for_a_plan_after_a_transformation(shop: Project) -> None:
    shop.write("product", PLAN)
    shop.change("app", "  enrich:", "  tracking_plan: product\n  enrich:")
    assert blockers(load_deployment(shop.defs).require_valid()) == {}
    shop.change("app", "  transform: transform.py\n", "")
    assert list(blockers(load_deployment(shop.defs).require_valid())) == ["app"]


def test_a_run_accounts_for_every_line_and_names_what_it_used(shop: Project) -> None:
    definitions = shared(dg.load_from_defs_folder(path_within_project=shop.defs.parent))
    with dg.DagsterInstance.ephemeral() as instance:
        done = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("events")], run_config=SILENT
        )
    checks = {check.check_name: check.passed for check in done.get_asset_check_evaluations()}
    assert checks["accounting"]
    (made,) = [m for m in done.asset_materializations_for_node("ingest_events")
               if m.asset_key.path == ["events"] and "read" in m.metadata]  # fmt: skip
    said = {name: value.value for name, value in made.metadata.items()}
    assert (said["read"], said["stored"], said["quarantined"]) == (3, 2, 1)
    assert (said["dropped_by_transformation"], said["split_by_transformation"]) == (1, 1)
    assert "zenobia" not in str(said["waiting_in_quarantine"])
    here = platform(load_deployment(shop.defs))
    rows = here.lake.open(EVENTS).scan().sort("message_id").collect()
    version = said["transform app"]
    assert all({f"transform:{version}", "bot"} <= set(flags) for flags in rows["flags"].to_list())
    assert rows["message_id"].to_list() == ["Seen", "Seen:2"]
    assert said["enrich bots"].startswith("crawler-user-agents ")
