"""Where each value of one profile comes from: its rule runs again over that profile's rows alone
and keeps the row that won."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import narwhals as nw
import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.profiles import tables
from cdp_assets.profiles.aggregates import Clock, Measure, condition
from cdp_assets.profiles.builds import last_build
from cdp_assets.profiles.catalogue import rule, saved_traits
from cdp_assets.profiles.compute import computed, derived, profile_rows
from cdp_assets.profiles.errors import TraitError
from cdp_assets.profiles.expressions import Expression
from cdp_assets.profiles.inputs import TS, Inputs
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import HAPPEN, Model, Origin, Survivor
from cdp_assets.profiles.observations import is_event_field, observed
from cdp_assets.profiles.owners import Owners
from cdp_assets.profiles.past import InputsAsOf, InputsOfBuild
from cdp_assets.profiles.read import evaluated, saved_model
from cdp_assets.profiles.sources import (
    RecordObject,
    columns_of,
    event_rows,
    objects_of,
    record_owners,
    record_rows,
)
from cdp_assets.profiles.touched import input_keys, touched
from cdp_assets.raw.tables import raw_table

KEY = "profile_id"
SHOWN = 5
"""Rows shown of an aggregate or of the values that lost."""
VISIT_IDS = {"sessions": "session_id", "page_views": "page_view_id"}
"""By what a row of these is shown; an event by its message id."""


@dataclass(frozen=True)
class Evidence:
    """One row that a value comes from, or that lost.

    ref: the record (`salesforce.Contact:003…`) or the event's message id. raw: where it lies
    verbatim: a raw table with the record's id, or an event file's SHA-256 with the row.
    """

    value: Any
    ref: str
    at: datetime | None
    source: str
    won: bool = True
    raw: str = ""


@dataclass(frozen=True)
class TraitWhy:
    """A trait's value and where it comes from.

    rows: how many rows it was made of. evidence: the row that won and those that lost, or the
    last rows of an aggregate. inputs: for an expression, the traits it reads and their values.
    """

    trait: str
    value: Any
    rule: str
    kind: Kind
    rows: int = 0
    evidence: tuple[Evidence, ...] = ()
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProfileWhy:
    """A profile explained.

    waiting: whether input came since the profiles were built that may change it.
    """

    entity: str
    profile_id: int
    as_of: datetime
    traits: tuple[TraitWhy, ...]
    waiting: bool


def explain(
    lake: Lake,
    entity: str,
    profile_id: int,
    *,
    as_of: datetime | None = None,
    traits: Sequence[str] = (),
) -> ProfileWhy:
    """Where the values of a profile come from.

    as_of: a past moment; values are then computed from what had been received by it, by today's
    rules and identities. Without it, the values of the last build. traits: only these.

    Raises TraitError where the entity was never built or has no such profile or trait.
    """
    model = saved_model(lake, entity)
    built = last_build(lake, entity)
    if built.clock is None:
        raise TraitError(f"profiles/{entity} was never built: build it first")
    objects = list(built.objects)
    out = lake.open(tables.profiles(model))
    only = pl.DataFrame({KEY: [profile_id]}, schema={KEY: pl.Int64})
    for name in traits:
        if name not in model.kinds:
            raise TraitError(f"{entity} has no trait {name}")
    if as_of is None:
        inputs: Inputs = InputsOfBuild(lake, out)
        clock, waiting = built.clock, _waits(lake, model, objects, built.clock, profile_id)
        values = _row(evaluated(lake, entity, built.clock.now), profile_id)
        if values is None:
            raise TraitError(f"no profile {profile_id} in profiles/{entity}")
    else:
        inputs, clock, waiting = InputsAsOf(lake, as_of), Clock(as_of, built.clock.zone), False
        frame = computed(inputs, model, objects, clock, only)
        plain = replace_steps(model)
        values = _row(derived(frame, plain, clock, None, {}).lazy(), profile_id)
        if values is None:
            raise TraitError(f"no profile {profile_id} in the graph of {entity}")
    whys = _Whys(inputs, model, objects, clock, only, values)
    definitions = saved_traits(lake)[entity].traits
    found = [
        replace(whys.of(name), rule=rule(definitions[name]))
        for name in model.kinds
        if not traits or name in traits
    ]
    return ProfileWhy(
        entity,
        profile_id,
        clock.now,
        tuple(found),
        waiting,
    )


def replace_steps(model: Model) -> Model:
    """`model` without what cannot be computed for one profile alone: SQL files look at all, and
    the account's traits are not known for a past day."""
    steps: list[tuple[str, Any]] = []
    known = {s.name for s in model.survivors}
    known |= {m.name for found in model.measures.values() for m in found}
    for name, step in [*model.steps, *model.read_time]:
        if isinstance(step, Expression) and set(step.columns) <= known:
            steps.append((name, step))
            known.add(name)
    return replace(model, steps=steps, read_time=[])


def _waits(
    lake: Lake, model: Model, objects: list[RecordObject], clock: Clock, profile_id: int
) -> bool:
    """Whether a build would compute this profile again."""
    inputs = Inputs(lake, lake.open(tables.profiles(model)))
    keys = input_keys(inputs, model, objects)
    if not any(map(inputs.has_news, keys)):
        return False
    scope = touched(inputs, model, objects, clock, clock)
    return scope is None or profile_id in scope.profiles[KEY]


