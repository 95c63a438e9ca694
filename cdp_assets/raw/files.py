"""Files in folders: which are new, whether they are whole, and their bytes as plain UTF-8 text.

What was read is remembered by path, size and SHA-256 in raw/files, never by a time alone: files of
one second, renamed copies and files that are still being written would go wrong.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, cast

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.raw.streams import BLOCK, GZIP, UnreadableFile, open_bytes
from cdp_assets.raw.tables import FILES

__all__ = [
    "FileNote",
    "FileScan",
    "FoundFile",
    "UnreadableFile",
    "find",
    "folder",
    "has_new",
    "holding",
    "inspect",
    "note",
    "open_bytes",
    "paths",
]

State = Literal["ingested", "same_bytes", "failed", "empty"]
SETTLE = timedelta(seconds=2)
"""A file changed more recently than this is looked at twice before it counts as whole."""


@dataclass(frozen=True)
class FoundFile:
    """A file as it lay there when it was looked at."""

    source: str
    path: str
    size: int
    mtime_ns: int
    sha256: str
    first_seen: datetime


@dataclass(frozen=True)
class FileNote:
    """What became of a file: a row of raw/files."""

    file: FoundFile
    state: State
    rows: int = 0
    days: tuple[date, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class FileScan:
    """What a look at a folder found.

    new: to be read. skipped: notes of files that need no reading (same bytes under another name,
    empty, broken); hand them to `note` together with those of the files read. growing: paths that
    are still being written. unchanged: how many were read before. missing: paths that were asked
    for again (`holding`) and are gone.
    """

    new: tuple[FoundFile, ...] = ()
    skipped: tuple[FileNote, ...] = ()
    growing: tuple[str, ...] = ()
    unchanged: int = 0
    missing: tuple[str, ...] = ()


@dataclass
class _Ledger:
    """raw/files of one source, by what a look at a folder needs."""

    seen: set[tuple[str, int, int]] = field(default_factory=set)
    notes: dict[tuple[str, str], FileNote] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)


def paths(pattern: str) -> list[str]:
    """Absolute paths of the regular files that a glob pattern names, sorted; hidden ones and
    those with a name that ends like one in the making (`.part`, `.tmp`) are left out."""
    found = glob.glob(os.path.expanduser(pattern), recursive=True)
    whole = {os.path.abspath(p) for p in found if not p.endswith((".part", ".tmp", ".crdownload"))}
    return sorted(p for p in whole if os.path.isfile(p))


def has_new(lake: Lake, source: str, pattern: str) -> bool:
    """Whether a file of the pattern is not in the ledger with its size and time; reads none."""
    seen = _ledger(lake, source).seen
    looks = (_look(p) for p in paths(pattern))
    return any(look not in seen for look in looks if look is not None)


def find(
    lake: Lake,
    source: str,
    pattern: str,
    now: datetime,
    *,
    settle: timedelta = SETTLE,
    sleep: Callable[[float], None] = time.sleep,
) -> FileScan:
    """The files of a pattern that were not read yet, with their SHA-256.

    Files whose path, size and time stand in the ledger are not opened. Writes nothing.
    """
    ledger = _ledger(lake, source)
    looks = {p: look for p in paths(pattern) if (look := _look(p)) is not None}
    fresh = {p: look for p, look in looks.items() if look not in ledger.seen}
    unchanged = len(looks) - len(fresh)
    growing = _unsettled(fresh, settle, sleep)
    new: list[FoundFile] = []
    skipped: list[FileNote] = []
    settled = [path for path in fresh if path not in growing]
    for path, (sha256, trouble) in zip(settled, _inspected(settled), strict=True):
        _, size, mtime = fresh[path]
        now_there = _look(path)
        if sha256 is None or now_there is None:
            continue
        if now_there != (path, size, mtime):
            growing.add(path)
            continue
        file = FoundFile(source, path, size, mtime, sha256, now)
        before = ledger.notes.get((path, sha256))
        if before is not None:
            # The same bytes at the same place, only touched: noted so that the next look is cheap.
            file = replace(file, first_seen=before.file.first_seen)
            skipped.append(replace(before, file=file))
            unchanged += 1
        elif (holder := ledger.holders.get(sha256)) is not None and size:
            skipped.append(FileNote(file, "same_bytes", reason=f"same bytes as {holder}"))
        elif size == 0:
            skipped.append(FileNote(file, "empty", reason="holds no bytes"))
        elif trouble is not None:
            skipped.append(FileNote(file, "failed", reason=trouble))
        else:
            ledger.holders[sha256] = path
            new.append(file)
    return FileScan(tuple(new), tuple(skipped), tuple(sorted(growing)), unchanged)


def holding(lake: Lake, source: str, first: date, last: date) -> FileScan:
    """The ingested files that hold a day of [first, last], to be read again."""
    rows = (
        _rows(lake, source)
        .filter(pl.col("state") == "ingested")
        .filter(pl.col("days").list.eval(pl.element().is_between(first, last)).list.any())
        .sort("path", "sha256")
        .collect()
    )
    new: list[FoundFile] = []
    missing: list[str] = []
    files = [_note(row).file for row in rows.iter_rows(named=True)]
    wanted = [file.path for file in files]
    found = {path: sha256 for path, (sha256, _) in zip(wanted, _inspected(wanted), strict=True)}
    for file in files:
        if found.get(file.path) == file.sha256:
            new.append(file)
        else:
            missing.append(file.path)
    return FileScan(new=tuple(new), missing=tuple(missing))


def note(lake: Lake, notes: Iterable[FileNote]) -> None:
    """Remember what became of files; to be called after the last commit of what they held."""
    rows = [
        {
            "source": n.file.source,
            "path": n.file.path,
            "sha256": n.file.sha256,
            "size": n.file.size,
            "mtime_ns": n.file.mtime_ns,
            "first_seen": n.file.first_seen,
            "rows": n.rows,
            "days": sorted(n.days),
            "state": n.state,
            "reason": n.reason,
        }
        for n in notes
    ]
    if rows:
        frame = pl.DataFrame(rows, schema=dict(FILES.schema))
        lake.open(FILES).merge(frame.unique(["source", "path", "sha256"], keep="last"))


def inspect(path: str) -> tuple[str, str | None]:
    """SHA-256 of a file's bytes, and what is wrong with it where it is no whole gzip file.

    A gzip file is inflated once for this: half a file must be found before its first row is taken.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as raw:
        packed = raw.read(2) == GZIP
        raw.seek(0)
        if not packed:
            while block := raw.read(BLOCK):
                digest.update(block)
            return digest.hexdigest(), None
        trouble = None
        hashed = _Hashed(raw, digest)
        try:
            with gzip.GzipFile(fileobj=cast(BinaryIO, hashed), mode="rb") as inflated:
                while inflated.read(BLOCK):
                    pass
        except (EOFError, OSError, zlib.error):
            trouble = "is no whole gzip file: cut off or damaged. Put it there again, complete"
        while hashed.read(BLOCK):
            pass
        return digest.hexdigest(), trouble


