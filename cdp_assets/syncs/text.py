"""Values as text: one spelling each, so that wanted, told and present values can be compared."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl


def text(value: Any) -> str | None:
    """A value's canonical text, as `records` spells it: numbers without exponent and trailing
    zeros, `true` and `false`, moments in UTC; blank, NaN and null are None."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e18 else plain(repr(value))
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        at = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, date):
        return value.isoformat()
    return msgspec.json.encode(value).decode()


def plain(number: str | Decimal) -> str:
    """A decimal number without exponent and without trailing zeros."""
    spelt = format(Decimal(number), "f")
    return spelt.rstrip("0").rstrip(".") if "." in spelt else spelt


def as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """`text` over a column of this type. Row-local, for polars."""
    if dtype == pl.String:
        return pl.when(column.str.strip_chars() != "").then(column)
    if dtype == pl.Boolean:
        return pl.when(column).then(pl.lit("true")).when(~column).then(pl.lit("false"))
    if dtype.is_integer():
        return column.cast(pl.String)
    if isinstance(dtype, pl.Decimal):
        return _bare(column.cast(pl.String))
    if dtype.is_float():
        whole = (column == column.round(0)) & (column.abs() < 1e15)
        spelt = column.cast(pl.String)
        small = column.cast(pl.Decimal(38, 12), strict=False).cast(pl.String)
        return (
            pl.when(whole.fill_null(value=False))
            .then(pl.when(whole).then(column).cast(pl.Int64).cast(pl.String))
            .when(column.is_finite())
            .then(_bare(pl.when(spelt.str.contains("e")).then(small).otherwise(spelt)))
        )
    if dtype == pl.Date:
        return column.dt.strftime("%Y-%m-%d")
    if isinstance(dtype, pl.Datetime):
        return column.cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if dtype == pl.Null:
        return column.cast(pl.String)
    return column.map_elements(text, return_dtype=pl.String)


def _bare(number: pl.Expr) -> pl.Expr:
    return (
        pl.when(number.str.contains(".", literal=True))
        .then(number.str.strip_chars_end("0").str.strip_chars_end("."))
        .otherwise(number)
    )
