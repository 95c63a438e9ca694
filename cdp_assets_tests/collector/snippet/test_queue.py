"""Nothing that happened on a page is lost or counted twice, whatever the network does."""

from __future__ import annotations

import json
import time

import pytest
from playwright.sync_api import BrowserContext, Page

from cdp_assets_tests.collector.snippet.site import Site

QUIET = {"auto": False}


def _track(page: Page, *names: str) -> None:
    page.evaluate("names => names.forEach(name => cdp.track(name))", list(names))


def _taken(site: Site) -> list[str]:
    """messageIds of accepted events, as often as they came."""
    return [
        event["messageId"]
        for post in site.posts
        if post.status == 200
        for event in post.body["batch"]
    ]


def _waiting(page: Page) -> int:
    return int(
        page.evaluate("Object.keys(localStorage).filter(n => n.startsWith('cdp:q:')).length")
    )


def _ready(site: Site, page: Page, **options: object) -> None:
    site.options = {**QUIET, **options}
    page.goto(site.url())
    page.evaluate("new Promise(done => cdp.ready(done))")


def test_offline_events_wait_and_go_when_the_network_is_back(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    _ready(site, page)
    tried: list[str] = []
    page.on("request", lambda request: tried.append(request.url))
    visitor.set_offline(True)
    _track(page, "One", "Two")
    page.wait_for_timeout(500)
    assert tried == [], "known to be offline, it does not even try"
    visitor.set_offline(False)
    site.named(page, "Two")
    assert len(_taken(site)) == len(set(_taken(site))) == 2
    site.until(page, lambda: _waiting(page) == 0)


def test_a_refusal_of_the_moment_is_waited_out_as_told_on_the_next_page_too(
    site: Site, page: Page
) -> None:
    site.answer = lambda n: (429, {"Retry-After": "2"}) if n == 0 else (200, {})
    _ready(site, page)
    _track(page, "First")
    site.until(page, lambda: site.posts)
    page.goto(site.url("/second"))
    page.evaluate("cdp.track('Second').flush()")
    site.named(page, "Second")
    assert site.posts[1].at - site.posts[0].at >= 1.95
    assert len(_taken(site)) == len(set(_taken(site))) == 2
    assert site.events("First")[0]["context"]["page"]["path"] == "/"


def test_without_a_word_each_wait_is_longer(site: Site, page: Page) -> None:
    site.answer = lambda n: (503, {}) if n < 2 else (200, {})
    _ready(site, page)
    _track(page, "Late")
    site.named(page, "Late")
    times = [post.at for post in site.posts]
    assert 0.45 <= times[1] - times[0] <= 1.5
    assert 0.95 <= times[2] - times[1] <= 2.5


def test_no_network_at_all_is_tried_again_with_the_same_ids(site: Site, page: Page) -> None:
    site.options = QUIET
    seen = []

    def cut(route: object) -> None:
        seen.append(json.loads(route.request.post_data))  # type: ignore[attr-defined]
        route.abort()  # type: ignore[attr-defined]

    page.route("**/v1/batch", cut, times=1)
    page.goto(site.url())
    _track(page, "Cut")
    (event,) = site.named(page, "Cut")
    assert [e["messageId"] for e in seen[0]["batch"]] == [event["messageId"]]


def test_what_will_never_be_good_is_dropped_and_counted(site: Site, page: Page) -> None:
    site.answer = lambda n: ([400, 401, 200][n], {})
    _ready(site, page)
    for n, name in enumerate(("Bad", "Unknown", "Good"), start=1):
        _track(page, name)
        site.until(page, lambda n=n: len(site.posts) == n)
        site.until(page, lambda: _waiting(page) == 0)
    page.wait_for_timeout(300)
    assert [e["event"] for post in site.posts for e in post.body["batch"]] == [
        "Bad",
        "Unknown",
        "Good",
    ]
    assert [post.body["batch"][0]["context"].get("lostEvents") for post in site.posts] == [
        None,
        1,
        1,
    ]


def test_a_batch_too_large_is_divided_before_an_event_is_given_up(site: Site, page: Page) -> None:
    _ready(site, page)
    site.limit = 2
    page.evaluate("for (let n = 0; n < 7; n++) cdp.track('Part ' + n)")
    site.until(page, lambda: len(site.events()) == 7)
    assert {post.status for post in site.posts} == {200, 413}
    assert len(_taken(site)) == 7


def test_a_redirect_is_not_taken_for_an_answer(site: Site, page: Page) -> None:
    away = {"Location": site.url("/login")}
    site.answer = lambda n: (302, away) if n == 0 else (200, {})
    _ready(site, page)
    _track(page, "Kept")
    site.named(page, "Kept")
    assert [post.status for post in site.posts] == [302, 200]


def test_a_closed_tab_sends_what_it_has_by_beacon(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    site.options = {"delay": 60000}
    other = visitor.new_page()
    page.bring_to_front()
    page.goto(site.url())
    site.named(page, "page")
    page.evaluate("cdp.track('Last')")
    page.wait_for_timeout(300)
    assert len(site.posts) == 1
    page.close(run_before_unload=True)
    (last,) = site.named(other, "Last")
    (engaged,) = site.named(other, "Page Engaged")
    assert engaged["anonymousId"] == last["anonymousId"]
    assert site.posts[1].headers["Content-Type"].startswith("text/plain")


def test_a_tab_closed_while_nothing_gets_through_is_heard_at_the_next_visit(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    second = visitor.new_page()
    _ready(site, page)
    page.route("**/v1/batch", lambda route: route.abort())
    _track(page, "Before")
    page.wait_for_timeout(400)
    page.close(run_before_unload=True)
    assert not site.posts
    second.goto(site.url("/second"))
    (before,) = site.named(second, "Before")
    assert before["context"]["page"]["path"] == "/"
    assert before["timestamp"] < before["sentAt"]


def test_events_in_flight_when_the_page_is_left_come_once_by_their_id(
    site: Site, page: Page
) -> None:
    site.slow = 0.5
    site.options = {"delay": 0}
    page.goto(site.url())
    page.click("#buy")
    page.click("#next")
    page.wait_for_url("**/second")
    page.click("#third")
    site.named(page, "page", 3)
    site.until(page, lambda: _waiting(page) == 0)
    kinds = [event.get("event") or event["properties"]["path"] for event in site.events()]
    assert sorted(kinds) == [
        "/", "/second", "/third", "Page Engaged", "Page Engaged", "Plan Chosen",
    ]  # fmt: skip


def test_tabs_that_send_at_once_neither_double_nor_lose(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    """On the wire, not only by id: one tab at a time sends."""
    site.slow = 0.05
    site.answer = lambda n: (503, {}) if n in (1, 3) else (200, {})
    _ready(site, page)
    tabs = [page, visitor.new_page(), visitor.new_page()]
    for tab in tabs[1:]:
        tab.goto(site.url())
        tab.evaluate("new Promise(done => cdp.ready(done))")
    for n, tab in enumerate(tabs):
        tab.evaluate(
            """tab => { let n = 0; const timer = setInterval(() => {
                cdp.track(`Tab ${tab} ${n}`).flush();
                if (++n == 20) clearInterval(timer) }, 10) }""",
            n,
        )
    site.until(page, lambda: len(site.events()) >= 60, 10)
    site.until(page, lambda: _waiting(page) == 0)
    assert {event["event"] for event in site.events()} == {
        f"Tab {tab} {n}" for tab in range(3) for n in range(20)
    }
    assert len(_taken(site)) == 60
    assert len({event["anonymousId"] for event in site.events()}) == 1


def test_the_queue_is_bounded_and_says_what_it_dropped(
    site: Site, page: Page, visitor: BrowserContext
) -> None:
    _ready(site, page, maxQueue=5)
    visitor.set_offline(True)
    _track(page, *(f"E{n}" for n in range(8)))
    assert _waiting(page) == 5
    visitor.set_offline(False)
    site.named(page, "E7")
    assert [event["event"] for event in site.events()] == ["E3", "E4", "E5", "E6", "E7"]
    assert sum(event["context"].get("lostEvents", 0) for event in site.events()) >= 2


def test_no_request_is_larger_than_browsers_let_pass_at_the_end_of_a_page(
    site: Site, page: Page
) -> None:
    _ready(site, page)
    page.evaluate("for (let n = 0; n < 60; n++) cdp.track('Big ' + n, {text: 'ü'.repeat(1500)})")
    page.evaluate("cdp.track('Huge', {text: 'x'.repeat(100000)}); cdp.track('End')")
    site.named(page, "End", 1)
    site.until(page, lambda: len(site.events()) == 62)
    huge = [post for post in site.posts if post.body["batch"][0]["event"] == "Huge"]
    assert [len(post.body["batch"]) for post in huge] == [1]
    assert all(post.size < 64 * 1024 for post in site.posts if post not in huge)


@pytest.mark.parametrize("locks", ["undefined", "{request: () => Promise.reject(new Error())}"])
def test_without_storage_and_locks_events_still_go(site: Site, page: Page, locks: str) -> None:
    page.add_init_script(
        """Object.defineProperty(window, "localStorage", {get() { throw new Error("blocked") }});
        Object.defineProperty(navigator, "locks", {value: LOCKS});""".replace("LOCKS", locks)
    )
    site.options = QUIET
    page.goto(site.url())
    _track(page, "One", "Two")
    site.named(page, "Two")
    assert len(_taken(site)) == 2


def test_a_wait_written_before_the_clock_was_set_back_does_not_last(site: Site, page: Page) -> None:
    _ready(site, page)
    page.evaluate(
        "key => localStorage.setItem('cdp:wait:' + key, '3 ' + (Date.now() + 9e9))", site.key
    )
    started = time.monotonic()
    _track(page, "Now")
    site.named(page, "Now")
    assert time.monotonic() - started < 3
