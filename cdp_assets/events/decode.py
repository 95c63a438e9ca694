"""A block of lines as frames: the one place where event JSON becomes columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import msgspec
import numpy as np
import polars as pl

from cdp_assets.events.columns import suspect, unlikely
from cdp_assets.events.enrich import COLUMNS, Enrichments
from cdp_assets.events.gathered import Gathered
from cdp_assets.events.landed import LandedLines, with_heads
from cdp_assets.events.lines import Lines
from cdp_assets.events.model import (
    BLANK,
    Event,
    Refusal,
    decode_event,
    decode_lines,
    judge,
    skip_lines,
)
from cdp_assets.events.plan.judge import judged
from cdp_assets.events.plan.rules import Plan
from cdp_assets.events.spans import ENVELOPE, PROPERTIES, TIMES, Fields, Spans
from cdp_assets.events.tables import EVENTS, TS
from cdp_assets.events.times import correct
from cdp_assets.events.transform import Transform, Transformed, restored, transformed
from cdp_assets.events.typed import TraitSpec, TypedSpec
from cdp_assets.raw.quarantine import Refusal as Refused

SOME = 1_000
"""Events decoded before their columns are made: few enough to stay in the processor's cache."""
_NULL_TEXT = pl.lit(None, pl.String)
_NOTHING_ADDED = Enrichments()


@dataclass(frozen=True)
class Origin:
    """Where lines come from and what holds for all of them.

    minted: what message ids are minted from, where it is not the file's SHA-256: that of an earlier
    version of it, or a segment's name.
    purposes: of landed lines, whose source stands on each: source → what its events are for.
    plans: source → what its events are judged by, of those that have a tracking plan.
    transforms: source → what makes its lines what is judged, of those that have one.
    enrich: what is added to the events of each source.
    """

    source: str
    sha256: str
    first_seen: datetime
    purpose: str | None = None
    date_format: str | None = None
    minted: str | None = None
    purposes: Mapping[str, str | None] = field(default_factory=dict)
    plans: Mapping[str, Plan] = field(default_factory=dict)
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    enrich: Enrichments = _NOTHING_ADDED


@dataclass
class Block:
    """Decoded lines.

    events: the columns of table `events`, and `row` Int64, unique in the block.
    typed: event → row and the columns of its properties.
    observations: row, field, value.
    lines: how many lines were judged (blank ones are not). size: bytes of the lines.
    source_at: of landed lines, which come from several sources: line number → source.
    dropped: event → how many its tracking plan says not to keep.
    discarded: source → lines that its transformation dropped. days: UTC days of those lines,
    and of others that are not among the events.
    split: how many more outcomes there are than lines, as transformations split some:
    lines + split = events + refused + dropped + discarded.
    accounts: of landed lines, see `accounts.of_block`.
    """

    events: pl.DataFrame
    typed: dict[str, pl.DataFrame] = field(default_factory=dict)
    observations: pl.DataFrame = field(default_factory=pl.DataFrame)
    refused: list[Refused] = field(default_factory=list)
    lines: int = 0
    size: int = 0
    source_at: Callable[[int], str] | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    discarded: Mapping[str, int] = field(default_factory=dict)
    days: frozenset[date] = frozenset()
    split: int = 0
    accounts: pl.DataFrame | None = None


def decode_block(
    lines: Lines, origin: Origin, specs: Mapping[str, TypedSpec], traits: TraitSpec
) -> Block:
    """Judge every line alone, after its source's transformation; see `Block`. Raises nothing for
    any content of the lines."""
    if origin.transforms:
        seed = origin.minted or origin.sha256
        found = transformed(lines, origin.source, origin.transforms, seed)
        if found is not None:
            return _after(found, lines, replace(origin, transforms={}), specs, traits)
    refused = list(lines.refused)
    odd: list[tuple[int, Event]] = []
    blank = 0
    read = _at_once(lines, specs, traits)
    if read is None:
        gathered = Gathered(specs, traits)
        events, rows, odd, blank = _one_by_one(lines, refused)
        gathered.add(events, rows)
        frame = gathered.frame(lines.texts(rows))
        read = frame, gathered.typed(), gathered.told(), suspect(frame)
    frame, typed, told, doubtful = read
    suspects = frame["row"].filter(doubtful).to_list()
    if suspects:
        texts = lines.lines()
        for row in suspects:
            blank += _judge_into(texts[row], lines.number(row), row, odd, refused)
        sound = ~pl.col("row").is_in(suspects)
        frame, told = frame.filter(sound), told.filter(sound)
        typed = {event: rows.filter(sound) for event, rows in typed.items()}
    if odd:
        odd.sort(key=lambda pair: pair[0])
        others = Gathered(specs, traits)
        places = [row for row, _ in odd]
        others.add([event for _, event in odd], places, odd=True)
        frame = pl.concat([frame, others.frame(lines.texts(places))], how="diagonal").sort("row")
        told = pl.concat([told, others.told()])
        for event, part in others.typed().items():
            typed[event] = pl.concat([typed[event], part]) if event in typed else part
    refused.sort(key=lambda r: r.position)
    block = Block(
        events=_table(frame, lines, origin),
        typed=typed,
        observations=told,
        refused=refused,
        lines=len(lines) - blank + lines.unread,
        size=len(lines.data),
        source_at=lines.source if isinstance(lines, LandedLines) else None,
    )
    if origin.plans:
        block = judged(block, origin.plans)
    return replace(block, events=origin.enrich.add(block.events)) if origin.enrich else block


