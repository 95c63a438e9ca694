"""Data files of a table: written and synced before the log names them, read back one by one."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from .errors import SchemaError
from .schema import Types

# In memory, about a quarter of that on disk. Files of keyed tables are smaller: changing one row
# writes its file anew (measured: 0.6 s a million rows of twelve columns).
FILE_BYTES = 256 * 1024 * 1024
KEYED_ROWS = 250_000
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_FOLDER_VALUE = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_LONGEST_STATISTIC = 64
_AT_ONCE = 8

T = TypeVar("T")


@dataclass(frozen=True)
class DataFile:
    """A live file of a table: where, how large, when written (ms since 1970), its partition's
    values, its statistics."""

    path: str
    size: int
    rows: int
    modified: int
    partition: Mapping[str, Any]
    least: Mapping[str, Any]
    most: Mapping[str, Any]

    def removal(self, *, data_change: bool = True) -> RemoveAction:
        """The log entry that takes this file out of the table."""
        return RemoveAction(
            path=self.path,
            data_change=data_change,
            deletion_timestamp=int(time.time() * 1000),
            size=self.size,
            partition_values={n: _text(v) for n, v in self.partition.items()},
        )


def live_files(table: DeltaTable, partition_by: Sequence[str]) -> list[DataFile]:
    """The files of the handle's version, with what the log says of them."""
    actions = pl.DataFrame(table.get_add_actions(flatten=False))
    found = []
    for row in actions.iter_rows(named=True):
        partition = row.get("partition") or row.get("partition_values") or {}
        found.append(
            DataFile(
                path=row["path"],
                size=row["size_bytes"],
                rows=row["num_records"] or 0,
                modified=_milliseconds(row["modification_time"]),
                partition={name: partition.get(name) for name in partition_by},
                least=row.get("min") or {},
                most=row.get("max") or {},
            )
        )
    return found


