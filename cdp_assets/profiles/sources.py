"""From tables to frames that traits are computed on: whose rows they are, in which types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from cdp_assets.events.tables import DECIMAL
from cdp_assets.identity import attribute, related
from cdp_assets.identity.rules import stored_rules
from cdp_assets.identity.tracks import spelt
from cdp_assets.profiles.aggregates import Measure
from cdp_assets.profiles.inputs import (
    CATALOGUE,
    GRAPH,
    LOGINS,
    RECORDS,
    RECORDS_VALUES,
    RELATION,
    TS,
    Inputs,
)
from cdp_assets.profiles.kinds import Kind, text_as
from cdp_assets.profiles.model import EVENT_COLUMNS, EVENTS_COLUMNS, Origin
from cdp_assets.records.config import ObjectSpec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VISITOR = "visitor"
"""A number for whose rows add up: a user id and a device as sent, and on a device that several
people use the moment itself, since there the time decides."""
CHECK = "check"
"""Other bits of the same, by which two visitors of one number are told apart."""


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
    inputs: Inputs, origin: Origin, columns: Mapping[str, Kind], *, news: bool = False
) -> pl.LazyFrame:
    """The events of `origin` with user_id, anonymous_id ("" where absent), timestamp, and
    `columns` in their kinds. news: only those that came since the last build."""
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
    rows = (inputs.news if news else inputs.scan)(table.key, schema)
    return rows.select(
        pl.col("user_id").fill_null(""),
        pl.col("anonymous_id").fill_null(""),
        pl.col("timestamp"),
        *read,
    )


def _no_events(columns: Mapping[str, Kind]) -> pl.LazyFrame:
    schema: dict[str, pl.DataType] = {
        "user_id": pl.String(), "anonymous_id": pl.String(), "timestamp": TS
    }  # fmt: skip
    return pl.LazyFrame(schema=schema | {n: k.polars for n, k in columns.items()})


@dataclass(frozen=True)
class EventIds:
    """The identifier types that events' user_id and anonymous_id are; None where no rule has
    events as a source of one."""

    user: str | None
    device: str | None

    def spelt(self, column: str) -> pl.Expr:
        """`user_id` or `anonymous_id` of an event as its identifier spells it, without prefix;
        empty where it is absent or identifies nobody."""
        kind = self.user if column == "user_id" else self.device
        if kind is None:
            return pl.lit("").alias(column)
        return spelt(column, kind).fill_null("").alias(column)


def event_ids(inputs: Inputs) -> EventIds:
    """Which identifier types events carry, by the rules of the last resolution."""
    rules = stored_rules(inputs.lake, "person").drop_nulls("event_column")
    names = dict(rules.select("event_column", "type").iter_rows())
    return EventIds(names.get("user_id"), names.get("anonymous_id"))


def shared_devices(inputs: Inputs) -> pl.Series:
    """Devices that several people log in on: there the time of an event decides whose it is."""
    rows = inputs.scan("identity/logins", LOGINS).select("anonymous_id").unique()
    return rows.collect().to_series()


def with_visitor(rows: pl.LazyFrame, shared: pl.Series) -> pl.LazyFrame:
    """`rows` with `at` (the event's own time on shared devices, else 1970) and the numbers
    `visitor` and `check`, which stand for (user_id, anonymous_id, at) within this process."""
    at = pl.lit(EPOCH, dtype=TS)
    if not shared.is_empty():
        on_shared = pl.col("anonymous_id").str.strip_chars().is_in(shared.implode())
        at = pl.when(on_shared).then(pl.col("timestamp")).otherwise(at)
    rows = rows.with_columns(at.alias("at"))
    return rows.with_columns(_number(11).alias(VISITOR), _number(23).alias(CHECK))


def _number(seed: int) -> pl.Expr:
    """64 bits of (user_id, anonymous_id, at), other bits for each seed."""
    odd = pl.lit(0x9E3779B97F4A7C15, dtype=pl.UInt64)
    user, device = pl.col("user_id").hash(seed), pl.col("anonymous_id").hash(seed + 1)
    moment = pl.col("at").cast(pl.Int64).cast(pl.UInt64)
    # Int64 as tables and other engines know it; which bit is the sign does not matter here.
    return ((user * odd + device) * odd + moment).reinterpret(signed=True)


VISIT = ["user_id", "anonymous_id", "at"]
"""What a visitor's number stands for."""


def one_each(parts: pl.DataFrame) -> pl.DataFrame:
    """Partial rows by `visitor` with the spread of `check`, which is dropped.

    Raises RuntimeError where two visitors share their 64 bits: once in ten million builds of two
    million visitors; other seeds are then needed.
    """
    if not (parts[f"{CHECK}__lo"] == parts[f"{CHECK}__hi"]).all():
        raise RuntimeError("two visitors have one number: change the seeds in profiles/sources.py")
    return parts.drop(f"{CHECK}__lo", f"{CHECK}__hi")


def owned(inputs: Inputs, parts: pl.LazyFrame, entity: str) -> pl.LazyFrame:
    """Rows with user_id, anonymous_id and at, with the profile_id of `entity` whose they are;
    those of nobody are left out."""
    asked = parts.with_columns(
        pl.col("at").alias("timestamp"),
        pl.when(pl.col("user_id") != "").then(pl.col("user_id")).alias("user_id"),
        pl.when(pl.col("anonymous_id") != "").then(pl.col("anonymous_id")).alias("anonymous_id"),
    )
    persons = attribute(inputs.lake, asked).filter(pl.col("profile_id").is_not_null())
    if entity == "person":
        return persons
    accounts = related(inputs.lake, "person", entity)
    return (
        persons.rename({"profile_id": "person_id"})
        .join(accounts, on="person_id", how="inner")
        .rename({f"{entity}_id": "profile_id"})
    )


@dataclass(frozen=True)
class Visitors:
    """The user ids and devices whose events may belong to some profiles."""

    users: pl.Series
    devices: pl.Series
    ids: EventIds

    def filter(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """`rows` of these visitors, collected: several aggregates read them."""
        users, devices = self.users.implode(), self.devices.implode()
        # Ids are nearly always sent as they are spelt, and spelling all would cost the most.
        odd = [
            (pl.col(name).str.ends_with("0") & pl.col(name).str.contains(".", literal=True))
            | (pl.col(name).str.strip_chars() != pl.col(name))
            for name in ("user_id", "anonymous_id")
        ]
        sent = pl.col("user_id").is_in(users) | pl.col("anonymous_id").is_in(devices)
        few = rows.filter(sent | odd[0] | odd[1]).collect()
        spelt_user, spelt_device = self.ids.spelt("user_id"), self.ids.spelt("anonymous_id")
        return few.lazy().filter(spelt_user.is_in(users) | spelt_device.is_in(devices))


def visitors(inputs: Inputs, entity: str, touched: pl.DataFrame) -> Visitors:
    """The visitors of the profiles in `touched` (profile_id) of `entity`, and every device on
    which they ever logged in."""
    persons = touched
    if entity != "person":
        persons = (
            related(inputs.lake, "person", entity)
            .join(touched.lazy().rename({"profile_id": f"{entity}_id"}), on=f"{entity}_id")
            .select(pl.col("person_id").alias("profile_id"))
            .unique()
            .collect()
        )
    members = (
        inputs.scan("identity/graph", GRAPH)
        .filter(pl.col("entity") == "person")
        .join(persons.lazy(), on="profile_id", how="semi")
        .select("identifier")
        .collect()
        .to_series()
    )
    ids = event_ids(inputs)
    users = _values_of(members, ids.user)
    logged_in = (
        inputs.scan("identity/logins", LOGINS)
        .filter(pl.col("user_id").is_in(users.implode()))
        .select("anonymous_id")
        .unique()
        .collect()
        .to_series()
    )
    devices = pl.concat([_values_of(members, ids.device), logged_in]).unique()
    return Visitors(users, devices, ids)


def _values_of(identifiers: pl.Series, kind: str | None) -> pl.Series:
    if kind is None:
        return identifiers.clear()
    prefix = f"{kind}:"
    return identifiers.filter(identifiers.str.starts_with(prefix)).str.strip_prefix(prefix)


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