def _inspected(paths: Sequence[str]) -> Iterator[tuple[str | None, str | None]]:
    """As `inspect`, of each in its order; no hash of a file that is gone meanwhile. Hashing and
    inflating need no interpreter's lock, so two files are read at once."""
    with ThreadPoolExecutor(2, thread_name_prefix="files") as pool:
        yield from pool.map(_inspect_if_there, paths)


def _inspect_if_there(path: str) -> tuple[str | None, str | None]:
    try:
        return inspect(path)
    except FileNotFoundError:
        return None, None


class _Hashed:
    """A file that hashes what is read of it; it is read once from its beginning to its end."""

    def __init__(self, raw: BinaryIO, digest: hashlib._Hash) -> None:
        self._raw = raw
        self._digest = digest

    def read(self, size: int = -1) -> bytes:
        block = self._raw.read(size)
        self._digest.update(block)
        return block


def _look(path: str) -> tuple[str, int, int] | None:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return path, stat.st_size, stat.st_mtime_ns


def _unsettled(
    looks: dict[str, tuple[str, int, int]], settle: timedelta, sleep: Callable[[float], None]
) -> set[str]:
    """Paths of files that are being written. Young ones are looked at again after a wait."""
    wait = settle.total_seconds()
    ages = {p: time.time() - mtime / 1e9 for p, (_, _, mtime) in looks.items()}
    young = [p for p, age in ages.items() if age < wait]
    if not young:
        return set()
    sleep(max(wait - min(ages[p] for p in young), 0.0) if min(ages.values()) >= 0 else wait)
    return {p for p in young if _look(p) != looks[p]}


def _rows(lake: Lake, source: str) -> pl.LazyFrame:
    return lake.open(FILES).scan().filter(pl.col("source") == source)


def _ledger(lake: Lake, source: str) -> _Ledger:
    ledger = _Ledger()
    for row in _rows(lake, source).sort("first_seen", "path").collect().iter_rows(named=True):
        found = _note(row)
        file = found.file
        ledger.seen.add((file.path, file.size, file.mtime_ns))
        ledger.notes[(file.path, file.sha256)] = found
        if found.state == "ingested":
            ledger.holders.setdefault(file.sha256, file.path)
    return ledger


def _note(row: dict[str, object]) -> FileNote:
    file = FoundFile(
        source=cast(str, row["source"]),
        path=cast(str, row["path"]),
        size=cast(int, row["size"]),
        mtime_ns=cast(int, row["mtime_ns"]),
        sha256=cast(str, row["sha256"]),
        first_seen=cast(datetime, row["first_seen"]),
    )
    days = tuple(cast(Sequence[date], row["days"] or ()))
    state = cast(State, row["state"])
    return FileNote(file, state, cast(int, row["rows"]), days, cast(str | None, row["reason"]))


def folder(pattern: str) -> Path:
    """The folder below which a pattern looks: what exists of it before the first wildcard."""
    parts = Path(os.path.expanduser(pattern)).parts
    fixed = []
    for part in parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed) if fixed else Path()
