"""What the snippet notices by itself and what it says of it, in a real browser."""

from __future__ import annotations

import json
import re
from datetime import datetime

from playwright.sync_api import Page

from cdp_assets_tests.collector.snippet.site import Site

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_a_page_view_says_where_and_by_what(site: Site, page: Page) -> None:
    page.goto(
        site.url("/?UTM_Source=LinkedIn&utm_campaign=Spring+Sale&gclid=G%zz1&utm_content=50%")
    )
    (event,) = site.named(page, "page")
    (post,) = [post for post in site.posts if post.body["batch"][0]["type"] == "page"]
    assert post.headers["Content-Type"].startswith("text/plain")
    assert post.body["writeKey"] == site.key
    assert UUID.fullmatch(event["messageId"])
    assert UUID.fullmatch(event["anonymousId"])
    assert "userId" not in event
    assert event["timestamp"] == event["originalTimestamp"] <= event["sentAt"]
    assert datetime.fromisoformat(event["timestamp"]).utcoffset() is not None
    context = event["context"]
    assert context["campaign"] == {"source": "LinkedIn", "name": "Spring Sale", "content": "50%"}
    assert context["clickIds"] == {"gclid": "G%zz1"}
    assert context["locale"] == "de-DE"
    assert context["timezone"] == "Europe/Berlin"
    assert context["screen"]["density"] == 1
    assert "Chrome" in context["userAgent"]
    assert context["library"] == {"name": "cdp.js", "version": "0.1.0"}
    assert context["pageViewId"] == event["messageId"]
    assert event["properties"] == context["page"]
    assert context["page"]["title"] == "Page /"
    assert context["page"]["path"] == "/"
    assert context["page"]["url"].startswith(site.url("/?UTM_Source=LinkedIn"))


def test_secrets_and_ids_of_other_tools_in_an_address_go_nowhere(site: Site, page: Page) -> None:
    page.goto(site.url("/?Email=jane@example.com&x=1&ajs_aid=evil-a&ajs_uid=evil-u#token=abc"))
    (event,) = site.named(page, "page")
    assert event["context"]["page"]["search"] == "?x=1&ajs_aid=evil-a&ajs_uid=evil-u"
    assert "jane" not in json.dumps(event)
    assert "#" not in event["context"]["page"]["url"]
    assert event["anonymousId"] != "evil-a"
    assert "userId" not in event


def test_fragments_are_pages_by_their_path_alone(site: Site, page: Page) -> None:
    """With `hashRoutes`: hidden parameters and what is no path may be secrets."""
    site.options = {"hashRoutes": True, "hide": ["invite"]}
    page.goto(site.url("/#access_token=s3cret&id_token=s3cret"))
    (first,) = site.named(page, "page")
    assert first["context"]["page"]["url"] == site.url("/")
    for fragment, told in (
        ("#/reset?token=s3cret&x=1&invite=s3cret", "#/reset?x=1"),
        ("#!/a?Email=s3cret", "#!/a"),
        ("#state=s3cret", ""),
    ):
        before = len(site.named(page, "page"))
        page.evaluate("to => { location.hash = to }", fragment)
        event = site.named(page, "page", before + 1)[-1]
        assert event["context"]["page"]["path"] == f"/{told}"
        assert event["context"]["page"]["url"] == site.url(f"/{told}")
    assert "s3cret" not in json.dumps([post.body for post in site.posts])


def test_every_page_of_a_visit_is_one_visitor_and_names_the_page_before(
    site: Site, page: Page
) -> None:
    page.goto(site.url("/", "site.localhost"))
    site.named(page, "page")
    page.goto(site.url("/third", "www.site.localhost"), referer=site.url("/", "site.localhost"))
    first, second = site.named(page, "page", 2)
    assert first["anonymousId"] == second["anonymousId"]
    assert second["context"]["page"]["referrer"] == site.url("/", "site.localhost")


def test_a_single_page_app_reports_each_page_once(site: Site, page: Page) -> None:
    page.goto(site.url("/?utm_source=mail"))
    site.named(page, "page")
    page.evaluate("""() => {
        history.pushState({}, "", "/app/one"); document.title = "One";
        history.replaceState({}, "", "/app/one");
        history.pushState({}, "", "/app/one#part");
    }""")
    site.named(page, "page", 2)
    page.evaluate("history.pushState({}, '', '/app/two'); setTimeout(() => document.title = 'Two')")
    site.named(page, "page", 3)
    page.go_back()
    page.go_back()
    pages = site.named(page, "page", 4)
    told = [(event["properties"]["path"], event["properties"]["title"]) for event in pages]
    assert told == [("/", "Page /"), ("/app/one", "One"), ("/app/two", "Two"), ("/app/one", "Two")]
    assert len({event["messageId"] for event in pages}) == 4
    assert [event["properties"]["referrer"] for event in pages[1:3]] == [
        site.url("/?utm_source=mail"),
        site.url("/app/one"),
    ]
    assert ["campaign" in event["context"] for event in pages] == [True, False, False, False]


