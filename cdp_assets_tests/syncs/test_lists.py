"""Lists of an outside system: who is on them by our doing, and who is left alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.store import ledger
from cdp_assets.syncs import ApprovalError, SyncError, approve, dead_letters, plan, replay
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.test_machine import POINTS, faults, law, run_once
from cdp_assets_tests.syncs.world import DESCRIPTION, World, times_out

NAME = "CDP: Trial"


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path)
    for p in range(1, 6):
        found.profile(p)
        found.link(f"r{p}", p)
    return found


def sync(mode: str = "mirror", **options: Any) -> SyncConfig:
    base = {
        "from": "person", "to": "crm.lists", "list": NAME, "mode": mode, "create": "crm.lists",
        "stop_if": {"deleted": "100%"},
    }  # fmt: skip
    if mode == "remove":
        del base["create"]
    return SyncConfig.model_validate({**base, **options})


def on(world: World, list_id: str = "L1") -> set[str]:
    return world.crm.lists[list_id][1]


def leave(world: World, *people: int) -> None:
    world.profiles = [p for p in world.profiles if p["profile_id"] not in people]


def test_a_list_is_made_and_filled_and_followed(world: World) -> None:
    world.profile(9)
    made = world.plan(sync())
    assert (made.creates, made.count("add"), made.without_record) == (1, 5, 1)
    rows = world.rows().filter(world.rows()["op"] == "add").to_dicts()
    assert rows[0] | {"plan": "", "profile_id": 0} == {
        "plan": "", "profile_id": 0, "object": "Contact", "record": "crm.Contact:r1",
        "op": "add", "field": "list", "old": None, "new": NAME, "why": "in person",
    }  # fmt: skip
    assert world.crm.lists == {}, "a plan writes nothing"
    assert world.apply(sync()).written == 6
    assert on(world) == {"r1", "r2", "r3", "r4", "r5"}
    assert all(len(add) <= 3 for add, _ in world.crm.called)
    leave(world, 1, 2)
    assert world.apply(sync()).written == 2
    assert on(world) == {"r3", "r4", "r5"}
    world.profile(1)
    assert world.apply(sync()).written == 1
    assert on(world) == {"r1", "r3", "r4", "r5"}
    calls = len(world.crm.called)
    assert world.apply(sync()).written == 0
    assert len(world.crm.called) == calls
    ops = [(e.op, e.outcome, e.key_value) for e in ledger.entries(world.store, "s")]
    assert ops[0] == ("create", "ok", NAME)
    assert set(ops[1:]) == {("add", "ok", "L1"), ("remove", "ok", "L1")}


def test_members_of_other_people_stay(world: World) -> None:
    world.crm.lists["L1"] = (NAME, {"r1", "stranger"})
    assert world.apply(sync(create="never")).written == 4
    assert on(world) == {"r1", "r2", "r3", "r4", "r5", "stranger"}
    leave(world, 1, 2)
    assert world.apply(sync(create="never")).written == 1
    assert on(world) == {"r1", "r3", "r4", "r5", "stranger"}, "r1 was there before us"
    on(world).discard("r3")
    assert world.apply(sync(create="never")).written == 0
    assert "r3" not in on(world), "taken off by hand"


def test_others_may_be_removed_where_that_is_said(world: World) -> None:
    whole = sync(others="remove")
    world.crm.lists["L1"] = (NAME, {"r1", "stranger"})
    world.link("r7", 7)
    on(world).add("r7")
    world.plan(whole)
    removals = {r["record"]: r for r in world.rows().to_dicts() if r["op"] == "remove"}
    assert {r: (x["profile_id"], x["why"]) for r, x in removals.items()} == {
        "crm.Contact:r7": (7, "put there by others"),
        "crm.Contact:stranger": (0, "put there by others"),
    }
    world.apply(whole)
    assert on(world) == {"r1", "r2", "r3", "r4", "r5"}
    on(world).discard("r3")
    assert world.apply(whole).written == 1
    assert "r3" in on(world), "the list is exactly the source"
    assert world.apply(whole).written == 0


def test_add_takes_nobody_off_and_remove_puts_nobody_on(world: World) -> None:
    world.apply(sync("add"))
    leave(world, 1, 2)
    assert world.apply(sync("add")).written == 0
    assert len(on(world)) == 5
    assert world.apply(sync("remove")).written == 3
    assert on(world) == {"r1", "r2"}
    on(world).update({"r3", "stranger"})
    assert world.apply(sync("remove")).written == 1, "who comes back is taken off again"
    assert on(world) == {"r1", "r2", "stranger"}


def test_of_a_merged_profile_one_record_stays(world: World) -> None:
    world.apply(sync())
    leave(world, 2)
    world.link("r2", 1, age=5)
    world.plan(sync())
    assert [(r["record"], r["why"]) for r in world.rows().to_dicts()] == [
        ("crm.Contact:r2", "another record of the profile is meant now")
    ]
    assert world.apply(sync()).written == 1
    assert world.apply(sync()).written == 0


def test_a_deleted_list_is_never_made_again(world: World) -> None:
    world.apply(sync())
    del world.crm.lists["L1"]
    made = world.plan(sync())
    assert not made.changes
    assert made.stopped[0].startswith(f"the list {NAME!r} is gone or renamed in crm")
    assert world.apply(sync()).message.startswith("Not applied, stopped: the list")
    with pytest.raises(ApprovalError, match=r"is stopped: the list .* in `list`\.$"):
        approve(world.store, made.hash, "ada", world.now)
    assert world.crm.lists == {}
    # Somebody makes it again: it is filled anew.
    world.crm.lists["L2"] = (NAME, set())
    assert world.apply(sync()).written == 5
    assert len(on(world, "L2")) == 5


def test_a_list_that_was_there_and_is_deleted_is_not_made(world: World) -> None:
    world.crm.lists["L1"] = (NAME, {f"r{p}" for p in range(1, 6)})
    assert world.apply(sync()).written == 0
    del world.crm.lists["L1"]
    assert not world.plan(sync()).changes


def test_no_list_is_made_unasked(world: World) -> None:
    made = world.plan(sync(create="never"))
    assert made.stopped == (
        f"crm has no list {NAME!r}: make it there, or let the sync make it by `create: crm.lists`",
    )
    assert not made.changes


def test_an_empty_source_empties_no_list(world: World) -> None:
    world.apply(sync())
    leave(world, *range(1, 6))
    quiet = sync(stop_if={})
    assert world.plan(quiet).stopped[0].startswith("the source has no profile at all")
    assert world.apply(quiet).written == 0
    assert len(on(world)) == 5
    assert world.apply(sync()).written == 5


def test_brakes(world: World) -> None:
    world.apply(sync())
    for p in (6, 7):
        world.profile(p)
        world.link(f"r{p}", p)
    leave(world, 1)
    stopped = world.plan(sync(stop_if={"changed": 2, "deleted": 0})).stopped
    assert stopped == (
        "3 members would change of 5; stop_if.changed is 2",
        "1 of 5 records told before would be taken off, since their profiles left; "
        "stop_if.deleted is 0",
    )


def test_one_record_a_profile_and_none_that_is_gone(world: World) -> None:
    world.link("r1b", 1, age=9)
    world.link("r2", 2, live=False, dead=True)
    world.link("l3", 3, "Lead")
    assert world.apply(sync(members=["crm.Contact"])).written == 5
    assert on(world) == {"r1", "r3", "r4", "r5"}
    world.profile(6)
    world.link("r6", 6)
    world.link("r6b", 6)
    made = world.plan(sync(several="skip", members=["crm.Contact"]))
    assert [o.why for o in made.obstacles] == [
        "the profile has 2 records there, and `several` is skip"
    ] * 2
    assert made.rows_planned == 0


@pytest.mark.parametrize("committed", [False, True])
def test_no_answer_is_read_back(world: World, *, committed: bool) -> None:
    world.crm.lists["L1"] = (NAME, set())
    if committed:
        world.crm.cut = 2
    else:
        world.crm.faults = times_out()
    assert world.apply(sync()).unknown == 3
    world.crm.faults = None
    assert world.apply(sync()).written == (1 if committed else 3)
    assert on(world) == {"r1", "r2", "r3", "r4", "r5"}
    leave(world, 1, 2, 3, 4, 5)
    assert world.apply(sync()).written == 5, "those whose answer was lost are ours too"
    assert on(world) == set()


def test_a_refused_member_waits(world: World) -> None:
    world.crm.lists["L1"] = (NAME, set())
    world.crm.faults = lambda name, batch: {c.row: "data" for c in batch if c.record_id == "r2"}
    assert (world.apply(sync()).failed, len(on(world))) == (1, 4)
    world.crm.faults = None
    assert world.plan(sync()).held == 1
    assert world.apply(sync()).written == 0
    assert replay(world.store, "s") == 1
    assert world.apply(sync()).written == 1
    assert dead_letters(world.store).is_empty()


def test_a_system_without_lists_says_so(world: World) -> None:
    class Plain:
        name = "crm"

    with pytest.raises(SyncError, match="crm keeps no lists"):
        plan(
            world.lake, world.store, "s", sync(), Plain(), DESCRIPTION, world.now,  # type: ignore[arg-type]
            entity="person", gather=world.gather,
        )  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_point(point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed, whole = World(tmp_path / "killed"), World(tmp_path / "undisturbed")
    for one in (killed, whole):
        for p in range(7):
            one.profile(p)
            one.link(f"r{p}", p)
    for step in range(2):
        for times in (3, 2, 1, 0):
            if run_once(killed, sync(), ("kill", point, times), monkeypatch):
                break
        whole.apply(sync())
        assert killed.crm.lists == whole.crm.lists, step
        killed.now = whole.now
        assert killed.apply(sync()).written == whole.apply(sync()).written == 0
        for one in (killed, whole):
            leave(one, 0, 1, 2, 3)
            one.profile(7)
            one.link("r7", 7)
    assert dead_letters(killed.store).is_empty()


PEOPLE = range(6)
steps = st.one_of(
    st.tuples(st.just("in"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("out"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("hand"), st.sampled_from([*PEOPLE, 77]), st.booleans()),
    st.tuples(st.just("run"), faults),
)


def play(options: dict[str, Any], script: list[Any], patch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for p in PEOPLE:
            world.link(f"r{p}", p)
        touched: set[str] = set()
        for step in script:
            if step[0] == "out":
                leave(world, step[1])
            elif step[0] == "in":
                world.profile(step[1])
            elif step[0] == "hand" and world.crm.lists:
                touched.add(f"r{step[1]}")
                (on(world).add if step[2] else on(world).discard)(f"r{step[1]}")
            elif step[0] == "run":
                run_once(world, sync(**options), step[1], patch)
        replay(world.store, "s")
        for _ in range(2):
            world.apply(sync(**options))
        assert world.apply(sync(**options)).written == 0
        assert dead_letters(world.store).is_empty()
        wanted = {f"r{p['profile_id']}" for p in world.profiles}
        if world.crm.lists:
            found = on(world)
            if "others" not in options:
                found, wanted = found - touched, wanted - touched
            assert found == wanted
        else:
            assert not wanted
        assert len(world.crm.lists) <= 1
        world.store.close()


@pytest.mark.parametrize("options", [{}, {"others": "remove"}], ids=["keep", "remove"])
@pytest.mark.parametrize("examples", [6, pytest.param(120, marks=pytest.mark.slow)])
def test_scripts(options: dict[str, Any], examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    @law(examples)
    @given(st.lists(steps, min_size=2, max_size=10))
    def run(script: list[Any]) -> None:
        play(options, script, monkeypatch)

    run()
