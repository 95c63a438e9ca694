"""Seconds in which pages were looked at, as they tell by an event of their own: read from its typed
table, where ingest decoded the property."""

from __future__ import annotations

import json
from dataclasses import dataclass

import polars as pl

from cdp_assets.events.tables import CATALOGUE, EVENTS, TS
from cdp_assets.lake import Lake, Table

KEY = ("source", "message_id", "anonymous_id", "timestamp")


@dataclass(frozen=True)
class Told:
    """Where the seconds stand: key of the typed table and its column. rows: KEY and `engaged`
    (Float64; null where it is no number), one row an event."""

    table: str
    column: str
    rows: pl.LazyFrame


def told_seconds(lake: Lake, engagement: tuple[str, str] | None) -> Told | None:
    """Where the event tells its seconds; None where it was never ingested, or its table is not
    decoded yet."""
    if engagement is None:
        return None
    event, name = engagement
    found = lake.open(CATALOGUE).scan().filter(pl.col("event") == event).collect()
    for row in found.iter_rows(named=True):
        column = json.loads(row["columns"] or "{}").get(name)
        if column is None or row["spec"] == "":
            continue
        schema = {
            "source": pl.String(), "message_id": pl.String(), "anonymous_id": pl.String(),
            "timestamp": TS, column: lake.open(
                Table(key=row["table"], schema={}, evolves=True)
            ).scan().collect_schema().get(column, pl.String()),
        }  # fmt: skip
        # Rows above what the ingest recorded were written by one that was killed.
        upto = lake.open(EVENTS).watermark(row["table"])
        table = lake.open(Table(key=row["table"], schema=schema))
        seconds = pl.col(column).cast(pl.Float64, strict=False).alias("engaged")
        rows = table.scan(upto=upto).select(*KEY, seconds).unique(KEY, keep="any")
        return Told(row["table"], column, rows)
    return None


def with_told(events: pl.DataFrame, told: Told | None) -> pl.DataFrame:
    """`events` with `engaged`, the seconds that each of them tells."""
    if told is None:
        return events
    return (
        events.lazy()
        .join(told.rows, on=KEY, how="left", maintain_order="left")
        .collect(engine="streaming")
    )
