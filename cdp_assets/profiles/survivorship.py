"""Which value of a field a profile keeps: a plain group maximum, joined back, on any engine."""

from __future__ import annotations

from typing import Any

import narwhals as nw

KEY = ["profile_id", "trait"]


def survivors(values: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The value that each profile keeps of each trait.

    values: profile_id Int64, trait String, rank Int64 (0 is the best field; all 0 for a trait
        whose fields are equals), value String, field String, record String,
        changed_at Datetime[us, UTC]; rows whose value is null are ignored.

    Returns one row a (profile_id, trait) with rank, changed_at, value, field, record. The best
    rank wins, then the latest changed_at, then the smaller value, field and record: row order
    never decides.
    """
    held = values.filter(~nw.col("value").is_null())
    best = held.group_by(KEY).agg(nw.col("rank").min())
    held = held.join(best, on=[*KEY, "rank"], how="inner")
    latest = held.group_by([*KEY, "rank"]).agg(nw.col("changed_at").max())
    held = held.join(latest, on=[*KEY, "rank", "changed_at"], how="inner")
    smallest = held.group_by([*KEY, "rank", "changed_at"]).agg(nw.col("value").min())
    held = held.join(smallest, on=[*KEY, "rank", "changed_at", "value"], how="inner")
    field = held.group_by([*KEY, "rank", "changed_at", "value"]).agg(nw.col("field").min())
    held = held.join(field, on=[*KEY, "rank", "changed_at", "value", "field"], how="inner")
    return held.group_by([*KEY, "rank", "changed_at", "value", "field"]).agg(nw.col("record").min())


def standing(observations: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """What each identifier says of each field at last.

    observations: identifier String, field String, value String (null: deleted),
        changed_at Datetime[us, UTC], message_id String: the rows of events/values.

    Returns the rows that no later one of the same identifier and field replaces; of several at
    one time the one with the smaller value, and a deletion only where nothing else was said then.
    """
    key = ["identifier", "field"]
    latest = observations.group_by(key).agg(nw.col("changed_at").max())
    last = observations.join(latest, on=[*key, "changed_at"], how="inner")
    value = last.group_by([*key, "changed_at"]).agg(nw.col("value").min().alias("kept"))
    last = last.join(value, on=[*key, "changed_at"], how="inner").filter(
        (nw.col("value") == nw.col("kept")) | (nw.col("value").is_null() & nw.col("kept").is_null())
    )
    return last.group_by([*key, "changed_at", "value"]).agg(nw.col("message_id").min())
