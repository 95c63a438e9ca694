"""Checks of what was built, each made to fail."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from cdp_assets import identity
from cdp_assets.audiences import AudienceResult, audience_table
from cdp_assets.deployment.soundness import jumped, profiles_found, strangers
from cdp_assets.lake import Lake, Table

PEOPLE = Table(
    key="profiles/person", schema={"profile_id": pl.Int64()}, primary_key=("profile_id",)
)


def graph(lake: Lake, *ids: int, entity: str = "person") -> None:
    rows = [
        {"entity": entity, "identifier": f"{kind}:{number}", "profile_id": number, "type": kind}
        for number in ids
        for kind in ("email", "user_id")
    ]
    lake.open(identity.GRAPH).merge(pl.DataFrame(rows, schema=dict(identity.GRAPH.schema)))


def profiles(lake: Lake, *ids: int) -> None:
    read = {"identity/graph": lake.open(identity.GRAPH).seq()}
    lake.open(PEOPLE).merge(
        pl.DataFrame({"profile_id": ids}, schema=dict(PEOPLE.schema)), watermarks=read
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path)
    graph(lake, 1, 2, 3)
    graph(lake, 9, entity="account")
    return lake


def test_each_has_one_row(lake: Lake) -> None:
    profiles(lake, 1, 2, 3)
    found = profiles_found(lake, "person")
    assert found.sound
    assert (found.profiles, found.identified) == (3, 3)


@pytest.mark.parametrize(
    ("ids", "missing", "surplus"), [((1, 2), 1, 0), ((1, 2, 3, 9), 0, 1), ((1, 2, 4), 1, 1)]
)
def test_a_lost_or_a_foreign_row(
    lake: Lake, ids: tuple[int, ...], missing: int, surplus: int
) -> None:
    profiles(lake, *ids)
    found = profiles_found(lake, "person")
    assert not found.sound
    assert (found.missing, found.surplus) == (missing, surplus)


def test_a_doubled_row(lake: Lake) -> None:
    """The lake refuses it, so it is written past the key."""
    heap = Table(key=PEOPLE.key, schema=PEOPLE.schema)
    lake.open(heap).append(pl.DataFrame({"profile_id": [1, 2, 3, 3]}, schema=dict(PEOPLE.schema)))
    found = profiles_found(lake, "person")
    assert found.doubled == 1
    assert not found.sound


def test_a_graph_that_moved_on_proves_nothing(lake: Lake) -> None:
    profiles(lake, 1, 2, 3)
    graph(lake, 4)
    found = profiles_found(lake, "person")
    assert found.sound
    assert found.moved_on
    assert found.missing == 1


def test_members_without_a_profile(lake: Lake) -> None:
    profiles(lake, 1, 2)
    now = datetime(2026, 6, 1, tzinfo=UTC)
    rows = {"profile_id": [1, 7, 8], "entered_at": [now] * 3, "left_at": [None, None, now]}
    table = audience_table("good")
    lake.open(table).merge(pl.DataFrame(rows, schema=dict(table.schema)))
    assert strangers(lake, "good", "person") == 1


@pytest.mark.parametrize(
    ("members", "entered", "left", "expected"),
    [
        (100, 100, 0, False),  # the first build
        (150, 50, 0, False),
        (151, 51, 0, True),
        (49, 0, 51, True),
        (0, 0, 40, True),
        (19, 15, 0, False),  # small
        (100, 60, 60, False),  # as large as before
    ],
)
def test_a_jump(members: int, entered: int, left: int, expected: bool) -> None:
    assert jumped(AudienceResult("good", members, entered, left)) is expected
