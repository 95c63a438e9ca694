"""Which profile id a component of identifiers gets: a function of components and the ledger.

The ledger says which id stays with which identifier (its anchor). In a component the id minted
first stays, the others redirect to it; where an anchor is separated again, its id goes back to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

LEDGER = {
    "anchor": pl.String(),
    "profile_id": pl.Int64(),
    "minted_seq": pl.Int64(),
    "redirect_to": pl.Int64(),
}


@dataclass(frozen=True)
class Assignment:
    """profiles: component, profile_id. ledger: rows of the ledger that are new or differ."""

    profiles: pl.DataFrame
    ledger: pl.DataFrame


def assign(
    nodes: pl.DataFrame, ledger: pl.DataFrame, before: pl.DataFrame, last: int
) -> Assignment:
    """Ids of components.

    nodes: identifier String, component Int32, rank Int64 (0 the strongest); of every component
        that holds a strong identifier.
    ledger: all rows of each id that has an anchor among the nodes or is named in `before`.
    before: identifier String, profile_id Int64: where identifiers belonged until now.
    last: the highest minted_seq of the entity.

    Of several anchors of one id in different components the one minted first holds it. An id
    whose anchors are all gone from the graph stays with the strongest identifier that it had, by
    a new row of the ledger. A component without any id mints one; its anchor is its strongest
    identifier, of several the smallest as text.
    """
    age = ledger.group_by("profile_id").agg(age=pl.col("minted_seq").min())
    held = (
        ledger.join(nodes.select("component", anchor="identifier"), on="anchor")
        .sort("minted_seq")
        .unique("profile_id", keep="first", maintain_order=True)
    )
    orphans = (
        before.join(held, on="profile_id", how="anti")
        .join(nodes, on="identifier")
        .sort("rank", "identifier")
        .unique("profile_id", keep="first", maintain_order=True)
    )
    claims = pl.concat(
        [held.select("component", "profile_id"), orphans.select("component", "profile_id")]
    ).join(age, on="profile_id")
    winners = (
        claims.sort("age")
        .unique("component", keep="first", maintain_order=True)
        .select("component", winner="profile_id")
    )
    minted = (
        _anchors(nodes.join(winners, on="component", how="anti"))
        .sort("anchor")
        .with_columns(minted_seq=last + 1 + pl.int_range(pl.len(), dtype=pl.Int64))
        .with_columns(profile_id=pl.col("minted_seq"), redirect_to=pl.lit(None, pl.Int64))
    )
    anchored = (
        orphans.join(winners, on="component")
        .filter(pl.col("winner") == pl.col("profile_id"))
        .sort("identifier")
        .select(
            anchor="identifier",
            profile_id="profile_id",
            minted_seq=last + 1 + minted.height + pl.int_range(pl.len(), dtype=pl.Int64),
            redirect_to=pl.lit(None, pl.Int64),
        )
    )
    lands = claims.join(winners, on="component").select(
        "profile_id",
        lands=pl.when(pl.col("winner") != pl.col("profile_id")).then("winner"),
    )
    moved = (
        ledger.join(lands, on="profile_id")
        .filter(pl.col("redirect_to").ne_missing(pl.col("lands")))
        .select("anchor", "profile_id", "minted_seq", redirect_to="lands")
    )
    profiles = pl.concat(
        [
            winners.select("component", profile_id="winner"),
            minted.select("component", "profile_id"),
        ]
    )
    new = minted.select(LEDGER.keys())
    return Assignment(profiles, pl.concat([new, anchored.select(LEDGER.keys()), moved]))


def _anchors(nodes: pl.DataFrame) -> pl.DataFrame:
    """The strongest identifier of each component, of several the smallest as text."""
    best = nodes.group_by("component").agg(rank=pl.col("rank").min())
    return (
        nodes.join(best, on=["component", "rank"])
        .group_by("component")
        .agg(anchor=pl.col("identifier").min())
    )
