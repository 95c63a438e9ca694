"""The rules by which rows find their records, and what is done about those that do not."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from cdp_assets.syncs import dead_letters, replay
from cdp_assets.syncs.approval import ApprovalError, approve
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.world import World, config, times_out


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def upsert(**options: object) -> SyncConfig:
    base = {"mode": "upsert", "match": ["linked", {"Email": "email"}], "create": "crm.Contact"}
    return config(**{**base, **options})


def errors(world: World, sync: SyncConfig) -> list[str]:
    return [o.why for o in world.plan(sync).obstacles]


# which record


def test_the_contact_goes_before_the_lead(world: World) -> None:
    sync = config(to=["crm.Contact", "crm.Lead"])
    world.profile(1, orders=1)
    world.profile(2, orders=2)
    world.link("c", 1)
    world.link("l", 1, "Lead")
    world.link("m", 2, "Lead")
    world.apply(sync)
    assert world.crm.records["Contact"]["c"]["Orders__c"] == 1
    assert world.crm.records["Lead"] == {"l": {}, "m": {"Orders__c": 2}}


def test_several_records(world: World) -> None:
    world.profile(1, orders=1)
    world.link("b", 1, age=5)
    world.link("a", 1, age=9)
    world.apply(config(several="skip"))
    assert world.crm.records["Contact"] == {"a": {}, "b": {}}
    assert errors(world, config(several="skip")) == [
        "the profile has 2 records there, and `several` is skip"
    ]
    world.apply(config())
    assert world.crm.records["Contact"] == {"a": {}, "b": {"Orders__c": 1}}
    world.apply(config(several="all"))
    assert world.crm.records["Contact"]["a"] == {"Orders__c": 1}


def test_a_match_adopts_one_record_that_nobody_has(world: World) -> None:
    for p in (1, 2, 3, 4):
        world.profile(p, orders=p)
    records = world.crm.records.setdefault("Contact", {})
    records["free"] = {"Email": "p1@example.com"}
    records["twin1"] = {"Email": "p2@example.com"}
    records["twin2"] = {"Email": "p2@example.com"}
    world.link("taken", 9, Email="p3@example.com")
    assert world.apply(upsert()).created == 1
    assert records["free"]["Orders__c"] == 1
    assert records["n0001"] == {"Orders__c": 4, "Email": "p4@example.com"}
    assert all("Orders__c" not in records[name] for name in ("twin1", "twin2", "taken"))
    assert errors(world, upsert()) == [
        "2 records have this Email: make it unique there",
        "the record with this Email belongs to another profile",
    ]
    # Adopted and created records are remembered, though identity does not know them yet.
    world.profile(1, orders=10)
    assert world.apply(upsert()).written == 1
    assert records["free"]["Orders__c"] == 10


def test_one_record_for_two_profiles_is_for_neither(world: World) -> None:
    world.profile(1, orders=1, email="same@example.com")
    world.profile(2, orders=2, email="same@example.com")
    world.crm.records["Contact"] = {"r": {"Email": "same@example.com"}}
    assert errors(world, upsert()) == ["2 profiles find the same record by Email"] * 2
    world.crm.records["Contact"] = {}
    assert errors(world, upsert()) == ["several profiles have the same email"] * 2
    assert world.apply(upsert()).written == 0


def test_a_key_must_be_there_and_ours(world: World) -> None:
    sync = upsert(key={"CDP_Id__c": "status"}, match=["linked"])
    world.profile(1, orders=1)
    world.profile(2, orders=2, status="K")
    world.profile(3, orders=3, status="k")
    world.profile(4, orders=4, status="Z")
    world.link("z", 9, CDP_Id__c="Z")
    assert errors(world, sync) == [
        "the record with this CDP_Id__c belongs to another profile",
        "status is null, and it is the key",
        "several profiles have the same status",
        "several profiles have the same status",
    ]


def test_who_is_a_lead_is_not_created_as_a_contact(world: World) -> None:
    world.profile(1, orders=1)
    world.link("l", 1, "Lead")
    assert world.apply(upsert()).written == 0
    assert world.crm.records.get("Contact", {}) == {}


def test_who_was_deleted_there_does_not_come_back(world: World) -> None:
    world.profile(1, orders=1)
    world.link("d", 1, live=False, dead=True)
    assert world.apply(upsert()).written == 0
    # Of a merged record the survivor is written to.
    world.profile(2, orders=2)
    world.link("loser", 2, live=False)
    world.link("winner", 2)
    assert world.apply(upsert()).written == 1
    assert world.crm.records["Contact"]["winner"] == {"Orders__c": 2}


def test_a_record_gone_since_the_last_pull_is_neither_written_nor_made_again(world: World) -> None:
    world.profile(1, orders=1)
    world.link("a", 1)
    world.apply(upsert())
    del world.crm.records["Contact"]["a"]
    world.profile(1, orders=2)
    assert errors(world, upsert()) == [
        "the record is gone there; the next pull will tell what became of it"
    ]
    assert world.apply(upsert()).written == 0
    assert world.crm.records["Contact"] == {}


def test_a_merge_and_a_split_of_profiles_move_the_state(world: World) -> None:
    sync = upsert(match=["linked"], key={"CDP_Id__c": "profile_id"})
    world.profile(1, orders=1)
    world.profile(2, orders=2)
    assert world.apply(sync).created == 2
    # Profile 2 is retired into 1, and identity has not seen the records yet.
    world.profiles = [p for p in world.profiles if p["profile_id"] == 1]
    world.redirects = [{"old": 2, "new": 1}]
    assert world.apply(sync).written == 0
    # Now it has, and they part again.
    world.redirects = []
    world.profile(2, orders=7)
    world.link("n0001", 1)
    world.link("n0002", 2)
    assert world.apply(sync).written == 1
    assert world.crm.records["Contact"]["n0002"]["Orders__c"] == 7
    assert world.crm.created == 2


def test_insert_makes_records_only_for_those_without(world: World) -> None:
    sync = config(mode="insert", match=["linked", {"Email": "email"}])
    world.profile(1, orders=1)
    world.profile(2, orders=2)
    world.link("a", 1)
    assert world.apply(sync).created == 1
    world.profile(2, orders=3)
    assert world.apply(sync).written == 0
    assert world.crm.records["Contact"] == {
        "a": {},
        "n0001": {"Orders__c": 2, "Email": "p2@example.com"},
    }


def test_those_sought_in_vain_are_not_asked_for_again(world: World) -> None:
    sync = config(match=["linked", {"Email": "email"}])
    for p in range(20):
        world.profile(p, orders=p)
    world.plan(sync)
    assert world.crm.calls == 1
    world.plan(sync)
    assert world.crm.calls == 1
    world.profile(3, orders=3, email="new@example.com")
    world.crm.records["Contact"] = {"r": {"Email": "new@example.com"}}
    assert [c.record_id for c in world.plan(sync).changes] == ["r"]
    world.crm.records["Contact"]["s"] = {"Email": "p4@example.com"}
    assert len(world.plan(sync).changes) == 1
    world.now += timedelta(days=8)
    assert len(world.plan(sync).changes) == 2


# which values


def test_write_policies(world: World) -> None:
    sync = upsert(
        fields={
            "Title": {"trait": "title", "write": "if_empty"},
            "LeadSource": {"value": "Product", "write": "on_create"},
            "Orders__c": "orders",
        }
    )
    world.profile(1, title="CTO", orders=1)
    world.profile(2, title="CEO", orders=1)
    world.profile(3, title="COO", orders=1)
    world.link("a", 1, Title="Boss", LeadSource="Web")
    world.link("b", 2)
    world.apply(sync)
    records = world.crm.records["Contact"]
    assert records["a"] == {"Title": "Boss", "LeadSource": "Web", "Orders__c": 1}
    assert records["b"] == {"Title": "CEO", "Orders__c": 1}
    assert records["n0001"] == {
        "Title": "COO", "LeadSource": "Product", "Orders__c": 1, "Email": "p3@example.com",
    }  # fmt: skip
    calls = world.crm.calls
    world.plan(sync)
    assert world.crm.calls == calls, "what was found not to be empty is remembered"
    # What people wrote stays, also where the trait changes.
    world.profile(1, title="CFO", orders=1)
    world.profile(2, title="CFO", orders=1)
    assert world.apply(sync).written == 0
    records["b"]["Title"] = None
    world.profile(2, title="CIO", orders=1)
    world.apply(sync)
    assert records["b"]["Title"] == "CIO"


def test_what_one_policy_held_back_is_news_under_another(world: World) -> None:
    def sync(write: str, **options: object) -> SyncConfig:
        fields = {"Title": {"trait": "title", "write": write}, "Orders__c": "orders"}
        return upsert(fields=fields, **options)

    world.profile(1, title="CTO", orders=1)
    world.profile(2, title="CEO", orders=1)
    world.profile(3, title="COO", orders=1)
    world.link("full", 1, Title="Boss")
    world.link("empty", 2)
    records = world.crm.records["Contact"]

    def titles() -> list[object]:
        return [records[name].get("Title") for name in ("full", "empty", "n0001")]

    world.apply(sync("on_create"))
    assert titles() == ["Boss", None, "COO"]
    world.apply(sync("if_empty"))
    assert titles() == ["Boss", "CEO", "COO"]
    # Held back together with a field that was written, and then without one.
    world.profile(1, title="CFO", orders=2)
    world.apply(sync("if_empty"))
    world.profile(1, title="CIO", orders=2)
    assert world.apply(sync("if_empty")).written == 0
    assert titles() == ["Boss", "CEO", "COO"]
    calls = world.crm.calls
    world.plan(sync("if_empty"))
    assert world.crm.calls == calls, "what was held back is not read at each plan"
    changes = world.plan(sync("always")).changes
    assert [dict(change.told) for change in changes] == [{"Title": "CIO"}]
    world.apply(sync("always"))
    assert titles() == ["CIO", "CEO", "COO"]
    # The other way: what was told stays, and what people write after it too.
    records["full"]["Title"] = "Chief"
    for write in ("if_empty", "on_create"):
        assert world.apply(sync(write)).written == 0
    world.profile(1, title="CDO", orders=2)
    assert world.apply(sync("if_empty")).written == 0
    assert world.apply(sync("on_create")).written == 0
    world.apply(sync("always"))
    assert titles() == ["CDO", "CEO", "COO"]


def test_a_null_says_nothing_unless_it_is_to_clear(world: World) -> None:
    world.profile(1, title="CTO", orders=1)
    world.link("a", 1, Title="x", Orders__c=1)
    keep = config(fields={"Title": "title", "Orders__c": "orders"})
    clear = config(
        fields={"Title": {"trait": "title", "when_null": "clear"}, "Orders__c": "orders"}
    )
    world.apply(keep)
    world.profile(1, title=None, orders=2)
    world.apply(keep)
    assert world.crm.records["Contact"]["a"] == {"Title": "CTO", "Orders__c": 2}
    world.apply(clear)
    assert world.crm.records["Contact"]["a"] == {"Title": None, "Orders__c": 2}
    assert world.apply(clear).written == 0


def test_what_is_to_be_cleared_from_now_on_empties_records_known_before(world: World) -> None:
    world.profile(1, title=None, orders=1)
    world.link("a", 1, Title="x", Orders__c=1)
    world.apply(config(fields={"Title": "title", "Orders__c": "orders"}))
    clear = config(
        fields={"Title": {"trait": "title", "when_null": "clear"}, "Orders__c": "orders"}
    )
    assert world.apply(clear).written == 1
    assert world.crm.records["Contact"]["a"]["Title"] is None
    calls = world.crm.calls
    assert world.apply(clear).written == 0
    assert world.crm.calls == calls, "a field found empty is not read again"


def test_equal_values_are_not_written(world: World) -> None:
    world.profile(1, revenue=Decimal("12.500"), orders=2)
    world.link("a", 1, Revenue__c=12.5, Orders__c=2.0)
    assert world.apply(config()).written == 0
    calls = world.crm.calls
    world.plan(config())
    assert world.crm.calls == calls
    # A difference that the destination would round away is none.
    world.profile(1, revenue=Decimal("12.5001"), orders=2)
    assert world.apply(config()).written == 0


def test_templates_and_literals(world: World) -> None:
    sync = config(
        fields={"Title": "{orders} orders, {revenue} in all", "LeadSource": {"value": True}}
    )
    world.profile(1, orders=2, revenue=Decimal("10.50"))
    world.profile(2, orders=2)
    world.link("a", 1)
    world.link("b", 2)
    world.apply(sync)
    assert world.crm.records["Contact"] == {
        "a": {"Title": "2 orders, 10.5 in all", "LeadSource": True},
        "b": {"LeadSource": True},
    }


def test_a_value_that_does_not_fit_keeps_its_field_alone(world: World) -> None:
    sync = config(fields={"Title": "title", "Status": "status", "Orders__c": "orders"})
    world.profile(1, title="t" * 41, status="Sold", orders=3)
    world.link("a", 1)
    made = world.plan(sync)
    assert [(o.field, o.why) for o in made.obstacles] == [
        ("Title", "Title: the value is longer than 40 characters"),
        ("Status", "Status: the value is none of the field's options"),
    ]
    assert "tttt" not in str([o.why for o in made.obstacles])
    world.apply(sync)
    assert world.crm.records["Contact"]["a"] == {"Orders__c": 3}
    calls = world.crm.calls
    world.plan(sync)
    assert world.crm.calls == calls, "a row without anything to tell is not read"


# brakes


def test_stop_if(world: World) -> None:
    for p in range(10):
        world.profile(p, orders=p)
        world.link(f"r{p}", p)
    sync = config(stop_if={"changed": "20%", "created": 1})
    assert world.apply(sync).written == 10, "a first run changes nothing that was told"
    for p in range(3):
        world.profile(p, orders=100)
    made = world.plan(sync)
    assert made.stopped == ("3 of 10 records told before would change; stop_if.changed is 20%",)
    with pytest.raises(ApprovalError, match=r"raise the limit"):
        approve(world.store, made.hash, "ada", world.now)
    result = world.apply(sync)
    assert result.written == 0
    assert result.message.startswith("Not applied, stopped: 3 of 10")
    world.profile(2, orders=2)
    assert world.apply(sync).written == 2
    creating = upsert(stop_if={"created": 1})
    world.profile(20)
    world.profile(21)
    world.profile(20, orders=1)
    world.profile(21, orders=1)
    assert world.apply(creating).message.startswith("Not applied, stopped: 2 records would be")


def test_failed_stops_the_rest_and_the_rest_comes_first_next_time(world: World) -> None:
    for p in range(12):
        world.profile(p, orders=p)
        world.link(f"r{p:02}", p)
    sync = config(stop_if={"failed": "10%"})
    world.crm.faults = lambda name, batch: {c.row: "data" for c in batch}
    result = world.apply(sync)
    assert (result.written, result.failed) == (0, 3)
    assert result.message.startswith("Stopped after 3 of 12 rows were refused")
    world.crm.faults = None
    assert world.apply(sync).written == 9
    letters = dead_letters(world.store)
    assert letters["target"].to_list() == [f"crm.Contact:r{p:02}" for p in range(3)]
    assert letters["message"].to_list() == ["refused"] * 3
    assert errors(world, sync) == ["refused before (DATA); see the dead letters"] * 3
    # Another value is tried at once; the same only when released.
    world.profile(0, orders=77)
    assert world.apply(sync).written == 1
    assert replay(world.store, "s", [int(letters["id"][1])]) == 1
    assert world.apply(sync).written == 1
    assert replay(world.store, "s") == 1
    assert world.apply(sync).written == 1
    assert dead_letters(world.store).is_empty()


def test_a_passing_failure_is_tried_again_with_the_days_value(world: World) -> None:
    world.profile(1, orders=1)
    world.link("a", 1)
    world.crm.faults = lambda name, batch: {c.row: "retry" for c in batch}
    assert world.apply(config()).failed == 1
    assert world.state().is_empty(), "only what was acknowledged counts as told"
    world.crm.faults = None
    world.profile(1, orders=2)
    assert world.apply(config()).written == 1
    assert world.crm.records["Contact"]["a"] == {"Orders__c": 2}
    assert dead_letters(world.store).is_empty()


def test_a_refused_creation_is_done_with_once_there_is_a_record(world: World) -> None:
    sync = config(create="crm.Contact", mode="upsert", key={"CDP_Id__c": "profile_id"})
    world.profile(1, orders=1)
    world.crm.faults = lambda name, batch: {c.row: "data" for c in batch}
    assert world.apply(sync).failed == 1
    assert dead_letters(world.store)["target"].to_list() == ["crm.Contact:(new)"]
    world.crm.faults = None
    world.link("a", 1)
    assert world.apply(sync).written == 1
    assert dead_letters(world.store).is_empty()


def test_outside_production_only_a_stand_in_is_written_to(world: World) -> None:
    world.profile(1, orders=1)
    world.link("a", 1)
    for url in ("https://example.my.salesforce.com", "https://127.0.0.1.example.com", ""):
        result = world.apply(config(), url=url, env="staging")
        assert result.written == 0
        assert result.message.startswith("Planned only: CDP_ENV is 'staging'")
    assert world.crm.records["Contact"]["a"] == {}
    assert world.apply(config(), url="https://example.com", env="production").written == 1


# approval


def test_always_means_each_plan_and_the_rest_of_one_needs_no_second_yes(world: World) -> None:
    sync = config(approve="always")
    for p in range(7):
        world.profile(p, orders=p)
        world.link(f"r{p}", p)
    made = world.plan(sync)
    approve(world.store, made.hash, "ada", world.now)
    world.crm.faults = times_out(1)
    result = world.apply(sync, yes=False)
    assert (result.written, result.unknown) == (4, 3)
    assert result.message == (
        "3 rows got no answer; the next run reads them back before sending anything."
    )
    again = world.plan(sync)
    assert again.hash == made.hash
    assert not again.waits
    assert world.apply(sync, yes=False).written == 3
    world.profile(1, orders=100)
    assert "Waits for approval" in world.apply(sync, yes=False).message


def test_a_yes_is_for_one_plan_and_not_for_an_equal_one_later(world: World) -> None:
    sync = config(approve="always")
    world.link("a", 1)
    for orders in (1, 2, 1):
        world.profile(1, orders=orders)
        assert world.apply(sync).written == 1
    world.profile(1, orders=2)
    assert "Waits for approval" in world.apply(sync, yes=False).message
    with pytest.raises(ApprovalError, match="is one of s, not of other"):
        approve(world.store, world.plan(sync).hash, "ada", world.now, sync="other")


def test_another_mapping_is_a_first_plan_again(world: World) -> None:
    world.profile(1, orders=1, title="CTO")
    world.link("a", 1)
    world.apply(config())
    other = config(fields={"Title": "title"})
    assert "Waits for approval" in world.apply(other, yes=False).message


def test_the_hash_says_what_and_not_when_or_in_what_order(world: World) -> None:
    for p in range(6):
        world.profile(p, orders=p)
        world.link(f"r{p}", p)
    first = world.plan(config()).hash
    world.profiles.reverse()
    world.links.reverse()
    world.now += timedelta(days=1)
    assert world.plan(config()).hash == first
    world.profile(0, orders=99)
    assert world.plan(config()).hash != first


def test_the_plan_table_is_the_current_plan(world: World) -> None:
    from cdp_assets.syncs import plan_table

    world.profile(1, orders=1)
    world.profile(2, orders=2)
    world.link("a", 1)
    world.link("b", 2)
    world.plan(config())
    world.profile(2, orders=None)
    made = world.plan(config())
    kept = world.lake.open(plan_table("s")).scan().drop("_seq").collect()
    assert kept.sort("record").equals(made.rows)
    assert set(kept["plan"]) == {made.hash}
    world.apply(config())
    world.apply(config())
    assert world.lake.open(plan_table("s")).scan().select(pl.len()).collect().item() == 0
