"""Whatever happens between our store and the destination: its records end as the profiles say,
and nobody is there twice."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import ConnectorError
from cdp_assets.syncs import dead_letters, replay, run, send
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.world import World, config

FIELDS = {"Orders__c": "orders", "Title": {"trait": "title", "when_null": "clear"}}
BY_KEY = config(
    mode="upsert",
    fields=FIELDS,
    key={"CDP_Id__c": "profile_id"},
    create="crm.Contact",
)
BY_MATCH = config(
    mode="upsert",
    fields=FIELDS,
    match=["linked", {"Email": "email"}],
    create="crm.Contact",
    approve="always",
)
MIRROR = config(
    mode="mirror",
    gone="delete",
    fields=FIELDS,
    key={"CDP_Id__c": "profile_id"},
    create="crm.Contact",
    approve="never",
    stop_if={"deleted": "100%"},
)
LINKED = config(fields=FIELDS, approve="never")
ALL = [BY_KEY, BY_MATCH, LINKED, MIRROR]
NAMES = ["key", "match", "linked", "mirror"]
POINTS = (
    "plan:before-table", "plan:after-table", "plan:before-store",
    "apply:after-intent", "apply:after-call", "apply:after-outcome", "apply:after-fold",
)  # fmt: skip
PEOPLE = range(7)


class Killed(BaseException):
    """The process is gone."""


def kill_at(point: str, times: int) -> Callable[[str], None]:
    left = [times]

    def reached(name: str) -> None:
        if name == point:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    return reached


faults = st.one_of(
    st.none(),
    st.tuples(st.just("kill"), st.sampled_from(POINTS), st.integers(1, 3)),
    st.tuples(st.just("cut"), st.integers(0, 3)),
    st.tuples(
        st.just("refuse"),
        st.sampled_from(["data", "retry", "conflict", "permission"]),
        st.sets(st.integers(0, 2)),
    ),
)
steps = st.one_of(
    st.tuples(
        st.just("set"),
        st.sampled_from(PEOPLE),
        st.integers(0, 3),
        st.sampled_from([None, "CTO", "CEO"]),
    ),
    st.tuples(st.just("leave"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("pull")),
    st.tuples(st.just("delete"), st.sampled_from(PEOPLE)),
    st.tuples(st.just("run"), faults),
)


def pull(world: World) -> None:
    """Identity learns of every record there is, and of those that are gone."""
    live = world.crm.records.get("Contact", {})
    for link in list(world.links):
        record = link["record"].partition(":")[2]
        if record not in live and link["live"]:
            world.link(record, link["profile_id"], live=False, dead=True)
    known = {link["record"] for link in world.links}
    for record, fields in live.items():
        if f"crm.Contact:{record}" not in known:
            whose = fields.get("CDP_Id__c") or str(fields["Email"]).partition("@")[0][1:]
            world.link(record, int(whose))


def run_once(world: World, sync: SyncConfig, fault: Any, patch: pytest.MonkeyPatch) -> bool:
    """Whether the run came to its end."""
    with patch.context() as m:
        if fault and fault[0] == "kill":
            reached = kill_at(fault[1], fault[2])
            m.setattr(send, "crash_point", reached)
            m.setattr(run, "crash_point", reached)
        if fault and fault[0] == "cut":
            world.crm.cut = fault[1]
        if fault and fault[0] == "refuse":
            kind, rows = fault[1], fault[2]
            world.crm.faults = lambda name, batch: dict.fromkeys(rows, kind)
        try:
            world.apply(sync)
        except (Killed, ConnectorError):
            return False
        finally:
            world.crm.cut = world.crm.faults = None
    return True


def check(world: World, sync: SyncConfig, patch: pytest.MonkeyPatch, deleted: set[int]) -> None:
    replay(world.store, "s")
    if sync is MIRROR:
        # A deletion of ours that was not pulled yet holds back who returned.
        pull(world)
    for _ in range(3):
        run_once(world, sync, None, patch)
    assert dead_letters(world.store).is_empty()
    assert world.apply(sync).written == 0
    found: dict[int, list[dict[str, Any]]] = {}
    for record, fields in world.crm.records.get("Contact", {}).items():
        owner = next(
            (k["profile_id"] for k in world.links if k["record"] == f"crm.Contact:{record}"), None
        )
        whose = fields.get("CDP_Id__c") or str(fields.get("Email")).partition("@")[0][1:]
        found.setdefault(int(whose) if owner is None else owner, []).append(fields)
    if sync is MIRROR:
        assert found.keys() <= {p["profile_id"] for p in world.profiles}, "who left is gone"
    for profile in world.profiles:
        mine = found.get(profile["profile_id"], [])
        if profile["profile_id"] in deleted:
            assert mine == [], "no resurrection"
        elif sync is LINKED:
            assert len(mine) <= 1
        else:
            assert len(mine) == 1, "made once"
        for fields in mine:
            assert fields.get("Title") == profile["title"]
            assert fields.get("Orders__c") == profile["orders"]
    pull(world)
    assert world.apply(sync).written == 0


def play(sync: SyncConfig, script: list[Any], patch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for person in PEOPLE:
            world.profile(person, orders=1, title=None)
        if sync is LINKED:
            for person in PEOPLE:
                world.link(f"r{person}", person)
        deleted: set[int] = set()
        for step in script:
            if step[0] == "set":
                world.profile(step[1], orders=step[2], title=step[3])
            elif step[0] == "leave":
                world.profiles = [p for p in world.profiles if p["profile_id"] != step[1]]
            elif step[0] == "pull":
                pull(world)
            elif step[0] == "delete":
                pull(world)
                for link in world.links:
                    if link["profile_id"] == step[1] and link["live"]:
                        del world.crm.records["Contact"][link["record"].partition(":")[2]]
                        deleted.add(step[1])
            else:
                run_once(world, sync, step[1], patch)
        check(world, sync, patch, deleted)
        world.store.close()


def law(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.mark.parametrize("sync", ALL, ids=NAMES)
def test_a_few_scripts(sync: SyncConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    @law(6)
    @given(st.lists(steps, min_size=2, max_size=8))
    def run(script: list[Any]) -> None:
        play(sync, script, monkeypatch)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("sync", ALL, ids=NAMES)
def test_many_scripts(sync: SyncConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    @law(150)
    @given(st.lists(steps, min_size=3, max_size=14))
    def run(script: list[Any]) -> None:
        play(sync, script, monkeypatch)

    run()


@pytest.mark.parametrize("sync", [BY_KEY, BY_MATCH], ids=["key", "match"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_each_point(
    sync: SyncConfig, point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds = [World(tmp_path / "killed"), World(tmp_path / "undisturbed")]
    for world in worlds:
        for person in PEOPLE:
            world.profile(person, orders=person, title="CTO")
    killed, whole = worlds
    for times in (2, 1, 0):
        ended = run_once(killed, sync, ("kill", point, times), monkeypatch)
        killed.now = whole.now
        if ended:
            break
    whole.apply(sync)
    assert killed.state().equals(whole.state())
    assert killed.rows().equals(whole.rows())
    assert killed.crm.records == whole.crm.records
    assert killed.apply(sync).written == 0
    assert whole.apply(sync).written == 0
    assert killed.rows().height == whole.rows().height == 0


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_those_who_left_are_deleted(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds = [World(tmp_path / "killed"), World(tmp_path / "undisturbed")]
    killed, whole = worlds
    for world in worlds:
        world.link("r0", 0)
        for person in PEOPLE:
            world.profile(person, orders=person, title="CTO")
        world.apply(MIRROR)
        world.profiles = [p for p in world.profiles if p["profile_id"] > 4]
        world.profile(5, orders=50, title=None)
    for times in (2, 1, 0):
        if run_once(killed, MIRROR, ("kill", point, times), monkeypatch):
            break
    whole.apply(MIRROR)
    killed.apply(MIRROR)
    assert killed.crm.records == whole.crm.records
    assert len(whole.crm.records["Contact"]) == 3, "the adopted one and the two who stayed"
    assert whole.crm.records["Contact"]["r0"] == {"Orders__c": None, "Title": None}
    assert killed.apply(MIRROR).written == whole.apply(MIRROR).written == 0
    assert dead_letters(killed.store).is_empty()
