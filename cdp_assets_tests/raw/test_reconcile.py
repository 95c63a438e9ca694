"""What no cursor shows is found by comparing keys, and a lost right to read is not taken for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import WrongObject
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest, windows
from cdp_assets.raw.reconcile import RECONCILIATIONS, Reconciled, _here, reconcile
from cdp_assets.raw.tables import raw_table
from cdp_assets_tests.raw.sources import START, MemorySource, Version

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def pull(lake: Lake, source: MemorySource, now: datetime) -> None:
    ingest.pull_live(lake, source, "Contact", START, now, "run")


def check(lake: Lake, source: MemorySource, now: datetime, **options: object) -> Reconciled:
    return reconcile(lake, source, "Contact", START, now, "run", **options)  # type: ignore[arg-type]


def live(lake: Lake) -> dict[str, datetime | None]:
    """The live records that raw holds, each with its version's time."""
    found = _here(lake.open(raw_table("crm", "Contact"))).filter("live")
    return dict(found.select("record_id", "cursor_at").iter_rows())


def people(count: int) -> MemorySource:
    return MemorySource(versions=[Version(f"{i:03}", START + i * MINUTE) for i in range(count)])


def test_many_may_leave_a_list_at_once_but_not_all(lake: Lake) -> None:
    source = people(100)
    source.fleeting = frozenset({"Contact"})
    pull(lake, source, START + DAY)
    kept, source.versions = source.versions, []
    assert check(lake, source, START + 2 * DAY).refused
    source.versions = kept[:40]
    found = check(lake, source, START + 3 * DAY)
    assert (found.gone, found.refused) == (60, "")
    assert len(live(lake)) == 40


def test_a_record_that_vanished_without_a_trace_is_kept_as_deleted(lake: Lake) -> None:
    source = people(30)
    pull(lake, source, START + DAY)
    source.versions = source.versions[:-1]
    found = check(lake, source, START + 2 * DAY)
    assert (found.there, found.here, found.gone, found.refused) == (29, 30, 1, "")
    assert "029" not in live(lake)
    again = check(lake, source, START + 3 * DAY)
    assert (again.gone, again.missed, again.returned) == (0, 0, 0)
    pull(lake, source, START + 3 * DAY)
    assert len(live(lake)) == 29


def test_what_returns_is_there_again(lake: Lake) -> None:
    source = people(30)
    pull(lake, source, START + DAY)
    lost = source.versions.pop()
    check(lake, source, START + 2 * DAY)
    source.put(lost)
    assert check(lake, source, START + 3 * DAY).returned == 1
    assert "029" in live(lake)
    assert check(lake, source, START + 4 * DAY).returned == 0


def test_a_version_that_turned_up_behind_the_cursor_is_pulled(lake: Lake) -> None:
    source = people(5)
    pull(lake, source, START + 3 * DAY)
    source.put(Version("late", START + DAY, "committed late"))
    source.put(Version("001", START + DAY + MINUTE, "changed, with an old stamp"))
    assert check(lake, source, START + 4 * DAY).missed == 2
    assert live(lake)["late"] == START + DAY
    assert live(lake)["001"] == START + DAY + MINUTE
    assert check(lake, source, START + 5 * DAY).missed == 0


def test_what_the_next_pull_will_bring_is_left_to_it(lake: Lake) -> None:
    source = people(3)
    pull(lake, source, START + DAY)
    source.put(Version("new", START + DAY + MINUTE))
    assert check(lake, source, START + 2 * DAY).missed == 0
    assert "new" not in live(lake)


def test_a_lost_right_to_read_deletes_nothing(lake: Lake) -> None:
    source = people(100)
    pull(lake, source, START + DAY)
    kept, source.versions = source.versions, source.versions[:70]
    found = check(lake, source, START + 2 * DAY)
    assert found.gone == 30
    assert "30 of 100 stored records" in found.refused
    assert "reconcile_limit" in found.refused
    assert len(live(lake)) == 100
    assert check(lake, source, START + 2 * DAY, share=0.3).refused == ""
    source.versions = []
    assert "70 of 70" in check(lake, source, START + 3 * DAY, share=0.3).refused
    source.versions = kept
    assert check(lake, source, START + 4 * DAY).returned == 30
    noted = lake.open(RECONCILIATIONS).scan().sort("_seq").collect()
    assert noted["gone"].to_list() == [30, 30, 70, 0]
    assert noted["refused"].is_null().to_list() == [False, True, False, True]


