"""The tables of this room."""

from __future__ import annotations

import polars as pl

from cdp_assets.events.enrich.kinds import COLUMN_DOCS
from cdp_assets.lake import Table

TS = pl.Datetime("us", "UTC")

ENRICHED = ("browser", "os", "device_type", "country", "region", "city")
"""Columns that enrichment may add to events; of a session the first that is known."""

SESSIONS = Table(
    key="sessions",
    description="Visits of a device: its page views and other interactions without a longer pause.",
    schema={
        "visitor": pl.String(),
        "session_id": pl.String(),
        "month": pl.Date(),
        "session_number": pl.Int64(),
        "source_name": pl.String(),
        "anonymous_id": pl.String(),
        "user_id": pl.String(),
        "started_at": TS,
        "ended_at": TS,
        "seen_until": TS,
        "day": pl.Date(),
        "duration_seconds": pl.Float64(),
        "engaged_seconds": pl.Int64(),
        "page_views": pl.Int64(),
        "events": pl.Int64(),
        "bounced": pl.Boolean(),
        "engaged": pl.Boolean(),
        "landing_url": pl.String(),
        "landing_host": pl.String(),
        "landing_path": pl.String(),
        "landing_query": pl.String(),
        "landing_title": pl.String(),
        "exit_url": pl.String(),
        "exit_host": pl.String(),
        "exit_path": pl.String(),
        "exit_title": pl.String(),
        "referrer": pl.String(),
        "referrer_host": pl.String(),
        "referrer_medium": pl.String(),
        "referrer_source": pl.String(),
        "utm_source": pl.String(),
        "utm_medium": pl.String(),
        "utm_campaign": pl.String(),
        "utm_term": pl.String(),
        "utm_content": pl.String(),
        "click_id_type": pl.String(),
        "click_id": pl.String(),
        "source": pl.String(),
        "medium": pl.String(),
        "campaign": pl.String(),
        "channel": pl.String(),
        "user_agent": pl.String(),
        "device": pl.String(),
        "device_category": pl.String(),
        **dict.fromkeys(ENRICHED, pl.String()),
    },
    primary_key=("visitor", "session_id"),
    partition_by=("month",),
    cluster_by=("started_at",),
    personal=(
        "visitor", "session_id", "anonymous_id", "user_id", "landing_url", "landing_query",
        "exit_url", "referrer", "click_id", "user_agent",
    ),
    column_docs={
        "visitor": "The device: its anonymous id.",
        "session_id": "The device and the session's start in microseconds since 1970.",
        "month": "First day of the start's month (UTC); serves storage only.",
        "session_number": "1 for the device's first session, in the order of their starts.",
        "source_name": "Source of the session's first event.",
        "anonymous_id": "The same as visitor.",
        "user_id": "The first user id that an event of the session names.",
        "started_at": "The corrected time of its first interaction.",
        "ended_at": "Corrected time of its last interaction.",
        "seen_until": "Its last interaction or heartbeat.",
        "day": "Reporting day: that of the start, in the zone of sessions.",
        "duration_seconds": "From its first to its last interaction, by the device's own clock.",
        "engaged_seconds": "By heartbeats, as Snowplow counts: see sessions/page_views.",
        "page_views": "Its page and screen calls.",
        "events": "Its interactions, heartbeats not counted.",
        "bounced": "One page view and nothing else.",
        "engaged": "Two page views, or ten seconds or more (GA4's, without its key events).",
        "landing_url": "Of its first page view; without one, of its first interaction.",
        "exit_url": "Of its last page view; without one, of its last interaction.",
        "referrer": "Of the event that says where the session came from; else of its first.",
        "referrer_medium": "search, social, video, shopping, ai, email or other; null where the "
        "referrer is one's own or an ignored one.",
        "referrer_source": "The referring site's short name.",
        "utm_source": "As it came; `source` is what is compared.",
        "click_id_type": "gclid, msclkid, fbclid …",
        "source": "Folded campaign source, else the referring site, else (direct).",
        "medium": "Folded campaign medium, else organic, ai-assistant or referral, else (none).",
        "campaign": "Folded name of the campaign.",
        "channel": "By Google's default channel group.",
        "device": "First word of the user agent's parenthesis; Android where it says so.",
        "device_category": "iPhone, Android, Tablet, Desktop, Uncategorized.",
        **{name: COLUMN_DOCS[name] for name in ENRICHED},
    },
)  # fmt: skip

PAGE_VIEWS = Table(
    key="sessions/page_views",
    description="Page views (and screens) of each session, with the time spent on them.",
    schema={
        "visitor": pl.String(),
        "session_id": pl.String(),
        "page_view_number": pl.Int64(),
        "month": pl.Date(),
        "page_view_id": pl.String(),
        "source_name": pl.String(),
        "type": pl.String(),
        "anonymous_id": pl.String(),
        "user_id": pl.String(),
        "timestamp": TS,
        "day": pl.Date(),
        "page_url": pl.String(),
        "page_host": pl.String(),
        "page_path": pl.String(),
        "page_query": pl.String(),
        "page_title": pl.String(),
        "referrer": pl.String(),
        "seconds_on_page": pl.Float64(),
        "engaged_seconds": pl.Int64(),
        "seen_until": TS,
        "entrance": pl.Boolean(),
        "exit": pl.Boolean(),
    },
    primary_key=("visitor", "session_id", "page_view_number"),
    partition_by=("month",),
    cluster_by=("timestamp",),
    personal=(
        "visitor", "session_id", "anonymous_id", "user_id", "page_url", "page_query", "referrer",
    ),
    column_docs={
        "page_view_number": "1 for the session's first.",
        "month": "First day of the session's month (UTC); serves storage only.",
        "page_view_id": "The event's message id.",
        "type": "page or screen.",
        "anonymous_id": "The same as visitor.",
        "user_id": "The user id that the event names, else the first of its session.",
        "day": "Its own day, in the zone of sessions.",
        "page_title": "Of a screen without one, its name.",
        "seconds_on_page": "Until the session's next page view, by the device's own clock; of the "
        "last one until what was done there last, null where nothing was.",
        "engaged_seconds": "Heartbeat's length times the different stretches of that length that "
        "hold one, less one, plus five; 0 without heartbeats.",
        "seen_until": "Last heartbeat on it, else its own time.",
        "entrance": "The session's first page view.",
        "exit": "The session's last page view.",
    },
)  # fmt: skip

BUILDS = Table(
    key="sessions/builds",
    description="What each build took as given; counts once the commit of table sessions names "
    "its number.",
    schema={
        "build": pl.Int64(),
        "rules": pl.String(),
        "events": pl.Int64(),
    },
    primary_key=("build",),
    column_docs={
        "rules": "Digest of the configuration and of the rules' version.",
        "events": "Rows of table events that it had read, with those of the builds before.",
    },
)