def _after(
    found: Transformed,
    lines: Lines,
    origin: Origin,
    specs: Mapping[str, TypedSpec],
    traits: TraitSpec,
) -> Block:
    """The block of lines that were transformed; its refusals are of the lines as sent."""
    block = decode_block(found.lines, origin, specs, traits)
    flag = pl.Series(found.flags, dtype=pl.String).gather(block.events["row"])
    flags = block.events["flags"].to_frame().select(
        pl.when(flag.is_not_null()).then(pl.concat_list("flags", flag)).otherwise("flags")
    )  # fmt: skip
    refused = restored(block.refused, lines)
    days = frozenset[date]()
    if len(found.gone):
        plainly = replace(origin, plans={}, enrich=_NOTHING_ADDED)
        gone = decode_block(found.gone, plainly, {}, TraitSpec(()))
        days = frozenset(gone.events["event_day"].unique().to_list())
    return replace(
        block,
        events=block.events.with_columns(flags["flags"]),
        refused=refused,
        lines=block.lines - found.added + sum(found.dropped.values()),
        size=max(block.size, len(lines.data)),
        source_at=lines.source if isinstance(lines, LandedLines) else None,
        discarded=found.dropped,
        days=block.days | days,
        split=found.added - (len(block.refused) - len(refused)),
    )


_Read = tuple[pl.DataFrame, dict[str, pl.DataFrame], pl.DataFrame, pl.Series]
"""Events' columns with their lines, event → properties, traits told, which rows are suspect."""


def _at_once(lines: Lines, specs: Mapping[str, TypedSpec], traits: TraitSpec) -> _Read | None:
    """A block in which every line is one object as the typed decoder likes it; None where a line
    has to be looked at alone."""
    if not lines.even:
        return None
    names = [name for spec in specs.values() for name in spec.columns]
    told = [name for name, _ in traits.members]
    if any("." in name for name in (*names, *told)):
        gathered = Gathered(specs, traits)
        if not _decoded(lines, gathered):
            return None
        frame = gathered.frame(lines.column())
        return frame, gathered.typed(), gathered.told(), suspect(frame)
    if not _sound(lines):
        return None
    spans = Spans(lines, Fields(names, told))
    slow = spans.slow()
    gathered = Gathered(specs, traits)
    events = []
    for row in slow.tolist():
        line = lines.data[lines.starts[row] : lines.ends[row]]
        try:
            events.append(decode_event(line))
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            # `judge` will read it; until then it is here as an event without anything
            events.append(Event())
    if events:
        gathered.add(events, slow.tolist())
    return _spanned(lines, spans, slow, gathered, specs, traits)


def _sound(lines: Lines) -> bool:
    """Whether every line of an even block is one JSON object."""
    data = memoryview(lines.data)
    for first in range(0, len(lines), SOME):
        last = min(first + SOME, len(lines))
        part = data[lines.starts[first] : lines.ends[last - 1] + 1]
        try:
            found = skip_lines(part)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return False
        # every line begins with { and ends with }, so no object runs over a line's end, and with
        # as many objects as lines no line holds two
        if len(found) != last - first:
            return False
    return True


def _decoded(lines: Lines, gathered: Gathered) -> bool:
    """Let the typed decoder read the whole block; False where it does not like a line."""
    if not _sound(lines):
        return False
    data = memoryview(lines.data)
    for first in range(0, len(lines), SOME):
        last = min(first + SOME, len(lines))
        try:
            events = decode_lines(data[lines.starts[first] : lines.ends[last - 1] + 1])
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return False
        gathered.add(events, range(first, last))
    return True


