"""Killed at any point, then run again: as if it had not been killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from cdp_assets.lake import Lake, Table, fsck
from cdp_assets.lake import commit as log
from cdp_assets.lake.maintenance import compact, vacuum

from . import crash_work
from .crash_work import KEYED, PLAIN, write

KILLED = 137


def killed(root: Path, verb: str, size: int, mark: int, crash_at: str) -> bool:
    command = [sys.executable, "-m", crash_work.__name__, str(root), verb, str(size), str(mark)]
    environment = os.environ | {"CDP_CRASH_AT": crash_at}
    return subprocess.run(command, env=environment, check=False).returncode == KILLED


def state(lake: Lake) -> tuple[object, ...]:
    plain, keyed = lake.open(PLAIN), lake.open(KEYED)
    rows = plain.scan().drop("_seq").collect()
    return (
        sorted(rows.rows(), key=str),
        sorted(keyed.scan().drop("_seq").collect().rows()),
        plain.watermark("in"),
        keyed.watermark("in"),
    )


def begin(root: Path) -> Lake:
    lake = Lake(root)
    for mark in (1, 2):
        start = pl.DataFrame({"id": [mark * 100, mark * 100 + 1]})
        lake.open(PLAIN).append(
            start.with_columns(y=pl.lit(1, dtype=pl.Float32)), watermarks={"in": mark}
        )
        lake.open(KEYED).merge(
            pl.DataFrame({"id": [1, 2, 100 + mark], "x": [mark, mark, mark]}),
            watermarks={"in": mark},
        )
    return lake


@pytest.mark.parametrize(
    ("verb", "point"),
    [
        ("append", "lake:before-commit"),
        ("append", "lake:after-commit"),
        ("merge", "lake:before-commit"),
        ("merge", "lake:after-commit"),
        ("replace", "lake:after-commit"),
        ("delete", "lake:after-commit"),
        ("widen", "lake:before-migration"),
        ("widen", "lake:after-migration"),
        ("compact", "lake:before-compaction"),
    ],
)
def test_killed_at_each_point_and_run_again(tmp_path: Path, verb: str, point: str) -> None:
    calm, shaken = begin(tmp_path / "calm"), begin(tmp_path / "shaken")
    write(calm.root, verb, 3, 3)
    before = state(shaken)
    assert killed(shaken.root, verb, 3, 3, point)
    if point != "lake:after-commit":
        assert state(shaken) == before
    write(shaken.root, verb, 3, 3)
    assert state(shaken) == state(calm)
    vacuum(shaken, "p", keep_hours=0)
    vacuum(shaken, "k", keep_hours=0)
    assert fsck.check(shaken, deep=True) == []
    assert state(shaken) == state(calm)


def test_killed_right_after_the_table_was_made(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert killed(lake.root, "append", 3, 1, "lake:after-create")
    assert (lake.open(PLAIN).exists(), lake.open(PLAIN).seq()) == (True, 0)
    write(lake.root, "append", 3, 1)
    assert lake.open(PLAIN).scan().collect().height == 3


def test_a_lock_is_let_go_of_when_its_holder_is_killed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from cdp_assets.lake import Lake\n"
        "with Lake(Path(sys.argv[1])).step('x'):\n    print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    start = time.monotonic()
    with lake.step("x"):
        assert time.monotonic() - start < 5


def test_data_is_on_the_disk_before_the_log_names_it_and_the_log_before_we_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut may take: nothing that a commit names, no commit that was reported."""
    table = Lake(tmp_path).open(
        Table(key="t", schema={"id": pl.Int64, "g": pl.String}, partition_by=("g",))
    )
    table.append(pl.DataFrame({"id": [1], "g": ["a"]}))
    synced: dict[str, bool] = {}
    entry = log.log_entry(
        table.path, table.append(pl.DataFrame({"id": [1], "g": ["a"]})).version + 1
    )
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.setdefault(path, entry.exists())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    table.append(pl.DataFrame({"id": [1, 2], "g": ["a", "new"]}))
    added = {
        str(table.path / action["path"])
        for action in pl.DataFrame(DeltaTable(table.path).get_add_actions()).to_dicts()
    }
    for path in added & synced.keys():
        assert synced[path] is False, "synced only after the log named it"
    assert len(added & synced.keys()) == 2
    for folder in (table.path, table.path / "g=a", table.path / "g=new"):
        assert synced[str(folder)] is False
    assert synced[str(entry)] is True
    assert synced[str(entry.parent)] is True


@pytest.mark.parametrize("retry", [2, 3], ids=["the same batch again", "the next batch"])
def test_a_commit_whose_writer_was_killed_before_its_sync_is_synced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retry: int
) -> None:
    table = Lake(tmp_path).open(PLAIN)
    table.append(pl.DataFrame({"id": [1]}), watermarks={"in": 1})
    with monkeypatch.context() as patch:
        patch.setattr(log, "settle", lambda *_, **__: None)
        version = table.append(pl.DataFrame({"id": [2]}), watermarks={"in": 2}).version
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    table.append(pl.DataFrame({"id": [2]}), watermarks={"in": retry})
    assert str(log.log_entry(table.path, version)) in synced


@pytest.mark.slow
def test_killed_at_random(tmp_path: Path) -> None:
    """One client's record of what it was told against the table, over a hundred kills."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    lake = Lake(tmp_path)
    for _ in range(100):
        code = (
            "import sys; from pathlib import Path; import polars as pl\n"
            "from cdp_assets.lake import Lake, Table\n"
            "from cdp_assets.lake.maintenance import compact, vacuum\n"
            "lake = Lake(Path(sys.argv[1]))\n"
            "t = lake.open(Table(key='p', schema={'id': pl.Int64}))\n"
            "k = lake.open(Table(key='k', schema={'id': pl.Int64, 'x': pl.Int64},"
            " primary_key=('id',)))\n"
            "print('ready', flush=True)\n"
            "n = t.watermark('in')\n"
            "while True:\n"
            "    n += 1\n"
            "    t.append(pl.DataFrame({'id': [n]}), watermarks={'in': n})\n"
            "    k.merge(pl.DataFrame({'id': [n % 7], 'x': [n]}), watermarks={'in': n})\n"
            "    if n % 5 == 0: compact(lake, 'p'); compact(lake, 'k')\n"
            "    if n % 11 == 0: vacuum(lake, 'p', keep_hours=0)\n"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.random() * 0.3)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        plain = lake.open(Table(key="p", schema={"id": pl.Int64}))
        count = plain.watermark("in")
        assert sorted(plain.scan().collect()["id"]) == list(range(1, count + 1))
        assert [f for f in fsck.check(lake, deep=True) if f.grave] == []


def test_compaction_finds_something_to_do_here(tmp_path: Path) -> None:
    assert compact(begin(tmp_path), "p") == 2
