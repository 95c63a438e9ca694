"""Which value of a field a profile keeps, in plain windows and groups that every engine has."""

from __future__ import annotations

from typing import Any

import narwhals as nw

KEY = ["profile_id", "trait"]


def survivors(values: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """The value that each profile keeps of each trait.

    values: profile_id Int64, trait String, rank Int64 (0 is the best field; all 0 for a trait
        whose fields are equals), value String, changed_at Datetime[us, UTC]; rows whose value is
        null are ignored.

    Returns one row a (profile_id, trait) with rank, changed_at, value. The best rank wins, then
    the latest changed_at, then the smaller value: row order never decides.
    """
    held = values.filter(~nw.col("value").is_null()).select(*KEY, "rank", "changed_at", "value")
    held = _where_best(held, KEY, "rank", nw.col("rank").min())
    held = _where_best(held, KEY, "changed_at", nw.col("changed_at").max())
    return held.group_by(KEY).agg(
        nw.col("rank").min(), nw.col("changed_at").max(), nw.col("value").min()
    )


def standing(observations: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """What each identifier says of each field at last.

    observations: identifier String, field String, value String (null: deleted),
        changed_at Datetime[us, UTC], message_id String: the rows of events/values.

    Returns one row an (identifier, field) with changed_at, value, message_id: the latest; of
    several at one time the one with the smaller value, and a deletion only where nothing else was
    said then.
    """
    key = ["identifier", "field"]
    last = _where_best(observations, key, "changed_at", nw.col("changed_at").max())
    kept = last.with_columns(nw.col("value").min().over(*key).alias("best"))
    same = (nw.col("value") == nw.col("best")) | nw.col("best").is_null()
    return (
        kept.filter(same)
        .group_by(key)
        .agg(nw.col("changed_at").max(), nw.col("value").min(), nw.col("message_id").min())
    )


def _where_best(
    rows: nw.LazyFrame[Any], key: list[str], column: str, best: nw.Expr
) -> nw.LazyFrame[Any]:
    """The rows whose `column` is the `best` of their `key`. A window, not a group joined back:
    a chain of self-joins reads its input twice at every link."""
    marked = rows.with_columns(best.over(*key).alias("best"))
    return marked.filter(nw.col(column) == nw.col("best")).drop("best")
