"""Memberships over time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from cdp_assets.audiences import AudienceConfig, audience_table, build, members, order
from cdp_assets.profiles import ExpressionError, TraitError
from cdp_assets_tests.profiles.world import NOW, World, at, traits

LATER = NOW + timedelta(days=1)
TRAITS = traits(
    orders={"select": "count(*)", "from": "Order Completed"},
    orders_30d={"select": "count(*)", "from": "Order Completed", "within": "30d"},
    last_order={"select": "max(timestamp)", "from": "Order Completed"},
    recency={"expr": "days_since(last_order)"},
)


def audience(where: str, entity: str = "person") -> AudienceConfig:
    return AudienceConfig(entity=entity, where=where)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    for profile, user in ((1, "ada"), (2, "bob"), (3, "eve")):
        world.identify(profile, f"user_id:{user}")
    for user, count in (("ada", 3), ("bob", 1)):
        for n in range(count):
            world.event("Order Completed", at(f"2026-03-0{n + 1}"), user=user)
    world.build(TRAITS)
    return world


def rows(world: World, name: str) -> list[tuple[object, ...]]:
    frame = world.lake.open(audience_table(name)).scan().drop("_seq")
    return frame.sort("profile_id", "entered_at").collect().rows()


def test_enter_stay_and_leave(world: World) -> None:
    buyers = audience("orders_30d > 0")
    assert (build(world.lake, "buyers", buyers, NOW).entered) == 2
    again = build(world.lake, "buyers", buyers, LATER)
    assert (again.members, again.entered, again.left) == (2, 0, 0)
    end = NOW + timedelta(days=21)
    world.build(TRAITS, end)
    assert build(world.lake, "buyers", buyers, end).left == 1
    assert rows(world, "buyers") == [(1, NOW, None), (2, NOW, end)]
    world.event("Order Completed", end, user="bob")
    world.build(TRAITS, end)
    back = end + timedelta(hours=1)
    build(world.lake, "buyers", buyers, back)
    assert rows(world, "buyers") == [(1, NOW, None), (2, NOW, end), (2, back, None)]


def test_a_merged_profile_leaves_under_its_old_id(world: World) -> None:
    buyers = audience("orders > 0")
    build(world.lake, "buyers", buyers, NOW)
    world.identify(1, "user_id:bob")
    world.build(TRAITS)
    build(world.lake, "buyers", buyers, LATER)
    assert rows(world, "buyers") == [(1, NOW, None), (2, NOW, LATER)]
    world.identify(2, "user_id:bob")
    world.build(TRAITS)
    apart = LATER + timedelta(days=1)
    build(world.lake, "buyers", buyers, apart)
    assert rows(world, "buyers") == [(1, NOW, None), (2, NOW, LATER), (2, apart, None)]


def test_a_trait_of_the_moment_may_stand_in_an_audience(world: World) -> None:
    recent = audience("recency < 10")
    assert build(world.lake, "recent", recent, NOW).members == 2
    assert build(world.lake, "recent", recent, NOW + timedelta(days=5)).members == 0


def test_members_of_one_audience_are_kept_out_of_another(world: World) -> None:
    configs = {
        "others": audience("not in_audience('many')"),
        "many": audience("orders >= 3"),
    }
    assert order(configs) == ["many", "others"]
    for name in order(configs):
        build(world.lake, name, configs[name], NOW)
    found = members(world.lake, "others").sort("profile_id").collect()
    assert found["profile_id"].to_list() == [2, 3]


def test_audiences_in_a_circle_are_named(world: World) -> None:
    circle = {"a": audience("in_audience('b')"), "b": audience("not in_audience('a')")}
    with pytest.raises(TraitError, match="a → b → a"):
        order(circle)
    with pytest.raises(ExpressionError, match="did you mean many"):
        order({"many": audience("orders > 1"), "x": audience("in_audience('mny')")})


def test_nobody_is_a_table_too(world: World) -> None:
    assert build(world.lake, "nobody", audience("orders > 99"), NOW).members == 0
    assert world.lake.open(audience_table("nobody")).exists()
    assert members(world.lake, "nobody").collect().is_empty()


def test_a_misspelt_trait_is_named(world: World) -> None:
    with pytest.raises(ExpressionError, match="unknown name ordrs; did you mean orders") as error:
        build(world.lake, "x", audience("orders > 1 and ordrs > 2"), NOW)
    assert (error.value.line, error.value.column) == (1, 16)


def test_nothing_moved_nothing_written(world: World) -> None:
    buyers = audience("orders > 0")
    build(world.lake, "buyers", buyers, NOW)
    seq = world.lake.open(audience_table("buyers")).seq()
    build(world.lake, "buyers", buyers, LATER)
    assert world.lake.open(audience_table("buyers")).seq() == seq
    assert isinstance(members(world.lake, "buyers"), pl.LazyFrame)
