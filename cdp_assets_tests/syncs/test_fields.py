"""How single fields are told: beside what people write, into lists, as references, cut to fit."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.connectors.base import RowChange, RowOutcome
from cdp_assets.syncs import dead_letters, replay
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.test_machine import POINTS, law, run_once
from cdp_assets_tests.syncs.world import Crm, World, config


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def whys(world: World) -> dict[str, tuple[str, str]]:
    return {r["field"]: (r["op"], r["why"]) for r in world.rows().to_dicts()}


def test_someone_elses_change_of_our_field_is_named(world: World) -> None:
    sync = config(fields={"Title": "title", "Orders__c": "orders"})
    world.profile(1, title="CTO", orders=1)
    world.link("a", 1)
    world.apply(sync)
    record = world.crm.records["Contact"]["a"]
    record["Title"] = "Boss"
    world.profile(1, title="CTO", orders=2)
    world.plan(sync)
    assert whys(world) == {
        "Title": ("update", "title: changed there since told"),
        "Orders__c": ("update", "orders: changed since told"),
    }
    assert world.rows().filter(world.rows()["field"] == "Title")["old"].to_list() == ["Boss"]
    world.apply(sync)
    assert record == {"Title": "CTO", "Orders__c": 2}


GIVES_WAY = config(fields={"Title": {"trait": "title", "write": "give_way"}, "Orders__c": "orders"})


def test_a_field_gives_way_to_people_until_they_empty_it(world: World) -> None:
    world.profile(1, title="CTO", orders=1)
    world.link("a", 1, Title="old")
    assert world.apply(GIVES_WAY).written == 1
    record = world.crm.records["Contact"]["a"]
    assert record["Title"] == "CTO", "the first telling takes it"
    world.profile(1, title="CEO", orders=1)
    assert world.apply(GIVES_WAY).written == 1
    assert record["Title"] == "CEO", "nobody changed it"
    record["Title"] = "Boss"
    world.profile(1, title="CFO", orders=1)
    assert world.apply(GIVES_WAY).written == 0
    for _ in range(2):
        calls = world.crm.calls
        made = world.plan(GIVES_WAY)
        assert [(o.op, o.field, o.why) for o in made.obstacles] == [
            ("left", "Title", "changed there since told, and it gives way")
        ]
        assert world.crm.calls == calls, "and it is said without reading again"
    assert made.row_errors == 0
    # Another field of the record is told, this one is left, and that is said once.
    world.profile(1, title="CFO", orders=4)
    assert len(world.plan(GIVES_WAY).obstacles) == 1
    assert world.apply(GIVES_WAY).written == 1
    world.profile(1, title="CIO", orders=5)
    assert world.apply(GIVES_WAY).written == 1
    assert record == {"Title": "Boss", "Orders__c": 5}
    record["Title"] = None
    world.profile(1, title="CIO", orders=6)
    assert world.apply(GIVES_WAY).written == 1
    assert record == {"Title": "CIO", "Orders__c": 6}, "emptied, and told along with another"
    world.profile(1, title="COO", orders=5)
    assert world.apply(GIVES_WAY).written == 1
    assert record["Title"] == "COO"
    assert world.plan(GIVES_WAY).obstacles == ()
    # What people and we agree on is ours again.
    record["Title"] = "CTO"
    world.profile(1, title="CTO", orders=5)
    assert world.apply(GIVES_WAY).written == 0
    world.profile(1, title="CEO", orders=5)
    assert world.apply(GIVES_WAY).written == 1
    assert record["Title"] == "CEO"


def test_a_created_record_gives_way_too(world: World) -> None:
    sync = config(
        mode="upsert", create="crm.Contact", key={"CDP_Id__c": "profile_id"}, match=["linked"],
        fields={"Title": {"trait": "title", "write": "give_way"}},
    )  # fmt: skip
    world.profile(1, title="CTO")
    world.apply(sync)
    record = world.crm.records["Contact"]["n0001"]
    world.profile(1, title="CEO")
    assert world.apply(sync).written == 1
    record["Title"] = "Boss"
    world.profile(1, title="CFO")
    assert world.apply(sync).written == 0
    assert record["Title"] == "Boss"


APPEND = config(fields={"Interests__c": {"trait": "title", "write": "append"}})


def test_members_are_added_and_none_is_taken_away(world: World) -> None:
    world.profile(1, title="b")
    world.link("a", 1, Interests__c="a")
    world.profile(2, title="c")
    world.link("has", 2, Interests__c="a;c")
    world.profile(3, title="a;c")
    world.link("none", 3)
    assert world.apply(APPEND).written == 2
    records = world.crm.records["Contact"]
    found = [records[i]["Interests__c"] for i in ("a", "has", "none")]
    assert found == ["a;b", "a;c", "a;c"]
    calls = world.crm.calls
    assert world.apply(APPEND).written == 0
    assert world.crm.calls == calls
    world.profile(1, title="c")
    world.apply(APPEND)
    assert records["a"]["Interests__c"] == "a;b;c"
    world.profile(1, title="zebra")
    assert [o.why for o in world.plan(APPEND).obstacles] == [
        "Interests__c: the value is none of the field's options"
    ]


def test_of_a_list_our_members_go_when_the_profile_leaves(world: World) -> None:
    fields = {"Interests__c": {"trait": "title", "write": "append"}}
    sync = config(mode="mirror", gone="clear", fields=fields, stop_if={"deleted": "100%"})
    world.profile(1, title="b")
    world.link("a", 1, Interests__c="a")
    world.profile(2, title="c")
    world.link("c", 2)
    world.apply(sync)
    world.profiles = []
    assert world.apply(sync).written == 2
    assert [r["Interests__c"] for r in world.crm.records["Contact"].values()] == ["a", None]
    assert world.apply(sync).written == 0
    world.profile(1, title="b")
    world.apply(sync)
    assert world.crm.records["Contact"]["a"]["Interests__c"] == "a;b"


def test_a_text_is_cut_where_that_is_said(world: World) -> None:
    world.profile(1, title="t" * 38 + "é" + "😀")
    world.link("a", 1)
    assert world.plan(config(fields={"Title": "title"})).row_errors == 1
    cut = config(fields={"Title": {"trait": "title", "too_long": "cut"}})
    assert world.apply(cut).written == 1
    assert world.crm.records["Contact"]["a"]["Title"] == "t" * 38 + "é"
    assert world.apply(cut).written == 0


def owned(**options: Any) -> SyncConfig:
    return config(fields={"OwnerId": {"owner": "title"}, "Orders__c": "orders"}, **options)


def test_an_owner_is_told_by_address(world: World) -> None:
    world.users = [("Ada@Example.com", "005A"), ("two@example.com", "005B"),
                   ("two@example.com", "005C")]  # fmt: skip
    world.profile(1, title="ada@example.com", orders=1)
    world.profile(2, title="two@example.com", orders=1)
    world.profile(3, title="nobody@example.com", orders=1)
    for p in (1, 2, 3):
        world.link(f"r{p}", p)
    world.plan(owned())
    errors = {r["record"]: r["why"] for r in world.rows().to_dicts() if r["op"] == "error"}
    assert errors == {
        "crm.Contact:r2": "OwnerId: 2 records have this e-mail of its users",
        "crm.Contact:r3": "OwnerId: no record has this e-mail of its users",
    }
    assert world.apply(owned()).written == 3
    assert [r.get("OwnerId") for r in world.crm.records["Contact"].values()] == ["005A", None, None]
    calls = world.crm.calls
    assert world.apply(owned()).written == 0
    assert world.crm.calls == calls
    world.users.append(("nobody@example.com", "005D"))
    assert world.apply(owned()).written == 1
    assert world.crm.records["Contact"]["r3"]["OwnerId"] == "005D"


def test_a_reference_is_told_by_a_key(world: World) -> None:
    sync = config(
        mode="upsert", create="crm.Contact", key={"CDP_Id__c": "profile_id"},
        fields={"AccountId": {"trait": "title", "lookup": "Account.CDP_Id__c"}},
    )  # fmt: skip
    world.crm.records["Account"] = {"A1": {"CDP_Id__c": "K1"}, "A2": {"CDP_Id__c": "K2"}}
    world.profile(1, title="K1")
    world.profile(2, title="K2")
    world.link("a", 1)
    world.profile(3, title="K9")
    world.link("b", 3)
    assert world.apply(sync).written == 2
    records = world.crm.records["Contact"]
    assert [records[i].get("AccountId") for i in ("a", "n0001", "b")] == ["A1", "A2", None]
    assert world.apply(sync).written == 0
    world.profile(1, title="K2")
    assert world.apply(sync).written == 1
    assert records["a"]["AccountId"] == "A2"


def test_a_hash_is_told_in_place_of_the_text(world: World) -> None:
    sync = config(fields={"Title": {"trait": "email", "hash": "sha256"}, "Orders__c": "orders"})
    world.profile(1, orders=1)
    world.link("a", 1)
    world.profile(2, email="", orders=1)
    world.link("b", 2)
    # The field here is shorter than 64 digits: of a hash that is told cut nothing would be left.
    assert world.plan(sync).row_errors == 1
    wide = config(
        fields={"LeadSource": {"trait": "orders", "hash": "sha256", "too_long": "cut"}}
    )  # fmt: skip
    assert world.apply(wide).written == 2
    digits = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    assert world.crm.records["Contact"]["a"]["LeadSource"] == digits[:40]


STAMPED = config(
    fields={
        "Orders__c": "orders",
        "Title": {"stamp": "sync"},
        "LeadSource": {"stamp": "told_at", "write": "on_create"},
    },
    mode="upsert", create="crm.Contact", key={"CDP_Id__c": "profile_id"},
)  # fmt: skip


def test_a_stamp_goes_with_what_is_told_and_never_alone(world: World) -> None:
    world.profile(1, orders=1)
    world.link("a", 1)
    world.profile(2, orders=2)
    world.plan(STAMPED)
    assert {r["new"] for r in world.rows().to_dicts() if r["why"] == "set with each row"} == {
        "(sync)", "(told_at)",
    }  # fmt: skip
    assert world.apply(STAMPED).written == 2
    records = world.crm.records["Contact"]
    assert records["a"] == {"Orders__c": 1, "Title": "s"}
    stamp = records["n0001"].pop("LeadSource")
    assert stamp.startswith("2026-03-01")
    assert records["n0001"] == {"Orders__c": 2, "Title": "s", "CDP_Id__c": "2"}
    assert world.apply(STAMPED).written == 0
    world.crm.cut = 1
    world.profile(1, orders=5)
    assert world.apply(STAMPED).unknown == 1
    assert world.apply(STAMPED).written == 0, "read back with its stamp"


def test_some_rows_may_be_tried_first(world: World) -> None:
    for p in range(1, 9):
        world.profile(p, orders=p)
        world.link(f"r{p}", p)
    sync = config(approve="always")
    first = world.apply(sync, limit=2)
    assert (first.written, first.message) == (
        2, "Only 2 of 8 rows were sent, as asked; the next run goes on.",
    )  # fmt: skip
    assert world.apply(sync, yes=False, limit=1).written == 1, "the yes was to all of it"
    assert world.apply(sync, yes=False).written == 5
    assert world.apply(sync, yes=False).written == 0


BOTH = config(
    fields={
        "Title": {"trait": "title", "write": "give_way"},
        "Interests__c": {"trait": "status", "write": "append"},
        "LeadSource": {"trait": "title", "write": "if_empty"},
        "Orders__c": "orders",
    },
    approve="never",
)
TITLES = st.sampled_from(["CTO", "CEO", "Boss"])
steps = st.one_of(
    st.tuples(
        st.just("set"), st.integers(0, 3), TITLES, st.sampled_from(["a", "b", "a;c"]),
        st.integers(0, 2),
    ),
    st.tuples(st.just("order"), st.integers(0, 3), st.integers(0, 9)),
    st.tuples(st.just("edit"), st.integers(0, 3), st.none() | TITLES),
    st.tuples(st.just("tick"), st.integers(0, 3), st.sampled_from(["b", "c"])),
    st.tuples(
        st.just("run"),
        st.none()
        | st.tuples(st.just("kill"), st.sampled_from(POINTS[:3]), st.just(1))
        | st.tuples(
            st.just("refuse"), st.sampled_from(["data", "retry"]), st.sets(st.integers(0, 2))
        ),
    ),
)  # fmt: skip


class Watched(Crm):
    """Notices when a row writes over what a person wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.ours: dict[str, Any] = {}

    def _one(self, object_name: str, change: RowChange) -> RowOutcome:
        record = str(change.record_id)
        before = self.records[object_name][record]
        if "Title" in change.fields:
            was = before.get("Title")
            assert was is None or record not in self.ours or was == self.ours[record]
            self.ours[record] = change.fields["Title"]
        if "Interests__c" in change.fields:
            had = set(filter(None, (before.get("Interests__c") or "").split(";")))
            assert had <= set(change.fields["Interests__c"].split(";"))
        if "LeadSource" in change.fields:
            assert before.get("LeadSource") is None
        return super()._one(object_name, change)


