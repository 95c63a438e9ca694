"""Which profiles a build has to compute again: those whose input moved since the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from cdp_assets.identity import related, rules
from cdp_assets.profiles.aggregates import Clock
from cdp_assets.profiles.inputs import (
    EVENTS_VALUES,
    GRAPH,
    IDENTITY_CHANGES,
    LOGINS,
    RECORDS,
    RECORDS_VALUES,
    RELATION,
    Inputs,
)
from cdp_assets.profiles.model import HAPPEN, VISITS, Model, Origin
from cdp_assets.profiles.observations import is_event_field
from cdp_assets.profiles.owners import Owners, event_ids, told_by
from cdp_assets.profiles.sources import (
    RecordObject,
    columns_of,
    event_rows,
    event_table,
    objects_of,
    record_owners,
)

KEY = "profile_id"
BELONGING = ("identity/groups", "records/relation")
"""The tables that say which account a person belongs to."""
IDS = {KEY: pl.Int64()}


@dataclass(frozen=True)
class EventNews:
    """What moved among the events of one origin since the last build: those that came, and older
    ones that left or entered a window. Both with profile_id, timestamp and the columns of the
    origin's measures."""

    came: pl.DataFrame
    crossed: pl.DataFrame


@dataclass(frozen=True)
class Touched:
    """Which profiles may differ from the last build, and why.

    profiles: profile_id of all of them, gone ones too. moved: of those whose events may be others
    than before, since identifiers or log-ins moved. respoken: of those of whom records or events
    said something new, or whose identifiers moved: for all others, `prefer` and `latest` stay.
    """

    profiles: pl.DataFrame
    moved: pl.DataFrame
    respoken: pl.DataFrame
    events: Mapping[Origin, EventNews] = field(default_factory=dict)


def input_keys(
    inputs: Inputs, model: Model, objects: Sequence[RecordObject], sql: Sequence[str] = ()
) -> list[str]:
    """The tables whose news make a build of `model` necessary. sql: those its SQL files read."""
    keys = {"identity/changes", "identity/graph", *sql}
    fields = [ref for trait in model.survivors for ref in trait.fields]
    if any(is_event_field(ref) for ref in fields):
        keys.add("events/values")
    if any(not is_event_field(ref) for ref in fields):
        keys.add("records/values")
    for origin in model.measures:
        if origin.kind in ("events", "event"):
            table = event_table(inputs, origin)
            keys |= {"identity/logins"} | ({table.key} if table else {"events/catalogue"})
        elif origin.kind == "visits":
            keys |= {"identity/logins", VISITS[origin.name].key}
        elif origin.kind == "records":
            keys |= {"records/values", "records/relation"}
            keys |= {f"records/{item.entity}" for item in objects_of(origin, objects)}
        else:
            keys.add(f"profiles/{origin.name}")
        if model.entity != "person" and origin.kind != "records":
            keys |= set(BELONGING)
    return sorted(keys)


def touched(
    inputs: Inputs,
    model: Model,
    objects: Sequence[RecordObject],
    clock: Clock,
    last: Clock,
) -> Touched | None:
    """The profiles of `model.entity` whose traits may differ from the last build. None where only
    a full build can tell.

    clock, last: what windows are measured against now, and were in the last build.
    """
    others = [o for o in model.measures if o.kind == "profiles"]
    through_persons = model.entity != "person" and any(
        o.kind in (*HAPPEN, "profiles") for o in model.measures
    )
    if through_persons and (
        any(map(inputs.has_news, BELONGING))
        or not _moved(inputs, "person").limit(1).collect().is_empty()
    ):
        # Who belongs to whom has moved, and only the new state is known.
        return None
    identified = _moved(inputs, model.entity)
    respoken = _ids([identified, _values(inputs, model)])
    owners: Owners | None = None
    events: dict[Origin, EventNews] = {}
    found: list[pl.LazyFrame] = []
    for origin in model.measures:
        if origin.kind in ("events", "event"):
            owners = owners or Owners(inputs, model.entity)
            events[origin] = news = _events(inputs, owners, model, origin, clock, last)
            found += [news.came.lazy(), news.crossed.lazy()]
        elif origin.kind == "visits":
            owners = owners or Owners(inputs, model.entity)
            found += _visits(inputs, owners, model, origin, clock, last)
        elif origin.kind == "records":
            found.append(_records(inputs, model, origin, objects))
    for origin in others:
        found.append(_profiles(inputs, model.entity, origin.name))
    moved = [identified]
    happen = [origin for origin in model.measures if origin.kind in HAPPEN]
    if happen and inputs.has_news("identity/logins"):
        moved.append(_of_logins(inputs, model.entity))
    if happen and model.entity == "person":
        moved.append(_of_devices_left(inputs, happen))
    theirs = _ids(moved)
    profiles = _ids([respoken.lazy(), theirs.lazy(), *found])
    return Touched(profiles, theirs, respoken, events)


