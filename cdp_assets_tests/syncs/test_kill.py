"""A process that is really gone, at each named point: run again, and it is as if it never was."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from cdp_assets.syncs import dead_letters
from cdp_assets_tests.syncs.test_machine import BY_KEY, BY_MATCH, POINTS
from cdp_assets_tests.syncs.world import Crm, World

SYNCS = {"key": BY_KEY, "match": BY_MATCH}


def _world(folder: Path) -> World:
    folder.mkdir(exist_ok=True)
    world = World(folder, crm=Crm(file=folder / "crm.json"))
    for person in range(7):
        world.profile(person, orders=person, title="CTO")
    return world


def _run(folder: Path, which: str, point: str) -> None:
    os.environ["CDP_CRASH_AT"] = point
    _world(folder).apply(SYNCS[which])


def _killed(folder: Path, which: str, point: str) -> int | None:
    worker = multiprocessing.get_context("spawn").Process(target=_run, args=(folder, which, point))
    worker.start()
    worker.join(120)
    return worker.exitcode


def _all(which: str, point: str, folder: Path) -> None:
    assert _killed(folder, which, point) == 137, "the point was reached"
    world = _world(folder)
    world.apply(SYNCS[which])
    whole = _world(folder / "undisturbed")
    whole.apply(SYNCS[which])
    assert world.state().equals(whole.state())
    assert world.rows().equals(whole.rows())
    assert world.crm.records == whole.crm.records
    assert world.apply(SYNCS[which]).written == 0
    records = world.crm.records["Contact"]
    assert len(records) == world.crm.created == 7
    assert sorted(r["Orders__c"] for r in records.values()) == list(range(7))
    assert world.state().height == 7
    assert dead_letters(world.store).is_empty()
    assert world.store.told()["outcome"].null_count() == 0


@pytest.mark.parametrize(("which", "point"), [("match", "apply:after-call")])
def test_killed_between_call_and_answer(which: str, point: str, tmp_path: Path) -> None:
    _all(which, point, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("which", list(SYNCS))
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(which: str, point: str, tmp_path: Path) -> None:
    _all(which, point, tmp_path)
