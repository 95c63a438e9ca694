from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from cdp_assets.store import plans
from cdp_assets.syncs.approval import ApprovalError, approve
from cdp_assets_tests.syncs.world import World, config


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_update_by_linked_record_is_planned_approved_and_applied(world: World) -> None:
    world.profile(1, revenue=Decimal("12.50"), orders=2)
    world.profile(2, revenue=Decimal("7"), orders=None)
    world.link("a", 1, Revenue__c=5.0)
    made = world.plan(config())
    assert made.rows.select("record", "field", "old", "new").rows() == [
        ("crm.Contact:a", "Orders__c", None, "2"),
        ("crm.Contact:a", "Revenue__c", "5", "12.5"),
    ]
    assert made.without_record == 1
    assert world.crm.records["Contact"]["a"] == {"Revenue__c": 5.0}, "a plan writes nothing"
    waiting = world.apply(config(), yes=False)
    assert (waiting.written, waiting.message) == (0, f"Waits for approval: {made.approve_hint}")
    approve(world.store, made.short, "ada", world.now)
    assert world.apply(config(), yes=False).written == 1
    assert world.crm.records["Contact"]["a"] == {"Revenue__c": 12.5, "Orders__c": 2}
    again = world.apply(config(), yes=False)
    assert (again.written, again.calls) == (0, 0)
    # The first plan of this configuration was approved; later ones need no yes.
    world.profile(1, revenue=Decimal("13"), orders=2)
    assert world.apply(config(), yes=False).written == 1


def test_a_key_creates_once(world: World) -> None:
    sync = config(mode="upsert", key={"CDP_Id__c": "profile_id"}, create="crm.Contact")
    world.profile(1, revenue=Decimal(3), orders=1)
    assert world.apply(sync).created == 1
    assert world.crm.records["Contact"] == {
        "n0001": {"CDP_Id__c": "1", "Revenue__c": 3.0, "Orders__c": 1}
    }
    assert world.apply(sync).written == 0
    world.profile(1, revenue=Decimal(4), orders=1)
    assert world.apply(sync).written == 1
    assert world.crm.created == 1


def test_approval_is_refused_when_the_world_moved(world: World) -> None:
    world.profile(1, orders=2)
    world.link("a", 1)
    first = world.plan(config())
    world.profile(1, orders=3)
    second = world.plan(config())
    assert first.hash != second.hash
    with pytest.raises(ApprovalError, match="not its current plan"):
        approve(world.store, first.hash, "ada", world.now)
    approve(world.store, second.hash, "ada", world.now)
    world.crm.records["Contact"]["a"]["Orders__c"] = 1
    assert "Waits for approval" in world.apply(config(), yes=False).message
    head = plans.current(world.store, "s")
    assert head is not None
    assert head.hash != second.hash
