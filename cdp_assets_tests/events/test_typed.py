from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.events.tables import snake, typed_columns, typed_keys, typed_table
from cdp_assets.events.typed import Plucker, TraitSpec, plain, to_column, typed_specs
from cdp_assets_tests.events.world import DECIMAL


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None))
def test_a_decimal_is_exact_or_its_text_is_kept(number: Decimal) -> None:
    column, kept = to_column(pl.Series([str(number)]), DECIMAL)
    fits = abs(number) < 10**19 and number == round(number, 9)
    if fits:
        assert column[0] == number
        assert kept[0] is None
    else:
        assert kept[0] == str(number)
        if column[0] is not None:
            assert abs(column[0] - number) <= Decimal("0.5e-9")


@pytest.mark.parametrize(
    ("text", "dtype", "value", "kept"),
    [
        ("0.1", DECIMAL, Decimal("0.1"), None),
        ("9999999999999999999.999999999", DECIMAL, Decimal("9999999999999999999.999999999"), None),
        ("10000000000000000000", DECIMAL, None, "10000000000000000000"),
        ("0.30000000000000004", DECIMAL, Decimal("0.3"), "0.30000000000000004"),
        ("1e3", DECIMAL, Decimal(1000), None),
        (" 5 ", DECIMAL, Decimal(5), None),
        ("12,50", DECIMAL, None, "12,50"),
        ("NaN", DECIMAL, None, "NaN"),
        ("", DECIMAL, None, ""),
        ("true", DECIMAL, None, "true"),
        ("9223372036854775807", pl.Int64(), 2**63 - 1, None),
        ("9223372036854775808", pl.Int64(), None, "9223372036854775808"),
        ("1.0", pl.Int64(), 1, None),
        ("1.5", pl.Int64(), None, "1.5"),
        ("TRUE", pl.Boolean(), True, None),
        ("1", pl.Boolean(), None, "1"),
        ("1.5", pl.Float64(), 1.5, None),
        ("x", pl.Float64(), None, "x"),
        ("2026-01-02T03:04:05Z", pl.Datetime("us", "UTC"),
         datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), None),
        ("2026-01-02", pl.Date(), datetime(2026, 1, 2, tzinfo=UTC).date(), None),
        ("2026-01-02T03:00:00Z", pl.Date(), datetime(2026, 1, 2, tzinfo=UTC).date(),
         "2026-01-02T03:00:00Z"),
        ("anything", pl.String(), "anything", None),
    ],
)  # fmt: skip
def test_texts_as_columns(text: str, dtype: pl.DataType, value: Any, kept: str | None) -> None:
    column, beside = to_column(pl.Series([text, None]), dtype)
    assert column.dtype == dtype
    assert (column.to_list(), beside.to_list()) == ([value, None], [kept, None])


@given(st.lists(st.none() | st.text() | st.booleans() | st.integers(-(10**30), 10**30)))
def test_plain_text_is_what_json_means(values: list[Any]) -> None:
    texts = [json.dumps(value).encode() for value in values]
    expected = [None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values]
    assert plain(texts).to_list() == expected


def test_members_are_plucked_by_name_and_by_path() -> None:
    objects = [b'{"a":{"b":1},"a.b":null,"c":"x"}', b'{"a":{"b":[1, 2]}}', b"null", b"5", b""]
    found = Plucker(["a.b", "c"]).pluck([msg(raw) for raw in objects])
    assert found == {"a.b": [b"null", b"[1, 2]", b"", b"", b""], "c": [b'"x"', b"", b"", b"", b""]}


def msg(raw: bytes) -> Any:
    import msgspec

    return msgspec.Raw(raw)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Order Completed", "order_completed"),
        ("orderCompleted", "order_completed"),
        ("  Order--Completed!", "order_completed"),
        ("2nd visit", "e_2nd_visit"),
        ("Über", "uber"),
    ],
)
def test_table_names(name: str, short: str) -> None:
    assert snake(name) == short


@given(st.sets(st.text(min_size=1, max_size=100), max_size=8))
def test_every_event_has_a_table_of_its_own(names: set[str]) -> None:
    try:
        keys = typed_keys(names)
    except ValueError:
        return
    assert keys == typed_keys(sorted(names, reverse=True))
    assert len(set(keys.values())) == len(names)
    for name, key in keys.items():
        typed_table(name, key, {})


def test_equal_table_names_are_told_apart_and_reserved_ones_refused() -> None:
    keys = typed_keys(["order_completed", "Order Completed", "orderCompleted"])
    assert keys["Order Completed"] == "events/order_completed"
    assert len(set(keys.values())) == 3
    with pytest.raises(ValueError, match="reserved"):
        typed_keys(["Values"])


@given(st.sets(st.text(min_size=1, max_size=20), max_size=8))
def test_property_columns_never_clash(names: set[str]) -> None:
    columns = typed_columns(names)
    assert set(columns) == names
    typed_table("x", "events/x", dict.fromkeys(names, DECIMAL))


def test_a_property_named_like_the_envelope_keeps_out_of_its_way() -> None:
    columns = typed_columns(["timestamp", "User_Id", "revenue", "Revenue", "sub total"])
    assert columns["revenue"] != columns["Revenue"]
    assert columns["timestamp"].startswith("timestamp__")
    assert columns["User_Id"].startswith("User_Id__")
    assert columns["sub total"] == "sub_total"


def test_only_traits_are_kept_as_values() -> None:
    with pytest.raises(ValueError, match=r"events\.traits\."):
        TraitSpec(["events.userId"])


def test_another_type_or_property_is_another_spec() -> None:
    digests = {
        typed_specs({"A": named})["A"].digest
        for named in ({}, {"x": DECIMAL}, {"x": pl.String}, {"y": DECIMAL})
    }
    assert len(digests) == 4
