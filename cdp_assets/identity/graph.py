"""From links to profiles: components of identifiers under the rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cdp_assets.identity.rules import EntityRules
from cdp_assets.identity.union import ACCEPTED, DEVICE, constrained_union


@dataclass(frozen=True)
class Components:
    """nodes: identifier String, component Int32, rank Int64, strong Boolean (of the component).
    links: the rows given, in their order, with state and reason."""

    nodes: pl.DataFrame
    links: pl.DataFrame


def kind_of(identifier: pl.Expr) -> pl.Expr:
    """The type of an identifier: the text before its first colon."""
    return identifier.str.extract(r"^([^:]*):")


def components(links: pl.DataFrame, rules: EntityRules) -> Components:
    """Components of all identifiers that the links name.

    links: left, right String; first_seen Datetime[us, UTC], and any other columns; several rows of
        one pair (by source) are one link, seen first at the earliest.

    Links are taken strongest first: by the rank of the weaker end, of the stronger end, by
    first_seen, and then by the text of both ends; nothing else decides. CRM records rank 0,
    without limit.
    """
    ranks = {t.name: t.rank for t in rules.types}
    texts = pl.concat([links["left"], links["right"]]).unique().sort()
    nodes = pl.DataFrame({"identifier": texts}).with_columns(
        rank=kind_of(pl.col("identifier")).replace_strict(ranks, default=0, return_dtype=pl.Int64)
    )
    # From here on identifiers are numbers, in the order of their texts.
    place = nodes.select("identifier", node=pl.int_range(pl.len(), dtype=pl.Int32))
    rank = nodes["rank"].to_numpy()
    ends = pl.DataFrame(
        {
            "a": _places(links["left"], place),
            "b": _places(links["right"], place),
            "first_seen": links["first_seen"],
        }
    )
    pairs = ends.group_by("a", "b").agg(pl.col("first_seen").min())
    one, other = rank[pairs["a"].to_numpy()], rank[pairs["b"].to_numpy()]
    pairs = pairs.with_columns(
        weaker=pl.Series(np.maximum(one, other)), stronger=pl.Series(np.minimum(one, other))
    ).sort("weaker", "stronger", "first_seen", "a", "b")
    a, b = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    weak = np.array([False, *(t.weak for t in rules.types)])
    root, verdict = constrained_union(
        a, b, rank.astype(np.int8), weak.tolist(), [0, *(t.limit for t in rules.types)]
    )
    # A link refused at its turn whose ends met later by another way says nothing against anyone.
    verdict = np.where(root[a] == root[b], ACCEPTED, verdict)
    holds = np.zeros(len(rank), dtype=np.bool_)
    holds[root[~weak[rank]]] = True
    found = nodes.with_columns(component=pl.Series(root), strong=pl.Series(holds[root]))
    reasons = {DEVICE: "device"} | {t.rank + 1: f"limit:{t.name}" for t in rules.types}
    judged = ends.join(
        pairs.select("a", "b", verdict=pl.Series(verdict, dtype=pl.Int64)),
        on=["a", "b"],
        how="left",
        maintain_order="left",
    )["verdict"]
    reason = judged.replace_strict(reasons, default=None, return_dtype=pl.String)
    state = pl.when(judged == ACCEPTED).then(pl.lit("accepted")).otherwise(pl.lit("refused"))
    return Components(found, links.with_columns(state=state, reason=reason))


def _places(identifiers: pl.Series, place: pl.DataFrame) -> pl.Series:
    found = identifiers.alias("identifier").to_frame()
    return found.join(place, on="identifier", how="left", maintain_order="left")["node"]
