"""Tables of the lake: read at a pinned version, written under one lock, followed by `_seq`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from cdp_assets.settings import Settings

from . import commit as log
from .commit import Commit
from .errors import Damaged, FeedRewound, guarded
from .files import local
from .lock import FileLocks, Locks
from .schema import SEQ, TIME, TOMBSTONE, widened, wider
from .table import Table
from .writer import Writer


class Lake:
    """The tables under one folder.

    root: the folder; made at the first write.
    suppressed: called with the rows of each append, merge and replace, under the table's lock
        right before they are written; returns the rows that may be stored.
    locks: where the locks are taken; by default flock(2) on files under the root.
    clock: the time that tombstones carry; by default `CDP_NOW`, else the clock.
    """

    def __init__(
        self,
        root: Path,
        *,
        suppressed: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
        locks: Locks | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.root = Path(root)
        self.suppressed = suppressed
        self.locks: Locks = locks or FileLocks(self.root / "_locks")
        self.clock = clock or _clock
        self._handles: dict[Path, tuple[tuple[int, ...], DeltaTable]] = {}

    def open(self, table: Table) -> OpenTable:
        """The table, for reading and writing. Does no I/O; the table need not exist."""
        return OpenTable(self, table)

    def step(self, name: str) -> AbstractContextManager[None]:
        """The exclusive lock of a step by its name: held from reading its own old state to its
        last commit. A thread that holds it may take it again."""
        return self.locks.hold("step:" + name)

    def path(self, key: str) -> Path:
        """Where the table of this key lies."""
        return self.root / (key + ".delta")

    def keys(self) -> list[str]:
        """Keys of the tables that exist, sorted."""
        found = []
        for folder, names, _ in os.walk(self.root):
            tables = [name for name in names if name.endswith(".delta")]
            for name in tables:
                path = Path(folder, name)
                if log.exists(path):
                    found.append(path.relative_to(self.root).as_posix().removesuffix(".delta"))
            names[:] = [n for n in names if n not in tables and not n.startswith((".", "_"))]
        return sorted(found)

    def handle(self, key: str) -> DeltaTable | None:
        """A handle of the table's newest version, None where there is no table.

        Kept in this process for as long as the log's newest entry is the same file: opening costs
        milliseconds, looking for the next entry microseconds. Never written through.
        """
        root = self.path(key)
        kept = self._handles.get(root)
        if kept is not None and _newest(root, kept[1].version()) == kept[0]:
            return kept[1]
        if not log.exists(root):
            self._handles.pop(root, None)
            return None
        opened = guarded("opening", key, lambda: LocalTable(root))
        for version in (opened.version(), opened.version() + 1):
            entry = log.log_entry(root, version)
            if entry.exists() and entry.stat().st_size == 0:
                # deltalake opens such a table without a word, as if the commit had not been.
                raise Damaged(
                    f"Table {key}: the log entry {entry.name} is empty; a power cut leaves such. "
                    "Not retried. Run `cdp fsck`: it says what to read again."
                )
        mark = _newest(root, opened.version())
        if mark is not None:
            self._handles[root] = (mark, opened)
        return opened


class LocalTable(DeltaTable):
    """A handle that names its files as the disk does.

    deltalake percent-encodes the folder's own path in `file_uris()`, and polars, which reads what
    that names, does not decode it: under `/home/Ada Müller` nothing could be read.
    """

    def file_uris(self, *arguments: Any, **options: Any) -> list[str]:
        return [local(path) for path in super().file_uris(*arguments, **options)]


def _clock() -> datetime:
    return Settings().clock()


def _newest(root: Path, version: int) -> tuple[int, ...] | None:
    """What identifies a version's log entry, None where it is gone or no longer the newest."""
    if log.log_entry(root, version + 1).exists():
        return None
    try:
        stat = log.log_entry(root, version).stat()
    except OSError:
        return None
    return (version, stat.st_ino, stat.st_mtime_ns, stat.st_size)