def test_a_few_records_of_a_small_object_may_all_but_vanish_yet_never_all(lake: Lake) -> None:
    source = people(5)
    pull(lake, source, START + DAY)
    source.versions = source.versions[:1]
    assert check(lake, source, START + 2 * DAY).refused == ""
    source.versions = []
    assert check(lake, source, START + 3 * DAY).refused != ""
    assert list(live(lake)) == ["000"]


def test_a_formula_that_moved_no_cursor_shows_when_all_is_read_again(lake: Lake) -> None:
    source = people(5)
    pull(lake, source, START + DAY)
    source.put(Version("002", START + 2 * MINUTE, "the formula says otherwise"))
    check(lake, source, START + 2 * DAY)
    table = lake.open(raw_table("crm", "Contact"))
    assert table.scan().collect().height == 5
    assert check(lake, source, START + 2 * DAY, reread=True).reread == 5
    newest = table.scan().filter(pl.col("record_id") == "002").sort("_seq").last().collect()
    assert "otherwise" in newest["payload"].item()


def test_an_object_never_pulled_or_without_keys_is_passed_over(lake: Lake) -> None:
    source = people(3)
    assert check(lake, source, START + DAY).refused == "never pulled"
    pull(lake, source, START + DAY)

    class Mute(MemorySource):
        def keys(self, object_name: str) -> Iterator[pl.DataFrame]:
            raise WrongObject(f"crm: {object_name} cannot be listed")

    assert "cannot be listed" in check(lake, Mute(), START + DAY).refused
    assert len(live(lake)) == 3


def test_a_comparison_that_breaks_off_is_made_again(lake: Lake) -> None:
    source = people(30)
    pull(lake, source, START + DAY)
    source.versions = [*source.versions[:-1], Version("late", START + MINUTE)]
    source.break_after = 0
    with pytest.raises(ConnectionError):
        check(lake, source, START + 2 * DAY)
    source.break_after = None
    assert check(lake, source, START + 2 * DAY).missed == 1
    assert set(live(lake)) == {v.id for v in source.versions}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "late", "vanish", "return", "pull", "check"]), st.integers(0, 5)
    ),
    max_size=25,
)


@given(STEPS)
@settings(max_examples=20, deadline=None)
def test_after_a_comparison_raw_has_what_the_source_has(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    source = people(3)
    hidden: dict[str, Version] = {}
    now = START + DAY
    pull(lake, source, now)
    for number, (what, which) in enumerate([*steps, ("pull", 0), ("check", 0)]):
        now += DAY
        name = f"{which:03}"
        known = {v.id: v for v in source.versions}
        if what == "put":
            source.put(Version(name, now - MINUTE, number))
            hidden.pop(name, None)
        elif what == "late" and len(source.versions) > 1:
            stamp = max(now - 3 * DAY + MINUTE, START)
            if name not in known or (known[name].at or START) < stamp:
                source.put(Version(name, stamp, number))
                hidden.pop(name, None)
        elif what == "vanish" and len(known) > 1 and name in known:
            hidden[name] = known[name]
            source.versions = [v for v in source.versions if v.id != name]
        elif what == "return" and name in hidden:
            source.put(hidden.pop(name))
        elif what == "pull":
            pull(lake, source, now)
        elif what == "check":
            check(lake, source, now)
    assert windows.cursor(lake, "crm", "Contact", START) >= now - DAY
    table = lake.open(raw_table("crm", "Contact"))
    assert set(live(lake)) == {v.id for v in source.versions}
    latest = (
        table.scan()
        .filter(pl.col("op") == "upsert")
        .sort(pl.coalesce("cursor_at", "extracted_at"), "extracted_at")
        .group_by("record_id")
        .agg(pl.col("payload").last())
        .collect()
    )
    shown = dict(latest.iter_rows())
    for version in source.versions:
        assert json.loads(shown[version.id])["value"] == version.value
