"""The set-wise transforms on each engine, judged by plain Python."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from cdp_assets.profiles.aggregates import (
    Clock,
    Measure,
    carried,
    carries,
    combine,
    partials,
    settle,
    tally,
    window,
)
from cdp_assets.profiles.changes import changed
from cdp_assets.profiles.expressions import Context, parse, parse_select
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.survivorship import standing, survivors
from cdp_assets_tests.engines import Engine

TS = pl.Datetime("us", "UTC")
DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
VALUES = {
    "profile_id": pl.Int64, "trait": pl.String, "rank": pl.Int64, "value": pl.String,
    "field": pl.String, "record": pl.String, "changed_at": TS,
}  # fmt: skip


def values(seed: int) -> list[dict[str, Any]]:
    """Many ties: few profiles, ranks, times and values."""
    dice = random.Random(seed)
    return [
        {
            "profile_id": dice.randint(1, 4),
            "trait": dice.choice(["email", "title"]),
            "rank": dice.randint(0, 2),
            "value": dice.choice([None, "a", "b", "c"]),
            "field": dice.choice(["s.C.F", "h.c.f"]),
            "record": dice.choice(["s.C:1", "s.C:2"]),
            "changed_at": START + DAY * dice.randint(0, 2),
        }
        for _ in range(60)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_survivor_is_the_best_by_rank_time_and_value(engine: Engine, seed: int) -> None:
    rows = values(seed)
    expected: dict[tuple[int, str], tuple[Any, ...]] = {}
    for row in rows:
        if row["value"] is None:
            continue
        key = (row["profile_id"], row["trait"])
        order = (
            row["rank"], -row["changed_at"].timestamp(), row["value"]
        )  # fmt: skip
        expected[key] = min(expected.get(key, order), order)
    shuffled = pl.DataFrame(rows, schema=VALUES).sample(fraction=1, shuffle=True, seed=seed)
    found = engine.collect(survivors(engine.frame(shuffled)))
    assert {
        (row["profile_id"], row["trait"]): (
            row["rank"], -row["changed_at"].timestamp(), row["value"]
        )
        for row in found.iter_rows(named=True)
    } == expected  # fmt: skip
    assert found.height == len(expected)


def test_what_an_identifier_said_last_stands(engine: Engine) -> None:
    rows = [
        ("u:1", "email", "old", START, "m1"),
        ("u:1", "email", "new", START + DAY, "m2"),
        ("u:2", "email", "gone", START, "m3"),
        ("u:2", "email", None, START + DAY, "m4"),
        ("u:3", "email", "b", START, "m6"),
        ("u:3", "email", "a", START, "m5"),
        ("u:3", "email", None, START, "m7"),
    ]
    frame = pl.DataFrame(
        rows,
        orient="row",
        schema={
            "identifier": pl.String, "field": pl.String, "value": pl.String,
            "changed_at": TS, "message_id": pl.String,
        },
    )  # fmt: skip
    found = engine.collect(standing(engine.frame(frame))).sort("identifier")
    assert found.select("identifier", "value", "message_id").rows() == [
        ("u:1", "new", "m2"), ("u:2", None, "m4"), ("u:3", "a", "m5")
    ]  # fmt: skip


ROWS = {
    "profile_id": pl.Int64, "visitor": pl.String, "timestamp": TS, "money": pl.Decimal(38, 9),
    "plan": pl.String,
}  # fmt: skip
CONTEXT = Context({"timestamp": Kind.TIMESTAMP, "money": Kind.DECIMAL, "plan": Kind.STRING})
CLOCK = Clock(START + 20 * DAY, ZoneInfo("Europe/Berlin"))


def measure(name: str, select: str, where: str | None = None, within: int | None = None) -> Measure:
    condition = parse(where, CONTEXT, want=Kind.BOOLEAN) if where else None
    return Measure(name, parse_select(select, CONTEXT), condition, within)


MEASURES = [
    measure("n", "count(*)"),
    measure("n_pro", "count(money)", "plan = 'pro'"),
    measure("total", "sum(money)"),
    measure("total_7d", "sum(money)", within=7),
    measure("low", "min(money)", "money > 1"),
    measure("late", "max(timestamp)"),
    measure("first_plan", "first(plan)"),
    measure("last_plan", "last(plan)", within=10),
]


def events(seed: int) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    return [
        {
            "profile_id": int(visitor[1]) // 2,
            "visitor": visitor,
            "timestamp": START + timedelta(hours=dice.randint(0, 22) * 24),
            "money": dice.choice([None, Decimal("0.1"), Decimal("2.35"), Decimal(7)]),
            "plan": dice.choice([None, "pro", "free"]),
        }
        for visitor in (f"v{dice.randint(1, 6)}" for _ in range(80))
    ]


def by_hand(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The eight measures of one profile's rows."""
    last, week = window(10, CLOCK.now, CLOCK.zone), window(7, CLOCK.now, CLOCK.zone)
    money = [r["money"] for r in rows if r["money"] is not None]
    seen = [r for r in rows if r["plan"] is not None]
    recent = [r for r in seen if last.since <= r["timestamp"] < last.until]
    newest = max((r["timestamp"] for r in recent), default=None)
    return {
        "n": len(rows),
        "n_pro": sum(r["plan"] == "pro" and r["money"] is not None for r in rows),
        "total": sum(money, Decimal(0)),
        "total_7d": sum(
            (
                r["money"]
                for r in rows
                if r["money"] is not None and week.since <= r["timestamp"] < week.until
            ),
            Decimal(0),
        ),
        "low": min((m for m in money if m > 1), default=None),
        "late": max(r["timestamp"] for r in rows),
        "first_plan": min((r["timestamp"], r["plan"]) for r in seen)[1] if seen else None,
        "last_plan": min((r["plan"] for r in recent if r["timestamp"] == newest), default=None),
    }


