"""A full disk: an error that says so, everything told before still there, and a way out."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from cdp_assets.lake import DiskFull, Lake, Table, fsck
from cdp_assets.lake.maintenance import reserve, vacuum

TABLE = Table(key="t", schema={"id": pl.Int64, "x": pl.Binary})


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=False)


def rows(number: int, size: int = 2**20) -> pl.DataFrame:
    return pl.DataFrame({"id": [number], "x": [os.urandom(size)]})


def test_a_full_disk_loses_nothing_that_was_told(small_disk: Path) -> None:
    lake = Lake(small_disk / "lake")
    table = lake.open(TABLE)
    told: list[int] = []

    def fill() -> None:
        for number in range(30):
            table.append(rows(number))
            told.append(number)
            reserve(lake, 2**20)

    with pytest.raises(DiskFull, match="disk is full"):
        fill()
    assert told
    assert sorted(Lake(lake.root).open(TABLE).scan().collect()["id"]) == told
    assert [finding for finding in fsck.check(lake, deep=True) if finding.grave] == []
    table.truncate(len(told) - 5)
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    removed, _ = vacuum(lake, "t", keep_hours=0)
    assert removed == 5
    assert not (lake.root / "_reserve").exists()
    assert table.append(rows(99)).inserted == 1


def test_a_write_that_fails_leaves_no_file_behind(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lake.open(Table(key="p", schema={"g": pl.String}, partition_by=("g",)))
    table.append(pl.DataFrame({"g": ["a"]}))
    real, calls = os.fsync, []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskFull):
        table.append(pl.DataFrame({"g": ["a", "b", "c"]}))
    monkeypatch.undo()
    assert len(list(table.path.rglob("*.parquet"))) == 1
    assert table.scan().collect().height == 1


def test_an_fsync_that_fails_after_the_commit_is_an_error_and_keeps_its_files(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lake.open(TABLE)
    table.append(rows(1, 10), watermarks={"in": 1})
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".json"):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(Exception, match="fsck"):
        table.append(rows(2, 10), watermarks={"in": 2})
    monkeypatch.undo()
    assert fsck.check(lake, deep=True) == []
    table.append(rows(2, 10), watermarks={"in": 2})
    assert sorted(table.scan().collect()["id"]) == [1, 2]
