"""profiles/changes tells what became other, whatever was interrupted or redefined in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.profiles import TraitsConfig, columns, evaluated, timeline
from cdp_assets.profiles.tables import CHANGES
from cdp_assets_tests.profiles.world import NOW, World, at, traits

ORDERS = {"select": "count(*)", "from": "Order Completed"}
PAGES = {"select": "count(*)", "from": "events"}
SCORE = {"latest": ["salesforce.Contact.Score"]}
BUILD = """
import json, sys
from cdp_assets_tests.profiles.world import *
world = World(Path(sys.argv[1]))
world.build(TraitsConfig.model_validate(json.loads(sys.argv[2])))
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path)
    found.identify(1, "user_id:ada", "salesforce.Contact:1")
    found.identify(2, "user_id:bob", "salesforce.Contact:2")
    found.event("Order Completed", at("2026-03-01"), user="ada")
    return found


def killed(world: World, config: TraitsConfig, point: str) -> None:
    """Build, killed at a crash point."""
    said = json.dumps(config.model_dump(mode="json", by_alias=True, exclude_none=True))
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(world.lake.root), said],
        env={**os.environ, "CDP_CRASH_AT": point},
        check=False,
    )
    assert done.returncode == 137


def changes(world: World) -> list[tuple[Any, ...]]:
    rows = world.lake.open(CHANGES).scan().select("profile_id", "trait", "old", "new").collect()
    return sorted(rows.rows())


def test_a_new_trait_whose_build_was_killed(world: World) -> None:
    world.build(traits(orders=ORDERS))
    both = traits(orders=ORDERS, pages=PAGES)
    killed(world, both, "build:before-profiles")
    # Until it is built, nobody is told of it.
    assert "pages" not in columns(world.lake, "person")
    assert evaluated(world.lake, "person", NOW).collect().columns == ["profile_id", "orders"]
    assert world.build(both).full
    assert world.profiles()[1] == {"orders": 1, "pages": 1}
    assert "pages" in columns(world.lake, "person")
    assert changes(world) == []


def test_a_first_build_that_was_killed(world: World) -> None:
    world.identify(9, "salesforce.Account:1", entity="account")
    world.build(traits("account", people=PAGES))
    config = traits(orders=ORDERS)
    killed(world, config, "lake:after-create")
    world.build(config)
    assert world.profiles()[1] == {"orders": 1}
    assert changes(world) == []


def told(world: World, one: str, two: str) -> None:
    for n, score in ((1, one), (2, two)):
        world.record(f"salesforce.Contact:{n}", "person", at(f"2026-03-0{len(score)}"), Score=score)


@pytest.mark.parametrize("point", [None, "lake:before-migration", "lake:after-migration"])
def test_a_trait_of_another_kind(world: World, point: str | None) -> None:
    told(world, "12", "7.50")
    plain, number = traits(score=SCORE), traits(score={**SCORE, "type": "decimal"})
    world.build(plain)
    if point:
        killed(world, number, point)
    world.build(number)
    assert world.profiles()[1]["score"] == 12
    assert changes(world) == [(2, "score", "7.50", "7.5")]
    if point:
        killed(world, plain, point)
    told(world, "100", "7.50")
    world.build(plain)
    assert changes(world) == [
        (1, "score", "12", "100"), (2, "score", "7.5", "7.50"), (2, "score", "7.50", "7.5"),
    ]  # fmt: skip


def test_a_kind_that_was_taken_back_before_it_was_built(world: World) -> None:
    told(world, "12", "7.50")
    plain, number = traits(score=SCORE), traits(score={**SCORE, "type": "decimal"})
    world.build(plain)
    killed(world, number, "lake:after-migration")
    seen = evaluated(world.lake, "person", NOW).sort("profile_id").collect()
    assert seen["score"].to_list() == ["12", "7.50"]
    told(world, "100", "7.50")
    world.build(plain)
    assert [row["score"] for row in world.profiles().values()] == ["100", "7.50"]
    assert changes(world) == [(1, "score", "12", "100")]


@pytest.mark.parametrize(
    ("one", "two"),
    [("integer", "decimal"), ("integer", "float"), ("timestamp", "string"), ("string", "date")],
)
def test_a_kind_in_which_the_text_is_the_same(world: World, one: str, two: str) -> None:
    value = {"timestamp": "2026-03-01T10:00:00Z", "string": "2026-03-01"}.get(one, "12")
    world.record("salesforce.Contact:1", "person", Score=value)
    for kind in (one, two, one):
        world.build(traits(score={**SCORE, "type": kind}))
        assert world.profiles()[1]["score"] is not None
    assert changes(world) == []


def test_the_timeline_knows_nothing_of_a_killed_build(world: World) -> None:
    config = traits(orders=ORDERS)
    world.build(config)
    world.event("Order Completed", at("2026-03-05"), user="ada")
    killed(world, config, "build:before-profiles")
    assert "trait" not in timeline(world.lake, "person", 1)["kind"]
    world.build(config)
    assert "trait" in timeline(world.lake, "person", 1)["kind"]
