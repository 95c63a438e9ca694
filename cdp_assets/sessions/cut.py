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

from cdp_assets.sessions.origins import Own, campaign_code, campaigns, may_be_tagged, referrers

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

COLUMNS = (
    "message_id", "source", "type", "event", "anonymous_id", "user_id", "original_at",
    "timestamp", "page_url", "page_path", "page_title", "referrer", "campaign_source",
    "campaign_medium", "campaign_name", "user_agent",
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


def ordered(events: pl.DataFrame) -> pl.DataFrame:
    """Events by device and time; see the module for the whole order."""
    page_first = ~pl.col("type").is_in(["page", "screen"])
    moment = pl.col("timestamp").dt.timestamp("us") * 2 + page_first.cast(pl.Int64)
    whose = pl.col("anonymous_id").hash()
    # One number of device and time sorts three times as fast as two columns.
    key = events.select(whose.cast(pl.Int128) * 2**64 + moment).to_series()
    order = key.arg_sort()
    key = key.gather(order)
    alike = (key == key.shift(1)).fill_null(value=False)
    if alike.any():
        order = _settled(events, order, alike)
    ordered = events[order]
    number = events.select(whose).to_series().gather(order)
    if (ordered.select(is_first()).to_series() & (number == number.shift(1))).any():
        # Two devices have one number: it happens in one of 100,000 builds of ten million devices.
        return events.sort(
            "anonymous_id", "timestamp", page_first, "original_at", "source", "message_id",
            nulls_last=True,
        )  # fmt: skip
    return ordered


def _settled(events: pl.DataFrame, order: pl.Series, alike: pl.Series) -> pl.Series:
    """`order` where runs of rows that are `alike` stand in the order of what else they hold."""
    member = alike | alike.shift(-1).fill_null(value=False)
    place = pl.Series("place", np.flatnonzero(member.to_numpy()))
    run = (~alike).cum_sum().filter(member).alias("run")
    rows = order.filter(member).alias("row")
    tied = events.select("original_at", "source", "message_id")[rows].with_columns(run, rows)
    tied = tied.sort("run", "original_at", "source", "message_id", nulls_last=True)
    return order.scatter(place, tied["row"])


def is_first() -> pl.Expr:
    return (pl.col("anonymous_id") != pl.col("anonymous_id").shift(1)).fill_null(value=True)


def is_beat(names: Sequence[str]) -> pl.Expr:
    named = (pl.col("type") == "track") & pl.col("event").is_in(list(names))
    return named.fill_null(value=False)


def flags_of(one: pl.DataFrame) -> Flags:
    return one.to_series().to_numpy()


class Cut:
    """Interactions in order, cut into sessions.

    rows: the interactions. moment: their corrected times, clock: seconds of the device's own clock
    along each session, both in microseconds. start, end: first and last row of each session. of:
    the session of each row. pages: rows that are page views. origin: of each session the row that
    says where it came from, its first row where none does. brought: whether one does; by_campaign:
    whether it does so by a campaign.
    """

    def __init__(self, rows: pl.DataFrame, device: Ints, moment: Ints, rules: Rules) -> None:
        self.rows, self.device, self.moment = rows, device, moment
        gap = np.diff(moment, prepend=moment[0])
        begins = (np.diff(device, prepend=-1) != 0) | (gap > rules.timeout)
        if rules.midnight:
            day = days(rows["timestamp"], rules.zone).cast(pl.Int32).to_numpy()
            begins |= np.diff(day, prepend=day[0]) != 0
        internal, external = referrers(rows, rules.own)
        tagged = flags_of(rows.select(may_be_tagged())) & ~internal
        at = np.flatnonzero(tagged)
        told = campaigns(rows[at]).with_columns(campaign_code().alias("code"))
        named = told["code"].is_not_null().to_numpy()
        self.campaign_at, self.campaign = at[named], told.filter(pl.col("code").is_not_null())
        if rules.campaign_change:
            _cut_by_campaign(begins, self.campaign_at, self.campaign["code"].to_numpy())
        self.start = np.flatnonzero(begins)
        self.end = np.append(self.start[1:], rows.height) - 1
        self.of: Ints = np.cumsum(begins) - 1
        self.clock = np.cumsum(_steps(rows, gap, begins, rules.timeout))
        self.pages = np.flatnonzero(
            flags_of(rows.select(pl.col("type").is_in(["page", "screen"]).fill_null(value=False)))
        )
        told_by = external.copy()
        told_by[self.campaign_at] = True
        self.origin, self.brought = following(np.flatnonzero(told_by), self.start, self.end)
        self.referred: Flags = external[self.origin]

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
        first = self.rows.select("anonymous_id", "timestamp")[self.start]
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


def _steps(rows: pl.DataFrame, gap: Ints, begins: Flags, timeout: int) -> Ints:
    """Microseconds from the interaction before, in its session: by the device's own clock where
    both tell it, and it did not jump; else by corrected times, which the way through the network
    shifts."""
    own = rows["original_at"].dt.timestamp("us")
    step = own.diff()
    usable = (step >= 0) & (step <= timeout) & (rows["source"] == rows["source"].shift(1))
    found = np.where(usable.fill_null(value=False).to_numpy(), step.fill_null(0).to_numpy(), gap)
    found[begins] = 0
    return found


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


def days(times: pl.Series, zone: str) -> pl.Series:
    return times.dt.convert_time_zone(zone).dt.date()
