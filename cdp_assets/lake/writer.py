"""Writes to one table: what has to change is worked out in frames, then committed once.

Files are never changed: the rows of a touched file that stay are written anew (with their `_seq`)
in a file of their own, new and changed rows in another, so that a reader of the feed opens only
files that hold news.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from cdp_assets.settings import crash_point

from . import commit as log
from . import drift, files
from .commit import Commit
from .errors import (
    Conflict,
    KeyViolation,
    LakeError,
    SchemaError,
    ScopeError,
    StaleWatermark,
    guarded,
)
from .schema import SEQ, TIME, TOMBSTONE, check_names, declared_drift, fit, rows_to_declared
from .table import Table

_ATTEMPTS = 5
_FILE = "__file"
_INSIDE = "__inside"
_NAMED = "__named"


@dataclass
class Writer:
    """One write under the table's lock. peek: a handle of the newest version, None for no table;
    a conflict with someone who holds no lock is retried with a fresh one."""

    table: Table
    root: Path
    watermarks: dict[str, int]
    suppressed: Callable[[pl.DataFrame], pl.DataFrame] | None
    clock: Callable[[], datetime]
    peek: Callable[[], DeltaTable | None]

    def run(self, action: Callable[[Writer], Commit]) -> Commit:
        """Run `append`, `merge` … of this writer, again after a conflict, and return its commit."""
        for name, version in self.watermarks.items():
            if not name or name.startswith("_") or version < 0:
                raise LakeError(f"Table {self.table.key}: {name!r} ({version}) is no watermark.")
        for _ in range(_ATTEMPTS - 1):
            try:
                return guarded("writing", self.table.key, lambda: action(self))
            except Conflict:
                continue
        return guarded("writing", self.table.key, lambda: action(self))

    def append(self, rows: pl.DataFrame) -> Commit:
        """See `OpenTable.append`."""
        self._only(keyed=False, verb="append", instead="merge")
        handle = self.peek()
        if self.watermarks and not self._news(handle):
            return self._same(handle, rows.height)
        rows = self._admit(rows)
        if rows.is_empty() and not self.watermarks:
            return self._same(handle, 0)
        handle, rows = self._ready(handle, rows)
        return self._commit(handle, rows, Commit(0, 0, inserted=rows.height))

    def merge(self, rows: pl.DataFrame) -> Commit:
        """See `OpenTable.merge`."""
        self._only(keyed=True, verb="merge", instead="append")
        return self._upsert(self._keyed(self._admit(rows)), scope=None)

    def replace(self, rows: pl.DataFrame, scope: pl.DataFrame) -> Commit:
        """See `OpenTable.replace`."""
        allowed = {*self.table.primary_key, *self.table.partition_by}
        if not scope.columns or not allowed.issuperset(scope.columns):
            raise ScopeError(
                f"Table {self.table.key}: a scope is made of key or partition columns "
                f"({', '.join(sorted(allowed)) or 'the table has none'}), not "
                f"{', '.join(scope.columns) or 'nothing'}. Not retried, nothing written."
            )
        declared = self.table.stored()
        scope = rows_to_declared(scope, {n: declared[n] for n in scope.columns}, self.table.key)
        scope = scope.unique()
        rows = self._admit(rows)
        outside = rows.join(scope, on=scope.columns, how="anti", nulls_equal=True).height
        if outside:
            raise ScopeError(
                f"Table {self.table.key}: {outside} of {rows.height} rows lie outside the scope "
                f"({', '.join(scope.columns)}) they replace. Not retried, nothing written."
            )
        if self.table.keyed:
            return self._upsert(self._keyed(rows), scope=scope)
        return self._swap(rows, scope)

    def delete(self, keys: pl.DataFrame) -> Commit:
        """See `OpenTable.delete`."""
        self._only(keyed=True, verb="delete", instead="replace")
        declared = self.table.stored()
        key = self.table.primary_key
        missing = [name for name in key if name not in keys.columns]
        if missing:
            raise SchemaError(f"Table {self.table.key}: keys lack {', '.join(missing)}.")
        keys = rows_to_declared(keys.select(key), {n: declared[n] for n in key}, self.table.key)
        keys = keys.unique()
        handle = self.peek()
        self._news(handle)
        if handle is None:
            return self._finish(None, pl.DataFrame(schema=self.table.stored()), Commit(0, 0))
        old = self._matching(handle, keys, None).drop(_FILE, _INSIDE)
        doomed = old.filter(pl.col(TOMBSTONE).is_null())
        return self._finish(
            handle, self._tombstones(doomed), Commit(0, 0, deleted=doomed.height), gone=doomed
        )

    def truncate(self, after_seq: int) -> Commit:
        """See `OpenTable.truncate`."""
        self._only(keyed=False, verb="truncate", instead="merge")
        handle = self.peek()
        if handle is None or log.seq_of(handle) <= after_seq:
            return self._same(handle, 0)
        late = [
            file
            for file in files.live_files(handle, self.table.partition_by)
            if file.most.get(SEQ) is None or file.most[SEQ] > after_seq
        ]
        stored = log.stored_types(handle)
        removes, adds, gone = [], [], 0
        for file in late:
            rows = files.read(self.root, [file], stored, None).collect()
            rest = rows.filter(pl.col(SEQ) <= after_seq)
            if rest.height == rows.height:
                continue
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
                f"Table {self.table.key} has {has} primary key: {instead}, not {verb}, writes it."
            )

    def _admit(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that may be stored, with their types checked against the declaration."""
        if self.suppressed is not None:
            rows = self.suppressed(rows)
        key = self.table.key
        rows = rows.drop(SEQ, TOMBSTONE, strict=False)
        check_names(
            [*self.table.stored(), *(n for n in rows.columns if n not in self.table.schema)], key
        )
        declared = {n: t for n, t in self.table.stored().items() if n in self.table.schema}
        if self.table.evolves:
            return rows
        extra = [name for name in rows.columns if name not in declared]
        if extra:
            raise SchemaError(
                f"Table {key}: {', '.join(extra)} not declared, and the table does not evolve. "
                "Not retried, nothing written. Declare the columns or drop them."
            )
        return rows_to_declared(rows, declared, key)

    def _keyed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, once their primary key is known to hold: declared type, no null, no double."""
        key = self.table.primary_key
        missing = [name for name in key if name not in rows.columns]
        declared = self.table.stored()
        wrong = [
            n for n in key if n in rows.columns and rows.schema[n] not in (declared[n], pl.Null)
        ]
        if missing or wrong:
            raise SchemaError(
                f"Table {self.table.key}: key column {', '.join(missing + wrong)} is missing or "
                "not of its declared type. Not retried, nothing written."
            )
        nulls = rows.select(pl.any_horizontal(pl.col(key).is_null()).sum()).item()
        doubles = rows.height - rows.select(key).n_unique() if rows.height else 0
        if nulls or doubles:
            raise KeyViolation(
                f"Table {self.table.key}: of {rows.height} rows {nulls} have a null in the key "
                f"({', '.join(key)}) and {doubles} repeat another's. Not retried, nothing written: "
                "a null never matches, so each run would insert it again."
            )
        return rows

    def _news(self, handle: DeltaTable | None) -> bool:
        """Whether a watermark moves on. Raises where one would move back."""
        if not self.watermarks:
            return False
        stored = {} if handle is None else log.transactions(handle, list(self.watermarks))
        behind = [n for n, v in self.watermarks.items() if v < stored.get(n, 0)]
        if behind:
            raise StaleWatermark(
                f"Table {self.table.key}: it holds newer input of {', '.join(behind)} than these "
                "rows were made from; another run was faster. Nothing written. Run the step again; "
                "where an input was restored or made anew, move this table away and rebuild it."
            )
        if handle is None:
            return True
        return any(v > stored.get(n, 0) for n, v in self.watermarks.items())

    def _ready(
        self, handle: DeltaTable | None, rows: pl.DataFrame
    ) -> tuple[DeltaTable, pl.DataFrame]:
        """A handle of a table that rows fit into, made or migrated where needed, and the rows."""
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
        body = {n: t for n, t in stored.items() if n not in (SEQ, TOMBSTONE)}
        columns = [
            pl.col(n) if rows.schema.get(n) == t
            else pl.col(n).cast(t) if n in rows.columns
            else pl.lit(None, dtype=t).alias(n)
            for n, t in body.items()
        ]  # fmt: skip
        return handle, rows.select(columns)

    def _upsert(self, rows: pl.DataFrame, scope: pl.DataFrame | None) -> Commit:
        handle = self.peek()
        moves = self._news(handle)
        if rows.is_empty() and scope is None and not moves:
            return self._same(handle, 0)
        if rows.is_empty() and handle is None and not moves:
            return self._same(handle, 0)
        handle, rows = self._ready(handle, rows)
        key = list(self.table.primary_key)
        old = self._matching(handle, rows.select(key), scope)
        inside = old.filter(_INSIDE).drop(_FILE, _INSIDE)
        old = old.drop(_FILE, _INSIDE)
        doomed = inside.filter(pl.col(TOMBSTONE).is_null()).join(rows, on=key, how="anti")
        state = self._compare(rows, old)
        fresh = rows.filter(state != "unchanged")
        counts = dict(state.value_counts().iter_rows())
        written = pl.concat(
            [
                fresh.with_columns(pl.lit(None, dtype=TIME).alias(TOMBSTONE)),
                self._tombstones(doomed).drop(SEQ).select(*fresh.columns, TOMBSTONE),
            ]
        )
        gone = pl.concat([fresh.select(key), doomed.select(key)])
        return self._finish(
            handle,
            written,
            Commit(
                0,
                0,
                inserted=counts.get("inserted", 0),
                updated=counts.get("updated", 0),
                deleted=doomed.height,
                unchanged=counts.get("unchanged", 0),
            ),
            gone=gone.join(old, on=key, how="semi"),
        )

    def _swap(self, rows: pl.DataFrame, scope: pl.DataFrame) -> Commit:
        """Replace the rows of whole partitions of a table without key."""
        handle = self.peek()
        moves = self._news(handle)
        if rows.is_empty() and handle is None and not moves:
            return self._same(handle, 0)
        handle, rows = self._ready(handle, rows)
        stored = log.stored_types(handle)
        removes, adds, kept = [], [], []
        candidates = files.prune(
            files.live_files(handle, self.table.partition_by), scope, self.table.statistics
        )
        for file in candidates:
            present = files.read(self.root, [file], stored, None).collect()
            rest = present.join(scope, on=scope.columns, how="anti", nulls_equal=True)
            if rest.height < present.height:
                kept.append(present.join(scope, on=scope.columns, how="semi", nulls_equal=True))
                removes.append((file, rest))
        before = pl.concat(kept).select(rows.columns) if kept else rows.clear()
        if _same_rows(before, rows):
            return self._finish(handle, rows.clear(), Commit(0, 0, unchanged=rows.height))
        for _, rest in removes:
            adds += self._write(rest)
        seq = log.seq_of(handle) + 1
        adds += self._write(rows.with_columns(pl.lit(seq, dtype=pl.Int64).alias(SEQ)))
        done = Commit(0, 0, inserted=rows.height, deleted=before.height)
        return self._log(handle, adds, [f.removal() for f, _ in removes], done, grows=True)

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
            near += [
                f for f in files.prune(live, scope, self.table.statistics) if f.path not in paths
            ]
        key = list(self.table.primary_key)
        narrow = list(dict.fromkeys([*key, *(scope.columns if scope is not None else [])]))
        named = keys.lazy().with_columns(pl.lit(True).alias(_NAMED))
        found = files.read(self.root, near, stored, _FILE).select(*narrow, _FILE)
        if scope is None:
            hits = found.join(keys.lazy(), on=key, how="semi").with_columns(
                pl.lit(False).alias(_INSIDE)
            )
        else:
            inside = scope.lazy().with_columns(pl.lit(True).alias(_INSIDE))
            hits = (
                found.join(inside, on=scope.columns, how="left", nulls_equal=True)
                .join(named, on=key, how="left")
                .filter(pl.col(_INSIDE).is_not_null() | pl.col(_NAMED).is_not_null())
                .with_columns(pl.col(_INSIDE).fill_null(value=False))
            )
        index = hits.select(*key, _FILE, _INSIDE).collect()
        holders = set(index[_FILE].unique())
        touched = [file for file in near if str(self.root / files.local(file.path)) in holders]
        return (
            files.read(self.root, touched, stored, _FILE)
            .join(index.lazy(), on=[*key, _FILE], how="inner")
            .collect()
        )

    def _compare(self, rows: pl.DataFrame, old: pl.DataFrame) -> pl.Series:
        """Of each row: inserted, updated or unchanged. A null equals a null, NaN equals NaN."""
        key = list(self.table.primary_key)
        content = [n for n in rows.columns if n not in key and n not in self.table.stamps]
        if old.is_empty():
            return pl.Series("state", ["inserted"], dtype=pl.String).new_from_index(0, rows.height)
        marked = old.select(
            *key,
            *(pl.col(n).alias("old:" + n) for n in content),
            (pl.col(TOMBSTONE).is_not_null()).alias("old:gone"),
        )
        pairs = rows.select(*key, *content).join(marked, on=key, how="left", maintain_order="left")
        differs = [pl.col(n).ne_missing(pl.col("old:" + n)) for n in content]
        return pairs.select(
            pl.when(pl.col("old:gone").is_null() | pl.col("old:gone"))
            .then(pl.lit("inserted"))
            .when(pl.any_horizontal(differs) if differs else pl.lit(value=False))
            .then(pl.lit("updated"))
            .otherwise(pl.lit("unchanged"))
            .alias("state")
        ).to_series()

    def _tombstones(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.lit(self.clock(), dtype=TIME).alias(TOMBSTONE))

    def _finish(
        self,
        handle: DeltaTable | None,
        written: pl.DataFrame,
        done: Commit,
        gone: pl.DataFrame | None = None,
    ) -> Commit:
        """Commit `written` in place of the rows whose keys are in `gone`."""
        if written.is_empty() and not self._news(handle):
            return self._same(handle, done.unchanged)
        if handle is None:
            handle = log.create(self.root, self.table, self.table.stored())
        removes: list[RemoveAction] = []
        adds: list[AddAction] = []
        if gone is not None and gone.height:
            key = list(self.table.primary_key)
            stored = log.stored_types(handle)
            near = files.prune(
                files.live_files(handle, self.table.partition_by),
                gone.select(key),
                self.table.statistics,
            )
            for file in near:
                present = files.read(self.root, [file], stored, None).collect()
                rest = present.join(gone, on=key, how="anti")
                if rest.height < present.height:
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
        crash_point("lake:after-data")
        version = log.commit(
            self.root,
            handle,
            partition_by=self.table.partition_by,
            adds=adds,
            removes=removes,
            transactions=self.watermarks | ({SEQ: seq} if grows else {}),
        )
        return replace(done, seq=seq, version=version)

    def _same(self, handle: DeltaTable | None, unchanged: int) -> Commit:
        if handle is None:
            return Commit(0, -1, unchanged=unchanged)
        return Commit(log.seq_of(handle), handle.version(), unchanged=unchanged)

    def _write(self, rows: pl.DataFrame) -> list[AddAction]:
        return files.write(
            self.root,
            rows,
            partition_by=self.table.partition_by,
            cluster_by=self.table.cluster_by,
            statistics=self.table.statistics,
        )


def _same_rows(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Whether two frames hold the same rows, in any order. May say no where only rows that differ
    in a nested column alone stand in another order."""
    if one.height != other.height:
        return False
    plain = [n for n, t in one.schema.items() if not t.is_nested()]
    return one.sort(plain).equals(other.sort(plain)) if plain else one.equals(other)
