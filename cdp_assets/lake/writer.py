"""Writes to one table: what has to change is worked out in frames, then committed once.

Files are never changed: the rows of a touched file that stay are written anew (with their `_seq`)
in a file of their own, new and changed rows in another, so that a reader of the feed opens only
files that hold news.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from cdp_assets.settings import crash_point

from . import commit as log
from . import drift, files
from . import rows as checks
from .commit import Commit
from .errors import Conflict, LakeError, StaleWatermark, guarded
from .schema import SEQ, TIME, TOMBSTONE, check_names, declared_drift, fit, widened
from .table import Table

_ATTEMPTS = 5
_FILE = "__file"
_INSIDE = "__inside"
_NAMED = "__named"


@dataclass
class Writer:
    """One write under the table's lock.

    peek: a handle of the newest version, None where there is no table. What is read from it and
        what is committed go through the same handle; a conflict with someone who holds no lock is
        retried from the start with a fresh one.
    """

    table: Table
    root: Path
    watermarks: dict[str, int]
    suppressed: Callable[[pl.DataFrame], pl.DataFrame] | None
    clock: Callable[[], datetime]
    peek: Callable[[], DeltaTable | None]
    _made: list[AddAction] = field(default_factory=list)

    def run(self, action: Callable[[Writer], Commit]) -> Commit:
        """Run `append`, `merge` … of this writer, again after a conflict, and return its commit."""
        for name, version in self.watermarks.items():
            if not name or name.startswith("_") or version < 0:
                raise LakeError(
                    f"Table {self.table.key}: a watermark has a name without leading underscore "
                    f"and a version from 0, not {name!r}: {version}. Nothing written."
                )
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._attempt(action)
            except Conflict:
                continue
        return self._attempt(action)

    def _attempt(self, action: Callable[[Writer], Commit]) -> Commit:
        self._made = []
        try:
            return guarded("writing", self.table.key, lambda: action(self))
        except BaseException:
            files.discard(self.root, self._made)
            raise

    def append(self, rows: pl.DataFrame) -> Commit:
        """See `OpenTable.append`."""
        self._only(keyed=False, verb="append", instead="merge")
        handle = self.peek()
        if self.watermarks and handle is not None and self._done(handle):
            # Its writer may have been killed between the commit and its sync.
            log.settle(self.root, handle.version())
            return self._same(handle, rows.height)
        self._moves(handle)
        rows = self._admit(rows)
        if rows.is_empty() and not self.watermarks:
            return self._same(handle, 0)
        handle, rows = self._ready(handle, rows)
        return self._commit(handle, rows, Commit(0, 0, inserted=rows.height))

    def merge(self, rows: pl.DataFrame) -> Commit:
        """See `OpenTable.merge`."""
        self._only(keyed=True, verb="merge", instead="append")
        rows = self._admit(rows)
        checks.check_keys(rows, self.table)
        return self._upsert(rows, scope=None)

    def replace(self, rows: pl.DataFrame, scope: pl.DataFrame) -> Commit:
        """See `OpenTable.replace`."""
        scope = checks.check_scope(scope, self.table)
        rows = self._admit(rows)
        checks.check_inside(rows, scope, self.table)
        if not self.table.keyed:
            return self._swap(rows, scope)
        checks.check_keys(rows, self.table)
        return self._upsert(rows, scope=scope)

    def delete(self, keys: pl.DataFrame) -> Commit:
        """See `OpenTable.delete`."""
        self._only(keyed=True, verb="delete", instead="replace")
        checks.exactly(keys, self.table.primary_key, self.table)
        keys = keys.select(self.table.primary_key).unique()
        handle = self.peek()
        moves = self._moves(handle)
        if handle is None or keys.is_empty():
            return self._upsert(self._admit(pl.DataFrame(schema=self.table.schema)), scope=None)
        if declared_drift(log.stored_types(handle), self.table.stored(), (), self.table.key):
            handle, _ = self._ready(handle, pl.DataFrame(schema=self.table.schema))
        old = self._matching(handle, keys, None)
        doomed = old.filter(pl.col(TOMBSTONE).is_null())
        if doomed.is_empty() and not moves:
            return self._same(handle, 0)
        written = self._tombstones(doomed).drop(_FILE, _INSIDE, SEQ)
        return self._exchange(handle, doomed, written, Commit(0, 0, deleted=doomed.height))

    def truncate(self, after_seq: int) -> Commit:
        """See `OpenTable.truncate`."""
        self._only(keyed=False, verb="truncate", instead="merge")
        handle = self.peek()
        if handle is None or log.seq_of(handle) <= after_seq:
            return self._same(handle, 0)
        stored = log.stored_types(handle)
        removes: list[RemoveAction] = []
        adds: list[AddAction] = []
        gone = 0
        for file in files.live_files(handle, self.table.partition_by):
            newest = file.most.get(SEQ)
            if newest is not None and newest <= after_seq:
                continue
            rows = files.read(self.root, [file], stored, None).collect()
            rest = rows.filter(pl.col(SEQ) <= after_seq)
            if rest.height < rows.height:
                gone += rows.height - rest.height
                removes.append(file.removal())
                adds += self._write(rest)
        if not gone:
            return self._same(handle, 0)
        return self._log(handle, adds, removes, Commit(0, 0, deleted=gone), grows=False)

    # What the verbs have in common.

    def _only(self, *, keyed: bool, verb: str, instead: str) -> None:
        if self.table.keyed != keyed:
            has = "a" if self.table.keyed else "no"
            raise LakeError(
                f"Table {self.table.key} has {has} primary key: use {instead}, not {verb}. "
                "Not retried, nothing written."
            )

    def _admit(self, rows: pl.DataFrame) -> pl.DataFrame:
        # Asked under the lock, right before the write: an erasure that ran while these rows were
        # on their way is known by now.
        if self.suppressed is not None:
            rows = self.suppressed(rows)
        return checks.admit(rows, self.table)

    def _stored_marks(self, handle: DeltaTable | None) -> dict[str, int]:
        if handle is None:
            return dict.fromkeys(self.watermarks, 0)
        return log.transactions(handle, list(self.watermarks))

    def _done(self, handle: DeltaTable) -> bool:
        """Whether all watermarks are stored already."""
        stored = self._stored_marks(handle)
        return all(version <= stored[name] for name, version in self.watermarks.items())

    def _moves(self, handle: DeltaTable | None) -> bool:
        """Whether a watermark moves on. Raises StaleWatermark where one would move back."""
        stored = self._stored_marks(handle)
        behind = [name for name, version in self.watermarks.items() if version < stored[name]]
        if behind:
            raise StaleWatermark(
                f"Table {self.table.key}: it holds newer input of {', '.join(behind)} than these "
                "rows were made from; another run was faster. Nothing written. Run the step again; "
                "where an input was restored or made anew, move this table away and rebuild it."
            )
        return any(version > stored[name] for name, version in self.watermarks.items())

    def _ready(
        self, handle: DeltaTable | None, rows: pl.DataFrame
    ) -> tuple[DeltaTable, pl.DataFrame]:
        """A handle of a table that the rows fit into, made or migrated where needed, and the rows
        in its columns."""
        key = self.table.key
        wanted = self.table.stored()
        if handle is None:
            handle = log.create(self.root, self.table, wanted)
        fixed = (*self.table.primary_key, *self.table.partition_by)
        change = declared_drift(log.stored_types(handle), wanted, fixed, key)
        if change:
            handle = drift.migrate(self.root, self.table, handle, change)
        stored = log.stored_types(handle)
        if self.table.evolves:
            check_names(list({**stored, **rows.schema}), key)
            rows, change = fit(rows, stored, key)
            if change:
                handle = drift.migrate(self.root, self.table, handle, change)
                stored = log.stored_types(handle)
        columns = []
        for name, dtype in stored.items():
            if name in (SEQ, TOMBSTONE):
                continue
            if name not in rows.columns:
                columns.append(pl.lit(None, dtype=dtype).alias(name))
            else:  # a wider type may be stored than is declared
                columns.append(widened(pl.col(name), rows.schema[name], dtype).alias(name))
        return handle, rows.select(columns)

    def _upsert(self, rows: pl.DataFrame, scope: pl.DataFrame | None) -> Commit:
        handle = self.peek()
        moves = self._moves(handle)
        if rows.is_empty() and not moves and (scope is None or handle is None):
            return self._same(handle, 0)
        handle, rows = self._ready(handle, rows)
        key = list(self.table.primary_key)
        old = self._matching(handle, rows.select(key), scope)
        state = checks.compare(rows, old, self.table)
        fresh = rows.filter(state != checks.UNCHANGED)
        doomed = old.filter(pl.col(_INSIDE) & pl.col(TOMBSTONE).is_null())
        doomed = doomed.join(rows, on=key, how="anti")
        counts = dict(state.value_counts().iter_rows())
        done = Commit(
            0,
            0,
            inserted=counts.get(checks.INSERTED, 0),
            updated=counts.get(checks.UPDATED, 0),
            deleted=doomed.height,
            unchanged=counts.get(checks.UNCHANGED, 0),
        )
        if fresh.is_empty() and doomed.is_empty() and not moves:
            return self._same(handle, done.unchanged)
        live = fresh.with_columns(pl.lit(None, dtype=TIME).alias(TOMBSTONE))
        ended = self._tombstones(doomed).select(live.columns)
        gone = old.join(pl.concat([fresh.select(key), doomed.select(key)]), on=key, how="semi")
        return self._exchange(handle, gone, pl.concat([live, ended]), done)

    def _swap(self, rows: pl.DataFrame, scope: pl.DataFrame) -> Commit:
        """Replace whole partitions of a table without key; equal ones are left alone."""
        handle = self.peek()
        moves = self._moves(handle)
        if rows.is_empty() and handle is None and not moves:
            return self._same(handle, 0)
        handle, rows = self._ready(handle, rows)
        stored = log.stored_types(handle)
        live = files.live_files(handle, self.table.partition_by)
        columns = scope.columns
        near = [
            file
            for file in files.prune(live, scope, self.table.statistics)
            if pl.DataFrame([[file.partition[n]] for n in columns], schema=scope.schema)
            .join(scope, on=columns, how="semi", nulls_equal=True)
            .height
        ]
        before = files.read(self.root, near, stored, None).select(rows.columns).collect()
        if checks.same_rows(before, rows):
            if not moves:
                return self._same(handle, rows.height)
            return self._commit(handle, rows.clear(), Commit(0, 0, unchanged=rows.height))
        done = Commit(0, 0, inserted=rows.height, deleted=before.height)
        return self._commit(handle, rows, done, (), [file.removal() for file in near])

    def _matching(
        self, handle: DeltaTable, keys: pl.DataFrame, scope: pl.DataFrame | None
    ) -> pl.DataFrame:
        """Stored rows of these keys or in this scope, with their file and whether in the scope.

        Keys are read first, whole rows only from the files that hold some of them.
        """
        stored = log.stored_types(handle)
        live = files.live_files(handle, self.table.partition_by)
        near = files.prune(live, keys, self.table.statistics)
        if scope is not None:
            paths = {file.path for file in near}
            more = files.prune(live, scope, self.table.statistics)
            near += [file for file in more if file.path not in paths]
        key = list(self.table.primary_key)
        columns = list(dict.fromkeys([*key, *(scope.columns if scope is not None else [])]))
        found = files.read(self.root, near, stored, _FILE).select(*columns, _FILE)
        if scope is None:
            hits = found.join(keys.lazy(), on=key, how="semi")
            hits = hits.with_columns(pl.lit(value=False).alias(_INSIDE))
        else:
            inside = scope.lazy().with_columns(pl.lit(value=True).alias(_INSIDE))
            named = keys.lazy().with_columns(pl.lit(value=True).alias(_NAMED))
            hits = (
                found.join(inside, on=scope.columns, how="left", nulls_equal=True)
                .join(named, on=key, how="left")
                .with_columns(pl.col(_INSIDE, _NAMED).fill_null(value=False))
                .filter(pl.col(_INSIDE) | pl.col(_NAMED))
            )
        index = hits.select(*key, _FILE, _INSIDE).collect()
        holders = set(index[_FILE].unique())
        touched = [file for file in near if self._path(file) in holders]
        return (
            files.read(self.root, touched, stored, _FILE)
            .join(index.lazy(), on=[*key, _FILE], how="inner")
            .collect()
        )

    def _path(self, file: files.DataFile) -> str:
        return str(self.root / files.local(file.path))

    def _tombstones(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.lit(self.clock(), dtype=TIME).alias(TOMBSTONE))

    def _exchange(
        self, handle: DeltaTable, gone: pl.DataFrame, written: pl.DataFrame, done: Commit
    ) -> Commit:
        """Commit `written` in place of the stored rows `gone` (with their file)."""
        key = list(self.table.primary_key)
        stored = log.stored_types(handle)
        removes: list[RemoveAction] = []
        adds: list[AddAction] = []
        holders = set(gone[_FILE].unique())
        for file in files.live_files(handle, self.table.partition_by) if holders else []:
            if self._path(file) not in holders:
                continue
            rest = (
                files.read(self.root, [file], stored, None)
                .collect()
                .join(gone, on=key, how="anti", maintain_order="left")
            )
            removes.append(file.removal())
            adds += self._write(rest)
        return self._commit(handle, written, done, adds, removes)

    def _commit(
        self,
        handle: DeltaTable,
        rows: pl.DataFrame,
        done: Commit,
        adds: Sequence[AddAction] = (),
        removes: Sequence[RemoveAction] = (),
    ) -> Commit:
        seq = log.seq_of(handle) + 1
        news = self._write(rows.with_columns(pl.lit(seq, dtype=pl.Int64).alias(SEQ)))
        return self._log(handle, [*adds, *news], removes, done, grows=bool(news))

    def _log(
        self,
        handle: DeltaTable,
        adds: Sequence[AddAction],
        removes: Sequence[RemoveAction],
        done: Commit,
        *,
        grows: bool,
    ) -> Commit:
        seq = log.seq_of(handle) + (1 if grows else 0)
        crash_point("lake:before-commit")
        version = log.put(
            self.root,
            handle,
            partition_by=self.table.partition_by,
            adds=adds,
            removes=removes,
            transactions=self.watermarks | ({SEQ: seq} if grows else {}),
        )
        self._made = []  # part of the table now, whatever comes
        crash_point("lake:after-commit")
        log.settle(self.root, version, after=handle.version())
        log.after(self.root, version)
        return replace(done, seq=seq, version=version)

    def _same(self, handle: DeltaTable | None, unchanged: int) -> Commit:
        if handle is None:
            return Commit(0, -1, unchanged=unchanged)
        return Commit(log.seq_of(handle), handle.version(), unchanged=unchanged)

    def _write(self, rows: pl.DataFrame) -> list[AddAction]:
        made = files.write(
            self.root,
            rows,
            partition_by=self.table.partition_by,
            cluster_by=self.table.cluster_by,
            statistics=self.table.statistics,
            rows_per_file=files.KEYED_ROWS if self.table.keyed else None,
        )
        self._made += made
        return made
