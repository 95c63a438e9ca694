"""Reading records."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.records.config import ObjectSpec
from cdp_assets.records.tables import RULES, VALUES


def outstanding(lake: Lake, objects: Sequence[ObjectSpec]) -> bool:
    """Whether the next build reads an object anew, since configuration names other fields of it
    than the last one: until then a new field has no values."""
    rows = lake.open(RULES).scan().select("source", "object", "rules").collect()
    known = {f"{source}.{name}": rules for source, name, rules in rows.iter_rows()}
    return any(known.get(spec.name) != spec.rules() for spec in objects)


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
