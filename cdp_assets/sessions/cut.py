"""Events of devices in order, cut into sessions. Frames in, frames out.

The rules are written out in docs/sessions.md. An event takes part if it is an interaction: a page,
screen or track call of a device (anonymous_id) that names a page (page and screen calls always
do), and is no bot's. Heartbeats are none. Order is total: corrected time, page calls first, the
device's own time, source, message id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from cdp_assets.events.distinct import coded
from cdp_assets.sessions.origins import Own, campaign_code, campaigns, may_be_tagged, referrers
from cdp_assets.sessions.tables import ENRICHED

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COLUMNS = (
    "message_id", "source", "type", "event", "anonymous_id", "user_id", "original_at",
    "timestamp", "page_url", "page_path", "page_title", "referrer", "campaign_source",
    "campaign_medium", "campaign_name", "user_agent", *ENRICHED,
)  # fmt: skip
"""Columns of table events that are read (and `flags`)."""


@dataclass(frozen=True)
class Rules:
    """How events become sessions; times in microseconds."""

    timeout: int = 30 * 60 * 1_000_000
    heartbeat: int = 10 * 1_000_000
    midnight: bool = False
    campaign_change: bool = True
    zone: str = "UTC"
    own: Own = field(default_factory=Own)
    heartbeats: Sequence[str] = ()


def taking_part(heartbeats: Sequence[str]) -> pl.Expr:
    """Whether an event of table events is an interaction or a heartbeat of a device."""
    kind, page = pl.col("type"), pl.col("page_url")
    web = kind.is_in(["page", "screen"]) | ((kind == "track") & (page != ""))
    beat = (kind == "track") & pl.col("event").is_in(list(heartbeats))
    bot = pl.col("flags").list.contains("bot").fill_null(value=False)
    device = (pl.col("anonymous_id") != "").fill_null(value=False)
    return device & (web.fill_null(value=False) | beat.fill_null(value=False)) & ~bot


@dataclass(frozen=True)
class Ordered:
    """Events by device and time. rows: the place of each in `events`, in that order. device: a
    number of its device, moment: its corrected time in microseconds, beat: whether it is a
    heartbeat. Columns stay where they are, and are taken where they are wanted."""

    events: pl.DataFrame
    rows: Ints
    device: Ints
    moment: Ints
    beat: Flags


def ordered(events: pl.DataFrame, heartbeats: Sequence[str]) -> Ordered:
    """Events in the order that the module tells of."""
    late = ~is_page()
    moment = pl.col("timestamp").dt.timestamp("us") * 2 + late.cast(pl.Int64)
    # One number of device and time sorts three times as fast as two columns.
    numbers = events.select(moment.alias("at"), device_number().alias("device"))
    key = numbers.select(pl.col("device").cast(pl.Int128) * 2**64 + pl.col("at")).to_series()
    order = key.arg_sort()
    key = key.gather(order)
    alike = (key == key.shift(1)).fill_null(value=False)
    if alike.any():
        order = _settled(events, order, alike)
    first = _firsts(events, order)
    number = numbers["device"].gather(order)
    if (first & (number == number.shift(1))).any():
        # Two devices have one number: it happens in one of 100,000 builds of ten million devices.
        by = ("anonymous_id", "timestamp", late, "original_at", "source", "message_id")
        order = events.select(pl.arg_sort_by(*by, nulls_last=True)).to_series()
        first = _firsts(events, order)
    rows = order.cast(pl.Int64).to_numpy()
    return Ordered(
        events,
        rows,
        np.cumsum(first.to_numpy(), dtype=np.int64),
        events["timestamp"].dt.timestamp("us").to_numpy()[rows],
        flags_of(events, is_beat(heartbeats))[rows],
    )


def device_number() -> pl.Expr:
    """A number of the device, for sorting: not for keeping."""
    return pl.col("anonymous_id").hash().reinterpret(signed=True)


def _firsts(events: pl.DataFrame, order: pl.Series) -> pl.Series:
    """Whether an event is its device's first, in order."""
    devices = events["anonymous_id"].gather(order)
    return (devices != devices.shift(1)).fill_null(value=True)


def _settled(events: pl.DataFrame, order: pl.Series, alike: pl.Series) -> pl.Series:
    """`order` where runs of rows that are `alike` stand in the order of what else they hold."""
    member = alike | alike.shift(-1).fill_null(value=False)
    place = pl.Series("place", np.flatnonzero(member.to_numpy()))
    run = (~alike).cum_sum().filter(member).alias("run")
    rows = order.filter(member).alias("row")
    tied = events.select("original_at", "source", "message_id")[rows].with_columns(run, rows)
    tied = tied.sort("run", "original_at", "source", "message_id", nulls_last=True)
    return order.scatter(place, tied["row"])


def is_page() -> pl.Expr:
    """Whether an event is a page view."""
    return pl.col("type").is_in(["page", "screen"]).fill_null(value=False)


def is_beat(names: Sequence[str]) -> pl.Expr:
    """Whether an event is a heartbeat."""
    named = (pl.col("type") == "track") & pl.col("event").is_in(list(names))
    return named.fill_null(value=False)


def flags_of(events: pl.DataFrame, test: pl.Expr) -> Flags:
    """Of each event whether the test holds."""
    return events.select(test.fill_null(value=False).alias("holds")).to_series().to_numpy()