def _row(frame: pl.LazyFrame, profile_id: int) -> dict[str, Any] | None:
    found = frame.filter(pl.col(KEY) == profile_id).collect()
    return None if found.is_empty() else found.row(0, named=True)


@dataclass
class _Whys:
    inputs: Inputs
    model: Model
    objects: list[RecordObject]
    clock: Clock
    only: pl.DataFrame
    values: dict[str, Any]

    def of(self, name: str) -> TraitWhy:
        base = TraitWhy(name, self.values.get(name), "", self.model.kinds[name])
        for survivor in self.model.survivors:
            if survivor.name == name:
                return self._survivor(base, survivor)
        for origin, measures in self.model.measures.items():
            for measure in measures:
                if measure.name == name:
                    return self._measure(base, origin, measure)
        for step_name, step in [*self.model.steps, *self.model.read_time]:
            if step_name == name and isinstance(step, Expression):
                read = {column: self.values.get(column) for column in sorted(step.columns)}
                return replace(base, inputs=read)
        return base

    def _survivor(self, base: TraitWhy, survivor: Survivor) -> TraitWhy:
        rows = observed(self.inputs, self.model.entity, [survivor], self.only).collect()
        ordered = rows.filter(pl.col("value").is_not_null()).sort(
            "rank", "changed_at", "value", "field", "record",
            descending=[False, True, False, False, False],
        )  # fmt: skip
        evidence = [
            Evidence(row["value"], row["record"], row["changed_at"], row["field"], won=n == 0)
            for n, row in enumerate(ordered.iter_rows(named=True))
        ]
        located = self._located(evidence[:SHOWN], events=[e.ref for e in evidence[:SHOWN]
                                if is_event_field(e.source)])  # fmt: skip
        return replace(base, rows=rows.height, evidence=located)

    def _measure(self, base: TraitWhy, origin: Origin, measure: Measure) -> TraitWhy:
        columns = columns_of([measure])
        if origin.kind in HAPPEN:
            name = VISIT_IDS.get(origin.name, "message_id")
            read = {**columns, name: Kind.STRING}
            owners = Owners(self.inputs, self.model.entity, self.only)
            events = event_rows(self.inputs, origin, read)
            rows = owners.rows(events, ["timestamp", *read]).lazy()
            ref, moment = pl.col(name), pl.col("timestamp")
        elif origin.kind == "records":
            rows = (
                record_rows(self.inputs, objects_of(origin, self.objects), columns)
                .join(record_owners(self.inputs, self.model.entity), on="record", how="inner")
                .join(self.only.lazy(), on=KEY, how="semi")
            )
            ref, moment = pl.col("record"), pl.lit(None, dtype=TS)
        else:
            rows = profile_rows(self.inputs, self.model.entity, origin.name, columns, keep=True)
            rows = rows.join(self.only.lazy(), on=KEY, how="semi")
            ref = pl.concat_str(pl.lit(f"{origin.name} "), pl.col(f"{origin.name}_id"))
            moment = pl.lit(None, dtype=TS)
        test = condition(measure, self.clock)
        frame = nw.from_native(rows)
        kept: pl.LazyFrame = nw.to_native(frame if test is None else frame.filter(test))
        value = measure.selection.value
        if value is not None:
            counted = nw.from_native(kept).with_columns(
                value.to_narwhals(self.clock.now).alias("__value")
            )
            kept = nw.to_native(counted.filter(~nw.col("__value").is_null()))
        else:
            kept = kept.with_columns(pl.lit(1).alias("__value"))
        shown = kept.select(
            pl.col("__value").alias("value"), ref.alias("ref"), moment.alias("at")
        ).collect()
        first = measure.selection.function in ("min", "first")
        top = shown.sort("at", "ref", descending=[not first, False], nulls_last=True).head(SHOWN)
        evidence = [
            Evidence(row["value"], row["ref"], row["at"], origin.name)
            for row in top.iter_rows(named=True)
        ]
        is_event = origin.kind in ("events", "event")
        refs = [item.ref for item in evidence] if is_event else []
        return replace(base, rows=shown.height, evidence=self._located(evidence, events=refs))

    def _located(self, evidence: list[Evidence], events: list[str]) -> tuple[Evidence, ...]:
        """`evidence` with the place of each row in raw."""
        places: dict[str, str] = {}
        if events:
            schema = {"message_id": pl.String(), "origin": pl.String(), "row_number": pl.Int64()}
            found = (
                self.inputs.open("events", schema).scan().filter(pl.col("message_id").is_in(events))
            )
            for row in found.collect().iter_rows(named=True):
                places[row["message_id"]] = f"file {row['origin']} row {row['row_number']}"
        return tuple(
            replace(
                item, raw=places.get(item.ref, "") if item.ref in events else raw_place(item.ref)
            )
            for item in evidence
        )


def raw_place(ref: str) -> str:
    """The raw table and id behind a record ref; empty for what is no record."""
    name, colon, record_id = ref.partition(":")
    source, dot, object_name = name.partition(".")
    if not colon or not dot:
        return ""
    return f"{raw_table(source, object_name).key} {record_id}"
