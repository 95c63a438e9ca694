"""Who an event belongs to: one device id over tabs and subdomains, and no person's events given
to another."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import BrowserContext, Page

from cdp_assets_tests.collector.snippet.site import Event, Site


def _tracked(site: Site, page: Page, name: str, before: str = "") -> Event:
    page.evaluate(f"() => {{ {before}; cdp.track('{name}').flush() }}")
    (event,) = site.named(page, name)
    return event


def _cookies(visitor: BrowserContext) -> dict[str, Any]:
    return {cookie["name"]: cookie for cookie in visitor.cookies()}


def test_the_device_id_lies_in_a_cookie_of_the_whole_domain(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    site.options = {"auto": False}
    page.goto(site.url())
    event = _tracked(site, page, "One")
    cookie = _cookies(visitor)["cdp_id"]
    assert event["anonymousId"] in cookie["value"]
    assert cookie["domain"] == ".site.localhost"
    assert cookie["sameSite"] == "Lax"
    assert set(_cookies(visitor)) == {"cdp_id"}


def test_an_expired_cookie_is_restored_and_a_cookie_beats_storage(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    """Storage is one host's own: were it believed first, subdomains would alternate ids."""
    site.options = {"auto": False}
    page.goto(site.url())
    one = _tracked(site, page, "One")
    visitor.clear_cookies()
    page.goto(site.url("/second"))
    assert _tracked(site, page, "Two")["anonymousId"] == one["anonymousId"]
    page.goto(site.url("/", "app.site.localhost"))
    assert _tracked(site, page, "Three")["anonymousId"] == one["anonymousId"]
    away = _tracked(site, page, "Four", "cdp.reset()")["anonymousId"]
    assert away != one["anonymousId"]
    page.goto(site.url())
    assert _tracked(site, page, "Five")["anonymousId"] == away


def test_a_user_is_known_on_every_page_until_reset(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    site.options = {"auto": False}
    page.goto(site.url())
    page.evaluate("cdp.identify('u1', {plan: 'pro'})")
    page.goto(site.url("/second"))
    one = _tracked(site, page, "One")
    assert one["userId"] == "u1"
    page.evaluate("cdp.identify({seats: 3})")
    assert site.named(page, "identify", 2)[1]["traits"] == {"seats": 3}, "old traits are not resent"
    tab = visitor.new_page()
    tab.goto(site.url())
    page.evaluate("cdp.track('Mine'); cdp.reset(); cdp.track('After')")
    mine, after = site.named(page, "Mine")[0], site.named(page, "After")[0]
    assert (mine["userId"], mine["anonymousId"]) == ("u1", one["anonymousId"])
    assert "userId" not in after
    assert after["anonymousId"] != one["anonymousId"]
    assert _tracked(site, tab, "Tab")["anonymousId"] == after["anonymousId"]
    assert "userId" not in site.events("Tab")[0]


def test_time_on_the_page_before_a_reset_belongs_to_who_left(site: Site, page: Page) -> None:
    page.goto(site.url("/?utm_source=mail"))
    page.evaluate("cdp.identify('u1')")
    page.wait_for_timeout(300)
    page.evaluate("cdp.reset().track('Stranger').flush()")
    (stranger,) = site.named(page, "Stranger")
    (engaged,) = site.named(page, "Page Engaged")
    assert engaged["userId"] == "u1"
    assert engaged["context"]["campaign"] == {"source": "mail"}
    assert "campaign" not in stranger["context"], "the next person did not come by it"


def test_another_user_on_the_device_is_another_device_id(site: Site, page: Page) -> None:
    site.options = {"auto": False}
    page.goto(site.url())
    nobody = _tracked(site, page, "Nobody")
    first = _tracked(site, page, "First", "cdp.identify('u1')")
    again = _tracked(site, page, "Again", "cdp.identify('u1')")
    other = _tracked(site, page, "Other", "cdp.group('g1').identify('u2')")
    assert nobody["anonymousId"] == first["anonymousId"] == again["anonymousId"]
    assert other["anonymousId"] != first["anonymousId"]
    assert other["userId"] == "u2"
    assert "groupId" not in other["context"]


def test_a_visitor_known_to_segments_sdk_stays_the_same(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    site.options = {"auto": False}
    visitor.add_cookies([{"name": "ajs_anonymous_id", "value": "known-1", "url": site.url()}])
    page.goto(site.url())
    assert _tracked(site, page, "One")["anonymousId"] == "known-1"


def test_where_nothing_can_be_stored_a_page_has_one_id(site: Site, page: Page) -> None:
    page.add_init_script("""
        const blocked = {get() { throw new Error() }, set() { throw new Error() }};
        Object.defineProperty(window, "localStorage", blocked);
        Object.defineProperty(Document.prototype, "cookie", blocked);""")
    page.goto(site.url())
    one = _tracked(site, page, "One", "cdp.identify('u1')")
    two = _tracked(site, page, "Two")
    assert one["anonymousId"] == two["anonymousId"]
    assert two["userId"] == "u1"
