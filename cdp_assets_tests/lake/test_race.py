"""Several processes at once: the result of one after the other."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from cdp_assets.lake import Conflict, FileLocks, Lake
from cdp_assets.lake import commit as log
from cdp_assets.lake.maintenance import compact, vacuum

from .tables import EVENTS, PEOPLE, events, ids, people

HEAD = """
import sys, time
from pathlib import Path
from datetime import date
import polars as pl
from cdp_assets.lake import Lake, Table
from cdp_assets.lake.maintenance import compact, vacuum
lake, who = Lake(Path(sys.argv[1])), int(sys.argv[2])
plain = lake.open(Table(key="p", schema={"id": pl.Int64, "who": pl.Int64}))
keyed = lake.open(Table(key="k", schema={"id": pl.Int64, "n": pl.Int64}, primary_key=("id",)))
Path(sys.argv[1], f"ready{who}").touch()
while len(list(Path(sys.argv[1]).glob("ready*"))) < int(sys.argv[3]): time.sleep(0.001)
"""


def together(root: Path, *bodies: str) -> None:
    root.mkdir(exist_ok=True)
    children = [
        subprocess.Popen([sys.executable, "-c", HEAD + body, str(root), str(who), str(len(bodies))])
        for who, body in enumerate(bodies)
    ]
    try:
        assert [child.wait(timeout=60) for child in children] == [0] * len(bodies)
    finally:
        for child in children:
            child.kill()
            child.wait()


def ints(lake: Lake, key: str) -> pl.DataFrame:
    return pl.scan_delta(lake.path(key)).collect()


def test_reading_keys_and_appending_what_is_new_is_one_step(tmp_path: Path) -> None:
    body = """
for start in range(0, 60, 3):
    with plain.exclusive():
        have = set(plain.scan().collect()["id"])
        new = [i for i in range(start, start + 6) if i not in have]
        rows = {"id": new, "who": [who] * len(new)}
        plain.append(pl.DataFrame(rows, schema=dict(plain.table.schema)))
"""
    together(tmp_path, body, body)
    assert sorted(ints(Lake(tmp_path), "p")["id"]) == list(range(63))


def test_merges_of_the_same_keys_are_all_counted(tmp_path: Path) -> None:
    body = """
for _ in range(10):
    with keyed.exclusive():
        old = keyed.scan().collect()
        n = dict(old.select("id", "n").iter_rows())
        mine = [0, who + 1]
        keyed.merge(pl.DataFrame({"id": mine, "n": [n.get(i, 0) + 1 for i in mine]}))
"""
    together(tmp_path, body, body)
    lake = Lake(tmp_path)
    live = ints(lake, "k").filter(pl.col("deleted_at").is_null())
    assert sorted(live.select("id", "n").rows()) == [(0, 20), (1, 10), (2, 10)]


def test_no_live_file_goes_to_a_vacuum_beside_an_appender(tmp_path: Path) -> None:
    appender = """
for i in range(25):
    plain.append(pl.DataFrame({"id": [i], "who": [who]}))
Path(sys.argv[1], "done").touch()
"""
    cleaner = """
while not Path(sys.argv[1], "done").exists():
    compact(lake, "p", at_least=5)
    vacuum(lake, "p", keep_hours=0)
"""
    together(tmp_path, appender, cleaner)
    assert sorted(ints(Lake(tmp_path), "p")["id"]) == list(range(25))


def test_a_reader_beside_writers_sees_whole_commits(tmp_path: Path) -> None:
    writer = """
for i in range(30):
    plain.append(pl.DataFrame({"id": [i, i], "who": [0, 1]}))
    if i % 7 == 0:
        compact(lake, "p")
Path(sys.argv[1], "done").touch()
"""
    reader = """
last = 0
while not Path(sys.argv[1], "done").exists():
    seq = plain.seq()
    rows = plain.scan(upto=seq).collect()
    assert rows.height == 2 * seq >= last, (rows.height, seq)
    last = rows.height
"""
    together(tmp_path, writer, reader)


def test_of_two_with_the_same_transaction_one_handle_wins(lake: Lake) -> None:
    """What protects where a lock does not: the transaction is checked and stored by one handle."""
    table = lake.open(EVENTS)
    table.append(events("a"))
    handles = [DeltaTable(table.path) for _ in range(2)]
    log.put(table.path, handles[0], partition_by=["event_day"], transactions={"in": 1})
    with pytest.raises(CommitFailedError):
        log.put(table.path, handles[1], partition_by=["event_day"], transactions={"in": 1})


class Stranger:
    """Someone who commits to the table without its lock, right before the first `times` commits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, times: int) -> None:
        self.rows = pl.DataFrame(
            {"message_id": ["stranger"], "event_day": [None], "payload": [None], "_seq": [0]},
            schema={**EVENTS.schema, "_seq": pl.Int64},
        )
        self.left = times
        real = log.put

        def put(root: Path, handle: DeltaTable, **rest: object) -> int:
            if self.left:
                self.left -= 1
                write_deltalake(path, self.rows, mode="append")
            return real(root, handle, **rest)  # type: ignore[arg-type]

        monkeypatch.setattr(log, "put", put)


def test_a_conflict_is_tried_again_with_a_fresh_handle(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lake.open(EVENTS)
    table.append(events("a"))
    Stranger(monkeypatch, table.path, 2)
    table.append(events("b"), watermarks={"in": 1})
    assert ids(table, "message_id") == ["a", "b", "stranger", "stranger"]
    live = {Path(uri).name for uri in DeltaTable(table.path).file_uris()}
    assert {path.name for path in table.path.rglob("*.parquet")} == live, "files of a failed try"


def test_a_conflict_without_end_is_an_error_that_says_what_to_do(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lake.open(EVENTS)
    table.append(events("a"))
    Stranger(monkeypatch, table.path, 100)
    with pytest.raises(Conflict, match="does not hold its lock"):
        table.append(events("b"))
    assert "b" not in ids(table, "message_id")


def test_locks_are_exclusive_between_threads_and_can_be_taken_again(tmp_path: Path) -> None:
    locks: Sequence[FileLocks] = [FileLocks(tmp_path), FileLocks(tmp_path)]
    inside: list[int] = []
    most: list[int] = []

    def run(lock: FileLocks) -> None:
        for _ in range(20):
            with lock.hold("a/b"), lock.hold("a/b"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=run, args=(lock,)) for lock in locks * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(most)) == (1, 80)
    with locks[0].hold("a"), locks[1].hold("b"):
        pass  # other names do not wait for each other


def test_one_lock_per_table_and_writes_inside_it(lake: Lake) -> None:
    one, two = lake.open(EVENTS), lake.open(PEOPLE)
    with lake.step("records"), one.exclusive(), two.exclusive():
        one.append(events("a"))
        two.merge(people(id=["a"]))
        compact(lake, "events")
        vacuum(lake, "events")
    assert (one.seq(), two.seq()) == (1, 1)
