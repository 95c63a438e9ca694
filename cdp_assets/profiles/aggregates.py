"""Aggregates over events and records, in parts that add up: masked columns, then plain sums.

`partials` groups rows by a key and `combine` adds such parts up to values; `carried` adds the parts
of what came and takes those of what left a window from the last values, so that a new day reads no
old events. `distinct` and `most_frequent` do not add up and are computed over a profile's own rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import narwhals as nw

from cdp_assets.profiles.expressions import Expression, Selection
from cdp_assets.profiles.kinds import Kind

ZERO_OF_NOTHING = frozenset({"count", "count_distinct", "sum"})
ADDING = frozenset({"count", "sum", "avg", "min", "max"})
PICKING = frozenset({"first", "last"})


@dataclass(frozen=True)
class Measure:
    """One `select … where … within` trait over rows of one source."""

    name: str
    selection: Selection
    where: Expression | None = None
    within: int | None = None

    @property
    def columns(self) -> dict[str, Kind]:
        """The columns it reads and their kinds; a text column is UNTYPED where any kind does."""
        found: dict[str, Kind] = dict(self.where.columns) if self.where else {}
        for name, kind in (self.selection.value.columns if self.selection.value else {}).items():
            if found.get(name, Kind.UNTYPED) is Kind.UNTYPED:
                found[name] = kind
        return found

    @property
    def adds_up(self) -> bool:
        """Whether parts of it can be added up."""
        return self.selection.function in ADDING | PICKING


@dataclass(frozen=True)
class Window:
    """The half-open span of time [since, until) of a `within`."""

    since: datetime
    until: datetime


def window(days: int, now: datetime, zone: ZoneInfo) -> Window:
    """The day of `now` in `zone` and the `days` - 1 days before it, as moments in UTC."""
    today = now.astimezone(zone).date()
    first, after = today - timedelta(days=days - 1), today + timedelta(days=1)
    utc = ZoneInfo("UTC")

    def midnight(day: Any) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(utc)

    return Window(midnight(first), midnight(after))


@dataclass(frozen=True)
class Clock:
    """What windows are measured against."""

    now: datetime
    zone: ZoneInfo

    def window(self, days: int) -> Window:
        return window(days, self.now, self.zone)


@dataclass(frozen=True)
class _Part:
    """A column of a partial row: how a source row fills it and how parts become one."""

    column: str
    kind: Kind
    row: nw.Expr
    reduce: str

    def merged(self) -> nw.Expr:
        column = nw.col(self.column)
        total: nw.Expr = getattr(column, self.reduce)()
        return total.cast(self.kind.narwhals).alias(self.column)


def condition(measure: Measure, clock: Clock) -> nw.Expr | None:
    """Whether a row counts for this measure; None where all do."""
    tests: list[nw.Expr] = []
    if measure.where is not None:
        tests.append(measure.where.to_narwhals(clock.now))
    if measure.within is not None:
        span = clock.window(measure.within)
        tests.append(nw.col("timestamp") >= nw.lit(span.since))
        tests.append(nw.col("timestamp") < nw.lit(span.until))
    return reduce(lambda a, b: a & b, tests) if tests else None


def _masked(value: nw.Expr, test: nw.Expr | None) -> nw.Expr:
    return value if test is None else nw.when(test).then(value)


def count_column(name: str) -> str:
    """The part that counts the rows of measure `name`."""
    return f"{name}__n"


def value_column(name: str) -> str:
    """The part that holds the sum, extreme or picked value of measure `name`."""
    return f"{name}__v"


def time_column(name: str) -> str:
    """The part that holds when the picked value of measure `name` was seen."""
    return f"{name}__t"


def part_kinds(measure: Measure) -> dict[str, Kind]:
    """The columns that a measure's parts take in a partial row."""
    function, kind = measure.selection.function, measure.selection.kind
    if function == "count":
        return {count_column(measure.name): Kind.INTEGER}
    if function == "avg":
        return {count_column(measure.name): Kind.INTEGER, value_column(measure.name): kind}
    if function in ("sum", "min", "max"):
        return {value_column(measure.name): kind}
    if function in PICKING:
        return {time_column(measure.name): Kind.TIMESTAMP, value_column(measure.name): kind}
    return {}


