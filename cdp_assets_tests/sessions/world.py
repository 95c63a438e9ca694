"""Events of devices for the tests of sessions, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from cdp_assets.events.tables import EVENTS
from cdp_assets.lake import Lake
from cdp_assets.sessions import PAGE_VIEWS, SESSIONS
from cdp_assets.sessions.config import SessionsConfig

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
SITE = "https://www.example.com"


def at(minutes: float) -> datetime:
    """So many minutes after the start of the world."""
    return START + timedelta(minutes=minutes)


def event(
    minutes: float, url: str | None = "/", device: str | None = "d1", **more: Any
) -> dict[str, Any]:
    """One row of `events`: a page view of a device, unless `more` says otherwise.

    url: a path of the site, a whole address, or None. name: makes it a track event.
    """
    moment = at(minutes)
    name = more.pop("name", None)
    kind = more.pop("type", "track" if name else "page")
    if url is not None and url.startswith("/"):
        url = SITE + url
    row = {
        "message_id": f"{device}-{minutes}-{name}-{url}",
        "source": "web",
        "type": kind,
        "event": name,
        "anonymous_id": device,
        "original_at": moment,
        "received_at": moment,
        "timestamp": moment,
        "event_day": moment.date(),
        "page_url": url,
        "origin": "file",
        "row_number": 1,
        "flags": [],
        "payload": "{}",
    } | more
    return row | {"visitor": row["anonymous_id"] or row.get("user_id") or ""}


def send(lake: Lake, *events: dict[str, Any]) -> None:
    """Append rows to `events`."""
    lake.open(EVENTS).append(pl.DataFrame(list(events), schema=dict(EVENTS.schema)))


def config(**given: Any) -> SessionsConfig:
    """A configuration, by what defs.yaml would say."""
    return SessionsConfig.model_validate(given)


def stored(lake: Lake) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sessions and page views as they stand, in the order of their keys."""
    found = []
    for table in (SESSIONS, PAGE_VIEWS):
        rows = lake.open(table).scan().drop("_seq").collect()
        found.append(rows.sort(table.primary_key))
    return found[0], found[1]
