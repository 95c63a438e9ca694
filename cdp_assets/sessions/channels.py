"""Channels, by the rules that Google publishes for its default channel group.

Source: https://support.google.com/analytics/answer/9756891 (channels for manual traffic), and for
AI Assistant the release note of 13 May 2026. The rules are tried in this order, the first that
holds counts; letters' case never matters. What Google knows of its own advertisements is known
here by click ids only: that of a search engine's advertisement is Paid Search, that of a social
network is social, and paid where the medium says so.
"""

from __future__ import annotations

import polars as pl

PAID = r"^(.*cp.*|ppc|retargeting|paid.*)$"
SHOPPING = r"^(.*(([^a-df-z]|^)shop|shopping).*)$"
MAIL = ("email", "e-mail", "e_mail", "e mail")

CLICK_IDS = {
    "gclid": "search", "gbraid": "search", "wbraid": "search", "msclkid": "search",
    "yclid": "search", "dclid": "display", "fbclid": "social", "ttclid": "social",
    "twclid": "social", "li_fat_id": "social", "igshid": "social", "rdt_cid": "social",
    "sccid": "social", "epik": "social",
}  # fmt: skip
"""Name of a click id in an address → what kind of click it tells of."""

CLICK_SOURCES = {
    "gclid": "google", "gbraid": "google", "wbraid": "google", "msclkid": "bing",
    "yclid": "yandex", "dclid": "google", "fbclid": "facebook", "ttclid": "tiktok",
    "twclid": "twitter", "li_fat_id": "linkedin", "igshid": "instagram", "rdt_cid": "reddit",
    "sccid": "snapchat", "epik": "pinterest",
}  # fmt: skip
"""Name of a click id → the source, where the address names none."""

CLICK_MEDIUMS = {"search": "cpc", "display": "display", "social": "social"}
"""Kind of click → the medium, where the address names none."""

CHANNELS = (
    "Direct", "Cross-network", "Paid Shopping", "Paid Search", "Paid Social", "Paid Video",
    "Display", "Paid Other", "Organic Shopping", "Organic Social", "Organic Video",
    "Organic Search", "AI Assistant", "Referral", "Email", "Affiliates", "Audio", "SMS",
    "Mobile Push Notifications", "Unassigned",
)  # fmt: skip


def channel(source: str, medium: str, campaign: str, kind: str, click: str) -> pl.Expr:
    """The channel, by the names of columns.

    source, medium, campaign: in small letters; (direct) and (none) or all null where nothing was
    told. kind: of the source's site (search, social, video, shopping, ai, null). click: kind of
    click id (search, display, social, null).
    """
    told, by, name = pl.col(source), pl.col(medium), pl.col(campaign)
    site, clicked = pl.col(kind), pl.col(click)
    paid = by.str.contains(PAID)
    shop = (site == "shopping") | name.str.contains(SHOPPING)
    rules: tuple[tuple[str, pl.Expr], ...] = (
        (
            "Direct",
            ((told == "(direct)") & (by.is_null() | by.is_in(["(none)", "(not set)"])))
            | (told.is_null() & by.is_null() & name.is_null() & clicked.is_null()),
        ),
        ("Cross-network", name.str.contains("cross-network", literal=True)),
        ("Paid Search", clicked == "search"),
        ("Paid Social", (clicked == "social") & paid),
        ("Organic Social", clicked == "social"),
        ("Paid Shopping", shop.fill_null(value=False) & paid),
        ("Paid Search", (site == "search") & paid),
        ("Paid Social", (site == "social") & paid),
        ("Paid Video", (site == "video") & paid),
        ("Display", by.is_in(["display", "banner", "expandable", "interstitial", "cpm"])),
        ("Paid Other", paid),
        ("Organic Shopping", shop),
        (
            "Organic Social",
            (site == "social")
            | by.is_in(
                ["social", "social-network", "social-media", "sm", "social network", "social media"]
            ),
        ),
        ("Organic Video", (site == "video") | by.str.contains("video", literal=True)),
        ("AI Assistant", by == "ai-assistant"),
        ("Organic Search", (site == "search") | (by == "organic")),
        ("Referral", by.is_in(["referral", "app", "link"])),
        ("Email", told.is_in(MAIL) | by.is_in(MAIL)),
        ("Affiliates", by == "affiliate"),
        ("Audio", by == "audio"),
        ("SMS", (told == "sms") | (by == "sms")),
        (
            "Mobile Push Notifications",
            by.str.ends_with("push") | by.str.contains("mobile|notification")
            | (told == "firebase"),
        ),
    )  # fmt: skip
    found = pl.lit("Unassigned")
    for label, rule in reversed(rules):
        found = pl.when(rule.fill_null(value=False)).then(pl.lit(label)).otherwise(found)
    return found
