"""One visitor over several domains: an id in an address counts soon and on the same device."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from cdp_assets_tests.collector.snippet.site import Site

LINKED = {"linker": ["site.localhost", "shop.localhost"]}


def _link(site: Site, page: Page) -> str:
    """The address that a click on the link to the shop leads to."""
    site.options = LINKED
    page.goto(site.url())
    site.named(page, "page")
    page.evaluate("document.addEventListener('click', e => e.preventDefault(), {once: true})")
    page.click("#shop")
    return str(page.evaluate("document.querySelector('#shop').href"))


def _arrived(site: Site, page: Page) -> tuple[str, str]:
    """Device ids on the first domain and on the shop."""
    first, second = site.named(page, "page", 2)
    return first["anonymousId"], second["anonymousId"]


def test_a_click_takes_the_visitor_along_and_leaves_no_trace(site: Site, page: Page) -> None:
    site.options = LINKED
    page.goto(site.url())
    site.named(page, "page")
    page.click("#shop")
    page.wait_for_url("**/shop?**")
    one, two = _arrived(site, page)
    assert one == two
    assert page.url == site.url("/shop?p=1", "shop.localhost")
    assert "_cdp" not in str([post.body for post in site.posts])
    page.reload()
    assert site.named(page, "page", 3)[2]["anonymousId"] == one
    assert not site.events("Link Clicked"), "a linked domain is not outbound"


def test_a_domain_that_is_not_named_gets_no_id(site: Site, page: Page) -> None:
    site.options = LINKED
    page.goto(site.url())
    site.named(page, "page")
    page.evaluate("document.addEventListener('click', e => e.preventDefault())")
    page.click("#away")
    page.click("#next")
    assert "_cdp" not in page.evaluate("document.body.innerHTML")


def test_forwarded_to_another_device_it_is_ignored(
    site: Site, page: Page, chromium: Browser
) -> None:
    link = _link(site, page)
    other = chromium.new_context(user_agent="Mozilla/5.0 (another browser)")
    try:
        visit = other.new_page()
        visit.goto(link, referer=site.url())
        one, two = _arrived(site, page)
        assert one != two
        assert "_cdp" not in visit.url
    finally:
        other.close()


@pytest.mark.parametrize("how", ["late", "changed", "from nowhere", "logged in"])
def test_an_id_that_may_not_be_taken_is_ignored(
    site: Site, page: Page, visitor: BrowserContext, how: str
) -> None:
    link = _link(site, page)
    referer: str | None = site.url()
    visit = visitor.new_page()
    if how == "late":
        visit.add_init_script("const now = Date.now; Date.now = () => now() + 180000")
    elif how == "changed":
        (value,) = parse_qs(urlsplit(link).query)["_cdp"]
        link = link.replace(value, re.sub(r"[^.]*$", "another-visitor", value))
    elif how == "from nowhere":
        referer = None
    else:
        visit.goto(site.url("/", "shop.localhost"))
        visit.evaluate("cdp.identify('u1')")
        site.named(visit, "identify")
        site.posts = [post for post in site.posts if "u1" not in str(post.body)][:1]
    visit.goto(link, referer=referer) if referer else visit.goto(link)
    one, two = _arrived(site, page)
    assert one != two
    assert visit.url == site.url("/shop?p=1", "shop.localhost")
