"""The types that a trait may have, their columns in tables, and how text is read as each."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

import narwhals as nw
import polars as pl


class Kind(StrEnum):
    """The type of an expression's value. UNTYPED is text from outside whose use decides how it
    is read: a property of an event or a field of a record."""

    STRING = "string"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    UNTYPED = "untyped"

    @property
    def polars(self) -> pl.DataType:
        """The column type of this kind in a table."""
        return _POLARS[self]

    @property
    def narwhals(self) -> nw.dtypes.DType:
        """The column type of this kind in an engine-neutral expression."""
        return _NARWHALS[self]

    @property
    def numeric(self) -> bool:
        """Whether arithmetic applies."""
        return self in (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)


def a(kind: Kind | str) -> str:
    """The kind's name with its article."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


_POLARS: dict[Kind, pl.DataType] = {
    Kind.STRING: pl.String(),
    Kind.UNTYPED: pl.String(),
    Kind.INTEGER: pl.Int64(),
    Kind.DECIMAL: pl.Decimal(38, 9),
    Kind.FLOAT: pl.Float64(),
    Kind.BOOLEAN: pl.Boolean(),
    Kind.TIMESTAMP: pl.Datetime("us", "UTC"),
    Kind.DATE: pl.Date(),
}
_NARWHALS: dict[Kind, nw.dtypes.DType] = {
    Kind.STRING: nw.String(),
    Kind.UNTYPED: nw.String(),
    Kind.INTEGER: nw.Int64(),
    Kind.DECIMAL: nw.Decimal(38, 9),
    Kind.FLOAT: nw.Float64(),
    Kind.BOOLEAN: nw.Boolean(),
    Kind.TIMESTAMP: nw.Datetime("us", "UTC"),
    Kind.DATE: nw.Date(),
}


def kind_of(dtype: pl.DataType) -> Kind:
    """The kind that reads a column of `dtype`. Raises ValueError for one that no trait can have
    (lists, structures, binary)."""
    if dtype.is_integer():
        return Kind.INTEGER
    if dtype.is_decimal():
        return Kind.DECIMAL
    if dtype.is_float():
        return Kind.FLOAT
    simple: dict[type[pl.DataType], Kind] = {
        pl.String: Kind.STRING,
        pl.Boolean: Kind.BOOLEAN,
        pl.Date: Kind.DATE,
        pl.Datetime: Kind.TIMESTAMP,
        pl.Null: Kind.STRING,
        pl.Categorical: Kind.STRING,
    }
    found = simple.get(dtype.base_type())
    if found is None:
        raise ValueError(f"a column of type {dtype} cannot be a trait")
    return found


def text_as(kind: Kind, column: str) -> pl.Expr:
    """`column` (String, canonical text) read as `kind`; text that does not read so is null.

    Row-local, so polars alone: other engines run it over batches. Numbers of more than 19 digits
    before the point do not fit the decimal type and are null too.
    """
    text = pl.col(column).str.strip_chars()
    match kind:
        case Kind.STRING | Kind.UNTYPED:
            return pl.col(column)
        case Kind.BOOLEAN:
            low = text.str.to_lowercase()
            return (
                pl.when(low.is_in(["true", "1", "yes"]))
                .then(True)
                .when(low.is_in(["false", "0", "no"]))
                .then(False)
                .alias(column)
            )
        case Kind.INTEGER:
            return text.cast(pl.Int64, strict=False).alias(column)
        case Kind.FLOAT:
            return text.cast(pl.Float64, strict=False).alias(column)
        case Kind.DECIMAL:
            fits = text.str.contains(r"^[+-]?\d{1,19}(\.\d*)?$")
            plain = pl.when(fits).then(text)
            wide = pl.when(~fits).then(text).cast(pl.Float64, strict=False)
            in_range = pl.when(wide.abs() < 1e18).then(wide)
            return pl.coalesce(
                plain.cast(Kind.DECIMAL.polars, strict=False),
                in_range.cast(Kind.DECIMAL.polars, strict=False),
            ).alias(column)
        case Kind.TIMESTAMP:
            return _timestamp(text).alias(column)
        case Kind.DATE:
            return text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).alias(column)


def _timestamp(text: pl.Expr) -> pl.Expr:
    """ISO 8601 text as a moment in UTC; text without a zone is UTC; a bare date is its midnight;
    a whole number is milliseconds since 1970, as HubSpot writes them."""
    normal = (
        text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00:00Z")
        .str.replace(r"^(\d{4}-\d{2}-\d{2}) ", "${1}T")
        .str.replace(r"([+-]\d{2})(\d{2})$", "${1}:${2}")
        .str.replace(r"(T[0-9:.]+)$", "${1}Z")
        .str.replace(r"(T\d{2}:\d{2})(Z|[+-]\d{2}:\d{2})$", "${1}:00${2}")
        .str.replace(r"Z$", "+00:00")
    )
    iso = normal.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    millis = pl.when(text.str.contains(r"^\d{11,14}$")).then(text).cast(pl.Int64, strict=False)
    return pl.coalesce(
        iso.dt.convert_time_zone("UTC"),
        (millis * 1000).cast(pl.Datetime("us", "UTC")),
    )


def literal(kind: Kind, value: Any) -> Any:
    """A literal of an expression as a Python value of `kind`. Raises ValueError where it does
    not read so."""
    match kind:
        case Kind.STRING | Kind.UNTYPED:
            return str(value)
        case Kind.BOOLEAN:
            if isinstance(value, bool):
                return value
            if str(value).lower() in ("true", "false"):
                return str(value).lower() == "true"
            raise ValueError(f"{value!r} is neither true nor false")
        case Kind.INTEGER:
            return int(value)
        case Kind.FLOAT:
            return float(value)
        case Kind.DECIMAL:
            try:
                return Decimal(str(value))
            except InvalidOperation as error:
                raise ValueError(f"{value!r} is not a number") from error
        case Kind.TIMESTAMP:
            if isinstance(value, datetime):
                return value
            moment = datetime.fromisoformat(str(value))
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        case Kind.DATE:
            return value if isinstance(value, date) else date.fromisoformat(str(value))


def constant(kind: Kind, value: Any) -> nw.Expr:
    """`value` as an expression of `kind` on every engine; None is a null of that type."""
    if value is None:
        return nw.lit(None).cast(kind.narwhals)
    if kind is Kind.DECIMAL:
        return nw.lit(str(value)).cast(kind.narwhals)
    return nw.lit(value, dtype=None if kind in (Kind.TIMESTAMP, Kind.DATE) else kind.narwhals)


def day_length(unit: str) -> timedelta:
    """Length of an interval's unit. Raises ValueError for units whose length varies."""
    lengths = {
        "second": timedelta(seconds=1),
        "minute": timedelta(minutes=1),
        "hour": timedelta(hours=1),
        "day": timedelta(days=1),
        "week": timedelta(weeks=1),
    }
    name = unit.lower().rstrip("s")
    if name not in lengths:
        raise ValueError(f"an interval counts in {', '.join(lengths)}, not in {unit.lower()}")
    return lengths[name]
