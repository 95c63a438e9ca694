"""From tables to frames that traits are computed on: whose rows they are, in which types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from cdp_assets.events.tables import DECIMAL, by_people
from cdp_assets.profiles.aggregates import Measure
from cdp_assets.profiles.inputs import (
    CATALOGUE,
    GRAPH,
    RECORDS,
    RECORDS_VALUES,
    RELATION,
    TS,
    Inputs,
)
from cdp_assets.profiles.kinds import Kind, text_as
from cdp_assets.profiles.model import (
    EVENT_COLUMNS,
    EVENTS_COLUMNS,
    VISITS,
    VISITS_COLUMNS,
    Model,
    Origin,
)
from cdp_assets.records.config import ObjectSpec


@dataclass(frozen=True)
class RecordObject:
    """An object whose records a `select` may read.

    columns: name in expressions → field of the source; a name not listed is the field itself.
    """

    source: str
    object: str
    entity: str
    columns: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.source}.{self.object}"

    def field(self, column: str) -> str:
        """The full reference of the field that `column` reads."""
        return f"{self.name}.{self.columns.get(column, column)}"


def objects_of(origin: Origin, objects: Sequence[RecordObject]) -> list[RecordObject]:
    """The objects that `from: <origin>` reads: one by its full name, or all of an entity."""
    return [o for o in objects if origin.name in (o.name, o.entity)]


def columns_of(measures: Sequence[Measure]) -> dict[str, Kind]:
    """Every column that these measures of one source read, with its kind."""
    found: dict[str, Kind] = {}
    for measure in measures:
        for name, kind in measure.columns.items():
            if found.get(name, Kind.UNTYPED) is Kind.UNTYPED:
                found[name] = kind
    return found


# --- events ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class EventTable:
    """The table behind `from: events` or an event's name, and its property columns."""

    key: str
    columns: Mapping[str, str]


def event_table(inputs: Inputs, origin: Origin) -> EventTable | None:
    """Where the events of `origin` lie; None where none was ever ingested."""
    if origin.kind == "events":
        return EventTable("events", {})
    found = (
        inputs.scan("events/catalogue", CATALOGUE).filter(pl.col("event") == origin.name).collect()
    )
    if found.is_empty():
        return None
    row = found.row(0, named=True)
    return EventTable(row["table"], json.loads(row["columns"] or "{}"))


def event_rows(
    inputs: Inputs,
    origin: Origin,
    columns: Mapping[str, Kind],
    which: Literal["all", "news", "old"] = "all",
) -> pl.LazyFrame:
    """The events (or visits) of `origin` with user_id, anonymous_id ("" where absent), timestamp,
    and `columns` in their kinds. which: all, those that came since the last build, or the others.
    """
    if origin.kind == "visits":
        return _visit_rows(inputs, origin, columns, which)
    table = event_table(inputs, origin)
    known = EVENTS_COLUMNS if origin.kind == "events" else EVENT_COLUMNS
    if table is None:
        return _no_events(columns)
    schema: dict[str, pl.DataType] = {
        "user_id": pl.String(), "anonymous_id": pl.String(), "timestamp": TS
    }  # fmt: skip
    read: list[pl.Expr] = []
    for name, kind in columns.items():
        if name in known:
            schema[name] = known[name].polars
            if name not in ("user_id", "anonymous_id", "timestamp"):
                read.append(pl.col(name))
            continue
        column = table.columns.get(name)
        if column is None:
            read.append(pl.lit(None, dtype=kind.polars).alias(name))
        elif kind.numeric:
            schema[column] = DECIMAL
            read.append(pl.col(column).cast(kind.polars).alias(name))
        else:
            schema[column] = pl.String()
            read.append(text_as(kind, column).alias(name))
    read_from = {"all": inputs.scan, "news": inputs.news, "old": inputs.old}[which]
    if origin.kind == "events":  # tables of single events hold those of people only
        rows = read_from(table.key, {**schema, "flags": pl.List(pl.String())}).filter(by_people())
    else:
        rows = read_from(table.key, schema)
    return rows.select(
        pl.col("user_id").fill_null(""),
        pl.col("anonymous_id").fill_null(""),
        pl.col("timestamp"),
        *read,
    )