class OpenTable:
    """One table: read it, follow its feed, write to it."""

    def __init__(self, lake: Lake, table: Table) -> None:
        self.lake = lake
        self.table = table
        self.path = lake.path(table.key)

    def exists(self) -> bool:
        """Whether the table has been written to."""
        return log.exists(self.path)

    def seq(self) -> int:
        """The highest `_seq` ever committed, 0 where there is none. Never goes down."""
        handle = self.lake.handle(self.table.key)
        return 0 if handle is None else log.seq_of(handle)

    def origin(self) -> str:
        """The id that the table was made with, empty where there is none: one made anew at the
        same place has another, though its `_seq` may be the same."""
        handle = self.lake.handle(self.table.key)
        return "" if handle is None else str(handle.metadata().id)

    def watermark(self, name: str) -> int:
        """The version stored under this name by a commit, 0 where there is none."""
        handle = self.lake.handle(self.table.key)
        return 0 if handle is None else handle.transaction_version(name) or 0

    def exclusive(self) -> AbstractContextManager[None]:
        """The table's writer lock: take it to read keys and append what is new as one step. The
        writes take it themselves; a thread that holds it may take it again."""
        return self.lake.locks.hold("table:" + self.table.key)

    def scan(self, *, upto: int | None = None) -> pl.LazyFrame:
        """The table's live rows: declared columns (of an evolving table all columns) and `_seq`.

        Pinned: rows committed later are not in it. A maintenance run may take its files away; who
        meets FileNotFoundError at collect takes a fresh scan, once.
        upto: only rows with `_seq` ≤ upto. Of a keyed table these are the rows not written since,
            not the table as it was.
        """
        frame = self._columns(self._frame(), tombstone=self.table.keyed)
        if self.table.keyed:
            frame = frame.filter(pl.col(TOMBSTONE).is_null()).drop(TOMBSTONE)
        return frame if upto is None else frame.filter(pl.col(SEQ) <= upto)

    def changes(self, after: int, *, upto: int | None = None) -> pl.LazyFrame:
        """Rows written since: `after` < `_seq` (≤ `upto`), tombstones among them.

        Columns as in `scan`, and deleted_at (null for a live row and in tables without key). Reads
        only files whose statistics reach beyond `after`.
        Raises FeedRewound where the feed ends before `after`.
        """
        seq = self.seq()
        if after > seq:
            raise FeedRewound(
                f"Table {self.table.key}: its feed ends at {seq}, a reader has read up to {after}. "
                "The table was restored from an older copy or made anew. Not retried. Move the "
                "folders of the tables derived from it away and run their steps again."
            )
        if after == seq or (upto is not None and upto <= after):
            return self._columns(pl.LazyFrame(schema=self.table.stored()), tombstone=True)
        frame = self._frame().filter(pl.col(SEQ) > after)
        if upto is not None:
            frame = frame.filter(pl.col(SEQ) <= upto)
        return self._columns(frame, tombstone=True)

    def append(self, rows: pl.DataFrame, *, watermarks: Mapping[str, int] | None = None) -> Commit:
        """Add rows to a table without key, in one commit, with the watermarks.

        Where all watermarks are stored already, the batch has been appended before and nothing is
        written. Raises SchemaError, StaleWatermark, LakeError.
        """
        return self._write(watermarks, lambda writer: writer.append(rows))

    def merge(self, rows: pl.DataFrame, *, watermarks: Mapping[str, int] | None = None) -> Commit:
        """Bring full rows in by primary key: new ones are inserted, changed ones replaced, deleted
        ones revived; those whose content is the same keep their `_seq`. One commit.

        Raises SchemaError, KeyViolation (null or doubled key), StaleWatermark, LakeError.
        """
        return self._write(watermarks, lambda writer: writer.merge(rows))

    def replace(
        self,
        rows: pl.DataFrame,
        *,
        scope: pl.DataFrame,
        watermarks: Mapping[str, int] | None = None,
    ) -> Commit:
        """Make the rows of a scope exactly `rows`, in one commit.

        scope: distinct values of some key or partition columns. Stored rows that match one of its
            rows and are not in `rows` become tombstones (in a table without key: go).
        Raises ScopeError where `rows` holds one outside the scope, else as `merge`.
        """
        return self._write(watermarks, lambda writer: writer.replace(rows, scope))

    def delete(self, keys: pl.DataFrame, *, watermarks: Mapping[str, int] | None = None) -> Commit:
        """Turn the rows of these primary keys into tombstones; keys not there are passed over."""
        return self._write(watermarks, lambda writer: writer.delete(keys))

    def truncate(self, after_seq: int) -> Commit:
        """Take rows with `_seq` > after_seq out of a table without key: what a step killed before
        its last commit left behind. `seq()` does not go down, so no number is given twice."""
        return self._write(None, lambda writer: writer.truncate(after_seq))

    def _write(
        self, watermarks: Mapping[str, int] | None, action: Callable[[Writer], Commit]
    ) -> Commit:
        with self.exclusive():
            writer = Writer(
                self.table,
                self.path,
                watermarks=dict(watermarks or {}),
                suppressed=self.lake.suppressed,
                clock=self.lake.clock,
                peek=lambda: self.lake.handle(self.table.key),
            )
            return writer.run(action)

    def _frame(self) -> pl.LazyFrame:
        handle = self.lake.handle(self.table.key)
        if handle is None:
            return pl.LazyFrame(schema=self.table.stored())
        return guarded("reading", self.table.key, lambda: pl.scan_delta(handle))

    def _columns(self, frame: pl.LazyFrame, *, tombstone: bool) -> pl.LazyFrame:
        """The columns that readers see, in declared order and type. A column whose stored type
        clashes with the declared one is null until the next write moves its values beside."""
        stored = guarded("reading", self.table.key, frame.collect_schema)
        declared = self.table.stored()
        kept = declared.pop(TOMBSTONE, None) is not None
        out: list[pl.Expr] = []
        for name, dtype in declared.items():
            joint = wider(stored[name], dtype) if name in stored else None
            if joint is None:
                out.append(pl.lit(None, dtype=dtype).alias(name))
            else:
                out.append(widened(pl.col(name), stored[name], joint).alias(name))
        if self.table.evolves:
            seen = {*declared, TOMBSTONE}
            out[-1:-1] = [pl.col(name) for name in stored if name not in seen]
        if tombstone:
            gone = kept and TOMBSTONE in stored
            out.append(pl.col(TOMBSTONE) if gone else pl.lit(None, dtype=TIME).alias(TOMBSTONE))
        return frame.select(out)
