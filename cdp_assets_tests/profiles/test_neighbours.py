"""Inputs that a neighbour's step was cut short in, or is still at work on."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cdp_assets.events.catalogue import recover
from cdp_assets.events.tables import CATALOGUE
from cdp_assets.identity.tables import CHANGES
from cdp_assets.profiles import TraitError
from cdp_assets.profiles.inputs import Inputs
from cdp_assets_tests.profiles.world import NOW, World, at, traits

TWO = traits(
    orders={"select": "count(*)", "from": "Order Completed"},
    revenue={"select": "sum(revenue)", "from": "Order Completed"},
    all_orders={"sql": "all.sql"},
)
ALL = "select profile_id, (select count(*) from events_order_completed) as all_orders from person"


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path / "lake")
    (tmp_path / "all.sql").write_text(ALL)
    found.identify(1, "user_id:ada")
    found.identify(2, "user_id:bob")
    found.event("Order Completed", at("2026-03-01"), user="bob", revenue="1")
    return found


def orders(world: World) -> dict[int, tuple[int, int, int]]:
    rows = world.profiles()
    return {n: (r["orders"], int(r["revenue"]), r["all_orders"]) for n, r in rows.items()}


def test_rows_of_a_killed_ingest_are_not_read(world: World, tmp_path: Path) -> None:
    world.half_ingested("Order Completed", user="ada", when=at("2026-03-02"), revenue="5")
    world.build(TWO, folder=tmp_path)
    assert orders(world) == {1: (0, 0, 1), 2: (1, 1, 1)}
    recover(world.lake)
    world.event("Order Completed", at("2026-03-03"), user="bob", revenue="1")
    assert not world.build(TWO, folder=tmp_path).full
    assert orders(world) == {1: (0, 0, 2), 2: (2, 2, 2)}


def test_nor_is_what_comes_before_the_ingest_is_done_news(world: World, tmp_path: Path) -> None:
    world.build(TWO, folder=tmp_path)
    world.half_ingested("Order Completed", user="ada", when=at("2026-03-02"), revenue="5")
    assert world.build(TWO, folder=tmp_path).touched == 0
    assert orders(world) == {1: (0, 0, 1), 2: (1, 1, 1)}


def test_moves_that_a_killed_resolution_wrote_are_not_read(world: World) -> None:
    moves = world.lake.open(CHANGES)
    held = moves.seq()
    moves.append(pl.DataFrame([{"entity": "person", "from": 1, "to": 2}], schema=CHANGES.schema))
    inputs = Inputs(world.lake)
    assert inputs.pin(CHANGES.key) == held
    assert inputs.scan(CHANGES.key, {"from": pl.Int64()}).collect()["from"].to_list() == [None] * 2


def test_events_that_are_no_more_are_no_more_counted(world: World, tmp_path: Path) -> None:
    """Of whom they were, only a full build can tell."""
    world.event("Order Completed", at("2026-03-01"), user="ada", revenue="5")
    world.build(TWO, folder=tmp_path)
    world.forget("Order Completed", "ada")
    world.event("Order Completed", at("2026-03-03"), user="bob", revenue="1")
    assert world.build(TWO, folder=tmp_path).full
    assert orders(world) == {1: (0, 0, 2), 2: (2, 2, 2)}


def test_a_table_that_is_being_decoded_is_waited_for(world: World, tmp_path: Path) -> None:
    world.build(TWO, folder=tmp_path)
    catalogue = world.lake.open(CATALOGUE)
    row = catalogue.scan().drop("_seq").collect()
    catalogue.merge(row.with_columns(spec=pl.lit("")))
    with pytest.raises(TraitError, match="events/order_completed is being decoded"):
        world.build(TWO, NOW, folder=tmp_path)
    catalogue.merge(row)
    world.build(TWO, NOW, folder=tmp_path)
