"""What ids of lines without one are minted from, so that a file read again brings the same ids."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.raw.files import FoundFile
from cdp_assets.raw.tables import FILES

_BLOCK = 1 << 20


def seed_of_segment(path: str) -> str:
    """What ids of a segment's events are minted from: its name, which no other segment ever has.

    Not its bytes: a segment that a disk damaged, and its copy from a backup, hold the same events.
    """
    return Path(path).stem


class Versions:
    """The earlier versions of a source's files, by path: a log that is written on is the same file,
    and its lines keep their ids."""

    def __init__(self, lake: Lake, source: str) -> None:
        rows = (
            lake.open(FILES)
            .scan()
            .filter((pl.col("source") == source) & (pl.col("state") == "ingested"))
            .select("path", "size", "sha256")
            .sort("path", "size")
            .collect()
        )
        self._known: dict[str, list[tuple[int, str]]] = {}
        for path, size, sha256 in rows.iter_rows():
            self._known.setdefault(path, []).append((size, sha256))

    def first(self, file: FoundFile) -> str:
        """The SHA-256 that ids of this file's lines are minted from: of the first version that
        was read under this path and whose bytes the file begins with, else its own.

        So the lines without a message id of a file that was read while it grew are known.
        """
        earlier = [(n, sha) for n, sha in self._known.get(file.path, []) if 0 < n < file.size]
        if not earlier:
            return file.sha256
        digest, done = hashlib.sha256(), 0
        with open(file.path, "rb") as stream:
            for size, sha256 in earlier:
                while done < size and (block := stream.read(min(_BLOCK, size - done))):
                    digest.update(block)
                    done += len(block)
                if digest.copy().hexdigest() == sha256:
                    return sha256
        return file.sha256
