"""What happened to a profile, newest first: a reading of events, records, graph and changes."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.profiles.builds import changes_kept
from cdp_assets.profiles.inputs import (
    GRAPH,
    IDENTITY_CHANGES,
    RECORDS_VALUES,
    TS,
    Inputs,
)
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import Origin
from cdp_assets.profiles.owners import Owners
from cdp_assets.profiles.sources import event_rows, record_owners
from cdp_assets.profiles.tables import CHANGES

KEY = "profile_id"
COLUMNS = ("at", "kind", "what", "detail", "ref")
HAPPENINGS = ("activity", "opportunity", "ticket")
"""Entities whose records are moments in the life of those they point at."""


def timeline(
    lake: Lake,
    entity: str,
    profile_id: int,
    *,
    before: datetime | None = None,
    limit: int = 200,
) -> pl.DataFrame:
    """The latest `limit` moments of a profile before `before`, newest first.

    Returns at Datetime[us, UTC], kind (event, session, record, value, identity, trait), what (the
    event's name, a session's channel, the field, the trait …), detail (of a session its source and
    medium, where it landed, and whether it is the first, last or last non-direct touch), ref
    (message id, session id, record, identifier). For an account, events and sessions are those of
    its people.
    """
    inputs = Inputs(lake)
    only = pl.DataFrame({KEY: [profile_id]}, schema={KEY: pl.Int64})
    frames = [
        _events(inputs, entity, only),
        _visits(inputs, entity, only),
        *_records(inputs, entity, only),
        _values(inputs, entity, only),
        _identity(inputs, entity, profile_id),
        _traits(lake, entity, profile_id),
    ]
    moments = pl.concat([frame.select(COLUMNS) for frame in frames])
    if before is not None:
        moments = moments.filter(pl.col("at") < pl.lit(before).dt.cast_time_unit("us"))
    order = ["at", "kind", "what", "ref"]
    return moments.sort(order, descending=[True, False, False, False]).head(limit).collect()


def _row(at: pl.Expr, kind: str, what: pl.Expr, detail: pl.Expr, ref: pl.Expr) -> list[pl.Expr]:
    return [
        at.alias("at"),
        pl.lit(kind).alias("kind"),
        what.alias("what"),
        detail.alias("detail"),
        ref.alias("ref"),
    ]


def _events(inputs: Inputs, entity: str, only: pl.DataFrame) -> pl.LazyFrame:
    if entity not in ("person", "account"):
        return pl.LazyFrame(
            schema={"at": TS} | {name: pl.String() for name in COLUMNS if name != "at"}
        )
    names = ("message_id", "type", "event", "page_path")
    rows = event_rows(inputs, Origin("events", "events"), dict.fromkeys(names, Kind.STRING))
    found = Owners(inputs, entity, only).rows(rows, ["timestamp", *names]).lazy()
    what = pl.coalesce("event", "type")
    return found.select(
        _row(pl.col("timestamp"), "event", what, pl.col("page_path"), pl.col("message_id"))
    )


def _visits(inputs: Inputs, entity: str, only: pl.DataFrame) -> pl.LazyFrame:
    names = ("session_id", "channel", "source", "medium", "landing_path")
    if entity not in ("person", "account"):
        return pl.LazyFrame(schema={n: TS if n == "at" else pl.String() for n in COLUMNS})
    rows = event_rows(inputs, Origin("visits", "sessions"), dict.fromkeys(names, Kind.STRING))
    found = Owners(inputs, entity, only).rows(rows, ["timestamp", *names])
    found = found.sort("timestamp", "session_id")
    place, brought = pl.int_range(pl.len()), pl.col("channel") != "Direct"
    touches = pl.concat_str(
        pl.when(place == 0).then(pl.lit("first touch")),
        pl.when(place == pl.len() - 1).then(pl.lit("last touch")),
        pl.when(place == place.filter(brought).max()).then(pl.lit("last non-direct touch")),
        separator=", ", ignore_nulls=True,
    )  # fmt: skip
    nothing = pl.lit("(not set)")
    way = pl.concat_str(
        pl.coalesce("source", nothing), pl.lit(" / "), pl.coalesce("medium", nothing)
    )
    detail = pl.concat_str(
        way,
        pl.concat_str(pl.lit(" → "), "landing_path").fill_null(""),
        pl.when(touches != "")
        .then(pl.concat_str(pl.lit(" ("), touches, pl.lit(")")))
        .otherwise(pl.lit("")),
    )
    # Which touches they are depends on all of them, so before any row is left out.
    moments = found.with_columns(detail.alias("detail")).lazy()
    at, ref = pl.col("timestamp"), pl.col("session_id")
    return moments.select(_row(at, "session", pl.col("channel"), pl.col("detail"), ref))


def _records(inputs: Inputs, entity: str, only: pl.DataFrame) -> list[pl.LazyFrame]:
    schema = {
        "source": pl.String(), "object": pl.String(), "record_id": pl.String(),
        "record": pl.String(), "name": pl.String(), "subject": pl.String(), "status": pl.String(),
        "created_at": TS, "changed_at": TS,
    }  # fmt: skip
    mine = record_owners(inputs, entity).join(only.lazy(), on=KEY, how="semi").select("record")
    what = pl.concat_str("source", pl.lit("."), "object")
    detail = pl.coalesce("subject", "name", "status")
    return [
        inputs.scan(f"records/{name}", schema)
        .join(mine, on="record", how="semi")
        .select(
            _row(pl.coalesce("created_at", "changed_at"), "record", what, detail, pl.col("record"))
        )
        for name in HAPPENINGS
        if name != entity
    ]


def _values(inputs: Inputs, entity: str, only: pl.DataFrame) -> pl.LazyFrame:
    records = (
        inputs.scan("identity/graph", GRAPH)
        .filter(pl.col("entity") == entity)
        .join(only.lazy(), on=KEY, how="semi")
        .select(pl.col("identifier").alias("record"))
    )
    rows = inputs.scan("records/values", RECORDS_VALUES).join(records, on="record", how="semi")
    return rows.select(
        _row(pl.col("changed_at"), "value", pl.col("field"), pl.col("value"), pl.col("record"))
    )


def _identity(inputs: Inputs, entity: str, profile_id: int) -> pl.LazyFrame:
    schema = {**IDENTITY_CHANGES, "cause": pl.String()}
    moves = inputs.scan("identity/changes", schema).filter(
        (pl.col("entity") == entity)
        & ((pl.col("from") == profile_id) | (pl.col("to") == profile_id))
    )
    went = pl.col("from") == profile_id
    to_or_from = (
        pl.when(went)
        .then(pl.concat_str(pl.lit("to "), pl.col("to").cast(pl.String).fill_null("nobody")))
        .otherwise(
            pl.concat_str(pl.lit("from "), pl.col("from").cast(pl.String).fill_null("nobody"))
        )
    )
    return moves.select(
        _row(pl.col("at"), "identity", pl.col("cause"), to_or_from, pl.col("identifier"))
    )


def _traits(lake: Lake, entity: str, profile_id: int) -> pl.LazyFrame:
    rows = (
        lake.open(CHANGES)
        .scan(upto=changes_kept(lake))
        .filter((pl.col("entity") == entity) & (pl.col(KEY) == profile_id))
    )
    nothing = pl.lit("nothing")
    detail = pl.concat_str(pl.coalesce("old", nothing), pl.lit(" → "), pl.coalesce("new", nothing))
    return rows.select(_row(pl.col("at"), "trait", pl.col("trait"), detail, pl.col("run")))
