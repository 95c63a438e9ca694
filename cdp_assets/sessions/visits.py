"""Events of devices into sessions and page views. Frames in, frames out.

The rules are written out in docs/sessions.md. An event takes part if it is an interaction: a page,
screen or track call of a device (anonymous_id) that names a page (page and screen calls always
do), and is no bot's. Heartbeats are none. Order is total: corrected time, page calls first, the
device's own time, source, message id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cdp_assets.sessions.origins import (
    UTM,
    Own,
    campaign_code,
    campaigns,
    host,
    may_be_tagged,
    referrers,
    traffic,
)
from cdp_assets.sessions.tables import PAGE_VIEWS, SESSIONS

RULES_VERSION = 1
"""Counted up where the rules of this room change, so that tables are built anew."""

ENGAGED = 10.0
"""Seconds after which GA4 calls a session engaged."""
MIN_VISIT = 5
"""Seconds that Snowplow's model grants the page view itself."""

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


@dataclass(frozen=True)
class Visits:
    """sessions, page_views: rows of the tables of these names. interactions, heartbeats: how many
    events went into them; unplaced: heartbeats that belong to no session."""

    sessions: pl.DataFrame
    page_views: pl.DataFrame
    interactions: int = 0
    heartbeats: int = 0
    unplaced: int = 0


def taking_part(heartbeats: Sequence[str]) -> pl.Expr:
    """Whether an event of table events is an interaction or a heartbeat of a device."""
    kind, page = pl.col("type"), pl.col("page_url")
    web = kind.is_in(["page", "screen"]) | ((kind == "track") & (page != ""))
    beat = (kind == "track") & pl.col("event").is_in(list(heartbeats))
    bot = pl.col("flags").list.contains("bot").fill_null(value=False)
    device = (pl.col("anonymous_id") != "").fill_null(value=False)
    return device & (web.fill_null(value=False) | beat.fill_null(value=False)) & ~bot


def visits(events: pl.DataFrame, rules: Rules) -> Visits:
    """Sessions and page views of these events: all events of some devices that take part."""
    if events.is_empty():
        return Visits(_empty(SESSIONS.schema), _empty(PAGE_VIEWS.schema))
    both = _ordered(events)
    beat = _flags(both.select(_is_beat(rules.heartbeats)))
    device: Ints = np.cumsum(_flags(both.select(_is_first())), dtype=np.int64)
    moment = both["timestamp"].dt.timestamp("us").to_numpy()
    rows = both.filter(~pl.Series(beat)) if beat.any() else both
    if rows.is_empty():
        return Visits(
            _empty(SESSIONS.schema), _empty(PAGE_VIEWS.schema), 0, both.height, both.height
        )
    cut = _Cut(rows, device[~beat], moment[~beat], rules)
    seen = _Heartbeats(cut, beat, device, moment, rules)
    return Visits(
        _sessions(cut, seen, rules),
        _page_views(cut, seen, rules),
        rows.height,
        both.height - rows.height,
        seen.unplaced,
    )


def _empty(schema: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict(schema))


def _ordered(events: pl.DataFrame) -> pl.DataFrame:
    page_first = pl.col("type").is_in(["page", "screen"])
    return events.with_columns((~page_first).alias("_late")).sort(
        "anonymous_id", "timestamp", "_late", "original_at", "source", "message_id",
        nulls_last=True,
    )  # fmt: skip


def _is_first() -> pl.Expr:
    return (pl.col("anonymous_id") != pl.col("anonymous_id").shift(1)).fill_null(value=True)


def _is_beat(names: Sequence[str]) -> pl.Expr:
    named = (pl.col("type") == "track") & pl.col("event").is_in(list(names))
    return named.fill_null(value=False)


def _flags(one: pl.DataFrame) -> Flags:
    return one.to_series().to_numpy()


class _Cut:
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
            day = _days(rows["timestamp"], rules.zone).cast(pl.Int32).to_numpy()
            begins |= np.diff(day, prepend=day[0]) != 0
        came = referrers(rows, rules.own)
        tagged = _flags(rows.select(may_be_tagged())) & ~came["internal"].to_numpy()
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
            _flags(rows.select(pl.col("type").is_in(["page", "screen"]).fill_null(value=False)))
        )
        external = came["external"].to_numpy()
        told_by = external.copy()
        told_by[self.campaign_at] = True
        self.origin, self.brought = _next(np.flatnonzero(told_by), self.start, self.end)
        self.referred: Flags = external[self.origin]

    def first_page(self) -> Ints:
        """Of each session its first page view's row, else its first."""
        return _next(self.pages, self.start, self.end)[0]

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
        twin = _count_up(same)
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


