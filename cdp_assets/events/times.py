"""The times of an event: reading what senders really write, and correcting wrong clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime

import polars as pl

TS = pl.Datetime("us", "UTC")
FUTURE_BOUND = timedelta(hours=24)
"""A corrected time further ahead of `received` than this is not believed."""
SKEW_BOUND = timedelta(hours=24)
"""`received` and `sent` further apart than this are flagged (the correction still applies)."""
SAME_BOUND = timedelta(seconds=1)
"""`timestamp` and `originalTimestamp` no further apart than this say the same."""
FIRST_YEAR, LAST_YEAR = 1900, 2200

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READ = (
    ("original_text", "original_own", "originalTimestamp"),
    ("timestamp_text", "timestamp_own", "timestamp"),
    ("sent_text", "sent_at", "sentAt"),
    ("received_text", "received_own", "receivedAt"),
)
# milliseconds and Z, which most SDKs write, take a quarter of the general form's time
_REGULAR = ("%Y-%m-%dT%H:%M:%S.%3fZ", "%Y-%m-%dT%H:%M:%S%.fZ")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,2})?")
_DAY = re.compile(r"(19|20|21)\d{6}")
_OFFSET = re.compile(r"\s+([+-]\d{2}:?\d{2})$")
_LEAP_SECOND = re.compile(r"(:\d\d):60")


def read_time(text: str, date_format: str | None = None) -> datetime | None:
    """The moment that `text` names, in UTC; None where it names none.

    Read are ISO 8601 (extended, basic, with a blank for T, any offset; no zone is UTC), epoch
    numbers (seconds, milliseconds, microseconds, nanoseconds, told apart by their size), eight
    digits as a day, HTTP dates and what JavaScript's Date prints. Years outside 1900 to 2200
    are not believed. `date_format` (strptime) is tried first where given.
    """
    text = text.strip()
    moment = _strptime(text, date_format) if date_format else None
    moment = moment or _iso(text) or _epoch(text) or _prose(text)
    if moment is None:
        return None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
    return moment if FIRST_YEAR <= moment.year <= LAST_YEAR else None


def _strptime(text: str, date_format: str) -> datetime | None:
    try:
        return datetime.strptime(text, date_format)
    except ValueError:
        return None


def _iso(text: str) -> datetime | None:
    if _NUMBER.fullmatch(text) and not _DAY.fullmatch(text):
        return None
    text = _OFFSET.sub(r"\1", text.upper().removesuffix(" UTC"))
    leap = _LEAP_SECOND.search(text) is not None
    try:
        moment = datetime.fromisoformat(_LEAP_SECOND.sub(r"\1:59", text) if leap else text)
    except ValueError:
        return None
    return moment + timedelta(seconds=1) if leap else moment


def _epoch(text: str) -> datetime | None:
    if not _NUMBER.fullmatch(text):
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    size = abs(number)
    # seconds reach 1e11 in the year 5138, milliseconds begin there in 1973
    unit = 10**6 if size < 10**11 else 10**3 if size < 10**14 else 1
    micros = number * unit if size < 10**17 else number / 1000
    if abs(micros) > 10**16:
        return None
    return _EPOCH + timedelta(microseconds=int(micros))


def _prose(text: str) -> datetime | None:
    # JavaScript's form first: the reader of HTTP dates takes it too, and loses its offset
    moment = _strptime(text.split(" (")[0], "%a %b %d %Y %H:%M:%S GMT%z")
    if moment is not None:
        return moment
    try:
        return parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None


def read_times(texts: pl.Series, date_format: str | None = None) -> pl.Series:
    """`texts` (String) as Datetime[us, UTC]; null where `read_time` reads none.

    What most senders write goes through the engine; the rest, once per distinct text, through
    `read_time`, whose results it equals.
    """
    times = pl.repeat(None, len(texts), dtype=TS, eager=True).alias(texts.name)
    if texts.null_count() == len(texts):
        return times
    # polars reads zone-less and epoch texts as null without a word: nulls are asked again below
    for pattern in _REGULAR if date_format is None else ():
        at = texts.str.to_datetime(pattern, strict=False, time_unit="us", ambiguous="null")
        if at.null_count() < len(texts):
            year = at.dt.year()
            if not at.is_empty() and not year.is_between(FIRST_YEAR, LAST_YEAR).all():
                at = at.set((year < FIRST_YEAR) | (year > LAST_YEAR), None)
            at = at.dt.replace_time_zone("UTC")
            times = (
                at if times.null_count() == len(times) else times.zip_with(times.is_not_null(), at)
            )
        if times.null_count() == texts.null_count():
            return times.alias(texts.name)
    missing = times.is_null() & texts.is_not_null()
    odd = texts.filter(missing).unique()
    known = {text: read_time(text, date_format) for text in odd.to_list()}
    found = pl.DataFrame(
        {"text": list(known), "at": list(known.values())}, schema={"text": pl.String, "at": TS}
    )
    filled = pl.DataFrame({"text": texts}).join(
        found, on="text", how="left", maintain_order="left"
    )["at"]
    return times.zip_with(~missing, filled).alias(texts.name)


def _read_again(frame: pl.DataFrame, text: str, date_format: str | None = None) -> pl.Series:
    """The times of a column of texts, of which a column `text`_read may hold some already."""
    texts = frame[text]
    if f"{text}_read" not in frame.columns or date_format is not None:
        return read_times(texts, date_format)
    known = frame[f"{text}_read"]
    left = texts.is_not_null() & known.is_null()
    if not left.any():
        return known
    return known.zip_with(~left, read_times(texts.set(~left, None)))


def correct(frame: pl.DataFrame, date_format: str | None = None) -> pl.DataFrame:
    """Replace the four times as sent by the four times of the table.

    frame: original_text, timestamp_text, sent_text, received_text String; first_seen
        Datetime[us, UTC]; flags List(String). original_text_read … (Datetime[us, UTC], may be
        absent): those of the texts that have been read already.
    date_format: how `timestamp` is written (strptime), where the file's owner declared it.

    Adds original_at, sent_at (null where the sender gave none that can be read), received_at
    (the line's own, else first_seen), timestamp (corrected, never null), event_day, and to
    `flags` what was done. Rule: a `timestamp` that stands beside another `originalTimestamp` was
    said by the caller or corrected by an earlier receiver, and counts (as in RudderStack's
    server, whose SDKs for servers send both); else Segment's, timestamp = received - (sent -
    original), where all three stand in the line; else the `timestamp` beside an original; else
    the original; else received. A result more than a day after received is not believed: received
    is taken. event_day is the UTC day of the original before correction, else of received.
    """
    unread = [
        pl.when(pl.col(text).is_not_null() & pl.col(time).is_null()).then(pl.lit(f"unread:{name}"))
        for text, time, name in _READ
    ]
    ahead = pl.col("corrected") > pl.col("received_at") + FUTURE_BOUND
    skewed = (pl.col("received_own") - pl.col("sent_at")).abs() > SKEW_BOUND
    timed = frame.with_columns(
        _read_again(frame, "original_text").alias("original_own"),
        _read_again(frame, "timestamp_text", date_format).alias("timestamp_own"),
        _read_again(frame, "sent_text").alias("sent_at"),
        _read_again(frame, "received_text").alias("received_own"),
    ).with_columns(
        pl.coalesce("original_own", "timestamp_own").alias("original_at"),
        pl.coalesce("received_own", "first_seen").alias("received_at"),
    )
    by_clock = pl.col("received_own") - (pl.col("sent_at") - pl.col("original_at"))
    upstream = pl.when(pl.col("original_own").is_not_null()).then(pl.col("timestamp_own"))
    apart = (pl.col("timestamp_own") - pl.col("original_own")).abs() > SAME_BOUND
    said = pl.when(apart).then(pl.col("timestamp_own"))
    done = timed.with_columns(
        pl.coalesce(said, by_clock, upstream, "original_at", "received_at").alias("corrected")
    ).with_columns(
        pl.when(ahead).then("received_at").otherwise("corrected").alias("timestamp"),
        pl.coalesce("original_at", "received_at").dt.date().alias("event_day"),
    )
    noticed = [
        *unread,
        pl.when(pl.col("original_at").is_null()).then(pl.lit("no_time")),
        pl.when(skewed).then(pl.lit("skewed")),
        pl.when(ahead).then(pl.lit("future")),
    ]
    flags = [e.alias(f"flag{i}") for i, e in enumerate(noticed)]
    if any(column.null_count() < len(column) for column in done.select(flags)):
        lists = pl.concat_list("flags", *noticed).list.drop_nulls()
        done = done.with_columns(lists.alias("flags"))
    return done.drop(
        "original_text", "timestamp_text", "sent_text", "received_text", "first_seen",
        "original_own", "timestamp_own", "received_own", "corrected",
    ).drop(
        "original_text_read", "timestamp_text_read", "sent_text_read", "received_text_read",
        strict=False,
    )  # fmt: skip
