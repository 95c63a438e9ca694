"""The SDKs of Segment and RudderStack, unmodified, against `cdp serve`: what they send is landed
and ingested, once each."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
import pytest
import rudderstack.analytics.client
import segment.analytics.client
from playwright.sync_api import Browser

from cdp_assets.events import EVENTS, EventFilesSpec, ingest
from cdp_assets.events.config import LANDED, LandedConfig
from cdp_assets.events.landed import parts
from cdp_assets.lake import Lake
from cdp_assets_tests.collector.serving import Served, serving

JS = Path(__file__).parent / "js"
KEY = "contractkey1"
SOURCE = f"type: cdp_assets.EventSource\nattributes:\n  write_key: {KEY}\n"
SERVER = ("track", "past", "identify", "page", "screen", "group", "alias")
RUDDER_WEB = ("page", "identify", "track", "group", "alias")
CLIENTS = {
    "analytics-python": SERVER,
    "analytics-python gzip": SERVER,
    "rudder-sdk-python": SERVER,
    "analytics-node": SERVER,
    "rudder-sdk-node": SERVER,
    "analytics-next": (*RUDDER_WEB, "screen"),
    "analytics-next batching": (*RUDDER_WEB, "screen"),
    "analytics.js tag": RUDDER_WEB,
    "rudder analytics-js": RUDDER_WEB,
    "rudder analytics-js beacon": RUDDER_WEB,
}
NODE = ("analytics-node", "rudder-sdk-node")
BROWSER = tuple(name for name in CLIENTS if "next" in name or "js" in name)


def _python(client: Any, name: str) -> None:
    def at(kind: str) -> dict[str, Any]:
        return {
            "user_id": "user-1",
            "anonymous_id": "anon-1",
            "context": {"mark": f"{name} {kind}"},
        }

    past = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    client.track(event="Order Completed", properties={"total": 9.9}, **at("track"))
    client.track(event="Imported", timestamp=past, **at("past"))
    client.identify(traits={"email": "jane@example.com"}, **at("identify"))
    client.page(name="Home", properties={"url": "https://shop.example/"}, **at("page"))
    client.screen(name="Start", **at("screen"))
    client.group(group_id="g1", traits={"name": "Acme"}, **at("group"))
    client.alias(previous_id="anon-1", user_id="user-1", context={"mark": f"{name} alias"})
    # flush() waits for ever where the collector refuses: it is given up, told of, and left behind
    done = threading.Thread(target=client.flush, daemon=True)
    done.start()
    done.join(30)
    assert not done.is_alive(), "not everything was taken within 30 s"
    client.shutdown()


def _node(name: str, url: str) -> None:
    command = ["node", "node_clients.mjs", name, url, KEY]
    done = subprocess.run(command, cwd=JS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@contextmanager
def _site() -> Iterator[str]:
    """The pages in `js/`, and the SDKs they load, from a server of their own."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(JS)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def _tag(url: str) -> str:
    """Segment's own tag, which its package renders, with the collector's address for the CDN's."""
    script = """console.log(require("@segment/snippet").min(
        {apiKey: process.argv[1], host: "cdn.example", page: false}))"""
    found = subprocess.run(
        ["node", "-e", script, KEY], cwd=JS, capture_output=True, text=True, timeout=60, check=True
    )
    assert "https://cdn.example" in found.stdout
    return found.stdout.replace("https://cdn.example", url)


def _browse(browser: Browser, site: str, name: str, url: str, served: Served) -> None:
    """Open the client's page, and stay until everything landed or nothing more can come."""
    asked = {"collector": url, "key": KEY, "mark": name, name.rsplit(" ")[-1]: "1"}
    page = browser.new_page()
    strangers: list[str] = []
    page.on("request", lambda request: strangers.append(request.url))
    file = "segment" if "next" in name else "tag" if "tag" in name else "rudder"
    page.goto(f"{site}/{file}.html?{urlencode(asked)}")
    if file == "tag":
        page.evaluate(_tag(url))
        page.evaluate("send()")
    marks = [f"{name} {kind}" for kind in CLIENTS[name]]
    if file == "tag":
        marks.append("Link Followed")
    end = time.monotonic() + 15
    while time.monotonic() < end and not all(mark in _raw(served) for mark in marks):
        page.wait_for_timeout(100)
    page.close()
    elsewhere = [asked for asked in strangers if not asked.startswith((site, url))]
    assert elsewhere == [], "a request that should have come here went to a stranger"


def _raw(served: Served) -> str:
    """What lies in the log by now, whatever its form."""
    return "".join(
        path.read_text("latin-1") for path in served.landing.rglob("*") if path.is_file()
    )


