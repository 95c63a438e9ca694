"""Whose sessions: found on reading, so that what identity learns later holds for all of them."""

from __future__ import annotations

import polars as pl

from cdp_assets.identity import attribute
from cdp_assets.lake import Lake
from cdp_assets.sessions.tables import PAGE_VIEWS, SESSIONS

_TOUCH = ("session_id", "started_at", "channel", "source", "medium", "campaign", "landing_path")
_SUMS = ("page_views", "engaged_seconds")


def sessions(lake: Lake) -> pl.LazyFrame:
    """Table `sessions` with profile_id (null while nobody is known) and `person`: the profile,
    else the device, as text; person_session_number: 1 for the person's first session."""
    owned = attribute(
        lake, lake.open(SESSIONS).scan().drop("_seq").with_columns(timestamp="started_at")
    ).drop("timestamp")
    order = ["started_at", "visitor", "session_id"]
    return (
        _with_person(owned)
        .sort("person", *order)
        .with_columns(pl.int_range(1, pl.len() + 1).over("person").alias("person_session_number"))
    )


def page_views(lake: Lake) -> pl.LazyFrame:
    """Table `sessions/page_views` with profile_id and `person`, as in `sessions`. A page view
    before the log-in belongs to who logs in later in the same visit."""
    return _with_person(attribute(lake, lake.open(PAGE_VIEWS).scan().drop("_seq")))


def touches(lake: Lake) -> pl.LazyFrame:
    """First touch, last touch and last touch that was not direct, one row a person (or a device
    of nobody known).

    Returns person String, profile_id, sessions, page_views, engaged_seconds Int64, first_…, last_…,
    last_non_direct_… of session_id, started_at, channel, source, medium, campaign and
    landing_path. A direct visit never takes the place of the last that was not; where all were
    direct, last_non_direct_… is null. Sessions that began at once go by device and session id.
    """
    told = sessions(lake).sort("person", "started_at", "visitor", "session_id")
    other = pl.col("channel") != "Direct"
    return told.group_by("person", maintain_order=True).agg(
        pl.col("profile_id").first(),
        pl.len().cast(pl.Int64).alias("sessions"),
        pl.col(_SUMS).sum(),
        *(pl.col(name).first().alias(f"first_{name}") for name in _TOUCH),
        *(pl.col(name).last().alias(f"last_{name}") for name in _TOUCH),
        *(pl.col(name).filter(other).last().alias(f"last_non_direct_{name}") for name in _TOUCH),
    )


def _with_person(owned: pl.LazyFrame) -> pl.LazyFrame:
    known = pl.col("profile_id").is_not_null()
    return owned.with_columns(
        pl.when(known)
        .then(pl.concat_str(pl.lit("profile:"), pl.col("profile_id")))
        .otherwise(pl.concat_str(pl.lit("device:"), pl.col("visitor")))
        .alias("person")
    )
