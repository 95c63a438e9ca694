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
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.types import Receive, Scope, Send

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.control import Fault, Faults, Journal
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.hubspot.api import PATHS as HUBSPOT_PATHS
from cdp_assets.sandbox.hubspot.api import HubSpotApi
from cdp_assets.sandbox.salesforce.api import SalesforceApi
from cdp_assets.sandbox.salesforce.oauth import OAuth
from cdp_assets.sandbox.sugarcrm.api import SugarApi
from cdp_assets.sandbox.world.world import World
from cdp_assets.sandbox.zendesk.api import ZendeskApi

CLIENT_ID = "sandbox-client-id"
CLIENT_SECRET = "sandbox-client-secret"  # noqa: S105 (of a stand-in on this machine)
REFRESH_TOKEN = "sandbox-refresh-token"  # noqa: S105
HUBSPOT_TOKEN = "pat-sandbox-token"  # noqa: S105
ZENDESK_EMAIL = "agent@fathom.example"
ZENDESK_TOKEN = "zd-sandbox-token"  # noqa: S105
SUGAR = {
    "username": "integration", "password": "sandbox-password", "client_id": "sugar",
    "client_secret": CLIENT_SECRET, "platform": "cdp",
}  # fmt: skip


_GONE = ("IsDeleted", "_archived", "_deleted", "deleted")
"""What marks a deleted record, in one system or another."""


