"""What a plan is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import polars as pl

from cdp_assets.connectors.base import WriteOp
from cdp_assets.store.ledger import Texts

Op = WriteOp | Literal["add", "remove", "restore"]
"""What a row does: writes a record, takes it out of the bin, puts it on a list or takes it off."""
NEW = "(new)"
ALL = "(all)"
"""Stands for the id where all records of an object are meant."""
FOREIGN = 0
"""Owner of records that are another entity's: no profile's id, since the lowest is 1."""


def ref(source: str, object_name: str, record_id: str | None) -> str:
    """`source.Object:id`; `source.Object:(new)` of a record that is not there yet."""
    return f"{source}.{object_name}:{record_id or NEW}"


def record_id(record: str) -> str:
    """The id in a record's ref."""
    return record.partition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row to write.

    sent: field → value as it goes out. told: the same as canonical text. asked: the profile's own
    text of all fields that this row settles, those found equal too. repeated: the record was told
    before. tried: it stands in the dead letters, so it goes last.
    left: its profile has left the source. why: of each field; of the empty name where the row has
    none. notes: columns of the state to be set besides. links: (object, record id) of the records
    that a new one is linked with.
    """

    profile_id: int
    object: str
    record_id: str | None
    op: Op
    key_field: str | None = None
    key_value: str | None = None
    sent: Mapping[str, Any]
    told: Texts
    asked: Texts
    old: Texts
    why: Mapping[str, str]
    digest: str
    repeated: bool = False
    tried: bool = False
    left: bool = False
    notes: Texts = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A row, or one field of it, that cannot be written. op: `error`; `held` for one that was
    refused before and waits in the dead letters; `left` for a field that gives way to people,
    `paused` for one that is gone there."""

    profile_id: int
    object: str
    record: str
    why: str
    field: str = ""
    op: str = "error"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a plan is made from.

    profiles: profile_id and every column that the sync reads; for `rows: entered` also entered_at
        and entry, the text that names that entry for ever. links, redirects: see `targets`;
        links has `dead` Boolean too: deleted there, not merged or converted into another record.
    foreign: record, those of the destination that are another entity's: never written to, whoever
        seems to have them, since ids are given out for each entity anew.
    state: rows of `syncs/<name>`. sought: rows of `syncs/<name>/sought`.
    letters: open and released dead letters (`store.letters.SCHEMA`).
    pulled: the destination's objects whose records identity knows all.
    identifying: fields of the destination that hold the entity's identifiers.
    associated: profile_id, entity, record: the one record of each entity in `link` that belongs
        to the profile.
    users: email, record_id of the destination's users, for owners.
    timeless: the same tables give the same profiles at any time.
    """

    profiles: pl.LazyFrame
    links: pl.LazyFrame
    redirects: pl.LazyFrame
    state: pl.LazyFrame
    sought: pl.LazyFrame
    letters: pl.DataFrame
    pulled: frozenset[str] = frozenset()
    identifying: frozenset[str] = frozenset()
    timeless: bool = False
    users: pl.LazyFrame = field(
        default_factory=lambda: pl.LazyFrame(schema={"email": pl.String, "record_id": pl.String})
    )
    associated: pl.LazyFrame = field(
        default_factory=lambda: pl.LazyFrame(
            schema={"profile_id": pl.Int64, "entity": pl.String, "record": pl.String}
        )
    )
    foreign: pl.LazyFrame = field(
        default_factory=lambda: pl.LazyFrame(schema={"record": pl.String})
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sync would do.

    hash: of the content, what an approval names. rows: as `syncs/<name>/plan` keeps them.
    stopped: why it may not be applied, empty if nothing stands against it.
    waits: for somebody's yes. resumed: it is the rest of a plan that was begun before.
    overtaken: letters of records that could not be created, whose profiles have one now.
    standing: nothing but the tables decided it, neither the destination nor the time.
    """

    sync: str
    hash: str
    config: str
    made_at: datetime
    rows: pl.DataFrame
    changes: tuple[Change, ...]
    obstacles: tuple[Obstacle, ...]
    stopped: tuple[str, ...] = ()
    profiles: int = 0
    told: int = 0
    without_record: int = 0
    checked: pl.DataFrame = field(default_factory=pl.DataFrame)
    sought: pl.DataFrame = field(default_factory=pl.DataFrame)
    overtaken: tuple[int, ...] = ()
    waits: bool = False
    resumed: bool = False
    standing: bool = False

    @property
    def creates(self) -> int:
        """Records that would be created."""
        return sum(change.record_id is None for change in self.changes)

    @property
    def updates(self) -> int:
        """Records that would be changed."""
        return sum(c.record_id is not None and c.op in ("update", "upsert") for c in self.changes)

    def count(self, op: Op) -> int:
        """Rows of this kind."""
        return sum(change.op == op for change in self.changes)

    @property
    def deletes(self) -> int:
        """Records that would be deleted."""
        return self.count("delete")

    @property
    def rows_planned(self) -> int:
        """Rows that would be written."""
        return len(self.changes)

    @property
    def fields_planned(self) -> int:
        """Fields that would be written."""
        return sum(len(change.told) for change in self.changes)

    @property
    def row_errors(self) -> int:
        """Rows and fields that cannot be written."""
        return sum(o.op == "error" for o in self.obstacles)

    @property
    def held(self) -> int:
        """Rows that wait in the dead letters."""
        return sum(o.op == "held" for o in self.obstacles)

    @property
    def paused(self) -> dict[str, str]:
        """Fields to which nothing is told, since they are gone there, and why."""
        return {o.field: o.why for o in self.obstacles if o.op == "paused"}

    @property
    def short(self) -> str:
        """The hash as people type it."""
        return self.hash[:12]

    @property
    def approve_hint(self) -> str:
        """The line that approves this plan; empty where it waits for nobody."""
        return f"cdp approve {self.short}" if self.waits and self.changes else ""
