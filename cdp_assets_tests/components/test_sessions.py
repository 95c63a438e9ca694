"""Sessions as a component: two assets after events, with an account; what traits ask of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdp_assets.components.base import platform
from cdp_assets.definitions import load
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import Project, project

TRAITS = """\
type: cdp_assets.Traits
attributes:
  entity: person
  traits:
    sessions_30d: {select: count(*), from: sessions, within: 30d}
    first_channel: {select: first(channel), from: sessions}
    pricing_views: {select: count(*), from: page_views, where: page_path = '/pricing'}
"""
IDENTITY = """\
type: cdp_assets.Identity
attributes: {person: {identifiers: {user_id: {limit: 1}, anonymous_id: {limit: 100}}}}
"""


def line(second: int, kind: str, **more: Any) -> str:
    """One event of one device."""
    at = f"2026-06-01T10:{second // 60:02}:{second % 60:02}.000Z"
    sent = {"type": kind, "messageId": f"m{second}", "anonymousId": "d1", "timestamp": at}
    return json.dumps(sent | more)


def page(path: str) -> dict[str, Any]:
    """The context that a browser sends."""
    url = f"https://www.example.com{path}"
    sent = {"url": url, "path": path.partition("?")[0], "referrer": "https://www.google.com/"}
    return {"context": {"page": sent}}


@pytest.fixture
def mine(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with events of one visit, and traits from it."""
    found = project(tmp_path / "mine", name=f"mine_{tmp_path.name[-6:]}x", own_defs=False)
    monkeypatch.setenv("CDP_NOW", "2026-06-05T00:00:00Z")
    monkeypatch.syspath_prepend(str(found.root / "src"))
    folder = tmp_path / "events"
    folder.mkdir()
    told = {"event": "Page Engaged", "properties": {"engaged_seconds": 21.4}}
    lines = [
        line(0, "page", **page("/?gclid=1")),
        line(30, "track", **told, **page("/")),
        line(60, "page", **page("/pricing")),
        line(61, "identify", userId="ada"),
        json.dumps({"type": "track", "event": "Paid", "messageId": "s", "userId": "ada"}),
    ]
    (folder / "one.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    found.write("app", f'type: cdp_assets.EventFiles\nattributes: {{path: "{folder}/*.jsonl"}}\n')
    found.write("identity", IDENTITY)
    found.write("person", TRAITS)
    found.write("visits", "type: cdp_assets.Sessions\nattributes: {domains: [example.io]}\n")
    return found


def test_the_way_from_files_to_traits(mine: Project) -> None:
    here = platform(load_deployment(mine.defs))
    here.ingest(None, "r")
    here.resolve()
    done = here.build_sessions()
    assert (done.sessions, done.page_views, done.unplaced) == (1, 2, 0)
    told = here.account_sessions()
    assert (told.events, told.left_out, told.heartbeats, told.balanced) == (5, 2, 1, True)
    here.build_profiles("person")
    (ada,) = here.lake.open(_profiles()).scan().collect().to_dicts()
    assert (ada["sessions_30d"], ada["first_channel"], ada["pricing_views"]) == (
        1,
        "Paid Search",
        1,
    )


def _profiles() -> Any:
    from cdp_assets.lake import Table

    return Table(key="profiles/person", schema={}, primary_key=(), evolves=True)


def test_the_assets_run_and_say_what_they_counted(mine: Project) -> None:
    platform(load_deployment(mine.defs)).ingest(None, "r")
    defs = load(mine.defs.parent)
    keys = [dg.AssetKey("sessions"), dg.AssetKey(["sessions", "page_views"])]
    graph = defs.resolve_asset_graph()
    for key in keys:
        assert graph.get(key).parent_keys == {dg.AssetKey("events")}
        assert graph.get(key).automation_condition is not None
    assert graph.get(dg.AssetKey(["profiles", "person"])).parent_keys >= set(keys)
    done = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        asset_selection=keys, raise_on_error=False
    )
    assert done.success
    (check,) = done.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("accounting", True)
    assert check.metadata["interactions"].value == 2


def test_traits_that_read_sessions_ask_for_their_declaration(
    mine: Project, settings: Settings
) -> None:
    assert mine.mistakes(settings) == []
    mine.write("again", "type: cdp_assets.Sessions\nattributes: {}\n")
    (twice,) = mine.mistakes(settings)
    assert "sessions are declared in `again` too" in twice
    mine.file("again").unlink()
    mine.file("visits").unlink()
    found = mine.mistakes(settings)
    assert len(found) == 3
    assert "no sessions are declared in defs/" in found[0]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("{timeout: 0m}", "duration"),
        ("{timezone: Mars/Base}", "IANA"),
        ("{domains: [https://example.com/x]}", "write it as example.com"),
        ("{heartbeat: 40m}", "shorter than `timeout`"),
        ("{engaged_time: seconds}", "EVENT.property"),
        ("{midnigth: true}", "midnight"),
    ],
)
def test_mistakes_are_told_in_plain_words(
    mine: Project, settings: Settings, attributes: str, said: str
) -> None:
    mine.write("visits", f"type: cdp_assets.Sessions\nattributes: {attributes}\n")
    found = mine.mistakes(settings)
    assert any(said in text for text in found), found
