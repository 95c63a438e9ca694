"""Profiles of one entity: one wide row each, kept equal to what a rebuild would give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from cdp_assets.lake import Lake, OpenTable
from cdp_assets.profiles import tables
from cdp_assets.profiles.aggregates import Clock
from cdp_assets.profiles.carry import carried
from cdp_assets.profiles.catalogue import save_traits, trait_docs
from cdp_assets.profiles.changes import differences
from cdp_assets.profiles.compute import computed, derived, live_profiles
from cdp_assets.profiles.config import TraitsConfig
from cdp_assets.profiles.inputs import Inputs
from cdp_assets.profiles.model import Model, SqlFile, compile_traits
from cdp_assets.profiles.sources import RecordObject, as_objects, event_counts
from cdp_assets.profiles.sql import SqlTables, sql_kinds
from cdp_assets.profiles.touched import Touched, input_keys, touched
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


@dataclass(frozen=True)
class _Last:
    """The last finished build of an entity; number 0 where there was none."""

    number: int
    now: datetime | None = None
    rules: int = 0
    events: Mapping[str, int] = field(default_factory=dict)


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
        _recover(lake, out, changes)
        inputs = Inputs(lake, out)
        last = _last(lake, out, model.entity)
        rules = model.signature(timezone, *_object_rules(objects), folder=folder)
        first = not out.exists()
        full = first or last.rules != rules or last.now is None or now < last.now
        read = SqlTables(inputs, model.entity)
        keys = input_keys(inputs, model, objects, read.read_by(model, folder))
        same_day = last.now is not None and _day(clock) == _day(Clock(last.now, clock.zone))
        if (
            not full
            and not any(map(inputs.has_news, keys))
            and (same_day or not model.longest_window)
        ):
            return BuildResult(model.entity, full=False, now=now, profiles=_count(out))
        for key in keys:
            inputs.pin(key)
        counts = event_counts(inputs, model)
        # Of whom events were that are gone or were decoded anew is not known any more.
        full |= any(known != last.events.get(key, 0) for key, (known, _) in counts.items())
        news: Touched | None = None
        if not full:
            assert last.now is not None
            news = touched(inputs, model, objects, clock, Clock(last.now, clock.zone))
        if news is None:
            frame = computed(inputs, model, objects, clock, None)
        else:
            assert last.now is not None
            before = Clock(last.now, clock.zone)
            frame = carried(inputs, model, objects, clock, before, news, out)
        scope = None if news is None else news.profiles
        rows = _rows(inputs, model, clock, frame, scope, out, folder, read)
        return _commit(
            lake, inputs, model, traits, objects, out, changes, rows, scope, first=first,
            last=last, clock=clock, rules=rules, run=run,
            events={key: read for key, (_, read) in counts.items()},
        )  # fmt: skip


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


def _recover(lake: Lake, out: OpenTable, changes: OpenTable) -> None:
    """Take away the changes that a killed build wrote. One table holds those of all entities;
    its builds run one at a time, so the last finished one knows where it ended."""
    kept = out.watermark(changes.table.key)
    for key in lake.keys():  # noqa: SIM118  not a mapping
        if key.startswith("profiles/"):
            other = lake.open(tables.profiles_table(key.removeprefix("profiles/"), {}))
            kept = max(kept, other.watermark(changes.table.key))
    if changes.seq() > kept and not changes.changes(kept).limit(1).collect().is_empty():
        changes.truncate(kept)


def _last(lake: Lake, out: OpenTable, entity: str) -> _Last:
    number = out.watermark("build")
    if not number:
        return _Last(0)
    found = (
        lake.open(tables.BUILDS)
        .scan()
        .filter((pl.col("entity") == entity) & (pl.col("build") == number))
        .collect()
    )
    if found.is_empty():
        return _Last(number)
    row = found.row(0, named=True)
    return _Last(number, row["now"], row["rules"], json.loads(row["events"] or "{}"))


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
    objects: Sequence[RecordObject],
    out: OpenTable,
    changes: OpenTable,
    rows: pl.DataFrame,
    scope: pl.DataFrame | None,
    *,
    first: bool,
    last: _Last,
    clock: Clock,
    rules: int,
    run: str,
    events: Mapping[str, int],
) -> BuildResult:
    number, now = last.number + 1, clock.now
    ids = rows.select(KEY)
    found = 0
    if not first:
        before = out.scan()
        if scope is not None and not model.has_sql:
            before = before.join(scope.lazy(), on=KEY, how="semi")
        old = before.select(KEY, *model.stored).collect()
        known = _known_traits(lake, model.entity)
        news = differences(
            old, rows, {n: k for n, k in model.stored.items() if n in known}
        ).select(
            pl.lit(model.entity).alias("entity"), KEY, "trait", "old", "new",
            pl.lit(run).alias("run"), pl.lit(now).dt.cast_time_unit("us").alias("at"),
        )  # fmt: skip
        found = news.height
        if found:
            changes.append(news)
        gone = old.select(KEY).join(ids, on=KEY, how="anti")
    else:
        gone = ids.clear()
    crash_point("build:after-changes")
    save_traits(lake, model, traits)
    lake.open(tables.BUILDS).merge(
        pl.DataFrame(
            {
                "entity": [model.entity],
                "build": [number],
                "now": [now],
                "rules": [rules],
                "full": [scope is None],
                "run": [run],
                "timezone": [clock.zone.key],
                "objects": [json.dumps([asdict(item) for item in objects])],
                "events": [json.dumps(events)],
            },
            schema=dict(tables.BUILDS.schema),
        )
    )
    crash_point("build:before-profiles")
    marks = {**inputs.watermarks, changes.table.key: changes.seq(), "build": number}
    if first:
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
        values_changed=found,
    )


def _count(out: OpenTable) -> int:
    return int(out.scan().select(pl.len()).collect().item())


def _known_traits(lake: Lake, entity: str) -> set[str]:
    """Traits that the last build had: a new one's first values are no changes."""
    frame = lake.open(tables.TRAITS).scan().filter(pl.col("entity") == entity)
    return set(frame.select("trait").collect().to_series().to_list())


__all__ = ["BuildResult", "build"]
