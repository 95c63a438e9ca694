"""Windows into raw: nothing lost, nothing doubled, whatever is cut off where."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import Page
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest, windows
from cdp_assets.raw.tables import WINDOWS, raw_table
from cdp_assets_tests.raw.sources import START, MemorySource, Version

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def rows(lake: Lake, source: str = "crm") -> pl.DataFrame:
    frame = lake.open(raw_table(source, "Contact")).scan().collect()
    return frame.sort("record_id", "cursor_at", "extracted_at", "_seq")


def told(lake: Lake) -> list[tuple[Any, ...]]:
    """What the table says, without what a run stamps on it."""
    frame = rows(lake).select("record_id", "cursor_at", "op", "merged_into", "payload_hash")
    return sorted(frame.rows(), key=str)


def live(lake: Lake, source: MemorySource, now: datetime) -> ingest.PullResult:
    return ingest.pull_live(lake, source, "Contact", START, now, "run")


def test_a_pull_and_then_only_what_changed(lake: Lake) -> None:
    source = MemorySource(versions=[Version(f"{i:03}", START + i * MINUTE) for i in range(10)])
    first = live(lake, source, START + DAY)
    assert (first.rows, first.new, first.duplicates) == (10, 10, 0)
    assert first.by_day == {"2026-01-01": 10}
    source.put(Version("004", START + DAY + MINUTE, "changed"))
    second = live(lake, source, START + 2 * DAY)
    assert (second.rows, second.new) == (1, 1)
    third = live(lake, source, START + 3 * DAY)
    assert (third.rows, third.commits) == (0, 0)
    assert rows(lake).height == 11
    assert lake.open(WINDOWS).scan().collect().height == 3


def test_a_pull_that_failed_leaves_it_to_the_next_to_tell_which_fields_went(
    lake: Lake, tmp_path: Path
) -> None:
    source = MemorySource(
        versions=[Version(f"{i:03}", START + i * MINUTE) for i in range(10)], fields=("a", "b")
    )

    def pulled(day: int) -> tuple[str, ...]:
        return ingest.pull_live(
            lake, source, "Contact", START, START + day * DAY, "run", descriptions=tmp_path / "d"
        ).changes

    assert pulled(1) == ()
    source.fields, source.break_after = ("a",), 0
    source.put(Version("004", START + DAY + MINUTE, "changed"))
    with pytest.raises(ConnectionError):
        pulled(2)
    source.break_after = None
    assert pulled(2) == ("b: gone, or no longer shown to this user",)
    assert pulled(3) == ()


def test_a_record_that_shows_up_behind_the_cursor_is_not_lost(lake: Lake) -> None:
    source = MemorySource(versions=[Version("1", START + MINUTE)])
    live(lake, source, START + DAY)
    source.put(Version("2", START + DAY - 5 * MINUTE))
    again = live(lake, source, START + DAY + MINUTE)
    assert (again.new, again.duplicates) == (1, 0)


def test_a_source_that_repeats_itself_within_a_pull(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 1)

    class Stuttering(MemorySource):
        def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
            for page in super().pull(object_name, start, end):
                yield page
                yield page
            yield from super().pull(object_name, start, end)

    source = Stuttering(versions=[Version(f"{i:03}", START + i * MINUTE) for i in range(10)])
    result = live(lake, source, START + DAY)
    assert (result.rows, result.new, result.duplicates) == (30, 10, 20)
    assert rows(lake).height == 10


def test_one_recent_day_by_hand_hides_no_history(lake: Lake) -> None:
    source = MemorySource(versions=[Version(f"{i:03}", START + i * DAY) for i in range(100)])
    now = START + 100 * DAY
    by_hand = ingest.pull_range(lake, source, "Contact", START, now - DAY, now + DAY, now, "run")
    assert by_hand.new == 1
    assert windows.cursor(lake, "crm", "Contact", START) == START
    assert live(lake, source, now).new == 99
    assert windows.cursor(lake, "crm", "Contact", START) == now


def test_a_backfill_changes_no_cursor_and_brings_nothing_twice(lake: Lake) -> None:
    source = MemorySource(versions=[Version(f"{i:03}", START + i * DAY) for i in range(20)])
    now = START + 30 * DAY
    live(lake, source, now)
    again = ingest.pull_range(
        lake, source, "Contact", START, START + DAY, START + 10 * DAY, now + DAY, "run"
    )
    assert (again.kind, again.rows, again.new) == ("backfill", 9, 0)
    assert windows.cursor(lake, "crm", "Contact", START) == now


def test_the_future_part_of_a_window_is_not_covered(lake: Lake) -> None:
    now = START + DAY / 2
    result = ingest.pull_range(
        lake, MemorySource(), "Contact", START, START, START + DAY, now, "run"
    )
    assert result.end == now
    assert windows.cursor(lake, "crm", "Contact", START) == now


def test_news_is_what_lies_at_or_after_the_cursor(lake: Lake) -> None:
    source = MemorySource(versions=[Version("1", START)])
    assert ingest.has_news(lake, source, "Contact", START)
    live(lake, source, START + DAY)
    assert not ingest.has_news(lake, source, "Contact", START)
    source.put(Version("2", START + DAY))
    assert ingest.has_news(lake, source, "Contact", START)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=12))
def test_coverage_is_the_unbroken_part_from_the_start(spans: list[tuple[int, int]]) -> None:
    frame = pl.DataFrame(
        {
            "start": [START + a * DAY for a, _ in spans],
            "end": [START + (a + n) * DAY for a, n in spans],
        },
        schema={"start": pl.Datetime("us", "UTC"), "end": pl.Datetime("us", "UTC")},
    )
    covered = {day for a, n in spans for day in range(a, a + n)}
    reached = 0
    while reached in covered:
        reached += 1
    assert windows.coverage(frame, START) == START + reached * DAY


changes = st.lists(
    st.tuples(
        st.integers(0, 4),  # record
        st.integers(0, 30),  # minutes, many alike
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["upsert", "upsert", "delete"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(changes, st.lists(st.integers(0, 12), max_size=4), st.integers(1, 4))
def test_any_batching_gives_the_rows_of_one_pull(
    tmp_path_factory: pytest.TempPathFactory,
    changed: list[tuple[int, int, str | None, str]],
    cuts: list[int],
    size: int,
) -> None:
    """Versions come in any windows, overlapping at their borders; each is stored once."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    source = MemorySource(page_size=size)
    # Every version is there at once: what a source shows over time, seen in different windows.
    source.versions = [Version(str(r), START + m * MINUTE, v, op) for r, m, v, op in changed]
    borders = sorted({0, 40, *[c * 3 for c in cuts]})
    for a, b in itertools.pairwise(borders):
        for _ in range(2):
            ingest.pull_window(
                lake, source, "Contact", START + max(a - 5, 0) * MINUTE, START + (b + 5) * MINUTE,
                kind="live", now=START + DAY, run_id="run",
            )  # fmt: skip
    expected = {(str(r), START + m * MINUTE, op, v) for r, m, v, op in changed}
    assert len(told(lake)) == len(set(told(lake))) == len(expected)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6), max_size=5))
