"""Channels, by Google's published table (support.google.com/analytics/answer/9756891)."""

from __future__ import annotations

import polars as pl
import pytest

from cdp_assets.events.hosts import bare_host, kind_of, short_name, site
from cdp_assets.sessions.channels import CHANNELS
from cdp_assets.sessions.origins import UTM, traffic

# source, medium, campaign → channel
PUBLISHED = [
    ("(direct)", "(none)", None, "Direct"),
    ("(direct)", "(not set)", None, "Direct"),
    ("google", "cpc", "Cross-Network", "Cross-network"),
    ("x", "y", "my-cross-network-ad", "Cross-network"),
    ("walmart", "cpc", None, "Paid Shopping"),
    ("somewhere", "paid", "spring-shopping", "Paid Shopping"),
    ("somewhere", "ppc", "shop now", "Paid Shopping"),
    ("google", "cpc", None, "Paid Search"),
    ("bing", "ppc", None, "Paid Search"),
    ("google", "retargeting", None, "Paid Search"),
    ("google", "paidsearch", None, "Paid Search"),
    ("facebook", "cpc", None, "Paid Social"),
    ("facebook", "paid_social", None, "Paid Social"),
    ("linkedin.com", "cpm-cpc", None, "Paid Social"),
    ("youtube", "cpv", None, "Paid Video"),
    ("youtube", "cpc", None, "Paid Video"),
    ("somewhere", "display", None, "Display"),
    ("somewhere", "banner", None, "Display"),
    ("somewhere", "interstitial", None, "Display"),
    ("somewhere", "cpm", None, "Display"),
    ("somewhere", "cpc", None, "Paid Other"),
    ("ebay", "referral", None, "Organic Shopping"),
    ("somewhere", "post", "workshop", "Unassigned"),
    ("somewhere", "post", "eshop", "Organic Shopping"),
    ("t.co", "referral", None, "Organic Social"),
    ("somewhere", "Social-Media", None, "Organic Social"),
    ("somewhere", "sm", None, "Organic Social"),
    ("vimeo.com", "referral", None, "Organic Video"),
    ("somewhere", "online-video", None, "Organic Video"),
    ("duckduckgo", "referral", None, "Organic Search"),
    ("somewhere", "organic", None, "Organic Search"),
    ("chatgpt.com", "ai-assistant", None, "AI Assistant"),
    ("somewhere", "referral", None, "Referral"),
    ("somewhere", "app", None, "Referral"),
    ("somewhere", "link", None, "Referral"),
    ("somewhere", "e-mail", None, "Email"),
    ("Email", "whatever", None, "Email"),
    ("somewhere", "e mail", None, "Email"),
    ("somewhere", "affiliate", None, "Affiliates"),
    ("somewhere", "audio", None, "Audio"),
    ("somewhere", "sms", None, "SMS"),
    ("sms", "x", None, "SMS"),
    ("somewhere", "web-push", None, "Mobile Push Notifications"),
    ("somewhere", "mobile-x", None, "Mobile Push Notifications"),
    ("firebase", "x", None, "Mobile Push Notifications"),
    ("newsletter", None, None, "Unassigned"),
    ("somewhere", "whatever", "x", "Unassigned"),
]  # fmt: skip


def _traffic(**given: str | None) -> dict[str, str | None]:
    names = ["referrer", *UTM, "click_id_type", "click_id"]
    row = pl.DataFrame(
        [{name: given.get(name) for name in names}], schema=dict.fromkeys(names, pl.String)
    )
    return traffic(row).row(0, named=True)


@pytest.mark.parametrize(("source", "medium", "campaign", "channel"), PUBLISHED)
def test_the_published_table(
    source: str | None, medium: str | None, campaign: str | None, channel: str
) -> None:
    found = _traffic(utm_source=source, utm_medium=medium, utm_campaign=campaign)
    assert found["channel"] == channel
    assert channel in CHANNELS


@pytest.mark.parametrize(
    ("referrer", "source", "medium", "channel"),
    [
        (None, "(direct)", "(none)", "Direct"),
        ("https://www.google.co.uk/", "google", "organic", "Organic Search"),
        ("https://search.yahoo.com/x", "yahoo", "organic", "Organic Search"),
        ("https://l.facebook.com/l.php", "l.facebook.com", "referral", "Organic Social"),
        ("https://www.youtube.com/watch", "youtube.com", "referral", "Organic Video"),
        ("https://www.amazon.de/", "amazon.de", "referral", "Organic Shopping"),
        ("https://chatgpt.com/", "chatgpt.com", "ai-assistant", "AI Assistant"),
        ("https://gemini.google.com/app", "gemini.google.com", "ai-assistant", "AI Assistant"),
        ("https://www.blog.example.org/x", "blog.example.org", "referral", "Referral"),
        ("android-app://com.slack/", "com.slack", "referral", "Referral"),
    ],
)
def test_of_referrers(referrer: str | None, source: str, medium: str, channel: str) -> None:
    found = _traffic(referrer=referrer)
    assert (found["source"], found["medium"], found["channel"]) == (source, medium, channel)


def test_what_is_told_of_the_referrer_itself() -> None:
    found = _traffic(referrer="https://l.facebook.com/", utm_source="news", utm_medium="email")
    assert (found["referrer_medium"], found["referrer_source"]) == ("social", "facebook")
    assert (found["source"], found["channel"]) == ("news", "Email")
    assert _traffic(referrer="https://mail.google.com/")["referrer_medium"] == "email"
    assert _traffic(referrer="https://x.org/")["referrer_medium"] == "other"


def test_sites_and_their_kinds() -> None:
    assert site("a.b.example.co.uk") == "example.co.uk"
    assert site("me.github.io") == "me.github.io"
    assert site("127.0.0.1") == "127.0.0.1"
    assert bare_host("https://Ada:x@Shop.Example.com.:8080/a?b") == "shop.example.com"
    assert kind_of("de.search.yahoo.com") == "search"
    assert kind_of("instagram") == "social"
    assert kind_of("notfacebook.com") is None
    assert short_name("t.co") == "twitter"
