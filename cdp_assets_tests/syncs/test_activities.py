"""Tasks and the like: one for each entry into an audience, once for ever, whatever goes wrong."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.syncs import dead_letters, replay
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.test_machine import POINTS, law, run_once
from cdp_assets_tests.syncs.world import NOW, World, times_out


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def sync(**options: Any) -> SyncConfig:
    base = {
        "from": "audiences.pricing", "to": "crm.Task", "rows": "entered", "mode": "insert",
        "link": ["person", "account"], "approve": "never",
        "fields": {"Subject": "Viewed pricing {orders} times", "Status": {"value": "Open"}},
    }  # fmt: skip
    return SyncConfig.model_validate({**base, **options})


KEYED = sync(key={"CDP_Id__c": "entry"})


def enter(world: World, person: int, hours: float = 0, **values: Any) -> None:
    world.profile(person, entered_at=NOW + timedelta(hours=hours), **{"orders": 5, **values})
    world.associated = [a for a in world.associated if a[0] != person]
    world.associated += [
        (person, "person", f"crm.Contact:c{person}"), (person, "account", "crm.Account:a"),
    ]  # fmt: skip


def leave(world: World, *people: int) -> None:
    world.profiles = [p for p in world.profiles if p["profile_id"] not in people]


def tasks(world: World) -> list[tuple[Any, ...]]:
    found = world.crm.records.get("Task", {}).values()
    return sorted((t["Subject"], t.get("WhoId"), t.get("WhatId")) for t in found)


@pytest.mark.parametrize("config", [sync(), KEYED], ids=["text", "key"])
def test_one_task_an_entry_and_never_again(world: World, config: SyncConfig) -> None:
    enter(world, 1)
    enter(world, 2, orders=7)
    world.plan(config)
    rows = world.rows().filter(world.rows()["profile_id"] == 1)
    shown = {(r["field"], r["new"], r["why"]) for r in rows.to_dicts() if r["why"] != "key"}
    assert shown == {
        ("(link)", "Contact:c1 Account:a", "linked with"),
        ("Subject", "Viewed pricing 5 times", "new entry"),
        ("Status", "Open", "new entry"),
    }
    assert world.apply(config).created == 2
    made = [("Viewed pricing 5 times", "c1", "a"), ("Viewed pricing 7 times", "c2", "a")]
    assert tasks(world) == made
    # Another value, time, or the task's own deletion makes no second one.
    enter(world, 1, orders=9)
    world.crm.records["Task"].clear()
    calls = world.crm.calls
    assert world.apply(config).written == 0
    assert world.crm.calls == calls
    # Leaving makes none; entering again does.
    leave(world, 1)
    assert world.apply(config).written == 0
    enter(world, 1, hours=1)
    assert world.apply(config).created == 1


def test_who_has_no_record_waits_for_one(world: World) -> None:
    enter(world, 1)
    world.associated = [(1, "account", "crm.Account:a")]
    made = world.plan(sync())
    assert (made.rows_planned, made.without_record) == (0, 1)
    world.associated = [(1, "person", "crm.Contact:c1")]
    assert world.apply(sync()).created == 1
    assert tasks(world) == [("Viewed pricing 5 times", "c1", None)]


def test_an_empty_task_is_not_made(world: World) -> None:
    enter(world, 1, orders=None)
    bare = sync(fields={"Subject": "Viewed pricing {orders} times"})
    assert [o.why for o in world.plan(bare).obstacles] == ["no field has a value"]
    assert world.apply(bare).written == 0
    enter(world, 1)
    assert world.apply(bare).created == 1


@pytest.mark.parametrize("config", [sync(), KEYED, sync(link=[])], ids=["text", "key", "bare"])
@pytest.mark.parametrize("committed", [0, 3])
def test_a_lost_answer_doubles_nothing(world: World, config: SyncConfig, committed: int) -> None:
    for p in (1, 2, 3):
        enter(world, p)
    if committed:
        world.crm.cut = committed
    else:
        world.crm.faults = times_out()
    assert world.apply(config).unknown == 3
    world.crm.faults = None
    assert world.apply(config).created == 3 - committed
    assert len(tasks(world)) == 3
    if config.link:
        assert {who for _, who, _ in tasks(world)} == {"c1", "c2", "c3"}
    assert world.apply(config).written == 0
    assert dead_letters(world.store).is_empty()


def test_half_a_call_is_told_apart_by_links(world: World) -> None:
    for p in (1, 2, 3):
        enter(world, p)
    world.crm.cut = 2
    world.apply(sync())
    assert world.apply(sync()).created == 1
    assert [who for _, who, _ in tasks(world)] == ["c1", "c2", "c3"]


def test_where_nobody_can_tell_a_person_looks(world: World) -> None:
    """Without links two of three equal tasks are there: nobody knows whose."""
    bare = sync(link=[])
    for p in (1, 2, 3):
        enter(world, p)
    world.crm.cut = 2
    world.apply(bare)
    world.crm.mapping = lambda name: None  # type: ignore[method-assign]
    assert world.apply(bare).written == 0
    assert dead_letters(world.store)["code"].to_list() == ["UNKNOWN_OUTCOME"] * 3
    assert world.apply(bare).written == 0
    assert replay(world.store, "s", [int(dead_letters(world.store)["id"][2])]) == 1
    assert world.apply(bare).created == 1
    assert len(tasks(world)) == 3


def test_a_text_that_names_the_entry_tells_them_apart(world: World) -> None:
    named = sync(link=[], fields={"Subject": "Viewed {orders} times", "CDP_Id__c": "entry"})
    for p in (1, 2, 3):
        enter(world, p)
    world.crm.cut = 2
    world.apply(named)
    world.crm.mapping = lambda name: None  # type: ignore[method-assign]
    assert world.apply(named).created == 1
    assert len(tasks(world)) == 3
    assert dead_letters(world.store).is_empty()


def test_a_task_of_other_people_is_not_taken_for_ours(world: World) -> None:
    enter(world, 1)
    old = {"Subject": "Viewed pricing 5 times", "WhoId": "c1", "WhatId": "a"}
    world.crm.records["Task"] = {
        "old": {**old, "CreatedDate": (NOW - timedelta(days=1)).isoformat()},
        "elsewhere": {**old, "WhoId": "c9", "CreatedDate": NOW.isoformat()},
    }
    world.crm.faults = times_out()
    world.apply(sync())
    world.crm.faults = None
    assert world.apply(sync()).created == 1
    assert len(tasks(world)) == 3


def test_an_earlier_task_of_ours_is_not_taken_for_a_later_one(world: World) -> None:
    enter(world, 1)
    world.apply(sync())
    leave(world, 1)
    world.apply(sync())
    enter(world, 1, hours=0.1)
    # Too soon after the first for time alone to tell them apart.
    world.now = NOW + timedelta(minutes=1)
    world.crm.faults = times_out()
    world.apply(sync())
    world.crm.faults = None
    assert world.apply(sync()).created == 1
    assert len(tasks(world)) == 2


def test_a_pulled_task_stays_told(world: World) -> None:
    """As a record of another entity it is nobody's, and still ours."""
    enter(world, 1)
    world.apply(sync())
    gather = world.gather
    import dataclasses

    import polars as pl

    def pulled(*where: Any) -> Any:
        foreign = pl.LazyFrame({"record": ["crm.Task:n0001"]})
        return dataclasses.replace(gather(*where), foreign=foreign)

    world.gather = pulled  # type: ignore[method-assign]
    assert world.apply(sync()).written == 0