def _ids(found: Sequence[pl.LazyFrame]) -> pl.DataFrame:
    ids = [frame.select(KEY) for frame in found]
    return pl.concat(ids).drop_nulls().unique().collect(engine="streaming")


def _moved(inputs: Inputs, entity: str) -> pl.LazyFrame:
    """Profiles that an identifier came to or left. The graph's feed has the identifiers that are
    new, identity/changes those that moved."""
    held = inputs.news("identity/graph", GRAPH).filter(pl.col("entity") == entity).select(KEY)
    moves = inputs.news("identity/changes", IDENTITY_CHANGES).filter(pl.col("entity") == entity)
    return pl.concat(
        [held, moves.select(pl.col("from").alias(KEY)), moves.select(pl.col("to").alias(KEY))]
    ).drop_nulls()


def _graph(inputs: Inputs, entity: str) -> pl.LazyFrame:
    return (
        inputs.scan("identity/graph", GRAPH)
        .filter(pl.col("entity") == entity)
        .select("identifier", KEY)
    )


def _of_identifiers(inputs: Inputs, entity: str, identifiers: pl.LazyFrame) -> pl.LazyFrame:
    """profile_id of the profiles that hold one of `identifiers` (identifier)."""
    return _graph(inputs, entity).join(identifiers, on="identifier", how="semi").select(KEY)


def _values(inputs: Inputs, model: Model) -> pl.LazyFrame:
    fields = [ref for trait in model.survivors for ref in trait.fields]
    told = (
        told_by(inputs, inputs.news("events/values", EVENTS_VALUES))
        if any(map(is_event_field, fields))
        else None
    )
    kept = (
        inputs.news("records/values", RECORDS_VALUES)
        if any(not is_event_field(ref) for ref in fields)
        else None
    )
    identifiers = [
        frame.filter(pl.col("field").is_in(fields)).select(pl.col(name).alias("identifier"))
        for frame, name in ((told, "identifier"), (kept, "record"))
        if frame is not None
    ]
    if not identifiers:
        return pl.LazyFrame(schema=IDS)
    return _of_identifiers(inputs, model.entity, pl.concat(identifiers))


def _events(
    inputs: Inputs, owners: Owners, model: Model, origin: Origin, clock: Clock, last: Clock
) -> EventNews:
    columns = columns_of(model.measures[origin])
    kept = ["timestamp", *columns]
    came = owners.rows(event_rows(inputs, origin, columns, "news"), kept)
    crossed = _crossing(model, origin, clock, last)
    if crossed is None:
        return EventNews(came, came.clear())
    old = event_rows(inputs, origin, columns, "old").filter(crossed)
    return EventNews(came, owners.rows(old, kept))


def _crossing(model: Model, origin: Origin, clock: Clock, last: Clock) -> pl.Expr | None:
    """Whether a row entered or left a window of the origin's measures; None where none can."""
    spans: set[tuple[datetime, datetime]] = set()
    for days in {m.within for m in model.measures[origin] if m.within}:
        before, after = last.window(days), clock.window(days)
        spans |= {(before.since, after.since), (before.until, after.until)}
    tests = [
        (pl.col("timestamp") >= start) & (pl.col("timestamp") < end)
        for start, end in sorted(spans)
        if start < end
    ]
    return pl.any_horizontal(tests) if tests else None


def _visits(
    inputs: Inputs, owners: Owners, model: Model, origin: Origin, clock: Clock, last: Clock
) -> list[pl.LazyFrame]:
    """Profiles whose visits are others than before: everybody who was ever named on a device of
    which a row was written, since a session may have been another's; and those of windows."""
    devices = event_rows(inputs, origin, {}, "news").select("anonymous_id").unique().collect()
    persons = [_who_used(inputs, devices.lazy())]
    user = rules.event_ids(inputs.lake, "person").get("user_id")
    if user is not None and not devices.is_empty():
        named = (
            inputs.open("events", {"anonymous_id": pl.String(), "user_id": pl.String()})
            .scan()
            .join(devices.lazy(), on="anonymous_id", how="semi")
            .select(pl.col("user_id").drop_nulls().unique())
        )
        spelt = pl.concat_str(pl.lit(f"{user.name}:"), user.spelling(pl.col("user_id")))
        persons.append(_of_identifiers(inputs, "person", named.select(identifier=spelt)))
    found = pl.concat(persons)
    if model.entity != "person":
        found = _related(inputs, found, "person", model.entity)
    crossed = _crossing(model, origin, clock, last)
    if crossed is None:
        return [found]
    old = event_rows(inputs, origin, {}, "old").filter(crossed)
    return [found, owners.rows(old).lazy()]


