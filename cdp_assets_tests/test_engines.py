"""The engine fixture itself: values come back as they went in."""

from datetime import UTC, date, datetime
from decimal import Decimal

import narwhals as nw
import polars as pl
from polars.testing import assert_frame_equal

from cdp_assets_tests.engines import Engine


def test_values_survive_the_way_through_an_engine(engine: Engine) -> None:
    rows = pl.DataFrame(
        {
            "text": ["a", None],
            "number": [1, None],
            "time": [datetime(2026, 1, 1, 12, 30, 0, 123456, tzinfo=UTC), None],
            "day": [date(2026, 1, 1), None],
            "flag": [True, None],
            "money": [Decimal("1.50"), None],
            "words": [["a", "b"], []],
        },
        schema_overrides={
            "time": pl.Datetime("us", "UTC"),
            "money": pl.Decimal(28, 9),
        },
    )
    back = engine.collect(
        engine.frame(rows).filter(~nw.col("text").is_null() | nw.col("text").is_null())
    )
    assert_frame_equal(back, rows, check_row_order=False)


def test_a_join_and_a_window(engine: Engine) -> None:
    left = engine.frame(pl.DataFrame({"k": [1, 1, 2], "v": [1, 2, 3]}))
    right = engine.frame(pl.DataFrame({"k": [1, 2], "name": ["a", "b"]}))
    found = left.join(right, on="k").with_columns(total=nw.col("v").sum().over("name"))
    assert engine.collect(found.sort("v"))["total"].to_list() == [3, 3, 3]
