"""A full resync: what people changed since it was told is found, planned and told again."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_assets.syncs import SyncError, resync
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.world import DESCRIPTION, World, config

SYNC = config(
    fields={
        "Title": "title",
        "Orders__c": {"trait": "orders", "when_null": "clear"},
        "LeadSource": {"trait": "status", "write": "give_way"},
    }
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path)
    for p in range(1, 6):
        found.profile(p, title="CTO", orders=p, status="Web")
        found.link(f"r{p}", p)
    found.apply(SYNC)
    return found


def again(world: World, sync: SyncConfig = SYNC) -> tuple[int, int]:
    return resync(
        world.lake, world.store, "s", sync, world.crm, DESCRIPTION, entity="person"
    )  # fmt: skip


def test_nothing_differs(world: World) -> None:
    calls = world.crm.calls
    assert again(world) == (5, 0)
    assert world.crm.calls == calls + 1
    assert world.apply(SYNC).written == 0


def test_what_people_changed_is_told_again_and_named(world: World) -> None:
    records = world.crm.records["Contact"]
    records["r1"]["Title"] = "Boss"
    records["r2"]["Orders__c"] = None
    records["r3"]["LeadSource"] = "Fair"
    del records["r4"]
    assert world.apply(SYNC).written == 0, "a plan reads nothing that is no news"
    assert again(world) == (4, 2)
    world.plan(SYNC)
    shown = {(r["record"], r["field"], r["old"], r["why"]) for r in world.rows().to_dicts()}
    assert shown == {
        ("crm.Contact:r1", "Title", "Boss", "title: changed there since told"),
        ("crm.Contact:r2", "Orders__c", None, "orders: changed there since told"),
    }
    assert world.apply(SYNC).written == 2
    assert (records["r1"]["Title"], records["r2"]["Orders__c"]) == ("CTO", 2)
    assert records["r3"]["LeadSource"] == "Fair"
    assert again(world) == (4, 0)
    calls = world.crm.calls
    assert world.apply(SYNC).written == 0
    assert world.crm.calls == calls


def test_what_was_mended_there_meanwhile_is_done_with(world: World) -> None:
    world.crm.records["Contact"]["r1"]["Title"] = "Boss"
    assert again(world) == (5, 1)
    world.crm.records["Contact"]["r1"]["Title"] = "CTO"
    assert world.apply(SYNC).written == 0
    calls = world.crm.calls
    assert world.apply(SYNC).written == 0
    assert world.crm.calls == calls


def test_what_was_cleared_and_filled_there_is_cleared_again(world: World) -> None:
    world.profile(1, title="CTO", orders=None, status="Web")
    world.apply(SYNC)
    world.crm.records["Contact"]["r1"]["Orders__c"] = 7
    assert again(world) == (5, 1)
    assert world.apply(SYNC).written == 1
    assert world.crm.records["Contact"]["r1"]["Orders__c"] is None


def test_a_list_has_none(world: World) -> None:
    listed = SyncConfig.model_validate(
        {"from": "person", "to": "crm.lists", "list": "L", "mode": "add"}
    )
    with pytest.raises(SyncError, match="others: remove"):
        again(world, listed)