def _visit_rows(
    inputs: Inputs,
    origin: Origin,
    columns: Mapping[str, Kind],
    which: Literal["all", "news", "old"],
) -> pl.LazyFrame:
    table, known = VISITS[origin.name], VISITS_COLUMNS[origin.name]
    moment = "started_at" if "started_at" in table.schema else "timestamp"
    named = {name: known[name].polars for name in columns if name in table.schema}
    keys = {name: table.stored()[name] for name in table.primary_key}
    ids = {"user_id": pl.String(), "anonymous_id": pl.String(), moment: TS}
    read_from = {"all": inputs.scan, "news": inputs.news, "old": inputs.old}[which]
    return read_from(table.key, {**keys, **ids, **named}).select(
        pl.col("user_id").fill_null(""),
        pl.col("anonymous_id").fill_null(""),
        pl.col(moment).alias("timestamp"),
        *(name for name in named if name not in ("user_id", "anonymous_id", "timestamp")),
    )


def event_counts(inputs: Inputs, model: Model) -> dict[str, tuple[int, int]]:
    """Table of events → how many of its rows the last build had read that are still there, and how
    many this one reads."""
    tables = [event_table(inputs, o) for o in model.measures if o.kind in ("events", "event")]
    return {table.key: inputs.count(table.key) for table in tables if table is not None}


def _no_events(columns: Mapping[str, Kind]) -> pl.LazyFrame:
    schema: dict[str, pl.DataType] = {
        "user_id": pl.String(), "anonymous_id": pl.String(), "timestamp": TS
    }  # fmt: skip
    return pl.LazyFrame(schema=schema | {n: k.polars for n, k in columns.items()})


# --- records --------------------------------------------------------------------------------


def record_rows(
    inputs: Inputs, objects: Sequence[RecordObject], columns: Mapping[str, Kind]
) -> pl.LazyFrame:
    """The live records of `objects`: record and `columns` in their kinds."""
    frames = [_object_rows(inputs, item, columns) for item in objects]
    if not frames:
        return pl.LazyFrame(
            schema={"record": pl.String()} | {n: k.polars for n, k in columns.items()}
        )
    return pl.concat(frames)


def _object_rows(inputs: Inputs, item: RecordObject, columns: Mapping[str, Kind]) -> pl.LazyFrame:
    this = (pl.col("source") == item.source) & (pl.col("object") == item.object)
    live = (
        inputs.scan(f"records/{item.entity}", RECORDS)
        .filter(this & ~pl.col("deleted") & pl.col("merged_into").is_null())
        .select("record")
    )
    if not columns:
        return live
    fields = {name: item.field(name) for name in columns}
    held = (
        inputs.scan("records/values", RECORDS_VALUES)
        .filter(this & pl.col("current") & pl.col("field").is_in(list(fields.values())))
        .group_by("record")
        .agg(
            pl.col("value").filter(pl.col("field") == ref).max().alias(name)
            for name, ref in fields.items()
        )
    )
    return live.join(held, on="record", how="left").select(
        "record", *(text_as(kind, name) for name, kind in columns.items())
    )


def record_owners(inputs: Inputs, entity: str) -> pl.LazyFrame:
    """record → profile_id of `entity`: the profile's own records, and the records that point at
    one of them by a relation named like the entity."""
    graph = (
        inputs.scan("identity/graph", GRAPH)
        .filter(pl.col("entity") == entity)
        .select("identifier", "profile_id")
    )
    own = graph.rename({"identifier": "record"}).select("record", "profile_id")
    pointing = (
        inputs.scan("records/relation", RELATION)
        .filter(pl.col("kind") == entity)
        .join(graph, left_on="to", right_on="identifier", how="inner")
        .select(pl.col("from").alias("record"), "profile_id")
    )
    return pl.concat([own, pointing]).unique()


def as_objects(specs: Sequence[ObjectSpec]) -> list[RecordObject]:
    """The records room's object specs as the objects that traits may read."""
    return [
        RecordObject(spec.source, spec.object, spec.entity, dict(spec.mapping.columns))
        for spec in specs
    ]
