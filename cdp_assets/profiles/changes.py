"""What differs between two states of profiles, trait by trait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals as nw
import polars as pl

from cdp_assets.profiles.kinds import Kind, text_as

KEY = "profile_id"


def as_text(kind: Kind, column: pl.Expr) -> pl.Expr:
    """A trait's value as text: numbers without trailing zeros, moments in ISO 8601."""
    match kind:
        case Kind.DECIMAL:
            # All nine places are written, so the zeros at the end stand behind a point.
            return column.cast(pl.String).str.strip_chars_end("0").str.strip_suffix(".")
        case Kind.TIMESTAMP:
            return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
        case Kind.FLOAT:
            return column.cast(pl.String).str.strip_suffix(".0")
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


def as_built(
    stored: pl.LazyFrame, known: Mapping[str, Kind], wanted: Mapping[str, Kind]
) -> pl.LazyFrame:
    """profile_id and the traits of the last build of which the next one has some.

    stored: the profiles, with all columns of their table. known: the traits of the last build;
    wanted: those of the next, or of a reader. A trait that is wanted of another kind comes as text.
    """
    types = stored.collect_schema()
    columns = []
    for name, kind in known.items():
        if name not in wanted:
            continue
        beside = f"{name}__str"
        if types.get(name) == kind.polars:
            value = pl.col(name)
        elif beside in types:
            # A build that was killed had made room for the new kind.
            value = text_as(kind, beside)
        else:
            value = pl.lit(None, kind.polars)
        same = kind.polars == wanted[name].polars
        columns.append((value if same else as_text(kind, value)).alias(name))
    return stored.select(KEY, *columns)


def differences(old: pl.DataFrame, new: pl.DataFrame, traits: Mapping[str, Kind]) -> pl.DataFrame:
    """profile_id, trait, old, new (text) of every change between two states.

    traits: those of `old`, with their kinds in `new`; where `old` has text, texts are compared.
    """
    schema = {KEY: pl.Int64, "trait": pl.String, "old": pl.String, "new": pl.String}
    frames = [pl.LazyFrame(schema=schema)]
    for name, kind in traits.items():
        if old.schema[name] != kind.polars:
            new, kind = new.with_columns(as_text(kind, pl.col(name)).alias(name)), Kind.STRING
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
