"""Profiles of one entity: one wide row each, kept equal to what a rebuild would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from cdp_assets.lake import Lake, OpenTable
from cdp_assets.profiles import tables
from cdp_assets.profiles.aggregates import Clock
from cdp_assets.profiles.builds import NUMBER, Build, changes_kept, last_build, save_build
from cdp_assets.profiles.carry import carried
from cdp_assets.profiles.catalogue import save_traits, saved_columns, trait_docs
from cdp_assets.profiles.changes import as_built, differences
from cdp_assets.profiles.compute import computed, derived, live_profiles
from cdp_assets.profiles.config import TraitsConfig
from cdp_assets.profiles.inputs import Inputs, open_any
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import Model, SqlFile, compile_traits
from cdp_assets.profiles.sources import RecordObject, as_objects, event_counts
from cdp_assets.profiles.sql import SqlTables, sql_kinds
from cdp_assets.profiles.touched import input_keys, touched
from cdp_assets.records.config import ObjectSpec
from cdp_assets.settings import crash_point

KEY = "profile_id"
STEP = "profiles"


@dataclass(frozen=True)
class BuildResult:
    """What a build did.

    full: whether all profiles were computed, not only those with news. profiles: how many there
    are. touched: how many were computed. changed: rows that came, went or are other than before.
    values_changed: rows written to profiles/changes. now: what the build took as now.
    """

    entity: str
    full: bool
    now: datetime
    profiles: int
    touched: int = 0
    changed: int = 0
    values_changed: int = 0


def build(
    lake: Lake,
    traits: TraitsConfig,
    *,
    now: datetime,
    timezone: str = "UTC",
    specs: Sequence[ObjectSpec] = (),
    others: Mapping[str, TraitsConfig] | None = None,
    folder: Path | None = None,
    run: str = "",
) -> BuildResult:
    """Bring profiles/<entity> up to its inputs and to `now`.

    specs: the objects that connectors pull, whose records a `select` may read. others: the traits
    of all entities. folder: where the SQL files of these traits lie. timezone: the zone whose days
    `within` counts.

    Only profiles with new input, moved identifiers or a row entering or leaving a window are
    computed again; all of them at the first build, after a definition changed, where `now` went
    back, and where events that were counted are gone. With nothing new, nothing is written.

    Raises ExpressionError or TraitError where a definition cannot be built, InputError where an
    event's table is being decoded.
    """
    objects = as_objects(specs)
    clock = Clock(now, ZoneInfo(timezone))
    model = _compiled(lake, traits, others or {}, objects, folder)
    with lake.step(STEP):
        out = lake.open(tables.profiles(model, trait_docs(traits)))
        changes = lake.open(tables.CHANGES)
        kept = changes_kept(lake)
        if changes.seq() > kept and not changes.changes(kept).limit(1).collect().is_empty():
            changes.truncate(kept)
        inputs = Inputs(lake, out)
        last = last_build(lake, model.entity)
        known = saved_columns(lake, model.entity)
        rules = model.signature(timezone, *_object_rules(objects), folder=folder)
        sql = SqlTables(inputs, model.entity)
        keys = input_keys(inputs, model, objects, sql.read_by(model, folder))
        # The last build's clock, where this one can go on from it.
        since = last.clock if last.rules == rules and _holds(lake, out, known, model) else None
        if since is not None and now < since.now:
            since = None
        if (
            since is not None
            and not any(map(inputs.has_news, keys))
            and (_day(since) == _day(clock) or not model.longest_window)
        ):
            return BuildResult(model.entity, full=False, now=now, profiles=_count(out))
        for key in keys:
            inputs.pin(key)
        counts = event_counts(inputs, model)
        if any(there != last.events.get(key, 0) for key, (there, _) in counts.items()):
            # Of whom events were that are gone or were decoded anew is not known any more.
            since = None
        news = touched(inputs, model, objects, clock, since) if since is not None else None
        if news is None or since is None:
            frame = computed(inputs, model, objects, clock, None)
        else:
            frame = carried(inputs, model, objects, clock, since, news, out)
        scope = None if news is None else news.profiles
        rows = _rows(inputs, model, clock, frame, scope, out, folder, sql)
        read = {key: rows_read for key, (_, rows_read) in counts.items()}
        this = Build(last.number + 1, clock, rules, tuple(objects), read)
        return _commit(lake, inputs, model, traits, out, changes, rows, scope, known, this, run)


def _holds(lake: Lake, out: OpenTable, known: Mapping[str, Kind], model: Model) -> bool:
    """Whether the profiles have the traits of `model` in columns of their kinds."""
    types = open_any(lake, out.table.key).scan().collect_schema()
    stored = all(types.get(name) == kind.polars for name, kind in known.items())
    return stored and known == model.stored


def _compiled(
    lake: Lake,
    traits: TraitsConfig,
    others: Mapping[str, TraitsConfig],
    objects: Sequence[RecordObject],
    folder: Path | None,
) -> Model:
    records = {item.entity: item for item in objects}
    model = compile_traits(traits, others, records)
    if any(isinstance(step, SqlFile) and step.kind is None for _, step in model.steps):
        kinds = sql_kinds(lake, model, folder)
        model = compile_traits(traits, others, records, sql_kinds=kinds)
    return model


def _object_rules(objects: Sequence[RecordObject]) -> list[str]:
    return sorted(repr((o.name, o.entity, sorted(o.columns.items()))) for o in objects)


def _day(clock: Clock) -> object:
    return clock.now.astimezone(clock.zone).date()


def _rows(
    inputs: Inputs,
    model: Model,
    clock: Clock,
    frame: pl.DataFrame,
    scope: pl.DataFrame | None,
    out: OpenTable,
    folder: Path | None,
    tables: SqlTables,
) -> pl.DataFrame:
    """Full rows from `frame`, what `computed` gave of the profiles in `scope`, of all where None.
    With a SQL file, those of all in any case, since it looks at all at once."""
    if model.has_sql and scope is not None:
        late = {name for name, _ in model.steps}
        columns = [KEY, *(name for name in model.stored if name not in late)]
        kept = (
            out.scan()
            .select(columns)
            .join(scope.lazy(), on=KEY, how="anti")
            .join(live_profiles(inputs, model.entity), on=KEY, how="semi")
            .collect()
        )
        frame = pl.concat([frame.select(columns), kept])
    frame = derived(frame, model, clock, folder, tables)
    return frame.select(KEY, *(pl.col(n).cast(k.polars) for n, k in model.stored.items()))


def _commit(
    lake: Lake,
    inputs: Inputs,
    model: Model,
    traits: TraitsConfig,
    out: OpenTable,
    changes: OpenTable,
    rows: pl.DataFrame,
    scope: pl.DataFrame | None,
    known: Mapping[str, Kind],
    this: Build,
    run: str,
) -> BuildResult:
    """Changes and catalogue first, then the profiles, which say that they hold.

    rows: as `_rows` gives them of `scope`. known: the traits of the last build, none before the
    first.
    """
    assert this.clock is not None
    now, ids = this.clock.now, rows.select(KEY)
    before = as_built(open_any(lake, out.table.key).scan(), known, model.stored)
    if scope is not None and not model.has_sql:
        before = before.join(scope.lazy(), on=KEY, how="semi")
    old = before.collect()
    news = differences(old, rows, {n: k for n, k in model.stored.items() if n in known}).select(
        pl.lit(model.entity).alias("entity"), KEY, "trait", "old", "new",
        pl.lit(run).alias("run"), pl.lit(now).dt.cast_time_unit("us").alias("at"),
    )  # fmt: skip
    if news.height:
        changes.append(news)
    crash_point("build:after-changes")
    save_traits(lake, model, traits, this.rules)
    save_build(lake, model.entity, this, full=scope is None, run=run)
    crash_point("build:before-profiles")
    marks = {**inputs.watermarks, changes.table.key: changes.seq(), NUMBER: this.number}
    gone = old.select(KEY).join(ids, on=KEY, how="anti")
    if old.is_empty():
        done = out.merge(rows, watermarks=marks)
    else:
        done = out.replace(rows, scope=pl.concat([ids, gone]), watermarks=marks)
    crash_point("build:after-profiles")
    return BuildResult(
        model.entity,
        full=scope is None,
        now=now,
        profiles=_count(out),
        touched=rows.height if scope is None else scope.height,
        changed=done.inserted + done.updated + done.deleted,
        values_changed=news.height,
    )


def _count(out: OpenTable) -> int:
    return int(out.scan().select(pl.len()).collect().item())


__all__ = ["BuildResult", "build"]
