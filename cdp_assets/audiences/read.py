"""Reading memberships: who is in an audience, and the columns that in_audience stands for."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from cdp_assets.lake import Lake, Table
from cdp_assets.profiles.errors import TraitError, nearest
from cdp_assets.profiles.nodes import member_column

KEY = "profile_id"
TS = pl.Datetime("us", "UTC")


def audience_table(name: str) -> Table:
    """The table of an audience's memberships."""
    return Table(
        key=f"audiences/{name}",
        description="Who is or was a member, a row a stay; left_at is null for those who are.",
        schema={KEY: pl.Int64(), "entered_at": TS, "left_at": TS},
        primary_key=(KEY, "entered_at"),
        personal=(KEY,),
        column_docs={
            "entered_at": "The now of the build that first found the condition to hold.",
            "left_at": "The now of the build that found it to hold no more.",
        },
    )


def members(lake: Lake, name: str) -> pl.LazyFrame:
    """profile_id and entered_at of the present members of audience `name`."""
    rows = lake.open(audience_table(name)).scan()
    return rows.filter(pl.col("left_at").is_null()).select(KEY, "entered_at")


def with_memberships(lake: Lake, profiles: pl.LazyFrame, audiences: Iterable[str]) -> pl.LazyFrame:
    """`profiles` with a Boolean column a name in `audiences`, as expressions with in_audience
    read it. Raises TraitError for an audience that was never built."""
    for name in sorted(audiences):
        if not lake.open(audience_table(name)).exists():
            built = [
                key.removeprefix("audiences/")
                for key in lake.keys()  # noqa: SIM118  not a mapping
                if key.startswith("audiences/")
            ]
            raise TraitError(
                f"audience {name!r} was never built{nearest(name, built)}: build it first"
            )
        inside = members(lake, name).select(KEY, pl.lit(True).alias(member_column(name)))
        profiles = profiles.join(inside, on=KEY, how="left").with_columns(
            pl.col(member_column(name)).fill_null(False)
        )
    return profiles