def test_without_a_cursor_a_row_is_kept_where_it_differs_from_the_latest(
    tmp_path_factory: pytest.TempPathFactory, pulls: list[list[tuple[int, int]]]
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    source = MemorySource(page_size=100)
    latest: dict[int, int] = {}
    kept: list[tuple[str, int]] = []
    for number, pull in enumerate(pulls):
        source.versions = [Version(str(r), None, v) for r, v in pull]
        # In the order of ids, as the source gives them; within one id as they stand.
        for r, v in sorted(pull, key=lambda pair: str(pair[0])):
            if latest.get(r) != v:
                kept.append((str(r), v))
            latest[r] = v
        ingest.pull_window(
            lake, source, "Contact", START, START + DAY,
            kind="live", now=START + (2 + number) * DAY, run_id="run",
        )  # fmt: skip
    stored = rows(lake).sort("record_id", "_seq", "extracted_at")
    found = stored.select(
        "record_id", pl.col("payload").str.json_path_match("$.value").cast(pl.Int64)
    )
    assert found.rows() == sorted(kept, key=lambda pair: pair[0])


def test_a_pull_that_breaks_off_is_taken_up_without_loss_or_doubling(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 4)
    versions = [Version(f"{i:03}", START + (i // 5) * MINUTE, i) for i in range(50)]
    whole = Lake(tmp_path / "whole")
    live(whole, MemorySource(versions=versions), START + DAY)
    for cut in (1, 4, 9, 16):
        source = MemorySource(versions=versions, break_after=cut)
        with pytest.raises(ConnectionError):
            live(lake, source, START + DAY)
        assert windows.cursor(lake, "crm", "Contact", START) == START
    result = live(lake, MemorySource(versions=versions), START + DAY)
    assert result.rows == result.new + result.duplicates == 50
    assert told(lake) == told(whole)


KILLED = """
    import sys
    from datetime import timedelta
    from pathlib import Path
    from cdp_assets.lake import Lake
    from cdp_assets.raw import ingest
    from cdp_assets_tests.raw.sources import START, MemorySource, Version
    ingest.CHUNK_ROWS = 7
    source = MemorySource(versions=[
        *[Version(f"{i:03}", START + i * timedelta(minutes=1), i) for i in range(30)],
        Version("gone", None, None, "merge", "001"),
    ])
    now = START + timedelta(days=1)
    ingest.pull_live(Lake(Path(sys.argv[1])), source, "Contact", START, now, "run")
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_pull(folder) == 0
    return folder


def run_pull(folder: Path) -> int:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(folder)]
    return subprocess.run(command, check=False).returncode


@pytest.mark.parametrize("point", ["pull:after-chunk", "pull:after-data"])
def test_killed_and_run_again_it_is_as_if_nothing_had_happened(
    point: str, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDP_CRASH_AT", point)
    assert run_pull(tmp_path) == 137
    assert Lake(tmp_path).open(raw_table("crm", "Contact")).seq() > 0
    monkeypatch.delenv("CDP_CRASH_AT")
    assert run_pull(tmp_path) == 0
    for table in (raw_table("crm", "Contact"), WINDOWS):
        frames = [
            Lake(root).open(table).scan().drop("_seq").collect() for root in (undisturbed, tmp_path)
        ]
        columns = frames[0].columns
        assert frames[0].sort(columns).equals(frames[1].sort(columns))


def test_two_pulls_at_once_give_the_rows_of_one(lake: Lake) -> None:
    from concurrent.futures import ThreadPoolExecutor

    versions = [Version(f"{i:04}", START + i * MINUTE, i) for i in range(300)]

    def pull(number: int) -> ingest.PullResult:
        source = MemorySource(versions=list(versions), page_size=17)
        if number % 2:
            return live(lake, source, START + DAY)
        return ingest.pull_window(
            lake, source, "Contact", START, START + DAY,
            kind="backfill", now=START + DAY, run_id=str(number),
        )  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(pull, range(4)))
    assert sum(r.new for r in results) == 300 == rows(lake).height


def test_memory_stays_flat_however_large_the_pull(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "CHUNK_ROWS", 2_000)

    class Endless(MemorySource):
        def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
            for at in range(len_pages):
                ids = pl.int_range(at * 500, (at + 1) * 500, eager=True)
                yield Page(
                    pl.select(
                        record_id=ids.cast(pl.String),
                        cursor_at=pl.lit(START).cast(pl.Datetime("us", "UTC"))
                        + pl.duration(milliseconds=ids),
                        op=pl.lit("upsert"),
                        merged_into=pl.lit(None, dtype=pl.String),
                        payload=pl.concat_str(
                            pl.lit('{"Id":"'),
                            ids.cast(pl.String),
                            pl.lit('","x":"' + "x" * 900 + '"}'),
                        ),
                    )
                )

    def pulled(source: str) -> tuple[int, int]:
        kept = 0
        tracemalloc.start()
        result = ingest.pull_live(lake, Endless(name=source), "Contact", START, START + DAY, "run")
        kept = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result.rows, kept

    len_pages = 8
    pulled("warm_up")
    small = pulled("small")
    len_pages = 80
    large = pulled("large")
    assert (small[0], large[0]) == (4_000, 40_000)
    # What Python and numpy hold (of Arrow's buffers the process test in the benchmarks tells).
    assert large[1] < small[1] * 2 + 4_000_000
