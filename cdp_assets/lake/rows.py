"""What rows must be before they are stored, and which of them differ from what is. Frames in,
frames out; no disk."""

from __future__ import annotations

import polars as pl

from .errors import KeyViolation, SchemaError, ScopeError
from .schema import SEQ, TOMBSTONE, check_names, check_times, rows_to_declared
from .table import Table

INSERTED, UPDATED, UNCHANGED = "inserted", "updated", "unchanged"
_OLD = "old:"


def admit(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Rows with the declared columns in their declared types and order.

    `_seq` and `deleted_at`, as `scan` and `changes` gave them, are left out. Rows of an evolving
    table keep what they bring: `schema.fit` judges it against what is stored.
    Raises SchemaError.
    """
    rows = rows.drop(SEQ, TOMBSTONE, strict=False)
    declared = {name: t for name, t in table.stored().items() if name in table.schema}
    extra = [name for name in rows.columns if name not in declared]
    check_names([*table.stored(), *extra], table.key)
    check_times(rows, table.key)
    if table.evolves:
        return rows
    if extra:
        raise SchemaError(
            f"Table {table.key}: {', '.join(extra)} not declared, and the table does not evolve. "
            "Not retried, nothing written. Declare the columns or drop them."
        )
    return rows_to_declared(rows, declared, table.key)


def exactly(rows: pl.DataFrame, columns: tuple[str, ...], table: Table) -> None:
    """Raise SchemaError where one of these columns is missing or not of its declared type."""
    declared = table.stored()
    wrong = [n for n in columns if n not in rows.columns or rows.schema[n] != declared[n]]
    if wrong:
        raise SchemaError(
            f"Table {table.key}: {', '.join(wrong)} missing or not of the declared type. Not "
            "retried, nothing written: types are checked, never cast."
        )


def check_keys(rows: pl.DataFrame, table: Table) -> None:
    """Raise KeyViolation where a primary key is null or stands twice: a null never matches, so
    each run would insert it again; of two rows with one key it would depend on their order which
    one is kept."""
    exactly(rows, table.primary_key, table)
    if rows.is_empty():
        return
    keys = rows.select(table.primary_key)
    nulls = keys.select(pl.any_horizontal(pl.all().is_null()).sum()).item()
    doubles = rows.height - keys.n_unique()
    if nulls or doubles:
        raise KeyViolation(
            f"Table {table.key}: of {rows.height} rows {nulls} have a null in the key "
            f"({', '.join(table.primary_key)}) and {doubles} repeat the key of another. Not "
            "retried, nothing written. Make the keys whole and unique where the rows are made."
        )


def check_scope(scope: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The distinct rows of a scope, once its columns are known to be key or partition columns."""
    allowed = (*table.primary_key, *table.partition_by) if table.keyed else table.partition_by
    if not scope.columns or not set(allowed).issuperset(scope.columns):
        raise ScopeError(
            f"Table {table.key}: a scope is made of key or partition columns "
            f"({', '.join(dict.fromkeys(allowed)) or 'the table has none'}), not of "
            f"{', '.join(scope.columns) or 'nothing'}. Not retried, nothing written."
        )
    exactly(scope, tuple(scope.columns), table)
    return scope.unique()


def check_inside(rows: pl.DataFrame, scope: pl.DataFrame, table: Table) -> None:
    """Raise ScopeError where a row lies outside the scope that it is to replace."""
    exactly(rows, tuple(scope.columns), table)
    outside = rows.join(scope, on=scope.columns, how="anti", nulls_equal=True).height
    if outside:
        raise ScopeError(
            f"Table {table.key}: {outside} of {rows.height} rows lie outside the scope "
            f"({', '.join(scope.columns)}) they replace. Not retried, nothing written."
        )


def compare(rows: pl.DataFrame, old: pl.DataFrame, table: Table) -> pl.Series:
    """Of each row, in order: inserted, updated or unchanged.

    old: the stored rows of these keys, with `deleted_at`; one that is a tombstone counts as not
        there. A null equals a null, NaN equals NaN, lists and structs compare whole; a column in
        `Table.stamps` never makes a difference.
    """
    if old.is_empty():
        return pl.repeat(INSERTED, rows.height, dtype=pl.String, eager=True).alias("state")
    key = list(table.primary_key)
    content = [n for n in rows.columns if n not in key and n not in table.stamps]
    marked = old.select(
        *key,
        *(pl.col(name).alias(_OLD + name) for name in content),
        pl.col(TOMBSTONE).is_not_null().alias(_OLD),
    )
    pairs = rows.select(*key, *content).join(marked, on=key, how="left", maintain_order="left")
    differs = [pl.col(name).ne_missing(pl.col(_OLD + name)) for name in content]
    return pairs.select(
        pl.when(pl.col(_OLD).fill_null(value=True))
        .then(pl.lit(INSERTED))
        .when(pl.any_horizontal(differs) if differs else pl.lit(value=False))
        .then(pl.lit(UPDATED))
        .otherwise(pl.lit(UNCHANGED))
        .alias("state")
    ).to_series()


def same_rows(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Whether two frames hold the same rows, in any order. May say no where rows that differ in a
    nested column alone stand in another order."""
    if one.height != other.height:
        return False
    plain = [name for name, dtype in one.schema.items() if not dtype.is_nested()]
    return one.sort(plain).equals(other.sort(plain)) if plain else one.equals(other)
