"""A website of several pages on two domains, and a recorder in the collector's place."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from playwright.sync_api import Page

from cdp_assets.collector import snippet

Event = dict[str, Any]

# {away} and {shop} are other domains; marks are told by data attributes, as docs/snippet.md says.
BODY = """
<h1>{path}</h1>
<a id=next href="/second">next</a> <a id=third href="/third?x=1">third</a>
<a id=away href="{away}/landing?email=a@b.example&p=1#part" target=_blank>away</a>
<a id=shop href="{shop}/shop?p=1">shop</a>
<a id=file href="/files/Report.PDF?token=s3cret" download>file</a>
<button id=buy data-cdp-event="Plan Chosen" data-cdp-prop-plan-name="pro"
  data-cdp-prop-price="9.90"><b id=inner>buy</b></button>
<button id=export data-cdp-feature="csv-export">export</button>
<p data-cdp-ignore><button id=quiet data-cdp-event="Never">quiet</button></p>
<form id=signup name=signup action="/second" method=post>
  <input name=email value="jane@example.com">
  <input name=password type=password data-cdp-value value=hunter2>
  <select name=size data-cdp-value><option>10-50</option></select>
  <input name=card value="4111111111111111"><button id=submit>send</button>
</form>
<div style="height:3000px"></div>
"""


@dataclass
class Post:
    """One request that the recorder got."""

    at: float
    status: int
    headers: dict[str, str]
    size: int
    body: dict[str, Any]


@dataclass
class Site:
    """What is served, and what came. `answer` gives the reply to the n-th post."""

    port: int = 0
    key: str = ""  # a new one for each test: what an earlier page sends at its end is not ours
    posts: list[Post] = field(default_factory=list)
    answer: Callable[[int], tuple[int, dict[str, str]]] = lambda n: (200, {})
    options: dict[str, Any] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)  # HTML in place of the usual page
    slow: float = 0  # seconds before a post is answered
    limit: int = 10_000  # events a post, beyond which it is too large
    before: str = ""  # script that runs between the tag and the page's body
    collector: str = ""

    def url(self, path: str = "/", host: str = "www.site.localhost") -> str:
        return f"http://{host}:{self.port}{path}"

    def fresh(self) -> None:
        """Nothing posted, and everything as usual."""
        self.key = f"web_{uuid4().hex}"
        self.posts = []
        self.answer = lambda n: (200, {})
        self.slow, self.limit, self.collector = 0, 10_000, ""
        self.options, self.pages, self.before = {}, {}, ""

    def events(self, *names: str) -> list[Event]:
        """Accepted events once each, by their time; of these names or types if any are given."""
        found = {
            event["messageId"]: {**event, "sentAt": post.body["sentAt"]}
            for post in reversed(self.posts)
            if post.status == 200
            for event in post.body["batch"]
        }
        every = sorted(found.values(), key=lambda event: event["timestamp"])
        return [e for e in every if not names or e["type"] in names or e.get("event") in names]

    def until(self, page: Page, holds: Callable[[], Any], seconds: float = 6) -> Any:
        """What `holds` gives as soon as it is true; the browser goes on meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := holds():
                return found
            page.wait_for_timeout(20)
        seen = [(e["type"], e.get("event"), e["context"]["page"]["path"]) for e in self.events()]
        raise AssertionError(f"not within {seconds} s; came: {seen}")

    def named(self, page: Page, name: str, count: int = 1) -> list[Event]:
        """At least `count` events of this name or type, waited for."""
        self.until(page, lambda: len(self.events(name)) >= count)
        return self.events(name)

    def html(self, path: str) -> str:
        if path in self.pages:
            return self.pages[path]
        tag = snippet.tag(
            self.key, self.collector or self.url("", "collect.site.localhost"), self.options
        )
        body = BODY.format(
            path=path, away=self.url("", "away.localhost"), shop=self.url("", "shop.localhost")
        )
        return (
            f"<!doctype html><html><head><title>Page {path}</title><link rel=icon href=data:,>"
            f"{tag}<script>{self.before}</script></head><body>{body}</body></html>"
        )


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def reply(self, status: int, body: bytes, kind: str, more: dict[str, str]) -> None:
            self.send_response(status)
            headers = {
                "Content-Type": kind,
                "Content-Length": str(len(body)),
                "Access-Control-Allow-Origin": self.headers.get("Origin") or "*",
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Expose-Headers": "Retry-After",
                **more,
            }
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith("/cdp-"):
                self.reply(200, snippet.script(), "text/javascript; charset=utf-8", {})
            elif path.startswith("/files/"):
                self.reply(200, b"%PDF-", "application/pdf", {})
            else:
                self.reply(200, site.html(path).encode(), "text/html; charset=utf-8", {})

        def do_OPTIONS(self) -> None:
            raise AssertionError("a preflight: the snippet's requests must not need one")

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.split("?")[0] == "/v1/batch":
                body, status, more = json.loads(raw), 200, {}
                if body["writeKey"] == site.key:
                    status, more = site.answer(len(site.posts))
                    if len(body["batch"]) > site.limit:
                        status = 413
                    headers = dict(self.headers)
                    site.posts.append(Post(time.time(), status, headers, len(raw), body))
                time.sleep(site.slow)
                self.reply(status, b'{"success":true}', "application/json", more)
            else:
                self.reply(200, site.html(self.path).encode(), "text/html", {})

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed before it was answered is nothing to tell of."""


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    server = _Server(("127.0.0.1", 0), _handler(site))
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
