"""What the stand-ins hold: dict tables in memory, kept on disk by a snapshot and a log.

Every request that changes something ends in `Tables.commit()`, which appends the changed rows to
the log before the answer leaves; a start reads the snapshot and replays the log. Nothing is
lost when the process is killed (the log is handed to the operating system, not fsynced: a power
cut is no concern of a sandbox).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

Row = dict[str, Any]
"""One record; a field that is null may be absent. Rows are replaced, never changed in place."""


class Table:
    """Rows by id, with equality indexes built on first use."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._indexes: dict[str, dict[str, set[str]]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, key: str) -> Row | None:
        """The row of this id."""
        return self.rows.get(key)

    def find(self, field: str, value: object) -> list[str]:
        """Ids of the rows whose `field` equals `value` as text without case, in order."""
        index = self._indexes.get(field)
        if index is None:
            index = self._indexes[field] = {}
            for key, row in self.rows.items():
                if row.get(field) is not None:
                    index.setdefault(str(row[field]).casefold(), set()).add(key)
        return sorted(index.get(str(value).casefold(), ()))

    def put(self, key: str, row: Row | None) -> None:
        """Store `row` under `key`; None removes it."""
        old = self.rows.get(key)
        for field, index in self._indexes.items():
            before = None if old is None else old.get(field)
            after = None if row is None else row.get(field)
            if before == after:
                continue
            if before is not None:
                index.get(str(before).casefold(), set()).discard(key)
            if after is not None:
                index.setdefault(str(after).casefold(), set()).add(key)
        if row is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = row


class Tables:
    """All tables of both stand-ins, their counters and settings.

    folder: where snapshot and log lie; None keeps everything in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.meta: dict[str, Any] = {}
        self._tables: dict[str, Table] = {}
        self._dirty: list[tuple[str, str, Row | None]] = []
        self._before: list[Row | None] = []
        self._log: BinaryIO | None = None
        self._meta_dirty = False

    def __getitem__(self, name: str) -> Table:
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = Table()
        return table

    def __iter__(self) -> Iterator[str]:
        """Names of the tables that hold something."""
        return iter([name for name, table in self._tables.items() if table.rows])

    def put(self, name: str, key: str, row: Row | None) -> None:
        """Store a row (None removes it); on disk after the next commit."""
        table = self[name]
        self._before.append(table.rows.get(key))
        table.put(key, row)
        self._dirty.append((name, key, row))

    def set(self, key: str, value: Any) -> None:
        """Set an entry of `meta`; on disk after the next commit."""
        self.meta[key] = value
        self._meta_dirty = True

    def next_number(self, counter: str, first: int = 1) -> int:
        """The next number of a counter that is kept over restarts."""
        number = int(self.meta.get(f"counter:{counter}", first - 1)) + 1
        self.set(f"counter:{counter}", number)
        return number

    def commit(self) -> None:
        """Append what changed since the last commit to the log."""
        if not self._dirty and not self._meta_dirty:
            return
        if self.folder is not None:
            entry = {"rows": self._dirty, "meta": self.meta if self._meta_dirty else None}
            if self._log is None:
                self._log = (self.folder / self._log_name()).open("ab")
            self._log.write(msgspec.json.encode(entry) + b"\n")
            self._log.flush()
        self._dirty, self._before = [], []
        self._meta_dirty = False

    def mark(self) -> int:
        """A point to which `roll_back` can return before the next commit."""
        return len(self._dirty)

    def roll_back(self, mark: int) -> None:
        """Undo every `put` since `mark`; counters stay where they are, as in a real database."""
        while len(self._dirty) > mark:
            name, key, _ = self._dirty.pop()
            self[name].put(key, self._before.pop())

    def snapshot(self) -> None:
        """Write everything to a new snapshot and begin an empty log."""
        self._dirty, self._before = [], []
        self._meta_dirty = False
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        old_log = self._log_name()
        if self._log is not None:
            self._log.close()
            self._log = None
        self.meta["generation"] = int(self.meta.get("generation", 0)) + 1
        part = self.folder / "snapshot.json.part"
        with part.open("wb") as out:
            out.write(msgspec.json.encode({"meta": self.meta}) + b"\n")
            for name, table in self._tables.items():
                for key, row in table.rows.items():
                    out.write(msgspec.json.encode((name, key, row)) + b"\n")
        os.replace(part, self.folder / "snapshot.json")
        (self.folder / old_log).unlink(missing_ok=True)

    def load(self) -> bool:
        """Read snapshot and log; False where there is none."""
        if self.folder is None or not (self.folder / "snapshot.json").exists():
            return False
        with (self.folder / "snapshot.json").open("rb") as lines:
            self.meta = msgspec.json.decode(next(lines))["meta"]
            for line in lines:
                name, key, row = msgspec.json.decode(line)
                self[name].rows[key] = row
        log = self.folder / self._log_name()
        if log.exists():
            good = 0
            with log.open("rb") as lines:
                for line in lines:
                    if not line.endswith(b"\n"):
                        break  # torn by a kill: its request was never answered
                    entry = msgspec.json.decode(line)
                    for name, key, row in entry["rows"]:
                        self[name].put(key, row)
                    if entry["meta"] is not None:
                        self.meta = entry["meta"]
                    good += len(line)
            os.truncate(log, good)
        return True

    def _log_name(self) -> str:
        return f"log-{int(self.meta.get('generation', 0)):06d}.jsonl"
