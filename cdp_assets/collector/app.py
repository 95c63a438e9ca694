"""The collector as an ASGI application: lands what comes, then answers.

Written to ASGI itself on its hot way: a framework's routing would take a third of it. A request is
answered 200 only when its frame is durable. Whatever the platform may later say of an event, its
bytes are kept; what is known to be unfit is named in the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec

from cdp_assets.collector import protocol
from cdp_assets.collector.addresses import Network, client_address, kept, scrubbed
from cdp_assets.collector.bodies import (
    BODY_SECONDS,
    Crowded,
    Gone,
    Intake,
    Receive,
    TooLarge,
    Unpackable,
    body_of,
)
from cdp_assets.collector.keys import Key, KeyRing, Rates
from cdp_assets.collector.pages import Pages
from cdp_assets.collector.verdicts import Verdicts
from cdp_assets.events.landed import Envelope, decode_envelope
from cdp_assets.landing import LogWriter, Overloaded, Request, Unwritable
from cdp_assets.landing.frames import content

logger = logging.getLogger(__name__)
Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

RETRY_SECONDS = 5
_JSON = (b"content-type", b"application/json")
_ALLOWED = b"authorization, content-type, content-encoding, x-retry-count, anonymousid"
_MAX_AGE = b"86400"


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)


@dataclass
class Counts:
    """What a worker did since it began."""

    requests: int = 0
    events: int = 0
    rejected: int = 0
    refused: int = 0


class Collector:
    """The application.

    log: where requests land. ring: gives the keys that are good now (asked at each request, so
    that a revoked key stops). verdicts: what is known of an event at once. trusted: proxies whose
    X-Forwarded-For is believed.
    """

    def __init__(
        self,
        log: LogWriter,
        ring: Callable[[], KeyRing | None],
        verdicts: Verdicts,
        pages: Pages,
        trusted: Sequence[Network] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._ring = ring
        self._verdicts = verdicts
        self._pages = pages
        self._trusted = tuple(trusted)
        self._clock = clock
        self._waiting: set[asyncio.Future[None]] = set()
        self._receiving: dict[asyncio.Task[Any], float] = {}
        self._intake = Intake()
        self._rates = Rates()
        self.counts = Counts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request (ASGI 3)."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        try:
            answer = await self._answer(scope, headers, receive)
        except Gone:
            return
        except Exception as error:  # noqa: BLE001 - an answer that SDKs can read, whatever it was
            logger.error("a request could not be answered: %s", type(error).__name__)
            answer = _later(503, "fault", "the collector has made a mistake of its own")
        if answer.status == 404 and await self._pages.serve(scope, receive, send):
            return
        found = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
        if origin is not None:
            found += _cors(origin)
        await send({"type": "http.response.start", "status": answer.status, "headers": found})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer:
        method, path = scope["method"], scope["path"]
        if method == "POST":
            call = protocol.ROUTES.get(path)
            if call is not None:
                return await self._post(call, scope, headers, receive)
            if path in protocol.METRICS:
                return Answer(200, protocol.success([]), [_JSON])
        elif method == "OPTIONS":
            return self._preflight(headers)
        elif method == "GET":
            if path in protocol.PIXELS:
                return await self._pixel(protocol.PIXELS[path], scope, headers)
            return self._settings(scope, headers)
        return _failed(404, "not_found", f"there is no {method} at this address")

    async def _post(
        self, call: str, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Answer:
        length = headers.get(b"content-length")
        encoding = headers.get(b"content-encoding", b"")
        task = asyncio.current_task()
        assert task is not None
        self._receiving[task] = self._loop.time() + BODY_SECONDS
        try:
            body = await body_of(receive, int(length) if length else None, encoding, self._intake)
        except TooLarge:
            return _failed(413, "too_large", "the request is larger than 4 MB; send less at once")
        except asyncio.CancelledError:
            if task.uncancel():
                raise  # the server stops
            return _failed(408, "too_slow", "the body did not arrive in time; send it again")
        except Crowded:
            return _later(503, "crowded", "too many bodies are being received at once")
        except Unpackable as error:
            return _failed(400, "bad_encoding", str(error))
        finally:
            del self._receiving[task]
        return await self._take(call, body, scope, headers)

    async def _pixel(self, call: str, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        """A picture whatever happened: a page shows it, and can do nothing about an error."""
        body = protocol.pixel_body(scope["query_string"])
        answer = _failed(400, "bad_data", "no data")
        if body is not None:
            referer = headers.get(b"referer", b"").decode("latin-1") or None
            answer = await self._take(call, body, scope, headers, referer)
        state = b"kept" if answer.status == 200 else b"refused"
        return Answer(
            200,
            protocol.GIF,
            [(b"content-type", b"image/gif"), (b"cache-control", b"no-store"), (b"x-cdp", state)],
        )

    async def _take(
        self,
        call: str,
        body: bytes,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        referer: str | None = None,
    ) -> Answer:
        ring = self._ring()
        if ring is None:
            return _later(503, "not_ready", "the keys are not loaded yet")
        envelope: Envelope | None
        try:
            envelope = decode_envelope(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            envelope = None
        name = _key_name(scope, headers, envelope, body)
        key = ring.find(name) if name else None
        if key is None:
            return _failed(401, "unknown_key", "send a write key that the collector knows")
        origin = headers.get(b"origin")
        if origin is not None and not key.server and not key.allows(origin.decode("latin-1")):
            return _failed(403, "origin", "the key may not be used by pages of this origin")
        verdict = self._verdicts.of(key.source, call, body, envelope)
        if verdict.too_many:
            return _failed(413, "too_many", verdict.too_many)
        if seconds := self._rates.wait(key, verdict.events):
            return _later(429, "too_many", "more events than this key may send", seconds)
        request = self._request(key, call, scope, headers, referer)
        body = protocol.without_key(body, name) if key.server and name else body
        try:
            await self._land(content(request, scrubbed(body, key.ip)))
        except Overloaded:
            self.counts.refused += 1
            return _later(503, "overloaded", "more waits to be written than can be kept")
        except OSError:
            self.counts.refused += 1
            return _later(503, "disk", "the event could not be written")
        self.counts.requests += 1
        self.counts.events += verdict.events
        self.counts.rejected += verdict.refused
        if verdict.unreadable:
            return _failed(400, "not_json", verdict.unreadable)
        return Answer(200, protocol.success(verdict.rejected), [_JSON])

    def _request(
        self,
        key: Key,
        call: str,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        referer: str | None,
    ) -> Request:
        client = scope.get("client")
        forwarded = headers.get(b"x-forwarded-for")
        peer = client_address(
            client[0] if client else None,
            forwarded.decode("latin-1") if forwarded else None,
            self._trusted,
        )
        agent = headers.get(b"user-agent")
        return Request(
            source=key.source,
            received=moment(self._clock()),
            call=call,
            ip=kept(peer, key.ip),
            agent=agent.decode("latin-1")[:1024] if agent else None,
            referer=referer,
            server=key.server,
            gpc=headers.get(b"sec-gpc") == b"1",
        )

    async def _land(self, frame: bytes) -> None:
        landed: asyncio.Future[None] = self._loop.create_future()
        self._log.append(frame, landed)
        self._waiting.add(landed)
        try:
            await landed
        finally:
            self._waiting.discard(landed)

    def _deliver(self, group: Sequence[asyncio.Future[None]], trouble: OSError | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_settle, group, trouble)

    async def _watch(self) -> None:
        """Tell those who wait for a disk that does not answer to come again, and those who send too
        slowly; end a process that writes no more, so that another takes its place."""
        while True:
            await asyncio.sleep(1)
            if self._log.stuck or not self._log.alive:
                _settle([*self._waiting], TimeoutError("the disk has not answered in time"))
            now = self._loop.time()
            for task in [task for task, until in self._receiving.items() if now > until]:
                task.cancel()
            if not self._log.alive:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._loop = asyncio.get_running_loop()
                self._log.deliver = self._deliver
                self._watching = self._loop.create_task(self._watch())
            if message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self._log.close)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    def _preflight(self, headers: Mapping[bytes, bytes]) -> Answer:
        ring = self._ring()
        origin = headers.get(b"origin", b"").decode("latin-1")
        if ring is not None and origin and not ring.origin_allowed(origin):
            return _failed(403, "origin", "no key may be used by pages of this origin")
        return Answer(
            204,
            b"",
            [
                (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
                (b"access-control-allow-headers", _asked(headers)),
                (b"access-control-max-age", _MAX_AGE),
            ],
        )

    def _settings(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Answer:
        """What SDKs ask for before they send. Of an unknown key too, so that none can be sought
        by it; such a key is refused where it sends."""
        path = scope["path"]
        host = headers.get(b"host", b"127.0.0.1").decode("latin-1")
        scheme = self._scheme(scope, headers)
        key = protocol.settings_key(path)
        if key is not None:
            return Answer(200, protocol.segment_settings(key, scheme, host), [_JSON])
        if path.rstrip("/") in ("/sourceConfig", "/v1/sourceConfig"):
            name = _key_name(scope, headers, None, b"") or ""
            ring = self._ring()
            known = ring.find(name) if ring is not None else None
            if known is None:
                return _failed(401, "unknown_key", "send a write key that the collector knows")
            return Answer(200, protocol.rudder_settings(name, known.source, scheme, host), [_JSON])
        if path == "/health":
            return Answer(200, msgspec.json.encode({"ok": True, **vars(self.counts)}), [_JSON])
        return _failed(404, "not_found", "there is no GET at this address")

    def _scheme(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        client = scope.get("client")
        told = headers.get(b"x-forwarded-proto")
        if told and client and client_address(client[0], "0.0.0.0", self._trusted) != client[0]:  # noqa: S104
            return told.decode("latin-1").split(",")[0].strip()
        return str(scope.get("scheme", "http"))


def _settle(group: Sequence[asyncio.Future[None]], trouble: OSError | None) -> None:
    for landed in group:
        if landed.done():
            continue  # told already, or its client is gone
        if trouble is None:
            landed.set_result(None)
        else:
            landed.set_exception(Unwritable(trouble.errno, "the log could not be written"))


def moment(seconds: float) -> str:
    """Seconds since 1970 in ISO 8601, UTC, with microseconds."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1e6):06d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _key_name(
    scope: Scope, headers: Mapping[bytes, bytes], envelope: Envelope | None, body: bytes
) -> str | None:
    """The key of a request: in its header, its body, or its address."""
    authorization = headers.get(b"authorization")
    if authorization and (key := protocol.key_in_header(authorization)):
        return key
    if envelope is not None and envelope.write_key:
        return envelope.write_key
    return protocol.key_in_query(scope["query_string"]) or (
        protocol.key_in_text(body) if envelope is None else None
    )


def _asked(headers: Mapping[bytes, bytes]) -> bytes:
    asked = headers.get(b"access-control-request-headers", b"").lower()
    named = b", ".join(part.strip() for part in asked.split(b",") if part.strip())
    return named if named and len(named) < 500 else _ALLOWED


def _cors(origin: bytes) -> Headers:
    # a beacon carries credentials, for which a star is refused
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        # a page's script may not read it otherwise, and would wait as it sees fit
        (b"access-control-expose-headers", b"retry-after"),
        (b"vary", b"Origin"),
    ]


def _failed(status: int, code: str, message: str) -> Answer:
    return Answer(status, protocol.failure(code, message), [_JSON])


def _later(status: int, code: str, message: str, seconds: int = RETRY_SECONDS) -> Answer:
    answer = _failed(status, code, f"{message}; it is to be sent again in {seconds} s")
    answer.headers.append((b"retry-after", b"%d" % seconds))
    return answer
