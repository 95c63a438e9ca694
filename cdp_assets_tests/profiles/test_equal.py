"""Incremental equals full: whatever came in whatever order, built in whatever steps."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp_assets_tests.profiles.world import NOW, World, at, traits

TRAITS = traits(
    email={"prefer": ["salesforce.Contact.Email", "events.traits.email"]},
    title={"latest": ["salesforce.Contact.Title", "hubspot.contacts.jobtitle"]},
    orders={"select": "count(*)", "from": "Order Completed"},
    revenue_9d={"select": "sum(revenue)", "from": "Order Completed", "within": "9d"},
    revenue={"select": "sum(revenue)", "from": "Order Completed", "where": "plan = 'pro'"},
    first_plan={"select": "first(plan)", "from": "Order Completed"},
    last_plan={"select": "last(plan)", "from": "Order Completed", "within": "9d"},
    plans={"select": "count(distinct plan)", "from": "Order Completed"},
    last_seen={"select": "max(timestamp)", "from": "events"},
    seen_2d={"select": "count(*)", "from": "events", "within": "2d"},
    first_seen={"select": "min(timestamp)", "from": "events", "where": "type = 'track'"},
    seen_5d={"select": "min(timestamp)", "from": "events", "within": "5d"},
    mean={"select": "avg(revenue)", "from": "Order Completed"},
    plans_3d={"select": "count(distinct plan)", "from": "Order Completed", "within": "3d"},
    active={"expr": "seen_2d > 0 and orders > 0"},
    share={"sql": "share.sql"},
    sharing={"expr": "share > 1000"},
)
ACCOUNT = traits(
    "account",
    name={"latest": ["salesforce.Account.Name"]},
    pipeline={"select": "sum(Amount)", "from": "salesforce.Opportunity", "where": "not IsClosed"},
    mrr={"select": "sum(mrr)", "from": "subscription", "where": "status = 'active'"},
    people={"select": "count(*)", "from": "person"},
    active_people={"select": "count(*)", "from": "person", "where": "active"},
    visits={"select": "count(*)", "from": "events"},
    rank={"sql": "rank.sql"},
)
FILES = {
    "share.sql": "with told as (select count(*) as n from events where type = 'track'), "
    "live as (select count(*) as n from records_person where not deleted) "
    "select p.profile_id, p.orders * 1000 + told.n * 10 + live.n as share "
    "from person p cross join told cross join live",
    "rank.sql": "select a.profile_id, a.people * 100 + p.n as rank "
    "from account a cross join (select count(*) as n from person where active) p",
}
BOTH = {"person": TRAITS, "account": ACCOUNT}

USERS, DEVICES = ["ada", "bob", "eve"], ["d1", "d2"]
DAYS = st.integers(0, 12).map(lambda n: at("2026-03-01") + timedelta(days=n, hours=5))
PERSON = st.sampled_from([1, 2, 3])
OPERATIONS = st.one_of(
    st.tuples(
        st.just("event"),
        st.sampled_from(["Order Completed", "Page Viewed"]),
        DAYS,
        st.sampled_from([None, *USERS]),
        st.sampled_from([None, *DEVICES]),
        st.sampled_from(["1.10", "2.25", None]),
        st.sampled_from(["pro", "free", None]),
    ),
    st.tuples(st.just("user"), st.sampled_from(USERS), PERSON),
    st.tuples(st.just("device"), st.sampled_from(DEVICES), st.sampled_from([None, 1, 2])),
    st.tuples(st.just("login"), st.sampled_from(DEVICES), st.sampled_from(USERS), DAYS),
    st.tuples(st.just("told"), st.sampled_from(USERS), st.sampled_from(["x@y.z", None]), DAYS),
    st.tuples(
        st.just("contact"),
        st.integers(1, 2),
        st.sampled_from(["a@b.c", None]),
        st.sampled_from(["Boss", None]),
        DAYS,
        st.booleans(),
    ),
    st.tuples(st.just("opportunity"), st.integers(1, 2), st.booleans(), DAYS, st.integers(1, 2)),
    st.tuples(st.just("subscription"), st.sampled_from(["active", "over"]), DAYS),
    st.tuples(st.just("employ"), st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.just("leave"), st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.just("build"), st.integers(0, 3)),
    st.tuples(st.just("decode anew")),
)


class Story:
    """Applies operations to a world; the clock only moves on."""

    def __init__(self, root: Path) -> None:
        self.world = World(root)
        self.files = root.parent
        for name, text in FILES.items():
            (self.files / name).write_text(text)
        self.now = NOW - timedelta(days=4)
        for n in (1, 2):
            self.world.identify(n, f"salesforce.Contact:{n}")
            self.world.record(f"salesforce.Contact:{n}", "person", at("2026-01-01"), Email=None)
            self.world.identify(n, f"salesforce.Account:{n}", entity="account")
            self.world.record(f"salesforce.Account:{n}", "account", at("2026-01-01"), Name=f"A{n}")
        self.world.relate("salesforce.Subscription__c:1", "account", "salesforce.Account:1")
        self.world.event("Page Viewed", at("2026-02-01"), device="nobody")

    def tell(self, operation: tuple[Any, ...]) -> None:
        tellers: dict[str, Callable[..., None]] = {
            "event": self._event,
            "user": lambda user, n: self.world.identify(n, f"user_id:{user}"),
            "device": lambda device, n: self.world.identify(n, f"anonymous_id:{device}"),
            "login": lambda device, user, when: self.world.login(
                device, user, when, when + timedelta(days=3)
            ),
            "told": lambda user, value, when: self.world.told(
                f"user_id:{user}", "events.traits.email", value, when
            ),
            "contact": self._contact,
            "opportunity": self._opportunity,
            "subscription": lambda status, when: self.world.record(
                "salesforce.Subscription__c:1", "subscription", when, MRR__c="10", Status__c=status
            ),
            "employ": lambda n, m: self.world.relate(
                f"salesforce.Contact:{n}", "account", f"salesforce.Account:{m}"
            ),
            "leave": lambda n, m: self.world.unrelate(
                f"salesforce.Contact:{n}", "account", f"salesforce.Account:{m}"
            ),
            "build": self._build,
            "decode anew": lambda: self.world.decode_anew("Order Completed"),
        }
        tellers[operation[0]](*operation[1:])

    def _event(self, name: str, when: Any, user: Any, device: Any, money: Any, plan: Any) -> None:
        self.world.event(name, when, user=user, device=device, revenue=money, plan=plan)

    def _contact(self, n: int, email: Any, title: Any, when: Any, deleted: bool) -> None:
        ref = f"salesforce.Contact:{n}"
        self.world.record(ref, "person", when, deleted=deleted, Email=email, Title=title)

    def _opportunity(self, n: int, closed: bool, when: Any, account: int) -> None:
        ref = f"salesforce.Opportunity:{n}"
        self.world.record(ref, "opportunity", when, Amount="7.5", IsClosed=str(closed).lower())
        self.world.relate(ref, "account", f"salesforce.Account:{account}")

    def _build(self, days: int) -> None:
        self.now += timedelta(days=days)
        for config in BOTH.values():
            self.world.build(config, self.now, others=BOTH, folder=self.files)

    def state(self) -> dict[str, Any]:
        return {entity: self.world.profiles(entity) for entity in BOTH}

    def rebuilt(self, root: Path) -> dict[str, Any]:
        """The state that a full build over the same inputs gives."""
        shutil.copytree(self.world.lake.root, root)
        shutil.rmtree(root / "profiles")
        other = World(root)
        for config in BOTH.values():
            other.build(config, self.now, others=BOTH, folder=self.files)
        return {entity: other.profiles(entity) for entity in BOTH}


def tell(operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder, "one"))
        story.tell(("build", 0))
        for operation in operations:
            story.tell(operation)
        story.tell(("build", 1))
        assert story.state() == story.rebuilt(Path(folder, "two"))


QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=3, derandomize=True, phases=[Phase.generate], **QUIET)
@given(st.lists(OPERATIONS, min_size=4, max_size=9))
def test_incremental_equals_full(operations: list[tuple[Any, ...]]) -> None:
    tell(operations)


def test_events_leave_a_device_s_person_when_their_user_becomes_known() -> None:
    when = at("2026-03-11")
    event = ("event", "Page Viewed", when, "bob", "d1", None, "free")
    known = [("device", "d1", 1), event, ("build", 2), ("user", "bob", 2)]
    tell(known)
    tell([*known, ("build", 1), ("user", "bob", None)])


@pytest.mark.slow
@settings(max_examples=200, **QUIET)
@given(st.lists(OPERATIONS, min_size=4, max_size=25))
def test_incremental_equals_full_at_length(operations: list[tuple[Any, ...]]) -> None:
    tell(operations)
