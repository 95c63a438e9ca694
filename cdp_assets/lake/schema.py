"""Types of columns: which may be stored, what rows may bring, how a table's schema drifts.

Nothing here casts a value to something it is not. Measured without these checks: 1.5 into Int64
becomes 1, 5 into String becomes "5", a time without zone is taken as UTC, nanoseconds are cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl
from polars.datatypes import DataTypeClass

from .errors import DeclarationError, SchemaError

SEQ = "_seq"
TOMBSTONE = "deleted_at"
BESIDE = "__str"
TIME = pl.Datetime("us", "UTC")

_INTEGERS: tuple[type[pl.DataType], ...] = (pl.Int8, pl.Int16, pl.Int32, pl.Int64)
_PLAIN = (*_INTEGERS, pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Date)
# Characters that Parquet readers refuse in a column's name.
_REFUSED = set(" ,;{}()\n\t=\0")

_DAY = 86_400_000_000
_FIRST_DAY = date(1, 1, 1).toordinal() - date(1970, 1, 1).toordinal()
_LAST_DAY = date(9999, 12, 31).toordinal() - date(1970, 1, 1).toordinal() + 1

Types = Mapping[str, pl.DataType]


def storable(dtype: pl.DataType | DataTypeClass) -> bool:
    """Whether a column of this type can be kept without loss."""
    if dtype in _PLAIN:
        return True
    if isinstance(dtype, pl.Datetime):
        return dtype == TIME
    if isinstance(dtype, pl.Decimal):
        return dtype.precision is not None and dtype.precision <= 38
    if isinstance(dtype, pl.List):
        return storable(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return bool(dtype.fields) and all(storable(f.dtype) for f in dtype.fields)
    return False


def check_type(key: str, name: str, dtype: pl.DataType | DataTypeClass) -> None:
    """Raise DeclarationError where a declared column cannot be stored as it is declared."""
    if not name or _REFUSED & set(name):
        raise DeclarationError(
            f"Table {key}: column name {name!r} is empty or holds a space or one of ,;{{}}()=."
        )
    if not storable(dtype):
        raise DeclarationError(
            f"Table {key}: column {name} is {dtype}, which cannot be stored without loss. Times "
            'are Datetime("us", "UTC"); integers are signed, up to Int64.'
        )


def wider(one: pl.DataType, other: pl.DataType) -> pl.DataType | None:
    """The type that holds every value of both without loss, None where there is none.

    Integers widen up to Int64, Float32 to Float64, decimals to more digits before and after the
    point, structs by fields, lists by their inner type. Nothing else widens: not Int64 to Float64
    (53 bits), not anything to String.
    """
    if one == other:
        return one
    if type(one) in _INTEGERS and type(other) in _INTEGERS:
        return max(one, other, key=lambda t: _INTEGERS.index(type(t)))
    if {type(one), type(other)} == {pl.Float32, pl.Float64}:
        return pl.Float64()
    if isinstance(one, pl.Decimal) and isinstance(other, pl.Decimal):
        scale = max(one.scale, other.scale)
        whole = max((one.precision or 38) - one.scale, (other.precision or 38) - other.scale)
        return pl.Decimal(whole + scale, scale) if whole + scale <= 38 else None
    if isinstance(one, pl.List) and isinstance(other, pl.List):
        inner = wider(_full(one.inner), _full(other.inner))
        return None if inner is None else pl.List(inner)
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        fields = {f.name: _full(f.dtype) for f in one.fields}
        for f in other.fields:
            joint = wider(fields[f.name], _full(f.dtype)) if f.name in fields else _full(f.dtype)
            if joint is None:
                return None
            fields[f.name] = joint
        return pl.Struct(fields)
    return None


def _full(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


def widened(values: pl.Expr, old: pl.DataType, new: pl.DataType) -> pl.Expr:
    """Values of one type in one that `wider` found for it. Structs are taken apart by name: polars'
    own strict cast refuses another number of fields, and a lax one makes nulls of what fails."""
    if old == new:
        return values
    if isinstance(old, pl.Struct) and isinstance(new, pl.Struct):
        present = {f.name: _full(f.dtype) for f in old.fields}
        fields = [
            widened(values.struct.field(f.name), present[f.name], _full(f.dtype)).alias(f.name)
            if f.name in present
            else pl.lit(None, dtype=f.dtype).alias(f.name)
            for f in new.fields
        ]
        return pl.when(values.is_not_null()).then(pl.struct(fields)).otherwise(None)
    if isinstance(old, pl.List) and isinstance(new, pl.List):
        inner = widened(pl.element(), _full(old.inner), _full(new.inner))
        return values.list.eval(inner)
    return values.cast(new)


def _untyped(brought: pl.DataType, declared: pl.DataType) -> bool:
    """Whether a type differs from the declared one only where it holds nothing but nulls or empty
    lists (`[[]]` without a type is List(Null))."""
    if brought in (pl.Null, declared):
        return True
    if isinstance(brought, pl.List) and isinstance(declared, pl.List):
        return _untyped(_full(brought.inner), _full(declared.inner))
    if isinstance(brought, pl.Struct) and isinstance(declared, pl.Struct):
        wanted = {f.name: _full(f.dtype) for f in declared.fields}
        return [f.name for f in brought.fields] == list(wanted) and all(
            _untyped(_full(f.dtype), wanted[f.name]) for f in brought.fields
        )
    return False


def as_text(name: str, dtype: pl.DataType) -> pl.Expr:
    """The column's values as text, for the column kept beside."""
    if isinstance(dtype, pl.Binary):
        return pl.col(name).bin.encode("base64")
    if isinstance(dtype, pl.List | pl.Struct):
        return (
            pl.when(pl.col(name).is_not_null())
            .then(pl.struct(pl.col(name).alias("value")).struct.json_encode())
            .otherwise(None)
        )
    return pl.col(name).cast(pl.String)


