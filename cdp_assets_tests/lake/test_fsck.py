"""Every damaged state that a power cut, a full disk or a hand can leave: seen, explained, mended
where nothing is lost by it."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from cdp_assets.lake import Damaged, Lake, LakeError, OpenTable
from cdp_assets.lake import commit as log
from cdp_assets.lake.fsck import Finding, check, repair
from cdp_assets.lake.maintenance import checkpoint, vacuum

from .tables import EVENTS, PEOPLE, events, ids, people


@pytest.fixture
def table(lake: Lake) -> OpenTable:
    opened = lake.open(EVENTS)
    for day in (1, 2, 3):
        opened.append(events(f"m{day}", day=date(2026, 1, day)), watermarks={"raw/x": day})
    return opened


def only(findings: list[Finding], kind: str) -> Finding:
    assert [finding.kind for finding in findings] == [kind]
    return findings[0]


def test_a_whole_lake_has_no_findings(lake: Lake, table: OpenTable) -> None:
    lake.open(PEOPLE).merge(people(id=["a"]), watermarks={"events": table.seq()})
    lake.open(PEOPLE).delete(pl.DataFrame({"id": ["a"]}))
    checkpoint(lake, "events")
    assert check(lake, deep=True) == []


@pytest.mark.parametrize("content", ["empty", "half", "nul"])
def test_a_torn_last_entry_is_loud_and_mended_by_moving_it_aside(
    lake: Lake, table: OpenTable, content: str
) -> None:
    entry = log.log_entry(table.path, 3)
    whole = entry.read_bytes()
    entry.write_bytes(
        {"empty": b"", "half": whole[: len(whole) // 2], "nul": b"\0" * len(whole)}[content]
    )
    fresh = Lake(lake.root)
    with pytest.raises(Damaged, match="cdp fsck"):
        fresh.open(EVENTS).scan()
    with pytest.raises(Damaged, match="cdp fsck"):
        fresh.open(EVENTS).append(events("n"))
    found = check(fresh)
    finding = found[0]
    assert finding.kind == ("empty log entry" if content == "empty" else "torn log entry")
    assert (finding.safe, finding.path) == (True, "_delta_log/00000000000000000003.json")
    assert "run the steps that were running after 20" in finding.advice
    assert finding in repair(fresh, found)
    opened = fresh.open(EVENTS)
    assert (opened.seq(), opened.watermark("raw/x")) == (2, 2)
    opened.append(events("m3", day=date(2026, 1, 3)), watermarks={"raw/x": 3})
    assert ids(opened, "message_id") == ["m1", "m2", "m3"]
    assert [finding.kind for finding in check(fresh)] == ["orphan"]


def test_a_torn_entry_in_the_middle_is_not_mended_by_itself(lake: Lake, table: OpenTable) -> None:
    log.log_entry(table.path, 2).write_bytes(b"{")
    finding = only(check(Lake(lake.root)), "torn log entry")
    assert not finding.safe
    assert "backup" in finding.advice
    assert repair(lake, [finding]) == []


def test_a_gap_in_the_log(lake: Lake, table: OpenTable) -> None:
    log.log_entry(table.path, 2).unlink()
    finding = only(check(Lake(lake.root)), "gap in the log")
    assert (finding.safe, finding.grave) == (False, True)


@pytest.mark.parametrize("damage", ["empty", "missing", "nul"])
def test_a_bad_checkpoint_is_moved_aside_and_every_row_is_there(
    lake: Lake, table: OpenTable, damage: str
) -> None:
    checkpoint(lake, "events")
    table.append(events("m4"))
    (path,) = (table.path / "_delta_log").glob("*.checkpoint.parquet")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else b"\0" * path.stat().st_size)
    fresh = Lake(lake.root)
    with pytest.raises(LakeError):
        fresh.open(EVENTS).scan().collect()
    found = check(fresh)
    assert {finding.kind for finding in found} == {"bad checkpoint"}
    assert all(finding.safe for finding in found)
    repair(fresh, found)
    assert check(fresh) == []
    assert fresh.open(EVENTS).scan().collect().height == 4
    assert fresh.open(EVENTS).append(events("m5")).seq == 5


def test_a_bad_checkpoint_without_the_entries_it_sums_up_needs_a_backup(
    lake: Lake, table: OpenTable
) -> None:
    checkpoint(lake, "events")
    (path,) = (table.path / "_delta_log").glob("*.checkpoint.parquet")
    path.write_bytes(b"")
    log.log_entry(table.path, 0).unlink()
    found = [f for f in check(Lake(lake.root)) if f.kind == "bad checkpoint"]
    assert found
    assert not any(finding.safe for finding in found)
    assert "backup" in found[0].advice


def test_an_empty_checkpoint_pointer_is_harmless_and_cleared(lake: Lake, table: OpenTable) -> None:
    checkpoint(lake, "events")
    (table.path / "_delta_log" / "_last_checkpoint").write_bytes(b"")
    fresh = Lake(lake.root)
    assert fresh.open(EVENTS).scan().collect().height == 3
    finding = only(check(fresh), "bad checkpoint")
    repair(fresh, [finding])
    assert check(fresh) == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "nul"])
def test_a_lost_data_file_names_what_to_read_again(
    lake: Lake, table: OpenTable, damage: str
) -> None:
    (path,) = table.path.glob("event_day=2026-01-02/*.parquet")
    size = path.stat().st_size
    if damage == "missing":
        path.unlink()
    else:
        content = {"empty": b"", "cut": path.read_bytes()[: size // 2], "nul": b"\0" * size}
        path.write_bytes(content[damage])
    kind = "missing data file" if damage == "missing" else "damaged data file"
    finding = only(check(lake), kind)
    assert not finding.safe
    assert "1 rows with _seq 2 to 2 of event_day 2026-01-02" in finding.advice
    assert "the event files that hold 2026-01-02" in finding.advice
    assert repair(lake, [finding]) == []
    assert repair(lake, [finding], drop_lost_files=True) == [finding]
    assert ids(table, "message_id") == ["m1", "m3"]
    table.append(events("m2", day=date(2026, 1, 2)))
    assert [f for f in check(lake) if f.grave] == []


def test_a_flipped_byte_is_seen_by_a_deep_check(lake: Lake) -> None:
    table = lake.open(EVENTS)
    table.append(events(*(f"message {i * 7919}" for i in range(5000))))
    (path,) = table.path.glob("*/*.parquet")
    content = bytearray(path.read_bytes())
    for at in range(200, 1200):
        content[at] ^= 0xFF
    path.write_bytes(content)
    assert check(lake) == []
    assert only(check(lake, deep=True), "damaged data file").grave


def test_leftovers_and_orphans(lake: Lake, table: OpenTable) -> None:
    leftover = table.path / "event_day=2026-01-01" / "part-0.parquet#1"
    leftover.write_bytes(b"x")
    (table.path / "_delta_log" / f"{4:020}.json#12").write_bytes(b"")
    orphan = table.path / "event_day=2026-01-01" / "part-orphan.parquet"
    shutil.copy(next(table.path.glob("event_day=2026-01-01/*.parquet")), orphan)
    found = check(lake)
    assert sorted(f.kind for f in found) == ["leftover", "leftover", "orphan"]
    assert not any(finding.grave for finding in found)
    repair(lake, found)
    assert only(check(lake), "orphan").path.endswith("part-orphan.parquet")
    vacuum(lake, "events", keep_hours=0)
    assert check(lake) == []
    assert ids(table, "message_id") == ["m1", "m2", "m3"]


def test_files_of_older_versions_are_no_orphans(lake: Lake) -> None:
    table = lake.open(PEOPLE)
    table.merge(people(id=["a", "b"], age=[1, 1]))
    table.merge(people(id=["a"], age=[2]))
    assert check(lake) == []


def test_a_reader_ahead_of_an_input_that_was_restored(lake: Lake, table: OpenTable) -> None:
    old = lake.root / "backup"
    shutil.copytree(table.path, old)
    table.append(events("m4"))
    lake.open(PEOPLE).merge(people(id=["a"]), watermarks={"events": 4})
    shutil.rmtree(table.path)
    shutil.move(old, table.path)
    finding = only(check(Lake(lake.root)), "reader ahead of its input")
    assert finding.key == "records/person"
    assert "events up to 4, whose feed ends at 3" in finding.advice


def test_a_table_whose_making_was_cut_short_is_no_table(lake: Lake, table: OpenTable) -> None:
    (lake.root / "half.delta" / "_delta_log").mkdir(parents=True)
    assert check(lake) == []
    assert lake.keys() == ["events"]


def test_advice_holds_no_values(lake: Lake) -> None:
    people_table = lake.open(PEOPLE)
    people_table.merge(people(id=["Marker Person"], name=["Marker Person"]))
    for path in Path(people_table.path).glob("*.parquet"):
        path.write_bytes(b"")
    assert "Marker" not in str(check(lake))
