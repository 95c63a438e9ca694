"""Planned properties as columns of typed tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from cdp_assets.events.tables import DECIMAL, TS

_COLUMNS: Mapping[str, pl.DataType] = {
    "integer": pl.Int64(),
    "number": DECIMAL,
    "boolean": pl.Boolean(),
    "string": pl.String(),
}


def column_types(schema: Any) -> dict[str, pl.DataType]:
    """Property → type of its column. Text where a schema says no one type, or a list or object,
    which is kept as its JSON."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return {}
    return {name: _column(part) for name, part in properties.items()}


def _column(schema: Any) -> pl.DataType:
    if not isinstance(schema, Mapping):
        return pl.String()
    said = schema.get("type")
    types = {said} if isinstance(said, str) else set(said or ())
    types.discard("null")
    if types == {"integer", "number"}:
        return DECIMAL
    if len(types) != 1:
        return pl.String()
    kind = types.pop()
    if kind == "string":
        by_format = {"date": pl.Date(), "date-time": TS}
        return by_format.get(schema.get("format", ""), pl.String())
    return _COLUMNS.get(kind, pl.String())
