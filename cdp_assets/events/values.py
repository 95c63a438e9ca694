"""When a trait took a new value: observations folded into events/values."""

from __future__ import annotations

import polars as pl

from cdp_assets.events.tables import EVENTS, OBSERVATIONS, VALUES
from cdp_assets.lake import Commit, Lake

GROUP = ("source", "visitor", "identifier", "field")
"""What one device says of one identifier's field: its repeats are no news."""


def runs(observations: pl.DataFrame) -> pl.DataFrame:
    """The rows of table events/values that these observations make.

    observations: source, visitor, identifier, field, value, changed_at Datetime[us, UTC],
        message_id; all of each group that appears.

    A row for the first of every run of equal values of a group, in the order of changed_at; null
    (the trait was taken away) is a value like others. Of several values at one instant the
    smallest counts, null after all others, then the smallest message_id: the order of rows
    never decides.
    """
    instants = observations.sort(
        *GROUP, "changed_at", "value", "message_id", nulls_last=True
    ).unique((*GROUP, "changed_at"), keep="first", maintain_order=True)
    before = pl.col("value").shift(1).over(GROUP, order_by="changed_at")
    first = pl.int_range(pl.len()).over(GROUP, order_by="changed_at") == 0
    return instants.filter(first | pl.col("value").ne_missing(before)).select(*VALUES.schema)


def observe(new: pl.DataFrame, observed: pl.DataFrame) -> pl.DataFrame:
    """Rows of table events/observations.

    new: stored events, with `row`. observed: row, field, value.
    """
    return observed.join(new, on="row", how="inner", maintain_order="left").select(
        "source",
        "visitor",
        identifier(),
        "field",
        "value",
        pl.col("timestamp").alias("changed_at"),
        "message_id",
    )


def identifier() -> pl.Expr:
    """Whose trait an identify call tells: its user's, else its device's."""
    return pl.coalesce(
        pl.lit("user_id:") + pl.col("user_id"), pl.lit("anonymous_id:") + pl.col("anonymous_id")
    ).alias("identifier")


def fold(lake: Lake, *, whole: bool = False) -> Commit | None:
    """Bring events/values up to the observations that table events records as complete.

    Only the groups with news are folded again, over all their observations, so a late one finds
    its place; `whole` folds all, for observations that were made anew. None where nothing is new.
    """
    observations, values = lake.open(OBSERVATIONS), lake.open(VALUES)
    upto = lake.open(EVENTS).watermark(OBSERVATIONS.key)
    after = values.watermark(OBSERVATIONS.key)
    if not whole and upto <= after:
        return None
    recorded = observations.scan(upto=upto)
    marks = {OBSERVATIONS.key: upto}
    if whole:
        scope = pl.concat([recorded.select(GROUP), values.scan().select(GROUP)]).unique().collect()
        told = recorded.collect()
    else:
        scope = observations.changes(after, upto=upto).select(GROUP).unique().collect()
        told = recorded.join(scope.lazy(), on=GROUP, how="semi").collect()
    return values.replace(runs(told.drop("_seq")), scope=scope, watermarks=marks)