def _milliseconds(value: Any) -> int:
    return int(value.timestamp() * 1000) if isinstance(value, datetime) else int(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def local(path: str) -> str:
    """A log entry's path (percent-encoded) as a path below the table's folder."""
    return unquote(path)


def prune(
    live: Sequence[DataFile], wanted: pl.DataFrame, statistics: Sequence[str]
) -> list[DataFile]:
    """The files that can hold a row matching one of `wanted` (distinct values of some columns),
    by their partition's values and by their statistics."""
    if wanted.is_empty():
        return []
    bounds = {n: (wanted[n].min(), wanted[n].max()) for n in wanted.columns if n in statistics}
    folders: dict[str, set[Any]] = {}
    if live:
        for name in live[0].partition:
            if name in wanted.columns:
                folders[name] = set(wanted[name].unique())
    near = []
    for file in live:
        if any(file.partition[name] not in values for name, values in folders.items()):
            continue
        if any(_apart(file, name, low, high) for name, (low, high) in bounds.items()):
            continue
        near.append(file)
    return near


def _apart(file: DataFile, name: str, low: Any, high: Any) -> bool:
    least, most = file.least.get(name), file.most.get(name)
    if least is None or most is None or low is None or high is None:
        return False
    try:
        return bool(most < low or least > high)
    except TypeError:
        return False


def read(root: Path, files: Iterable[DataFile], stored: Types, source: str | None) -> pl.LazyFrame:
    """The rows of these files in the table's stored types.

    stored: the table's columns, partition columns included.
    source: name of a column to add that holds each row's file, or None.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[DataFile]] = {}
    for file in files:
        groups.setdefault(tuple(file.partition.items()), []).append(file)
    frames = []
    for partition, members in groups.items():
        values = dict(partition)
        inside = {name: dtype for name, dtype in stored.items() if name not in values}
        frame = pl.scan_parquet(
            [str(root / local(file.path)) for file in members],
            schema=inside,
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
            glob=False,
            cast_options=_UPCAST,
            include_file_paths=source,
        )
        literals = [pl.lit(values[name], dtype=stored[name]).alias(name) for name in values]
        extra = [source] if source else []
        frames.append(frame.with_columns(literals).select(*stored, *extra))
    if not frames:
        columns = dict(stored) | ({source: pl.String()} if source else {})
        return pl.LazyFrame(schema=columns)
    return pl.concat(frames)


_UPCAST = pl.ScanCastOptions(
    integer_cast="upcast",
    float_cast="upcast",
    missing_struct_fields="insert",
    extra_struct_fields="ignore",
)


def write(
    root: Path,
    rows: pl.DataFrame,
    *,
    partition_by: Sequence[str],
    cluster_by: Sequence[str],
    statistics: Sequence[str],
    rows_per_file: int | None = None,
    data_change: bool = True,
) -> list[AddAction]:
    """Write rows as Parquet files, synced to the disk together with their folders, and return the
    log entries that make them part of the table. Until those are committed nobody sees the files;
    where this raises, none is left.
    """
    if rows.is_empty():
        return []
    if cluster_by:
        rows = rows.sort(*cluster_by, maintain_order=True)
    folders: set[Path] = set()
    waiting: list[tuple[Path, dict[str, str | None], pl.DataFrame]] = []
    for values, part in _parts(rows, partition_by):
        partition = dict(zip(partition_by, (_text(v) for v in values), strict=True))
        folder = root.joinpath(*(f"{n}={_folder(n, v)}" for n, v in partition.items()))
        folders.add(folder)
        for piece in _pieces(part, rows_per_file):
            waiting.append((folder / f"part-{uuid.uuid4().hex}.zstd.parquet", partition, piece))
    for folder in tuple(folders):
        folders.update(make_folder(folder))

    def put(path: Path, partition: dict[str, str | None], piece: pl.DataFrame) -> AddAction:
        return AddAction(
            size=_write_file(path, piece),
            path=path.relative_to(root).as_posix(),
            partition_values=partition,
            modification_time=int(time.time() * 1000),
            data_change=data_change,
            stats=_statistics(piece, statistics),
        )

    try:
        actions = _each(put, waiting)
        _each(sync, [(folder,) for folder in folders])
    except BaseException:
        for path, _, _ in waiting:
            path.unlink(missing_ok=True)
        raise
    return actions


def _parts(
    rows: pl.DataFrame, partition_by: Sequence[str]
) -> Iterable[tuple[tuple[Any, ...], pl.DataFrame]]:
    """The rows of each partition without its columns, by their values."""
    if not partition_by:
        return [((), rows)]
    bare = rows.drop(partition_by)
    first = rows[partition_by[0]]
    if len(partition_by) > 1 or not first.is_sorted():
        return rows.partition_by(*partition_by, as_dict=True, include_key=False).items()
    # what comes in order is cut, not copied
    runs = first.rle().struct.unnest()
    starts = runs["len"].cum_sum() - runs["len"]
    return [
        ((value,), bare.slice(start, size))
        for value, start, size in zip(runs["value"], starts, runs["len"], strict=True)
    ]


def _each(action: Callable[..., T], arguments: Sequence[tuple[Any, ...]]) -> list[T]:
    """The results of the action for each of the arguments. Many at once, since most of the time
    goes into waiting for the disk: hundreds of partitions are hundreds of syncs."""
    if len(arguments) < 4:
        return [action(*given) for given in arguments]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [done.result() for done in [pool.submit(action, *given) for given in arguments]]


def _pieces(rows: pl.DataFrame, rows_per_file: int | None) -> Iterable[pl.DataFrame]:
    pieces = max(1, -(-int(rows.estimated_size()) // FILE_BYTES))
    if rows_per_file is not None:
        pieces = max(pieces, -(-rows.height // rows_per_file))
    return rows.iter_slices(-(-rows.height // pieces))


def make_folder(folder: Path) -> list[Path]:
    """Make a folder that only its owner may enter, and those above it; return the folders whose
    list of names has changed by it."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    return [path.parent for path in missing]


def _folder(name: str, value: str | None) -> str:
    if value is None:
        return _NULL_FOLDER
    if not _FOLDER_VALUE.fullmatch(value) or value in {".", ".."}:
        raise SchemaError(
            f"Partition column {name} holds a value that cannot name a folder (only letters, "
            "digits and _.- can, 1 to 128 of them). Not retried, nothing written."
        )
    return value


def _write_file(path: Path, rows: pl.DataFrame) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            rows.write_parquet(file, compression="zstd", compression_level=1)
            file.flush()
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def discard(root: Path, actions: Iterable[AddAction]) -> None:
    """Remove files whose commit did not happen; what cannot be removed is left to vacuum."""
    for action in actions:
        try:
            (root / action.path).unlink(missing_ok=True)
        except OSError:
            continue


def _statistics(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    least: dict[str, object] = {}
    most: dict[str, object] = {}
    nulls: dict[str, int] = {}
    for name in columns:
        if name not in rows.columns:
            continue
        column = rows[name]
        nulls[name] = column.null_count()
        low, high = _bound(column, least=True), _bound(column, least=False)
        if low is not None and high is not None:
            least[name], most[name] = low, high
    return json.dumps(
        {"numRecords": rows.height, "minValues": least, "maxValues": most, "nullCount": nulls}
    )


def _bound(column: pl.Series, *, least: bool) -> object:
    if column.dtype not in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.String, pl.Date) and not (
        isinstance(column.dtype, pl.Datetime)
    ):
        return None
    value: Any = column.min() if least else column.max()
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_STATISTIC else None
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if value.year >= 1000 else None
    if isinstance(value, date):
        return value.isoformat()
    return value


def sync(path: Path) -> None:
    """fsync a file, or a folder, so that the names in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
