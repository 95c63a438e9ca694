"""The snippet and the real collector: from a page to rows of `events`, over another site's address,
a cut network and the end of the page."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl
import pytest
import requests
from playwright.sync_api import BrowserContext, Page

from cdp_assets.collector import snippet
from cdp_assets.events import EVENTS, EventFilesSpec, ingest
from cdp_assets.events.config import LANDED, LandedConfig
from cdp_assets.lake import Lake
from cdp_assets_tests.collector.serving import Served, serving
from cdp_assets_tests.collector.snippet.site import Site

KEY = "snippetkey1"
SOURCE = f"""\
type: cdp_assets.EventSource
attributes:
  write_key: {KEY}
  origins: ["http://*.site.localhost:PORT"]
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, _served: Site) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("snippet") / "home"
    with serving(home, {"web": SOURCE.replace("PORT", str(_served.port))}) as found:
        yield found


@pytest.fixture
def site(_served: Site, served: Served) -> Site:
    _served.fresh()
    _served.key, _served.collector = KEY, served.url
    return _served


def test_the_collector_serves_the_file_that_the_tag_names(served: Served) -> None:
    answer = requests.get(f"{served.url}/{snippet.build().file}", timeout=10)
    assert answer.content == snippet.script()
    assert answer.headers["Access-Control-Allow-Origin"] == "*", "a hash needs a readable answer"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Encoding"] == "gzip"
    assert int(answer.headers["Content-Length"]) < 6000
    plain = requests.get(answer.url, headers={"Accept-Encoding": "identity"}, timeout=10)
    assert plain.content == snippet.script()


def test_a_visit_is_stored_once_whatever_happened_on_the_way(
    site: Site, served: Served, page: Page, visitor: BrowserContext
) -> None:
    page.goto(site.url("/?utm_source=mail&gclid=g1"))
    page.evaluate("cdp.identify('u1', {plan: 'pro'})")
    page.click("#buy")
    page.click("#next")
    page.wait_for_url("**/second")
    visitor.set_offline(True)
    page.evaluate("cdp.track('Offline')")
    page.wait_for_timeout(300)
    visitor.set_offline(False)
    page.click("#third")
    page.wait_for_url("**/third?x=1")
    page.evaluate("history.pushState({}, '', '/app')")
    page.wait_for_timeout(200)
    other = visitor.new_page()
    page.close(run_before_unload=True)
    other.goto(site.url("/last"))
    left = "Object.keys(localStorage).some(name => name.startsWith('cdp:q:'))"
    end = time.monotonic() + 10
    while other.evaluate(left) and time.monotonic() < end:
        other.wait_for_timeout(100)
    assert not other.evaluate(left)
    served.stop()
    served.frames()
    lake = Lake(served.home.parent / "lake")
    spec = EventFilesSpec(LANDED, LandedConfig(f"{served.landing}/*.segment", {}))
    ingest(lake, [spec], {}, (), datetime.now(UTC))
    rows = lake.open(EVENTS).scan().collect()
    told = Counter(rows.select(pl.coalesce("event", "type")).to_series().to_list())
    assert told["page"] == 5
    assert told["identify"] == told["Plan Chosen"] == told["Offline"] == 1
    assert told["Page Engaged"] >= 4
    assert rows["message_id"].n_unique() == len(rows)
    assert rows["anonymous_id"].n_unique() == 1
    assert set(rows["source"]) == {"web"}
    assert rows.filter(pl.col("flags").list.len() > 0).is_empty()
