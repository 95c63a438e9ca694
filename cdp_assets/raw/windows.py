"""Which windows of an object's cursor were pulled, and how far they reach without a gap."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.raw.tables import WINDOWS

OVERLAP = timedelta(minutes=10)
"""A live pull begins this long before the cursor: sources show records late, and out of order."""


def coverage(windows: pl.DataFrame, start: datetime) -> datetime:
    """End of the unbroken coverage that begins at `start`.

    windows: start, end Datetime[us, UTC], in any order, overlapping or not. A window that begins
    after the coverage's end leaves a gap, so it and what follows count for nothing: one recent day
    materialised by hand must not hide all history.
    """
    reached = start
    for begin, end in windows.sort("start", "end").select("start", "end").iter_rows():
        if begin > reached:
            break
        reached = max(reached, end)
    return reached


def cursor(lake: Lake, source: str, object_name: str, start: datetime) -> datetime:
    """The live cursor of an object: how far it is covered without a gap from `start` on."""
    windows = (
        lake.open(WINDOWS)
        .scan()
        .filter(pl.col("source") == source, pl.col("object") == object_name)
        .select("start", "end")
        .collect()
    )
    return coverage(windows, start)


def record(
    lake: Lake,
    *,
    source: str,
    object_name: str,
    start: datetime,
    end: datetime,
    token: str | None,
    rows: int,
    kind: str,
    finished_at: datetime,
) -> None:
    """Note a window as pulled; to be called after the last commit of its data."""
    row = {
        "source": source,
        "object": object_name,
        "start": start,
        "end": end,
        "token": token,
        "rows": rows,
        "kind": kind,
        "finished_at": finished_at,
    }
    lake.open(WINDOWS).append(pl.DataFrame([row], schema=dict(WINDOWS.schema)))
