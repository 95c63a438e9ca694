from __future__ import annotations

import polars as pl
import pytest

from cdp_assets.lake import Lake, files
from cdp_assets.lake.maintenance import maintain, overview, reserve

from .tables import EVENTS, PEOPLE, events, people


def test_maintain_tidies_every_table_and_says_what_it_did(lake: Lake) -> None:
    for i in range(12):
        lake.open(EVENTS).append(events(str(i)))
        lake.open(PEOPLE).merge(people(id=[str(i), "always"], age=[i, i]))
    before = lake.open(PEOPLE).scan().sort("id").collect()
    done = {upkeep.key: upkeep for upkeep in maintain(lake, keep_hours=0)}
    assert done.keys() == {"events", "records/person"}
    assert (done["events"].compacted, done["events"].vacuumed, done["events"].files) == (12, 12, 1)
    assert done["records/person"].files == 1
    assert lake.open(PEOPLE).scan().sort("id").collect().equals(before)
    again = maintain(lake, keep_hours=0)
    assert [(u.compacted, u.vacuumed, u.swept) for u in again] == [(0, 0, 0)] * 2
    versions = {row["key"]: row["version"] for row in overview(lake).to_dicts()}
    maintain(lake, keep_hours=0)
    assert versions == {row["key"]: row["version"] for row in overview(lake).to_dicts()}


def test_readers_have_a_day_before_their_files_go(lake: Lake) -> None:
    table = lake.open(EVENTS)
    for i in range(5):
        table.append(events(str(i)))
    old = table.scan()
    assert maintain(lake)[0].vacuumed == 0
    assert old.collect().height == 5


def test_overview(lake: Lake) -> None:
    assert overview(lake).is_empty()
    lake.open(EVENTS).append(events("a", "b"))
    lake.open(EVENTS).append(events("c"))
    row = overview(lake).row(0, named=True)
    assert (row["key"], row["rows"], row["files"], row["seq"]) == ("events", 3, 2, 2)


def test_the_reserve_is_of_its_size_and_is_kept(lake: Lake) -> None:
    reserve(lake, 4096)
    assert not lake.root.exists()  # no lake, nothing to keep space for
    lake.open(EVENTS).append(events("a"))
    reserve(lake, 4096)
    assert (lake.root / "_reserve").stat().st_size == 4096
    assert lake.keys() == ["events"]


def test_changing_one_row_writes_one_small_file_anew(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "KEYED_ROWS", 10)
    table = lake.open(PEOPLE)
    table.merge(people(id=[f"{i:03}" for i in range(100)], age=[1] * 100))
    before = {path: path.stat().st_mtime_ns for path in table.path.glob("*.parquet")}
    assert len(before) == 10
    table.merge(people(id=["055"], age=[2]))
    written = set(table.path.glob("*.parquet")) - before.keys()
    heights = sorted(pl.read_parquet(path).height for path in written)
    assert heights == [1, 9]


def test_a_million_rows_merge_without_reading_files_that_cannot_match(lake: Lake) -> None:
    """Key statistics leave files out: breaking them does not matter to a merge elsewhere."""
    table = lake.open(PEOPLE)
    table.merge(people(id=["a1", "a2"]))
    old = list(table.path.glob("*.parquet"))
    table.merge(people(id=["b1", "b2"]))
    for path in old:
        path.write_bytes(b"")
    assert table.merge(people(id=["b2", "c"], age=[1, 1])).updated == 1
