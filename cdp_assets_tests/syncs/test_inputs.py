"""What a plan reads from the lake: tables as the rooms to the left write them."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.audiences.read import audience_table
from cdp_assets.identity import FORMER, GRAPH, IDS
from cdp_assets.lake import Lake, Table
from cdp_assets.profiles import ExpressionError, TraitError, TraitsConfig
from cdp_assets.profiles.catalogue import save_traits
from cdp_assets.profiles.model import compile_traits
from cdp_assets.profiles.tables import profiles_table
from cdp_assets.records.tables import RELATION, RULES, entity_table
from cdp_assets.store import Store
from cdp_assets.syncs import SyncError, apply, dead_letters, plan, state_table
from cdp_assets.syncs.config import FieldConfig, SyncConfig
from cdp_assets.syncs.inputs import _users, followed, gather
from cdp_assets.syncs.model import Inputs
from cdp_assets_tests.syncs.world import DESCRIPTION, NOW, Crm, World, config, times_out

TRAITS = TraitsConfig.model_validate(
    {
        "entity": "person",
        "traits": {
            "email": {"latest": ["crm.Contact.Email"]},
            "orders": {"select": "count(*)", "from": "Order Completed"},
            "seen": {"select": "max(timestamp)", "from": "events"},
            "fresh": {"expr": "seen > now() - interval '30 days'"},
        },
    }
)


def rows(table: Table, *found: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{n: r.get(n) for n in table.schema} for r in found], schema=table.schema)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    model = compile_traits(TRAITS, {"person": TRAITS})
    save_traits(lake, model, TRAITS)
    profiles = profiles_table("person", model.stored)
    days = {1: 1, 2: 90, 3: 1}
    lake.open(profiles).merge(
        rows(
            profiles,
            *(
                {"profile_id": p, "email": f"p{p}@x.org", "orders": p, "seen": NOW - timedelta(d)}
                for p, d in days.items()
            ),
        )
    )
    graph = [
        ("crm.Contact:a", 1), ("crm.Lead:l", 1), ("crm.Contact:lost", 2),
        ("other.Contact:x", 3), ("user_id:u1", 1), ("user_id:u2", 2), ("user_id:u3", 2),
    ]  # fmt: skip
    lake.open(GRAPH).merge(
        rows(
            GRAPH,
            *(
                {"entity": "person", "identifier": i, "profile_id": p, "type": i.split(":")[0]}
                for i, p in graph
            ),
        )
    )
    held = [("crm.Contact:gone", "user_id:u2"), ("crm.Contact:gone", "user_id:u3")]
    lake.open(FORMER).merge(
        rows(FORMER, *({"entity": "person", "record": r, "identifier": i} for r, i in held))
    )
    people = entity_table("person")
    made = datetime(2020, 1, 1, tzinfo=UTC)
    records = [
        ("crm", "Contact", "a", {"created_at": made, "deleted": False}),
        ("crm", "Lead", "l", {"deleted": False, "merged_into": "crm.Contact:a"}),
        ("crm", "Contact", "gone", {"deleted": True}),
        ("crm", "Contact", "nobody", {"deleted": True}),
        ("crm", "Contact", "lost", {"deleted": True, "merged_into": "crm.Contact:a"}),
        ("other", "Contact", "x", {"deleted": False}),
    ]
    lake.open(people).merge(
        rows(
            people,
            *(
                {"source": s, "object": o, "record_id": i, "record": f"{s}.{o}:{i}", **more}
                for s, o, i, more in records
            ),
        )
    )
    lake.open(RULES).merge(rows(RULES, {"source": "crm", "object": "Contact", "rules": 1}))
    audience = audience_table("good")
    lake.open(audience).merge(
        rows(
            audience,
            {"profile_id": 1, "entered_at": NOW},
            {"profile_id": 3, "entered_at": NOW, "left_at": NOW},
        )
    )
    return lake


def read(lake: Lake, tmp_path: Path, **options: Any) -> Inputs:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    store.migrate()
    return gather(lake, store, "s", config(**{"fields": {"A": "orders"}, **options}), "person", NOW)


def profiles(found: Inputs) -> list[dict[str, Any]]:
    return found.profiles.collect().sort("profile_id").to_dicts()


def test_profiles_with_what_the_sync_names(lake: Lake, tmp_path: Path) -> None:
    found = read(
        lake,
        tmp_path,
        fields={"A": "orders", "B": "fresh", "C": "audiences.good", "D": "user_id"},
        match=["linked", {"Email": "email"}],
    )
    names = ("profile_id", "orders", "fresh", "audiences.good", "user_id", "email")
    expected = [
        (1, 1, True, True, "u1", "p1@x.org"),
        (2, 2, False, False, None, "p2@x.org"),
        (3, 3, True, False, None, "p3@x.org"),
    ]
    assert [tuple(row[name] for name in names) for row in profiles(found)] == expected


def test_where_and_from_an_audience(lake: Lake, tmp_path: Path) -> None:
    def ids(**options: Any) -> list[int]:
        return [row["profile_id"] for row in profiles(read(lake, tmp_path, **options))]

    assert ids(where="orders >= 2") == [2, 3]
    assert ids(where="fresh and not in_audience('good')") == [3]
    assert ids(**{"from": "audiences.good"}) == [1]


def test_records_live_moved_and_dead(lake: Lake, tmp_path: Path) -> None:
    links = read(lake, tmp_path).links.collect().sort("record")
    assert links.select("record", "object", "profile_id", "live", "dead").rows() == [
        ("crm.Contact:a", "Contact", 1, True, False),
        ("crm.Contact:gone", "Contact", 2, False, True),
        ("crm.Contact:lost", "Contact", 2, False, False),
        ("crm.Contact:nobody", "Contact", None, False, True),
        ("crm.Lead:l", "Lead", 1, False, False),
    ]
    ages = dict(links.select("record", "age").rows())
    assert ages["crm.Contact:a"] == int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert ages["crm.Lead:l"] > ages["crm.Contact:a"], "unknown counts as youngest"


def test_what_is_wrong_is_named(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(SyncError, match=r"person has no trait `order`; did you mean orders\?"):
        read(lake, tmp_path, fields={"A": "order"})
    with pytest.raises(ExpressionError, match="ordres"):
        read(lake, tmp_path, where="ordres > 1")
    with pytest.raises(SyncError, match="audiences/lapsed was never built"):
        read(lake, tmp_path, **{"from": "audiences.lapsed"})
    with pytest.raises(TraitError, match="never built"):
        read(lake, tmp_path, fields={"A": "audiences.lapsed"})


def test_retired_ids_lead_to_the_living(lake: Lake, tmp_path: Path) -> None:
    chain = [(i, i - 1) for i in range(9, 1, -1)] + [(20, None)]
    schema = {"old": pl.Int64, "new": pl.Int64}
    found = followed(pl.DataFrame(chain, schema=schema, orient="row")).collect()
    assert dict(found.rows()) == dict.fromkeys(range(9, 1, -1), 1)
    ids = [
        {"entity": "person", "anchor": f"user_id:{i}", "profile_id": i, "redirect_to": to}
        for i, to in ((5, 4), (4, 1), (1, None))
    ]
    lake.open(IDS).merge(rows(IDS, *ids))
    redirects = read(lake, tmp_path).redirects.collect()
    assert dict(redirects.rows()) == {5: 1, 4: 1}


ACCOUNTS = TraitsConfig.model_validate(
    {"entity": "account", "traits": {"email": {"latest": ["crm.Account.Email"]}}}
)


@pytest.fixture
def companies(lake: Lake) -> Lake:
    """The lake with accounts whose ids are those of people, two of them in the audience `big`.

    Account 1 says the address of person 1's contact, account 2 one of a contact nobody knows.
    """
    model = compile_traits(ACCOUNTS, {"account": ACCOUNTS})
    save_traits(lake, model, ACCOUNTS)
    table = profiles_table("account", model.stored)
    told = {1: "a@x.org", 2: "free@x.org", 3: "other@x.org"}
    found = [{"profile_id": p, "email": email} for p, email in told.items()]
    lake.open(table).merge(rows(table, *found))
    held = {"entity": "account", "type": "crm.Account", "profile_id": 1}
    lake.open(GRAPH).merge(rows(GRAPH, {**held, "identifier": "crm.Account:acme"}))
    records = entity_table("account")
    acme = {"source": "crm", "object": "Account", "record_id": "acme", "record": "crm.Account:acme"}
    lake.open(records).merge(rows(records, {**acme, "deleted": False}))
    big = audience_table("big")
    inside = [{"profile_id": p, "entered_at": NOW} for p in (1, 2)]
    lake.open(big).merge(rows(big, *inside))
    return lake


def test_an_audience_of_accounts_writes_accounts_though_people_have_the_same_ids(
    companies: Lake, tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    store.migrate()
    crm = Crm(records={"Account": {"acme": {}}, "Contact": {"a": {}}})
    sync = config(
        **{"from": "audiences.big"}, to="crm.Account", fields={"Email": "email"}, approve="never"
    )
    where = (companies, store, "s", sync, crm, DESCRIPTION, NOW)
    made = plan(*where, entity="account")
    assert made.rows.select("profile_id", "record", "new").rows() == [
        (1, "crm.Account:acme", "a@x.org")
    ]
    assert apply(*where, "run", url="http://127.0.0.1:1", entity="account").written == 1
    assert crm.records == {"Account": {"acme": {"Email": "a@x.org"}}, "Contact": {"a": {}}}


def test_a_record_of_a_person_is_never_an_accounts(companies: Lake, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    store.migrate()
    # What a sync of this name remembers of person 1's contact, from when it wrote people.
    state = state_table("s")
    told = {"record": "crm.Contact:a", "object": "Contact", "profile_id": 1, "told_at": NOW}
    companies.open(state).merge(rows(state, told))
    crm = Crm(records={"Contact": {"a": {"Email": "a@x.org"}, "free": {"Email": "free@x.org"}}})
    sync = config(
        **{"from": "audiences.big"},
        fields={"Title": {"value": "Customer"}},
        match=["linked", {"Email": "email"}],
    )
    made = plan(companies, store, "s", sync, crm, DESCRIPTION, NOW, entity="account")
    assert made.rows.select("profile_id", "record").rows() == [(2, "crm.Contact:free")]


def test_the_entity_is_said_and_is_that_of_from(companies: Lake, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    store.migrate()
    for step in (plan, apply):
        assert inspect.signature(step).parameters["entity"].default is inspect.Parameter.empty
    with pytest.raises(SyncError, match="`from` names person, not account"):
        plan(companies, store, "s", config(), Crm(), DESCRIPTION, NOW, entity="account")


TITLE = FieldConfig(trait="title")
PEOPLE = config(
    mode="upsert", create="crm.Contact", approve="never",
    match=["linked", {"Email": "email"}], fields={"Orders__c": "orders", "Email": "email"},
)  # fmt: skip
ACCOUNTS_TOO = PEOPLE.model_copy(update={"from_": "account"})


def test_a_sync_that_changes_its_entity_remembers_nothing_of_the_other(tmp_path: Path) -> None:
    """Ids are given out for each entity anew, so person 1 and account 1 are strangers."""
    world = World(tmp_path)
    people, accounts = PEOPLE, ACCOUNTS_TOO
    people = people.model_copy(update={"fields": {**people.fields, "Title": TITLE}})
    world.profile(1, orders=5, title="CTO")
    world.profile(2, orders=5)
    world.crm.faults = lambda name, batch: {1: "data"}
    assert (world.apply(people).created, len(dead_letters(world.store))) == (1, 1)
    world.crm.faults = None
    records = world.crm.records["Contact"]
    # The same ids, now of accounts that want the same: nothing was told to them, nor refused.
    world.profile(1, orders=5, email="one@example.org")
    world.profile(2, orders=5, email="two@example.org")
    made = world.plan(accounts, entity="account")
    assert (made.creates, made.updates, made.held, made.told) == (2, 0, 0, 0)
    assert world.apply(accounts, entity="account").created == 2
    assert records["n0001"] == {"Orders__c": 5, "Email": "p1@example.com", "Title": "CTO"}
    # A record that comes to be an account's starts with nothing told, whatever the person was.
    world.link("n0001", 3)
    world.profile(3, orders=6, email="three@example.org")
    assert world.apply(accounts, entity="account").written == 1
    told = {row["record"]: row for row in world.state().iter_rows(named=True)}
    assert {row["entity"] for row in told.values()} == {"account"}
    assert told["crm.Contact:n0001"]["profile_id"] == 3
    assert told["crm.Contact:n0001"]["last_Title"] is None
    # And back: the letter of person 2 still holds, and person 1 has lost the record.
    world.links.clear()
    world.profiles.clear()
    world.profile(1, orders=5)
    world.profile(2, orders=5)
    made = world.plan(people)
    assert (made.held, made.told) == (1, 0)
    assert dead_letters(world.store)["entity"].to_list() == ["person"]


def test_a_row_left_open_by_another_entity_takes_no_record_of_this_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    people, accounts = PEOPLE, ACCOUNTS_TOO
    world.profile(1, orders=5)
    world.crm.faults = times_out()
    assert world.apply(people).unknown == 1
    world.crm.faults = None
    world.link("own", 1, Orders__c=5, Email="p1@example.com")
    world.plan(accounts, entity="account")
    assert world.store.told()["outcome"].to_list() == ["failed", "failed"]


def test_state_from_before_the_entity_was_kept_counts_as_ones_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    table = state_table("s")
    schema = {name: kind for name, kind in table.schema.items() if name != "entity"}
    older = replace(table, schema=schema, column_docs={})
    told = {"record": "crm.Contact:a", "object": "Contact", "profile_id": 1, "told_at": NOW,
            "last_Orders__c": "1"}  # fmt: skip
    frame = pl.DataFrame([told], schema={**schema, "last_Orders__c": pl.String})
    world.lake.open(older).merge(
        frame.with_columns(checked_at=pl.lit(None, table.schema["told_at"]))
    )
    world.link("a", 1, Orders__c=1)
    world.profile(1, orders=1)
    assert world.plan(config()).told == 1
    assert world.crm.calls == 0
    world.profile(1, orders=2)
    assert world.apply(config()).written == 1
    assert world.state()["entity"].to_list() == ["person"]


ENTERED: dict[str, Any] = {
    "from": "audiences.good", "to": "crm.Task", "mode": "insert", "rows": "entered",
    "link": ["person", "account"], "fields": {"A": "{orders} by {entered_at}"},
}  # fmt: skip


def test_entries_have_a_name_that_outlives_a_merge(lake: Lake, tmp_path: Path) -> None:
    def entries() -> dict[int, str]:
        return {
            row["profile_id"]: row["entry"] for row in profiles(read(lake, tmp_path, **ENTERED))
        }

    first = f"s-1-{NOW.timestamp() * 1_000_000:.0f}"
    assert entries() == {1: first}
    assert profiles(read(lake, tmp_path, **ENTERED))[0]["entered_at"] == NOW
    # Profile 1 is retired into 2: in one build its stay ends and the survivor's begins.
    later = NOW + timedelta(hours=1)
    stays = audience_table("good")
    lake.open(stays).merge(
        rows(
            stays,
            {"profile_id": 1, "entered_at": NOW, "left_at": later},
            {"profile_id": 2, "entered_at": later},
        )
    )
    assert entries() == {2: f"s-2-{later.timestamp() * 1_000_000:.0f}"}, "no merge, a new entry"
    lake.open(IDS).merge(
        rows(IDS, {"entity": "person", "anchor": "user_id:u1", "profile_id": 1, "redirect_to": 2})
    )
    assert entries() == {2: first}


def test_a_new_record_is_linked_with_the_oldest_live_one(lake: Lake, tmp_path: Path) -> None:
    people, accounts = entity_table("person"), entity_table("account")
    lake.open(people).merge(
        rows(
            people,
            {"source": "crm", "object": "Contact", "record_id": "b", "record": "crm.Contact:b",
             "created_at": datetime(2019, 1, 1, tzinfo=UTC), "deleted": False},
        )
    )  # fmt: skip
    lake.open(accounts).merge(
        rows(
            accounts,
            {"source": "crm", "object": "Account", "record_id": "acc", "record": "crm.Account:acc",
             "deleted": False},
        )
    )  # fmt: skip
    lake.open(GRAPH).merge(
        rows(
            GRAPH,
            {"entity": "person", "identifier": "crm.Contact:b", "profile_id": 1,
             "type": "crm.Contact"},
            {"entity": "account", "identifier": "crm.Account:acc", "profile_id": 1,
             "type": "crm.Account"},
        )
    )  # fmt: skip
    lake.open(RELATION).merge(
        rows(
            RELATION,
            {"from": "crm.Contact:a", "kind": "account", "to": "crm.Account:acc", "source": "crm",
             "primary": True},
        )
    )  # fmt: skip
    found = read(lake, tmp_path, **ENTERED).associated.collect().sort("entity")
    assert found.rows() == [
        (1, "account", "crm.Account:acc"),
        (1, "person", "crm.Contact:b"),
    ]


def test_an_owner_is_one_of_the_destinations_own_people(tmp_path: Path) -> None:
    """Zendesk keeps agents among its customers; an address of the latter owns nothing."""
    lake = Lake(tmp_path)
    table = entity_table("person")
    people = [("1", "agent"), ("2", "admin"), ("3", "end-user"), ("4", "agent")]
    rows = [
        {"source": "zendesk", "object": "users", "record_id": key, "record": f"zendesk.users:{key}",
         "email": f"u{key}@example.com", "kind": kind, "deleted": key == "4"}
        for key, kind in people
    ]  # fmt: skip
    schema = dict(table.schema)
    lake.open(table).merge(pl.DataFrame(rows, schema_overrides=schema).select(
        pl.col(n).cast(t) if n in rows[0] else pl.lit(None, dtype=t).alias(n)
        for n, t in schema.items()
    ))  # fmt: skip
    options = {"from": "person", "to": "zendesk.tickets", "mode": "update"}
    for fields, known in (
        ({"assignee_id": {"owner": "agent"}}, {"1", "2"}),
        ({"subject": "t"}, set()),
    ):
        asked = SyncConfig.model_validate({**options, "fields": fields})
        assert set(_users(lake, asked).collect()["record_id"]) == known