@dataclass
class Drift:
    """What has to happen to a stored table before rows fit into it."""

    added: dict[str, pl.DataType] = field(default_factory=dict)
    widened: dict[str, pl.DataType] = field(default_factory=dict)
    moved: dict[str, pl.DataType] = field(default_factory=dict)

    @property
    def rewrites(self) -> bool:
        """Whether files have to be written anew (a new column alone needs none)."""
        return bool(self.widened or self.moved)

    def __bool__(self) -> bool:
        return bool(self.added or self.rewrites)


def declared_drift(stored: Types, declared: Types, fixed: tuple[str, ...], key: str) -> Drift:
    """What the declaration asks of the stored table: new columns, wider types, and, where a
    column's declared type clashes with the stored one, the old values moved to `<column>__str`.

    fixed: columns that may not change their type (key and partition columns).
    """
    drift = Drift()
    for name, dtype in declared.items():
        if name not in stored:
            drift.added[name] = dtype
            continue
        joint = wider(stored[name], dtype)
        if joint == stored[name]:
            continue
        if name in fixed:
            raise SchemaError(
                f"Table {key}: key or partition column {name} is stored as {stored[name]} and now "
                f"declared {dtype}. Not retried. Declare it as stored, or move the table's folder "
                "away and rebuild it."
            )
        if joint is None:
            drift.moved[name] = dtype
            if name + BESIDE not in stored:
                drift.added[name + BESIDE] = pl.String()
        else:
            drift.widened[name] = joint
    return drift


