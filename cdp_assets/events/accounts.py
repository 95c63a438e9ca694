"""What became of landed events, by source and hour of receipt: in = stored + duplicates +
quarantined + left out, told from each line's own fate, not from totals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cdp_assets.events.landed import LandedLines
from cdp_assets.events.tables import TS

if TYPE_CHECKING:
    from cdp_assets.events.decode import Block

BY = ("source", "hour")
COUNTS = ("read", "stored", "duplicates", "quarantined", "left_out")
SCHEMA = {"source": pl.String(), "hour": TS, **dict.fromkeys(COUNTS, pl.Int64())}
"""hour: in which the collector received them. left_out: lines of which nothing came, as a tracking
plan or a transformation wants it; more of them than those say they left out were lost."""


def of_block(lines: LandedLines, block: Block) -> pl.DataFrame:
    """The columns of SCHEMA for a block: what was read, what of it is in quarantine, and what left
    nothing behind. Stored and duplicates are told where they are, by `of_events`."""
    numbers = lines.number_of(pl.int_range(len(lines), dtype=pl.Int64, eager=True))
    refused = pl.Series([r.position for r in block.refused], dtype=pl.Int64).unique()
    in_quarantine = numbers.is_in(refused.implode())
    there = pl.Series(np.asarray(lines.ends - lines.starts) > 0) | in_quarantine
    made = numbers.is_in(block.events["row_number"].unique().implode())
    rows = pl.DataFrame(
        {
            "source": lines.heads["source"],
            "hour": lines.heads["received"].dt.truncate("1h"),
            "read": there.cast(pl.Int64),
            "quarantined": in_quarantine.cast(pl.Int64),
            "left_out": (there & ~in_quarantine & ~made).cast(pl.Int64),
        }
    )
    return total([rows])


def of_events(events: pl.DataFrame, new: pl.DataFrame, origins: Sequence[str]) -> pl.DataFrame:
    """The columns of SCHEMA for events of these origins: how many are new, and how many known."""

    def counted(frame: pl.DataFrame, name: str) -> pl.DataFrame:
        hour = pl.col("received_at").dt.truncate("1h").alias("hour")
        own = frame.filter(pl.col("origin").is_in(list(origins)))
        return own.group_by("source", hour).agg(pl.len().cast(pl.Int64).alias(name))

    both = counted(events, "all").join(counted(new, "stored"), on=BY, how="left")
    stored = pl.col("stored").fill_null(0)
    return total([both.with_columns(stored, duplicates=pl.col("all") - stored).drop("all")])


def total(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Counts added up, by source and hour."""
    whole = pl.concat([pl.DataFrame(schema=SCHEMA), *parts], how="diagonal")
    return whole.group_by(BY).agg(pl.col(COUNTS).fill_null(0).sum()).sort(BY)
