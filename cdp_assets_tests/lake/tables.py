"""Tables that the tests of the lake share, and what they look like from outside."""

from __future__ import annotations

from datetime import date

import polars as pl

from cdp_assets.lake import OpenTable, Table

TIME = pl.Datetime("us", "UTC")

PEOPLE = Table(
    key="records/person",
    schema={
        "id": pl.String,
        "name": pl.String,
        "age": pl.Int64,
        "tags": pl.List(pl.String),
        "extracted_at": TIME,
    },
    primary_key=("id",),
    personal=("name",),
    stamps=("extracted_at",),
)
EVENTS = Table(
    key="events",
    schema={"message_id": pl.String, "event_day": pl.Date, "payload": pl.String},
    partition_by=("event_day",),
    personal=("payload",),
)
LOOSE = Table(key="raw/shop/order", schema={"id": pl.String}, evolves=True)


def people(**columns: list[object]) -> pl.DataFrame:
    """Rows of PEOPLE; columns not given are null."""
    height = len(next(iter(columns.values())))
    full = {name: columns.get(name, [None] * height) for name in PEOPLE.schema}
    return pl.DataFrame(full, schema=dict(PEOPLE.schema))


def events(*ids: str, day: date | None = date(2026, 1, 1)) -> pl.DataFrame:
    return pl.DataFrame(
        {"message_id": ids, "event_day": [day] * len(ids), "payload": [None] * len(ids)},
        schema=dict(EVENTS.schema),
    )


def ids(table: OpenTable, column: str = "id") -> list[str]:
    return sorted(table.scan().collect()[column].to_list())
