"""Lines of a file, in blocks, with memory bounded whatever stands in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from cdp_assets.raw.quarantine import Refusal

LINE_LIMIT = 1 << 20
"""Bytes of one line; a longer one is refused without being read into memory."""
BLOCK = 1 << 24
EXCERPT = 4096
"""Bytes kept of a line that is too long."""
_INLINE = 12
"""Texts up to this size lie inside Arrow's views."""
_VIEW = np.dtype([("size", "<i4"), ("prefix", "<i4"), ("buffer", "<i4"), ("offset", "<i4")])
_BOM = b"\xef\xbb\xbf"

Places = np.ndarray[tuple[int], np.dtype[np.int64]]


class Lines:
    """Consecutive lines of a file, from line `first`.

    data: their bytes, each line with its newline. refused: lines that were refused unread; they
    stand in `data` as blank ones, or, with `numbers`, not at all. numbers: the line numbers of
    `data`, where they do not follow each other.
    """

    def __init__(
        self,
        first: int,
        data: bytes,
        refused: Sequence[Refusal] = (),
        numbers: Sequence[int] | None = None,
    ) -> None:
        self.first = first
        self.numbers = numbers
        self.data = data
        self.refused = tuple(refused)
        self.ends: Places = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == 10)
        self.starts: Places = np.concatenate([[0], self.ends[:-1] + 1])[: len(self.ends)]

    def __len__(self) -> int:
        return len(self.ends)

    def number(self, row: int) -> int:
        """The line number of the row at this place of the block."""
        return self.first + row if self.numbers is None else self.numbers[row]

    def row(self, number: int) -> int:
        """The place in the block of the first row with this line number, which is one of them."""
        return number - self.first if self.numbers is None else self._rows[number]

    @cached_property
    def _rows(self) -> dict[int, int]:
        found: dict[int, int] = {}
        for row, number in enumerate(self.numbers or ()):
            found.setdefault(number, row)
        return found

    def part(self, first: int, last: int) -> Lines:
        """The rows [first, last) as lines of their own."""
        return Lines(*self._slice(first, last))

    def _slice(
        self, first: int, last: int
    ) -> tuple[int, bytes, list[Refusal], Sequence[int] | None]:
        data = self.data[self.starts[first] : self.ends[last - 1] + 1]
        if self.numbers is not None:
            # refused lines are not among the rows: they go with the first part
            refused = self.refused if first == 0 else ()
            return self.number(first), data, list(refused), self.numbers[first:last]
        low, high = self.first + first, self.first + last
        return low, data, [r for r in self.refused if low <= r.position < high], None

    def number_of(self, row: pl.Series) -> pl.Series:
        """The line numbers of these rows."""
        if self.numbers is None:
            return row + self.first
        return pl.Series(self.numbers, dtype=pl.Int64).gather(row)

    @property
    def unread(self) -> int:
        """How many refused lines are not even blank ones in `data`."""
        return 0 if self.numbers is None else len(self.refused)

    @cached_property
    def text(self) -> bool:
        """Whether the whole block is UTF-8."""
        if self.data.isascii():
            return True
        try:
            self.data.decode()
        except UnicodeDecodeError:
            return False
        return True

    @property
    def even(self) -> bool:
        """Whether all is UTF-8 and each line begins with { and ends with }, with no blank one."""
        if not len(self) or not self.text:
            return False
        sizes = self.ends - self.starts
        if int(sizes.min()) <= _INLINE:
            return False
        data = np.frombuffer(self.data, dtype=np.uint8)
        return bool((data[self.starts] == ord("{")).all() and (data[self.ends - 1] == 125).all())

    def column(self) -> pl.Series:
        """The lines as a column that lies over the block's own bytes; of an even block only."""
        data = np.frombuffer(self.data, dtype=np.uint8)
        views = np.zeros(len(self), dtype=_VIEW)
        views["size"] = self.ends - self.starts
        views["prefix"] = data[self.starts[:, None] + np.arange(4)].view("<i4")[:, 0]
        views["offset"] = self.starts
        buffers = [None, pa.py_buffer(views), pa.py_buffer(self.data)]
        return pl.Series(pa.Array.from_buffers(pa.string_view(), len(self), buffers))

    def lines(self) -> list[str | bytes]:
        """Each line without its newline: text, or its bytes where they are not UTF-8."""
        found: list[str | bytes] = []
        if self.text:
            found += self.data.decode().split("\n")
        else:
            found += (_text(line) for line in self.data.split(b"\n"))
        return found[:-1]

    def texts(self, rows: Sequence[int]) -> pl.Series:
        """The lines at these places, which are UTF-8 each."""
        lines = self.lines()
        return pl.Series([lines[row] for row in rows], dtype=pl.String)


def _text(line: bytes) -> str | bytes:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line


class Readable(Protocol):
    """What lines are read from: an open file, plain or inflating."""

    def read(self, size: int, /) -> bytes: ...


def read_lines(stream: Readable, limit: int = LINE_LIMIT, block: int = BLOCK) -> Iterator[Lines]:
    """Every line of `stream` once, in order, numbered from 1.

    A line longer than `limit` bytes is refused as `too_long` with its first bytes; the memory
    that it takes is bounded by `limit`. A byte order mark at the very beginning is dropped, so
    are carriage returns before a line's end.
    """
    first, rest, start = 1, b"", True
    skipping: tuple[int, bytes] | None = None  # size so far and beginning of an endless line
    while data := stream.read(block):
        if start:
            data, start = data.removeprefix(_BOM), False
        if skipping is not None:
            head, found, data = data.partition(b"\n")
            skipping = (skipping[0] + len(head), skipping[1])
            if not found:
                continue
            yield _too_long(first, *skipping)
            first, skipping = first + 1, None
        end = data.rfind(b"\n") + 1
        if end:
            whole = b"".join((rest, memoryview(data)[:end]))  # one copy, not two
            lines = _bounded(first, whole, limit)
            first += len(lines)
            yield lines
            rest = data[end:]
        else:
            rest += data
        if len(rest) > limit:
            skipping, rest = (len(rest), rest[:EXCERPT]), b""
    if skipping is not None:
        yield _too_long(first, *skipping)
    elif rest:
        yield _bounded(first, rest + b"\n", limit)


def _bounded(first: int, data: bytes, limit: int) -> Lines:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    lines = Lines(first, data)
    sizes = lines.ends - lines.starts
    if int(sizes.max()) <= limit:
        return lines
    long = np.flatnonzero(sizes > limit).tolist()
    whole = data.split(b"\n")
    refused = [_refusal(first + i, len(whole[i]), whole[i]) for i in long]
    for index in long:
        whole[index] = b""
    return Lines(first, b"\n".join(whole), refused)


def _too_long(first: int, size: int, excerpt: bytes) -> Lines:
    return Lines(first, b"\n", [_refusal(first, size, excerpt)])


def _refusal(position: int, size: int, line: bytes) -> Refusal:
    return Refusal(position, "too_long", f"{size} bytes in one line", line[:EXCERPT])
