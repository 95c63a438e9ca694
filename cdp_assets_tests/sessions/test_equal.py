"""Whatever the order, the cut and the lateness: sessions are those of a plain reading of the rules,
and built bit by bit they are those of one build."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from cdp_assets.lake import Lake
from cdp_assets.sessions import account, build
from cdp_assets_tests.sessions import oracle
from cdp_assets_tests.sessions.world import config, event, send, stored

URLS = (
    "/", "/pricing", "/?utm_source=News&utm_medium=email", "/?UTM_SOURCE=news&utm_medium=Email",
    "/?gclid=x", "/?fbclid=y", "https://shop.example.com/a", "https://other.io/b",
)  # fmt: skip
REFERRERS = (
    None, "https://www.google.com/", "https://www.example.com/pricing",
    "https://www.paypal.com/pay", "https://l.facebook.com/", "https://app.friend.io/x",
)  # fmt: skip


@st.composite
def an_event(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from([None, None, None, "Click", "Heartbeat", "Order Paid"]))
    more: dict[str, Any] = {}
    if draw(st.integers(0, 9)) == 0:
        more["flags"] = ["bot"]
    if draw(st.integers(0, 5)) == 0:
        more["user_id"] = draw(st.sampled_from(["u1", "u2"]))
    if draw(st.integers(0, 9)) == 0:
        more["campaign_source"] = draw(st.sampled_from(["News", "partner"]))
    url = draw(st.sampled_from(URLS)) if draw(st.integers(0, 9)) else None
    minutes = draw(st.integers(0, 12)) * 720 + draw(st.sampled_from([0, 1, 5, 29, 30, 31, 45, 60]))
    return event(
        minutes,
        url,
        draw(st.sampled_from(["d1", "d1", "d2", None])),
        name=name,
        referrer=draw(st.sampled_from(REFERRERS)),
        **more,
    )


CONFIGS = (
    config(),
    config(midnight=True, timezone="America/New_York"),
    config(campaign_change=False, domains=["friend.io"], timeout="10m"),
)


@st.composite
def a_world(draw: st.DrawFn) -> tuple[Any, list[list[dict[str, Any]]]]:
    events = draw(st.lists(an_event(), max_size=25))
    for number, row in enumerate(events):
        row["message_id"] = f"m{number}"
    cuts = sorted(draw(st.lists(st.integers(0, len(events)), max_size=3)))
    batches = [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True) if a < b]
    return draw(st.sampled_from(CONFIGS)), batches


def _matches(lake: Lake, events: list[dict[str, Any]], rules: Any) -> None:
    expected = oracle.sessions(events, rules, rules.timezone or "UTC")
    found = stored(lake)[0].sort("visitor", "session_number")
    for want, have in zip(expected, found.iter_rows(named=True), strict=True):
        want.pop("origin")
        assert want == {name: have[name] for name in want}


def _try(world: tuple[Any, list[list[dict[str, Any]]]]) -> None:
    rules, batches = world
    with TemporaryDirectory() as folder:
        little, once = Lake(Path(folder, "little")), Lake(Path(folder, "once"))
        for batch in batches:
            send(little, *batch)
            build(little, rules)
        events = [row for batch in batches for row in batch]
        if events:
            send(once, *reversed(events))
        build(once, rules)
        for one, other in zip(stored(little), stored(once), strict=True):
            assert_frame_equal(one, other)
        _matches(once, events, rules)
        told = account(little, rules)
        assert told.balanced
        assert told.events == len(events)


checks = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=10, deadline=None, suppress_health_check=checks)
@given(a_world())
def test_bit_by_bit_is_once_and_as_the_rules_say(
    world: tuple[Any, list[list[dict[str, Any]]]],
) -> None:
    _try(world)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=checks)
@given(a_world())
def test_at_length(world: tuple[Any, list[list[dict[str, Any]]]]) -> None:
    _try(world)
