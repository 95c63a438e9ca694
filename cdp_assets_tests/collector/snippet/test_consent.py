"""Nothing is kept or sent before it may be; decisions are remembered; signals of browsers hold."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, Page

from cdp_assets_tests.collector.snippet.site import Site

REQUIRED = {"consent": {"required": True}}
GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {get: () => true})"
DNT = "Object.defineProperty(Navigator.prototype, 'doNotTrack', {get: () => '1'})"


def _stored(page: Page, visitor: BrowserContext) -> set[str]:
    keys = page.evaluate("Object.keys(localStorage).map(n => n.replace(/^(cdp:q):.*/, '$1'))")
    return {cookie["name"] for cookie in visitor.cookies()} | set(keys)


def _quiet(site: Site, page: Page) -> None:
    """Long enough for anything to have been sent."""
    page.evaluate("cdp.flush && cdp.flush()")
    page.wait_for_timeout(400)
    assert site.posts == []


def test_before_a_decision_nothing_is_kept_or_sent(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    site.options = REQUIRED
    page.goto(site.url("/?utm_source=mail"))
    page.evaluate("cdp.identify('u1').track('Early')")
    page.click("#buy")
    _quiet(site, page)
    assert _stored(page, visitor) == set()

    page.evaluate("cdp.consent({analytics: true, marketing: false})")
    site.named(page, "Consent Updated")
    events = site.events()
    assert [e.get("event") or e["type"] for e in events] == [
        "page", "identify", "Early", "Plan Chosen", "Consent Updated",
    ]  # fmt: skip
    assert len({event["anonymousId"] for event in events}) == 1
    assert all(
        event["context"]["consent"]
        == {"categoryPreferences": {"analytics": True, "marketing": False}}
        for event in events
    )
    assert events[0]["context"]["campaign"] == {"source": "mail"}
    assert _stored(page, visitor) >= {"cdp_id", "cdp_consent"}

    page.goto(site.url("/second"))
    assert site.named(page, "page", 2)[1]["anonymousId"] == events[0]["anonymousId"]


def test_a_no_holds_on_the_next_page_and_a_later_yes_counts_from_then(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    site.options = REQUIRED
    page.goto(site.url())
    page.evaluate("cdp.track('Held'); cdp.consent({analytics: false})")
    page.goto(site.url("/second"))
    page.evaluate("cdp.track('Refused')")
    _quiet(site, page)
    assert _stored(page, visitor) == {"cdp_consent"}
    page.evaluate("cdp.consent({analytics: true}).track('Now')")
    site.named(page, "Now")
    assert {e.get("event") for e in site.events()} == {"Consent Updated", "Now"}


def test_consent_taken_back_is_told_and_forgets_the_visitor(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    page.goto(site.url())
    (first,) = site.named(page, "page")
    visitor.set_offline(True)
    page.evaluate("cdp.track('Unsent').consent({analytics: false}).track('Refused')")
    page.wait_for_timeout(300)
    visitor.set_offline(False)
    (told,) = site.named(page, "Consent Updated")
    assert told["anonymousId"] == first["anonymousId"]
    assert told["context"]["consent"] == {"categoryPreferences": {"analytics": False}}
    page.wait_for_timeout(300)
    assert len(site.events()) == 2
    site.until(page, lambda: _stored(page, visitor) == {"cdp_consent"})


def test_a_decision_in_one_tab_holds_in_the_others(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    site.options = REQUIRED
    page.goto(site.url("/second"))
    other = visitor.new_page()
    other.goto(site.url())
    other.evaluate("cdp.consent({Analytics: true})")
    pages = site.named(page, "page", 2)
    assert {event["properties"]["path"] for event in pages} == {"/", "/second"}
    assert len({event["anonymousId"] for event in pages}) == 1
    other.evaluate("cdp.consent({analytics: false})")
    page.wait_for_timeout(200)
    page.evaluate("cdp.track('Refused').flush()")
    page.wait_for_timeout(300)
    assert not site.events("Refused")


def test_gpc_opts_out_of_ads_and_beats_an_older_yes_but_not_of_measurement(
    site: Site, page: Page
) -> None:
    page.goto(site.url())
    page.evaluate("cdp.consent({analytics: true, Marketing: true, support: true})")
    site.named(page, "Consent Updated")
    page.add_init_script(GPC)
    page.goto(site.url("/second"))
    seen = site.named(page, "page", 2)[1]["context"]["consent"]
    assert seen == {
        "categoryPreferences": {
            "analytics": True, "Marketing": False, "advertising": False, "support": True,
        },
        "gpc": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("signal", "options", "sends"),
    [
        (GPC, {}, True),
        (GPC, {"gpc": "deny"}, False),
        (GPC, {"gpc": "ignore"}, True),
        (DNT, {}, True),
        (DNT, {"dnt": "deny"}, False),
        (DNT, {"dnt": "ads"}, True),
    ],
)
def test_signals_are_respected_as_configured(
    site: Site,
    page: Page,
    visitor: BrowserContext,
    signal: str,
    options: dict[str, str],
    sends: bool,
) -> None:
    site.options = {"consent": options}
    page.add_init_script(signal)
    page.goto(site.url())
    if not sends:
        _quiet(site, page)
        assert _stored(page, visitor) == set()
        return
    (event,) = site.named(page, "page")
    said = event["context"]["consent"]
    assert said["gpc" if signal == GPC else "dnt"] is True
    denied = "ads" in options.values() or (signal == GPC and not options)
    assert (said.get("categoryPreferences") == {"advertising": False, "marketing": False}) == denied
