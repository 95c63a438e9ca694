"""What a power cut, a full disk or a stranger's hand can leave of a table: found, explained, and
repaired where that loses nothing.

A commit counts only once its log entry is synced (`commit.settle`), so a torn last entry belongs to
a write that nobody was told of: its step, run again, writes the same rows once more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from . import commit as log
from . import files
from .lake import Lake
from .maintenance import leftovers
from .schema import SEQ

Kind = Literal[
    "empty log entry",
    "torn log entry",
    "gap in the log",
    "bad checkpoint",
    "missing data file",
    "damaged data file",
    "reader ahead of its input",
    "unreadable",
    "leftover",
    "orphan",
]
_ENTRY = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(\..+)?\.parquet")
_MAGIC = b"PAR1"
# In the way of reading or writing; the others only take space.
GRAVE: frozenset[Kind] = frozenset(
    {
        "empty log entry",
        "torn log entry",
        "gap in the log",
        "bad checkpoint",
        "missing data file",
        "damaged data file",
        "reader ahead of its input",
        "unreadable",
    }
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. key: the table; path: the file, below the table's folder; advice:
    what it means and what to do; safe: `repair` mends it without losing anything."""

    key: str
    kind: Kind
    path: str
    advice: str
    safe: bool

    @property
    def grave(self) -> bool:
        """Whether it stands in the way of reading or writing."""
        return self.kind in GRAVE


def check(lake: Lake, keys: Iterable[str] | None = None, *, deep: bool = False) -> list[Finding]:
    """Look at these tables (by default at all), each under its lock.

    deep: also decode every data file instead of looking at its size, head and tail only.
    """
    found: list[Finding] = []
    for key in _folders(lake) if keys is None else keys:
        with lake.locks.hold("table:" + key):
            found += _table(lake, key, deep=deep)
    broken = {finding.key for finding in found if finding.grave}
    return found + list(_readers(lake, broken))


def repair(
    lake: Lake, findings: Iterable[Finding], *, drop_lost_files: bool = False
) -> list[Finding]:
    """Mend what is safe to mend and return it: torn last entries and bad checkpoints are moved
    aside (`*.damaged`), leftovers removed.

    drop_lost_files: also take data files that are missing or damaged out of their table, so that
        the rest can be read; their rows are lost until they are read again, as `advice` says.
    """
    mended = []
    for finding in findings:
        root = lake.path(finding.key)
        path = root / finding.path
        lost = finding.kind in ("missing data file", "damaged data file")
        with lake.locks.hold("table:" + finding.key):
            if lost and drop_lost_files:
                _drop(root, finding.path)
            elif not finding.safe:
                continue
            elif finding.kind == "leftover":
                path.unlink(missing_ok=True)
            elif path.exists():
                path.rename(path.with_name(path.name + ".damaged"))
                files.sync(path.parent)
        mended.append(finding)
    return mended


def _folders(lake: Lake) -> list[str]:
    """Keys of all tables, also of those whose log cannot be read."""
    return sorted(
        path.relative_to(lake.root).as_posix().removesuffix(".delta")
        for path in lake.root.rglob("*.delta")
        if (path / "_delta_log").is_dir()
    )


def _table(lake: Lake, key: str, *, deep: bool) -> Iterator[Finding]:
    root = lake.path(key)
    problems = list(_log(root, key))
    yield from problems
    for path in leftovers(root):
        yield Finding(
            key,
            "leftover",
            path.relative_to(root).as_posix(),
            "A killed writer's temporary file, part of no version. It may hold rows. `cdp fsck "
            "--repair` or `cdp maintain` removes it.",
            safe=True,
        )
    if not log.exists(root):
        return
    try:
        handle = DeltaTable(root)
    except (DeltaError, OSError) as error:
        if not problems:
            yield Finding(
                key,
                "unreadable",
                "_delta_log",
                f"The table cannot be opened ({type(error).__name__}) for a reason not known "
                "here. Restore it from a backup, or move its folder away and rebuild it.",
                safe=False,
            )
        return
    yield from _data(root, key, handle, deep=deep)


def _log(root: Path, key: str) -> Iterator[Finding]:
    folder = root / "_delta_log"
    names = sorted(path.name for path in folder.iterdir())
    entries = {int(m[1]): m[0] for name in names if (m := _ENTRY.fullmatch(name))}
    checkpoints = {
        int(m[1]): m[0]
        for name in names
        if (m := _CHECKPOINT.fullmatch(name)) and _is_parquet(folder / name)
    }
    last = max(entries, default=-1)
    start = max(checkpoints, default=-1)
    for version, name in entries.items():
        problem = _torn(folder / name)
        if problem is None:
            continue
        since = _time_before(folder, entries, version)
        if version == last:
            advice = (
                "The last log entry did not reach the disk: its write was never reported as done, "
                "and the table is as before it. `cdp fsck --repair` moves the entry aside; then "
                f"run the steps that were running after {since} again: they read their windows "
                "or files since their watermark anew."
            )
        elif version <= start:
            advice = "Damaged, but a later checkpoint holds what it said: nothing to do."
        else:
            advice = (
                "A log entry before the last is damaged, which no crash of ours can cause: look "
                "at the disk. Restore the table from a backup; without one move its folder away "
                f"and rebuild it, reading windows and files since {since} again."
            )
        yield Finding(key, problem, f"_delta_log/{name}", advice, safe=version == last)
    needed = range(start + 1, last)
    if gaps := [version for version in needed if version not in entries]:
        yield Finding(
            key,
            "gap in the log",
            f"_delta_log/{gaps[0]:020}.json",
            f"{len(gaps)} log entries since the last good checkpoint are gone. Restore them from a "
            "backup; without one move the table's folder away and rebuild it.",
            safe=False,
        )
    yield from _checkpoints(folder, key, set(entries), checkpoints, names)


