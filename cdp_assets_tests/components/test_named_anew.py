"""What configuration names anew is decoded before it is built of; windows move on each day."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import polars as pl
import pytest

from cdp_assets.components.base import platform
from cdp_assets.definitions import shared
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.lake import Table
from cdp_assets.settings import Settings
from cdp_assets_tests.components.deployed import SILENT
from cdp_assets_tests.components.projects import Project, project

TRAITS = """\
type: cdp_assets.Traits
attributes:
  entity: person
  traits:
    revenue: {select: sum(revenue), from: Order Completed}
"""
MORE = """\
    discount: {select: sum(discount), from: Order Completed}
    carts: {select: sum(items), from: Cart Viewed}
    nick: {latest: [events.traits.nick]}
    tier: {latest: [crm.person.tier]}
"""


@pytest.fixture
def shop(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A deployment without a CRM: files of events, and of customers."""
    del settings
    mine = project(tmp_path / "shop", name=f"shop_{uuid4().hex[:8]}", own_defs=False)
    monkeypatch.syspath_prepend(str(mine.root / "src"))
    mine.write("app", f"type: cdp_assets.EventFiles\nattributes: {{path: {tmp_path}/*.jsonl}}\n")
    mine.write(
        "crm",
        f"type: cdp_assets.Files\nattributes: {{path: {tmp_path}/*.csv, as: person, key: id, "
        "fields: {email: mail}}\n",
    )
    mine.write(
        "identity",
        "type: cdp_assets.Identity\nattributes:\n  person:\n    identifiers:\n"
        "      user_id: {from: [events.userId, crm.person.login]}\n",
    )
    mine.write("person", TRAITS)
    common = {"userId": "ada", "timestamp": "2026-03-01T00:00:00Z"}
    track = [
        ("Order Completed", {"revenue": 10, "discount": 3}),
        ("Cart Viewed", {"items": 4}),
    ]
    events: list[dict[str, Any]] = [
        {"type": "track", "messageId": name, "event": name, "properties": more, **common}
        for name, more in track
    ]
    events.append({"type": "identify", "messageId": "i", "traits": {"nick": "Countess"}, **common})
    lines = "".join(json.dumps(event) + "\n" for event in events)
    for name, text in (("a.jsonl", lines), ("a.csv", "id,login,tier\n1,ada,gold\n")):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (1e9, 1e9))
    return mine


def here(shop: Project) -> Platform:
    return platform(load_deployment(shop.defs))


def build(shop: Project) -> dict[str, Any]:
    """A build of profiles alone; the one person's row."""
    now = here(shop)
    now.build_profiles("person")
    keys: dict[str, Any] = {"schema": {"profile_id": pl.Int64()}, "primary_key": ("profile_id",)}
    table = now.lake.open(Table(key="profiles/person", evolves=True, **keys))
    (row,) = table.scan().collect().to_dicts()
    return dict(row)


def test_a_build_does_not_take_what_is_not_decoded_yet_for_null(shop: Project) -> None:
    before = here(shop)
    before.ingest(None, "run")
    before.ingest_record_files("crm", "run")
    before.build_records()
    before.resolve()
    assert build(shop)["revenue"] == 10
    shop.write("person", TRAITS + MORE)
    row = build(shop)
    assert (row["discount"], row["carts"], row["nick"], row["tier"]) == (3, 4, "Countess", "gold")
    after = here(shop).ingest(None, "run")
    assert after.decoded == [], "nothing is decoded twice"
    assert build(shop) == row


def test_identity_reads_a_field_that_it_names_anew(shop: Project) -> None:
    before = here(shop)
    before.ingest(None, "run")
    before.resolve()
    shop.change(
        "identity",
        "crm.person.login]}",
        "crm.person.login]}\n      nick: {from: [events.traits.nick]}",
    )
    now = here(shop)
    now.resolve()
    held = now.lake.open(Table(key="identity/graph", schema={"identifier": pl.String()}))
    assert "nick:Countess" in held.scan().collect()["identifier"].to_list()


class Automation:
    """Ticks of the automation sensor over a project whose files change."""

    def __init__(self, shop: Project) -> None:
        self.shop = shop
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: Any = None

    @property
    def defs(self) -> dg.Definitions:
        return shared(dg.load_from_defs_folder(path_within_project=self.shop.defs.parent))

    def tick(self, at: datetime | None = None) -> dict[str, int]:
        """Asset → how many partitions of it are asked for."""
        defs = self.defs
        found = dg.evaluate_automation_conditions(
            defs=defs, instance=self.instance, cursor=self.cursor, evaluation_time=at
        )
        self.cursor = found.cursor
        keys = defs.resolve_asset_graph().get_all_asset_keys()
        asked = {key.to_user_string(): found.get_num_requested(key) for key in keys}
        return {name: count for name, count in asked.items() if count}

    def run(self, *keys: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
        job = self.defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in keys],
            partition_key=partition,
            run_config=SILENT,
        )


STEPS = {"records/person", "records/relation", "records/values"}


def test_a_trait_that_names_something_new_runs_what_decodes_it(shop: Project) -> None:
    automation = Automation(shop)
    automation.run("raw/crm/person")
    today = datetime.now(UTC).date().isoformat()
    automation.run("events", partition=today)
    here(shop).ingest(None, "run")
    automation.tick()
    automation.tick()
    assert automation.tick() == {}
    shop.write("person", TRAITS + MORE)
    asked = automation.tick()
    assert asked.items() >= {"events": 1, **dict.fromkeys([*STEPS, "profiles/person"], 1)}.items()
    done = automation.run("events", partition=today)
    (counted,) = done.asset_materializations_for_node("ingest_events")[-1:]
    decoded = {event.asset_key.to_user_string() for event in done.get_asset_materialization_events()
               if event.asset_key}  # fmt: skip
    assert decoded == {"events", "events/order_completed", "events/cart_viewed"}
    assert counted.metadata["tables_decoded_anew"].value == 3
    assert automation.tick().items() >= {"profiles/person": 1, "identity/links": 1}.items()
    assert automation.tick() == {}
    shop.change("person", "{select: sum(revenue)", "{description: In USD, select: sum(revenue)")
    assert automation.tick() == {"profiles/person": 1}, "no new name: nothing is decoded"


def test_profiles_are_rebuilt_soon_after_midnight(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a CRM and without a new file, windows and the days compared move on all the same."""
    monkeypatch.setenv("CDP_TIMEZONE", "America/New_York")
    automation = Automation(shop)
    evening = datetime(2026, 3, 10, 23, 30, tzinfo=UTC)
    automation.tick(evening)
    automation.tick(evening.replace(minute=31))
    night = [
        datetime(2026, 3, 11, *time, tzinfo=UTC) for time in ((3, 59), (4, 6), (4, 7), (23, 0))
    ]
    nightly = {"profiles/person": 1, "events/volumes": 1}
    assert [automation.tick(at) for at in night] == [{}, nightly, {}, {}]
    late = datetime(2026, 3, 14, 9, tzinfo=UTC)
    assert automation.tick(late) == nightly, "missed while the daemon was down"
    assert automation.tick(late.replace(minute=1)) == {}
