"""Decoded events as columns, and which of their rows a careful reader has to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from cdp_assets.events.model import (
    BIG_EXPONENT_PATTERN,
    CROWDED,
    LONG_NUMBER_PATTERN,
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_ID,
    TYPES,
    Campaign,
    Context,
    Event,
    OddEvent,
    Page,
    page_of,
)

_NO_CONTEXT, _NO_PAGE, _NO_CAMPAIGN = Context(), Page(), Campaign()


def event_columns(events: Sequence[Event], rows: Sequence[int], odd: bool) -> pl.DataFrame:
    """The members of decoded events as columns of text, after `row`.

    odd: whether some of them were read by `judge`, and so may bear flags.
    """
    contexts = [e.context or _NO_CONTEXT for e in events]
    pages = [c.page or _NO_PAGE for c in contexts]
    for index, page in enumerate(pages):
        if page is _NO_PAGE and events[index].type in ("page", "screen"):
            pages[index] = page_of(events[index]) or _NO_PAGE
    campaigns = [c.campaign or _NO_CAMPAIGN for c in contexts]
    flags = _flags(events) if odd else []
    return pl.DataFrame(
        [
            pl.Series("row", rows, dtype=pl.Int64),
            _text("type", [e.type for e in events]),
            _text("event", [e.event for e in events]),
            _text("message_id", [e.message_id for e in events]),
            _text("anonymous_id", [e.anonymous_id for e in events]),
            _text("user_id", [e.user_id for e in events]),
            _text("group_id", [e.group_id for e in events]),
            _text("context_group_id", [c.group_id for c in contexts]),
            _text("original_text", [e.original_timestamp for e in events]),
            _text("timestamp_text", [e.timestamp for e in events]),
            _text("sent_text", [e.sent_at for e in events]),
            _text("received_text", [e.received_at for e in events]),
            _text("page_url", [p.url for p in pages]),
            _text("page_path", [p.path for p in pages]),
            _text("page_title", [p.title for p in pages]),
            _text("referrer", [p.referrer for p in pages]),
            _text("campaign_source", [c.source for c in campaigns]),
            _text("campaign_medium", [c.medium for c in campaigns]),
            _text("campaign_name", [c.name for c in campaigns]),
            _text("ip", [c.ip for c in contexts]),
            _text("user_agent", [c.user_agent for c in contexts]),
            pl.Series("flags", flags, dtype=pl.List(pl.String))
            if flags
            else pl.repeat([], len(events), dtype=pl.List(pl.String), eager=True).alias("flags"),
        ]
    )


def _flags(events: Sequence[Event]) -> list[list[str]]:
    if not any(e.__class__ is OddEvent for e in events):
        return []
    return [list(e.flags) if isinstance(e, OddEvent) else [] for e in events]


def _text(name: str, values: list[Any]) -> pl.Series:
    """Ids and times: text mostly, whole numbers sometimes."""
    try:
        return pl.Series(name, values, dtype=pl.String)
    except TypeError:
        texts = [v if v is None or v.__class__ is str else str(v) for v in values]
        return pl.Series(name, texts, dtype=pl.String)


def _lacking() -> pl.Expr:
    """Rows without what every event must have."""
    absent = [pl.col(c).is_null() | (pl.col(c) == "") for c in ("anonymous_id", "user_id")]
    nameless = pl.col("event").is_null() | (pl.col("event") == "")
    return (
        ~pl.col("type").is_in(sorted(TYPES))
        | (pl.col("payload").str.len_bytes() > CROWDED)
        | (absent[0] & absent[1])
        | ((pl.col("type") == "track") & nameless)
    )


def unlikely(frame: pl.DataFrame) -> pl.Series:
    """Rows without what every event must have; see `suspect` for those that have too much."""
    lacking = frame.select(_lacking().alias("suspect"))["suspect"].fill_null(True)
    return lacking | _long_numbers(frame)


def _long_numbers(frame: pl.DataFrame) -> pl.Series:
    """Rows in which there is a run of so many digits as no number may have."""
    long = frame["payload"].str.len_bytes() > MAX_DIGITS
    if not long.any():
        return long
    some = frame.filter(long)
    found = some.filter(some["payload"].str.contains(LONG_NUMBER_PATTERN))
    return frame["row"].is_in(found["row"].implode())


def suspect(frame: pl.DataFrame) -> pl.Series:
    """Rows that passed the typed decoder and are yet for `judge` to decide: it alone refuses,
    and it alone trims."""
    outer = r"^[\s\x00-\x20]|[\s\x00-\x20]$"
    text = pl.col("payload")
    brackets = text.str.count_matches("{", literal=True) + text.str.count_matches("[", literal=True)
    found = frame.select(
        (
            _lacking()
            | (
                (pl.col("type") == "track")
                & (pl.col("event").str.contains(outer)
                   | (pl.col("event").str.len_chars() > MAX_ID))
            )
            | pl.any_horizontal(
                (pl.col(c).str.contains(outer) | (pl.col(c).str.len_chars() > MAX_ID)).fill_null(
                    False
                )
                for c in ("anonymous_id", "user_id", "group_id", "context_group_id")
            )
            | pl.col("message_id").str.contains(outer).fill_null(False)
            | (brackets > MAX_DEPTH)
        ).alias("suspect")
    )  # fmt: skip
    doubtful = found["suspect"].fill_null(True) | _long_numbers(frame)
    # the cheap pattern first: the exact one takes three times as long
    maybe = frame["payload"].str.contains(r"[0-9][eE]\+?[0-9]{3}")
    if maybe.any():
        big = frame["payload"].filter(maybe).str.contains(BIG_EXPONENT_PATTERN)
        if big.any():
            doubtful |= frame["row"].is_in(frame["row"].filter(maybe).filter(big).implode())
    return doubtful