def _parts(measure: Measure, clock: Clock) -> list[_Part]:
    test = condition(measure, clock)
    selection = measure.selection
    value = selection.value.to_narwhals(clock.now) if selection.value else None
    counted = test
    if value is not None:
        present = ~value.is_null()
        counted = present if test is None else test & present
    one = nw.lit(1, dtype=nw.Int64())
    count = one if counted is None else nw.when(counted).then(one).otherwise(nw.lit(0))
    kinds = part_kinds(measure)
    parts = []
    if count_column(measure.name) in kinds:
        parts.append(_Part(count_column(measure.name), Kind.INTEGER, count, "sum"))
    if value_column(measure.name) in kinds:
        assert value is not None
        kind = kinds[value_column(measure.name)]
        how = selection.function if selection.function in ("min", "max") else "sum"
        parts.append(
            _Part(value_column(measure.name), kind, _masked(value.cast(kind.narwhals), test), how)
        )
    return parts


def partials(
    rows: nw.LazyFrame[Any],
    measures: Sequence[Measure],
    key: Sequence[str],
    clock: Clock,
) -> nw.LazyFrame[Any]:
    """One row a `key` with the parts of `measures` (see `part_kinds`), all of which add up.

    rows: the columns of `key`, timestamp Datetime[us, UTC], and every column that the measures
        read, in its kind.
    """
    adding = [m for m in measures if m.selection.function in ADDING]
    parts = [part for m in adding for part in _parts(m, clock)]
    masked = rows.select(*key, *(part.row.alias(part.column) for part in parts))
    keys = list(key)
    result = (
        masked.group_by(keys).agg(*(part.merged() for part in parts))
        if parts
        else rows.select(*keys).unique()
    )
    for measure in measures:
        if measure.selection.function in PICKING:
            test = condition(measure, clock)
            kept = rows if test is None else rows.filter(test)
            assert measure.selection.value is not None
            seen = kept.select(
                *keys,
                nw.col("timestamp").alias(time_column(measure.name)),
                measure.selection.value.to_narwhals(clock.now).alias(value_column(measure.name)),
            )
            result = _with_picked(result, seen, measure, keys)
    return result


def _with_picked(
    result: nw.LazyFrame[Any], seen: nw.LazyFrame[Any], measure: Measure, key: list[str]
) -> nw.LazyFrame[Any]:
    """`result` with the first or last value of `seen` per key; of several at one time the
    smaller value."""
    time, value = time_column(measure.name), value_column(measure.name)
    held = seen.filter(~nw.col(value).is_null())
    edge = nw.col(time).min() if measure.selection.function == "first" else nw.col(time).max()
    at_edge = held.join(held.group_by(key).agg(edge), on=[*key, time], how="inner")
    picked = at_edge.group_by([*key, time]).agg(nw.col(value).min())
    return _left(result, picked, key)


def _left(
    left: nw.LazyFrame[Any], right: nw.LazyFrame[Any], key: Sequence[str]
) -> nw.LazyFrame[Any]:
    """A left join; keys hold no null (a visitor without a user id has an empty one)."""
    return left.join(right, on=list(key), how="left")


def combine(
    parts: nw.LazyFrame[Any], measures: Sequence[Measure], key: str = "profile_id"
) -> nw.LazyFrame[Any]:
    """The measures' values per profile from partial rows.

    parts: `key`, and the columns of `part_kinds` of every measure.
    Returns `key` and one column a measure in its kind: a count or a sum of nothing is 0, so that
    who bought nothing for 90 days has a revenue of 0 there and not an old one; every other
    aggregate of nothing is null.
    """
    merged: list[nw.Expr] = []
    for measure in measures:
        function = measure.selection.function
        if function in PICKING:
            continue
        for column, kind in part_kinds(measure).items():
            how = function if function in ("min", "max") else "sum"
            merged.append(_Part(column, kind, nw.col(column), how).merged())
    result = parts.group_by([key]).agg(*merged) if merged else parts.select(key).unique()
    for measure in measures:
        if measure.selection.function in PICKING:
            columns = [time_column(measure.name), value_column(measure.name)]
            result = _with_picked(result, parts.select(key, *columns), measure, [key])
    return result.select(key, *(_finished(m) for m in measures))


