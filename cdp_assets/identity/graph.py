"""From links to profiles: components of identifiers under the rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cdp_assets.identity.rules import EntityRules
from cdp_assets.identity.union import ACCEPTED, DEVICE, constrained_union

PAIR = ("left", "right")


@dataclass(frozen=True)
class Components:
    """nodes: identifier String, component Int32, rank Int64, strong Boolean (of the component).
    links: left, right, state, reason; one row a distinct (left, right)."""

    nodes: pl.DataFrame
    links: pl.DataFrame


def kind_of(identifier: pl.Expr) -> pl.Expr:
    """The type of an identifier: the text before its first colon."""
    return identifier.str.extract(r"^([^:]*):")


def components(links: pl.DataFrame, rules: EntityRules) -> Components:
    """Components of all identifiers that the links name.

    links: left, right String; first_seen Datetime[us, UTC]; several rows of one pair (by source)
        are one link, seen first at the earliest.

    Links are taken strongest first: by the rank of the weaker end, of the stronger end, by
    first_seen, and then by the text of both ends; nothing else decides. CRM records rank 0,
    without limit. A type that the rules no longer name takes no part.
    """
    ranks = {t.name: t.rank for t in rules.types} | {spec.name: 0 for spec in rules.specs}
    pairs = links.group_by(PAIR).agg(pl.col("first_seen").min())
    texts = pl.concat([pairs["left"], pairs["right"]]).unique().sort()
    nodes = pl.DataFrame({"identifier": texts}).with_columns(
        node=pl.int_range(pl.len(), dtype=pl.Int32),
        # A record of an object that is no longer configured is a record all the same.
        rank=kind_of(pl.col("identifier")).replace_strict(ranks, default=0, return_dtype=pl.Int64),
    )
    ends = (
        pairs.join(nodes.rename({"identifier": "left", "node": "a", "rank": "a_rank"}), on="left")
        .join(nodes.rename({"identifier": "right", "node": "b", "rank": "b_rank"}), on="right")
        .with_columns(
            weaker=pl.max_horizontal("a_rank", "b_rank"),
            stronger=pl.min_horizontal("a_rank", "b_rank"),
        )
        .sort("weaker", "stronger", "first_seen", "a", "b")
    )
    limits = [0, *(t.limit for t in rules.types)]
    weak = [False, *(t.weak for t in rules.types)]
    root, verdict = constrained_union(
        ends["a"].to_numpy(),
        ends["b"].to_numpy(),
        nodes["rank"].cast(pl.Int8).to_numpy(),
        weak,
        limits,
    )
    found = nodes.select("identifier", "rank", component=pl.Series(root, dtype=pl.Int32))
    strong = ~np.array(weak)[found["rank"].to_numpy()]
    found = found.with_columns(
        strong=pl.col("component").is_in(found.filter(pl.Series(strong))["component"].implode())
    )
    # A link refused at its turn whose ends met later by another way says nothing against anyone.
    same = root[ends["a"].to_numpy()] == root[ends["b"].to_numpy()]
    verdict = np.where(same, ACCEPTED, verdict)
    reasons = {DEVICE: "device"} | {t.rank + 1: f"limit:{t.name}" for t in rules.types}
    states = ends.select(*PAIR, verdict=pl.Series(verdict, dtype=pl.Int64)).select(
        *PAIR,
        state=pl.when(pl.col("verdict") == ACCEPTED)
        .then(pl.lit("accepted"))
        .otherwise(pl.lit("refused")),
        reason=pl.col("verdict").replace_strict(reasons, default=None, return_dtype=pl.String),
    )
    return Components(found, states)
