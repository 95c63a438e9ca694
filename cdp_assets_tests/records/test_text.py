"""Values read, told and wanted have one spelling."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from cdp_assets.connectors.text import text
from cdp_assets.records.decode import decode
from cdp_assets.records.tells import plain

WHOLE = st.integers(-(2**62), 2**62)
NUMBERS = (
    WHOLE
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False, places=6)
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = NUMBERS | st.booleans() | st.none() | TEXTS | st.lists(WHOLE | TEXTS, max_size=3)
encode = msgspec.json.Encoder(decimal_format="number").encode


def read(payload: str) -> str | None:
    """The value of `x` as records reads it."""
    frame, unreadable = decode(pl.Series([payload]), ["x"])
    assert not unreadable
    return frame["x"].to_list()[0]


@given(VALUES)
@example(-0.0)
@example(Decimal("-0.00"))
@example(1e300)
@example("\x1f")
@example("\u3000")
@example([Decimal("1.50")])
def test_a_value_that_is_shown_reads_as_the_one_that_is_wanted(value: Any) -> None:
    assert read(encode({"x": value}).decode()) == text(value)


@given(NUMBERS | st.booleans() | st.datetimes(timezones=st.just(UTC)))
@example(-0.0)
def test_what_was_told_is_compared_as_it_was_spelt(value: Any) -> None:
    assert plain(text(value)) == text(value)


@given(st.decimals(-(10**9), 10**9, places=6), st.integers(0, 4))
@example(Decimal("-0.000000"), 1)
def test_zeros_at_the_end_of_a_fraction_say_nothing(value: Decimal, zeros: int) -> None:
    assert plain(format(value, "f") + "0" * zeros) == text(value)


@given(st.datetimes(datetime(2, 1, 1), datetime(9000, 1, 1)), st.integers(-14, 14))
def test_a_moment_is_the_same_in_every_zone(at: datetime, hours: int) -> None:
    there = at.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=hours)))
    assert plain(there.isoformat()) == text(there) == text(at)


def test_a_number_of_endless_digits_is_kept_short() -> None:
    assert read('{"x": 1e999999}') == "1E+999999"
    assert text(float("inf")) is text(float("nan")) is None
    assert json.loads(str(read('{"x": [1.50, 2]}'))) == [1.5, 2]
