"""A block of lines as frames: the one place where event JSON becomes columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
from msgspec import Raw

from cdp_assets.events.model import (
    BIG_EXPONENT_PATTERN,
    BLANK,
    MAX_DEPTH,
    MAX_ID,
    NO_RAW,
    TYPES,
    Campaign,
    Context,
    Event,
    OddEvent,
    Page,
    Refusal,
    decode_event,
    judge,
    page_of,
)
from cdp_assets.events.tables import EVENTS, TS
from cdp_assets.events.times import correct
from cdp_assets.events.typed import TraitSpec, TypedSpec
from cdp_assets.raw.quarantine import Refusal as Refused

_NO_CONTEXT, _NO_PAGE, _NO_CAMPAIGN = Context(), Page(), Campaign()
_NULL_TEXT = pl.lit(None, pl.String)


@dataclass(frozen=True)
class Lines:
    """Consecutive lines of a file, from line `first`; one that was refused unread stands as ""
    in `lines` and as itself in `refused`."""

    first: int
    lines: Sequence[str | bytes]
    refused: Sequence[Refused] = ()


@dataclass(frozen=True)
class Origin:
    """Where lines come from and what holds for all of them."""

    source: str
    sha256: str
    first_seen: datetime
    purpose: str | None = None
    date_format: str | None = None


@dataclass
class Block:
    """Decoded lines.

    events: the columns of table `events`, and `row` Int64, unique in the block.
    typed: event → row and the columns of its properties.
    observations: row, field, value.
    lines: how many lines were judged (blank ones are not).
    """

    events: pl.DataFrame
    typed: dict[str, pl.DataFrame] = field(default_factory=dict)
    observations: pl.DataFrame = field(default_factory=pl.DataFrame)
    refused: list[Refused] = field(default_factory=list)
    lines: int = 0


def decode_block(
    lines: Lines, origin: Origin, specs: Mapping[str, TypedSpec], traits: TraitSpec
) -> Block:
    """Judge every line alone; see `Block`. Raises nothing for any content of the lines."""
    events: list[Event] = []
    numbers: list[int] = []
    odd: list[tuple[int, Event]] = []
    refused = list(lines.refused)
    texts = lines.lines
    index, count, blank = 0, len(texts), 0
    add, number = events.append, numbers.append
    while index < count:
        try:
            for index in range(index, count):  # noqa: B020 - resumes after a line that failed
                add(decode_event(texts[index]))
                number(index)
            break
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            blank += _judge_into(texts[index], lines.first + index, index, odd, refused)
            index += 1
    frame = _columns(events, numbers, texts, lines.first)
    suspects = frame["row"].filter(_suspect(frame))
    if len(suspects):
        for row in suspects.to_list():
            blank += _judge_into(texts[row], lines.first + row, row, odd, refused)
        frame = frame.filter(~pl.col("row").is_in(suspects.implode()))
        doubtful = set(suspects.to_list())
        kept = [(i, e) for i, e in zip(numbers, events, strict=True) if i not in doubtful]
        numbers, events = [i for i, _ in kept], [e for _, e in kept]
    if odd:
        odd.sort(key=lambda pair: pair[0])
        rows = [row for row, _ in odd]
        others = _columns([e for _, e in odd], rows, texts, lines.first)
        frame = pl.concat([frame, others]).sort("row")
        numbers, events = numbers + rows, events + [e for _, e in odd]
    refused.sort(key=lambda r: r.position)
    return Block(
        events=_table(frame, origin),
        typed=_typed(events, numbers, specs),
        observations=_observed(events, numbers, traits),
        refused=refused,
        lines=count - blank + len(lines.refused),
    )


def _judge_into(
    text: str | bytes, row_number: int, row: int, odd: list[tuple[int, Event]],
    refused: list[Refused],
) -> int:  # fmt: skip
    found = judge(text)
    if found is BLANK:
        return 1
    if isinstance(found, Refusal):
        payload = text if isinstance(text, bytes) else text.encode()
        refused.append(Refused(row_number, found.reason, found.detail, payload))
    elif isinstance(found, Event):
        odd.append((row, found))
    return 0


def _columns(
    events: Sequence[Event], rows: Sequence[int], texts: Sequence[str | bytes], first: int
) -> pl.DataFrame:
    contexts = [e.context or _NO_CONTEXT for e in events]
    pages = [
        c.page or (page_of(e) if e.type in ("page", "screen") else None) or _NO_PAGE
        for c, e in zip(contexts, events, strict=True)
    ]
    campaigns = [c.campaign or _NO_CAMPAIGN for c in contexts]
    lines = [texts[i] for i in rows]
    flags = [list(e.flags) if isinstance(e, OddEvent) else [] for e in events] if any(
        e.__class__ is OddEvent for e in events
    ) else None  # fmt: skip
    return pl.DataFrame(
        [
            pl.Series("row", rows, dtype=pl.Int64),
            pl.Series("type", [e.type for e in events], dtype=pl.String),
            pl.Series("event", [e.event for e in events], dtype=pl.String),
            _text("message_id", [e.message_id for e in events]),
            _text("anonymous_id", [e.anonymous_id for e in events]),
            _text("user_id", [e.user_id for e in events]),
            _text("group_id", [e.group_id for e in events]),
            _text("context_group_id", [c.group_id for c in contexts]),
            _text("original_text", [e.original_timestamp for e in events]),
            _text("timestamp_text", [e.timestamp for e in events]),
            _text("sent_text", [e.sent_at for e in events]),
            _text("received_text", [e.received_at for e in events]),
            pl.Series("page_url", [p.url for p in pages], dtype=pl.String),
            pl.Series("page_path", [p.path for p in pages], dtype=pl.String),
            pl.Series("page_title", [p.title for p in pages], dtype=pl.String),
            pl.Series("referrer", [p.referrer for p in pages], dtype=pl.String),
            pl.Series("campaign_source", [c.source for c in campaigns], dtype=pl.String),
            pl.Series("campaign_medium", [c.medium for c in campaigns], dtype=pl.String),
            pl.Series("campaign_name", [c.name for c in campaigns], dtype=pl.String),
            pl.Series("ip", [c.ip for c in contexts], dtype=pl.String),
            pl.Series("user_agent", [c.user_agent for c in contexts], dtype=pl.String),
            pl.Series("payload", lines, dtype=pl.String)
            if all(line.__class__ is str for line in lines)
            else pl.Series("payload", [_str(line) for line in lines], dtype=pl.String),
            pl.Series("flags", flags, dtype=pl.List(pl.String))
            if flags is not None
            else pl.repeat([], len(events), dtype=pl.List(pl.String), eager=True).alias("flags"),
        ]
    ).with_columns((pl.col("row") + first).alias("row_number"))


def _text(name: str, values: list[Any]) -> pl.Series:
    """Ids and times: text mostly, whole numbers sometimes."""
    try:
        return pl.Series(name, values, dtype=pl.String)
    except TypeError:
        texts = [v if v is None or v.__class__ is str else str(v) for v in values]
        return pl.Series(name, texts, dtype=pl.String)


def _str(line: str | bytes) -> str:
    return line if isinstance(line, str) else line.decode()


def _suspect(frame: pl.DataFrame) -> pl.Series:
    """Rows that passed the typed decoder and are yet for `judge` to decide: it alone refuses,
    and it alone trims."""
    outer = r"^[\s\x00-\x20]|[\s\x00-\x20]$"
    absent = [pl.col(c).is_null() | (pl.col(c) == "") for c in ("anonymous_id", "user_id")]
    text = pl.col("payload")
    brackets = text.str.count_matches("{", literal=True) + text.str.count_matches("[", literal=True)
    found = frame.select(
        (
            ~pl.col("type").is_in(sorted(TYPES))
            | (absent[0] & absent[1])
            | (
                (pl.col("type") == "track")
                & (pl.col("event").is_null() | pl.col("event").str.contains(outer)
                   | (pl.col("event") == "") | (pl.col("event").str.len_chars() > MAX_ID))
            )
            | pl.any_horizontal(
                (pl.col(c).str.contains(outer) | (pl.col(c).str.len_chars() > MAX_ID)).fill_null(
                    False
                )
                for c in ("anonymous_id", "user_id", "group_id", "context_group_id")
            )
            | pl.col("message_id").str.contains(outer).fill_null(False)
            | (brackets > MAX_DEPTH)
            | text.str.contains(BIG_EXPONENT_PATTERN)
        ).alias("suspect")
    )  # fmt: skip
    return found["suspect"].fill_null(True)


def _table(frame: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """The columns of table `events`, and `row`."""
    named = frame.with_columns(
        *(pl.col(c).replace("", None) for c in ("anonymous_id", "user_id")),
        pl.coalesce(
            pl.col("group_id").replace("", None), pl.col("context_group_id").replace("", None)
        ).alias("group_id"),
        pl.when(pl.col("type") == "track").then("event").alias("event"),
        pl.lit(origin.first_seen, TS).alias("first_seen"),
    )
    return correct(named, origin.date_format).select(
        "row",
        pl.coalesce(
            pl.col("message_id").replace("", None),
            pl.lit(f"{origin.sha256}:") + pl.col("row_number").cast(pl.String),
        ).alias("message_id"),
        pl.lit(origin.source).alias("source"),
        pl.coalesce("anonymous_id", "user_id", pl.lit("")).alias("visitor"),
        pl.lit(origin.purpose, pl.String).alias("purpose"),
        pl.lit(origin.sha256).alias("origin"),
        *(
            c
            for c in EVENTS.schema
            if c not in ("message_id", "source", "visitor", "purpose", "origin")
        ),
    ).select("row", *EVENTS.schema)  # fmt: skip


def _typed(
    events: Sequence[Event], rows: Sequence[int], specs: Mapping[str, TypedSpec]
) -> dict[str, pl.DataFrame]:
    if not specs:
        return {}
    found: dict[str, tuple[list[int], list[Raw]]] = {}
    for row, event in zip(rows, events, strict=True):
        name = event.event
        if name is not None and name in specs and event.type == "track":
            at = found.setdefault(name, ([], []))
            at[0].append(row)
            at[1].append(event.properties)
    return {name: specs[name].decode(*at) for name, at in found.items()}


def _observed(events: Sequence[Event], rows: Sequence[int], traits: TraitSpec) -> pl.DataFrame:
    pairs = (
        [(r, e) for r, e in zip(rows, events, strict=True) if e.type == "identify"]
        if traits.fields
        else []
    )
    told = traits.decode(
        [e.traits for _, e in pairs],
        [e.context.traits if e.context is not None else NO_RAW for _, e in pairs],
    )
    row = pl.Series("row", [r for r, _ in pairs], dtype=pl.Int64)
    return told.select(row.gather(told["index"]), "field", "value")
