"""Answers of HubSpot's lists and searches, and what is read of the records in them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from cdp_assets.connectors.frames import page_rows

MERGED = "hs_merged_object_ids"


class Next(msgspec.Struct):
    """Where the next page begins."""

    after: str


class Paging(msgspec.Struct):
    """The mark of the next page, where there is one."""

    next: Next | None = None


class Rows(msgspec.Struct):
    """A page of records as bytes."""

    results: list[msgspec.Raw] = []
    paging: Paging | None = None
    total: int | None = None


def mark(paging: Paging | None) -> str | None:
    """The mark of the next page; None at the end."""
    return paging.next.after if paging is not None and paging.next is not None else None


def envelope_type(cursor: str) -> Any:
    """A struct of what the pull itself reads of a record; the rest of it is passed over."""
    lead: Any = msgspec.defstruct(
        "Lead",
        [("cursor", str | None, None), ("merged", str | None, None)],
        rename={"cursor": cursor, "merged": MERGED},
        gc=False,
    )
    return msgspec.defstruct(
        "Envelope",
        [("id", str), ("properties", lead), ("archived_at", str | None, None)],
        rename={"archived_at": "archivedAt"},
        gc=False,
    )


def losers(survivors: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """Rows of the records that were merged into others (id, `1;2`). The payload is ours: the
    record itself is gone."""
    pairs = [
        (loser.strip(), survivor)
        for survivor, merged in survivors
        for loser in merged.split(";")
        if loser.strip() and loser.strip() != survivor
    ]
    encoded = [msgspec.json.encode({"id": a, "mergedInto": b}) for a, b in pairs]
    none = pl.Series("cursor_at", [None] * len(pairs), dtype=pl.Datetime("us", "UTC"))
    payload = pl.Series("payload", encoded, dtype=pl.Binary).cast(pl.String)
    return page_rows([a for a, _ in pairs], none, "merge", [b for _, b in pairs], payload)


def floor(at: datetime) -> datetime:
    """`at` in whole milliseconds, as HubSpot's stamps are."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def moment_filter(name: str, operator: str, at: datetime) -> dict[str, str]:
    """A filter of a search by a moment."""
    millis = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return {"propertyName": name, "operator": operator, "value": str(millis)}