def _of_devices_left(inputs: Inputs, origins: Sequence[Origin]) -> pl.LazyFrame:
    """Persons whose devices sent older events under a user id that is known now, or no more: until
    now these were the device's person's, or are so again."""
    kinds = rules.event_ids(inputs.lake, "person")
    user, device = kinds.get("user_id"), kinds.get("anonymous_id")
    if user is None or device is None or not inputs.has_news("identity/graph"):
        return pl.LazyFrame(schema=IDS)
    known = (
        inputs.news("identity/graph", GRAPH)
        .filter(pl.col("entity") == "person", pl.col("identifier").str.starts_with(f"{user.name}:"))
        .select(pl.col("identifier").str.strip_prefix(f"{user.name}:").alias("user_id"))
        .unique()
        .collect()
    )
    if known.is_empty():
        return pl.LazyFrame(schema=IDS)
    found = []
    for origin in origins:
        both = event_rows(inputs, origin, {}, "old").filter(
            pl.col("anonymous_id") != "", pl.col("user_id") != ""
        )
        spelt = both.with_columns(user.spelling(pl.col("user_id")).alias("user_id"))
        found.append(spelt.join(known.lazy(), on="user_id", how="semi").select("anonymous_id"))
    devices = pl.concat(found).unique().collect(engine="streaming").lazy()
    spelt = devices.select(device.spelling(pl.col("anonymous_id")).alias("anonymous_id"))
    return _who_used(inputs, pl.concat([devices, spelt]).unique())


def _of_logins(inputs: Inputs, entity: str) -> pl.LazyFrame:
    """Profiles of everybody who ever used a device whose log-ins moved: the events between them
    may have changed hands."""
    devices = inputs.news("identity/logins", LOGINS).select("anonymous_id").unique()
    persons = _who_used(inputs, devices)
    if entity == "person":
        return persons
    return _related(inputs, persons, "person", entity)


def _who_used(inputs: Inputs, devices: pl.LazyFrame) -> pl.LazyFrame:
    """Persons who have one of these devices (anonymous_id), or ever logged in on it."""
    users = (
        inputs.scan("identity/logins", LOGINS)
        .join(devices, on="anonymous_id", how="semi")
        .select("user_id")
    )
    gone = inputs.news("identity/logins", LOGINS).select("user_id")
    ids = event_ids(inputs)
    return _of_identifiers(
        inputs,
        "person",
        pl.concat(
            [
                pl.concat([users, gone]).select(
                    pl.concat_str(pl.lit(f"{ids.user}:"), "user_id").alias("identifier")
                ),
                devices.select(
                    pl.concat_str(pl.lit(f"{ids.device}:"), "anonymous_id").alias("identifier")
                ),
            ]
        ).unique(),
    )


def _related(inputs: Inputs, ids: pl.LazyFrame, other: str, entity: str) -> pl.LazyFrame:
    return (
        related(inputs.lake, other, entity)
        .join(ids.rename({KEY: f"{other}_id"}), on=f"{other}_id", how="semi")
        .select(pl.col(f"{entity}_id").alias(KEY))
    )


def _records(
    inputs: Inputs, model: Model, origin: Origin, objects: Sequence[RecordObject]
) -> pl.LazyFrame:
    named = objects_of(origin, objects)
    columns = columns_of(model.measures[origin])
    fields = [item.field(column) for item in named for column in columns]
    records = [
        inputs.news("records/values", RECORDS_VALUES)
        .filter(pl.col("field").is_in(fields))
        .select("record")
    ]
    for entity in {item.entity for item in named}:
        records.append(inputs.news(f"records/{entity}", RECORDS).select("record"))
    of_records = (
        record_owners(inputs, model.entity)
        .join(pl.concat(records).unique(), on="record", how="semi")
        .select(KEY)
    )
    pointed = (
        inputs.news("records/relation", RELATION)
        .filter(pl.col("kind") == model.entity)
        .select(pl.col("to").alias("identifier"))
    )
    return pl.concat([of_records, _of_identifiers(inputs, model.entity, pointed)])


def _profiles(inputs: Inputs, entity: str, other: str) -> pl.LazyFrame:
    changed = inputs.news(f"profiles/{other}", {KEY: pl.Int64()})
    return _related(inputs, changed, other, entity)
