"""The kinds of enrichment, their columns and the libraries behind them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Final, Literal

import polars as pl
from pydantic import Field

Kind = Literal["user_agent", "bots", "place", "referrer", "currency"]

BOT: Final = "bot"
"""In `flags` of events that a crawler or another program sent: sessions, identity and profiles
leave them out."""
UNKNOWN_CURRENCY: Final = "unknown_currency"

COLUMNS: Final[Mapping[str, pl.DataType]] = {
    "browser": pl.String(), "browser_version": pl.String(), "os": pl.String(),
    "os_version": pl.String(), "device_type": pl.String(), "country": pl.String(),
    "region": pl.String(), "city": pl.String(), "referrer_class": pl.String(),
    "currency": pl.String(), "enriched": pl.String(),
}  # fmt: skip
"""Columns of table `events` that enrichment fills; null where it is off or knows nothing."""

COLUMN_DOCS: Final[Mapping[str, str]] = {
    "browser": "Family of the browser, by the user agent (enrichment user_agent).",
    "browser_version": "Its version, major and minor.",
    "os": "Family of the operating system, by the user agent.",
    "os_version": "Its version, major and minor.",
    "device_type": "desktop, mobile, tablet or tv, by the user agent.",
    "country": "ISO 3166-1 code of the address's country (enrichment place).",
    "region": "ISO 3166-2 code of its first subdivision, without the country.",
    "city": "English name of its city; null for an address that was truncated too far for it.",
    "referrer_class": "internal, search, social, video, shopping, ai, email or referral "
    "(enrichment referrer); null without a referrer.",
    "currency": "ISO 4217 code in properties.currency (enrichment currency); null for any other "
    "text, which is flagged unknown_currency.",
    "enriched": "What enriched the event, with versions; null where nothing did.",
}

_LIBRARIES: Final[Mapping[str, str]] = {
    "user_agent": "ua-parser-builtins",
    "bots": "crawler-user-agents",
    "place": "maxminddb",
    "referrer": "tldextract",
    "currency": "babel",
}

Enrich = Annotated[
    list[Kind],
    Field(
        default_factory=list,
        description="What is added to its events as they are ingested, by libraries of the extra "
        "`enrich`: user_agent (browser, os, device_type), bots (flag `bot`, which sessions, "
        "identity and profiles leave out), place (country, region, city of the address, by "
        "CDP_GEO_DATABASE), referrer (referrer_class), currency (the ISO code). By default none.",
    ),
]
"""The attribute of sources."""


class EnrichError(Exception):
    """A library or file is missing, or no database of places. Its text says what to do."""


def missing(kind: str) -> EnrichError:
    """The error for a kind whose library is not installed."""
    return EnrichError(
        f"`{kind}` needs {_LIBRARIES[kind]}, which is not installed: "
        "pip install 'cdp-assets[enrich]'"
    )


@cache
def version_of(kind: str) -> str:
    """The version of a kind's library. Raises EnrichError where it is not installed."""
    try:
        return f"{_LIBRARIES[kind]} {version(_LIBRARIES[kind])}"
    except PackageNotFoundError:
        raise missing(kind) from None
