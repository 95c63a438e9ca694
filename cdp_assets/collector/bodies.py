"""The body of a request: read with a ceiling, inflated with a ceiling."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

BODY_LIMIT = 4 << 20
"""Bytes of a request, as sent and inflated. Segment documents 500 KB a batch; its Python SDK closes
one only after passing 475,000 bytes, so at least 512 KiB must pass."""

INTAKE_LIMIT = 128 << 20
"""Bytes of bodies in the making that one worker holds."""
BODY_SECONDS = 30.0
"""How long a body may take to arrive: who sends a byte a second holds nothing for long."""

Receive = Callable[[], Awaitable[dict[str, Any]]]


class TooLarge(Exception):
    """The body is longer than BODY_LIMIT."""


class Crowded(Exception):
    """Too many bodies are being received at once."""


class Unpackable(Exception):
    """The body is not what its Content-Encoding says. The text says what is wrong."""


class Gone(Exception):
    """The client closed the connection before its body was whole."""


class Intake:
    """Bytes of bodies that are being received, all together, so that slow senders of large bodies
    cannot fill the memory."""

    def __init__(self, limit: int = INTAKE_LIMIT) -> None:
        self._left = limit

    @contextlib.contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """A function that counts bytes as held, until the end of the block. It raises Crowded."""
        held = 0

        def more(size: int) -> None:
            nonlocal held
            if size > self._left:
                raise Crowded
            self._left -= size
            held += size

        try:
            yield more
        finally:
            self._left += held


async def body_of(receive: Receive, length: int | None, encoding: bytes, intake: Intake) -> bytes:
    """The whole body, inflated where it is gzip or deflate.

    length: the Content-Length, None where there is none. Raises TooLarge (without reading on),
    Crowded, Unpackable, Gone.
    """
    if length is not None and length > BODY_LIMIT:
        raise TooLarge
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise Gone
    if message.get("more_body"):
        with intake.hold() as more:
            body = await _whole(body, receive, more)
    if len(body) > BODY_LIMIT:
        raise TooLarge
    return inflate(body, encoding) if encoding or body[:2] == b"\x1f\x8b" else body


async def _whole(first: bytes, receive: Receive, more: Callable[[int], None]) -> bytes:
    parts, size, coming = [first], len(first), True
    more(size)
    while coming:
        if size > BODY_LIMIT:
            raise TooLarge
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        more(len(parts[-1]))
        size += len(parts[-1])
        coming = bool(message.get("more_body"))
    return b"".join(parts)


def inflate(body: bytes, encoding: bytes, limit: int = BODY_LIMIT) -> bytes:
    """`body` without its Content-Encoding. Gzip is known by its first bytes too: beacons cannot
    say what they send. Raises TooLarge where more than `limit` bytes come out, Unpackable."""
    name = encoding.strip().lower()
    if body[:2] == b"\x1f\x8b":
        name = b"gzip"
    elif name in (b"", b"identity"):
        return body
    if name not in (b"gzip", b"x-gzip", b"deflate"):
        raise Unpackable("Content-Encoding is gzip, deflate or none")
    inflater = zlib.decompressobj(47)  # gzip or zlib, by its first bytes
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error:
        raise Unpackable(f"the body is no {name.decode()}") from None
    if len(inflated) > limit or inflater.unconsumed_tail:
        raise TooLarge
    if not inflater.eof:
        raise Unpackable(f"the {name.decode()} body is cut off")
    return inflated
