from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta

import polars as pl

from cdp_assets.events.properties import VOLUMES
from cdp_assets.events.pulse import ALL, shifts

MONDAY = date(2026, 3, 2)
START = MONDAY - timedelta(weeks=12)


def volumes(
    count: Callable[[str, date], int], events: tuple[str, ...] = ("A", "B", "C")
) -> pl.DataFrame:
    """Twelve weeks before MONDAY + 7, of each event as many as `count` says."""
    rows = [
        ("app", "track", event, day, number)
        for event in events
        for day in (START + timedelta(days=n) for n in range(7 * 13))
        if (number := count(event, day))
    ]
    return pl.DataFrame(rows, schema=dict(VOLUMES.schema), orient="row")


def usual(event: str, day: date) -> int:
    """Busy weekdays, quiet weekends, growth, noise; the same on each call."""
    noise = random.Random(f"{event}{day}").gauss(1, 0.1)
    base = {"A": 5000, "B": 400, "C": 40}[event] * (0.05 if day.weekday() >= 5 else 1)
    return max(0, int(base * noise * (1 + (day - START).days / 300)))


def told(count: Callable[[str, date], int], today: date) -> list[tuple[str, str]]:
    return [(s.kind, s.event) for s in shifts(volumes(count), today)]


def test_usual_weeks_are_quiet_weekends_too() -> None:
    for n in range(-20, 8):
        assert told(usual, MONDAY + timedelta(days=n)) == []


def test_an_event_of_weekdays_alone_is_not_missed_on_sundays() -> None:
    def weekdays(event: str, day: date) -> int:
        return 0 if event == "B" and day.weekday() >= 5 else usual(event, day)

    for n in range(-7, 8):
        assert told(weekdays, MONDAY + timedelta(days=n)) == []


def test_a_new_event_and_one_that_vanished() -> None:
    def changed(event: str, day: date) -> int:
        if event == "C":
            return 3 if day >= MONDAY - timedelta(days=1) else 0
        return 0 if event == "B" and day >= MONDAY - timedelta(days=3) else usual(event, day)

    assert told(changed, MONDAY) == [("new", "C"), ("vanished", "B")]
    # a volume is missed at once, even where a silence is not yet long
    assert ("fewer", "B") in told(changed, MONDAY - timedelta(days=2))
    assert told(changed, MONDAY + timedelta(days=6)) == [("vanished", "B")]


def test_shifts_in_volume_of_one_event_and_of_all() -> None:
    def half(event: str, day: date) -> int:
        return usual(event, day) // (4 if event == "B" and day == MONDAY else 1)

    def double(event: str, day: date) -> int:
        return usual(event, day) * (3 if event == "B" and day == MONDAY else 1)

    def outage(event: str, day: date) -> int:
        return usual(event, day) // (5 if day == MONDAY else 1)

    def all_but_one(event: str, day: date) -> int:
        return usual(event, day) // (5 if day == MONDAY and event != "B" else 1)

    after = MONDAY + timedelta(days=1)
    assert told(half, after) == [("fewer", "B")]
    assert told(double, after) == [("more", "B")]
    assert told(outage, after) == [("fewer", ALL)]
    assert told(all_but_one, after) == [("fewer", ALL)]
    [found] = shifts(volumes(half), after)
    assert found.usual is not None
    assert 300 < found.usual < 600
    assert found.events < 150


def test_files_that_are_late_and_a_source_that_fell_silent() -> None:
    def until(day: date) -> Callable[[str, date], int]:
        return lambda event, at: usual(event, at) if at < day else 0

    assert told(until(MONDAY), MONDAY + timedelta(days=1)) == []
    assert told(until(MONDAY), MONDAY + timedelta(days=3)) == [("vanished", ALL)]


def test_few_events_and_short_histories_are_not_judged() -> None:
    def few(event: str, day: date) -> int:
        return usual(event, day) // 20 if event == "C" else usual(event, day)

    assert told(few, MONDAY + timedelta(days=1)) == []
    young = volumes(usual).filter(pl.col("day") > MONDAY - timedelta(days=10))
    assert shifts(young, MONDAY) == []
