"""Currencies by their ISO code."""

from __future__ import annotations

from functools import cache

import polars as pl

from cdp_assets.events.distinct import coded
from cdp_assets.events.enrich.kinds import UNKNOWN_CURRENCY, missing


def checked(events: pl.DataFrame) -> pl.DataFrame:
    """currency: the code in `properties.currency`, in capitals, where ISO 4217 knows it, past ones
    included; unknown_currency: whether there is another text instead. Amounts stay as they are:
    nothing is converted.

    events: payload String, JSON. Raises EnrichError.
    """
    payload = pl.col("payload")
    said = events.select(
        pl.when(payload.str.contains('"currency"', literal=True))
        .then(payload.str.json_path_match("$.properties.currency"))
        .alias("said")
    )["said"]
    codes, texts = coded(said)
    known = _codes()
    found = [None if text is None or text.strip().upper() not in known else text.strip().upper()
             for text in texts]  # fmt: skip
    odd = [bool(text and text.strip()) and code is None
           for text, code in zip(texts, found, strict=True)]  # fmt: skip
    return pl.DataFrame(
        [
            pl.Series("currency", found, dtype=pl.String).gather(codes),
            pl.Series(UNKNOWN_CURRENCY, odd, dtype=pl.Boolean).gather(codes),
        ]
    )


@cache
def _codes() -> frozenset[str]:
    try:
        from babel.numbers import list_currencies
    except ImportError:
        raise missing("currency") from None
    return frozenset(list_currencies())
