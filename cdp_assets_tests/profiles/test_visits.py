"""Traits from sessions and page views: counted, windowed, first and last; incremental as rebuilt,
though identity moves and late events change sessions that were counted before."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp_assets import sessions
from cdp_assets.profiles import explain, timeline
from cdp_assets.profiles.errors import ExpressionError
from cdp_assets.profiles.model import compile_traits
from cdp_assets.sessions import SessionsConfig
from cdp_assets_tests.profiles.world import World, traits
from cdp_assets_tests.sessions import world as visits

TRAITS = traits(
    sessions={"select": "count(*)", "from": "sessions"},
    sessions_3d={"select": "count(*)", "from": "sessions", "within": "3d"},
    first_channel={"select": "first(channel)", "from": "sessions"},
    last_channel={"select": "last(channel)", "from": "sessions"},
    last_not_direct={
        "select": "last(channel)", "from": "sessions", "where": "channel <> 'Direct'",
    },
    seconds={"select": "sum(duration_seconds)", "from": "sessions"},
    bounces={"select": "count(*)", "from": "sessions", "where": "bounced"},
    last_visit={"select": "max(started_at)", "from": "sessions"},
    pricing_views={
        "select": "count(*)", "from": "page_views", "where": "page_path = '/pricing'",
    },
    pages_3d={"select": "count(distinct page_path)", "from": "page_views", "within": "3d"},
)  # fmt: skip
ACCOUNT = traits("account", visits={"select": "count(*)", "from": "sessions"})
START = visits.START
NOW = START + timedelta(days=4)


class Story:
    """Events, identity and builds, one after the other."""

    def __init__(self, root: Path) -> None:
        self.world, self.now, self.count = World(root), NOW, 0
        for n in (1, 2):
            self.world.identify(n, f"salesforce.Contact:{n}")

    def tell(self, what: str, *told: Any) -> None:
        if what == "event":
            minutes, url, device, user = told
            self.count += 1
            one = visits.event(minutes, url, device, user_id=user, message_id=f"m{self.count}")
            visits.send(self.world.lake, one)
        elif what == "login":
            device, user, minutes = told
            since = visits.at(minutes)
            self.world.login(device, user, since, since + timedelta(days=2))
        elif what == "identify":
            self.world.identify(told[1], told[0])
        else:
            self.build(told[0])

    def build(self, days: int = 0) -> dict[int, dict[str, Any]]:
        self.now += timedelta(days=days)
        sessions.build(self.world.lake, SessionsConfig())
        self.world.build(TRAITS, self.now)
        return self.world.profiles()

    def rebuilt(self, root: Path) -> dict[int, dict[str, Any]]:
        shutil.copytree(self.world.lake.root, root)
        for room in ("profiles", "sessions"):
            shutil.rmtree(root / room)
        shutil.rmtree(root / "sessions.delta")
        other = World(root)
        sessions.build(other.lake, SessionsConfig())
        other.build(TRAITS, self.now)
        return other.profiles()


USERS, DEVICES = [None, "ada", "bob"], ["d1", "d2"]
URLS = ["/", "/pricing", "/?gclid=1", "/?utm_source=n&utm_medium=email"]
MINUTES = st.integers(0, 5).flatmap(
    lambda day: st.sampled_from([0, 10, 25, 50, 75]).map(lambda m: day * 1440 + m)
)
OPERATIONS = st.one_of(
    st.tuples(
        st.just("event"), MINUTES, st.sampled_from(URLS), st.sampled_from(DEVICES),
        st.sampled_from(USERS),
    ),
    st.tuples(
        st.just("identify"),
        st.sampled_from(["user_id:ada", "user_id:bob", "anonymous_id:d1", "anonymous_id:d2"]),
        st.sampled_from([1, 2, None]),
    ),
    st.tuples(st.just("login"), st.sampled_from(DEVICES), st.sampled_from(USERS[1:]), MINUTES),
    st.tuples(st.just("build"), st.integers(0, 2)),
)  # fmt: skip
QUIET: Any = {"deadline": None, "suppress_health_check": list(HealthCheck)}


def _equal(operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder, "one"))
        story.tell("event", 0, "/", "d1", None)
        story.build()
        for operation in operations:
            story.tell(*operation)
        assert story.build(1) == story.rebuilt(Path(folder, "two"))


@settings(max_examples=3, derandomize=True, phases=[Phase.generate], **QUIET)
@given(st.lists(OPERATIONS, min_size=4, max_size=9))
def test_incremental_equals_full(operations: list[tuple[Any, ...]]) -> None:
    _equal(operations)


@pytest.mark.slow
@settings(max_examples=150, **QUIET)
@given(st.lists(OPERATIONS, min_size=4, max_size=20))
def test_incremental_equals_full_at_length(operations: list[tuple[Any, ...]]) -> None:
    _equal(operations)


def test_a_late_event_can_give_a_visit_to_another() -> None:
    _equal(
        [
            ("identify", "user_id:ada", 1), ("identify", "user_id:bob", 2),
            ("event", 1450, "/", "d1", "ada"), ("build", 0), ("event", 1440, "/", "d1", "bob"),
        ]
    )  # fmt: skip


def test_counts_windows_first_and_last(tmp_path: Path) -> None:
    story = Story(tmp_path / "lake")
    story.tell("event", 0, "/?utm_source=n&utm_medium=email", "d1", None)
    story.tell("event", 5, "/pricing", "d1", None)
    story.tell("event", 3 * 1440, "/?gclid=1", "d2", "ada")
    story.tell("event", 4 * 1440 - 60, "/", "d1", None)
    story.tell("identify", "anonymous_id:d1", 1)
    story.tell("identify", "user_id:ada", 1)
    found = story.build()[1]
    assert (found["sessions"], found["sessions_3d"], found["bounces"]) == (3, 2, 2)
    assert (found["first_channel"], found["last_channel"]) == ("Email", "Direct")
    assert found["last_not_direct"] == "Paid Search"
    assert (found["seconds"], found["pricing_views"], found["pages_3d"]) == (300, 1, 1)
    assert found["last_visit"] == visits.at(4 * 1440 - 60)
    assert story.build(3)[1]["sessions_3d"] == 0
    told = explain(story.world.lake, "person", 1, traits=["sessions"]).traits[0]
    assert told.rows == 3
    assert told.evidence[0].ref.startswith("d")
    before = explain(story.world.lake, "person", 1, as_of=visits.at(60), traits=["sessions"])
    assert before.traits[0].value == 1


def test_the_timeline_names_the_touches(tmp_path: Path) -> None:
    story = Story(tmp_path / "lake")
    story.tell("event", 0, "/?utm_source=N&utm_medium=email", "d1", None)
    story.tell("event", 2000, "/?gclid=1", "d2", "ada")
    story.tell("event", 4000, "/pricing", "d1", None)
    story.tell("identify", "anonymous_id:d1", 1)
    story.tell("identify", "user_id:ada", 1)
    story.build()
    found = timeline(story.world.lake, "person", 1)
    assert found.filter(found["kind"] == "session").select("what", "detail").rows() == [
        ("Direct", "(direct) / (none) → /pricing (last touch)"),
        ("Paid Search", "google / cpc → / (last non-direct touch)"),
        ("Email", "n / email → / (first touch)"),
    ]
    early = timeline(story.world.lake, "person", 1, before=visits.at(1000))
    assert early.filter(early["kind"] == "session")["detail"].to_list() == [
        "n / email → / (first touch)"
    ]
    assert timeline(story.world.lake, "account", 1).is_empty()


def test_a_column_that_sessions_have_not_is_told_with_the_nearest() -> None:
    wrong = traits(x={"select": "last(chanel)", "from": "sessions"})
    with pytest.raises(ExpressionError, match="channel"):
        compile_traits(wrong)
