"""profiles/builds: what each build of an entity took as given, for the next one and for readers.

A build writes its row and its traits before the profiles; they count once the commit of the
profiles, its last, names the build's number. Of one that was killed nothing is ever seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from zoneinfo import ZoneInfo

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.profiles.aggregates import Clock
from cdp_assets.profiles.inputs import open_any
from cdp_assets.profiles.sources import RecordObject
from cdp_assets.profiles.tables import BUILDS, CHANGES, profiles_table

NUMBER = "build"
"""Watermark of an entity's profiles: the number of the build that made them."""


@dataclass(frozen=True)
class Build:
    """A build of an entity; number 0 and no clock where there was none.

    rules: a number that changes with its definitions. objects: those that a `select` could read.
    events: table of events → how many of its rows were read.
    """

    number: int = 0
    clock: Clock | None = None
    rules: int = 0
    objects: tuple[RecordObject, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)


def last_build(lake: Lake, entity: str) -> Build:
    """The last finished build of `entity`."""
    number = lake.open(profiles_table(entity, {})).watermark(NUMBER)
    this = (pl.col("entity") == entity) & (pl.col("build") == number)
    rows = lake.open(BUILDS).scan().filter(this).collect()
    if rows.is_empty():
        return Build(number)
    row = rows.row(0, named=True)
    return Build(
        number,
        Clock(row["now"], ZoneInfo(row["timezone"])),
        row["rules"],
        tuple(RecordObject(**item) for item in json.loads(row["objects"])),
        json.loads(row["events"] or "{}"),
    )


def save_build(lake: Lake, entity: str, build: Build, *, full: bool, run: str) -> None:
    """Note what `build` takes as given."""
    assert build.clock is not None
    row = {
        "entity": entity,
        "build": build.number,
        "now": build.clock.now,
        "rules": build.rules,
        "full": full,
        "run": run,
        "timezone": build.clock.zone.key,
        "objects": json.dumps([asdict(item) for item in build.objects]),
        "events": json.dumps(build.events),
    }
    lake.open(BUILDS).merge(pl.DataFrame([row], schema=dict(BUILDS.schema)))


def changes_kept(lake: Lake) -> int:
    """How far profiles/changes holds: above lies what a killed build wrote, or one that is under
    way. It has the changes of all entities, whose builds run one at a time: the last finished one
    knows where it ended."""
    entities = [key for key in lake.keys() if key.startswith("profiles/")]  # noqa: SIM118  no map
    return max((open_any(lake, key).watermark(CHANGES.key) for key in entities), default=0)