@pytest.mark.parametrize("seed", range(3))
def test_parts_by_visitor_add_up_to_what_one_pass_gives(engine: Engine, seed: int) -> None:
    rows = events(seed)
    frame = engine.frame(pl.DataFrame(rows, schema=ROWS))
    parts = partials(frame, MEASURES, ["profile_id", "visitor"], CLOCK)
    found = engine.collect(combine(parts, MEASURES))
    expected = defaultdict(list)
    for row in rows:
        expected[row["profile_id"]].append(row)
    got = {row.pop("profile_id"): row for row in found.to_dicts()}
    assert got == {profile: by_hand(mine) for profile, mine in expected.items()}


@pytest.mark.parametrize("seed", range(3))
def test_values_carried_on_are_those_of_all_rows(engine: Engine, seed: int) -> None:
    kept = [m for m in MEASURES if carries(m)]
    kept.append(measure("n_3d", "count(*)", "plan = 'pro'", within=3))
    assert {m.name for m in MEASURES if not carries(m)} == {"first_plan", "last_plan"}
    rows = pl.DataFrame(events(seed), schema=ROWS)
    old, came = rows.head(50), rows.tail(30)
    last = Clock(CLOCK.now - 5 * DAY, CLOCK.zone)

    def values(frame: pl.DataFrame, clock: Clock) -> pl.DataFrame:
        parts = partials(engine.frame(frame), kept, ["profile_id"], clock)
        return engine.collect(combine(parts, kept))

    found = carried(
        engine.frame(values(old, last)),
        engine.frame(came),
        engine.frame(old),
        measures=kept,
        clock=CLOCK,
        last=last,
    )
    expected = values(rows, CLOCK).sort("profile_id")
    assert engine.collect(found).sort("profile_id").rows() == expected.rows()
    assert values(old, last).sort("profile_id").rows() != expected.rows()


def test_an_average(engine: Engine) -> None:
    if engine.name == "sail":
        pytest.skip("Sail 0.7.2 lacks try_divide of decimals, which Narwhals asks for")
    rows = events(7)
    mean = [measure("mean", "avg(money)")]
    parts = partials(
        engine.frame(pl.DataFrame(rows, schema=ROWS)), mean, ["profile_id", "visitor"], CLOCK
    )
    for row in engine.collect(combine(parts, mean)).iter_rows(named=True):
        mine = [
            r["money"]
            for r in rows
            if r["profile_id"] == row["profile_id"] and r["money"] is not None
        ]
        assert abs(row["mean"] - sum(mine) / len(mine)) < Decimal("0.00000001")


def test_distinct_and_most_frequent(engine: Engine) -> None:
    rows = events(5)
    frame = engine.frame(pl.DataFrame(rows, schema=ROWS))
    plans = defaultdict(Counter)
    for row in rows:
        if row["plan"]:
            plans[row["profile_id"]][row["plan"]] += 1
    key = ["profile_id"]
    kinds = measure("kinds", "count(distinct plan)")
    found = engine.collect(settle(tally(frame, kinds, key, CLOCK), kinds))
    assert dict(found.iter_rows()) == {p: len(c) for p, c in plans.items()}
    top = Measure("top", parse_select("max(plan)", CONTEXT))
    object.__setattr__(top.selection, "function", "most_frequent")
    found = engine.collect(settle(tally(frame, top, key, CLOCK), top))
    assert dict(found.iter_rows()) == {
        p: min(c, key=lambda plan, c=c: (-c[plan], plan)) for p, c in plans.items()
    }


def test_a_change_is_a_difference_of_values(engine: Engine) -> None:
    schema = {"profile_id": pl.Int64, "title": pl.String}
    old = pl.DataFrame([(1, "a"), (2, None), (3, "c"), (4, "d"), (6, "f")], schema, orient="row")
    new = pl.DataFrame([(1, "a"), (2, "b"), (3, None), (4, "e"), (5, "n")], schema, orient="row")
    found = engine.collect(changed(engine.frame(old), engine.frame(new), "title"))
    assert found.sort("profile_id").rows() == [
        (2, None, "b"), (3, "c", None), (4, "d", "e"), (5, None, "n")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "now", "since", "until"),
    [
        ("UTC", "2024-03-10T00:00", "2024-03-09T00:00", "2024-03-11T00:00"),
        ("Europe/Berlin", "2024-03-31T12:00", "2024-03-29T23:00", "2024-03-31T22:00"),
        ("Europe/Berlin", "2024-10-27T12:00", "2024-10-25T22:00", "2024-10-27T23:00"),
        ("America/New_York", "2024-01-02T03:00", "2023-12-31T05:00", "2024-01-02T05:00"),
    ],
)
def test_a_window_is_whole_days_of_its_zone(zone: str, now: str, since: str, until: str) -> None:
    def moment(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    found = window(2, moment(now), ZoneInfo(zone))
    assert (found.since, found.until) == (moment(since), moment(until))
