"""Whose sessions: per device until identity joins devices, then per person, also of what was
before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from cdp_assets.identity import IdentityConfig, resolve
from cdp_assets.lake import Lake
from cdp_assets.sessions import build, page_views, sessions, touches
from cdp_assets_tests.sessions.world import at, config, event, send, stored

WHO = IdentityConfig.model_validate(
    {
        "person": {
            "identifiers": {"user_id": {"limit": 1}, "anonymous_id": {"limit": 100}},
            "logout": ["Signed Out"],
        }
    }
)
GOOGLE = {"referrer": "https://www.google.com/"}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def known(lake: Lake) -> list[dict[str, Any]]:
    return touches(lake).collect().sort("first_started_at", "person").to_dicts()


def login(minutes: float, device: str, user: str) -> dict[str, Any]:
    return event(minutes, None, device, type="identify", user_id=user)


def test_first_last_and_last_that_was_not_direct(lake: Lake) -> None:
    send(
        lake,
        event(0, "/?utm_source=news&utm_medium=email&utm_campaign=May", "phone"),
        event(600, "/", "phone", **GOOGLE),
        event(1200, "/back", "phone"),
    )
    build(lake, config())
    resolve(lake, WHO, (), at(2000))
    (one,) = known(lake)
    assert (one["person"], one["profile_id"], one["sessions"]) == ("device:phone", None, 3)
    assert (one["first_channel"], one["first_campaign"]) == ("Email", "may")
    assert (one["last_channel"], one["last_landing_path"]) == ("Direct", "/back")
    assert (one["last_non_direct_channel"], one["last_non_direct_source"]) == (
        "Organic Search", "google",
    )  # fmt: skip


def test_where_all_was_direct_no_touch_was_not(lake: Lake) -> None:
    send(lake, event(0))
    build(lake, config())
    (one,) = known(lake)
    assert one["last_non_direct_channel"] is None
    assert one["first_channel"] == "Direct"


def test_devices_join_later_and_their_past_with_them(lake: Lake) -> None:
    send(
        lake,
        event(0, "/", "laptop", **GOOGLE),
        event(600, "/?gclid=1", "phone"),
        event(1200, "/", "laptop"),
    )
    build(lake, config())
    resolve(lake, WHO, (), at(1300))
    assert [t["person"] for t in known(lake)] == ["device:laptop", "device:phone"]
    before = stored(lake)
    send(lake, login(1201, "laptop", "ada"), login(1500, "phone", "ada"))
    resolve(lake, WHO, (), at(1600))
    build(lake, config())
    for one, other in zip(before, stored(lake), strict=True):
        assert_frame_equal(one, other)  # nothing of identity is baked in
    (ada,) = known(lake)
    assert (ada["sessions"], ada["profile_id"]) == (3, 1)
    assert (ada["first_channel"], ada["last_non_direct_channel"]) == (
        "Organic Search", "Paid Search",
    )  # fmt: skip
    numbered = sessions(lake).collect().sort("started_at")
    assert numbered["person_session_number"].to_list() == [1, 2, 3]
    assert numbered["session_number"].to_list() == [1, 1, 2]


def test_on_a_shared_device_each_has_their_own_visits(lake: Lake) -> None:
    send(
        lake,
        login(0, "kiosk", "ada"), event(1, "/a", "kiosk", user_id="ada"),
        event(2, None, "kiosk", user_id="ada", name="Signed Out"),
        login(600, "kiosk", "bob"), event(601, "/b", "kiosk", user_id="bob"),
    )  # fmt: skip
    build(lake, config())
    resolve(lake, WHO, (), at(700))
    found = sessions(lake).collect().sort("started_at")
    assert found["profile_id"].n_unique() == 2
    assert found["profile_id"].null_count() == 0


def test_page_views_before_the_log_in_belong_to_who_logs_in_within_the_visit(lake: Lake) -> None:
    send(lake, event(0, "/a"), event(1, "/b", user_id="ada"))
    build(lake, config())
    resolve(lake, WHO, (), at(10))
    assert page_views(lake).collect()["profile_id"].to_list() == [1, 1]
