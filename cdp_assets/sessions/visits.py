"""Sessions and page views as rows of their tables. Frames in, frames out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cdp_assets.events.distinct import derived
from cdp_assets.sessions.cut import (
    Cut,
    Rules,
    count_up,
    days,
    following,
    ordered,
    times,
)
from cdp_assets.sessions.heartbeats import Heartbeats
from cdp_assets.sessions.origins import UTM, host, traffic
from cdp_assets.sessions.tables import ENRICHED, PAGE_VIEWS, SESSIONS

RULES_VERSION = 1
"""Counted up where the rules of this room change, so that tables are built anew."""

ENGAGED = 10.0
"""Seconds after which GA4 calls a session engaged."""


@dataclass(frozen=True)
class Visits:
    """sessions, page_views: rows of the tables of these names. interactions, heartbeats: how many
    events went into them; unplaced: heartbeats that belong to no session."""

    sessions: pl.DataFrame
    page_views: pl.DataFrame
    interactions: int = 0
    heartbeats: int = 0
    unplaced: int = 0


def visits(events: pl.DataFrame, rules: Rules) -> Visits:
    """Sessions and page views of these events: all events of some devices that take part."""
    if events.is_empty():
        return Visits(_empty(SESSIONS.schema), _empty(PAGE_VIEWS.schema))
    if "engaged" not in events.columns:
        events = events.with_columns(pl.lit(None, dtype=pl.Float64).alias("engaged"))
    both = ordered(events, rules.heartbeats)
    if both.beat.all():
        return Visits(
            _empty(SESSIONS.schema), _empty(PAGE_VIEWS.schema), 0, events.height, events.height
        )
    cut = Cut(both, rules)
    seen = Heartbeats(cut, both, events["engaged"].to_numpy(), rules)
    beats = int(both.beat.sum())
    return Visits(
        _sessions(cut, seen, rules),
        _page_views(cut, seen, rules),
        events.height - beats,
        beats,
        seen.unplaced,
    )


def _empty(schema: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict(schema))


def _parts(urls: pl.Series) -> pl.DataFrame:
    """host, path and query of addresses."""
    url = pl.col(urls.name)
    return derived(
        urls,
        host(urls.name).alias("host"),
        url.str.extract(r"^(?:[^/?#]*//[^/?#]*)?(/[^?#]*)", 1).alias("path"),
        url.str.extract(r"\?([^#]*)", 1).alias("query"),
    )


def _sessions(cut: Cut, seen: Heartbeats, rules: Rules) -> pl.DataFrame:
    start, end = cut.start, cut.end
    ids = cut.ids()
    page = ("page_url", "page_path", "page_title")
    landing, leaving = cut.take(page, cut.first_page()), cut.take(page, cut.last_page())
    first = cut.take(["source"], start)
    devices = cut.device[start]
    number = count_up(np.diff(devices, prepend=-1) == 0) + 1
    duration = (cut.clock[end] - cut.clock[start]) / 1_000_000
    views = np.searchsorted(cut.pages, end, side="right") - np.searchsorted(cut.pages, start)
    engaged = np.zeros(len(start), dtype=np.int64)
    np.add.at(engaged, cut.of[cut.pages], seen.engaged)
    frame = ids.with_columns(
        pl.Series("session_number", number),
        first["source"].alias("source_name"),
        pl.col("visitor").alias("anonymous_id"),
        _first_of(cut, "user_id"),
        times(cut.moment[end]).alias("ended_at"),
        times(np.maximum(cut.moment[end], seen.until)).alias("seen_until"),
        days(ids["started_at"], rules.zone).alias("day"),
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
        *(_first_of(cut, name) for name in ("user_agent", *ENRICHED)),
    )
    entry, leave = _parts(frame["landing_url"]), _parts(frame["exit_url"])
    device = derived(frame["user_agent"], _device().alias("device"))["device"]
    frame = frame.with_columns(
        entry["host"].alias("landing_host"),
        entry["query"].alias("landing_query"),
        leave["host"].alias("exit_host"),
        pl.coalesce("landing_path", entry["path"]).alias("landing_path"),
        pl.coalesce("exit_path", leave["path"]).alias("exit_path"),
        device,
        device.to_frame().select(_category()).to_series().alias("device_category"),
    )
    return _with_traffic(frame, cut).select(SESSIONS.schema.keys())


def _with_traffic(frame: pl.DataFrame, cut: Cut) -> pl.DataFrame:
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
    sent = cut.take(["referrer"], cut.origin)["referrer"]
    brought = sent.zip_with(
        pl.Series(cut.referred), pl.repeat(None, len(sent), dtype=pl.String, eager=True)
    )
    found = traffic(told.with_columns(brought.alias("referrer")))
    return pl.concat([frame, found.with_columns(sent.alias("referrer"))], how="horizontal")


def _first_of(cut: Cut, column: str) -> pl.Series:
    """Of each session the first text of a column that is not empty."""
    present = np.flatnonzero(cut.where(pl.col(column) != ""))
    rows, there = following(present, cut.start, cut.end)
    return cut.take([column], rows)[column].set(pl.Series(~there), None)


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


def _page_views(cut: Cut, seen: Heartbeats, rules: Rules) -> pl.DataFrame:
    pages = cut.pages
    if not len(pages):
        return _empty(PAGE_VIEWS.schema)
    visit = cut.of[pages]
    number = count_up(np.diff(visit, prepend=-1) == 0) + 1
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
    frame = cut.take(names, pages)
    parts = _parts(frame["page_url"])
    ids = cut.ids().select("session_id", "month")[visit]
    users = _first_of(cut, "user_id")[visit]
    return frame.select(
        pl.col("anonymous_id").alias("visitor"),
        ids["session_id"],
        pl.Series("page_view_number", number),
        ids["month"],
        pl.col("message_id").alias("page_view_id"),
        pl.col("source").alias("source_name"),
        "type",
        "anonymous_id",
        pl.coalesce(pl.when(pl.col("user_id") != "").then("user_id"), users).alias("user_id"),
        "timestamp",
        days(frame["timestamp"], rules.zone).alias("day"),
        "page_url",
        parts["host"].alias("page_host"),
        pl.coalesce("page_path", parts["path"]).alias("page_path"),
        parts["query"].alias("page_query"),
        pl.coalesce("page_title", pl.when(pl.col("type") == "screen").then("event")).alias(
            "page_title"
        ),
        "referrer",
        pl.Series("seconds_on_page", spent).set(pl.Series(leaving & (spent <= 0)), None),
        pl.Series("engaged_seconds", seen.engaged),
        times(np.maximum(cut.moment[pages], seen.page_until)).alias("seen_until"),
        pl.Series("entrance", number == 1),
        pl.Series("exit", leaving),
    )
