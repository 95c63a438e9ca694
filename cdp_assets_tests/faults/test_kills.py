"""Killed anywhere on the whole way and run again: the tables and both CRMs are as if it had not
been.

A home with its first run behind it and a day's news before it is copied for each test, together
with the sandbox's world; both clocks stand still.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets_tests.e2e.house import (
    FIRST,
    STEPS,
    House,
    creating_defs,
    crm_rows,
    different,
    dump,
    ledger,
    sandbox,
    set_clock,
    variables,
)

PEOPLE = 40
NEWS = FIRST + timedelta(minutes=10)
LATER = FIRST + timedelta(minutes=20)
POINTS = (
    "lake:after-create",
    "lake:before-commit",
    "lake:after-commit",
    "pull:after-chunk",
    "pull:after-data",
    "ingest:after-quarantine",
    "ingest:before-files",
    "ingest:after-files",
    "ingest:after-typed",
    "ingest:before-events",
    "ingest:after-events",
    "records:after-told",
    "records:after-entity",
    "records:before-values",
    "resolve:before-logins",
    "resolve:before-rules",
    "resolve:before-links",
    "resolve:after-ids",
    "resolve:after-changes",
    "resolve:after-graph",
    "build:after-changes",
    "build:before-profiles",
    "build:after-profiles",
    "audience:before-commit",
    "plan:before-table",
    "plan:after-table",
    "plan:before-store",
    "apply:after-intent",
    "apply:after-call",
    "apply:after-outcome",
    "apply:after-fold",
)
QUICK = ("pull:after-data", "ingest:after-typed", "resolve:after-ids", "build:after-changes",
         "apply:after-call")  # fmt: skip


@dataclass
class Prepared:
    """A world and a home to copy: `fresh` homes hold nothing, others one run."""

    world: Path
    home: Path
    defs: Path

    @contextmanager
    def copy(self, folder: Path, *, fresh: bool = False) -> Iterator[House]:
        """A house of its own in `folder`, and a sandbox in the same state for it.

        Event files are those of the first world for all, since raw/files keeps their paths.
        """
        shutil.copytree(self.world / "state", folder / "world" / "state")
        if not fresh:
            shutil.copytree(self.home, folder / "home")
        with sandbox(folder / "world", PEOPLE, now=LATER) as served:
            known = variables(served, self.world / "events")
            yield House(folder / "home", known, self.defs, LATER)


@dataclass
class Outcome:
    """What a run left behind."""

    tables: dict[str, pl.DataFrame]
    crms: dict[str, dict[str, Any]]
    told: pl.DataFrame

    @classmethod
    def of(cls, folder: Path) -> Outcome:
        tables = dump(folder / "home")
        # Each pull that came to its end is a row, killed later or not: what counts is coverage.
        tables["raw/windows"] = (
            tables["raw/windows"]
            .group_by("source", "object")
            .agg(pl.col("end").max())
            .sort("source", "object")
        )
        sent = ledger(folder / "home").filter(pl.col("outcome") == "ok")
        told = sent.select("sync", "profile_id", "record_id", "op", "fields", "created")
        return cls(tables, crm_rows(folder / "world"), told.sort(told.columns))


def assert_same(found: Outcome, expected: Outcome) -> None:
    assert different(found.tables, expected.tables) == []
    for name, rows in expected.crms.items():
        mine = found.crms[name]
        assert sorted(mine.keys() ^ rows.keys()) == [], name
        assert [key for key in rows if mine[key] != rows[key]] == [], name
    assert found.told["record_id"].n_unique() == expected.told["record_id"].n_unique()
    # A row whose answer was lost with the process is sent once more only if it had not arrived.
    assert found.told.equals(expected.told)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    base = tmp_path_factory.mktemp("prepared")
    with sandbox(base / "world", PEOPLE) as served:
        house = House(base / "home", variables(served), creating_defs(base / "defs"))
        house.run()
        set_clock(served, NEWS)
        served.control("POST", "next-day")
    return Prepared(base / "world", base / "home", base / "defs")


@pytest.fixture(scope="module")
def undisturbed(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("undisturbed")
    with prepared.copy(folder) as house:
        to_the_end(house)
    found = Outcome.of(folder)
    first = ledger(prepared.home).height
    assert ledger(folder / "home").height > first, "the day's news leads to writes"
    return found


@pytest.fixture(scope="module")
def undisturbed_first(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("undisturbed_first")
    with prepared.copy(folder, fresh=True) as house:
        to_the_end(house)
    return Outcome.of(folder)


def to_the_end(house: House) -> None:
    """One run; then what it told is taken in, as the next run would begin."""
    house.run()
    house.run("records")


def killed(house: House, point: str) -> None:
    process = house.spawn(crash_at=point)
    assert process.wait() == 137, f"{point} was not reached"


def test_killed_in_every_step_of_one_run(
    prepared: Prepared, undisturbed: Outcome, tmp_path: Path
) -> None:
    """Five kills, one after the other, each further on the way; then one run to the end."""
    with prepared.copy(tmp_path) as house:
        for point in QUICK:
            killed(house, point)
        to_the_end(house)
    assert_same(Outcome.of(tmp_path), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(prepared: Prepared, undisturbed: Outcome, tmp_path: Path, point: str) -> None:
    with prepared.copy(tmp_path) as house:
        process = house.spawn(crash_at=point)
        if process.wait() == 0:
            pytest.skip("this day does not pass that point")
        to_the_end(house)
    assert_same(Outcome.of(tmp_path), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_first_run_killed_at(
    prepared: Prepared, undisturbed_first: Outcome, tmp_path: Path, point: str
) -> None:
    with prepared.copy(tmp_path, fresh=True) as house:
        process = house.spawn(crash_at=point)
        assert process.wait() == 137
        to_the_end(house)
    assert_same(Outcome.of(tmp_path), undisturbed_first)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random(
    prepared: Prepared,
    undisturbed: Outcome,
    undisturbed_first: Outcome,
    tmp_path: Path,
    seed: int,
) -> None:
    """Run after run is killed at a random moment, later each time, until one lives to its end."""
    rng = random.Random(seed)
    fresh = seed % 2 == 0
    with prepared.copy(tmp_path, fresh=fresh) as house:
        patience, kills = 0.5, 0
        while True:
            process = house.spawn()
            ended = process.wait(rng.uniform(0.1, patience))
            if ended is not None:
                assert ended == 0
                break
            process.kill()
            kills += 1
            patience *= 1.15
        house.run("records")
    assert kills >= 3
    assert_same(Outcome.of(tmp_path), undisturbed_first if fresh else undisturbed)


def test_two_runs_at_once_are_one_after_the_other(
    prepared: Prepared, undisturbed: Outcome, tmp_path: Path
) -> None:
    """Of each step two processes at once. The second finds nothing to do, except that a plan made
    after the writes is empty."""
    with prepared.copy(tmp_path) as house:
        for step in STEPS:
            both = [house.spawn(step), house.spawn(step)]
            assert [process.wait() for process in both] == [0, 0], step
        house.run("records")
    found = Outcome.of(tmp_path)
    plans = {key: found.tables.pop(key) for key in list(found.tables) if key.endswith("/plan")}
    expected = {key: rows for key, rows in undisturbed.tables.items() if key not in plans}
    left = pl.concat(plans.values(), how="diagonal").filter(pl.col("deleted_at").is_null())
    assert left.filter(pl.col("op").is_in(["create", "update", "upsert"])).is_empty()
    assert_same(found, Outcome(expected, undisturbed.crms, undisturbed.told))
