"""The command: makes or reopens a world, serves all stand-ins on one port until stopped."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import threading
import time
import urllib.parse
from collections.abc import Sequence
from datetime import date, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.types import Receive, Scope, Send

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.control import Fault
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.standins import (
    CLIENT_ID,
    CLIENT_SECRET,
    HUBSPOT_TOKEN,
    SUGAR,
    ZENDESK_EMAIL,
    ZENDESK_TOKEN,
    StandIns,
)
from cdp_assets.sandbox.world.world import World


class Sandbox(StandIns):
    """The ASGI application: control under /_sandbox, each system under its own paths."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        request = await _request(scope, receive)
        if request.path.startswith("/_sandbox"):
            await _send(send, self.control(request))
            return
        started, begun = time.perf_counter(), self.journal.begun
        now = time.time() + self.journal.waited
        fault = self.faults.next(request.method, request.path, now)
        if fault is not None and fault.action == "stall":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.action in ("status", "reset", "closed"):
            reply = Reply(fault.status, _fault_body(fault), dict(fault.headers))
        else:
            reply = self.answer(request)
        if fault is not None and fault.action == "commit_then_stall":
            await asyncio.sleep(fault.seconds)
        cut = fault is not None and fault.action in ("reset", "commit_then_reset")
        self.journal.add(
            begun,
            request.method,
            request.path,
            urllib.parse.urlencode(request.query),
            0 if cut else reply.status,
            round(time.perf_counter() - started, 6),
            reply.rows,
            fault.action if fault is not None else None,
            None if cut else reply.headers.get("Retry-After"),
            request.body,
        )
        if cut:
            _abort(send)
            return
        reply.headers["Date"] = format_datetime(self.clock.shown(), usegmt=True)
        await _send(send, reply, truncate=fault is not None and fault.action == "truncate")


def systems(url: str, world: World) -> list[dict[str, str]]:
    """What the command prints: one object a system."""
    return [
        {
            "system": "salesforce",
            "url": url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        },
        {"system": "hubspot", "url": url, "token": HUBSPOT_TOKEN},
        {"system": "events", "path": str(world.files.folder)},
        {"system": "zendesk", "url": url, "email": ZENDESK_EMAIL, "token": ZENDESK_TOKEN},
        {"system": "sugarcrm", "url": url, **SUGAR},
    ]


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-01-31") from None


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no moment, as 2026-01-31T12:00") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="cdp sandbox",
        description="Stand-ins of Salesforce, HubSpot, Zendesk and SugarCRM with a made-up world.",
    )
    parser.add_argument("--people", type=int, default=2000, help="how many people there are")
    parser.add_argument("--seed", type=int, default=1, help="which world it is")
    parser.add_argument("--port", type=_port, default=0, help="port; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--home", type=Path, help="folder of the world; by default a temporary one")
    parser.add_argument(
        "--end", type=_day, help="last day of the first state; by default yesterday"
    )
    parser.add_argument("--now", type=_moment, help="let the stand-ins' clock stand still here")
    parser.add_argument(
        "--until-eof",
        action="store_true",
        help="end when standard input does: when whoever holds it is gone, killed or not",
    )
    options = parser.parse_args(argv)
    if options.people < 1:
        parser.error("--people must be at least 1")
    clock = Clock()
    clock.freeze(options.now)
    home = options.home
    if home is None:
        import tempfile

        home = Path(tempfile.mkdtemp(prefix="cdp-sandbox-"))
    try:
        world = World(
            home.absolute(), people=options.people, seed=options.seed, end=options.end, clock=clock
        )
        listener = socket.create_server((options.host, options.port))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"cdp sandbox: {error}\n")
        return 1
    url = f"http://{options.host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        Sandbox(world),
        log_level="critical",
        access_log=False,
        lifespan="off",
        date_header=False,
        timeout_keep_alive=60,
    )
    server = uvicorn.Server(config)
    for line in systems(url, world):
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()
    for number in (signal.SIGINT, signal.SIGTERM):
        # A signal may come before the server listens for it, and the server raises it again when
        # it has stopped: neither may end the process before the snapshot.
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    if options.until_eof:
        threading.Thread(target=_end_with_input, daemon=True).start()
    server.run(sockets=[listener])
    world.tables.snapshot()
    return 0


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


async def _request(scope: Scope, receive: Receive) -> Request:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    path = scope.get("raw_path") or scope["path"].encode()
    return Request(
        scope["method"],
        path.decode("latin-1"),
        dict(query),
        headers,
        body,
        f"http://{headers.get('host', '127.0.0.1')}",
    )


async def _send(send: Send, reply: Reply, *, truncate: bool = False) -> None:
    body = reply.encoded()
    headers = {"content-type": reply.content_type, **reply.headers}
    if reply.status != 204:
        headers["content-length"] = str(len(body))
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()],
        }
    )
    if truncate:
        await send(
            {"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True}
        )
        await asyncio.sleep(0.05)
        _abort(send)
        return
    await send({"type": "http.response.body", "body": body})


def _abort(send: Send) -> None:
    """Cut the connection without an answer; the server's own transport is the only way to."""
    send.__self__.transport.abort()  # type: ignore[attr-defined]


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _fault_body(fault: Fault) -> Any:
    return fault.body.encode() if isinstance(fault.body, str) else fault.body
