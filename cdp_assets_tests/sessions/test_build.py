"""Builds: only devices with news, nothing without, everything where the rules changed, and whole
after a kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cdp_assets.events.tables import CATALOGUE, DECIMAL, ENVELOPE, EVENTS, typed_table
from cdp_assets.lake import Lake
from cdp_assets.sessions import PAGE_VIEWS, SESSIONS, account, build
from cdp_assets_tests.sessions.world import at, config, event, send, stored

DAY = 1440


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def test_only_devices_with_news_are_read_and_without_news_nothing_is_written(lake: Lake) -> None:
    send(lake, event(0), event(0, device="d2"), event(1, device="d3"))
    assert build(lake, config()).full
    before = [lake.open(table).seq() for table in (SESSIONS, PAGE_VIEWS)]
    assert build(lake, config()).devices == 0
    assert [lake.open(table).seq() for table in (SESSIONS, PAGE_VIEWS)] == before
    send(lake, event(5), event(500, device=None, user_id="u", name="Paid"))
    done = build(lake, config())
    assert (done.full, done.devices, done.events, done.sessions) == (False, 1, 2, 1)
    fresh = lake.open(SESSIONS).changes(before[0]).collect()
    assert fresh["visitor"].to_list() == ["d1"]


def test_changed_rules_make_all_anew_and_the_zone_is_one_of_them(lake: Lake) -> None:
    send(lake, event(0), event(20), event(13.9 * 60))
    build(lake, config())
    assert build(lake, config(timeout="10m")).full
    assert stored(lake)[0].height == 3
    assert build(lake, config(timeout="10m"), timezone="Asia/Tokyo").full
    assert not build(lake, config(timeout="10m"), timezone="Asia/Tokyo").full


def test_a_late_event_joins_two_sessions_and_shifts_the_numbers_over_months(lake: Lake) -> None:
    send(lake, event(0), event(40), event(40 * DAY), event(80 * DAY))
    build(lake, config())
    assert stored(lake)[0]["session_number"].to_list() == [1, 2, 3, 4]
    send(lake, event(20))
    assert not build(lake, config()).full
    found = stored(lake)[0].sort("started_at")
    assert found["session_number"].to_list() == [1, 2, 3]
    assert found["page_views"].to_list() == [3, 1, 1]
    send(lake, event(-40 * DAY))
    build(lake, config())
    assert stored(lake)[0].sort("started_at")["session_number"].to_list() == [1, 2, 3, 4]
    assert account(lake, config()).balanced


def test_events_that_are_gone_leave_no_session(lake: Lake) -> None:
    send(lake, event(0), event(DAY, device="d2"))
    build(lake, config())
    table = lake.open(EVENTS)
    day = event(DAY)["event_day"]
    rows = table.scan().select("event_day").collect().filter(event_day=day).unique()
    table.replace(table.scan().drop("_seq").collect().clear(), scope=rows)
    send(lake, event(5))
    assert build(lake, config()).full
    assert stored(lake)[0]["visitor"].to_list() == ["d1"]


def test_the_account_tells_where_every_event_went(lake: Lake) -> None:
    send(
        lake, event(0), event(1, name="Clicked"), event(2, name="Heartbeat"),
        event(3, flags=["bot"]), event(4, type="identify", user_id="u"),
        event(5, device=None, user_id="u", name="Paid"),
    )  # fmt: skip
    build(lake, config())
    told = account(lake, config())
    assert (told.events, told.left_out, told.heartbeats, told.interactions) == (6, 3, 1, 2)
    assert (told.in_sessions, told.page_views, told.balanced) == (2, 1, True)


def test_no_events_at_all(lake: Lake) -> None:
    build(lake, config())
    assert stored(lake)[0].is_empty()
    send(lake, event(0))
    build(lake, config())
    assert stored(lake)[0].height == 1


_WORK = """
import sys
from pathlib import Path
from cdp_assets.lake import Lake
from cdp_assets.sessions import SessionsConfig, build
build(Lake(Path(sys.argv[1])), SessionsConfig.model_validate({"timeout": sys.argv[2]}))
"""


@pytest.mark.parametrize(
    "point",
    [
        "before-pages", "after-sessions/page_views-month", "after-pages", "after-sessions-month",
        "after-sessions",
    ],
)  # fmt: skip
def test_killed_it_is_as_if_it_had_not_run(lake: Lake, point: str) -> None:
    send(lake, event(0), event(25), event(0, device="d2"))
    build(lake, config())
    send(lake, event(15), event(50 * DAY))
    killed = subprocess.run(
        [sys.executable, "-c", _WORK, str(lake.root), "10m"],
        env=os.environ | {"CDP_CRASH_AT": f"sessions:{point}"},
        check=False,
    )
    assert killed.returncode == 137
    send(lake, event(26))
    # the rules of before: what the killed build wrote by others is made anew
    build(lake, config())
    other = Lake(lake.root.parent / "other")
    send(other, event(0), event(25), event(0, device="d2"), event(15), event(50 * DAY), event(26))
    build(other, config())
    for one, whole in zip(stored(lake), stored(other), strict=True):
        assert_frame_equal(one, whole)


def _engaged(lake: Lake, *seconds: tuple[float, str | None]) -> None:
    """Page Engaged as an ingest leaves it: in table events, and decoded in one of its own."""
    rows = [event(minutes, name="Page Engaged") for minutes, _ in seconds]
    properties = {"engaged_seconds": DECIMAL}
    table = typed_table("Page Engaged", "events/page_engaged", properties)
    typed = [
        {name: row.get(name) for name in ENVELOPE}
        | {"engaged_seconds": value and Decimal(value), "engaged_seconds__str": None}
        for row, (_, value) in zip(rows, seconds, strict=True)
    ]
    lake.open(table).append(pl.DataFrame(typed, schema=dict(table.schema)))
    columns = json.dumps({"engaged_seconds": "engaged_seconds"})
    known = {"table": table.key, "event": "Page Engaged", "columns": columns, "spec": "x"}
    lake.open(CATALOGUE).merge(pl.DataFrame([known], schema=dict(CATALOGUE.schema)))
    frame = pl.DataFrame(rows, schema=dict(EVENTS.schema))
    lake.open(EVENTS).append(frame, watermarks={table.key: lake.open(table).seq()})


def test_engaged_time_is_what_the_page_tells(lake: Lake) -> None:
    send(lake, event(0, "/a"), event(10, "/b"), event(11, name="Heartbeat"))
    _engaged(lake, (9, "30.4"), (9.9, "12.2"), (55, "1000"))
    done = build(lake, config())
    assert done.unplaced == 1
    found = stored(lake)
    assert found[1]["engaged_seconds"].to_list() == [43, 5]
    assert found[0].select("engaged_seconds", "events", "ended_at").row(0) == (48, 2, at(10))
    _engaged(lake, (12, "7"))
    assert not build(lake, config()).full
    assert stored(lake)[1]["engaged_seconds"].to_list() == [43, 12]
    assert account(lake, config()).balanced
    # without it, the same events are interactions like any other
    build(lake, config(engaged_time=None))
    assert stored(lake)[0]["events"].to_list() == [5, 1]


def test_a_heartbeat_goes_over_to_a_session_that_came_late_also_beyond_the_months_end(
    lake: Lake,
) -> None:
    end = (datetime(2026, 4, 1, tzinfo=UTC) - at(0)).total_seconds() / 60
    send(lake, event(end - 20), event(end + 8, name="Heartbeat"))
    build(lake, config())
    assert stored(lake)[0]["seen_until"].to_list() == [at(end + 8)]
    send(lake, event(end + 5, "/?gclid=1"))
    assert not build(lake, config()).full
    found = stored(lake)[0].sort("started_at")
    assert found["seen_until"].to_list() == [at(end - 20), at(end + 8)]
    assert found["month"].to_list() == [date(2026, 3, 1), date(2026, 4, 1)]