def test_a_new_record_is_linked_with_its_account(world: World) -> None:
    contact = SyncConfig.model_validate(
        {
            "from": "person", "to": "crm.Contact", "mode": "insert", "link": ["account"],
            "key": {"CDP_Id__c": "profile_id"}, "fields": {"Orders__c": "orders"},
        }
    )  # fmt: skip
    world.profile(1, orders=1)
    world.profile(2, orders=2)
    world.associated = [(1, "account", "crm.Account:a")]
    assert world.apply(contact).created == 2
    assert [r.get("WhatId") for r in world.crm.records["Contact"].values()] == ["a", None]


def test_a_new_record_may_wait_for_its_account(world: World) -> None:
    contact = SyncConfig.model_validate(
        {
            "from": "person", "to": "crm.Contact", "mode": "upsert", "create": "crm.Contact",
            "link": ["account"], "unlinked": "wait", "match": ["linked", {"Email": "email"}],
            "fields": {"Orders__c": "orders"}, "approve": "never",
        }
    )  # fmt: skip
    world.profile(1, orders=1)
    world.profile(2, orders=2)
    world.associated = [(1, "account", "crm.Account:a")]
    assert world.plan(contact).without_record == 1
    assert world.apply(contact).created == 1
    world.associated.append((2, "account", "crm.Account:b"))
    assert world.apply(contact).created == 1
    assert [r.get("WhatId") for r in world.crm.records["Contact"].values()] == ["a", "b"]