def _next(candidates: Ints, start: Ints, end: Ints) -> tuple[Ints, Flags]:
    """The first candidate row within each session, else its first row; and whether there is one."""
    if not len(candidates):
        return start, np.zeros(len(start), dtype=np.bool_)
    after = np.searchsorted(candidates, start)
    found = candidates[np.minimum(after, len(candidates) - 1)]
    inside = (after < len(candidates)) & (found <= end)
    return np.where(inside, found, start), inside


def _count_up(same: Flags) -> Ints:
    """How many rows up to each one are `same` without a break."""
    index = np.arange(len(same))
    return index - np.maximum.accumulate(np.where(same, 0, index))


def _days(times: pl.Series, zone: str) -> pl.Series:
    return times.dt.convert_time_zone(zone).dt.date()


class _Heartbeats:
    """Heartbeats on the sessions and page views that they belong to: those that come no later than
    the timeout after the device's last interaction.

    until: of each session its last heartbeat, or -1. page_until, engaged: of each page view its
    last heartbeat (or -1), and engaged seconds.
    """

    def __init__(self, cut: _Cut, beat: Flags, device: Ints, moment: Ints, rules: Rules) -> None:
        self.until = np.full(len(cut.start), -1, dtype=np.int64)
        self.page_until = np.full(len(cut.pages), -1, dtype=np.int64)
        self.engaged = np.zeros(len(cut.pages), dtype=np.int64)
        self.unplaced = 0
        if not beat.any():
            return
        last = (np.cumsum(~beat) - 1)[beat]
        when, whose = moment[beat], device[beat]
        held = last >= 0
        last = np.maximum(last, 0)
        held &= (cut.device[last] == whose) & (when - cut.moment[last] <= rules.timeout)
        self.unplaced = int((~held).sum())
        last, when = last[held], when[held]
        visit = cut.of[last]
        np.maximum.at(self.until, visit, when)
        if not len(cut.pages):
            return
        page = np.searchsorted(cut.pages, last, side="right") - 1
        on = (page >= 0) & (cut.pages[np.maximum(page, 0)] >= cut.start[visit])
        page, when = page[on], when[on]
        np.maximum.at(self.page_until, page, when)
        stretches = (
            pl.DataFrame({"page": page, "stretch": when // rules.heartbeat})
            .group_by("page")
            .agg(pl.col("stretch").n_unique())
        )
        seconds = rules.heartbeat // 1_000_000
        self.engaged[stretches["page"].to_numpy()] = (
            seconds * (stretches["stretch"].cast(pl.Int64).to_numpy() - 1) + MIN_VISIT
        )


def _time(name: str, micros: Ints) -> pl.Series:
    return pl.Series(name, micros).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _query(column: str) -> pl.Expr:
    return pl.col(column).str.extract(r"\?([^#]*)", 1)


def _sessions(cut: _Cut, seen: _Heartbeats, rules: Rules) -> pl.DataFrame:
    rows, start, end = cut.rows, cut.start, cut.end
    ids = cut.ids()
    landing = rows.select("page_url", "page_path", "page_title")[cut.first_page()]
    leaving = rows.select("page_url", "page_path", "page_title")[cut.last_page()]
    first = rows.select("source")[start]
    user, has_user = _next(_present(rows["user_id"]), start, end)
    agent, has_agent = _next(_present(rows["user_agent"]), start, end)
    devices = cut.device[start]
    number = _count_up(np.diff(devices, prepend=-1) == 0) + 1
    duration = (cut.clock[end] - cut.clock[start]) / 1_000_000
    views = np.searchsorted(cut.pages, end, side="right") - np.searchsorted(cut.pages, start)
    engaged = np.zeros(len(start), dtype=np.int64)
    np.add.at(engaged, cut.of[cut.pages], seen.engaged)
    frame = ids.with_columns(
        pl.Series("session_number", number),
        first["source"].alias("source_name"),
        pl.col("visitor").alias("anonymous_id"),
        _taken(rows["user_id"], user, has_user),
        _time("ended_at", cut.moment[end]),
        _time("seen_until", np.maximum(cut.moment[end], seen.until)),
        _days(ids["started_at"], rules.zone).alias("day"),
        pl.Series("duration_seconds", duration),
        pl.Series("engaged_seconds", engaged),
        pl.Series("page_views", views.astype(np.int64)),
        pl.Series("events", end - start + 1),
        pl.Series("bounced", (views == 1) & (end == start)),
        pl.Series("engaged", (views >= 2) | (np.maximum(duration, engaged) >= ENGAGED)),
        landing["page_url"].alias("landing_url"),
        landing["page_path"].alias("landing_path"),
        landing["page_title"].alias("landing_title"),
        leaving["page_url"].alias("exit_url"),
        leaving["page_path"].alias("exit_path"),
        leaving["page_title"].alias("exit_title"),
        _taken(rows["user_agent"], agent, has_agent),
    ).with_columns(
        host("landing_url").alias("landing_host"),
        _query("landing_url").alias("landing_query"),
        host("exit_url").alias("exit_host"),
        _device().alias("device"),
    )
    frame = frame.with_columns(_category().alias("device_category"))
    return _with_traffic(frame, cut).select(SESSIONS.schema.keys())


def _with_traffic(frame: pl.DataFrame, cut: _Cut) -> pl.DataFrame:
    """Add where each session came from: by campaign of its origin, by its referrer, or direct."""
    at = np.searchsorted(cut.campaign_at, cut.origin)
    inside = at < len(cut.campaign_at)
    by_campaign = np.zeros(len(cut.origin), dtype=np.bool_)
    by_campaign[inside] = cut.campaign_at[at[inside]] == cut.origin[inside]
    by_campaign &= cut.brought
    names = [*UTM, "click_id_type", "click_id"]
    sparse = cut.campaign.select(names)[at[by_campaign]].with_columns(
        pl.Series("_at", np.flatnonzero(by_campaign))
    )
    told = (
        pl.DataFrame({"_at": np.arange(len(cut.origin))})
        .join(sparse, on="_at", how="left", maintain_order="left")
        .drop("_at")
    )
    sent = cut.rows["referrer"][cut.origin]
    brought = sent.zip_with(
        pl.Series(cut.referred), pl.repeat(None, len(sent), dtype=pl.String, eager=True)
    )
    found = traffic(told.with_columns(brought.alias("referrer")))
    return pl.concat([frame, found.with_columns(sent.alias("referrer"))], how="horizontal")


def _present(texts: pl.Series) -> Ints:
    """The rows where a text stands."""
    return np.flatnonzero((texts != "").fill_null(value=False).to_numpy())


def _taken(texts: pl.Series, rows: Ints, there: Flags) -> pl.Series:
    return texts[rows].set(pl.Series(~there), None)


def _device() -> pl.Expr:
    """As dbt-labs/segment has it: Android where the user agent says so, else the first word of its
    parenthesis."""
    agent = pl.col("user_agent")
    word = agent.str.extract(r"\(([^ );]*)", 1)
    android = agent.str.contains("(?i)android")
    return pl.when(android).then(pl.lit("Android")).otherwise(word)


def _category() -> pl.Expr:
    device = pl.col("device")
    return (
        pl.when(device.is_in(["iPhone", "Android"])).then(device)
        .when(device.is_in(["iPad", "iPod"])).then(pl.lit("Tablet"))
        .when(device.is_in(["Windows", "Macintosh", "X11"])).then(pl.lit("Desktop"))
        .otherwise(pl.lit("Uncategorized"))
    )  # fmt: skip


def _page_views(cut: _Cut, seen: _Heartbeats, rules: Rules) -> pl.DataFrame:
    pages = cut.pages
    if not len(pages):
        return _empty(PAGE_VIEWS.schema)
    visit = cut.of[pages]
    number = _count_up(np.diff(visit, prepend=-1) == 0) + 1
    leaving = np.append(np.diff(visit) != 0, True)
    onward = np.append(cut.clock[pages[1:]], 0)
    # On the last page, until what was done there last: an interaction, or a heartbeat.
    stayed = np.maximum(
        cut.clock[cut.end[visit]] - cut.clock[pages], seen.page_until - cut.moment[pages]
    )
    spent = np.where(leaving, stayed, onward - cut.clock[pages]) / 1_000_000
    names = [
        "message_id", "source", "type", "event", "anonymous_id", "user_id", "timestamp",
        "page_url", "page_path", "page_title", "referrer",
    ]  # fmt: skip
    frame = cut.rows.select(names)[pages]
    ids = cut.ids().select("session_id", "month")[visit]
    return frame.select(
        pl.col("anonymous_id").alias("visitor"),
        ids["session_id"],
        pl.Series("page_view_number", number),
        ids["month"],
        pl.col("message_id").alias("page_view_id"),
        pl.col("source").alias("source_name"),
        "type",
        "anonymous_id",
        "user_id",
        "timestamp",
        _days(frame["timestamp"], rules.zone).alias("day"),
        "page_url",
        host("page_url").alias("page_host"),
        "page_path",
        _query("page_url").alias("page_query"),
        pl.coalesce("page_title", pl.when(pl.col("type") == "screen").then("event")).alias(
            "page_title"
        ),
        "referrer",
        pl.Series("seconds_on_page", spent).set(pl.Series(leaving & (spent <= 0)), None),
        pl.Series("engaged_seconds", seen.engaged),
        _time("seen_until", np.maximum(cut.moment[pages], seen.page_until)),
        pl.Series("entrance", number == 1),
        pl.Series("exit", leaving),
    )
