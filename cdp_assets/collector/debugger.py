"""A page on this machine that shows events as they arrive, for whoever builds the tracking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from cdp_assets.collector.tail import Seen

FILES = Path(__file__).parent / "debugger_files"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def debugger_app(stream: Callable[[], Iterator[Seen | None]]) -> Starlette:
    """The page at `/` and its stream of events at `/events`. It has no log-in: it is for
    127.0.0.1 alone, and refuses requests that name another host, so that no page of another site
    can read it through a name of its own (DNS rebinding)."""

    def page(request: Request) -> Response:
        name = {"/": "page.html"}.get(request.url.path, request.url.path.lstrip("/"))
        return FileResponse(FILES / name, headers=_HEADERS) if _local(request) else _refused()

    async def events(request: Request) -> Response:
        if not _local(request):
            return _refused()
        return StreamingResponse(_sent(stream()), media_type="text/event-stream", headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/page.js", page),
            Route("/page.css", page),
            Route("/events", events),
        ]
    )


def _local(request: Request) -> bool:
    host = request.headers.get("host", "").rpartition(":")[0]
    return host in ("127.0.0.1", "localhost", "[::1]")


def _refused() -> Response:
    return Response("only for this machine", status_code=403)


async def _sent(seen: Iterator[Seen | None]) -> AsyncIterator[bytes]:
    while True:
        event = await asyncio.to_thread(next, seen, None)
        if event is None:
            yield b": nothing new\n\n"
        else:
            yield b"data: " + msgspec.json.encode(asdict(event)) + b"\n\n"
