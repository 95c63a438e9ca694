"""What records and events say of the fields that `prefer` and `latest` name."""

from __future__ import annotations

from collections.abc import Sequence

import narwhals as nw
import polars as pl

from cdp_assets.profiles.inputs import EVENTS_VALUES, GRAPH, RECORDS_VALUES, Inputs
from cdp_assets.profiles.kinds import text_as
from cdp_assets.profiles.model import Survivor
from cdp_assets.profiles.owners import told_by
from cdp_assets.profiles.survivorship import standing, survivors


def fields_frame(traits: Sequence[Survivor]) -> pl.DataFrame:
    """field, trait, rank Int64: which traits read a field, and how good it is for each."""
    rows = [(ref, t.name, t.rank(ref)) for t in traits for ref in t.fields]
    return pl.DataFrame(
        rows,
        schema={"field": pl.String, "trait": pl.String, "rank": pl.Int64},
        orient="row",
    )


def is_event_field(ref: str) -> bool:
    """Whether a field reference names a trait told by events."""
    return ref.startswith("events.")


def observed(
    inputs: Inputs, entity: str, traits: Sequence[Survivor], touched: pl.DataFrame | None
) -> pl.LazyFrame:
    """Every value that may become one of `traits`: profile_id, trait, rank, value, field, record
    (the record, or the event's message id), changed_at."""
    fields = fields_frame(traits)
    named = fields["field"].unique().to_list()
    told = nw.from_native(
        told_by(
            inputs,
            inputs.scan("events/values", EVENTS_VALUES).filter(pl.col("field").is_in(named)),
        )
    )
    last: pl.LazyFrame = nw.to_native(standing(told))
    from_events = last.select(
        "identifier", "field", "value", "changed_at", pl.col("message_id").alias("record")
    )
    from_records = (
        inputs.scan("records/values", RECORDS_VALUES)
        .filter(pl.col("field").is_in(named) & pl.col("current"))
        .select(pl.col("record").alias("identifier"), "field", "value", "changed_at", "record")
    )
    graph = inputs.scan("identity/graph", GRAPH).filter(pl.col("entity") == entity)
    if touched is not None:
        graph = graph.join(touched.lazy(), on="profile_id", how="semi")
    return (
        pl.concat([from_records, from_events])
        .join(graph.select("identifier", "profile_id"), on="identifier", how="inner")
        .join(fields.lazy(), on="field", how="inner")
        .select("profile_id", "trait", "rank", "value", "field", "record", "changed_at")
    )


def surviving(
    inputs: Inputs, entity: str, traits: Sequence[Survivor], touched: pl.DataFrame | None
) -> pl.LazyFrame:
    """profile_id and a column for each of `traits` in its kind; profiles without any are absent."""
    kept: pl.LazyFrame = nw.to_native(
        survivors(nw.from_native(observed(inputs, entity, traits, touched)))
    )
    wide = kept.group_by("profile_id").agg(
        pl.col("value").filter(pl.col("trait") == t.name).max().alias(t.name) for t in traits
    )
    return wide.select("profile_id", *(text_as(t.kind, t.name) for t in traits))