class Sandbox:
    """The ASGI application: control under /_sandbox, each system under its own paths."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock
        self.journal = Journal()
        self.faults = Faults()
        self.oauth = OAuth(self.clock, CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN)
        self.salesforce = SalesforceApi(world.tables, self.clock, self.oauth)
        self.hubspot = HubSpotApi(world.tables, self.clock, HUBSPOT_TOKEN)
        self.zendesk = ZendeskApi(
            world.tables, self.clock, ZENDESK_EMAIL, ZENDESK_TOKEN, CLIENT_ID, CLIENT_SECRET
        )
        self.sugarcrm = SugarApi(
            world.tables, self.clock, SUGAR["username"], SUGAR["password"], SUGAR["client_id"],
            SUGAR["client_secret"],
        )  # fmt: skip
        self.systems: dict[str, Callable[[Request], Reply]] = {
            "/services": self.salesforce.handle,
            **dict.fromkeys(HUBSPOT_PATHS, self.hubspot.handle),
            "/api/v2": self.zendesk.handle,
            "/oauth/tokens": self.zendesk.handle,
            "/rest/v1": self.sugarcrm.handle,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        request = await _request(scope, receive)
        if request.path.startswith("/_sandbox"):
            await _send(send, self.control(request))
            return
        started, begun = time.perf_counter(), self.journal.begun
        fault = self.faults.next(request.method, request.path)
        if fault is not None and fault.action == "stall":
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.action in ("status", "reset"):
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
        )
        if cut:
            _abort(send)
            return
        await _send(send, reply, truncate=fault is not None and fault.action == "truncate")

    def answer(self, request: Request) -> Reply:
        """What the stand-in of this path answers."""
        for path, handle in self.systems.items():
            if request.path.startswith(path):
                return handle(request)
        return Reply(404, {"message": "no such path in this sandbox"})

    def control(self, request: Request) -> Reply:
        """`/_sandbox/…`."""
        name = request.path.removeprefix("/_sandbox").strip("/")
        try:
            body = msgspec.json.decode(request.body) if request.body else {}
            return Reply(body=self._control(request.method, name, request, body))
        except LookupError as error:
            return Reply(404, {"message": str(error)})
        except Exception as error:  # noqa: BLE001 (a test's mistake comes back to the test)
            return Reply(400, {"message": f"{type(error).__name__}: {error}"})

    def _control(self, method: str, name: str, request: Request, body: Any) -> Any:
        match (method, name):
            case ("GET", "state"):
                return self.state()
            case ("POST", "next-day"):
                return self.world.next_day()
            case ("GET", "journal"):
                return self.journal.body(int(request.query.get("after", 0)))
            case ("DELETE", "journal"):
                self.journal.clear()
                return {}
            case ("GET", "faults"):
                return [fault.__dict__ for fault in self.faults.waiting]
            case ("POST", "faults"):
                self.faults.add(body if isinstance(body, list) else [body])
                return {"waiting": len(self.faults.waiting)}
            case ("DELETE", "faults"):
                self.faults.waiting.clear()
                return {}
            case ("POST", "clock"):
                at = body.get("now")
                self.clock.freeze(datetime.fromisoformat(at) if at else None)
                return {"now": self.clock.now().isoformat()}
            case ("POST", "expire-tokens"):
                systems = (self.oauth, self.hubspot.oauth, self.zendesk, self.sugarcrm)
                return {"expired": sum(system.expire() for system in systems)}
            case ("POST", "expire-locators"):
                self.salesforce.expire_locators()
                return {}
            case ("POST", "limits"):
                return self._set_limits(body)
            case ("POST", "salesforce/certificate"):
                self.oauth.public_key = body["public_key"].encode()
                self.oauth.usernames = frozenset(body["usernames"])
                return {}
            case ("POST", "salesforce/lock"):
                self.salesforce.objects.locks[body["id"]] = int(body["times"])
                return {}
            case ("POST", "salesforce/merge"):
                spec = self.salesforce.objects.spec(body["object"])
                self.salesforce.objects.merge(spec, body["master"], body["losers"])
                self.world.tables.commit()
                return {}
            case ("POST", "salesforce/undelete"):
                spec = self.salesforce.objects.spec(body["object"])
                self.salesforce.objects.undelete(spec, body["id"])
                self.world.tables.commit()
                return {}
            case ("POST", "salesforce/delete"):
                spec = self.salesforce.objects.spec(body["object"])
                self.salesforce.objects.delete(spec, body["id"])
                self.world.tables.commit()
                return {}
            case ("POST", "hubspot/marketing"):
                self.hubspot.marketing.seed(body)
                return {}
            case ("POST", "hubspot/archive-owner"):
                self.hubspot.archive_owner(body["id"])
                return {}
            case ("POST", "zendesk/touch"):
                self.zendesk.touch(body["object"], body["id"])
                return {}
        raise LookupError(f"no such control: {method} {name}")

    def _set_limits(self, body: dict[str, Any]) -> dict[str, Any]:
        """Limits a test asks for; those not named stay. A HubSpot limit of null is none."""
        salesforce, hubspot = self.salesforce, self.hubspot
        salesforce.daily_limit = int(body.get("salesforce_daily", salesforce.daily_limit))
        salesforce.calls = int(body.get("salesforce_used", salesforce.calls))
        jobs = salesforce.query_jobs
        jobs.polls = int(body.get("salesforce_bulk_polls", jobs.polls))
        jobs.page = int(body.get("salesforce_bulk_page", jobs.page))
        jobs.fail = body.get("salesforce_bulk_fail", jobs.fail)
        salesforce.ingest_jobs.polls = jobs.polls
        salesforce.replication.most = int(body.get("salesforce_deleted_ids", 600_000))
        salesforce.ingest_jobs.stop_after = body.get("salesforce_bulk_stop_after")
        salesforce.objects.duplicate_rule = body.get("salesforce_duplicate_rule", "off")
        hubspot.limits.forget()
        for name in ("per_ten_seconds", "search_per_second", "daily"):
            if f"hubspot_{name}" in body:
                setattr(hubspot.limits, name, body[f"hubspot_{name}"])
        if "hubspot_search_lag_seconds" in body:
            hubspot.search.lag = timedelta(seconds=float(body["hubspot_search_lag_seconds"]))
        for system, vendor in (("zendesk_", self.zendesk), ("sugarcrm_", self.sugarcrm)):
            asked = {n.removeprefix(system): v for n, v in body.items() if n.startswith(system)}
            vendor.limit(asked)
        return {}

    def state(self) -> dict[str, Any]:
        """What the world is, and how many records each table holds."""
        meta = self.world.tables.meta
        return {
            "people": meta["people"],
            "seed": meta["seed"],
            "today": self.world.today.isoformat(),
            "first_day": self.world.first.isoformat(),
            "now": self.clock.now().isoformat(),
            "events": str(self.world.files.folder),
            "truth": str(self.world.home / "truth.jsonl"),
            "refresh_token": REFRESH_TOKEN,
            "records": {
                name: sum(
                    not any(row.get(mark) for mark in _GONE)
                    for row in self.world.tables[name].rows.values()
                )
                for name in sorted(self.world.tables)
                if name.startswith(("salesforce.", "hubspot.", "zendesk.", "sugarcrm."))
            },
        }


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
