"""The traits of some or all profiles, computed from the inputs as they are now.

One path for both: a full build and the rebuild of a few profiles differ only in which rows they
read, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import narwhals as nw
import polars as pl

from cdp_assets.identity import related
from cdp_assets.profiles.aggregates import (
    ZERO_OF_NOTHING,
    Clock,
    Measure,
    combine,
    partials,
    settle,
    tally,
)
from cdp_assets.profiles.catalogue import saved_columns
from cdp_assets.profiles.changes import as_built
from cdp_assets.profiles.expressions import Expression
from cdp_assets.profiles.inputs import GRAPH, Inputs
from cdp_assets.profiles.kinds import Kind, text_as
from cdp_assets.profiles.model import HAPPEN, Model, Origin, SqlFile
from cdp_assets.profiles.observations import surviving
from cdp_assets.profiles.owners import Owners
from cdp_assets.profiles.sources import (
    RecordObject,
    columns_of,
    event_rows,
    objects_of,
    record_owners,
    record_rows,
)
from cdp_assets.profiles.sql import run_sql

KEY = "profile_id"


def live_profiles(inputs: Inputs, entity: str) -> pl.LazyFrame:
    """profile_id of every profile of `entity` that the graph knows now."""
    graph = inputs.scan("identity/graph", GRAPH)
    return graph.filter(pl.col("entity") == entity).select(KEY).unique()


def computed(
    inputs: Inputs,
    model: Model,
    objects: list[RecordObject],
    clock: Clock,
    touched: pl.DataFrame | None,
) -> pl.DataFrame:
    """The survivors and aggregates of the profiles in `touched` (profile_id), of all where None:
    profile_id and one column a trait in its kind. Profiles that are no more are absent."""
    base = live_profiles(inputs, model.entity)
    if touched is not None:
        base = base.join(touched.lazy(), on=KEY, how="semi")
    frames: list[pl.LazyFrame] = []
    if model.survivors:
        frames.append(surviving(inputs, model.entity, model.survivors, touched))
    for source, measures in model.measures.items():
        frames.extend(_aggregated(inputs, model, source, measures, objects, clock, touched))
    for frame in frames:
        base = base.join(frame, on=KEY, how="left")
    zeros = [
        pl.col(m.name).fill_null(pl.lit(0).cast(m.selection.kind.polars))
        for measures in model.measures.values()
        for m in measures
        if m.selection.function in ZERO_OF_NOTHING
    ]
    return base.with_columns(zeros).collect(engine="streaming")


def _aggregated(
    inputs: Inputs,
    model: Model,
    source: Origin,
    measures: list[Measure],
    objects: list[RecordObject],
    clock: Clock,
    touched: pl.DataFrame | None,
) -> list[pl.LazyFrame]:
    """One frame a kind of aggregate over `source`: profile_id and the measures' columns."""
    columns = columns_of(measures)
    adding = [m for m in measures if m.adds_up]
    others = [m for m in measures if not m.adds_up]
    if source.kind in HAPPEN:
        owners = Owners(inputs, model.entity, touched)
        rows = owners.rows(event_rows(inputs, source, columns), ["timestamp", *columns]).lazy()
    elif source.kind == "records":
        rows = record_rows(inputs, objects_of(source, objects), columns).join(
            record_owners(inputs, model.entity), on="record", how="inner"
        )
    else:
        rows = profile_rows(inputs, model.entity, source.name, columns)
    if touched is not None and source.kind not in HAPPEN:
        rows = rows.join(touched.lazy(), on=KEY, how="semi")
    found = []
    if adding:
        parts = partials(nw.from_native(rows), adding, [KEY], clock)
        found.append(nw.to_native(combine(parts, adding)))
    return found + _tallied(rows, others, clock)


def _tallied(rows: pl.LazyFrame, measures: list[Measure], clock: Clock) -> list[pl.LazyFrame]:
    """One frame a measure that does not add up: profile_id and its column. Measures of one value
    under one condition share a tally."""
    tallies: dict[tuple[str, str, int | None], pl.LazyFrame] = {}
    found = []
    for measure in measures:
        value = measure.selection.value
        assert value is not None
        argument = measure.selection.text.partition("(")[2].removeprefix("distinct ")
        where = measure.where.text if measure.where else ""
        alike = (argument.strip(" )"), where, measure.within)
        if alike not in tallies:
            counted: pl.LazyFrame = nw.to_native(tally(nw.from_native(rows), measure, [KEY], clock))
            tallies[alike] = counted.collect(engine="streaming").lazy()
        found.append(nw.to_native(settle(nw.from_native(tallies[alike]), measure)))
    return found


def profile_rows(
    inputs: Inputs, entity: str, other: str, columns: Mapping[str, Kind], *, keep: bool = False
) -> pl.LazyFrame:
    """The profiles of `other` with the profile_id of the `entity` they belong to. keep: their own
    id too, as `<other>_id`."""
    known = saved_columns(inputs.lake, other)

    def read(name: str, kind: Kind) -> pl.Expr:
        """A trait in the kind that its use asks for: what a SQL file returns is not known before
        it is built."""
        if name not in known:
            return pl.lit(None, kind.polars).alias(name)
        return pl.col(name) if known[name].polars == kind.polars else text_as(kind, name)

    rows = (
        as_built(inputs.whole(f"profiles/{other}"), known, columns)
        .select(KEY, *(read(name, kind) for name, kind in columns.items()))
        .rename({KEY: f"{other}_id"})
        .join(related(inputs.lake, other, entity), on=f"{other}_id", how="inner")
        .rename({f"{entity}_id": KEY})
    )
    return rows if keep else rows.drop(f"{other}_id")


def derived(
    frame: pl.DataFrame,
    model: Model,
    clock: Clock,
    folder: Path | None,
    tables: Mapping[str, pl.LazyFrame],
) -> pl.DataFrame:
    """`frame` with the columns of the model's expressions and SQL files, in their order.

    frame: all columns of `computed`; for SQL files, of all profiles. tables: what SQL files may
    read besides the entity itself.
    """
    for name, step in model.steps:
        if isinstance(step, SqlFile):
            found = run_sql(step, folder, {model.entity: frame.lazy()}, tables)
            frame = frame.join(found, on=KEY, how="left")
        else:
            frame = with_expressions(frame.lazy(), [(name, step)], clock).collect()
    return frame


def with_expressions(
    frame: pl.LazyFrame, steps: list[tuple[str, Expression]], clock: Clock
) -> pl.LazyFrame:
    """`frame` with a column for each expression, each of which may read the ones before."""
    neutral = nw.from_native(frame)
    for name, expression in steps:
        kind = Kind.STRING if expression.kind is Kind.UNTYPED else expression.kind
        value = expression.to_narwhals(clock.now).cast(kind.narwhals)
        neutral = neutral.with_columns(value.alias(name))
    return nw.to_native(neutral)
