"""The declaration of a table: what every room writes down once about each table it owns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
from polars.datatypes import DataTypeClass

from .errors import DeclarationError
from .schema import SEQ, TOMBSTONE, check_type

_PART = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PARTITION_TYPES = (pl.String, pl.Date, pl.Int64, pl.Int32)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the lake.

    key: path-like name, parts of `[a-z][a-z0-9_]*` (`raw/salesforce/contact`); the table lies at
        `<root>/<key>.delta`.
    schema: column → polars type. Times are `Datetime("us", "UTC")`; no unsigned integers.
    primary_key: with one, the table is keyed (`merge`, `replace`, `delete`, tombstones); without,
        it is append-only.
    partition_by: columns of type String, Date, Int32 or Int64, never one that names a person,
        since partition values stand in folder names.
    cluster_by: columns that files are sorted by and keep statistics of.
    personal: columns that name a person or hold what a person said: their values never enter the
        log, and erasure looks for them here. Of an evolving table `last_*` is every column that
        begins so.
    stamps: columns whose change alone is no change (`extracted_at`): `merge` leaves such rows.
    evolves: rows may bring columns that are not declared, wider types, and clashing types, which
        are kept beside as text in `<column>__str`.
    retention_days: how long rows may be kept; None means as long as the table lives.
    """

    key: str
    schema: Mapping[str, pl.DataType | DataTypeClass]
    primary_key: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    description: str = ""
    evolves: bool = False
    column_docs: Mapping[str, str] = field(default_factory=dict)
    retention_days: int | None = None

    def __post_init__(self) -> None:
        parts = self.key.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise DeclarationError(
                f"Table key {self.key!r}: parts between slashes must be lower-case letters, digits "
                "and underscores, starting with a letter, at most 63 characters."
            )
        seen: dict[str, str] = {}
        for name, dtype in self.schema.items():
            if name in (SEQ, TOMBSTONE):
                raise DeclarationError(f"Table {self.key}: the lake itself keeps column {name}.")
            if (twin := seen.setdefault(name.lower(), name)) != name:
                raise DeclarationError(
                    f"Table {self.key}: columns {twin} and {name} differ by case only."
                )
            check_type(self.key, name, dtype)
        for role in ("primary_key", "partition_by", "cluster_by", "personal", "stamps"):
            for name in getattr(self, role):
                pattern = role == "personal" and self.evolves and name.endswith("*")
                if name not in self.schema and not pattern:
                    raise DeclarationError(f"Table {self.key}: {role} names {name}, no column.")
        for name in self.primary_key:
            dtype = self.schema[name]
            if dtype in (pl.Float32, pl.Float64) or dtype.is_nested():
                raise DeclarationError(
                    f"Table {self.key}: key column {name} is {dtype}; keys compare exactly."
                )
        for name in self.partition_by:
            if name in self.personal:
                raise DeclarationError(
                    f"Table {self.key}: {name} names a person, so it cannot partition the table."
                )
            if self.schema[name] not in _PARTITION_TYPES:
                raise DeclarationError(
                    f"Table {self.key}: {name} is {self.schema[name]}; tables are partitioned by "
                    "String, Date, Int32 or Int64."
                )

    @property
    def keyed(self) -> bool:
        """Whether rows have a primary key."""
        return bool(self.primary_key)

    @property
    def statistics(self) -> tuple[str, ...]:
        """Columns whose smallest and largest value of each file stand in the log: `_seq` and the
        clustering and key columns that name no person."""
        names = dict.fromkeys([*self.cluster_by, *self.primary_key])
        return (
            SEQ,
            *(n for n in names if n not in self.personal and n not in self.partition_by),
        )

    def stored(self) -> dict[str, pl.DataType]:
        """The declared columns and those that the lake adds, in their order on disk."""
        columns = {name: _instance(dtype) for name, dtype in self.schema.items()}
        columns[SEQ] = pl.Int64()
        if self.keyed:
            columns[TOMBSTONE] = pl.Datetime("us", "UTC")
        return columns


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype
