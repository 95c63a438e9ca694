"""User agents: what they say of browser, system and device, and whether a program sent them."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any, Final

import polars as pl

from cdp_assets.events.distinct import coded
from cdp_assets.events.enrich.kinds import BOT, missing

_COLUMNS: Final = ("browser", "browser_version", "os", "os_version", "device_type")
_DESKTOP: Final = frozenset(
    {
        "Windows",
        "Mac OS X",
        "Linux",
        "Chrome OS",
        "Ubuntu",
        "Fedora",
        "FreeBSD",
        "Debian",
        "OpenBSD",
    }
)
_MOBILE: Final = frozenset(
    {"iOS", "Android", "Windows Phone", "KaiOS", "BlackBerry OS", "HarmonyOS"}
)
_TV: Final = re.compile(
    r"\b(?:smart-?tv|google ?tv|apple ?tv|hbbtv|web0s|bravia|tv)\b", re.IGNORECASE
)
_HARMLESS: Final = "http-library"
"""Of the list's kinds the one that is no sign of a bot: SDKs of apps and servers bear such names
(`okhttp`, `python-requests`)."""
_MOST: Final = 500_000

_verdicts: dict[str, bool] = {}


def described(events: pl.DataFrame) -> pl.DataFrame:
    """browser, browser_version, os, os_version, device_type of each event; by ua-parser.

    events: user_agent String. Raises EnrichError.
    """
    codes, agents = coded(events["user_agent"])
    said = [_described(agent) if agent else (None,) * len(_COLUMNS) for agent in agents]
    schema = dict.fromkeys(_COLUMNS, pl.String)
    return pl.DataFrame(said, schema=schema, orient="row")[codes]


@lru_cache(maxsize=100_000)
def _described(agent: str) -> tuple[str | None, ...]:
    parser = _parser()
    browser, system = parser.parse_user_agent(agent), parser.parse_os(agent)
    os = system.family if system else None
    return (
        browser.family if browser else None,
        _version(browser),
        os,
        _version(system),
        device_type(agent, os),
    )


def device_type(agent: str, os: str | None) -> str | None:
    """desktop, mobile, tablet or tv; None where the text does not say. A tablet that calls itself
    a Mac, as iPads do, is a desktop: the text does not tell."""
    if _TV.search(agent):
        return "tv"
    if os in _MOBILE:
        small = "Mobile" in agent or "Dalvik" in agent
        tablet = "iPad" in agent or "Tablet" in agent or (os == "Android" and not small)
        return "tablet" if tablet else "mobile"
    return "desktop" if os in _DESKTOP else None


def _version(found: Any) -> str | None:
    parts = [part for part in (found.major, found.minor) if part is not None] if found else []
    return ".".join(parts) or None


@cache
def _parser() -> Any:
    try:
        import ua_parser
    except ImportError:
        raise missing("user_agent") from None
    return ua_parser


def bots(events: pl.DataFrame) -> pl.DataFrame:
    """Whether a crawler, monitor or browser without a person sent each event: column `bot`; by the
    list crawler-user-agents, its HTTP libraries left out.

    events: user_agent String. Raises EnrichError.
    """
    codes, agents = coded(events["user_agent"])
    new = [agent for agent in agents if agent and agent not in _verdicts]
    if new:
        if len(_verdicts) > _MOST:
            _verdicts.clear()
        _verdicts.update(zip(new, _listed(new), strict=True))
    said = [bool(agent) and _verdict(agent) for agent in agents]
    return pl.Series(BOT, said, dtype=pl.Boolean).gather(codes).to_frame()


def _verdict(agent: str) -> bool:
    found = _verdicts.get(agent)
    return found if found is not None else _listed([agent])[0]  # a thread may have cleared it


def _listed(agents: list[str]) -> list[bool]:
    try:
        return pl.Series(agents, dtype=pl.String).str.contains(_pattern()).to_list()
    except pl.exceptions.ComputeError:  # a later list with patterns that only Python's `re` knows
        return [re.search(_pattern(), agent) is not None for agent in agents]


@cache
def _pattern() -> str:
    try:
        from crawleruseragents import CRAWLER_USER_AGENTS_DATA as LISTED
    except ImportError:
        raise missing("bots") from None
    patterns = [item["pattern"] for item in LISTED if _HARMLESS not in item.get("tags", ())]
    return "|".join(f"(?:{pattern})" for pattern in patterns)
