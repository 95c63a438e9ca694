"""Bytes of a file as plain UTF-8 text: inflated, transcoded, and damage told as one error."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

GZIP = b"\x1f\x8b"
BLOCK = 1 << 20


class UnreadableFile(Exception):
    """A file cannot be read as what it says it is. The text holds its path and what to do, and
    nothing of its content."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@contextmanager
def open_bytes(path: str, *, encoding: str | None = None) -> Iterator[BinaryIO]:
    """A file's bytes, inflated where it is gzip (told by its first bytes, not by its name).

    encoding: where given, or where a byte order mark tells UTF-16, the text comes as UTF-8.
    A UTF-8 byte order mark is left out. Bytes that are not of the encoding become lone surrogates'
    bytes in UTF-8 (`surrogateescape`), so that each row is judged by itself and none is altered
    unseen. Raises UnreadableFile, also while reading.
    """
    with open(path, "rb") as raw:
        packed = raw.read(2) == GZIP
        raw.seek(0)
        plain = cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="rb")) if packed else raw
        stream = _Checked(path, plain)
        mark = stream.peek(4)
        if mark.startswith(codecs.BOM_UTF8):
            stream.read(3)
        elif encoding is None and mark.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        if encoding is not None and codecs.lookup(encoding).name not in {"utf-8", "ascii"}:
            yield cast(BinaryIO, _Transcoded(path, stream, encoding))
        else:
            yield cast(BinaryIO, stream)


class _Checked(io.RawIOBase):
    """Bytes of a file whose damage is told as UnreadableFile."""

    def __init__(self, path: str, plain: BinaryIO) -> None:
        self._path = path
        self._plain = plain
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay to be read."""
        self._ahead += self._read(size - len(self._ahead))
        return self._ahead

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        ahead, self._ahead = self._ahead, b""
        if ahead:
            if 0 <= size < len(ahead):
                self._ahead = ahead[size:]
                return ahead[:size]
            return ahead + self._read(size - len(ahead) if size >= 0 else -1)
        return self._read(size)

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        block = self.read(len(view))
        view[: len(block)] = block
        return len(block)

    def _read(self, size: int) -> bytes:
        if size == 0:
            return b""
        try:
            return self._plain.read(size)
        except (EOFError, OSError, zlib.error) as error:
            kind = type(error).__name__
            raise UnreadableFile(
                self._path, f"could not be read to its end ({kind}). Put it there again, complete"
            ) from None


class _Transcoded(io.RawIOBase):
    """Text of another encoding as UTF-8."""

    def __init__(self, path: str, stream: _Checked, encoding: str) -> None:
        self._stream = stream
        try:
            self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace_marked")
        except LookupError:
            raise UnreadableFile(path, f"`{encoding[:40]}` is no known encoding") from None
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._left) < size:
            block = self._stream.read(BLOCK)
            self._left += self._decoder.decode(block, final=not block).encode(
                "utf-8", "surrogateescape"
            )
            if not block:
                break
        taken, self._left = (
            (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        )
        return taken

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        block = self.read(len(view))
        view[: len(block)] = block
        return len(block)


def _invalid(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes that the encoding does not know → a byte that is never UTF-8, so that the row is
    refused as undecodable instead of altered."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("replace_marked", _invalid)
