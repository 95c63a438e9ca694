"""Traits from SQL files: what they may read, and that they keep up with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_assets.profiles import TraitError, TraitsConfig
from cdp_assets_tests.profiles.world import World, at, traits

ORDERS = {"select": "count(*)", "from": "Order Completed"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path / "lake")
    found.identify(1, "user_id:ada")
    found.identify(2, "user_id:bob")
    found.event("Order Completed", at("2026-03-01"), user="ada")
    found.event("Order Completed", at("2026-03-02"), user="bob")
    return found


def scored(folder: Path, text: str) -> TraitsConfig:
    (folder / "score.sql").write_text(text)
    return traits(orders=ORDERS, score={"sql": "score.sql", "type": "integer"})


def test_a_profile_that_is_gone_goes(world: World, tmp_path: Path) -> None:
    config = scored(tmp_path, "select profile_id, orders * 2 as score from person")
    world.build(config, folder=tmp_path)
    world.identify(1, "user_id:bob")
    done = world.build(config, folder=tmp_path)
    assert not done.full
    assert world.profiles() == {1: {"orders": 2, "score": 4}}


def test_profiles_of_another_entity_are_an_input(world: World, tmp_path: Path) -> None:
    account = traits("account", deals={"select": "count(*)", "from": "salesforce.Opportunity"})
    person = scored(
        tmp_path, "select p.profile_id, a.deals as score from person p cross join account a"
    )
    both = {"person": person, "account": account}
    world.identify(9, "salesforce.Account:1", entity="account")
    world.build(account, others=both)
    world.build(person, others=both, folder=tmp_path)
    assert world.profiles()[1]["score"] == 0
    world.record("salesforce.Opportunity:1", "opportunity", Amount="1")
    world.relate("salesforce.Opportunity:1", "account", "salesforce.Account:1")
    world.build(account, others=both)
    world.build(person, others=both, folder=tmp_path)
    assert world.profiles()[1]["score"] == 1
    # A trait of the account that is no more is not there for others either.
    fewer = traits("account", open={"select": "count(*)", "from": "salesforce.Opportunity"})
    world.build(fewer, others={"person": person, "account": fewer})
    with pytest.raises(TraitError, match="query fails"):
        world.build(person, others=both, folder=tmp_path)


@pytest.mark.parametrize("table", ["profiles_person", "profiles_changes", "raw_files"])
def test_what_a_build_left_behind_is_no_input(world: World, tmp_path: Path, table: str) -> None:
    world.build(traits(orders=ORDERS))
    config = scored(tmp_path, f"select profile_id, 1 as score from {table}")
    with pytest.raises(TraitError, match=f"no table {table}"):
        world.build(config, folder=tmp_path)


def test_a_sum_over_what_another_entitys_file_computes(world: World, tmp_path: Path) -> None:
    (tmp_path / "score.sql").write_text("select profile_id, orders * 2 as score from person")
    person = traits(orders=ORDERS, score={"sql": "score.sql"})
    account = traits("account", total={"select": "sum(score)", "from": "person"})
    both = {"person": person, "account": account}
    world.identify(1, "salesforce.Contact:1")
    world.identify(9, "salesforce.Account:1", entity="account")
    world.relate("salesforce.Contact:1", "account", "salesforce.Account:1")
    world.build(person, others=both, folder=tmp_path)
    world.build(account, others=both)
    assert world.profiles("account") == {9: {"total": 2}}
