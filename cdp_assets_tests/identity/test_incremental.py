"""Through the lake: whatever the batches, links and profiles are those of one resolve."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.identity import FORMER, LINKS, LOGINS
from cdp_assets.lake import Lake
from cdp_assets_tests.identity.world import (
    CONTACT,
    LEAD,
    contact,
    event,
    profiles,
    pull,
    run,
    send,
    tell,
    version,
)

EMAILS = ["a@example.com", "b@example.com", "info@x.example", None]

happenings = st.one_of(
    st.tuples(
        st.just("event"),
        st.sampled_from(["d1", "d2", None]),
        st.sampled_from(["1", "2", "null", None]),
        st.sampled_from(["Viewed", "Signed Out"]),
    ),
    st.tuples(
        st.just("tell"), st.sampled_from(["user_id:1", "user_id:2"]), st.sampled_from(EMAILS)
    ),
    st.tuples(st.just("contact"), st.sampled_from(["1", "2", "3"]), st.sampled_from(EMAILS)),
    st.tuples(st.just("delete"), st.sampled_from(["1", "2", "3"])),
    st.sampled_from([("merge", "2", "1"), ("merge", "3", "2"), ("merge", "1", "3")]),
    st.tuples(st.just("lead"), st.sampled_from(EMAILS), st.sampled_from(["1", "2", None])),
)


def happen(lake: Lake, hour: int, what: tuple[Any, ...]) -> None:
    kind, *rest = what
    if kind == "event":
        device, user, name = rest
        if device or user:
            send(lake, event(hour, device, user, name=name))
    elif kind == "tell":
        tell(lake, hour, rest[0], "email", rest[1])
    elif kind == "contact":
        pull(lake, CONTACT, contact(rest[0], hour, Email=rest[1]))
    elif kind == "delete":
        pull(lake, CONTACT, version(rest[0], hour, "{}", op="delete"))
    elif kind == "merge":
        pull(lake, CONTACT, version(rest[0], hour, None, op="merge", merged_into=rest[1]))
    else:
        pull(lake, LEAD, version("9", hour, {"Email": rest[0], "ConvertedContactId": rest[1]}))


def tables(lake: Lake) -> list[Any]:
    links = lake.open(LINKS).scan().drop("_seq").sort(LINKS.primary_key).collect()
    logins = lake.open(LOGINS).scan().drop("_seq").sort(LOGINS.primary_key).collect()
    former = lake.open(FORMER).scan().drop("_seq").sort(FORMER.primary_key).collect()
    assert links.select(pl.col("state").null_count()).item() == 0
    return [links.rows(), logins.rows(), former.rows(), sorted(map(sorted, profiles(lake)))]


def check(found: list[tuple[int, tuple[Any, ...]]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Lake(Path(folder, "one")), Lake(Path(folder, "other"))
        for hour, what in sorted(found, key=lambda item: item[0]):
            happen(one, hour, what)
        run(one)
        for part in (found[:cut], found[cut:]):
            for hour, what in part:
                happen(other, hour, what)
            run(other)
        assert tables(other) == tables(one)


HISTORY = st.permutations(range(12)).flatmap(
    lambda hours: st.lists(happenings, min_size=2, max_size=9).map(
        lambda what: list(zip(hours, what, strict=False))
    )
)
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


@given(HISTORY, st.integers(0, 9))
@settings(max_examples=4, **SETTINGS)
def test_two_batches_give_what_one_gives(
    found: list[tuple[int, tuple[Any, ...]]], cut: int
) -> None:
    check(found, cut)


@pytest.mark.slow
@given(HISTORY, st.integers(0, 9))
@settings(max_examples=100, **SETTINGS)
def test_many_batches_give_what_one_gives(
    found: list[tuple[int, tuple[Any, ...]]], cut: int
) -> None:
    check(found, cut)
