"""Where what was merged, retired or moved leads to at last."""

from __future__ import annotations

import polars as pl


def followed(redirects: pl.DataFrame) -> pl.LazyFrame:
    """What each retired thing (a profile's id, a record) leads to at last.

    redirects: old, new, of one type. Returns old, new, one row an old one.
    """
    step = redirects.drop_nulls().unique("old", keep="first", maintain_order=True)
    found = step
    # Each round doubles the steps taken, so a chain of any length ends; a circle would not.
    for _ in range(32):
        onward = found.join(step.rename({"new": "last"}), left_on="new", right_on="old", how="left")
        if onward["last"].is_null().all():
            break
        found = onward.select("old", new=pl.coalesce("last", "new"))
        step = found
    return found.lazy()
