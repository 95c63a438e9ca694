"""Mode mirror: what becomes of records whose profile left; nothing is deleted by mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cdp_assets.connectors.base import FieldInfo, ObjectInfo
from cdp_assets.store import ledger
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.world import DESCRIPTION, World, config, times_out


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def mirror(gone: str, **options: Any) -> SyncConfig:
    base = {
        "mode": "mirror", "gone": gone, "create": "crm.Contact", "key": {"CDP_Id__c": "profile_id"},
        "match": ["linked"], "stop_if": {"deleted": "100%"},
        "fields": {"Orders__c": "orders", "Title": "title"},
    }  # fmt: skip
    return config(**{**base, **options})


def leave(world: World, *people: int) -> None:
    world.profiles = [p for p in world.profiles if p["profile_id"] not in people]


def two(world: World, sync: SyncConfig) -> dict[str, Any]:
    """Profile 1 has a record that was there; 2 gets one from the sync."""
    world.profile(1, orders=1, title="CTO")
    world.profile(2, orders=2, title="CEO")
    world.link("a", 1)
    assert world.apply(sync).written == 2
    return world.crm.records["Contact"]


def test_keep_leaves_all_as_it_is(world: World) -> None:
    records = two(world, mirror("keep"))
    leave(world, 1, 2)
    before = {i: dict(r) for i, r in records.items()}
    assert world.apply(mirror("keep")).written == 0
    assert records == before


def test_clear_empties_what_the_sync_tells_and_brings_it_back(world: World) -> None:
    sync = mirror("clear")
    records = two(world, sync)
    leave(world, 1, 2)
    world.plan(sync)
    rows = world.rows()
    assert rows["op"].to_list() == ["update"] * 4
    assert set(rows["why"]) == {"the person is gone"}
    assert rows["old"].to_list() == ["1", "CTO", "2", "CEO"]
    assert rows["new"].null_count() == 4
    assert world.apply(sync).written == 2
    assert records["a"] == {"Orders__c": None, "Title": None}
    assert records["n0001"] == {"CDP_Id__c": "2", "Orders__c": None, "Title": None}
    calls = world.crm.calls
    assert world.apply(sync).written == 0
    assert world.crm.calls == calls, "what is empty is not read again"
    world.profile(1, orders=1, title="CTO")
    assert world.apply(sync).written == 1
    assert records["a"] == {"Orders__c": 1, "Title": "CTO"}


def test_delete_takes_only_what_the_sync_created(world: World) -> None:
    sync = mirror("archive")
    records = two(world, sync)
    leave(world, 1, 2)
    made = world.plan(sync)
    assert (made.deletes, made.updates, made.creates) == (1, 1, 0)
    deleted = [r for r in world.rows().to_dicts() if r["op"] == "delete"]
    assert [(r["record"], r["field"], r["why"]) for r in deleted] == [
        ("crm.Contact:n0001", "", "the person is gone: deleted")
    ]
    assert world.apply(sync).written == 2
    assert records == {"a": {"Orders__c": None, "Title": None}}
    calls = world.crm.calls
    assert world.apply(sync).written == 0
    assert world.crm.calls == calls


@pytest.mark.parametrize("pulled", [False, True])
def test_who_returns_is_created_again(world: World, *, pulled: bool) -> None:
    sync = mirror("delete")
    records = two(world, sync)
    leave(world, 2)
    world.apply(sync)
    if pulled:
        world.link("n0001", 2, live=False, dead=True)
    world.profile(2, orders=5)
    assert world.apply(sync).created == 1
    assert records["n0002"] == {"CDP_Id__c": "2", "Orders__c": 5}
    # And the one that people deleted does not come back, whatever the policy.
    del records["n0002"]
    world.link("n0002", 2, live=False, dead=True)
    leave(world, 2)
    assert world.apply(sync).written == 0
    world.profile(2, orders=6)
    assert world.apply(sync).written == 0


def test_a_deletion_that_was_not_pulled_yet_waits_for_the_pull(world: World) -> None:
    sync = mirror("delete")
    records = two(world, sync)
    world.link("n0001", 2)
    leave(world, 2)
    assert world.apply(sync).written == 1
    assert world.apply(sync).written == 0, "it is not deleted again"
    world.profile(2, orders=2)
    assert "the next pull will tell" in world.plan(sync).obstacles[0].why
    # Somebody restored it: it is told again, and left alone when the profile leaves for good.
    records["n0001"] = {"CDP_Id__c": "2"}
    assert world.apply(sync).written == 1
    assert records["n0001"]["Orders__c"] == 2


def test_a_restored_record_of_a_profile_outside_is_left_alone(world: World) -> None:
    sync = mirror("delete")
    records = two(world, sync)
    leave(world, 2)
    world.apply(sync)
    records["n0001"] = {"Orders__c": 9}
    world.link("n0001", 2)
    assert world.apply(sync).written == 0
    assert records["n0001"] == {"Orders__c": 9}


def test_an_empty_source_deletes_nothing_by_itself(world: World) -> None:
    for gone in ("clear", "delete"):
        sync = mirror(gone, stop_if={})
        world.profile(1, orders=1)
        world.apply(sync)
        leave(world, 1)
        made = world.plan(sync)
        assert made.stopped[0].startswith("the source has no profile at all, and 1 of 1 records")
        assert world.apply(sync).message.startswith("Not applied, stopped: the source has no")
        assert world.crm.records["Contact"]["n0001"]["Orders__c"] == 1
    assert world.apply(mirror("delete")).written == 1


def test_few_may_be_deleted_at_once(world: World) -> None:
    sync = mirror("delete", stop_if={})
    for p in range(1, 21):
        world.profile(p, orders=p)
    world.apply(sync)
    leave(world, 1)
    assert world.apply(sync).written == 1
    leave(world, 2, 3)
    assert world.plan(sync).stopped == (
        "2 of 19 records told before would be deleted, since their profiles left; "
        "stop_if.deleted is 5%",
    )
    assert world.apply(mirror("delete", stop_if={"deleted": 2})).written == 2
    leave(world, 4, 5)
    assert world.apply(mirror("clear", stop_if={})).written == 2, "emptying has no limit unasked"


def test_what_people_keep_is_not_emptied(world: World) -> None:
    sync = mirror(
        "clear",
        fields={
            "Title": {"trait": "title", "write": "if_empty"},
            "LeadSource": {"value": "Product", "write": "on_create"},
            "Orders__c": "orders",
        },
    )
    for p in (1, 2, 3):
        world.profile(p, orders=1, title="CTO")
    world.link("theirs", 1, Title="Boss")
    world.link("changed", 2)
    world.apply(sync)
    records = world.crm.records["Contact"]
    records["changed"]["Title"] = "Chief"
    leave(world, 1, 2, 3)
    world.apply(sync)
    assert records["theirs"] == {"Title": "Boss", "Orders__c": None}
    assert records["changed"] == {"Title": "Chief", "Orders__c": None}
    new = {"CDP_Id__c": "3", "Title": None, "Orders__c": None, "LeadSource": "Product"}
    assert records["n0001"] == new
    calls = world.crm.calls
    assert world.apply(sync).written == 0
    assert world.crm.calls == calls
    for p in (1, 2, 3):
        world.profile(p, orders=1, title="CTO")
    world.apply(sync)
    assert [records[i]["Title"] for i in ("theirs", "changed", "n0001")] == ["Boss", "Chief", "CTO"]


def test_a_field_that_cannot_be_empty_stays_and_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact = DESCRIPTION.objects["Contact"]
    title = FieldInfo(name="Title", type="string", nullable=False)
    info = ObjectInfo(name="Contact", fields={**contact.fields, "Title": title})
    monkeypatch.setitem(DESCRIPTION.objects, "Contact", info)
    sync = mirror("clear")
    records = two(world, sync)
    leave(world, 1)
    assert [(o.field, o.record) for o in world.plan(sync).obstacles] == [("Title", "crm.Contact:a")]
    assert world.apply(sync).written == 1
    assert records["a"] == {"Orders__c": None, "Title": "CTO"}
    assert world.plan(sync).obstacles == ()


def test_a_merged_profile_has_not_left(world: World) -> None:
    sync = mirror("delete")
    two(world, sync)
    leave(world, 2)
    world.redirects = [{"old": 2, "new": 1}]
    assert world.apply(sync).written == 0


@pytest.mark.parametrize("answered", [False, True])
def test_a_deletion_without_answer_is_read_back(world: World, *, answered: bool) -> None:
    sync = mirror("delete")
    records = two(world, sync)
    leave(world, 2)
    if answered:
        world.crm.cut = 1
    else:
        world.crm.faults = times_out()
    assert world.apply(sync).unknown == 1
    assert ("n0001" in records) is not answered
    world.crm.faults = None
    assert world.apply(sync).written == (0 if answered else 1)
    assert "n0001" not in records
    ops = [(e.op, e.outcome) for e in ledger.entries(world.store, "s") if e.op == "delete"]
    assert ops == [("delete", "ok")] if answered else [("delete", "lost"), ("delete", "ok")]
    assert world.apply(sync).written == 0


def test_a_refused_deletion_waits_in_the_dead_letters(world: World) -> None:
    sync = mirror("delete")
    records = two(world, sync)
    leave(world, 2)
    world.crm.faults = lambda name, batch: {c.row: "permission" for c in batch}
    assert world.apply(sync).failed == 1
    world.crm.faults = None
    assert world.plan(sync).held == 1
    assert world.apply(sync).written == 0
    world.profile(2, orders=3)
    assert world.apply(sync).written == 1
    assert records["n0001"]["Orders__c"] == 3
