"""Whether every event that takes part stands in exactly one session."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cdp_assets.events.tables import EVENTS
from cdp_assets.lake import Lake
from cdp_assets.sessions.build import rules_of
from cdp_assets.sessions.config import SessionsConfig
from cdp_assets.sessions.cut import is_beat, taking_part
from cdp_assets.sessions.tables import PAGE_VIEWS, SESSIONS


@dataclass(frozen=True)
class Account:
    """events: all that were read. left_out: those that are no interactions of a device (server
    events, identify calls, bots …). heartbeats. interactions: the rest; in_sessions: those that
    sessions count. pages, page_views: page and screen calls, and rows of sessions/page_views."""

    events: int
    left_out: int
    heartbeats: int
    interactions: int
    in_sessions: int
    pages: int
    page_views: int

    @property
    def balanced(self) -> bool:
        """Whether nothing was lost or counted twice."""
        return self.interactions == self.in_sessions and self.pages == self.page_views


def account(lake: Lake, config: SessionsConfig) -> Account:
    """Count events, sessions and page views as they stand."""
    out = lake.open(SESSIONS)
    rules = rules_of(config, "UTC")
    taking = taking_part(rules.heartbeats)
    beat = is_beat(rules.heartbeats)
    page = pl.col("type").is_in(["page", "screen"])
    events, left_out, beats, pages = (
        lake.open(EVENTS)
        .scan(upto=out.watermark(EVENTS.key))
        .select(
            pl.len(),
            (~taking).sum().alias("out"),
            (taking & beat).sum().alias("beats"),
            (taking & page).sum().alias("pages"),
        )
        .collect(engine="streaming")
        .row(0)
    )
    counted = out.scan().select(pl.col("events").sum()).collect(engine="streaming").item()
    views = lake.open(PAGE_VIEWS).scan().select(pl.len()).collect(engine="streaming").item()
    return Account(events, left_out, beats, events - left_out - beats, counted, pages, views)
