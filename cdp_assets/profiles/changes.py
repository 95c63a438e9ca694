"""What differs between two states of profiles, trait by trait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import polars as pl

from cdp_assets.profiles.kinds import Kind

KEY = "profile_id"


def as_text(kind: Kind, column: pl.Expr) -> pl.Expr:
    """A trait's value as text: numbers without trailing zeros, moments in ISO 8601."""
    match kind:
        case Kind.DECIMAL:
            # All nine places are written, so the zeros at the end stand behind a point.
            return column.cast(pl.String).str.strip_chars_end("0").str.strip_suffix(".")
        case Kind.TIMESTAMP:
            return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
        case _:
            return column.cast(pl.String)


def changed(old: nw.LazyFrame[Any], new: nw.LazyFrame[Any], trait: str) -> nw.LazyFrame[Any]:
    """profile_id, old and new of the profiles whose `trait` differs.

    old: profile_id and `trait` of profiles before; new: the same since. A profile that is in
    `old` alone is gone and has no change of its own.
    """
    before = old.select(KEY, nw.col(trait).alias("old"))
    both = new.select(KEY, nw.col(trait).alias("new")).join(before, on=KEY, how="left")
    was, since = nw.col("old"), nw.col("new")
    differs = (was != since).fill_null(value=False) | (was.is_null() != since.is_null())
    return both.filter(differs).select(KEY, "old", "new")


def differences(old: pl.DataFrame, new: pl.DataFrame, traits: Mapping[str, Kind]) -> pl.DataFrame:
    """profile_id, trait, old, new (text) of every change between two states."""
    schema = {KEY: pl.Int64, "trait": pl.String, "old": pl.String, "new": pl.String}
    frames = [pl.LazyFrame(schema=schema)]
    for name, kind in traits.items():
        found = nw.to_native(changed(nw.from_native(old.lazy()), nw.from_native(new.lazy()), name))
        frames.append(
            found.select(
                KEY,
                pl.lit(name).alias("trait"),
                as_text(kind, pl.col("old")).alias("old"),
                as_text(kind, pl.col("new")).alias("new"),
            )
        )
    return pl.concat(frames).sort(KEY, "trait").collect()
