from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.events.times import TS, correct, read_time, read_times

moments = st.datetimes(datetime(1950, 1, 1), datetime(2150, 1, 1))
written = st.one_of(
    moments.map(lambda m: m.isoformat()),
    moments.map(lambda m: m.isoformat(timespec="milliseconds") + "Z"),
    moments.map(lambda m: m.isoformat(timespec="seconds") + "Z"),
    moments.map(lambda m: m.isoformat(sep=" ") + "+05:30"),
    moments.map(lambda m: m.strftime("%Y%m%d")),
    moments.map(lambda m: str(int(m.replace(tzinfo=UTC).timestamp() * 1000))),
    st.text("0123456789-:TZ. +", max_size=30),
)


@given(st.lists(st.none() | written, min_size=1, max_size=30))
def test_a_column_of_times_reads_as_each_time_alone(texts: list[str | None]) -> None:
    together = read_times(pl.Series("t", texts, dtype=pl.String)).to_list()
    assert together == [None if text is None else read_time(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01T00:00:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01 00:00:00.5 +0530", datetime(2025, 12, 31, 18, 30, 0, 500_000, UTC)),
        ("2026-01-01t10:00:00z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("19970102", datetime(1997, 1, 2, tzinfo=UTC)),
        ("1579847342", datetime(2020, 1, 24, 6, 29, 2, tzinfo=UTC)),
        ("1579847342362", datetime(2020, 1, 24, 6, 29, 2, 362_000, UTC)),
        ("1579847342.362", datetime(2020, 1, 24, 6, 29, 2, 362_000, UTC)),
        ("Fri Jan 24 2020 11:59:02 GMT+0530 (IST)", datetime(2020, 1, 24, 6, 29, 2, tzinfo=UTC)),
        ("Tue, 15 Nov 1994 08:12:31 GMT", datetime(1994, 11, 15, 8, 12, 31, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2026-02-30T00:00:00Z", None),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-10:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_what_senders_write(text: str, moment: datetime | None) -> None:
    assert read_time(text) == moment
    assert read_times(pl.Series([text]))[0] == moment


def corrected(**texts: str | None) -> dict[str, object]:
    columns = {
        f"{name}_text": pl.Series([texts.get(name)], dtype=pl.String)
        for name in ("original", "timestamp", "sent", "received")
    }
    frame = pl.DataFrame(
        {
            **columns,
            "first_seen": pl.Series([datetime(2026, 3, 1, tzinfo=UTC)], dtype=TS),
            "flags": pl.Series([[]], dtype=pl.List(pl.String)),
        }
    )
    return correct(frame).row(0, named=True)


def test_a_wrong_clock_is_corrected_and_all_four_times_are_kept() -> None:
    row = corrected(
        original="2026-01-05T10:00:00Z",
        sent="2026-01-05T10:00:10Z",
        received="2026-01-06T12:00:00Z",
    )
    assert row["timestamp"] == datetime(2026, 1, 6, 11, 59, 50, tzinfo=UTC)
    assert row["original_at"] == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert row["sent_at"] == datetime(2026, 1, 5, 10, 0, 10, tzinfo=UTC)
    assert row["received_at"] == datetime(2026, 1, 6, 12, tzinfo=UTC)
    assert str(row["event_day"]) == "2026-01-05"
    assert row["flags"] == ["skewed"]


def test_without_sent_or_received_of_its_own_nothing_is_corrected() -> None:
    alone = corrected(timestamp="2026-01-05T10:00:00Z", sent="2026-01-05T10:00:10Z")
    assert alone["timestamp"] == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert alone["received_at"] == datetime(2026, 3, 1, tzinfo=UTC)
    upstream = corrected(
        original="2026-01-05T10:00:00Z",
        timestamp="2026-01-05T11:00:00Z",
        received="2026-01-05T11:00:01Z",
    )
    assert upstream["timestamp"] == datetime(2026, 1, 5, 11, tzinfo=UTC)


def test_a_time_said_beside_another_original_counts_as_it_is() -> None:
    """An import by RudderStack's SDK for node: `timestamp` is the caller's, the original is when
    it was called, which alone has to do with when it was sent."""
    row = corrected(
        original="2026-01-05T10:00:00.5Z",
        timestamp="2024-02-03T04:05:06Z",
        sent="2026-01-05T10:00:10Z",
        received="2026-01-05T10:00:11Z",
    )
    assert row["timestamp"] == datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert row["original_at"] == datetime(2026, 1, 5, 10, 0, 0, 500_000, tzinfo=UTC)
    same = corrected(
        original="2026-01-05T10:00:00Z",
        timestamp="2026-01-05T10:00:00.001Z",
        sent="2026-01-05T10:00:10Z",
        received="2026-01-05T10:00:15Z",
    )
    assert same["timestamp"] == datetime(2026, 1, 5, 10, 0, 5, tzinfo=UTC)


@given(st.integers(-5_000, 5_000))
def test_no_time_is_later_than_a_day_after_received(hours: int) -> None:
    received = datetime(2026, 1, 5, tzinfo=UTC)
    claimed = received + timedelta(hours=hours)
    row = corrected(original=claimed.isoformat(), received=received.isoformat())
    believed = hours <= 24
    assert row["timestamp"] == (claimed if believed else received)
    assert row["original_at"] == claimed
    assert row["flags"] == ([] if believed else ["future"])


def test_a_time_that_cannot_be_read_is_said_and_received_stands_in() -> None:
    row = corrected(original="soon", received="2026-01-05T23:30:00-01:00")
    assert row["original_at"] is None
    assert row["timestamp"] == datetime(2026, 1, 6, 0, 30, tzinfo=UTC)
    assert str(row["event_day"]) == "2026-01-06"
    assert row["flags"] == ["unread:originalTimestamp", "no_time"]