class Cut:
    """Interactions in order, cut into sessions.

    device, moment: of each row its device and corrected time, clock: the device's own clock along
    its session; times in microseconds. start, end: first and last row of each session. of: the
    session of each row. pages: rows that are page views. origin: of each session the row that says
    where it came from, its first row where none does; brought: whether one does, referred: whether
    it came from another site. campaign: what rows campaign_at say of theirs.
    """

    def __init__(self, all_of: Ordered, rules: Rules) -> None:
        self._events, self._rows = all_of.events, all_of.rows[~all_of.beat]
        self.device, self.moment = all_of.device[~all_of.beat], all_of.moment[~all_of.beat]
        events, rows, moment = self._events, self._rows, self.moment
        gap = np.diff(moment, prepend=moment[0])
        begins = (np.diff(self.device, prepend=-1) != 0) | (gap > rules.timeout)
        if rules.midnight:
            day = days(times(moment), rules.zone).cast(pl.Int32).to_numpy()
            begins |= np.diff(day, prepend=day[0]) != 0
        internal, external = (found[rows] for found in referrers(events, rules.own))
        at = np.flatnonzero(self.where(may_be_tagged()) & ~internal)
        told = campaigns(events[rows[at]]).with_columns(campaign_code().alias("code"))
        named = told["code"].is_not_null().to_numpy()
        self.campaign_at, self.campaign = at[named], told.filter(pl.col("code").is_not_null())
        if rules.campaign_change:
            _cut_by_campaign(begins, self.campaign_at, self.campaign["code"].to_numpy())
        self.start = np.flatnonzero(begins)
        self.end = np.append(self.start[1:], len(rows)) - 1
        self.of: Ints = np.cumsum(begins) - 1
        self.clock = np.cumsum(self._steps(gap, begins, rules.timeout))
        self.pages = np.flatnonzero(self.where(is_page()))
        told_by = external.copy()
        told_by[self.campaign_at] = True
        self.origin, self.brought = following(np.flatnonzero(told_by), self.start, self.end)
        self.referred: Flags = external[self.origin]

    def take(self, columns: Sequence[str], rows: Ints) -> pl.DataFrame:
        """Columns of some of the rows."""
        return self._events.select(columns)[self._rows[rows]]

    def where(self, test: pl.Expr) -> Flags:
        """Of each row whether the test holds."""
        return flags_of(self._events, test)[self._rows]

    def _steps(self, gap: Ints, begins: Flags, timeout: int) -> Ints:
        """Microseconds from the interaction before, in its session: by the device's own clock
        where both tell it, and it did not jump; else by corrected times, which the way through
        the network shifts."""
        own = self._events["original_at"].dt.timestamp("us").gather(self._rows)
        sender, _ = coded(self._events["source"])
        step = own.diff()
        usable = ((step >= 0) & (step <= timeout)).fill_null(value=False).to_numpy()
        usable = usable & (np.diff(sender[self._rows], prepend=-1) == 0)
        found = np.where(usable, step.fill_null(0).to_numpy(), gap)
        found[begins] = 0
        return found

    def first_page(self) -> Ints:
        """Of each session its first page view's row, else its first."""
        return following(self.pages, self.start, self.end)[0]

    def last_page(self) -> Ints:
        """Of each session its last page view's row, else its last."""
        if not len(self.pages):
            return self.end
        before = np.searchsorted(self.pages, self.end, side="right") - 1
        found = self.pages[np.maximum(before, 0)]
        return np.where((before >= 0) & (found >= self.start), found, self.end)

    def ids(self) -> pl.DataFrame:
        """visitor, session_id, month and started_at of each session."""
        first = self.take(["anonymous_id", "timestamp"], self.start)
        moment = self.moment[self.start]
        same = (np.diff(moment, prepend=-1) == 0) & (
            np.diff(self.device[self.start], prepend=-1) == 0
        )
        # Two that begin in one microsecond differ by campaign: the later ones are counted.
        twin = count_up(same)
        base = pl.concat_str(
            pl.col("anonymous_id"), pl.lit("."), pl.col("timestamp").dt.timestamp("us")
        )
        return first.with_columns(pl.Series("_twin", twin)).select(
            pl.col("anonymous_id").alias("visitor"),
            pl.when(pl.col("_twin") == 0)
            .then(base)
            .otherwise(pl.concat_str(base, pl.lit("."), pl.col("_twin") + 1))
            .alias("session_id"),
            pl.col("timestamp").dt.date().dt.month_start().alias("month"),
            pl.col("timestamp").alias("started_at"),
        )


def _cut_by_campaign(begins: Flags, at: Ints, code: npt.NDArray[np.uint64]) -> None:
    """Mark in `begins` the interactions that come by another campaign than their session."""
    if not len(at):
        return
    visit = np.cumsum(begins)[at]
    known = np.diff(visit, prepend=-1) == 0
    other = np.append(True, code[1:] != code[:-1])
    begins[at] |= ~known | other


def following(candidates: Ints, start: Ints, end: Ints) -> tuple[Ints, Flags]:
    """The first candidate row within each session, else its first row; and whether there is one."""
    if not len(candidates):
        return start, np.zeros(len(start), dtype=np.bool_)
    after = np.searchsorted(candidates, start)
    found = candidates[np.minimum(after, len(candidates) - 1)]
    inside = (after < len(candidates)) & (found <= end)
    return np.where(inside, found, start), inside


def count_up(same: Flags) -> Ints:
    """How many rows up to each one are `same` without a break."""
    index = np.arange(len(same))
    return index - np.maximum.accumulate(np.where(same, 0, index))


def times(micros: Ints) -> pl.Series:
    """Microseconds since 1970 as moments."""
    return pl.Series("at", micros).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def days(moments: pl.Series, zone: str) -> pl.Series:
    """The days of moments in a zone."""
    return moments.dt.convert_time_zone(zone).dt.date()
