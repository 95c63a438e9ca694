"""Profiles beside hand-written DuckDB SQL over the same typed columns and the same graph, and a
new day of 0.5 % of the events beside the full build."""

from __future__ import annotations

import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from cdp_assets.events.tables import (
    CATALOGUE,
    DECIMAL,
    EVENTS,
    VALUES,
    typed_columns,
    typed_table,
)
from cdp_assets.identity.tables import CHANGES, GRAPH, RULES
from cdp_assets.lake import Lake, Table
from cdp_assets.profiles import TraitsConfig, build
from cdp_assets_tests.benchmarks.base import Clock, Verdict, alone

NOW = datetime(2026, 7, 20, 12, tzinfo=UTC)
DAYS = 200
PERSONS = 1_000_000
PROPERTIES: dict[str, pl.DataType] = {"revenue": DECIMAL, "category": pl.String()}
TABLE = typed_table("Order Completed", "events/order_completed", PROPERTIES)
TRAITS = TraitsConfig.model_validate(
    {
        "entity": "person",
        "traits": {
            "email": {"latest": ["events.traits.email"]},
            "orders": {"select": "count(*)", "from": "Order Completed"},
            "big_orders": {
                "select": "count(*)", "from": "Order Completed", "where": "revenue > 100",
            },
            "revenue_90d": {"select": "sum(revenue)", "from": "Order Completed", "within": "90d"},
            "first_seen": {"select": "min(timestamp)", "from": "Order Completed"},
            "last_seen": {"select": "max(timestamp)", "from": "Order Completed"},
            "top": {"select": "most_frequent(category)", "from": "Order Completed"},
            "kinds": {"select": "count(distinct category)", "from": "Order Completed"},
        },
    }
)  # fmt: skip
SQL = """
create or replace table profile as
with owned as (
    select e.timestamp, e.revenue, e.category, coalesce(u.profile_id, d.profile_id) as profile_id
    from read_parquet({events}) e
    left join (select identifier[9:] as k, profile_id from read_parquet({graph})
               where type = 'user_id') u on e.user_id = u.k
    left join (select identifier[14:] as k, profile_id from read_parquet({graph})
               where type = 'anonymous_id') d on e.anonymous_id = d.k
), facts as (
    select profile_id, count(*) as orders, count(*) filter (revenue > 100) as big_orders,
        sum(revenue) filter (timestamp >= timestamptz '{since}') as revenue_90d,
        min(timestamp) as first_seen, max(timestamp) as last_seen,
        mode(category) as top, count(distinct category) as kinds
    from owned where profile_id is not null group by profile_id
), emails as (
    select g.profile_id, arg_max(v.value, v.changed_at) as email
    from read_parquet({values}) v join read_parquet({graph}) g using (identifier)
    group by g.profile_id
)
select p.profile_id, email, orders, big_orders, revenue_90d, first_seen, last_seen, top, kinds
from (select distinct profile_id from read_parquet({graph})) p
left join facts using (profile_id) left join emails using (profile_id)
"""


def events(persons: int, count: int, day: int | None, seed: int) -> pl.DataFrame:
    """Orders of known users and of their devices; 7 of 10 carry a user id."""
    dice = np.random.default_rng(seed)
    person = dice.integers(0, persons, count)
    days = dice.integers(0, DAYS, count) if day is None else np.full(count, day)
    micros = days * 86_400_000_000 + dice.integers(0, 86_400_000_000, count)
    start = NOW.replace(hour=0) - timedelta(days=DAYS)
    frame = pl.DataFrame(
        {
            "n": np.arange(count) + seed * 100_000_000,
            "person": person,
            "known": dice.random(count) < 0.7,
            "micros": micros,
            "cents": dice.integers(100, 30_000, count),
            "kind": dice.integers(0, 12, count),
        }
    )
    moment = (pl.lit(start).dt.cast_time_unit("us") + pl.duration(microseconds="micros")).alias(
        "timestamp"
    )
    user = pl.concat_str(pl.lit("u"), pl.col("person"))
    device = pl.concat_str(pl.lit("a-device-id-"), pl.col("person"))
    return frame.select(
        pl.concat_str(pl.lit("m"), pl.col("n")).alias("message_id"),
        pl.lit("app").alias("source"),
        device.alias("anonymous_id"),
        pl.when("known").then(user).alias("user_id"),
        moment,
        moment.dt.date().alias("event_day"),
        (pl.col("cents").cast(DECIMAL) / 100).cast(DECIMAL).alias("revenue"),
        pl.concat_str(pl.lit("category-"), pl.col("kind")).alias("category"),
        pl.lit(None, pl.String).alias("revenue__str"),
    ).sort("event_day")


