from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import RowChange, RowOutcome, UnknownOutcome
from cdp_assets.store import pauses
from cdp_assets.syncs import ApprovalError, SyncError, Undo, apply_undo, find_run, plan_undo
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.world import Crm, World, config

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


def test_records_that_a_run_created_go_unless_they_were_changed(world: World) -> None:
    made: dict[str, Any] = {"mode": "upsert", "key": {"CDP_Id__c": "profile_id"}}
    made["create"] = "crm.Contact"
    for n in range(1, 5):
        world.profile(n, orders=n)
    run(world, "one", **made)
    records = world.crm.records["Contact"]
    records["n0002"]["Orders__c"] = 99
    del records["n0003"]
    world.profile(4, orders=7)
    run(world, "two", **made)
    found = look(world, "one")
    assert [r[4:] for r in found.rows.sort("record").rows()] == [
        ("undo", "the run created it, and nobody changed it since"),
        ("left", "the run created it; Orders__c was changed there since"),
        ("left", "the run created it; it is gone there"),
        ("left", "the run created it; told again since, by s"),
    ]
    undo(world, "one", found.hash)
    assert set(records) == {"n0002", "n0004"}
    assert look(world, "one").changes == ()
    assert pauses.resume(world.store, "s")
    assert world.apply(config(**made)).created == 1, "whom the undo deleted"


@dataclass
class Bin(Crm):
    """A destination whose deleted records can be brought back."""

    bin: dict[str, dict[str, Any]] = field(default_factory=dict)

    def _one(self, object_name: str, change: RowChange) -> RowOutcome:
        if change.op == "delete":
            self.bin[change.record_id or ""] = self.records[object_name][change.record_id or ""]
        return super()._one(object_name, change)

    def restorable(self, object_name: str) -> bool:
        return object_name == "Contact"

    def restore(self, object_name: str, ids: Sequence[str]) -> list[RowOutcome]:
        for record in ids:
            self.records[object_name][record] = self.bin.pop(record)
        if self.cut is not None:
            self.cut = None
            raise UnknownOutcome("crm: no answer")
        return [RowOutcome(at, True, record) for at, record in enumerate(ids)]


def deleting(world: World) -> None:
    made: dict[str, Any] = {"mode": "mirror", "key": {"CDP_Id__c": "profile_id"}, "gone": "archive"}
    made |= {"create": "crm.Contact", "stop_if": {"deleted": "100%"}}
    for n in (1, 2, 3):
        world.profile(n, orders=n)
    run(world, "one", **made)
    world.profiles = world.profiles[2:]
    run(world, "two", **made)
    assert set(world.crm.records["Contact"]) == {"n0003"}


def test_what_a_run_deleted_is_brought_back_where_the_system_can(tmp_path: Path) -> None:
    world = World(tmp_path, crm=Bin())
    deleting(world)
    found = look(world, "two")
    assert found.rows["now"].to_list() == ["(deleted)", "(deleted)"]
    world.crm.cut = 0
    _, sent = undo(world, "two", found.hash)
    assert (sent.written, sent.unknown) == (0, 2)
    assert set(world.crm.records["Contact"]) == {"n0001", "n0002", "n0003"}
    assert [r[5] for r in look(world, "two").rows.rows()] == ["it is there again already"] * 2
    pauses.resume(world.store, "s")
    made = {"mode": "update", "fields": {"Orders__c": "orders"}}
    world.apply(config(**made))
    assert world.state()["removed_at"].to_list() == [None] * 3


def test_what_a_run_deleted_stays_so_where_the_system_cannot(world: World) -> None:
    deleting(world)
    found = look(world, "two")
    assert found.changes == ()
    assert all(why.startswith("cannot be taken back") for why in found.rows["why"])


def test_members_of_a_list_are_taken_off_and_put_on_again(world: World) -> None:
    listed = SyncConfig.model_validate(
        {"from": "person", "to": "crm.lists", "list": "CDP", "mode": "mirror",
         "create": "crm.lists", "stop_if": {"deleted": "100%"}}
    )  # fmt: skip
    for n in range(1, 5):
        world.profile(n)
        world.link(f"r{n}", n)
    world.run_id = "one"
    world.apply(listed)
    world.profiles = world.profiles[1:]
    world.run_id = "two"
    world.apply(listed)
    on = world.crm.lists["L1"][1]
    assert on == {"r2", "r3", "r4"}
    on.discard("r3")
    why = {row["record"]: row["why"] for row in look(world, "one").rows.to_dicts()}
    assert why == {
        "crm.lists:L1": "a list is not deleted: its members leave it",
        "crm.Contact:r1": "told again since, by s",
        "crm.Contact:r2": "the run put it on the list",
        "crm.Contact:r3": "taken off it since",
        "crm.Contact:r4": "the run put it on the list",
    }
    assert look(world, "two").rows.rows() == [
        ("crm.Contact:r1", "list", "(not on the list)", "(on the list)", "undo",
         "the run took it off the list"),
    ]  # fmt: skip
    where: dict[str, Any] = {"env": "development", "url": URL, "entity": "person"}
    for name, then in (("two", {"r1", "r2", "r4"}), ("one", {"r1"})):
        apply_undo(
            world.lake, world.store, world.crm, "s", listed, name, look(world, name).hash, "ada",
            world.now, **where,
        )  # fmt: skip
        assert on == then
        assert look(world, name).changes == ()


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
