"""Which record of the destination each profile's values go to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import narwhals as nw

Several = Literal["oldest", "all", "skip"]
Frame = nw.LazyFrame[Any]


def holdings(links: Frame, state: Frame, redirects: Frame) -> Frame:
    """The live records that each profile has, with what each was last told.

    links: record, object String, profile_id Int64, live Boolean, age Int64: every record of the
        destination's system that identity knows, dead ones too; age orders records, oldest least.
    state: record, object String, profile_id Int64, age Int64, told Boolean, and any others: the
        records that the sync has written to or read.
    redirects: old, new Int64: retired profile ids.

    Returns profile_id, record, object, age, told (null where the state has no such record), and
    the state's other columns. What identity says of a record goes before what the sync remembers,
    so a merge or split of profiles moves the record; a record that identity does not know stays
    with the profile it was written for, or that profile's survivor.
    """
    own = ("record", "object", "profile_id", "age")
    rest = [name for name in state.collect_schema().names() if name not in own]
    mine = state.select(
        *(nw.col(name).alias(f"own_{name}") for name in own), *(nw.col(name) for name in rest)
    ).join(redirects, left_on="own_profile_id", right_on="old", how="left")
    known = ~nw.col("record").is_null()
    return (
        links.join(mine, left_on="record", right_on="own_record", how="full")
        .filter(nw.col("live") | ~known)
        .select(
            nw.coalesce("profile_id", "new", "own_profile_id").alias("profile_id"),
            nw.coalesce("record", "own_record").alias("record"),
            nw.coalesce("object", "own_object").alias("object"),
            nw.coalesce("age", "own_age").alias("age"),
            *rest,
        )
    )


def choose(held: Frame, ranks: Mapping[str, int], several: Several) -> Frame:
    """The record that each profile's values go to, of those it has.

    held: profile_id Int64, record, object String, age Int64, and any others (see `holdings`).
    ranks: objects of `to` → place; the first object of which the profile has a record counts.

    Returns rows of `held` with count Int64: how many records of that object the profile has. Of
    several the oldest (then the smaller ref) is returned, or all, or for `skip` the oldest too,
    to be refused by count. Row order never decides.
    """
    columns = held.collect_schema().names()
    rank = nw.lit(len(ranks))
    for name, place in ranks.items():
        rank = nw.when(nw.col("object") == name).then(nw.lit(place)).otherwise(rank)
    mine = held.with_columns(rank=rank).filter(nw.col("rank") < len(ranks))
    if len(ranks) > 1:
        first = mine.group_by("profile_id").agg(best=nw.col("rank").min())
        mine = mine.join(first, on="profile_id").filter(nw.col("rank") == nw.col("best"))
    counted = mine.group_by("profile_id").agg(count=nw.len().cast(nw.Int64))
    mine = mine.join(counted, on="profile_id").select(*columns, "count")
    if several == "all":
        return mine
    # Nearly all have one; only the others are ordered.
    rivals = mine.filter(nw.col("count") > 1)
    oldest = rivals.group_by("profile_id").agg(oldest=nw.col("age").min())
    rivals = rivals.join(oldest, on="profile_id").filter(nw.col("age") == nw.col("oldest"))
    least = rivals.group_by("profile_id").agg(least=nw.col("record").min())
    rivals = rivals.join(least, on="profile_id").filter(nw.col("record") == nw.col("least"))
    return nw.concat([mine.filter(nw.col("count") == 1), rivals.select(*columns, "count")])
