"""Values of a column as text, each spelt as `connectors.text` spells it."""

from __future__ import annotations

import polars as pl

from cdp_assets.connectors.text import text

__all__ = ["as_text", "text"]


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
