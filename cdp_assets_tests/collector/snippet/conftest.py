"""One browser and one website for all tests of the snippet; each test has a visitor of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from cdp_assets_tests.collector.snippet.site import Site, serving


@pytest.fixture(scope="session")
def _served() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def site(_served: Site) -> Site:
    _served.fresh()
    return _served


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser profile that nobody has used, Berlin's clock, German."""
    context = chromium.new_context(
        locale="de-DE", timezone_id="Europe/Berlin", viewport={"width": 900, "height": 600}
    )
    yield context
    context.close()


@pytest.fixture
def page(visitor: BrowserContext) -> Page:
    return visitor.new_page()
