"""Whose an event is, on both engines, against a slow and plain reading of the rule."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.identity import (
    GRAPH,
    LOGINS,
    IdentityConfig,
    attribute,
    follow,
    lookup,
    over_limits,
    related,
)
from cdp_assets.identity.transforms import attribution, login_intervals, primary
from cdp_assets.lake import Lake
from cdp_assets_tests.engines import Engine
from cdp_assets_tests.identity.world import (
    ACCOUNT,
    CONTACT,
    PLAN,
    at,
    contact,
    event,
    profile_of,
    pull,
    run,
    send,
    tell,
    version,
)

TS = pl.Datetime("us", "UTC")
OUT = "Signed Out"
SHARED = {"d1", "d2"}
USERS = {"u1": 1, "u2": 2}

acts = st.lists(
    st.tuples(
        st.sampled_from(["d1", "d2", "d3", None]),
        st.sampled_from(["u1", "u2", "u3", None]),
        st.sampled_from(["Viewed", OUT]),
        st.integers(0, 6),
    ),
    max_size=12,
)
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


def frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    schema = {"anonymous_id": pl.String, "user_id": pl.String, "event": pl.String, "timestamp": TS}
    timed = [(d, u, e, at(t)) for d, u, e, t in rows]
    return pl.DataFrame(timed, schema=schema, orient="row")  # type: ignore[arg-type]


def logged_in(rows: list[tuple[Any, ...]], device: str, moment: int) -> str | None:
    """The rule, read plainly: walk the device's moments up to this one."""
    who: str | None = None
    for hour in range(moment + 1):
        here = [(u, e) for d, u, e, t in rows if d == device and t == hour]
        users = [u for u, e in here if u is not None and e != OUT]
        if users:
            who = max(users)
        elif any(e == OUT for _, e in here):
            who = None
    return who