def fill(lake: Lake, persons: int, count: int) -> None:
    """A lake as events and identity would leave it."""
    ids = pl.DataFrame({"n": np.arange(persons)})
    graph = pl.concat(
        [
            ids.select(
                pl.lit("person").alias("entity"),
                pl.concat_str(pl.lit(prefix), pl.col("n")).alias("identifier"),
                (pl.col("n") + 1).cast(pl.Int64).alias("profile_id"),
                pl.lit(kind).alias("type"),
            )
            for kind, prefix in (
                ("user_id", "user_id:u"), ("anonymous_id", "anonymous_id:a-device-id-")
            )
        ]
    )  # fmt: skip
    lake.open(GRAPH).merge(graph)
    rules = [("user_id", 1), ("anonymous_id", 2)]
    lake.open(RULES).merge(
        pl.DataFrame(
            [{"entity": "person", "type": t, "rank": r, "event_column": t} for t, r in rules],
            schema=dict(RULES.schema),
        )
    )
    lake.open(CHANGES).append(pl.DataFrame(schema=dict(CHANGES.schema)), watermarks={"x": 1})
    lake.open(VALUES).merge(
        ids.select(
            pl.lit("app").alias("source"),
            pl.concat_str(pl.lit("u"), pl.col("n")).alias("visitor"),
            pl.concat_str(pl.lit("user_id:u"), pl.col("n")).alias("identifier"),
            pl.lit("events.traits.email").alias("field"),
            pl.concat_str(pl.col("n"), pl.lit("@example.org")).alias("value"),
            pl.lit(NOW).dt.cast_time_unit("us").alias("changed_at"),
            pl.concat_str(pl.lit("i"), pl.col("n")).alias("message_id"),
        )
    )
    columns = json.dumps(typed_columns(PROPERTIES))
    lake.open(CATALOGUE).merge(
        pl.DataFrame(
            [{"table": TABLE.key, "event": "Order Completed", "columns": columns, "spec": "x"}],
            schema=dict(CATALOGUE.schema),
        )
    )
    table = lake.open(TABLE)
    step = 2_000_000
    for seed, start in enumerate(range(0, count, step)):
        table.append(events(persons, min(step, count - start), None, seed))
    recorded(lake)


def recorded(lake: Lake) -> None:
    """Say in table `events`, as an ingest would, how far its typed table holds."""
    marks = {TABLE.key: lake.open(TABLE).seq()}
    lake.open(EVENTS).append(pl.DataFrame(schema=dict(EVENTS.schema)), watermarks=marks)


def files(lake: Lake, table: Table) -> str:
    """The Parquet files of a table as a DuckDB list."""
    handle = lake.handle(table.key)
    assert handle is not None
    return json.dumps(handle.file_uris()).replace('"', "'")


def by_duckdb(lake: Lake) -> tuple[float, duckdb.DuckDBPyConnection]:
    """Seconds of the hand-written SQL, and the connection that holds its table."""
    connection = duckdb.connect()
    connection.execute("set threads = 2; set timezone = 'UTC'; set enable_progress_bar = false")
    since = (NOW.replace(hour=0) - timedelta(days=89)).isoformat()
    sql = SQL.format(
        events=files(lake, TABLE), graph=files(lake, GRAPH), values=files(lake, VALUES), since=since
    )
    begun = time.perf_counter()
    connection.execute(sql)
    return time.perf_counter() - begun, connection


def prepare(clock: Clock, folder: str, persons: int, count: int) -> None:
    """Fill the lake."""
    fill(Lake(Path(folder)), persons, count)


def full(clock: Clock, folder: str) -> None:
    """The full build."""
    with clock:
        build(Lake(Path(folder)), TRAITS, now=NOW)


def duckdb_sql(clock: Clock, folder: str) -> tuple[float, ...]:
    """The hand-written SQL: sums of its table."""
    with clock:
        _, connection = by_duckdb(Lake(Path(folder)))
    wanted = connection.execute("select sum(orders), sum(revenue_90d), sum(kinds) from profile")
    return tuple(float(x) for x in wanted.fetchall()[0])


def new_day(clock: Clock, folder: str, persons: int, count: int) -> tuple[int, tuple[float, ...]]:
    """A day of 0.5 % of the events: profiles touched, and the sums of the table before it."""
    lake = Lake(Path(folder))
    table = Table(
        key="profiles/person",
        schema={
            "profile_id": pl.Int64(), "orders": pl.Int64(), "revenue_90d": pl.Decimal(38, 9),
            "kinds": pl.Int64(),
        },
        primary_key=("profile_id",),
    )  # fmt: skip
    sums = lake.open(table).scan().select(pl.col("orders", "revenue_90d", "kinds").sum()).collect()
    lake.open(TABLE).append(events(persons, count // 200, DAYS + 1, 99))
    recorded(lake)
    with clock:
        done = build(lake, TRAITS, now=NOW + timedelta(days=1))
    return done.touched, tuple(float(x) for x in sums.row(0))


def run(size: float = 1.0) -> list[Verdict]:
    """One million persons and 20 million events, or that part of it."""
    persons = int(PERSONS * size)
    count = persons * 20
    with tempfile.TemporaryDirectory() as folder:
        alone(prepare, folder, persons, count)
        built, sql = alone(full, folder), alone(duckdb_sql, folder)
        day = alone(new_day, folder, persons, count)
    touched, sums = day.value
    assert sums == sql.value, "both ways must find the same"
    return [
        Verdict(
            f"profiles of {persons:,} persons from {count:,} events",
            "no slower than DuckDB",
            f"{built.said()}, peak {built.peak_mb / 1024:.1f} GB; hand-written SQL "
            f"{sql.said()}, peak {sql.peak_mb / 1024:.1f} GB: "
            f"{built.seconds / sql.seconds:.2f} times its time",
            built.seconds <= sql.seconds,
        ),
        Verdict(
            "a new day of 0.5 % of the events",
            "10 % of the full build",
            f"{day.said()}, {day.seconds / built.seconds:.1%} ({touched:,} profiles "
            f"touched, peak {day.peak_mb / 1024:.1f} GB)",
            day.seconds <= built.seconds / 10,
        ),
    ]