class Played:
    """All clients, having sent; the events that landed and the rows of `events`."""

    def __init__(self) -> None:
        self.failures: dict[str, BaseException] = {}
        self.skipped: dict[str, str] = {}
        self.landed: list[dict[str, Any]] = []
        self.rows = pl.DataFrame()

    def run(self, name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as failure:  # noqa: BLE001 - told by the client's own test
            self.failures[name] = failure


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Played:
    home = tmp_path_factory.mktemp("clients") / "home"
    found = Played()
    node = shutil.which("node") is not None and (JS / "node_modules").is_dir()
    with serving(home, {"web": SOURCE}) as served, _site() as site:
        url = served.url
        here = {
            "analytics-python": lambda: _python(
                segment.analytics.client.Client(KEY, host=url), "analytics-python"
            ),
            "analytics-python gzip": lambda: _python(
                segment.analytics.client.Client(KEY, host=url, gzip=True), "analytics-python gzip"
            ),
            "rudder-sdk-python": lambda: _python(
                rudderstack.analytics.client.Client(KEY, host=url), "rudder-sdk-python"
            ),
        }
        for name, action in here.items():
            found.run(name, action)
        for name in (*NODE, *BROWSER):
            if not node:
                found.skipped[name] = "no node with its packages here: `make test` installs them"
            elif name in NODE:
                found.run(name, functools.partial(_node, name, url))
        if node:
            try:
                browser = request.getfixturevalue("chromium")
            except pytest.skip.Exception as why:
                found.skipped.update(dict.fromkeys(BROWSER, str(why)))
            else:
                for name in BROWSER:
                    found.run(name, functools.partial(_browse, browser, site, name, url, served))
        served.stop()
        for frame in served.frames():
            lines = parts(frame.request.call, frame.body).lines
            found.landed += [json.loads(line) | {"_call": frame.request.call} for line in lines]
    lake = Lake(home.parent / "lake")
    spec = EventFilesSpec(LANDED, LandedConfig(f"{home}/landing/*.segment", {}))
    ingest(lake, [spec], {}, (), datetime.now(UTC))
    found.rows = lake.open(EVENTS).scan().collect()
    return found


def _mark(event: dict[str, Any]) -> str:
    return str((event.get("context") or {}).get("mark", ""))


def _of(played: Played, name: str) -> list[dict[str, Any]]:
    """The client's landed events that it was told to send."""
    if name in played.skipped:
        pytest.skip(played.skipped[name])
    if name in played.failures:
        raise played.failures[name]
    wanted = {f"{name} {kind}" for kind in CLIENTS[name]}
    return [event for event in played.landed if _mark(event) in wanted]


@pytest.mark.parametrize("name", CLIENTS)
def test_every_call_lands_and_is_stored_once(played: Played, name: str) -> None:
    events = _of(played, name)
    assert {_mark(event).rsplit(" ")[-1] for event in events} == set(CLIENTS[name])
    ids = Counter(event["messageId"] for event in events)
    assert len(ids) == len(CLIENTS[name])
    stored = Counter(played.rows["message_id"].to_list())
    assert {message: stored[message] for message in ids} == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("name", CLIENTS)
def test_each_call_is_what_it_was(played: Played, name: str) -> None:
    kinds = {_mark(event).rsplit(" ")[-1]: event for event in _of(played, name)}
    rows = {row["message_id"]: row for row in played.rows.iter_rows(named=True)}
    for kind, event in kinds.items():
        row = rows[event["messageId"]]
        assert row["type"] == ("track" if kind == "past" else kind)
        assert row["received_at"] is not None
        assert row["sent_at"] is not None, "the batch's, on each of its events"
    assert rows[kinds["track"]["messageId"]]["event"] == "Order Completed"
    if "past" in kinds:
        past = rows[kinds["past"]["messageId"]]["timestamp"]
        assert abs((past - datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)).total_seconds()) < 5


def test_a_page_with_segments_tag_needs_its_host_changed_only(played: Played) -> None:
    """Calls that waited carry no trace of the tag's own bookkeeping; its helpers work; what is not
    called is not sent, as there."""
    events = {_mark(event): event for event in _of(played, "analytics.js tag")}
    page = events["analytics.js tag page"]
    assert (page["name"], page["category"]) == ("Home", "Docs")
    assert page["context"]["library"]["name"] == "cdp.js"
    assert "bpc" not in json.dumps(list(events.values()))
    (link,) = [event for event in played.landed if event.get("event") == "Link Followed"]
    assert link["properties"] == {"n": 1}
    assert link["anonymousId"] == page["anonymousId"]
    ours = [e for e in played.landed if e["context"].get("library", {}).get("name") == "cdp.js"]
    assert len(ours) == len(events) + 1
