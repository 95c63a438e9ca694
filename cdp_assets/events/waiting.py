"""What of events waits in quarantine: by source and reason, with an example that shows nobody."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from cdp_assets.events.plan.rules import safe_name
from cdp_assets.lake import Lake
from cdp_assets.raw.tables import QUARANTINE

_MEMBERS, _DEEPEST, _MOST = 30, 6, 1_000


def waiting(lake: Lake, source: str | None = None) -> pl.DataFrame:
    """The open rows of raw/quarantine that came of events, one row a source, reason and detail,
    the most first: source, reason, detail, rows Int64, first_seen, last_seen, example.

    example: the first line's structure, with each value masked.
    """
    rows = (
        lake.open(QUARANTINE)
        .scan()
        .filter((pl.col("state") == "open") & pl.col("step").str.starts_with("events/"))
        .with_columns(pl.col("step").str.strip_prefix("events/").alias("source"))
    )
    if source is not None:
        rows = rows.filter(pl.col("source") == source)
    found = (
        rows.sort("first_seen", "origin", "position")
        .group_by("source", "reason", "detail", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("rows"),
            pl.col("first_seen").min(),
            pl.col("first_seen").max().alias("last_seen"),
            pl.col("payload").first().alias("example"),
        )
        .sort(["rows", "source", "reason", "detail"], descending=[True, False, False, False])
        .collect()
    )
    examples = [masked(payload) for payload in found["example"].to_list()]
    return found.with_columns(pl.Series("example", examples, dtype=pl.String))


def masked(payload: bytes) -> str:
    """A line with its values taken out: text becomes "…", numbers 0, lists their first member;
    names that look like values are masked too. What is no JSON shows only its size."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return f"(no JSON: {len(payload)} bytes)"
    text = json.dumps(_mask(content, 0), ensure_ascii=False)
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


def _mask(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        if depth >= _DEEPEST:
            return {}
        shown = list(value.items())[:_MEMBERS]
        made = {safe_name(name): _mask(inner, depth + 1) for name, inner in shown}
        return made | ({"…": f"{len(value) - _MEMBERS} more"} if len(value) > _MEMBERS else {})
    if isinstance(value, list):
        return [_mask(value[0], depth + 1)] if value and depth < _DEEPEST else []
    if isinstance(value, bool) or value is None:
        return value
    return "…" if isinstance(value, str) else 0