def _checkpoints(
    folder: Path, key: str, entries: set[int], good: dict[int, str], names: list[str]
) -> Iterator[Finding]:
    last = max(entries, default=-1)
    pointer = folder / log.LAST_CHECKPOINT
    target: int | None = None
    if pointer.exists():
        try:
            target = int(json.loads(pointer.read_bytes())["version"])
        except (ValueError, KeyError, TypeError):
            target = None
    bad = [n for n in names if (m := _CHECKPOINT.fullmatch(n)) and int(m[1]) not in good]
    if pointer.exists() and target not in good:
        bad.append(pointer.name)
    start = max(good, default=-1)
    whole = all(version in entries for version in range(start + 1, last + 1))
    for name in bad:
        advice = (
            "The checkpoint did not reach the disk; the log entries it sums up are all there. "
            "`cdp fsck --repair` moves it aside, and the table opens again with all its rows."
            if whole
            else "The checkpoint is damaged and older log entries are gone. Restore the table from "
            "a backup; without one move its folder away and rebuild it."
        )
        yield Finding(key, "bad checkpoint", f"_delta_log/{name}", advice, safe=whole)


def _torn(path: Path) -> Literal["empty log entry", "torn log entry"] | None:
    content = path.read_bytes()
    if not content:
        return "empty log entry"
    try:
        for line in content.splitlines():
            if not isinstance(json.loads(line), dict):
                return "torn log entry"
    except ValueError:
        return "torn log entry"
    return None


def _time_before(folder: Path, entries: dict[int, str], version: int) -> str:
    earlier = [v for v in entries if v < version]
    if not earlier:
        return "the beginning"
    return _minute((folder / entries[max(earlier)]).stat().st_mtime)


def _minute(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(-4, 2)
            return head == _MAGIC and file.read(4) == _MAGIC
    except OSError:
        return False


def _data(root: Path, key: str, handle: DeltaTable, *, deep: bool) -> Iterator[Finding]:
    live = files.live_files(handle, handle.metadata().partition_columns)
    names = {files.local(file.path) for file in live}
    for file in live:
        path = root / files.local(file.path)
        kind: Kind | None = None
        if not path.exists():
            kind = "missing data file"
        elif not _whole(path, file, deep=deep):
            kind = "damaged data file"
        if kind is None:
            continue
        where = ", ".join(f"{name} {value}" for name, value in file.partition.items())
        yield Finding(
            key,
            kind,
            files.local(file.path),
            f"{file.rows} rows with _seq {file.least.get(SEQ)} to {file.most.get(SEQ)}"
            + (f" of {where}" if where else "")
            + f", written {_minute(file.modified / 1000)}, cannot be read. Restore the file from "
            "a backup. Without one: `cdp fsck --repair --drop-lost-files` takes it out of the "
            f"table; then read {_again(key, where, file.modified)} again.",
            safe=False,
        )
    # Files that an older version still names are vacuum's business, not orphans.
    spared = {files.local(path) for path in _named_by_log(root)}
    orphans = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.parquet")
        if "_delta_log" not in path.parts and path.relative_to(root).as_posix() not in names
    ]
    for name in sorted(set(orphans) - spared):
        yield Finding(
            key,
            "orphan",
            name,
            "No version names this file: its writer was killed before its commit, and its step "
            "writes the rows again. `cdp maintain` removes it a day after it was written.",
            safe=False,
        )


def _again(key: str, where: str, modified: int) -> str:
    """What to read again to get a lost file's rows back, by the table's place in the house."""
    when = _minute(modified / 1000)
    if key.startswith("raw/"):
        return f"the windows that raw/windows says were finished about {when} (a backfill of them)"
    if key == "events" or key.startswith("events/"):
        days = where.replace("event_day ", "") or "those files' days"
        return f"the event files that hold {days} (a backfill of that day)"
    return f"its inputs from the start (move the folder of {key} away and run its step)"


def _whole(path: Path, file: files.DataFile, *, deep: bool) -> bool:
    if path.stat().st_size != file.size or not _is_parquet(path):
        return False
    try:
        return not deep or pl.read_parquet(path, hive_partitioning=False).height == file.rows
    except (pl.exceptions.PolarsError, OSError):
        return False


def _named_by_log(root: Path) -> Iterator[str]:
    for entry in (root / "_delta_log").glob("*.json"):
        for line in entry.read_bytes().splitlines():
            try:
                action = json.loads(line)
            except ValueError:
                break
            for kind in ("add", "remove"):
                if isinstance(action, dict) and kind in action:
                    yield action[kind]["path"]


def _readers(lake: Lake, broken: set[str]) -> Iterator[Finding]:
    """Tables that say they have read further in another than its feed reaches."""
    keys = sorted(set(lake.keys()) - broken)
    handles = {key: handle for key in keys if (handle := lake.handle(key)) is not None}
    for key, handle in handles.items():
        for name, source in handles.items():
            read, seq = handle.transaction_version(name) or 0, log.seq_of(source)
            if read > seq:
                yield Finding(
                    key,
                    "reader ahead of its input",
                    "",
                    f"It has read {name} up to {read}, whose feed ends at {seq}: {name} was "
                    f"restored from an older copy or made anew. Move the folder of {key} away and "
                    "run its step again.",
                    safe=False,
                )


def _drop(root: Path, path: str) -> None:
    handle = DeltaTable(root)
    partition_by = handle.metadata().partition_columns
    lost = [f for f in files.live_files(handle, partition_by) if files.local(f.path) == path]
    if lost:
        removals = [file.removal() for file in lost]
        version = log.put(
            root, handle, partition_by=partition_by, removes=removals, transactions={}
        )
        log.settle(root, version)
