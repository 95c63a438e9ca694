"""What a plan would say of events that are stored already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date

import polars as pl

from cdp_assets.events.plan.judge import violations
from cdp_assets.events.plan.rules import Plan, safe_name
from cdp_assets.events.tables import EVENTS
from cdp_assets.lake import Lake

_COLUMNS = ("type", "event", "payload")


def trial(
    lake: Lake, plan: Plan, sources: Iterable[str], since: date | None = None
) -> tuple[int, Counter[tuple[str, str, str]]]:
    """How many stored events of these sources were judged, and (event, violation, what would
    become of it) → how many. since: from this event_day on. Nothing is written."""
    wanted = pl.col("source").is_in(list(sources))
    if since is not None:
        wanted &= pl.col("event_day") >= since
    rows = lake.open(EVENTS).scan().filter(wanted)
    found: Counter[tuple[str, str, str]] = Counter()
    count = 0
    days = rows.select(pl.col("event_day").unique()).collect()["event_day"].sort()
    for day in days.to_list():
        events = rows.filter(pl.col("event_day") == day).select(_COLUMNS).collect()
        count += len(events)
        names = events["event"].fill_null(events["type"])
        for row, codes, action in violations(events, plan):
            for code in codes:
                found[safe_name(names[row]), code, action] += 1
    return count, found
