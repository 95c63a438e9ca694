"""Owners of very many events are those that identity names one by one."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from cdp_assets.identity import attribute, related
from cdp_assets.identity.tables import RULES
from cdp_assets.profiles import owners as owners_module
from cdp_assets.profiles.inputs import Inputs
from cdp_assets.profiles.owners import Owners
from cdp_assets_tests.profiles.world import World, at, traits

TS = pl.Datetime("us", "UTC")
USERS = ["ada", "bob", "eve", "7", "7.0", "7.00", " ada", "bob\t", "unknown", "nobody.0", ""]
DEVICES = ["d1", "d2 ", "d2", "kiosk", " kiosk", "silent", "lost", "7.0", ""]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.identify(1, "user_id:ada", "anonymous_id:d1", "salesforce.Contact:1")
    world.identify(2, "user_id:bob", "anonymous_id:d2", "user_id:7", "salesforce.Contact:2")
    world.identify(3, "user_id:eve", "anonymous_id:kiosk")
    world.login("kiosk", "ada", at("1969-12-30"), at("2026-03-02"))
    world.login("kiosk", "bob", at("2026-03-02"), at("2026-03-04"))
    world.login("silent", "bob", at("2026-03-02"), None)
    for n in (1, 2):
        world.identify(10 * n, f"salesforce.Account:{n}", entity="account")
    world.relate("salesforce.Contact:1", "account", "salesforce.Account:1")
    return world


def events() -> pl.DataFrame:
    dice = random.Random(5)
    rows = [
        (n, user, device, at("2026-03-01") + timedelta(hours=dice.randint(0, 120)))
        for n, (user, device) in enumerate((u, d) for u in USERS for d in DEVICES)
    ]
    rows += [(1000 + n, "", d, at("1969-12-31")) for n, d in enumerate(DEVICES)]
    return pl.DataFrame(
        rows,
        orient="row",
        schema={"n": pl.Int64, "user_id": pl.String, "anonymous_id": pl.String, "timestamp": TS},
    )


@pytest.mark.parametrize("entity", ["person", "account"])
@pytest.mark.parametrize("only", [None, [2, 10]])
def test_as_identity_attributes(world: World, entity: str, only: list[int] | None) -> None:
    told = pl.col("user_id", "anonymous_id").replace("", None)
    found = attribute(world.lake, events().lazy().with_columns(told)).drop_nulls("profile_id")
    if entity == "account":
        theirs = related(world.lake, "person", "account")
        found = found.join(theirs, left_on="profile_id", right_on="person_id").select(
            "n", pl.col("account_id").alias("profile_id")
        )
    expected = {
        n: owner
        for n, owner in found.select("n", "profile_id").collect().iter_rows()
        if only is None or owner in only
    }
    asked = None if only is None else pl.DataFrame({"profile_id": only})
    owners = Owners(Inputs(world.lake), entity, asked)
    rows = owners.rows(events().lazy(), ["n", "anonymous_id"])
    assert dict(rows.select("n", "profile_id").iter_rows()) == expected
    assert rows.height == len(expected)
    assert len(set(expected.values())) >= (2 if only is None and entity == "person" else 1)
    assert rows.filter(pl.col("anonymous_id") == "").is_empty()


@pytest.mark.parametrize("only", [None, [1], [2]])
def test_ids_that_their_type_spells_otherwise(tmp_path: Path, only: list[int] | None) -> None:
    world = World(tmp_path)
    kinds = [("email", "user_id"), ("domain", "anonymous_id")]
    rows = [
        {"entity": "person", "type": kind, "rank": rank, "event_column": column}
        for rank, (kind, column) in enumerate(kinds, start=1)
    ]
    old = world.lake.open(RULES).scan().select("entity", "type").collect()
    world.lake.open(RULES).delete(old)
    world.lake.open(RULES).merge(pl.DataFrame(rows, schema=dict(RULES.schema)))
    world.identify(1, "email:ada@x.com", "domain:x.com")
    world.identify(2, "email:bob@y.com", "domain:y.com")
    users = ["Ada@X.com", "ada@x.com", " BOB@y.com", "eve@z.com", ""]
    devices = ["https://www.x.com/", "x.com", "Y.com", "z.com", ""]
    sent = pl.DataFrame(
        [(n, u, d, at("2026-03-01")) for n, (u, d) in enumerate(product(users, devices))],
        schema=events().schema,
        orient="row",
    )
    told = pl.col("user_id", "anonymous_id").replace("", None)
    found = attribute(world.lake, sent.lazy().with_columns(told)).drop_nulls("profile_id").collect()
    expected = {
        n: o for n, o in found.select("n", "profile_id").iter_rows() if o in (only or [1, 2])
    }
    owners = Owners(
        Inputs(world.lake), "person", pl.DataFrame({"profile_id": only}) if only else None
    )
    assert dict(owners.rows(sent.lazy(), ["n"]).select("n", "profile_id").iter_rows()) == expected
    assert expected[0 if only != [2] else 10] == (only or [1])[0]


@pytest.mark.parametrize(
    ("kind", "sent", "spelt"), [("user_id", "7.0", "7"), ("email", "Ada@X.com", "ada@x.com")]
)
def test_what_an_id_in_another_spelling_tells_is_its_person_s(
    tmp_path: Path, kind: str, sent: str, spelt: str
) -> None:
    world = World(tmp_path)
    rule = {"entity": "person", "type": kind, "rank": 1, "event_column": "user_id"}
    world.lake.open(RULES).delete(world.lake.open(RULES).scan().select("entity", "type").collect())
    world.lake.open(RULES).merge(pl.DataFrame([rule], schema=dict(RULES.schema)))
    world.identify(1, f"{kind}:{spelt}")
    nick = traits(nick={"latest": ["events.traits.nick"]})
    world.told(f"user_id:{spelt}", "events.traits.nick", "Ada", at("2026-03-01"))
    world.build(nick)
    world.told(f"user_id:{sent}", "events.traits.nick", "Countess", at("2026-03-02"))
    world.build(nick)
    assert world.profiles()[1]["nick"] == "Countess"


def test_two_ids_of_one_number_get_other_numbers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Owners(Inputs(world.lake), "person").rows(events().lazy(), ["n"]).sort("n")
    number = owners_module._number

    def narrow(text: pl.Expr, seed: int) -> pl.Expr:
        return number(text, seed) % 2 if seed in (1, 3) else number(text, seed)

    monkeypatch.setattr(owners_module, "_number", narrow)
    again = Owners(Inputs(world.lake), "person").rows(events().lazy(), ["n"]).sort("n")
    assert again.equals(found)


def test_a_moment_before_1970_on_a_device_of_several_people(world: World) -> None:
    world.event("Order Completed", at("1969-12-31"), device="kiosk", revenue="3")
    world.event("Order Completed", at("1969-12-29"), device="kiosk", revenue="4")
    world.build(traits(revenue={"select": "sum(revenue)", "from": "Order Completed"}))
    assert [world.profiles()[n]["revenue"] for n in (1, 2, 3)] == [3, 0, 0]


def test_an_absent_id_counts_for_nothing(world: World) -> None:
    world.event("Page Viewed", at("2026-03-01"), device="d1")
    world.event("Page Viewed", at("2026-03-01"), user="ada", device="d1")
    world.build(
        traits(
            named={"select": "count(user_id)", "from": "Page Viewed"},
            users={"select": "count(distinct user_id)", "from": "events"},
        )
    )
    assert world.profiles()[1] == {"named": 1, "users": 1}