def check(engine: Engine, rows: list[tuple[Any, ...]]) -> None:
    events = frame(rows)
    shared = pl.DataFrame({"device_key": sorted(SHARED)})
    on_shared = engine.frame(events.filter(pl.col("anonymous_id").is_in(sorted(SHARED))))
    logins = engine.collect(login_intervals(on_shared, [OUT]))
    for device, start, user, end in logins.select("anonymous_id", "from", "user_id", "to").rows():
        assert end is None or start < end
        assert logged_in(rows, device, int((start - at(0)).total_seconds() // 3600)) == user
    keyed = events.select(
        "timestamp", "event", user_key=pl.col("user_id"), device_key=pl.col("anonymous_id"),
        n=pl.int_range(pl.len(), dtype=pl.Int64),
    )  # fmt: skip
    profiled = logins.select(
        "from", "to", device="anonymous_id",
        profile_id=pl.col("user_id").replace_strict(USERS, default=-1, return_dtype=pl.Int64),
    )  # fmt: skip
    users = pl.DataFrame({"user_key": list(USERS), "user_profile": list(USERS.values())})
    devices = pl.DataFrame({"device_key": ["d3"], "device_profile": [9]})
    frames = [engine.frame(f) for f in (keyed, users, devices, shared, profiled)]
    found = engine.collect(attribution(*frames)).sort("n")
    assert found.columns == ["timestamp", "event", "n", "profile_id"]
    expected = []
    for device, user, _, moment in rows:
        owner = USERS.get(user or "")
        if owner is None and device == "d3":
            owner = 9
        if owner is None and device in SHARED:
            owner = USERS.get(logged_in(rows, device, moment) or "")
        expected.append(owner)
    assert found["profile_id"].to_list() == expected


@given(acts)
@settings(max_examples=40, **SETTINGS)
def test_attribution_follows_the_rule(rows: list[tuple[Any, ...]]) -> None:
    check(Engine("polars"), rows)


def test_attribution_on_each_engine(engine: Engine) -> None:
    rows = [
        ("d1", "u1", "Viewed", 1), ("d1", None, "Viewed", 2), ("d1", None, OUT, 3),
        ("d1", None, "Viewed", 4), ("d1", "u2", "Viewed", 5), ("d1", "u3", "Viewed", 6),
        ("d1", None, "Viewed", 6), ("d2", None, "Viewed", 0), ("d3", None, "Viewed", 0),
        (None, "u2", "Viewed", 0), (None, None, "Viewed", 0),
    ]  # fmt: skip
    check(engine, rows)


def test_one_target_of_each_subject(engine: Engine) -> None:
    pairs = pl.DataFrame(
        {
            "subject": [1, 1, 1, 2, 2, 2, 3, 3],
            "target": [7, 5, 5, 9, 8, 8, 6, 4],
            "rank": [0, 1, 1, 1, 1, 1, 2, 2],
        }
    )
    found = engine.collect(primary(engine.frame(pairs))).sort("subject")
    assert found.rows() == [(1, 7), (2, 8), (3, 4)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def owners_of(lake: Lake, *asked: tuple[str | None, str | None, float]) -> list[int | None]:
    schema = {"anonymous_id": pl.String, "user_id": pl.String, "timestamp": TS, "n": pl.Int64}
    rows = [(d, u, at(t), n) for n, (d, u, t) in enumerate(asked)]
    frame = pl.LazyFrame(rows, schema=schema, orient="row")  # type: ignore[arg-type]
    return attribute(lake, frame).sort("n").collect()["profile_id"].to_list()


def test_a_device_of_one_person_gives_them_its_past(lake: Lake) -> None:
    send(lake, event(0, "dev"), event(500, "dev", "42"))
    assert owners_of(lake, ("dev", None, 0)) == [None]
    run(lake)
    mine = profile_of(lake, "user_id:42")
    assert owners_of(lake, ("dev", None, 0), (" dev ", None, 900), ("x", "42.0", 1)) == [mine] * 3


def test_a_shared_device_gives_each_their_own_and_the_rest_to_nobody(lake: Lake) -> None:
    send(
        lake,
        event(0, "dev"),
        event(1, "dev", "1"),
        event(3, "dev", "1", name="Signed Out"),
        event(5, "dev", "2"),
    )
    run(lake)
    one, two = profile_of(lake, "user_id:1"), profile_of(lake, "user_id:2")
    asked = [("dev", None, hour) for hour in (0, 1, 2, 3, 4, 5, 6)]
    assert owners_of(lake, *asked) == [None, one, one, None, None, two, two]


def of_user(kind: str, *more: str) -> IdentityConfig:
    """Events' userId as an identifier of this type."""
    types = {kind: {"from": ["events.userId"], "region": "US"}, **dict.fromkeys(more)}
    return IdentityConfig.model_validate(
        {"person": {"identifiers": types, "logout": ["Signed Out"]}}
    )


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("email", ["Ada@X.com", "ada@x.com ", "mailto:ada@x.com"]),
        ("phone", ["(415) 555-2671", "+1 415 555 2671", "4155552671"]),
        ("domain", ["https://www.x.com/a", "x.com", "X.COM."]),
        ("user_id", ["7", "7.0", " 7.00"]),
    ],
)
def test_an_id_in_whatever_spelling_its_type_knows_is_one_person_s(
    lake: Lake, kind: str, sent: list[str]
) -> None:
    config = of_user(kind, "anonymous_id")
    send(lake, *(event(hour, f"d{hour}", user) for hour, user in enumerate(sent)))
    send(lake, event(10, "kiosk", sent[0]), event(20, "kiosk", "bob@y.com"))
    run(lake, config=config)
    mine = profile_of(lake, f"anonymous_id:d{1}")
    assert mine is not None
    asked: list[tuple[str | None, str | None, float]] = [("x", user, 0) for user in sent]
    assert owners_of(lake, *asked) == [mine] * 3
    assert owners_of(lake, ("kiosk", None, 15)) == [mine], "the same spelling ends log-ins"


def test_logins_are_those_of_a_rebuild_whatever_the_batches(tmp_path: Path) -> None:
    events = [
        event(1, "dev", "1"), event(3, "dev", "1", name="Signed Out"), event(5, "dev", "2"),
        event(6, "dev", "1"), event(7, "other", "1"),
    ]  # fmt: skip
    found = []
    for order in ([[0, 1, 2, 3, 4]], [[4, 2], [0], [3, 1]], [[3], [1, 0], [2, 4]]):
        lake = Lake(tmp_path / str(len(found)))
        for batch in order:
            send(lake, *(events[i] for i in batch))
            run(lake)
        rows = lake.open(LOGINS).scan().sort("anonymous_id", "from").drop("_seq").collect()
        found.append(rows.rows())
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3


def test_a_device_shared_by_addresses_alone_is_nobodys(lake: Lake) -> None:
    send(lake, event(0, "dev"))
    tell(lake, 1, "anonymous_id:dev", "email", "a@example.com")
    tell(lake, 2, "anonymous_id:dev", "email", "b@example.com")
    run(lake)
    assert owners_of(lake, ("dev", None, 0)) == [None]
    rows = lake.open(LOGINS).scan().select("anonymous_id", "user_id").collect().rows()
    assert rows == [("dev", None)], "profiles learn from this table that the device is shared"


def test_a_person_belongs_to_one_account(lake: Lake) -> None:
    pull(lake, ACCOUNT, version("A", 0, {"Name": "A", "Workspace_Id__c": "wa"}))
    pull(lake, ACCOUNT, version("B", 0, {"Name": "B", "Workspace_Id__c": "wb"}))
    pull(lake, PLAN, version("P", 0, {"Account__c": "B"}))
    pull(lake, CONTACT, contact("1", 0, App_User_Id__c="1", AccountId="A"))
    send(lake, event(0, None, "1", group="wb"), event(0, None, "2", group="wb"))
    run(lake)
    a, b = (profile_of(lake, f"salesforce.Account:{n}", "account") for n in "AB")
    one, two = profile_of(lake, "user_id:1"), profile_of(lake, "user_id:2")
    assert set(related(lake, "person", "account").collect().rows()) == {(one, a), (two, b)}
    plan = profile_of(lake, "salesforce.Plan__c:P", "plan")
    assert related(lake, "plan", "account").collect().rows() == [(plan, b)]


def test_lookup_takes_whatever_a_person_types(lake: Lake) -> None:
    pull(
        lake,
        CONTACT,
        contact("003A0000001bCdEAAI", 0, Email="ada@example.com", Phone="415-555-2671"),
    )
    send(lake, event(0, "dev", "42"))
    run(lake)
    ada = profile_of(lake, "salesforce.Contact:003A0000001bCdEAAI")
    assert ada is not None
    for text in (
        "ada@example.com", "ADA@example.com ", "email:ada@example.com", "003A0000001bCdE",
        "salesforce.Contact:003A0000001bCdEAAI", "003A0000001bCdEAAI", "(415) 555-2671", str(ada),
    ):  # fmt: skip
        assert lookup(lake, "person", text) == [ada]
    assert lookup(lake, "person", "42") == [profile_of(lake, "user_id:42")]
    assert lookup(lake, "person", "nobody@example.com") == []
    assert follow(lake, "person", 999) == set()


def test_profile_and_a_number_is_that_profile_and_nothing_else(lake: Lake) -> None:
    pull(lake, CONTACT, contact("2", 0, Email="a@example.com"), contact("77", 0, Email="b@x.org"))
    run(lake)
    first, second = (profile_of(lake, f"salesforce.Contact:{n}") for n in ("2", "77"))
    assert (first, second) == (1, 2)
    # The record 2 is profile 1, so a bare 2 is either.
    assert lookup(lake, "person", "2") == [1, 2]
    assert lookup(lake, "person", "profile:2") == [2]
    assert lookup(lake, "person", " profile:1 ") == [1]
    assert lookup(lake, "person", "77") == [2]
    assert lookup(lake, "person", "1") == [1]
    assert lookup(lake, "person", "profile:77") == []
    assert lookup(lake, "account", "profile:2") == []
    assert lookup(lake, "person", "user_id:2") == []


def test_profiles_over_their_limits_are_counted(lake: Lake) -> None:
    limits = {
        "person": {"identifiers": {"email": {"limit": 2}, "phone": {"limit": 1}, "user_id": None}},
        "account": {"identifiers": {"domain": {"limit": 1}}},
    }
    config = IdentityConfig.model_validate(limits)
    assert over_limits(lake, config) == 0
    held = [
        ("person", 1, "email", 3),
        ("person", 2, "email", 2),
        ("person", 1, "phone", 2),
        ("person", 3, "user_id", 9),
        ("account", 1, "domain", 1),
        ("account", 2, "email", 5),
    ]
    rows = [
        {"entity": entity, "identifier": f"{kind}:{owner}-{n}", "profile_id": owner, "type": kind}
        for entity, owner, kind, count in held
        for n in range(count)
    ]
    lake.open(GRAPH).merge(pl.DataFrame(rows, schema=dict(GRAPH.schema)))
    assert over_limits(lake, config) == 2


def test_nothing_is_known_before_the_first_resolve(lake: Lake) -> None:
    assert owners_of(lake, ("dev", "42", 0)) == [None]
    assert lookup(lake, "person", "x") == []
    assert related(lake, "person", "account").collect().is_empty()
    assert isinstance(at(0), datetime)
