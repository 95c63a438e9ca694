"""Profiles built end to end from a small lake."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from cdp_assets.events.tables import EVENTS
from cdp_assets.profiles import carry, evaluated
from cdp_assets.profiles.inputs import Inputs
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import Origin
from cdp_assets.profiles.sources import event_rows
from cdp_assets.profiles.tables import CHANGES
from cdp_assets_tests.profiles.world import NOW, World, at, traits

SIX = traits(
    email={"prefer": ["salesforce.Contact.Email", "events.traits.email"]},
    title={"latest": ["salesforce.Contact.Title", "hubspot.contacts.jobtitle"]},
    orders={"select": "count(*)", "from": "Order Completed"},
    revenue_90d={"select": "sum(revenue)", "from": "Order Completed", "within": "90d"},
    last_seen={"select": "max(timestamp)", "from": "events"},
    active={"expr": "orders >= 2 and revenue_90d > 10"},
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ada(world: World) -> None:
    world.record(
        "salesforce.Contact:1", "person", at("2026-01-01"), Email="ada@x.org", Title="Countess"
    )
    world.record("hubspot.contacts:7", "person", at("2026-02-01"), jobtitle="Programmer")
    world.told("user_id:ada", "events.traits.email", "new@x.org", at("2026-03-01"))
    world.identify(
        1, "salesforce.Contact:1", "hubspot.contacts:7", "user_id:ada", "anonymous_id:d1"
    )
    world.event("Order Completed", at("2025-01-01"), user="ada", revenue="100")
    world.event("Order Completed", at("2026-03-01"), device="d1", revenue="12.5")
    world.event("Page Viewed", at("2026-03-02"), device="nobody")


def test_six_traits(world: World) -> None:
    ada(world)
    world.identify(2, "user_id:bob")
    done = world.build(SIX)
    assert done.full
    assert world.profiles() == {
        1: {
            "email": "ada@x.org",
            "title": "Programmer",
            "orders": 2,
            "revenue_90d": Decimal("12.5"),
            "last_seen": at("2026-03-01"),
            "active": True,
        },
        2: {
            "email": None,
            "title": None,
            "orders": 0,
            "revenue_90d": 0,
            "last_seen": None,
            "active": False,
        },
    }


def test_what_bots_do_counts_nowhere(world: World) -> None:
    rows = [
        {"message_id": str(n), "user_id": "ada", "timestamp": at("2026-03-01"),
         "event_day": NOW.date(), "flags": flags}
        for n, flags in enumerate([[], ["bot"], ["no_time", "bot"], None, ["future"]])
    ]  # fmt: skip
    world.lake.open(EVENTS).append(pl.DataFrame(rows, schema_overrides=dict(EVENTS.schema)))
    asked = {"message_id": Kind.STRING}
    found = event_rows(Inputs(world.lake), Origin("events", "events"), asked).collect()
    assert found["message_id"].to_list() == ["0", "3", "4"]


def test_nothing_new_writes_nothing(world: World) -> None:
    ada(world)
    world.build(SIX)
    before = _versions(world)
    done = world.build(SIX, NOW + timedelta(hours=3))
    assert (done.full, done.touched) == (False, 0)
    assert _versions(world) == before


def test_a_new_event_touches_its_profile_alone(world: World) -> None:
    ada(world)
    world.identify(2, "user_id:bob")
    world.build(SIX)
    world.event("Order Completed", at("2026-03-05"), user="bob", revenue="3")
    done = world.build(SIX)
    assert (done.full, done.touched, done.changed) == (False, 1, 1)
    assert world.profiles()[2]["orders"] == 1


def test_a_row_leaves_its_window(world: World) -> None:
    ada(world)
    world.build(SIX)
    done = world.build(SIX, NOW + timedelta(days=90))
    assert (done.full, done.touched) == (False, 1)
    assert world.profiles()[1]["revenue_90d"] == 0
    assert world.profiles()[1]["orders"] == 2


def test_a_new_day_reads_no_old_event_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ada(world)
    world.build(SIX)

    def refused(*_: object) -> pl.DataFrame:
        raise AssertionError("computed from all rows")

    monkeypatch.setattr(carry, "computed", refused)
    world.event("Order Completed", NOW, user="ada", revenue="3")
    world.build(SIX, NOW + timedelta(days=85))
    row = world.profiles()[1]
    assert (row["orders"], row["revenue_90d"], row["last_seen"]) == (3, 3, NOW)
    world.identify(1, "user_id:bob")
    with pytest.raises(AssertionError, match="from all rows"):
        world.build(SIX, NOW + timedelta(days=85))


def test_events_decoded_anew_count_once(world: World) -> None:
    ada(world)
    world.build(SIX)
    world.decode_anew("Order Completed")
    world.event("Order Completed", at("2026-03-05"), user="ada", revenue="3")
    assert world.build(SIX).full
    assert world.profiles()[1]["orders"] == 3


def test_a_merge_adds_both_histories(world: World) -> None:
    ada(world)
    world.identify(2, "user_id:bob")
    world.event("Order Completed", at("2026-03-05"), user="bob", revenue="3")
    world.build(SIX)
    world.identify(1, "user_id:bob")
    done = world.build(SIX)
    assert not done.full
    assert list(world.profiles()) == [1]
    assert world.profiles()[1]["orders"] == 3
    changes = world.lake.open(CHANGES).scan().drop("_seq").collect()
    assert sorted(changes.select("profile_id", "trait", "old", "new").rows()) == [
        (1, "last_seen", "2026-03-01T00:00:00Z", "2026-03-05T00:00:00Z"),
        (1, "orders", "2", "3"),
        (1, "revenue_90d", "12.5", "15.5"),
    ]


def test_what_depends_on_now_is_computed_on_reading(world: World) -> None:
    ada(world)
    aged = traits(
        last_order={"select": "max(timestamp)", "from": "Order Completed"},
        recency={"expr": "days_since(last_order)"},
        late={"expr": "recency > 30"},
    )
    world.build(aged)
    assert list(world.profiles()[1]) == ["last_order"]
    later = evaluated(world.lake, "person", NOW + timedelta(days=40)).collect()
    assert later.select("recency", "late").rows() == [(49, True)]


def _versions(world: World) -> dict[str, int]:
    found = {}
    keys = world.lake.keys()
    for key in keys:
        handle = world.lake.handle(key)
        assert handle is not None
        found[key] = handle.version()
    return found


def test_tables_open_with_plain_polars(world: World) -> None:
    ada(world)
    world.build(SIX)
    found = pl.read_delta(str(world.lake.path("profiles/person")))
    assert found.filter(pl.col("deleted_at").is_null()).height == 1
