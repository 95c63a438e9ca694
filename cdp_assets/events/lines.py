"""Lines of a file, in blocks, with memory bounded whatever stands in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from cdp_assets.events.decode import Lines
from cdp_assets.raw.quarantine import Refusal as Refused

LINE_LIMIT = 1 << 20
"""Bytes of one line; a longer one is refused without being read into memory."""
BLOCK = 4 << 20
EXCERPT = 4096
"""Bytes kept of a line that is too long."""
_BOM = b"\xef\xbb\xbf"


class Readable(Protocol):
    """What lines are read from: an open file, plain or inflating."""

    def read(self, size: int, /) -> bytes: ...


def read_lines(stream: Readable, limit: int = LINE_LIMIT, block: int = BLOCK) -> Iterator[Lines]:
    """Every line of `stream` once, in order, numbered from 1.

    Text where the block is UTF-8 as a whole, else bytes, for each line to be judged alone. A
    line longer than `limit` bytes is refused as `too_long` with its first bytes; the memory that
    it takes is bounded by `limit`. A byte order mark at the very beginning is dropped, so are
    carriage returns before a line's end.
    """
    first, rest, start = 1, b"", True
    skipping: tuple[int, bytes] | None = None  # size so far and beginning of an endless line
    while data := stream.read(block):
        if start:
            data = data.removeprefix(_BOM)
            start = False
        if skipping is not None:
            head, found, data = data.partition(b"\n")
            size, excerpt = skipping[0] + len(head), skipping[1]
            if not found:
                skipping = (size, excerpt)
                continue
            yield _too_long(first, size, excerpt)
            first, skipping = first + 1, None
        data = rest + data
        end = data.rfind(b"\n") + 1
        whole, rest = data[:end], data[end:]
        if whole:
            lines = _lines(first, whole[:-1], limit)
            first += len(lines.lines)
            yield lines
        if len(rest) > limit:
            skipping, rest = (len(rest), rest[:EXCERPT]), b""
    if skipping is not None:
        yield _too_long(first, *skipping)
    elif rest:
        yield _lines(first, rest, limit)


def _lines(first: int, data: bytes, limit: int) -> Lines:
    refused: list[Refused] = []
    lines: list[str | bytes]
    try:
        lines = list(data.decode().split("\n"))
        size = 4 if not data.isascii() else 1
    except UnicodeDecodeError:
        lines, size = list(data.split(b"\n")), 1
    if max(map(len, lines)) * size > limit:
        for index, line in enumerate(lines):
            raw = line.encode() if isinstance(line, str) else line
            if len(raw) > limit:
                refused.append(_refused(first + index, len(raw), raw))
                lines[index] = ""
    if b"\r" in data:
        lines = [
            line.removesuffix("\r") if isinstance(line, str) else line.removesuffix(b"\r")
            for line in lines
        ]
    return Lines(first, lines, refused)


def _too_long(first: int, size: int, excerpt: bytes) -> Lines:
    return Lines(first, [""], [_refused(first, size, excerpt)])


def _refused(row_number: int, size: int, line: bytes) -> Refused:
    return Refused(row_number, "too_long", f"{size} bytes in one line", line[:EXCERPT])
