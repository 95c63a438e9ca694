"""What could not be accepted, kept with its place and reason until it is read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.raw.tables import QUARANTINE

KEY = ["step", "origin", "position"]
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Refusal:
    """One thing that could not be accepted.

    position: row number in the origin, from 1. reason: a word a kind of mistake (`not_json`).
    detail: what is wrong, without values of the row. payload: its bytes; of a longer row the first
    million, which the detail then says.
    """

    position: int
    reason: str
    detail: str
    payload: bytes


def frame(
    step: str, origin: str, refusals: Sequence[Refusal], first_seen: datetime
) -> pl.DataFrame:
    """Refusals of one origin as rows of raw/quarantine."""
    return pl.DataFrame(
        {
            "step": [step] * len(refusals),
            "origin": [origin] * len(refusals),
            "position": [r.position for r in refusals],
            "reason": [r.reason for r in refusals],
            "detail": [_detail(r) for r in refusals],
            "payload": [r.payload[:_MOST_BYTES] for r in refusals],
            "first_seen": [first_seen] * len(refusals),
            "state": ["open"] * len(refusals),
        },
        schema=dict(QUARANTINE.schema),
    )


def _detail(refusal: Refusal) -> str:
    size = len(refusal.payload)
    if size <= _MOST_BYTES:
        return refusal.detail
    return f"{refusal.detail} (of its {size} bytes the first {_MOST_BYTES} are kept)"


def add(lake: Lake, rows: pl.DataFrame) -> int:
    """Keep rows of `frame`; one already kept (by step, origin, position) stays as it is, replayed
    or not, so that reading an origin again adds nothing. Returns how many are new."""
    if rows.is_empty():
        return 0
    table = lake.open(QUARANTINE)
    with table.exclusive():
        origins = rows.select("step", "origin").unique()
        known = (
            table.scan()
            .join(origins.lazy(), on=["step", "origin"], how="semi")
            .select(KEY)
            .collect()
        )
        fresh = rows.unique(KEY, keep="first", maintain_order=True).join(
            known, on=KEY, how="anti", maintain_order="left"
        )
        if fresh.is_empty():
            return 0
        table.merge(fresh)
        return fresh.height


def open_rows(
    lake: Lake, *, step: str | None = None, origin: str | None = None, reason: str | None = None
) -> pl.DataFrame:
    """Rows that still wait, of one step, origin or reason where given."""
    rows = lake.open(QUARANTINE).scan().filter(pl.col("state") == "open")
    for column, value in (("step", step), ("origin", origin), ("reason", reason)):
        if value is not None:
            rows = rows.filter(pl.col(column) == value)
    return rows.select(list(QUARANTINE.schema)).sort(KEY).collect()


def open_counts(lake: Lake) -> pl.DataFrame:
    """step, reason, rows Int64: how much waits."""
    rows = lake.open(QUARANTINE).scan().filter(pl.col("state") == "open")
    counts = rows.group_by("step", "reason").agg(rows=pl.len().cast(pl.Int64))
    return counts.sort("step", "reason").collect()


def mark_replayed(lake: Lake, keys: pl.DataFrame) -> int:
    """Close rows that were read again with success. keys: step, origin, position. Returns how many
    were open."""
    table = lake.open(QUARANTINE)
    with table.exclusive():
        rows = (
            table.scan()
            .filter(pl.col("state") == "open")
            .join(keys.select(KEY).unique().lazy(), on=KEY, how="semi")
            .select(list(QUARANTINE.schema))
            .with_columns(state=pl.lit("replayed"))
            .collect()
        )
        if rows.height:
            table.merge(rows)
        return rows.height
