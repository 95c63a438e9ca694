"""The tables of this room."""

from __future__ import annotations

import re

import polars as pl

from cdp_assets.lake import Table

MOMENT = pl.Datetime("us", "UTC")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

WINDOWS = Table(
    key="raw/windows",
    description="Which windows of an object's cursor were pulled; the live cursor is computed "
    "from here. One row after a window's last data commit, empty windows too.",
    schema={
        "source": pl.String(),
        "object": pl.String(),
        "start": MOMENT,
        "end": MOMENT,
        "token": pl.String(),
        "rows": pl.Int64(),
        "kind": pl.String(),
        "finished_at": MOMENT,
    },
    column_docs={
        "start": "First moment of the window.",
        "end": "First moment after the window.",
        "token": "The API's own cursor at the window's end, where it has one.",
        "rows": "Records received, those already known included.",
        "kind": "live or backfill.",
    },
)

FILES = Table(
    key="raw/files",
    description="Files that were read, by their bytes.",
    primary_key=("source", "path", "sha256"),
    schema={
        "source": pl.String(),
        "path": pl.String(),
        "sha256": pl.String(),
        "size": pl.Int64(),
        "mtime_ns": pl.Int64(),
        "first_seen": MOMENT,
        "rows": pl.Int64(),
        "days": pl.List(pl.Date()),
        "state": pl.String(),
        "reason": pl.String(),
    },
    column_docs={
        "mtime_ns": "The file's time of change in nanoseconds: with path and size it tells, "
        "without reading it, that nothing has changed.",
        "first_seen": "When a file of these bytes was first found.",
        "days": "UTC days of the events it holds.",
        "state": "ingested, same_bytes (as a file of another name), failed, empty.",
        "reason": "Why it failed, or the path that held the same bytes.",
    },
)

QUARANTINE = Table(
    key="raw/quarantine",
    description="What could not be accepted, with origin, position and reason; `cdp replay` "
    "reads it again.",
    primary_key=("step", "origin", "position"),
    personal=("payload",),
    schema={
        "step": pl.String(),
        "origin": pl.String(),
        "position": pl.Int64(),
        "reason": pl.String(),
        "detail": pl.String(),
        "payload": pl.Binary(),
        "first_seen": MOMENT,
        "state": pl.String(),
    },
    column_docs={
        "step": "The step that refused it.",
        "origin": "Where it came from: a file's SHA-256, an object's window.",
        "position": "Row number in the origin, from 1.",
        "reason": "One word a kind of mistake.",
        "detail": "What is wrong, without values.",
        "payload": "The bytes as they came.",
        "state": "open or replayed.",
    },
)

_RECORD = {
    "record_id": pl.String(),
    "cursor_at": MOMENT,
    "op": pl.String(),
    "merged_into": pl.String(),
    "payload": pl.String(),
    "payload_format": pl.String(),
    "payload_hash": pl.String(),
    "extracted_at": MOMENT,
    "window": pl.String(),
    "run_id": pl.String(),
}


def table_name(name: str) -> str:
    """An object's name as part of a table's key; HubSpot's `2-3001` is `o2_3001`. Raises ValueError
    where it cannot be one."""
    lower = name.lower().replace("-", "_")
    if lower[:1].isdigit():
        lower = f"o{lower}"
    if _NAME.fullmatch(lower) is None:
        raise ValueError(f"`{name[:80]}` cannot name a table: letters, digits, - and _ only")
    return lower


def raw_table(source: str, object_name: str) -> Table:
    """The append-only table of an object's records (`raw/salesforce/contact`)."""
    return Table(
        key=f"raw/{table_name(source)}/{table_name(object_name)}",
        description=f"Every version of each {object_name} of {source} that was seen, verbatim.",
        personal=("record_id", "merged_into", "payload"),
        schema=_RECORD,
        column_docs={
            "record_id": "The record's id in its source.",
            "cursor_at": "The source's own time of this version (of the deletion, for one), "
            "null where it gives none.",
            "op": "upsert, delete or merge.",
            "merged_into": "For a merge: the id of the record that survived.",
            "payload": "The record as the source wrote it, JSON.",
            "payload_format": "What the source spoke: json, csv or parquet.",
            "payload_hash": "128 bits over the field values, whatever their order and spelling.",
            "extracted_at": "When it was pulled.",
            "window": "The window it came with, start/end; for a file its SHA-256.",
        },
    )
