"""Sessions by the written rules, event by event: slow, and plain to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from cdp_assets.events.hosts import site, within
from cdp_assets.sessions.config import SessionsConfig

PAGES = ("page", "screen")


def _campaign(row: dict[str, Any], config: SessionsConfig) -> tuple[Any, ...] | None:
    if _internal(row, config):
        return None
    asked = {k.lower(): v for k, v in parse_qsl(urlsplit(row["page_url"] or "").query)}
    found = [
        (row.get(f"campaign_{part}") or asked.get(f"utm_{utm}", "")).strip().lower() or None
        for part, utm in (("source", "source"), ("medium", "medium"), ("name", "campaign"))
    ]
    click = "search" if asked.get("gclid") else "social" if asked.get("fbclid") else None
    return (*found, click) if any([*found, click]) else None


def _host(url: str | None) -> str | None:
    return urlsplit(url or "").hostname


def _internal(row: dict[str, Any], config: SessionsConfig) -> bool:
    sent, page = _host(row.get("referrer")), _host(row["page_url"])
    if sent is None:
        return False
    return bool(page and site(sent) == site(page)) or within(sent, config.domains)


def _external(row: dict[str, Any], config: SessionsConfig) -> bool:
    sent = _host(row.get("referrer"))
    return (
        bool(sent)
        and not _internal(row, config)
        and not within(sent or "", config.ignore_referrers)
    )


def sessions(
    events: Iterable[dict[str, Any]], config: SessionsConfig, zone: str = "UTC"
) -> list[dict[str, Any]]:
    """The sessions of these events: visitor, session_number, started_at, ended_at, seen_until,
    events, page_views, landing_url, exit_url, user_id, origin (the event's message id or None)."""
    devices: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in events:
        if row["anonymous_id"] and "bot" not in row["flags"]:
            devices[row["anonymous_id"]].append(row)
    found = []
    for device, rows in devices.items():
        rows.sort(
            key=lambda r: (r["timestamp"], r["type"] not in PAGES, r["original_at"], r["source"],
                           r["message_id"])
        )  # fmt: skip
        found += _of_device(device, rows, config, ZoneInfo(zone))
    return sorted(found, key=lambda s: (s["visitor"], s["session_number"]))


def _of_device(
    device: str, rows: list[dict[str, Any]], config: SessionsConfig, zone: ZoneInfo
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    campaign: Any = None
    for row in rows:
        last = found[-1] if found else None
        beat = row["type"] == "track" and row["event"] in config.heartbeats
        if beat:
            if last and row["timestamp"] - last["ended_at"] <= config.timeout:
                last["seen_until"] = max(last["seen_until"], row["timestamp"])
            continue
        if row["type"] not in PAGES and not (row["type"] == "track" and row["page_url"]):
            continue
        told = _campaign(row, config)
        new = (
            last is None
            or row["timestamp"] - last["ended_at"] > config.timeout
            or (config.midnight and _day(row, zone) != last["last_day"])
            or (config.campaign_change and told is not None and told != campaign)
        )
        if new or last is None:
            campaign = None
            last = {
                "visitor": device, "session_number": len(found) + 1, "started_at": row["timestamp"],
                "seen_until": row["timestamp"], "events": 0, "page_views": 0, "user_id": None,
                "origin": None, "pages": [], "all": [],
            }  # fmt: skip
            found.append(last)
        campaign = told or campaign
        last["ended_at"], last["last_day"] = row["timestamp"], _day(row, zone)
        last["seen_until"] = max(last["seen_until"], row["timestamp"])
        last["events"] += 1
        last["all"].append(row["page_url"])
        if row["type"] in PAGES:
            last["page_views"] += 1
            last["pages"].append(row["page_url"])
        last["user_id"] = last["user_id"] or row.get("user_id")
        if last["origin"] is None and (told is not None or _external(row, config)):
            last["origin"] = row["message_id"]
    for one in found:
        seen = one.pop("pages") or one["all"]
        one["landing_url"], one["exit_url"] = (
            seen[0],
            seen[-1] if one["page_views"] else one["all"][-1],
        )
        del one["all"], one["last_day"]
    return found


def _day(row: dict[str, Any], zone: ZoneInfo) -> Any:
    return row["timestamp"].astimezone(zone).date()
