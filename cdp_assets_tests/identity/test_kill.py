"""Killed between two commits and run again: every table is as after an undisturbed run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from cdp_assets_tests.identity import kill

POINTS = [
    "records:after-told",
    "records:after-entity",
    "records:before-values",
    "resolve:after-ids",
    "resolve:after-changes",
    "resolve:after-graph",
    "resolve:before-links",
    "resolve:before-logins",
    "resolve:before-rules",
]
QUICK = {"records:before-values", "resolve:after-changes", "resolve:after-graph"}


def dump(folder: Path) -> dict[str, pl.DataFrame]:
    """Every table whole, tombstones too, without `_seq`."""
    found = {}
    for key in sorted(kill.open_lake(folder).keys()):
        rows = pl.read_delta(str(DeltaTable(folder / f"{key}.delta").table_uri)).drop("_seq")
        plain = [name for name, kind in rows.schema.items() if not kind.is_nested()]
        found[key] = rows.sort(plain)
    return found


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with its first day in, and the second day's input waiting."""
    folder = tmp_path_factory.mktemp("prepared") / "lake"
    kill.first_day(folder)
    kill.second_day(folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(
    prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("undisturbed") / "lake"
    shutil.copytree(prepared, folder)
    kill.work(folder)
    return dump(folder)


@pytest.mark.parametrize(
    "point", [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in POINTS]
)
def test_a_kill_leaves_no_trace(
    point: str, prepared: Path, undisturbed: dict[str, pl.DataFrame], tmp_path: Path
) -> None:
    folder = tmp_path / "lake"
    shutil.copytree(prepared, folder)
    command = [sys.executable, "-m", "cdp_assets_tests.identity.kill", str(folder)]
    done = subprocess.run(command, env={**os.environ, "CDP_CRASH_AT": point}, check=False)
    assert done.returncode == 137
    kill.work(folder)
    after = dump(folder)
    assert after.keys() == undisturbed.keys()
    different = [key for key in after if not after[key].equals(undisturbed[key])]
    assert different == []
    kill.work(folder)
    assert all(rows.equals(after[key]) for key, rows in dump(folder).items())
