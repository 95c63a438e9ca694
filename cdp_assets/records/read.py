"""Reading records."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.records.tables import VALUES


def current(lake: Lake, source: str, object_name: str, fields: Sequence[str]) -> pl.LazyFrame:
    """The live records of an object with the present observation of each field.

    fields: the source's own names; each must be kept in records/values.

    Returns record String (`source.Object:id`), record_id String, and a String column a field
    (null where it is empty). A record none of whose kept fields was ever filled has no row.
    """
    prefix = f"{source}.{object_name}."
    rows = (
        lake.open(VALUES)
        .scan()
        .filter(
            pl.col("current") & (pl.col("source") == source) & (pl.col("object") == object_name)
        )
        .select("record", "record_id", "field", "value")
    )
    return rows.group_by("record", "record_id").agg(
        pl.col("value").filter(pl.col("field") == prefix + name).first().alias(name)
        for name in fields
    )