def play(script: list[Any], patch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), crm=Watched())
        edited: set[int] = set()
        for p in range(4):
            world.profile(p, title="CTO", status="a", orders=0)
            world.link(f"r{p}", p)
        records = world.crm.records["Contact"]
        for step in script:
            if step[0] == "set":
                world.profile(step[1], title=step[2], status=step[3], orders=step[4])
            elif step[0] == "order":
                known = next(p for p in world.profiles if p["profile_id"] == step[1])
                known["orders"] = step[2]
            elif step[0] == "edit":
                records[f"r{step[1]}"]["Title"] = step[2]
                edited.add(step[1])
            elif step[0] == "tick":
                record = records[f"r{step[1]}"]
                record["Interests__c"] = ";".join(
                    sorted({*filter(None, (record.get("Interests__c") or "").split(";")), step[2]})
                )
            else:
                run_once(world, BOTH, step[1], patch)
        replay(world.store, "s")
        for _ in range(2):
            world.apply(BOTH)
        assert world.apply(BOTH).written == 0
        assert dead_letters(world.store).is_empty()
        for profile in world.profiles:
            record = records[f"r{profile['profile_id']}"]
            assert record.get("Orders__c") == profile["orders"]
            assert set(profile["status"].split(";")) <= set(record["Interests__c"].split(";"))
            if profile["profile_id"] not in edited:
                assert record["Title"] == profile["title"]
        world.store.close()


@pytest.mark.parametrize("examples", [10, pytest.param(150, marks=pytest.mark.slow)])
def test_nobodys_value_is_written_over(examples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    @law(examples)
    @given(st.lists(steps, min_size=2, max_size=12))
    def run(script: list[Any]) -> None:
        play(script, monkeypatch)

    run()
