"""The lake belongs to its owner: plain polars, DuckDB, pyarrow and Delta's own reader see it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from cdp_assets.lake import Lake, OpenTable, Table
from cdp_assets.lake.maintenance import compact

SCHEMA = {
    "id": pl.String,
    "day": pl.Date,
    "at": pl.Datetime("us", "UTC"),
    "money": pl.Decimal(28, 9),
    "tags": pl.List(pl.String),
    "page": pl.Struct({"url": pl.String, "n": pl.Int64}),
}


@pytest.fixture(params=["fresh", "compacted"])
def table(lake: Lake, request: pytest.FixtureRequest) -> OpenTable:
    opened = lake.open(Table(key="t", schema=SCHEMA, primary_key=("id",), partition_by=("day",)))
    rows = pl.DataFrame(
        {
            "id": ["a", "b", "c"],
            "day": [date(2026, 1, 1), date(2026, 1, 2), None],
            "at": [datetime(2026, 1, 1, 5, tzinfo=UTC)] * 3,
            "money": [Decimal("1.1"), Decimal("2.2"), None],
            "tags": [["x"], [], None],
            "page": [{"url": "/", "n": 1}, {"url": None, "n": None}, None],
        },
        schema=SCHEMA,
    )
    for row in rows.iter_slices(1):
        opened.merge(row)
    opened.merge(rows.head(1).with_columns(money=pl.lit(Decimal("3.5"), dtype=pl.Decimal(28, 9))))
    opened.delete(pl.DataFrame({"id": ["b"]}))
    if request.param == "compacted":
        compact(lake, "t")
    return opened


def test_plain_polars(table: OpenTable) -> None:
    rows = pl.scan_delta(table.path).filter(pl.col("deleted_at").is_null()).sort("id").collect()
    ours = table.scan().sort("id").collect()
    assert rows.drop("deleted_at").select(ours.columns).equals(ours)
    assert rows["money"].to_list() == [Decimal("3.5"), None]


def test_duckdb_over_the_list_of_files(table: OpenTable) -> None:
    files = DeltaTable(table.path).file_uris()
    query = """
        select id, day, "at" at time zone 'UTC', money, tags, page.url, _seq
        from read_parquet($files, hive_partitioning = true, union_by_name = true)
        where deleted_at is null order by id
    """
    rows = duckdb.execute(query, {"files": files}).fetchall()
    assert [row[0] for row in rows] == ["a", "c"]
    assert rows[0][1:] == (date(2026, 1, 1), datetime(2026, 1, 1, 5), Decimal("3.5"), ["x"], "/", 4)
    assert rows[1][1] is None


def test_pyarrow_and_deltas_own_query_engine(table: OpenTable) -> None:
    arrow = DeltaTable(table.path).to_pyarrow_table()
    assert sorted(arrow["id"].to_pylist()) == ["a", "b", "c"]
    assert DeltaTable(table.path).count() == 3


def test_deltas_own_writer_can_go_on_where_we_stopped(table: OpenTable) -> None:
    """The log is plain Delta: another tool's compaction and checkpoint leave it readable."""
    before = table.scan().sort("id").collect()
    DeltaTable(table.path).optimize.compact()
    DeltaTable(table.path).create_checkpoint()
    assert table.scan().sort("id").collect().equals(before)
    assert table.seq() == 5
    assert table.delete(pl.DataFrame({"id": ["a"]})).seq == 6
    assert table.scan().collect()["id"].to_list() == ["c"]
