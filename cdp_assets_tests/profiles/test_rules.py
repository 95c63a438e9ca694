"""What a configuration may say, what it needs, SQL files, kills, entities of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError

from cdp_assets.connectors.base import ObjectMapping
from cdp_assets.events.tables import DECIMAL
from cdp_assets.profiles import ExpressionError, TraitError, evaluated, needs
from cdp_assets.profiles.config import TraitsConfig
from cdp_assets.profiles.model import compile_traits
from cdp_assets.profiles.sql import check_sql
from cdp_assets.profiles.tables import CHANGES
from cdp_assets.records.config import ObjectSpec
from cdp_assets_tests.profiles.test_build import SIX, ada
from cdp_assets_tests.profiles.world import NOW, SPECS, World, at, traits


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "lake")


# --- configuration --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trait", "reason"),
    [
        ({"prefer": ["Email"]}, "is not a field"),
        ({"prefer": ["s.C.F", "s.C.F"]}, "named twice"),
        ({"latest": []}, "at least 1"),
        ({"select": "count(*)"}, "from"),
        ({"select": "count(*)", "from": "events", "within": "3w"}, "whole days"),
        ({"select": "count(*)", "from": "events", "wher": "x"}, "Extra inputs"),
        ({"expr": "a", "sql": "x.sql"}, "exactly one of the keys"),
        ({"foo": 1}, "exactly one of the keys"),
        ({"sql": "../x.sql"}, "inside the definition"),
        ({"expr": "a", "type": "money"}, "literal_error|Input should be"),
    ],
)
def test_a_wrong_trait_is_refused(trait: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TraitsConfig.model_validate({"entity": "person", "traits": {"x": trait}})


@pytest.mark.parametrize("name", ["Email", "profile_id", "a b", "_seq", "1st"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="cannot name a trait"):
        TraitsConfig.model_validate({"entity": "person", "traits": {name: {"expr": "1"}}})


def test_what_cannot_be_built_is_named() -> None:
    with pytest.raises(TraitError, match="a → b → a"):
        compile_traits(traits(a={"expr": "b + 1"}, b={"expr": "a + 1"}))
    with pytest.raises(ExpressionError, match="did you mean orders"):
        compile_traits(traits(orders={"select": "count(*)", "from": "X"}, a={"expr": "oders"}))
    with pytest.raises(ExpressionError, match="did you mean timestamp"):
        compile_traits(traits(a={"select": "max(timestmp)", "from": "events"}))
    with pytest.raises(TraitError, match="use `within`"):
        compile_traits(
            traits(a={"select": "count(*)", "from": "events", "where": "timestamp > now()"})
        )
    with pytest.raises(TraitError, match="is integer, not string"):
        compile_traits(traits(a={"select": "count(*)", "from": "events", "type": "string"}))
    with pytest.raises(ExpressionError, match="in_audience may stand only"):
        compile_traits(traits(a={"expr": "in_audience('x')"}))
    with pytest.raises(ExpressionError) as error:
        compile_traits(traits(a={"expr": "1 +"}))
    assert error.value.trait == "a"


def test_order_does_not_matter_to_expressions(world: World) -> None:
    world.identify(1, "user_id:ada")
    world.build(
        traits(
            c={"expr": "b * 2"},
            b={"expr": "a + 1"},
            a={"select": "count(*)", "from": "events"},
        )
    )
    assert world.profiles()[1] == {"c": 2, "b": 1, "a": 0}


def test_needs() -> None:
    person = traits(
        email={"prefer": ["salesforce.Contact.Email", "events.traits.email"]},
        revenue={"select": "sum(revenue)", "from": "Order Completed", "where": "plan = 'pro'"},
        items={"select": "count(distinct sku)", "from": "Order Completed"},
        trials={"select": "count(*)", "from": "Trial Started"},
    )
    account = traits(
        "account",
        mrr={"select": "sum(mrr)", "from": "subscription", "where": "status = 'active'"},
        open={"select": "sum(Amount)", "from": "salesforce.Opportunity", "where": "not IsClosed"},
        lost={"select": "count(*)", "from": "zendesk.tickets"},
    )
    found = needs([person, account], SPECS)
    assert found.told == {"events.traits.email"}
    assert found.fields == {
        "salesforce.Contact": {"Email"},
        "salesforce.Subscription__c": {"MRR__c", "Status__c"},
        "salesforce.Opportunity": {"Amount", "IsClosed"},
    }
    assert found.properties == {
        "Order Completed": {"revenue": DECIMAL, "plan": pl.String(), "sku": pl.String()},
        "Trial Started": {},
    }
    assert found.unknown == [("account", "lost", "zendesk.tickets")]
    with pytest.raises(TraitError, match=r"read as decimal by person\.revenue and as string"):
        needs([traits(revenue={"select": "sum(x)", "from": "E"},
                      other={"select": "count(*)", "from": "E", "where": "x = 'a'"})])  # fmt: skip


# --- SQL files ------------------------------------------------------------------------------


def test_a_sql_file_over_registered_tables(world: World, tmp_path: Path) -> None:
    ada(world)
    world.identify(2, "user_id:bob")
    (tmp_path / "score.sql").write_text(
        "with seen as (select user_id, count(*) as n from events group by user_id)\n"
        "select profile_id, orders * 10 + (select max(n) from seen) as score from person"
    )
    config = traits(
        orders={"select": "count(*)", "from": "Order Completed"},
        score={"sql": "score.sql"},
        good={"expr": "score > 15"},
    )
    world.build(config, folder=tmp_path)
    before = world.profiles()
    assert before[2]["score"] < before[1]["score"]
    assert before[1]["good"]
    world.event("Order Completed", at("2026-03-05"), user="bob", revenue="3")
    done = world.build(config, folder=tmp_path)
    assert not done.full
    assert world.profiles()[2]["score"] == before[2]["score"] + 10
    assert world.build(config, folder=tmp_path).touched == 0
    assert evaluated(world.lake, "person", NOW).collect()["good"].to_list() == [True, False]
    (tmp_path / "score.sql").write_text("select profile_id, orders as score from person")
    assert world.build(config, folder=tmp_path).full
    assert world.profiles()[1] == {"orders": 2, "score": 2, "good": False}


@pytest.mark.parametrize(
    "text",
    [
        "select * from read_csv('/etc/passwd')",
        "select read_parquet('x') as profile_id",
        "select * from '/etc/passwd'",
        "select * from raw_secret",
        "drop table person",
        "select 1; select 2",
        "selec",
        "create table x as select * from person",
    ],
)
def test_a_sql_file_reads_nothing_else(text: str) -> None:
    with pytest.raises(TraitError):
        check_sql(text, "x.sql", frozenset({"person"}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("select profile_id from person", "wanted are profile_id and score"),
        ("select profile_id, 'x' as score from person", "returns a string, declared is integer"),
        ("select 1 as profile_id, 2 as score union all select 1, 3", "no whole number|more than"),
        ("select profile_id, orders as score from persn", "did you mean person"),
    ],
)
def test_a_sql_file_that_returns_something_else(
    world: World, tmp_path: Path, text: str, reason: str
) -> None:
    ada(world)
    (tmp_path / "score.sql").write_text(text)
    config = traits(
        orders={"select": "count(*)", "from": "X"}, score={"sql": "score.sql", "type": "integer"}
    )
    with pytest.raises(TraitError, match=reason):
        world.build(config, folder=tmp_path)


# --- entities, definitions that change ------------------------------------------------------


def test_an_entity_of_ones_own(world: World) -> None:
    specs = [
        ObjectSpec("erp", "Machine", ObjectMapping(entity="machine", columns={"power": "kW"})),
        ObjectSpec("erp", "Part", ObjectMapping(entity="part")),
    ]
    world.record("erp.Machine:1", "machine", kW="12.5", Name="Press")
    world.identify(1, "erp.Machine:1", entity="machine")
    for n in ("1", "2"):
        world.record(f"erp.Part:{n}", "part", price="3")
        world.relate(f"erp.Part:{n}", "machine", "erp.Machine:1")
    config = traits(
        "machine",
        name={"latest": ["erp.Machine.Name"]},
        power={"latest": ["erp.Machine.kW"], "type": "decimal"},
        parts={"select": "sum(price)", "from": "erp.Part"},
        strong={"expr": "power > 10"},
    )
    world.build(config, specs=specs)
    assert world.profiles("machine") == {
        1: {"name": "Press", "power": 12.5, "parts": 6, "strong": True}
    }
    with pytest.raises(TraitError, match="events belong to persons"):
        compile_traits(traits("machine", x={"select": "count(*)", "from": "Order Completed"}))


def test_a_new_trait_builds_all_and_logs_no_change(world: World) -> None:
    ada(world)
    world.build(traits(orders={"select": "count(*)", "from": "Order Completed"}))
    done = world.build(
        traits(
            orders={"select": "count(*)", "from": "Order Completed", "where": "revenue > 50"},
            seen={"select": "max(timestamp)", "from": "events"},
        )
    )
    assert done.full
    rows = world.lake.open(CHANGES).scan().select("trait", "old", "new").collect().rows()
    assert rows == [("orders", "2", "1")]


def test_a_clock_set_back_builds_all(world: World) -> None:
    ada(world)
    world.build(SIX)
    done = world.build(SIX, at("2026-01-01"))
    assert done.full
    assert world.profiles()[1]["revenue_90d"] == 0


# --- kills ----------------------------------------------------------------------------------

BUILD = """
from pathlib import Path
from cdp_assets_tests.profiles.test_build import SIX
from cdp_assets_tests.profiles.world import World
print(World(Path({root!r})).build(SIX).touched)
"""


@pytest.mark.parametrize(
    "point", ["build:after-changes", "build:before-profiles", "build:after-profiles"]
)
def test_killed_between_commits_as_if_it_had_not_run(world: World, point: str) -> None:
    ada(world)
    world.build(SIX)
    world.event("Order Completed", at("2026-03-05"), user="ada", revenue="3")
    code = BUILD.format(root=str(world.lake.root))
    killed = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "CDP_CRASH_AT": point}, check=False
    )
    assert killed.returncode == 137
    world.build(SIX)
    assert world.profiles()[1]["orders"] == 3
    rows = world.lake.open(CHANGES).scan().select("trait", "old", "new").collect()
    assert sorted(rows.rows()) == [
        ("last_seen", "2026-03-01T00:00:00Z", "2026-03-05T00:00:00Z"),
        ("orders", "2", "3"),
        ("revenue_90d", "12.5", "15.5"),
    ]


@pytest.mark.parametrize("name", ["builds", "traits", "changes", "values", "rules", "events"])
def test_an_entity_that_would_be_another_table(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an entity"):
        traits(name, orders={"select": "count(*)", "from": "Order Completed"})
