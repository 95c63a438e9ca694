from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.store import pauses
from cdp_assets.syncs import ApprovalError, SyncError, Undo, apply_undo, find_run, plan_undo
from cdp_assets_tests.syncs.world import World, config

URL = "http://127.0.0.1:1"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def run(world: World, name: str, **options: Any) -> None:
    world.run_id = name
    world.apply(config(**options))


def look(world: World, name: str) -> Undo:
    return plan_undo(world.store, world.crm, "s", name)


def undo(world: World, name: str, approve: str, **options: Any) -> Any:
    where: dict[str, Any] = {"env": "development", "url": URL, "entity": "person", **options}
    return apply_undo(
        world.lake, world.store, world.crm, "s", config(), name, approve, "ada", world.now, **where
    )


def test_a_run_is_taken_back_and_its_sync_paused(world: World) -> None:
    world.profile(1, revenue=Decimal("12.5"), orders=2)
    world.link("a", 1, Revenue__c=5.0)
    run(world, "first-run")
    found = look(world, "first-run")
    assert found.rows.rows() == [
        ("crm.Contact:a", "Orders__c", "2", None, "undo", "as before the run"),
        ("crm.Contact:a", "Revenue__c", "12.5", "5", "undo", "as before the run"),
    ]
    assert world.crm.records["Contact"]["a"]["Orders__c"] == 2, "a plan writes nothing"
    _, sent = undo(world, "first-run", found.hash[:12])
    assert sent.written == 1
    assert world.crm.records["Contact"]["a"] == {"Revenue__c": 5.0, "Orders__c": None}
    held = world.apply(config())
    assert (held.written, "run first-ru was undone" in held.message) == (0, True)
    assert "cdp resume s" in held.message
    assert pauses.resume(world.store, "s")
    assert world.apply(config()).written == 1
    assert world.crm.records["Contact"]["a"]["Orders__c"] == 2


def test_what_people_or_later_runs_changed_is_left_alone(world: World) -> None:
    for n, record in enumerate("abc", 1):
        world.profile(n, revenue=Decimal(n), orders=n)
        world.link(record, n)
    run(world, "one")
    world.crm.records["Contact"]["a"]["Orders__c"] = 99
    del world.crm.records["Contact"]["c"]
    world.profile(2, revenue=Decimal(7), orders=2)
    run(world, "two")
    why = {(r["record"][-1], r["field"]): r["why"] for r in look(world, "one").rows.to_dicts()}
    assert why == {
        ("a", "Orders__c"): "changed there since",
        ("a", "Revenue__c"): "as before the run",
        ("b", "Orders__c"): "as before the run",
        ("b", "Revenue__c"): "told again since, by s",
        ("c", "Orders__c"): "the record is gone there",
        ("c", "Revenue__c"): "the record is gone there",
    }
    undo(world, "one", look(world, "one").hash)
    assert world.crm.records["Contact"] == {
        "a": {"Revenue__c": None, "Orders__c": 99},
        "b": {"Revenue__c": 7.0, "Orders__c": None},
    }
    assert look(world, "one").changes == (), "once is enough"


def test_a_plan_that_is_another_by_now_is_refused(world: World) -> None:
    world.profile(1, orders=2)
    world.link("a", 1)
    run(world, "one")
    found = look(world, "one")
    world.crm.records["Contact"]["a"]["Orders__c"] = 3
    for approve in (found.hash, "", found.hash[:4]):
        with pytest.raises(ApprovalError, match="plan"):
            undo(world, "one", approve)
    assert world.crm.records["Contact"]["a"]["Orders__c"] == 3
    assert pauses.pauses(world.store) == []


def test_nothing_is_undone_outside_production_but_on_a_stand_in(world: World) -> None:
    world.profile(1, orders=2)
    world.link("a", 1)
    run(world, "one")
    with pytest.raises(SyncError, match="CDP_ENV"):
        undo(world, "one", look(world, "one").hash, url="https://crm.example.com")
    assert world.crm.records["Contact"]["a"]["Orders__c"] == 2


def test_records_that_a_run_created_stay(world: World) -> None:
    world.profile(1, orders=2)
    run(world, "one", mode="upsert", key={"CDP_Id__c": "profile_id"}, create="crm.Contact")
    found = look(world, "one")
    assert found.changes == ()
    assert found.rows["why"].to_list() == [
        "the run created it; delete it there if it is not wanted"
    ]


def test_a_stamp_is_left_as_it_is(world: World) -> None:
    world.profile(1, orders=2)
    world.link("a", 1, Title="by a person")
    run(world, "one", fields={"Orders__c": "orders", "Title": {"stamp": "told_at"}})
    why = {row["field"]: row["why"] for row in look(world, "one").rows.to_dicts()}
    assert why == {
        "Orders__c": "as before the run",
        "Title": "what was there before was not kept",
    }


def test_a_run_is_named_by_its_beginning(world: World) -> None:
    world.profile(1, orders=2)
    world.link("a", 1)
    run(world, "abc-1")
    world.profile(1, orders=3)
    run(world, "abd-2")
    assert find_run(world.store, "abc") == ("abc-1", "s")
    with pytest.raises(SyncError, match="Several runs"):
        find_run(world.store, "ab")
    for nothing in ("x", "%", "abc%"):
        with pytest.raises(SyncError, match="No run"):
            find_run(world.store, nothing)
    with pytest.raises(SyncError, match="No run"):
        find_run(world.store, "abc", "another")


def test_a_pause_of_one_or_all_holds_writing_back_alone(world: World) -> None:
    world.profile(1, orders=2)
    world.link("a", 1)
    for name in ("s", pauses.ALL):
        pauses.pause(world.store, name, "ada", "the price list is wrong", world.now)
        pauses.pause(world.store, name, "bob", "me too", world.now)
        held = world.apply(config())
        assert (held.written, "by ada: the price list is wrong" in held.message) == (0, True)
        assert world.plan(config()).updates == 1
        assert pauses.resume(world.store, name)
        assert not pauses.resume(world.store, name)
    pauses.pause(world.store, "another", "ada", "", world.now)
    assert world.apply(config()).written == 1


@given(
    before=st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=4, max_size=4),
    told=st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=4, max_size=4),
    after=st.lists(st.sampled_from(["keep", "edit"]), min_size=4, max_size=4),
)
@settings(max_examples=8, deadline=None)
def test_untouched_records_are_as_before_and_edited_ones_as_edited(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[int | None],
    told: list[int | None],
    after: list[str],
) -> None:
    world = World(tmp_path_factory.mktemp("undo"))
    for n in range(4):
        world.profile(n + 1, orders=told[n])
        world.link(f"r{n}", n + 1, Orders__c=before[n])
    run(world, "one", fields={"Orders__c": {"trait": "orders", "when_null": "clear"}})
    records = world.crm.records["Contact"]
    assert [records[f"r{n}"]["Orders__c"] for n in range(4)] == told
    for n in range(4):
        if after[n] == "edit":
            records[f"r{n}"]["Orders__c"] = 77
    if before != told:
        undo(world, "one", look(world, "one").hash)
    for n in range(4):
        want = 77 if after[n] == "edit" else before[n]
        assert records[f"r{n}"]["Orders__c"] == want
    world.store.close()
