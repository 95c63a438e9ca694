"""One deployment that lived through three runs, shared by the tests that only look at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.lake import Lake
from cdp_assets_tests.e2e.house import FIRST, House, creating_defs, sandbox, set_clock, variables
from cdp_assets_tests.sandbox.running import Running

PEOPLE = 150


@dataclass
class Story:
    """What happened: the results of four runs, and the tables after some of them.

    The first run fills an empty home; then the world moves on a day; the second reads and writes
    what changed; the third reads the echoes of the second; the fourth finds no news at all.
    """

    house: House
    world: Path
    served: Running
    runs: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, int]] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)
    values: list[pl.DataFrame] = field(default_factory=list)


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    base = tmp_path_factory.mktemp("story")
    with sandbox(base / "world", PEOPLE) as served:
        house = House(base / "home with blanks", variables(served), creating_defs(base / "defs"))
        story = Story(house, base / "world", served)
        for run, minutes in enumerate((0, 20, 40, 60)):
            now = FIRST + timedelta(minutes=minutes)
            if run == 1:
                set_clock(served, now - timedelta(minutes=1))
                served.control("POST", "next-day")
            set_clock(served, now)
            served.control("DELETE", "journal")
            story.house = house.at(now)
            story.runs.append(story.house.run())
            story.versions.append(_versions(house.lake))
            story.writes.append(_writes(served))
            story.values.append(house.table("records/values"))
        yield story


@pytest.fixture
def copied(story: Story, tmp_path: Path) -> House:
    """The same deployment in a home that a test may spoil."""
    shutil.copytree(story.house.home, tmp_path / "home")
    return story.house.elsewhere(tmp_path / "home")


def _versions(lake: Lake) -> dict[str, int]:
    handles = {key: lake.handle(key) for key in lake.keys()}  # noqa: SIM118
    return {key: handle.version() for key, handle in handles.items() if handle is not None}


def _writes(served: Running) -> int:
    """Requests that changed a record (searches and log-ins are POSTs too)."""
    asked = served.control("GET", "journal")["requests"]
    reads = ("/search", "/oauth2/token", "/batch/read")
    return sum(
        entry["method"] in ("POST", "PATCH", "PUT", "DELETE") and not entry["path"].endswith(reads)
        for entry in asked
    )
