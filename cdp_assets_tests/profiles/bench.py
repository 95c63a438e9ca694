"""How fast profiles are built, beside hand-written DuckDB SQL over the same columns and graph.

    python -m cdp_assets_tests.profiles.bench [PERSONS] [EVENTS]

Prints one JSON line: seconds of a full build, of DuckDB, of a build after a new day of 0.5 % of
the events, their ratios (of time, and of processor time, which other work disturbs less), and
peak memory. The marks: full ≤ DuckDB, new day ≤ 10 % of full.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from cdp_assets.events.tables import CATALOGUE, DECIMAL, VALUES, typed_columns, typed_table
from cdp_assets.identity.tables import CHANGES, GRAPH, RULES
from cdp_assets.lake import Lake, Table
from cdp_assets.profiles import TraitsConfig, build

NOW = datetime(2026, 7, 20, 12, tzinfo=UTC)
DAYS = 200
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


def files(lake: Lake, table: Table) -> str:
    """The Parquet files of a table as a DuckDB list."""
    handle = lake.handle(table.key)
    assert handle is not None
    return json.dumps(handle.file_uris()).replace('"', "'")


def by_duckdb(lake: Lake) -> tuple[float, duckdb.DuckDBPyConnection]:
    """Seconds of the hand-written SQL, and the connection that holds its table."""
    connection = duckdb.connect()
    connection.execute("set threads = 2; set timezone = 'UTC'")
    since = (NOW.replace(hour=0) - timedelta(days=89)).isoformat()
    sql = SQL.format(
        events=files(lake, TABLE), graph=files(lake, GRAPH), values=files(lake, VALUES), since=since
    )
    begun = time.perf_counter()
    connection.execute(sql)
    return time.perf_counter() - begun, connection


def measure(persons: int, count: int, folder: Path) -> dict[str, Any]:
    """Full build, DuckDB, and a new day of 0.5 % of the events."""
    lake = Lake(folder)
    fill(lake, persons, count)
    begun, busy = time.perf_counter(), time.process_time()
    build(lake, TRAITS, now=NOW)
    full, full_cpu = time.perf_counter() - begun, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    busy = time.process_time()
    sql, connection = by_duckdb(lake)
    sql_cpu = time.process_time() - busy
    wanted = connection.execute("select sum(orders), sum(revenue_90d), sum(kinds) from profile")
    table = Table(
        key="profiles/person",
        schema={
            "profile_id": pl.Int64(), "orders": pl.Int64(), "revenue_90d": pl.Decimal(38, 9),
            "kinds": pl.Int64(),
        },
        primary_key=("profile_id",),
    )  # fmt: skip
    ours = lake.open(table).scan().select(pl.col("orders", "revenue_90d", "kinds").sum()).collect()
    same = [float(x) for x in ours.row(0)] == [float(x) for x in wanted.fetchall()[0]]
    lake.open(TABLE).append(events(persons, count // 200, DAYS + 1, 99))
    begun, busy = time.perf_counter(), time.process_time()
    done = build(lake, TRAITS, now=NOW + timedelta(days=1))
    new_day, new_day_cpu = time.perf_counter() - begun, time.process_time() - busy
    return {
        "persons": persons,
        "events": count,
        "same_sums": same,
        "full_s": round(full, 2),
        "duckdb_s": round(sql, 2),
        "full_by_duckdb": round(full / sql, 2),
        "new_day_s": round(new_day, 2),
        "new_day_by_full": round(new_day / full, 3),
        "full_by_duckdb_cpu": round(full_cpu / sql_cpu, 2),
        "new_day_by_full_cpu": round(new_day_cpu / full_cpu, 3),
        "new_day_touched": done.touched,
        "peak_gb": round(peak, 2),
    }


def main() -> None:
    persons = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    count = int(sys.argv[2]) if len(sys.argv) > 2 else persons * 20
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(persons, count, Path(folder))))


if __name__ == "__main__":
    main()
