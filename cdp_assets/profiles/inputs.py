"""What a build reads, each table pinned once, no further than its neighbour's step was done, and
what of it is new."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import polars as pl

from cdp_assets.lake import Lake, OpenTable, Table
from cdp_assets.profiles.errors import InputError

TS = pl.Datetime("us", "UTC")

RECORDS_VALUES: Mapping[str, pl.DataType] = {
    "source": pl.String(),
    "object": pl.String(),
    "record_id": pl.String(),
    "record": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "changed_at": TS,
    "extracted_at": TS,
    "current": pl.Boolean(),
}
EVENTS_VALUES: Mapping[str, pl.DataType] = {
    "source": pl.String(),
    "visitor": pl.String(),
    "identifier": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "changed_at": TS,
    "message_id": pl.String(),
}
RECORDS: Mapping[str, pl.DataType] = {
    "source": pl.String(),
    "object": pl.String(),
    "record_id": pl.String(),
    "record": pl.String(),
    "deleted": pl.Boolean(),
    "merged_into": pl.String(),
    "extracted_at": TS,
}
CATALOGUE: Mapping[str, pl.DataType] = {
    "table": pl.String(),
    "event": pl.String(),
    "columns": pl.String(),
    "spec": pl.String(),
}
RELATION: Mapping[str, pl.DataType] = {
    "from": pl.String(),
    "kind": pl.String(),
    "to": pl.String(),
}
IDENTITY_CHANGES: Mapping[str, pl.DataType] = {
    "entity": pl.String(),
    "identifier": pl.String(),
    "from": pl.Int64(),
    "to": pl.Int64(),
    "at": TS,
}
GRAPH: Mapping[str, pl.DataType] = {
    "entity": pl.String(),
    "identifier": pl.String(),
    "profile_id": pl.Int64(),
}
LOGINS: Mapping[str, pl.DataType] = {
    "anonymous_id": pl.String(),
    "from": TS,
    "user_id": pl.String(),
    "to": TS,
}
GROUPS: Mapping[str, pl.DataType] = {"person": pl.String(), "account": pl.String()}
KEYS: Mapping[str, tuple[str, ...]] = {
    "identity/graph": ("entity", "identifier"),
    "identity/logins": ("anonymous_id", "from"),
    "identity/groups": ("person", "account"),
    "records/relation": ("from", "kind", "to"),
    "records/values": ("source", "object", "record_id", "field", "changed_at"),
    "records/": ("source", "object", "record_id"),
    "sessions": ("visitor", "session_id"),
    "sessions/page_views": ("visitor", "session_id", "page_view_number"),
    "events/values": ("source", "visitor", "identifier", "field", "changed_at"),
    "events/catalogue": ("table",),
    "profiles/changes": (),
    "profiles/": ("profile_id",),
}
"""Primary keys of the tables read here; `x/` stands for every other table of that room."""

_KEY_TYPES: Mapping[str, pl.DataType] = {
    "from": pl.String(), "changed_at": TS, "profile_id": pl.Int64(),
    "page_view_number": pl.Int64(),
}  # fmt: skip


def keys_of(key: str) -> tuple[str, ...]:
    """The primary key of the table `key`; () for an append-only one."""
    return KEYS.get(key, KEYS.get(key.split("/")[0] + "/", ()))


def recorded_by(key: str) -> str | None:
    """The table whose commits say up to which `_seq` the append-only `key` holds: the one that its
    step commits last. What lies above was written by a step that was killed, or is not done yet.
    None where a commit of `key` itself ends its step, and for keyed tables: a step cut short writes
    the same rows of them again."""
    if keys_of(key):
        return None
    return {"identity": "identity/graph", "events": "events"}.get(key.split("/")[0])


def open_any(lake: Lake, key: str) -> OpenTable:
    """Any table of the rooms to the left, with all of its columns, for reading."""
    keys = keys_of(key)
    schema = {name: _KEY_TYPES.get(name, pl.String()) for name in keys}
    return lake.open(Table(key=key, schema=schema, primary_key=keys, evolves=True))


class Inputs:
    """The tables that one build reads.

    Each is pinned when first asked for, so that one build sees one state and its watermarks say
    which. `since` gives the watermark that the last build left for a table.
    """

    def __init__(self, lake: Lake, out: OpenTable | None = None) -> None:
        self.lake = lake
        self._out = out
        self._pinned: dict[str, int] = {}

    @property
    def watermarks(self) -> Mapping[str, int]:
        """Table → highest `_seq` this build has read of it."""
        return dict(self._pinned)

    def open(self, key: str, schema: Mapping[str, pl.DataType]) -> OpenTable:
        """`key` with these of its columns, for reading."""
        keys = keys_of(key)
        return self.lake.open(Table(key=key, schema=dict(schema), primary_key=keys))

    def pin(self, key: str) -> int:
        """The highest `_seq` of `key` for this build.

        Raises InputError for an event's table that is being decoded anew: rows are then missing.
        """
        if key not in self._pinned:
            self._pinned[key] = self._settled(key)
        return self._pinned[key]

    def _settled(self, key: str) -> int:
        seq, recorder = open_any(self.lake, key).seq(), recorded_by(key)
        if recorder is None or recorder == key:
            return seq
        if key in self._decoding:
            raise InputError(
                f"{key} is being decoded anew, or has to be since a trait names the event again: "
                "an ingest of events does that. Nothing was built; run the ingest, then the build."
            )
        return min(seq, open_any(self.lake, recorder).watermark(key))

    @cached_property
    def _decoding(self) -> frozenset[str]:
        rows = self.scan("events/catalogue", CATALOGUE).filter(pl.col("spec") == "")
        return frozenset(rows.select("table").collect().to_series())

    def scan(self, key: str, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        """The present rows of `key`, of append-only tables up to the pin; an empty frame where
        the table does not exist. Rows of a keyed table that change after the pin are read as they
        are now and read again by the next build, so nothing is lost."""
        pinned, table = self.pin(key), self.open(key, schema)
        upto = None if table.table.keyed else pinned
        return table.scan(upto=upto).select(*schema)

    def whole(self, key: str) -> pl.LazyFrame:
        """As `scan`, with all columns that the table has."""
        pinned, table = self.pin(key), open_any(self.lake, key)
        return table.scan(upto=None if table.table.keyed else pinned).drop("_seq")

    def old(self, key: str, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        """The rows of the append-only `key` that the last build had read, as far as they are
        still there."""
        return self.open(key, schema).scan(upto=self.since(key)).select(*schema)

    def count(self, key: str) -> tuple[int, int]:
        """How many rows of the append-only `key` the last build had read that are still there, and
        how many this one reads."""
        rows = self.open(key, {}).scan(upto=self.pin(key))
        known = (pl.col("_seq") <= self.since(key)).sum()
        return rows.select(known.alias("known"), pl.len()).collect().row(0)

    def since(self, key: str) -> int:
        """The `_seq` of `key` that the last build had read; 0 for none."""
        return self._out.watermark(key) if self._out is not None else 0

    def has_news(self, key: str) -> bool:
        """Whether `key` moved since the last build."""
        return self.pin(key) != self.since(key)

    def news(self, key: str, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
        """Rows of `key` written since the last build, deleted ones too."""
        changed = self.open(key, schema).changes(self.since(key), upto=self.pin(key))
        return changed.select(*schema)
