from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.syncs.text import as_text, text

VALUES = {
    pl.String(): st.text(st.characters(codec="utf-8"), max_size=8),
    pl.Int64(): st.integers(-(2**62), 2**62),
    pl.Boolean(): st.booleans(),
    pl.Decimal(28, 9): st.decimals(-(10**9), 10**9, places=9, allow_nan=False),
    pl.Float64(): st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 6)),
    pl.Date(): st.dates(date(1900, 1, 1), date(2200, 1, 1)),
    pl.Datetime("us", "UTC"): st.datetimes(
        datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)
    ),
}


@pytest.mark.parametrize("dtype", list(VALUES), ids=str)
def test_a_column_reads_as_its_values_do(dtype: pl.DataType) -> None:
    @settings(deadline=None)
    @given(st.lists(st.none() | VALUES[dtype], max_size=20))
    def check(values: list[object]) -> None:
        frame = pl.DataFrame({"x": values}, schema={"x": dtype})
        found = frame.select(x=as_text(pl.col("x"), dtype))["x"].to_list()
        assert found == [text(value) for value in values]

    check()


def test_one_spelling() -> None:
    assert text(Decimal("1.5E+3")) == text(1500) == text(1500.0) == "1500"
    assert text(Decimal("250.500")) == text(250.5) == "250.5"
    assert text(True) == "true"
    assert text("  ") is None
    assert text(float("nan")) is None