def _finished(measure: Measure) -> nw.Expr:
    function, kind = measure.selection.function, measure.selection.kind
    count, value = nw.col(count_column(measure.name)), nw.col(value_column(measure.name))
    if function == "count":
        return count.alias(measure.name)
    if function == "avg":
        total = nw.when(count > 0).then(value)
        divisor = nw.when(count > 0).then(count.cast(kind.narwhals))
        return (total / divisor).cast(kind.narwhals).alias(measure.name)
    return value.cast(kind.narwhals).alias(measure.name)


def carries(measure: Measure) -> bool:
    """Whether a value is known from the last one and the events that came, or crossed the edge of
    its window, since: nothing can be taken away from an extreme, a mean keeps no count, and sums
    of floats depend on their order."""
    if measure.selection.kind is Kind.FLOAT:
        return False
    function = measure.selection.function
    return function in ("count", "sum") or (function in ("min", "max") and not measure.within)


def carried(
    old: nw.LazyFrame[Any],
    came: nw.LazyFrame[Any],
    crossed: nw.LazyFrame[Any],
    *,
    measures: Sequence[Measure],
    clock: Clock,
    last: Clock,
    key: str = "profile_id",
) -> nw.LazyFrame[Any]:
    """The measures' values at `clock` from those at `last`, of the keys in any of the frames.

    old: `key` and a column a measure. came: rows since. crossed: rows before that left or entered
        a window in between (others do no harm). Both as for `partials`.
    measures: such as `carries` is true of.
    """
    columns = {name: kind for m in measures for name, kind in part_kinds(m).items()}
    known = old.select(key, *(nw.col(m.name).alias(next(iter(part_kinds(m)))) for m in measures))
    frames = [known, partials(came, measures, [key], clock)]
    windowed = [m for m in measures if m.within]
    if windowed:
        gone = partials(crossed, windowed, [key], last)
        less = [(nw.lit(0) - nw.col(name)).alias(name) for m in windowed for name in part_kinds(m)]
        frames += [partials(crossed, windowed, [key], clock), gone.select(key, *less)]
    alike = []
    for frame in frames:
        held = frame.collect_schema().names()
        filled = [
            (nw.col(name) if name in held else nw.lit(None)).cast(kind.narwhals).alias(name)
            for name, kind in columns.items()
        ]
        alike.append(frame.select(key, *filled))
    return combine(nw.concat(alike), measures, key)


def tally(
    rows: nw.LazyFrame[Any], measure: Measure, key: Sequence[str], clock: Clock
) -> nw.LazyFrame[Any]:
    """How often each value of a `count(distinct x)` or `most_frequent(x)` occurs per `key`:
    `key`, value, n Int64."""
    test = condition(measure, clock)
    kept = rows if test is None else rows.filter(test)
    assert measure.selection.value is not None
    value = measure.selection.value.to_narwhals(clock.now).alias("value")
    return (
        kept.select(*key, value)
        .filter(~nw.col("value").is_null())
        .group_by([*key, "value"])
        .agg(nw.len().cast(nw.Int64()).alias("n"))
    )


def settle(
    tallies: nw.LazyFrame[Any], measure: Measure, key: str = "profile_id"
) -> nw.LazyFrame[Any]:
    """`count(distinct x)` or `most_frequent(x)` per `key` from a `tally` by that key.

    Returns `key` and the measure's column; profiles without a value are absent. Of equally
    frequent values the smaller one wins.
    """
    if measure.selection.function == "count_distinct":
        return tallies.group_by([key]).agg(nw.len().cast(nw.Int64()).alias(measure.name))
    most = tallies.with_columns(nw.col("n").max().over(key).alias("most"))
    top = most.filter(nw.col("n") == nw.col("most"))
    return top.group_by([key]).agg(nw.col("value").min().alias(measure.name))
