"""One request as a frame of a segment: length, checksum, what is known of it, its body verbatim.

    segment  = "CDPLOG1\\n" seed frame*            seed: 8 random bytes
    frame    = length(u32) checksum(u32) content  little-endian; length of content, never 0
    content  = JSON object "\\n" body              the object is `Request`

The checksum is CRC-32 over seed, offset and content: neither a run of zeros nor what an older file
left on the disk passes for a frame, and no frame passes for one at another place.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

import msgspec

MAGIC = b"CDPLOG1\n"
SEED_BYTES = 8
START = len(MAGIC) + SEED_BYTES
"""Where the first frame of a segment begins."""
HEAD = struct.Struct("<II")
_OFFSET = struct.Struct("<Q")
_CONTENT = re.compile(rb'\{"source":')
"""How every frame's content begins."""
MOST_CHECKED = 256 << 20
"""Bytes that a search for frames in a broken tail may read: a body may be made to look like many
of them, each as long as all that follows."""
_EACH = 256
"""What looking at a place costs, as bytes that are read."""


class Request(msgspec.Struct, omit_defaults=True, frozen=True):
    """What is known of a request besides its body.

    source: the event source whose key it bore. received: ISO 8601, UTC, microseconds. call: what
    its address said it is: `batch`, or the type of its one event. ip, agent, referer: the
    client's, as far as the source lets them be kept. server: whether it bore a server key, whose
    word on `context.ip` is believed. gpc: it bore `Sec-GPC: 1`.
    """

    source: str
    received: str
    call: str
    ip: str | None = None
    agent: str | None = None
    referer: str | None = None
    server: bool = False
    gpc: bool = False


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A request and its body as they lie in a segment; `end` is the offset after it."""

    request: Request
    body: bytes
    end: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Request).decode


def content(request: Request, body: bytes) -> bytes:
    """What a frame of this request holds."""
    return b"%b\n%b" % (_encode(request), body)


def framed(seed: bytes, offset: int, content: bytes) -> bytes:
    """The frame of `content` at `offset` of the segment with this seed."""
    return HEAD.pack(len(content), checksum(seed, offset, content)) + content


def checksum(seed: bytes, offset: int, content: bytes | memoryview) -> int:
    """CRC-32 of a frame's content at its place."""
    return zlib.crc32(content, zlib.crc32(_OFFSET.pack(offset), zlib.crc32(seed)))


def seed_of(data: bytes | memoryview) -> bytes | None:
    """The seed of a segment, None where its beginning is not a segment's."""
    whole = len(data) >= START and bytes(data[: len(MAGIC)]) == MAGIC
    return bytes(data[len(MAGIC) : START]) if whole else None


def content_at(data: memoryview, seed: bytes, offset: int) -> memoryview | None:
    """The content of the frame at `offset`, None where no whole frame stands there."""
    first = offset + HEAD.size
    if first > len(data):
        return None
    length, expected = HEAD.unpack_from(data, offset)
    if not length or first + length > len(data):
        return None
    found = data[first : first + length]
    return found if checksum(seed, offset, found) == expected else None


def frames(data: memoryview, seed: bytes, offset: int = START) -> Iterator[Frame]:
    """Every frame from `offset` on, up to the first place where no whole one stands."""
    while (found := content_at(data, seed, offset)) is not None:
        offset += HEAD.size + len(found)
        whole = bytes(found)
        line = whole.index(b"\n")
        yield Frame(_decode(whole[:line]), whole[line + 1 :], offset)


def end_of_frames(data: memoryview, seed: bytes, offset: int = START) -> int:
    """The offset up to which `data` is whole frames without a gap."""
    while (found := content_at(data, seed, offset)) is not None:
        offset += HEAD.size + len(found)
    return offset


def another_frame(data: memoryview, seed: bytes, offset: int) -> bool:
    """Whether a whole frame stands anywhere from `offset` on: a torn tail has none behind it, a
    damaged middle has. Where more than can be checked looks like one, it is said to be: better a
    file too many kept aside than one cut."""
    checked = 0
    for found in _CONTENT.finditer(data, offset):
        place = found.start() - HEAD.size
        if place < offset:
            continue
        if content_at(data, seed, place):
            return True
        length = HEAD.unpack_from(data, place)[0]
        # a length beyond the end is refused unread, any other is read as a whole
        checked += _EACH + (length if found.start() + length <= len(data) else 0)
        if checked > MOST_CHECKED:
            return True
    return False


def looks_like_a_frame(data: memoryview) -> bool:
    """Whether the first frame is there as a whole but for its checksum: either it or the
    segment's beginning, by which all are checked, is hurt."""
    first = START + HEAD.size
    if len(data) < first:
        return False
    length = HEAD.unpack_from(data, START)[0]
    return first + length <= len(data) and _CONTENT.match(data, first) is not None