def test_a_task_may_wait_for_all_it_is_linked_with(world: World) -> None:
    enter(world, 1)
    world.associated = [(1, "person", "crm.Contact:c1")]
    assert world.plan(sync(unlinked="wait")).rows_planned == 0
    assert world.plan(sync()).rows_planned == 1


@pytest.mark.parametrize("config", [sync(), KEYED], ids=["text", "key"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_point(
    config: SyncConfig, point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, whole = World(tmp_path / "killed"), World(tmp_path / "undisturbed")
    for one in (killed, whole):
        for p in range(7):
            enter(one, p)
    for times in (2, 1, 0):
        if run_once(killed, config, ("kill", point, times), monkeypatch):
            break
    whole.apply(config)
    assert tasks(killed) == tasks(whole)
    assert len(tasks(whole)) == 7
    assert killed.apply(config).written == whole.apply(config).written == 0
    assert dead_letters(killed.store).is_empty()


steps = st.one_of(
    st.tuples(st.just("enter"), st.integers(0, 4)),
    st.tuples(st.just("leave"), st.integers(0, 4)),
    st.tuples(
        st.just("run"),
        st.one_of(
            st.none(),
            st.tuples(st.just("kill"), st.sampled_from(POINTS), st.integers(1, 3)),
            st.tuples(st.just("cut"), st.integers(0, 3)),
            st.tuples(
                st.just("refuse"), st.sampled_from(["data", "retry"]), st.sets(st.integers(0, 2))
            ),
        ),
    ),
)


def play(config: SyncConfig, script: list[Any], patch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        entries: dict[int, int] = {}
        inside: set[int] = set()
        for at, step in enumerate(script):
            if step[0] == "enter" and step[1] not in inside:
                inside.add(step[1])
                entries[step[1]] = entries.get(step[1], 0) + 1
                enter(world, step[1], hours=at)
            elif step[0] == "leave":
                inside.discard(step[1])
                leave(world, step[1])
            elif step[0] == "run":
                run_once(world, config, step[1], patch)
        replay(world.store, "s")
        for _ in range(2):
            world.apply(config)
        assert world.apply(config).written == 0
        assert (
            dead_letters(world.store)
            .filter(dead_letters(world.store)["profile_id"].is_in(list(inside)))
            .is_empty()
        )
        made: dict[int, int] = {}
        for _, who, _ in tasks(world):
            made[int(who[1:])] = made.get(int(who[1:]), 0) + 1
        for person, count in entries.items():
            least = 1 if person in inside else 0
            assert least <= made.get(person, 0) <= count, "once an entry"
        world.store.close()


@pytest.mark.parametrize("config", [sync(), KEYED], ids=["text", "key"])
@pytest.mark.parametrize("examples", [6, pytest.param(120, marks=pytest.mark.slow)])
def test_scripts(config: SyncConfig, examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    @law(examples)
    @given(st.lists(steps, min_size=2, max_size=10))
    def run(script: list[Any]) -> None:
        play(config, script, monkeypatch)

    run()
