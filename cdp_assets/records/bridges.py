"""Bridges: connectors of the vendors' own that copy between two systems what we write to one.

What a bridge copied of ours is our own echo on the other side as well, and no news: what we told
a record counts as told to the record that is its other side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from cdp_assets.records.config import ObjectSpec, OtherSide

BRIDGED = "bridged"
"""Kind of a relation to the same record in another system."""

_TELLS = ("record_id", "field", "told_at", "value")


def with_other_sides(specs: Sequence[ObjectSpec]) -> tuple[ObjectSpec, ...]:
    """The specs, each knowing the objects that a bridge keeps like it, whichever side says so."""
    sides: dict[str, list[OtherSide]] = {spec.name: [] for spec in specs}
    for spec in specs:
        for bridge in spec.mapping.bridges:
            other = f"{bridge.source}.{bridge.object}"
            pairs = tuple(sorted(bridge.copies.items()))
            sides[spec.name].append(OtherSide(other, tuple((b, a) for a, b in pairs), ours=True))
            if other in sides:
                sides[other].append(OtherSide(spec.name, pairs, ours=False))
    return tuple(replace(spec, other_sides=tuple(sides[spec.name])) for spec in specs)


def told_across(told: pl.LazyFrame, relation: pl.LazyFrame, spec: ObjectSpec) -> pl.LazyFrame:
    """What was told to the other sides of an object's records, as if it had been told to them.

    told: source, object, record_id, field, told_at, value. relation: rows of records/relation.
    Returns record_id, field, told_at, value.
    """
    found = [_across(told, relation, spec, side) for side in spec.other_sides]
    return pl.concat([told.select(_TELLS).clear(), *found])


def _across(
    told: pl.LazyFrame, relation: pl.LazyFrame, spec: ObjectSpec, side: OtherSide
) -> pl.LazyFrame:
    mine, theirs = ("from", "to") if side.ours else ("to", "from")
    pairs = relation.filter(
        (pl.col("kind") == BRIDGED)
        & pl.col(mine).str.starts_with(f"{spec.name}:")
        & pl.col(theirs).str.starts_with(f"{side.name}:")
    ).select(theirs=theirs, record_id=pl.col(mine).str.slice(len(spec.name) + 1))
    names = pl.LazyFrame(
        side.fields, schema={"their_field": pl.String, "field": pl.String}, orient="row"
    )
    return (
        told.filter((pl.col("source") + "." + pl.col("object")) == side.name)
        .select("told_at", "value", their_field="field", theirs=_ref(side.name))
        .join(names, on="their_field")
        .join(pairs, on="theirs")
        .select(_TELLS)
    )


def _ref(name: str) -> pl.Expr:
    return pl.lit(f"{name}:") + pl.col("record_id")
