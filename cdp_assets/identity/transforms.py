"""Set-wise rules of this room, as Narwhals functions over lazy frames of any engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw

Frame = nw.LazyFrame[Any]

NOBODY = -1
"""Stands for "no profile" inside windows, where a null would be filled from the row before."""


def login_intervals(events: Frame, logout: Sequence[str]) -> Frame:
    """Who was logged in on each device, from when to when.

    events: anonymous_id, user_id, event String; timestamp; of devices that are asked about.
    logout: names of events that end a log-in.

    An event with a user logs this user in; a log-out, or an event of another user, ends it. At
    one moment a log-in outweighs a log-out, and of several users the largest as text counts.
    Returns anonymous_id, from, user_id, to: half-open, null `to` while it lasts.
    """
    out = nw.col("event").is_in(list(logout)) & ~nw.col("event").is_null()
    marked = events.filter(~nw.col("user_id").is_null() | out).with_columns(
        who=nw.when(~out).then(nw.col("user_id"))
    )
    moments = marked.group_by("anonymous_id", "timestamp").agg(nw.col("who").max())
    known = moments.with_columns(
        who=nw.when(~nw.col("who").is_null()).then(nw.col("who")).otherwise(nw.lit(""))
    )
    before = known.with_columns(
        was=nw.col("who").shift(1).over("anonymous_id", order_by="timestamp")
    )
    turns = before.filter(nw.col("was").is_null() | (nw.col("was") != nw.col("who")))
    ends = turns.with_columns(
        to=nw.col("timestamp").shift(-1).over("anonymous_id", order_by="timestamp")
    )
    return ends.filter(nw.col("who") != "").select(
        "anonymous_id",
        nw.col("timestamp").alias("from"),
        nw.col("who").alias("user_id"),
        "to",
    )


def owners(moments: Frame, logins: Frame) -> Frame:
    """Whose profile a shared device was at each moment.

    moments: device, timestamp; distinct. logins: device, from, to, profile_id (NOBODY for a user
        without profile); of one device they do not overlap.
    Returns device, timestamp, owner Int64; moments of nobody are left out.
    """
    none = nw.lit(None)
    points = moments.select(
        "device",
        "timestamp",
        nw.lit(1).cast(nw.Int64).alias("kind"),
        none.cast(nw.Int64).alias("owner"),
        none.cast(nw.Datetime("us", "UTC")).alias("until"),
        none.cast(nw.Int64).alias("open"),
    )
    starts = logins.select(
        "device",
        nw.col("from").alias("timestamp"),
        nw.lit(0).cast(nw.Int64).alias("kind"),
        nw.col("profile_id").alias("owner"),
        nw.when(nw.col("to").is_null()).then(nw.col("from")).otherwise(nw.col("to")).alias("until"),
        nw.col("to").is_null().cast(nw.Int64).alias("open"),
    )
    line = nw.concat([points, starts]).with_columns(
        nw.col("owner", "until", "open")
        .fill_null(strategy="forward")
        .over("device", order_by=["timestamp", "kind"])
    )
    inside = (nw.col("open") == 1) | (nw.col("timestamp") < nw.col("until"))
    return line.filter(
        (nw.col("kind") == 1) & ~nw.col("owner").is_null() & inside & (nw.col("owner") != NOBODY)
    ).select("device", "timestamp", "owner")


def attribution(events: Frame, users: Frame, devices: Frame, shared: Frame, logins: Frame) -> Frame:
    """Whom each event belongs to.

    events: user_key, device_key String (either may be null), timestamp, and any other columns.
    users: user_key, user_profile. devices: device_key, device_profile; of devices that link to
        one profile. shared: device_key of those that link to several. logins: device, from, to,
        profile_id of the shared ones.

    The profile of its user; else that of its device, if that links to one; on a shared device
    that of who was logged in then; else nobody (null). Returns the events' columns without the
    keys, and profile_id.
    """
    columns = [c for c in events.collect_schema().names() if c not in ("user_key", "device_key")]
    moments = (
        events.join(shared, on="device_key", how="semi")
        .select(nw.col("device_key").alias("device"), "timestamp")
        .unique()
    )
    owner = owners(moments, logins).select(
        nw.col("device").alias("device_key"), nw.col("timestamp").alias("moment"), "owner"
    )
    found = (
        events.join(users, on="user_key", how="left")
        .join(devices, on="device_key", how="left")
        .join(
            owner,
            left_on=["device_key", "timestamp"],
            right_on=["device_key", "moment"],
            how="left",
        )
    )
    return found.select(
        *columns, nw.coalesce("user_profile", "device_profile", "owner").alias("profile_id")
    )


def primary(pairs: Frame) -> Frame:
    """One target of each subject.

    pairs: subject, target, rank Int64 (0 the best). Of several targets that of the best rank
    stays, then the one named most often, then the smallest.
    """
    counted = pairs.group_by("subject", "target").agg(
        nw.col("rank").min(), nw.len().cast(nw.Int64).alias("times")
    )
    for column, best in (("rank", "min"), ("times", "max"), ("target", "min")):
        chosen = counted.group_by("subject").agg(getattr(nw.col(column), best)().alias("best"))
        counted = (
            counted.join(chosen, on="subject").filter(nw.col(column) == nw.col("best")).drop("best")
        )
    return counted.select("subject", "target")
