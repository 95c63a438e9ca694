"""Every value explains itself: the same rule, over one profile's rows, gives the same value."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.profiles import TraitError, evaluated, explain
from cdp_assets_tests.profiles.test_build import SIX, ada
from cdp_assets_tests.profiles.test_equal import BOTH, Story
from cdp_assets_tests.profiles.world import NOW, World, at, traits


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    ada(world)
    return world


def test_the_row_that_won_and_those_that_lost(world: World) -> None:
    world.build(SIX)
    why = {item.trait: item for item in explain(world.lake, "person", 1).traits}
    assert why["email"].rule == "prefer: salesforce.Contact.Email, events.traits.email"
    won, lost = why["email"].evidence
    assert (won.won, won.value, won.ref) == (True, "ada@x.org", "salesforce.Contact:1")
    assert (won.source, won.at) == ("salesforce.Contact.Email", at("2026-01-01"))
    assert won.raw == "raw/salesforce/contact 1"
    assert (lost.won, lost.value, lost.source) == (False, "new@x.org", "events.traits.email")
    assert why["title"].evidence[0].ref == "hubspot.contacts:7"
    assert (why["orders"].rows, why["revenue_90d"].rows) == (2, 1)
    assert why["revenue_90d"].rule == ("select: sum(revenue), from: Order Completed, within: 90d")
    assert why["active"].inputs == {"orders": 2, "revenue_90d": why["revenue_90d"].value}


def test_newer_input_waits(world: World) -> None:
    world.identify(2, "user_id:bob")
    world.build(SIX)
    assert not explain(world.lake, "person", 1).waiting
    world.event("Order Completed", at("2026-03-03"), user="ada", revenue="1")
    why = explain(world.lake, "person", 1)
    assert why.waiting
    assert not explain(world.lake, "person", 2).waiting
    orders = next(item for item in why.traits if item.trait == "orders")
    assert (orders.value, orders.rows) == (2, 2)
    world.build(SIX)
    assert not explain(world.lake, "person", 1).waiting


def test_as_of_a_past_day(world: World) -> None:
    world.record("salesforce.Contact:1", "person", at("2026-03-05"), Email="late@x.org")
    world.build(SIX)
    assert world.profiles()[1]["email"] == "late@x.org"
    then = explain(world.lake, "person", 1, as_of=at("2026-01-15"))
    values = {item.trait: item.value for item in then.traits}
    assert values == {
        "email": "ada@x.org",
        "title": "Countess",
        "orders": 1,
        "revenue_90d": 0,
        "last_seen": at("2025-01-01"),
        "active": False,
    }
    nothing = explain(world.lake, "person", 1, as_of=at("2020-01-01"))
    assert {item.value for item in nothing.traits} == {None, 0}


def test_a_deletion_seen_later_had_not_happened_then(world: World) -> None:
    world.record("salesforce.Contact:1", "person", at("2026-03-05"), deleted=True)
    world.build(SIX)
    assert world.profiles()[1]["email"] == "new@x.org"
    then = explain(world.lake, "person", 1, as_of=at("2026-03-04"), traits=["email"])
    assert then.traits[0].value == "ada@x.org"
    now = explain(world.lake, "person", 1, as_of=at("2026-03-06"), traits=["email"])
    assert now.traits[0].value == "new@x.org"


def test_what_is_not_there_is_named(world: World) -> None:
    with pytest.raises(TraitError, match="never built"):
        explain(world.lake, "person", 1)
    world.build(SIX)
    with pytest.raises(TraitError, match="no profile 99"):
        explain(world.lake, "person", 99)
    with pytest.raises(TraitError, match="no trait nope"):
        explain(world.lake, "person", 1, traits=["nope"])


def test_values_explained_are_values_stored(tmp_path: Path) -> None:
    """On a story with merges, shared devices, accounts and other profiles: what the rules give
    for each profile alone is what the build gave for all."""
    story = Story(tmp_path)
    for operation in _story():
        story.tell(operation)
    for entity, config in BOTH.items():
        stored = story.world.profiles(entity)
        read = evaluated(story.world.lake, entity, story.now).collect()
        assert read.height == len(stored)
        for profile, row in stored.items():
            found = explain(story.world.lake, entity, profile)
            assert not found.waiting
            assert {item.trait: item.value for item in found.traits} == row
            for item in found.traits:
                if item.rule.startswith("select: count(*)"):
                    assert item.rows == item.value
                if item.rule.startswith(("prefer", "latest")):
                    winners = [e.value for e in item.evidence if e.won]
                    assert winners == ([] if item.value is None else [item.value])
        assert set(config.traits) <= set(read.columns)


def _story() -> list[tuple[Any, ...]]:
    day = at("2026-03-01")
    return [
        ("user", "ada", 1),
        ("user", "bob", 2),
        ("device", "d1", 1),
        ("login", "d2", "ada", day),
        ("login", "d2", "bob", day + timedelta(days=4)),
        ("event", "Order Completed", day, "ada", "d2", "1.10", "pro"),
        ("event", "Order Completed", day + timedelta(days=1), None, "d2", "2.25", "free"),
        ("event", "Page Viewed", day + timedelta(days=5), None, "d2", None, None),
        ("event", "Page Viewed", day + timedelta(days=5), None, "d1", None, None),
        ("told", "ada", "x@y.z", day),
        ("contact", 2, "a@b.c", "Boss", day, False),
        ("opportunity", 1, False, day, 1),
        ("subscription", "active", day),
        ("employ", 1, 1),
        ("employ", 2, 1),
        ("build", 1),
        ("user", "bob", 1),
        ("build", 1),
    ]


def test_traits_of_the_account_may_be_read_beside_the_persons(tmp_path: Path) -> None:
    world = World(tmp_path)
    person = traits(big={"expr": "account.people >= 2"}, orders={"select": "count(*)", "from": "X"})
    account = traits("account", people={"select": "count(*)", "from": "person"})
    both = {"person": person, "account": account}
    for n in (1, 2, 3):
        world.identify(n, f"salesforce.Contact:{n}")
    world.identify(9, "salesforce.Account:9", entity="account")
    for n in (1, 2):
        world.relate(f"salesforce.Contact:{n}", "account", "salesforce.Account:9")
    for config in both.values():
        world.build(config, others=both)
    read = evaluated(world.lake, "person", NOW).sort("profile_id").collect()
    assert read.select("profile_id", "account.profile_id", "account.people", "big").rows() == [
        (1, 9, 2, True), (2, 9, 2, True), (3, None, None, None)
    ]  # fmt: skip
    assert isinstance(read, pl.DataFrame)
