"""Which record of the destination each profile's values go to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import narwhals as nw

Several = Literal["oldest", "all", "skip"]
Frame = nw.LazyFrame[Any]


def holdings(links: Frame, state: Frame, redirects: Frame) -> Frame:
    """The live records that each profile has.

    links: record, object String, profile_id Int64, live Boolean, age Int64: every record of the
        destination's system that identity knows, dead ones too; age orders records, oldest least.
    state: record, object String, profile_id Int64, age Int64: records that the sync has written
        to or adopted.
    redirects: old, new Int64: retired profile ids.

    Returns profile_id, record, object, age. What identity says of a record goes before what the
    sync remembers, so a merge or split of profiles moves the record; a record that identity does
    not know stays with the profile it was written for, or that profile's survivor.
    """
    known = links.select("record").with_columns(known=nw.lit(1))
    mine = (
        state.join(known, on="record", how="left")
        .filter(nw.col("known").is_null())
        .join(redirects, left_on="profile_id", right_on="old", how="left")
        .with_columns(profile_id=nw.coalesce("new", "profile_id"))
    )
    columns = ("profile_id", "record", "object", "age")
    return nw.concat([links.filter(nw.col("live")).select(*columns), mine.select(*columns)])


def choose(held: Frame, ranks: Mapping[str, int], several: Several) -> Frame:
    """The record that each profile's values go to, of those it has.

    held: profile_id Int64, record, object String, age Int64 (see `holdings`).
    ranks: objects of `to` → place; the first object of which the profile has a record counts.

    Returns profile_id, record, object, and count Int64: how many records of that object it has.
    Of several the oldest (then the smaller ref) is returned, or all, or for `skip` the oldest too,
    to be refused by count. Row order never decides.
    """
    rank = nw.lit(len(ranks))
    for name, place in ranks.items():
        rank = nw.when(nw.col("object") == name).then(nw.lit(place)).otherwise(rank)
    mine = held.with_columns(rank=rank).filter(nw.col("rank") < len(ranks))
    if len(ranks) > 1:
        first = mine.group_by("profile_id").agg(best=nw.col("rank").min())
        mine = mine.join(first, on="profile_id").filter(nw.col("rank") == nw.col("best"))
    counted = mine.group_by("profile_id").agg(count=nw.len(), oldest=nw.col("age").min())
    mine = mine.join(counted, on="profile_id")
    if several != "all":
        mine = mine.filter(nw.col("age") == nw.col("oldest"))
        least = mine.group_by("profile_id").agg(least=nw.col("record").min())
        mine = mine.join(least, on="profile_id").filter(nw.col("record") == nw.col("least"))
    return mine.select("profile_id", "record", "object", nw.col("count").cast(nw.Int64))
