"""Work on texts that stand in many rows, done once per distinct text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]


def coded(texts: pl.Series) -> tuple[Ints, pl.Series]:
    """Of each text its place among the distinct ones, which come with it. Null is one of them, and
    stands last."""
    kind = pl.Categorical(pl.Categories.random())
    found = texts.cast(kind)
    values = found.unique().drop_nulls()
    places = values.to_physical()
    ordered = values.cast(pl.String).gather(places.arg_sort())
    number = len(ordered)
    if number and places.max() != number - 1:
        raise AssertionError("codes of a fresh category set are dense")
    codes = found.to_physical().cast(pl.Int64).fill_null(number).to_numpy()
    last = pl.Series(ordered.name, [None], dtype=pl.String)
    return codes, pl.concat([ordered, last])


def mapped(texts: pl.Series, rule: Callable[[str], Any], dtype: Any) -> pl.Series:
    """`rule` of each text; null of null."""
    codes, known = coded(texts)
    results = [None if text is None else rule(text) for text in known]
    return pl.Series(texts.name, results, dtype=dtype).gather(codes)


def derived(texts: pl.Series, *what: pl.Expr) -> pl.DataFrame:
    """Columns made of a text column by expressions over a column of its name."""
    codes, known = coded(texts)
    return known.to_frame(texts.name).select(*what)[codes]