def test_marked_elements_features_links_and_files(site: Site, page: Page) -> None:
    page.goto(site.url())
    for target in ("#inner", "#export", "#quiet", "#away", "#file"):
        page.click(target)
    (chosen,) = site.named(page, "Plan Chosen")
    assert chosen["properties"] == {"plan_name": "pro", "price": "9.90"}
    (used,) = site.named(page, "Feature Used")
    assert used["properties"] == {"feature": "csv-export"}
    (link,) = site.named(page, "Link Clicked")
    away = {"url": site.url("/landing?p=1", "away.localhost"), "domain": "away.localhost"}
    assert link["properties"] == {**away, "outbound": True}
    (file,) = site.named(page, "File Downloaded")
    assert file["properties"] == {
        "url": site.url("/files/Report.PDF"),
        "file_extension": "pdf",
    }
    assert not site.events("Never")
    assert {event["context"]["pageViewId"] for event in (chosen, used, link, file)} == {
        site.events("page")[0]["messageId"]
    }


def test_links_within_the_own_domain_are_not_outbound(site: Site, page: Page) -> None:
    page.goto(site.url())
    page.evaluate(f"document.querySelector('#away').href = '{site.url('/', 'app.site.localhost')}'")
    page.click("#away")
    page.click("#export")
    site.named(page, "Feature Used")
    assert not site.events("Link Clicked")


def test_a_form_tells_no_values_but_those_asked_for(site: Site, page: Page) -> None:
    page.goto(site.url())
    page.click("#submit")
    (form,) = site.named(page, "Form Submitted")
    assert form["properties"] == {
        "form_id": "signup",
        "form_name": "signup",
        "action": site.url("/second"),
        "values": {"size": "10-50"},
    }
    told = json.dumps([post.body for post in site.posts])
    for secret in ("jane", "hunter2", "4111"):
        assert secret not in told


def test_errors_are_told_by_kind_and_place_only(site: Site, page: Page) -> None:
    site.before = """
        window.fail = () => { throw new TypeError("jane@example.com is wrong") };
        window.reject = () => { Promise.reject(new RangeError("secret")) };"""
    page.goto(site.url("/?token=abc"))
    for _ in range(3):
        page.evaluate("setTimeout(fail)")
    page.evaluate("setTimeout(reject)")
    site.named(page, "Error Occurred", 2)
    page.wait_for_timeout(200)
    told = {event["properties"]["kind"]: event for event in site.events("Error Occurred")}
    assert set(told) == {"TypeError", "RangeError"}
    assert len(site.events("Error Occurred")) == 2, "each place once"
    for event in told.values():
        assert event["properties"]["file"] == site.url("/")
        assert event["properties"]["line"] > 0
        assert event["properties"]["column"] > 0
    assert not re.search("jane|secret|abc", json.dumps(site.events()))


def test_a_page_that_comes_back_from_the_browsers_memory_is_seen_again(
    site: Site, page: Page
) -> None:
    page.goto(site.url())
    site.named(page, "page")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    first, second = site.named(page, "page", 2)
    assert first["messageId"] != second["messageId"]
    assert second["properties"]["referrer"] == site.url()


def test_a_hidden_page_tells_its_attention_at_once_and_counts_none_until_seen(
    site: Site, page: Page
) -> None:
    site.options = {"delay": 60000}
    page.goto(site.url())
    site.named(page, "page")
    page.wait_for_timeout(300)
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange")) }"""
    page.evaluate(hide, True)
    (engaged,) = site.named(page, "Page Engaged")
    assert engaged["properties"]["engaged_seconds"] >= 0.3
    page.wait_for_timeout(600)
    page.evaluate(hide, False)
    page.wait_for_timeout(200)
    page.evaluate(hide, True)
    again = site.named(page, "Page Engaged", 2)[1]
    assert again["properties"]["engaged_seconds"] < 0.6


def test_attention_counts_time_looked_at_and_the_deepest_scroll(site: Site, page: Page) -> None:
    page.goto(site.url())
    site.named(page, "page")
    page.mouse.wheel(0, 1200)
    page.wait_for_timeout(700)
    page.goto(site.url("/second"))
    (engaged,) = site.named(page, "Page Engaged")
    assert 0.6 <= engaged["properties"]["engaged_seconds"] < 3
    assert 45 <= engaged["properties"]["scroll_depth"] <= 60
    assert engaged["context"]["page"]["path"] == "/"
    assert engaged["context"]["pageViewId"] == site.events("page")[0]["messageId"]


