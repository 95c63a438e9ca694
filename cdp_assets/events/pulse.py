"""New events, vanished events, sudden shifts in volume: what a day's counts say beside those of the
same weekdays before. The rule is robust (median and median deviation) and knows no season but the
week, so that weekends are quiet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import Final, Literal

import polars as pl

WEEKS: Final = 8
"""How many same weekdays before are looked at."""
FEWEST: Final = 4
"""So many of them an event must have lived through before its volume is judged."""
SMALL: Final = 30
"""Events of which both the day and its like stay below this many are too few to judge."""
SETTLED: Final = 14
"""Days of events after which a source's new names are news."""
ALL: Final = "(all events)"
_DAY = timedelta(days=1)

Counts = Mapping[date, int]


@dataclass(frozen=True)
class Shift:
    """One thing to look at. event: its name, its type where it is no track, or ALL for a whole
    source. usual: the median of the same weekdays before; None where there is none."""

    kind: Literal["new", "vanished", "more", "fewer"]
    source: str
    event: str
    day: date
    events: int
    usual: float | None = None
    last_seen: date | None = None


def shifts(volumes: pl.DataFrame, today: date) -> list[Shift]:
    """What is to be looked at of the last whole day (UTC), the day before `today`.

    volumes: the rows of table events/volumes: source, type, event, day Date, events Int64.

    - new: seen for the first time on that day or since, of a source with 14 days of events.
    - more, fewer: apart from the median of the last 8 same weekdays (4 at least since its first
      day) by more than 4 deviations (1.4826 times their median deviation), than 4 square roots of
      the median, and than half the median (fewer) or all of it (more); below 30 events never.
    - vanished: on 8 days or more of the last 8 weeks, and now silent for more than twice its
      longest silence in them, at least 2 days; told for four weeks.

    A source without any event that day is judged as a whole alone: its files may be late. Where
    a whole source has more or fewer, only events are told that did not go with it.
    """
    judged = today - _DAY
    found: list[Shift] = []
    for (source,), rows in volumes.filter(pl.col("day") <= today).group_by("source"):
        series: dict[str, dict[date, int]] = {}
        for kind, event, day, count in rows.select("type", "event", "day", "events").iter_rows():
            at = series.setdefault(event or kind, {})
            at[day] = at.get(day, 0) + count
        total: dict[date, int] = {}
        for counts in series.values():
            for day, count in counts.items():
                total[day] = total.get(day, 0) + count
        found += _of_source(str(source), series, total, judged)
    return sorted(found, key=lambda s: (s.source, s.event != ALL, s.kind, s.event))


def _of_source(
    source: str, series: Mapping[str, Counts], total: Counts, judged: date
) -> Iterator[Shift]:
    settled = min(total) <= judged - timedelta(days=SETTLED)
    for event, counts in series.items():
        if settled and min(counts) >= judged:
            first = min(counts)
            yield Shift("new", source, event, first, counts[first])
    if not total.get(judged):
        yield from _vanished(source, ALL, total, judged)
        return
    whole = _moved(source, ALL, total, judged)
    if whole is not None:
        yield whole
    for event, counts in series.items():
        gone = list(_vanished(source, event, counts, judged))
        yield from gone
        own = None if gone else _moved(source, event, counts, judged)
        if own is not None and not (whole is not None and _alike(own, whole)):
            yield own


def _moved(source: str, event: str, counts: Counts, judged: date) -> Shift | None:
    first = min(counts)
    days = [judged - timedelta(weeks=n) for n in range(1, WEEKS + 1)]
    before = [counts.get(day, 0) for day in days if day >= first]
    if len(before) < FEWEST:
        return None
    count, usual = counts.get(judged, 0), median(before)
    if max(count, usual) < SMALL:
        return None
    deviation = 1.4826 * median(abs(n - usual) for n in before)
    room = max(4 * deviation, 4 * sqrt(usual))
    if count > usual + max(room, usual):
        return Shift("more", source, event, judged, count, usual)
    if count < usual - max(room, usual / 2):
        return Shift("fewer", source, event, judged, count, usual)
    return None


def _alike(own: Shift, whole: Shift) -> bool:
    """Whether an event went the way of its whole source, within a factor of two."""
    if own.kind != whole.kind or not own.usual or not whole.usual:
        return False
    ratio = (own.events / own.usual + 0.01) / (whole.events / whole.usual + 0.01)
    return 0.5 <= ratio <= 2


def _vanished(source: str, event: str, counts: Counts, judged: date) -> Iterator[Shift]:
    last = max(counts)
    silence = (judged - last).days
    if not 2 <= silence <= 28:
        return
    days = sorted(day for day in counts if day > last - timedelta(weeks=WEEKS))
    if len(days) < 8:
        return
    longest = max((b - a).days - 1 for a, b in pairwise(days))
    if silence > 2 * longest:
        yield Shift("vanished", source, event, judged, 0, last_seen=last)
