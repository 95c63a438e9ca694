"""From decoded pages to frames, without a Python step a row where one can be spared."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import polars as pl

from cdp_assets.connectors.base import PAGE_SCHEMA, Unavailable

_ISO_MILLIS = "%Y-%m-%dT%H:%M:%S%.f%#z"


def moments(texts: Sequence[str | None] | pl.Series) -> pl.Series:
    """ISO 8601 texts with a zone (`+0000`, `+00:00` or `Z`) → Datetime[us, UTC]; null stays."""
    series = pl.Series("cursor_at", texts, dtype=pl.String)
    # One form, so that one fast pattern reads all: polars' own inference is per column.
    plain = series.str.replace(r"(?:Z|\+00:?00)$", "+0000")
    return plain.str.to_datetime(_ISO_MILLIS, time_unit="us", time_zone="UTC", strict=True)


def payloads(source: str, raws: Sequence[msgspec.Raw | bytes] | pl.Series) -> pl.Series:
    """The records' own bytes as a String column; bytes that are not UTF-8 are no JSON."""
    series = (
        raws.alias("payload")
        if isinstance(raws, pl.Series)
        else pl.Series("payload", [bytes(r) for r in raws], dtype=pl.Binary)
    )
    try:
        return series.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise Unavailable(
            f"{source}: an answer holds bytes that are not UTF-8, so it was not taken. "
            "A later run asks again."
        ) from None


def page_rows(
    record_id: Sequence[str] | pl.Series,
    cursor_at: pl.Series,
    op: Sequence[str] | str,
    merged_into: Sequence[str | None] | None,
    payload: pl.Series,
) -> pl.DataFrame:
    """A page's frame (see `Page`)."""
    rows = pl.DataFrame(
        [
            pl.Series("record_id", record_id, dtype=pl.String),
            cursor_at.alias("cursor_at"),
            payload.alias("payload"),
        ]
    )
    return rows.with_columns(
        op=pl.lit(op) if isinstance(op, str) else pl.Series(op, dtype=pl.String),
        merged_into=pl.lit(None, dtype=pl.String)
        if merged_into is None
        else pl.Series(merged_into, dtype=pl.String),
    ).select(list(PAGE_SCHEMA))