def test_nobody_looking_is_no_attention(site: Site, page: Page) -> None:
    site.options = {"idle": 0.3}
    page.goto(site.url())
    site.named(page, "page")
    page.wait_for_timeout(1500)
    page.goto(site.url("/second"))
    (engaged,) = site.named(page, "Page Engaged")
    assert engaged["properties"]["engaged_seconds"] <= 0.5


def test_what_was_switched_off_is_not_noticed(site: Site, page: Page) -> None:
    site.options = {"auto": False}
    page.goto(site.url())
    for target in ("#inner", "#export", "#away"):
        page.click(target)
    page.evaluate("cdp.track('Own')")
    site.named(page, "Own")
    assert [event.get("event") for event in site.events()] == ["Own"]


def test_calls_before_the_file_came_are_made_with_their_own_time(site: Site, page: Page) -> None:
    site.before = """
        cdp.identify("u1", {plan: "pro"}); cdp.track("Early", {n: 1}, {context: {extra: true}});
        window.called = Date.now(); cdp.ready(() => window.isReady = true)"""
    page.route("**/cdp-*.js", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.goto(site.url())
    (early,) = site.named(page, "Early")
    called = page.evaluate("called") / 1000
    assert abs(datetime.fromisoformat(early["timestamp"]).timestamp() - called) < 0.1
    assert early["userId"] == "u1"
    assert early["context"]["extra"] is True
    (identify,) = site.events("identify")
    assert identify["traits"] == {"plan": "pro"}
    assert page.evaluate("isReady")


def test_the_calls_take_arguments_as_analytics_js_does(site: Site, page: Page) -> None:
    site.options = {"auto": False}
    page.goto(site.url())
    page.evaluate("""() => new Promise(done => {
        cdp.page("Home"); cdp.page("Docs", "Intro", {a: 1}); cdp.page({b: 2});
        cdp.identify({x: 1}); cdp.identify(42, {y: 2});
        cdp.group("g1", {size: 3}); cdp.alias("new", "old"); cdp.alias("newer");
        cdp.track("T", {p: 1}, {integrations: {All: false}, timestamp: new Date(0),
                                anonymousId: "a-of-the-call"});
        cdp.track(); cdp.track("Unclonable", {f: () => 1, n: NaN});
        cdp.track("Last", done)
    })""")
    site.named(page, "Last")
    pages = site.events("page")
    assert [(e.get("category"), e.get("name")) for e in pages] == [
        (None, "Home"),
        ("Docs", "Intro"),
        (None, None),
    ]
    assert (
        pages[1]["properties"] | {"a": 1, "name": "Intro", "category": "Docs"}
        == pages[1]["properties"]
    )
    assert pages[2]["properties"]["b"] == 2
    first, second = site.events("identify")
    assert (first.get("userId"), first["traits"]) == (None, {"x": 1})
    assert (second["userId"], second["traits"]) == ("42", {"y": 2})
    (group,) = site.events("group")
    assert (group["groupId"], group["traits"]) == ("g1", {"size": 3})
    one, two = sorted(site.events("alias"), key=lambda event: event["userId"])
    assert (one["userId"], one["previousId"]) == ("new", "old")
    assert (two["userId"], two["previousId"]) == ("newer", "42")
    (track,) = site.events("T")
    assert track["integrations"] == {"All": False}
    assert track["timestamp"] == "1970-01-01T00:00:00.000Z"
    assert track["anonymousId"] == "a-of-the-call"
    assert site.events("Last")[0]["context"]["groupId"] == "g1"


def test_a_page_that_reports_itself_is_not_reported_twice(site: Site, page: Page) -> None:
    site.before = "cdp.page('Home')"
    page.goto(site.url())
    page.evaluate("history.pushState({}, '', '/app'); cdp.page('App'); cdp.track('End')")
    site.named(page, "End")
    assert [event.get("name") for event in site.events("page")] == ["Home", "App"]
    end = site.events("End")[0]
    assert end["context"]["pageViewId"] == site.events("page")[1]["messageId"]


def test_the_file_is_refused_when_it_was_changed_on_the_way(site: Site, page: Page) -> None:
    page.route(
        "**/cdp-*.js",
        lambda route: route.fulfill(
            body="window.evil = 1", headers={"Access-Control-Allow-Origin": "*"}
        ),
    )
    page.goto(site.url())
    assert page.evaluate("window.evil") is None


def test_one_tag_is_enough_where_inline_scripts_are_forbidden(site: Site, page: Page) -> None:
    source = site.url("/cdp-x.js", "collect.site.localhost")
    site.pages["/plain"] = (
        f"<!doctype html><script src='{source}' data-write-key='{site.key}' "
        """data-options='{"auto": {"engagement": false}}'></script>"""
    )
    page.goto(site.url("/plain"))
    (event,) = site.named(page, "page")
    assert event["properties"]["path"] == "/plain"
