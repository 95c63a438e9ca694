"""What the kill tests run in a process of its own: one build of records and one resolve.

`python -m cdp_assets_tests.identity.kill LAKE` — killed where `CDP_CRASH_AT` says.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from cdp_assets.identity import resolve
from cdp_assets.lake import Lake
from cdp_assets.records import build
from cdp_assets_tests.identity.world import (
    CONFIG,
    CONTACT,
    LEAD,
    SPECS,
    at,
    contact,
    event,
    pull,
    send,
    tell,
    version,
)

NOW = datetime(2026, 2, 1, tzinfo=UTC)

TOLD = pl.DataFrame(
    {
        "source": ["salesforce"], "object": ["Contact"], "record_id": ["7"], "field": ["Email"],
        "value": ["ada@example.com"], "told_at": [at(20)],
    }
)  # fmt: skip


def open_lake(folder: Path) -> Lake:
    """The lake with a clock that stands still, so that tombstones are alike."""
    return Lake(folder, clock=lambda: NOW)


def first_day(folder: Path) -> None:
    """A day that was brought in undisturbed."""
    lake = open_lake(folder)
    pull(
        lake,
        CONTACT,
        contact("1", 0, Email="ada@example.com", Phone="415-555-2671"),
        contact("2", 0, Email="bob@example.com"),
        contact("3", 0, Email="cy@example.com", App_User_Id__c="43"),
    )
    send(lake, event(1, "dev1", "42"), event(2, "dev2", "43"), event(3, "dev1"))
    tell(lake, 1, "user_id:42", "email", "ada@example.com")
    work(folder)


def second_day(folder: Path) -> None:
    """News of every kind: a merge, a split, a conversion, a shared device, an echo."""
    lake = open_lake(folder)
    pull(
        lake,
        CONTACT,
        contact("1", 10, Email="ada.new@example.com", Phone="415-555-2671"),
        contact("7", 21, Email="ada@example.com"),
        version("2", 11, None, op="merge", merged_into="3"),
    )
    pull(lake, LEAD, version("9", 12, {"Email": "l@example.com", "ConvertedContactId": "3"}))
    send(
        lake,
        event(30, "dev1", "42"),
        event(31, "dev1", "43"),
        event(32, "dev1", "43", name="Signed Out"),
        event(33, "dev9", "44", group="w1"),
    )
    tell(lake, 33, "user_id:44", "email", "bob@example.com")


def work(folder: Path) -> None:
    """One run of both steps."""
    lake = open_lake(folder)
    build(lake, SPECS, TOLD, NOW)
    resolve(lake, CONFIG, SPECS, NOW)


if __name__ == "__main__":
    work(Path(sys.argv[1]))