def rows_to_declared(rows: pl.DataFrame, declared: Types, key: str) -> pl.DataFrame:
    """Rows with every declared column in its type, in declared order; undeclared ones after them.

    A missing column is null, one of nothing but nulls or empty lists takes the declared type.
    Raises SchemaError for any other difference of type: never a cast.
    """
    wrong = []
    out = []
    for name, dtype in declared.items():
        if name not in rows.columns:
            out.append(pl.lit(None, dtype=dtype).alias(name))
        elif rows.schema[name] == dtype:
            out.append(pl.col(name))
        elif _untyped(rows.schema[name], dtype):
            out.append(widened(pl.col(name), rows.schema[name], dtype).alias(name))
        else:
            wrong.append(f"{name} is {rows.schema[name]}, declared {dtype}")
    if wrong:
        raise SchemaError(
            f"Table {key}: {'; '.join(wrong)}. Not retried, nothing written: types are checked, "
            "never cast. Cast where the rows are made, or change the declaration."
        )
    others = [name for name in rows.columns if name not in declared]
    if not out:
        return rows
    return rows.select(*out, *others)


def check_times(rows: pl.DataFrame, key: str) -> None:
    """Raise SchemaError where a date or time lies beyond the years 1 to 9999: Python cannot show
    it, polars panics at it, and nobody meant it."""
    bounds = []
    for name, dtype in rows.schema.items():
        if dtype in (pl.Date, TIME):
            unit = 1 if dtype == pl.Date else _DAY
            within = (
                pl.col(name)
                .to_physical()
                .is_between(_FIRST_DAY * unit, _LAST_DAY * unit, closed="left")
            )
            bounds.append((~within).any().alias(name))
    if not bounds or rows.is_empty():
        return
    wrong = [name for name, bad in rows.select(bounds).row(0, named=True).items() if bad]
    if wrong:
        raise SchemaError(
            f"Table {key}: {', '.join(wrong)} holds a time beyond the years 1 to 9999. Not "
            "retried, nothing written. Judge times where the rows are made."
        )


def check_names(names: list[str], key: str) -> None:
    """Raise SchemaError where column names cannot stand in one table."""
    seen: dict[str, str] = {}
    for name in names:
        if (twin := seen.setdefault(name.lower(), name)) != name:
            raise SchemaError(
                f"Table {key}: columns {twin} and {name} differ by case only, and such a table "
                "cannot be opened again. Not retried, nothing written."
            )
        if not name or _REFUSED & set(name):
            raise SchemaError(
                f"Table {key}: column name {name!r} is empty or holds a space or one of "
                ",;{}()=. Not retried, nothing written."
            )


def fit(rows: pl.DataFrame, stored: Types, key: str) -> tuple[pl.DataFrame, Drift]:
    """Rows of an evolving table, and what they ask of it.

    A column not yet stored is new; one of a narrower type is widened without loss; one of a wider
    type widens the table; a clash goes to `<column>__str` as text, and the column itself is null.
    All-null columns of type Null that are not stored are left out until they have a type.
    """
    drift = Drift()
    out: dict[str, pl.Expr] = {}
    for name, dtype in rows.schema.items():
        if dtype == pl.Null:
            if name in stored:
                out[name] = pl.col(name).cast(stored[name])
            continue
        if not storable(dtype):
            raise SchemaError(
                f"Table {key}: column {name} is {dtype}, which cannot be stored without loss. Not "
                'retried, nothing written. Times are Datetime("us", "UTC"), integers at most Int64.'
            )
        if name not in stored:
            drift.added[name] = dtype
            out.setdefault(name, pl.col(name))
            continue
        joint = wider(stored[name], dtype)
        if joint is None:
            beside = name + BESIDE
            out[name] = pl.lit(None, dtype=stored[name]).alias(name)
            text = as_text(name, dtype)
            if beside in rows.columns:
                text = pl.coalesce(text, pl.col(beside))
            out[beside] = text.alias(beside)
            if beside not in stored:
                drift.added[beside] = pl.String()
            continue
        if joint != stored[name]:
            drift.widened[name] = joint
        out.setdefault(name, widened(pl.col(name), dtype, joint).alias(name))
    return rows.select(**out) if out else rows, drift
