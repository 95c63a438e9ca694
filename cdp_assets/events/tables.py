"""The tables of this room and the names of the typed ones."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping

import polars as pl

from cdp_assets.events.enrich.kinds import BOT, COLUMN_DOCS, COLUMNS
from cdp_assets.lake import Table

TS = pl.Datetime("us", "UTC")
DECIMAL = pl.Decimal(28, 9)
"""Money and every number that expressions reckon with."""

RESERVED = frozenset(
    {
        "values",
        "relation",
        "told",
        "facts",
        "changes",
        "observations",
        "catalogue",
        "properties",
        "volumes",
        "features",
    }
)
"""Table names under `events/` that belong to no event."""

BATCH = "events/batch"
"""Watermark of table events that moves with each of its commits: an append whose watermarks all
stand already is taken for one that happened before."""

MAX_NAME = 56
"""Characters of an event's table name; a suffix of seven still fits the lake's 63."""

EVENTS = Table(
    key="events",
    description="Every event once, as sent, with its four times. A resend is the same source, "
    "message id, visitor and original time.",
    schema={
        "message_id": pl.String(),
        "source": pl.String(),
        "type": pl.String(),
        "event": pl.String(),
        "anonymous_id": pl.String(),
        "user_id": pl.String(),
        "group_id": pl.String(),
        "visitor": pl.String(),
        "original_at": TS,
        "sent_at": TS,
        "received_at": TS,
        "timestamp": TS,
        "event_day": pl.Date(),
        "page_url": pl.String(),
        "page_path": pl.String(),
        "page_title": pl.String(),
        "referrer": pl.String(),
        "campaign_source": pl.String(),
        "campaign_medium": pl.String(),
        "campaign_name": pl.String(),
        "ip": pl.String(),
        "user_agent": pl.String(),
        "purpose": pl.String(),
        "origin": pl.String(),
        "row_number": pl.Int64(),
        "flags": pl.List(pl.String()),
        **COLUMNS,
        "payload": pl.String(),
    },
    partition_by=("event_day",),
    personal=("anonymous_id", "user_id", "visitor"),
    column_docs={
        **COLUMN_DOCS,
        "message_id": "The sender's own, else minted from the file's SHA-256 (a segment's name) "
        "and row number.",
        "visitor": "anonymous_id, else user_id, else empty: whose event it is for deduplication.",
        "original_at": "The client's own time, null where it gave none that can be read.",
        "sent_at": "The client's clock when it sent the event.",
        "received_at": "The line's own receivedAt, else when the file was first seen.",
        "timestamp": "The corrected time: received - (sent - original).",
        "event_day": "UTC day of the client's own time before correction; serves storage only.",
        "origin": "SHA-256 of the file.",
        "row_number": "Line of the file, from 1.",
        "flags": "What was noticed or decided: no_time, skewed, future, unread:X, not_text:X, "
        "violation:X, transform:VERSION, bot …",
        "payload": "The line as sent, or as its source's transformation made it.",
    },
)

OBSERVATIONS = Table(
    key="events/observations",
    description="Every named identify trait as told, repeats included: what events/values is "
    "folded from, so that late events find their place.",
    schema={
        "source": pl.String(),
        "visitor": pl.String(),
        "identifier": pl.String(),
        "field": pl.String(),
        "value": pl.String(),
        "changed_at": TS,
        "message_id": pl.String(),
    },
    personal=("visitor", "identifier", "value"),
)

VALUES = Table(
    key="events/values",
    description="When a device told a new value of a trait; its repeats add no row.",
    schema=OBSERVATIONS.schema,
    primary_key=("source", "visitor", "identifier", "field", "changed_at"),
    personal=("visitor", "identifier", "value"),
    column_docs={
        "visitor": "The device (anonymous id, else user id) that told the value.",
        "identifier": "Whose trait: `user_id:…`, else `anonymous_id:…`.",
        "field": "`events.traits.NAME`.",
        "value": "Text; JSON text of a list or object; null where the trait was taken away.",
        "changed_at": "Corrected time at which the device first told this value in this run.",
    },
)

CATALOGUE = Table(
    key="events/catalogue",
    description="What fills each derived table of events, and how it was last decoded.",
    schema={
        "table": pl.String(),
        "event": pl.String(),
        "columns": pl.String(),
        "spec": pl.String(),
    },
    primary_key=("table",),
    column_docs={
        "table": "Key of the table.",
        "event": "The event whose properties it holds; null for the traits' observations.",
        "columns": "JSON: property → column.",
        "spec": "Digest of what it was decoded by; empty while it is decoded anew.",
    },
)

ENVELOPE: Mapping[str, pl.DataType] = {
    "message_id": pl.String(),
    "source": pl.String(),
    "anonymous_id": pl.String(),
    "user_id": pl.String(),
    "timestamp": TS,
    "event_day": pl.Date(),
}
"""The columns of every typed table that come from the event, not from its properties."""

_TAKEN = frozenset(
    {*ENVELOPE, "_seq", "deleted_at", "profile_id", "visitor", "group_id", "type", "event"}
)


def by_people() -> pl.Expr:
    """Whether a row of table `events` is not flagged as a bot's: what identity, profiles, typed
    tables and traits are made of."""
    return ~pl.col("flags").list.contains(BOT).fill_null(value=False)


def snake(name: str) -> str:
    """`name` as a table name: `Order Completed`, `orderCompleted` → `order_completed`.

    What has no letter of the Latin alphabet becomes `e_` and eight digits of its hash.
    """
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", folded)
    words = re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")
    if not words or (len(words) < len(name) / 2 and not name.isascii()):
        return f"e_{_hash(name, 8)}"
    if not words[0].isalpha():
        words = f"e_{words}"
    return words if len(words) <= MAX_NAME else f"{words[: MAX_NAME - 7]}_{_hash(name, 6)}"


def typed_keys(events: Iterable[str]) -> dict[str, str]:
    """Event name → key of its typed table, for all events that a configuration names.

    Names that come to the same table name get a suffix of their own hash, all but the first
    in the order of their text, so that the map depends on the set of names alone. Raises
    ValueError for a name whose table name is reserved.
    """
    keys: dict[str, str] = {}
    for name in sorted(set(events)):
        short = snake(name)
        if short in RESERVED:
            raise ValueError(
                f"event {name!r} would be the table events/{short}, which is reserved; "
                "send it under another name"
            )
        key = f"events/{short}"
        keys[name] = f"{key}_{_hash(name, 6)}" if key in keys.values() else key
    return keys


def typed_columns(properties: Iterable[str]) -> dict[str, str]:
    """Property → column of the typed table.

    A property named like a column of the event (`user_id`, `timestamp` …), or like another
    property but for its case or for signs that no column name holds, gets a suffix of its own
    hash: neither overwrites the other.
    """
    columns: dict[str, str] = {}
    taken = set(_TAKEN)
    for name in sorted(set(properties)):
        column = re.sub(r"[^\w.$-]", "_", name)
        folded = column.casefold()
        if folded in taken or f"{folded}__str" in taken or "__str" in folded:
            column = f"{column}__{_hash(name, 6)}"
        columns[name] = column
        taken |= {column.casefold(), f"{column.casefold()}__str"}
    return columns


def typed_table(event: str, key: str, properties: Mapping[str, pl.DataType]) -> Table:
    """The typed table of `event`: the envelope and, for each property that is not text, its
    column and `<column>__str`, which keeps the text of a value that the column cannot hold."""
    schema: dict[str, pl.DataType] = dict(ENVELOPE)
    docs: dict[str, str] = {}
    for name, column in typed_columns(properties).items():
        schema[column] = properties[name]
        docs[column] = f"properties.{name}"
        if properties[name] != pl.String:
            schema[f"{column}__str"] = pl.String()
            docs[f"{column}__str"] = (
                f"Text of a properties.{name} that is not exactly a {properties[name]}."
            )
    return Table(
        key=key,
        description=f"The event {event!r} with its named properties in typed columns.",
        schema=schema,
        partition_by=("event_day",),
        personal=("anonymous_id", "user_id"),
        column_docs=docs,
    )


def _hash(name: str, digits: int) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:digits]