def _spanned(
    lines: Lines,
    spans: Spans,
    slow: np.ndarray[Any, np.dtype[Any]],
    gathered: Gathered,
    specs: Mapping[str, TypedSpec],
    traits: TraitSpec,
) -> _Read:
    """Columns over the lines' own bytes; the rows that are `slow` from what was gathered."""
    payload = lines.column()
    frame = pl.DataFrame(
        [
            pl.int_range(len(lines), dtype=pl.Int64, eager=True).alias("row"),
            *map(spans.envelope, ENVELOPE),
            *(spans.moment(name).alias(f"{name}_read") for name in TIMES),
            pl.repeat([], len(lines), dtype=pl.List(pl.String), eager=True).alias("flags"),
            payload.alias("payload"),
            pl.Series("marked", spans.marked()),
        ]
    )
    if len(slow):
        frame = frame.filter(~pl.col("row").is_in(slow))
    typed: dict[str, pl.DataFrame] = {}
    tracks = frame["type"] == "track"
    for event, spec in specs.items():
        rows = frame["row"].filter((tracks & (frame["event"] == event)).fill_null(False)).to_numpy()
        if len(rows):
            texts = {name: spans.plain(PROPERTIES, name, rows) for name in spec.columns}
            typed[event] = spec.columns_of(pl.Series("row", rows, dtype=pl.Int64), texts)
    identifies = frame["row"].filter((frame["type"] == "identify").fill_null(False)).to_numpy()
    told = traits.rows_of(
        {field: spans.told(name, identifies) for name, field in traits.members}
        if len(identifies)
        else {}
    )
    doubtful = unlikely(frame) | frame["marked"]
    if doubtful.any():
        some = frame.filter(doubtful)
        doubtful = frame["row"].is_in(some["row"].filter(suspect(some)).implode())
    frame = frame.drop("marked")
    if len(slow):
        others = gathered.frame(payload.gather(slow))
        doubtful = pl.concat([doubtful, suspect(others)])
        frame = (
            pl.concat([frame, others], how="diagonal")
            .with_columns(doubtful.alias("suspect"))
            .sort("row")
        )
        doubtful = frame["suspect"]
        frame = frame.drop("suspect")
        told = pl.concat([told, gathered.told()])
        for event, part in gathered.typed().items():
            typed[event] = pl.concat([typed[event], part]) if event in typed else part
    return frame, typed, told, doubtful


def _one_by_one(
    lines: Lines, refused: list[Refused]
) -> tuple[list[Event], list[int], list[tuple[int, Event]], int]:
    """Events and their rows, the events that `judge` had to read, how many lines are blank."""
    events: list[Event] = []
    rows: list[int] = []
    odd: list[tuple[int, Event]] = []
    texts = lines.lines()
    unread = {r.position for r in lines.refused}
    index, blank = 0, 0
    while index < len(texts):
        try:
            for index in range(index, len(texts)):  # noqa: B020 - goes on after one that failed
                text = texts[index]
                if isinstance(text, bytes):
                    break  # not UTF-8, which the typed decoder does not look for everywhere
                events.append(decode_event(text))
                rows.append(index)
            else:
                break
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            pass
        if lines.number(index) not in unread:
            blank += _judge_into(texts[index], lines.number(index), index, odd, refused)
        index += 1
    return events, rows, odd, blank


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


def _table(frame: pl.DataFrame, lines: Lines, origin: Origin) -> pl.DataFrame:
    """The columns of table `events`, and `row`."""
    numbers = lines.number_of(frame["row"])
    if isinstance(lines, LandedLines):
        frame = with_heads(frame, lines.heads[frame["row"]])
        of_source = pl.col("source")
        purpose = of_source.replace_strict(
            list(origin.purposes), list(origin.purposes.values()), default=None,
            return_dtype=pl.String,
        )  # fmt: skip
    else:
        of_source = pl.lit(origin.source)
        purpose = pl.lit(origin.purpose, pl.String)
    named = frame.with_columns(
        *(pl.col(c).replace("", None) for c in ("anonymous_id", "user_id", "message_id")),
        pl.coalesce(
            pl.col("group_id").replace("", None), pl.col("context_group_id").replace("", None)
        ).alias("group_id"),
        pl.when(pl.col("type") == "track").then("event").alias("event"),
        numbers.alias("row_number"),
        pl.lit(origin.first_seen, TS).alias("first_seen"),
    )
    if named["message_id"].has_nulls():
        minted = pl.lit(f"{origin.minted or origin.sha256}:") + pl.col("row_number").cast(pl.String)
        named = named.with_columns(pl.coalesce("message_id", minted).alias("message_id"))
    return (
        correct(named, origin.date_format)
        .with_columns(
            of_source.alias("source"),
            pl.coalesce("anonymous_id", "user_id", pl.lit("")).alias("visitor"),
            purpose.alias("purpose"),
            pl.lit(origin.sha256).alias("origin"),
            *(pl.lit(None, dtype).alias(column) for column, dtype in COLUMNS.items()),
        )
        .select("row", *EVENTS.schema)
    )
