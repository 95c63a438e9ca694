"""Runs of equal values, and which of them we caused ourselves.

A tell is a value that a sync wrote to a record's field. A version that shows what we last told is
our own echo, not news: otherwise our write, which moves the record's stamp, would make an old
value win over a newer one of another source. Versions and tells of a field stand in one sequence;
a run of equal values that begins with a tell is an echo, one that begins with a version is an
observation. So after a person changes the field back, that is news again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from typing import NamedTuple

import polars as pl

from cdp_assets.connectors.text import bare, blank, moment

_KEY = ("record_id", "field")


def observed_runs(seen: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """The first version of each run of equal values that is no echo.

    seen: record_id, field, value String; at, extracted_at Datetime[us, UTC]; each field of each
        record in one piece, in the order of versions.
    told: record_id, field, value String; told_at Datetime[us, UTC]; across Boolean: told to the
        record's other side, from where a bridge copies it.

    Returns rows of `seen`, each field of each record in one piece, and `last` Boolean: its last
    run. Of two runs that begin at one moment the later one is kept; a null before the first value
    is left out.
    """
    if told.height:
        keys = told.select(_KEY).unique()
        mine = seen.join(keys, on=_KEY, how="semi", maintain_order="left")
        others = seen.join(keys, on=_KEY, how="anti", maintain_order="left")
    else:
        mine, others = seen.clear(), seen
    runs = others.filter(~_like(_KEY, 1) | pl.col("value").ne_missing(pl.col("value").shift(1)))
    if mine.height:
        runs = pl.concat([runs, _told_runs(mine, told)])
    return (
        runs.filter(~_like((*_KEY, "at"), -1))
        .filter(_like(_KEY, 1) | pl.col("value").is_not_null())
        .with_columns(last=~_like(_KEY, -1))
    )


def _like(columns: Sequence[str], offset: int) -> pl.Expr:
    """Whether the row before (1) or after (-1) is equal in these columns."""
    return pl.all_horizontal(
        (pl.col(c) == pl.col(c).shift(offset)).fill_null(False) for c in columns
    )


class _Version(NamedTuple):
    at: datetime
    extracted_at: datetime
    value: str | None
    plain: str | None
    row: int


class _Tell(NamedTuple):
    told_at: datetime
    plain: str | None
    across: bool


def _told_runs(seen: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    tells: dict[tuple[str, str], list[_Tell]] = {}
    rows = told.sort(*_KEY, "told_at", "value", nulls_last=True)
    said = rows.select(*_KEY, "told_at", "value", "across").iter_rows()
    for record_id, field, at, value, across in said:
        tells.setdefault((record_id, field), []).append(_Tell(at, plain(value), across))
    versions: dict[tuple[str, str], list[_Version]] = {}
    columns = seen.select(*_KEY, "at", "extracted_at", "value").iter_rows()
    for row, (record_id, field, at, extracted_at, value) in enumerate(columns):
        versions.setdefault((record_id, field), []).append(
            _Version(at, extracted_at, value, plain(value), row)
        )
    kept = [row for key, found in versions.items() for row in _beginnings(found, tells[key])]
    return seen[sorted(kept)]


def _beginnings(versions: Sequence[_Version], tells: Sequence[_Tell]) -> Iterator[int]:
    """Rows of the versions that begin a run, in the sequence of versions and tells."""
    places = _places(versions, tells)
    begun = ours = False
    exact: str | None = None
    last: str | None = None
    for place, version in enumerate(versions):
        for tell in places.get(place, ()):
            if not begun or tell.plain != last:
                begun = ours = True
                last = tell.plain
        if not begun or (version.plain != last if ours else version.value != exact):
            ours = False
            yield version.row
        begun = True
        if not ours:
            exact, last = version.value, version.plain


def _places(versions: Sequence[_Version], tells: Sequence[_Tell]) -> dict[int, list[_Tell]]:
    """For each version the tells that come right before it, in their order."""
    reach = list(accumulate((max(v.at, v.extracted_at) for v in versions), max))
    places: dict[int, list[_Tell]] = {}
    for tell in tells:
        for place in range(bisect_left(reach, tell.told_at), len(versions)):
            if _follows(versions[place], tell):
                places.setdefault(place, []).append(tell)
                break
    return places


def _follows(version: _Version, tell: _Tell) -> bool:
    """Whether the version was read after we told.

    Two clocks: the source stamps the version, we stamp extraction and telling. A version that
    shows what we told follows if either stamp says so; one that shows something else, only if
    both do: a version read late is not taken for a change of mind.
    """
    if version.plain == tell.plain and tell.across:
        # A copy is made after we told, so its own stamp says so: a version that was there before,
        # and made us tell the other side, is none.
        return version.at >= tell.told_at
    if version.plain == tell.plain:
        return version.extracted_at >= tell.told_at or version.at >= tell.told_at
    return version.extracted_at > tell.told_at and version.at > tell.told_at


_DECIMAL = re.compile(r"-?\d+\.\d+")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")


def plain(value: str | None) -> str | None:
    """A spelling-free form, to compare what we wrote with what the source shows: `250.50` is
    `250.5`, `…T00:00:00Z` is `…T00:00:00.000+0000`; `007` stays, blank is null."""
    if value is None or blank(value):
        return None
    if _DECIMAL.fullmatch(value):
        return bare(value)
    if _MOMENT.match(value):
        try:
            return moment(datetime.fromisoformat(value.replace("Z", "+00:00")))
        except (ValueError, OverflowError):
            return value
    return value
