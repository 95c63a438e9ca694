"""What our syncs wrote, folded from the operational ledger into records/told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.records.tables import TOLD, TS

Told = pl.DataFrame | Callable[[int], pl.DataFrame | Sequence[Any]]

LEDGER = "store/ledger"
"""The watermark under which records/told keeps the last ledger id it has settled."""

_LEDGER_COLUMNS = {
    "id": pl.Int64(),
    "source": pl.String(),
    "object": pl.String(),
    "record_id": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "told_at": TS,
    "outcome": pl.String(),
}


def fold_told(lake: Lake, told: Told | None) -> int:
    """Bring records/told up to the ledger.

    told: called with a ledger id, gives the rows after it (id, source, object, record_id, field,
        value, told_at, outcome: null while unknown, `failed` where the row was refused); or a
        frame of them (`id` may be missing).

    A row that failed was never told and is taken out. A row whose outcome is unknown counts as
    told and is asked for again next time, since a create has no record id before its outcome.
    Returns how many rows changed.
    """
    if told is None:
        return 0
    table = lake.open(TOLD)
    after = table.watermark(LEDGER)
    rows = _frame(told, after)
    if rows.is_empty():
        return 0
    key = list(TOLD.primary_key)
    # A row goes field by field; several at one moment are one, the later id wins.
    rows = rows.sort("id").with_columns(
        settled=pl.col("outcome").is_not_null(), failed=pl.col("outcome") == "failed"
    )
    known = rows.drop_nulls(key).unique(key, keep="last", maintain_order=True)
    failed = known.filter(pl.col("failed").fill_null(value=False)).select(key)
    good = known.filter(~pl.col("failed").fill_null(value=False)).select(TOLD.schema.keys())
    unsettled = rows.filter(~pl.col("settled"))["id"].to_list()
    upto = min(unsettled) - 1 if unsettled else max(rows["id"].to_list())
    deleted = table.delete(failed).deleted if failed.height and table.exists() else 0
    marks = {LEDGER: upto} if upto > after else {}
    done = table.merge(good, watermarks=marks)
    return done.inserted + done.updated + deleted


def _frame(told: Told, after: int) -> pl.DataFrame:
    found = told(after) if callable(told) else told
    if not isinstance(found, pl.DataFrame):
        found = pl.DataFrame(list(found), schema=_LEDGER_COLUMNS, orient="row")
    if "id" not in found.columns:
        found = found.with_row_index("id", offset=1)
    if "outcome" not in found.columns:
        found = found.with_columns(outcome=pl.lit("ok"))
    found = found.select(pl.col(name).cast(dtype) for name, dtype in _LEDGER_COLUMNS.items())
    return found.filter(pl.col("id") > after)
