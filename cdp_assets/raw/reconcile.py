"""What no cursor shows: records deleted without a trace, missed, or come back, found by comparing
the keys of a source with those in raw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from cdp_assets.connectors.base import PAGE_SCHEMA, KeyLister, Page, Source, WrongObject
from cdp_assets.lake import Lake, OpenTable, Table
from cdp_assets.raw import ingest, windows
from cdp_assets.raw.tables import MOMENT, raw_table

FEW = 20
"""So many vanished records are believed whatever their share."""
_LONGEST = 30
"""Windows that one reconciliation pulls again; nearer ones are joined above it."""
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)

RECONCILIATIONS = Table(
    key="raw/reconciliations",
    description="Comparisons of all keys of an object with those stored, one row each.",
    schema={
        "source": pl.String(),
        "object": pl.String(),
        "at": MOMENT,
        "there": pl.Int64(),
        "here": pl.Int64(),
        "gone": pl.Int64(),
        "missed": pl.Int64(),
        "returned": pl.Int64(),
        "refused": pl.String(),
    },
    column_docs={
        "there": "Live records that the source named.",
        "here": "Live records stored when it was asked.",
        "gone": "Stored ones that the source did not name; kept as deleted from `at` on.",
        "missed": "Records whose present version no window had brought; pulled again.",
        "returned": "Deleted ones that the source names again.",
        "refused": "Why nothing was done, null if all was.",
    },
)


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What one comparison found. refused: why nothing was done about it; "" if all was."""

    object: str
    there: int = 0
    here: int = 0
    gone: int = 0
    missed: int = 0
    returned: int = 0
    reread: int = 0
    refused: str = ""


@dataclass(frozen=True)
class _Difference:
    """gone: ids. missed, returned: record_id, cursor_at as the source gives them."""

    gone: pl.Series
    missed: pl.DataFrame
    returned: pl.DataFrame


def reconcile(
    lake: Lake,
    source: Source,
    object_name: str,
    first: datetime,
    now: datetime,
    run_id: str,
    *,
    share: float = 0.05,
    reread: bool = False,
) -> Reconciled:
    """Compare all keys of an object with those in raw, and mend raw.

    first: from when on the object is pulled. share: of the stored records, as many may be gone;
    more (and more than a few) look like a right to read that was lost, and nothing is done. Of
        what the source calls fleeting all but the last may be gone.
    reread: pull all of it again, for fields whose change moves no cursor (formulas).

    What is gone is kept as deleted now; what was missed is pulled again by the windows of its
    cursor; what was deleted and is named again is kept as of now. The source's own rows are never
    altered. Killed half-way, the next comparison finds what is left.
    """
    lister: KeyLister | None = source if hasattr(source, "keys") else None  # type: ignore[assignment]
    reached = windows.cursor(lake, source.name, object_name, first)
    if lister is None or reached <= first:
        why = "never pulled" if lister is not None else f"{source.name} cannot name its records"
        return Reconciled(object=object_name, refused=why)
    table = lake.open(raw_table(source.name, object_name))
    with lake.step(f"raw/{source.name}/{object_name}/reconcile"):
        # Before the source is asked: a record that a pull beside us stores while its keys come in
        # is not here yet, and so cannot be taken for gone.
        here = _here(table)
        try:
            there = _there(lister.keys(object_name))
        except WrongObject as error:
            return Reconciled(object=object_name, refused=str(error))
        found = compare(here, there, first, reached - windows.OVERLAP)
        live = here.filter("live").height
        fleeting = object_name in getattr(source, "fleeting", ())
        refused = _too_many(found.gone.len(), live, there.height, 1.0 if fleeting else share)
        counted = 0
        if not refused:
            _write(table, source, object_name, [_gone(found.gone)], now, run_id)
            spans = [(first, reached)] if reread else _spans(found, first, reached)
            for start, end in spans:
                done = ingest.pull_window(
                    lake, source, object_name, start, end,
                    kind="reconcile", now=now, run_id=run_id,
                )  # fmt: skip
                counted += done.rows if reread else 0
            for start, end in _spans(found, first, reached, found.returned):
                pages = _as_of_now(source.pull(object_name, start, end), found.returned)
                _write(table, source, object_name, pages, now, run_id)
        row = {
            "source": source.name,
            "object": object_name,
            "at": now,
            "there": there.height,
            "here": live,
            "gone": found.gone.len(),
            "missed": found.missed.height,
            "returned": found.returned.height,
            "refused": refused or None,
        }
        lake.open(RECONCILIATIONS).append(pl.DataFrame([row], schema=dict(RECONCILIATIONS.schema)))
    return Reconciled(
        object=object_name,
        there=there.height,
        here=live,
        gone=found.gone.len(),
        missed=found.missed.height,
        returned=found.returned.height,
        reread=counted,
        refused=refused,
    )


def compare(
    here: pl.DataFrame, there: pl.DataFrame, first: datetime, upto: datetime
) -> _Difference:
    """What differs between what is stored and what the source names.

    here: record_id String, cursor_at Datetime[us, UTC], live Boolean: the latest of each record.
    there: record_id, cursor_at. first, upto: versions outside are left to ordinary pulls.
    """
    both = there.join(here, on="record_id", how="left", suffix="_here")
    due = pl.col("cursor_at").is_between(first, upto, closed="left")
    newer = pl.col("cursor_at") - pl.col("cursor_at_here") >= _SECOND
    missed = both.filter(due & (pl.col("live").is_null() | (pl.col("live") & newer)))
    returned = both.filter(~pl.col("live") & (pl.col("cursor_at") < upto))
    gone = here.filter("live").join(there, on="record_id", how="anti")
    columns = ["record_id", "cursor_at"]
    return _Difference(gone["record_id"].sort(), missed.select(columns), returned.select(columns))


def _here(table: OpenTable) -> pl.DataFrame:
    at = pl.coalesce("cursor_at", "extracted_at")
    return (
        table.scan()
        .select(
            "record_id", "cursor_at", "extracted_at", "op", at=at, dead=pl.col("op") != "upsert"
        )
        .sort("at", "extracted_at", "dead")
        .group_by("record_id")
        .agg(pl.col("cursor_at", "op").last())
        .select("record_id", "cursor_at", live=pl.col("op") == "upsert")
        .collect()
    )


def _there(pages: Iterable[pl.DataFrame]) -> pl.DataFrame:
    schema = {"record_id": pl.String(), "cursor_at": MOMENT}
    found = [pl.DataFrame(schema=schema), *(page.select(list(schema)) for page in pages)]
    return pl.concat(found).unique("record_id", keep="last")


def _too_many(gone: int, live: int, there: int, share: float) -> str:
    if gone > max(FEW, share * live) or (there == 0 and gone):
        return (
            f"{gone:,} of {live:,} stored records are not shown any more, above the limit of "
            f"{share:.0%}. Has the user lost a right to read? Nothing was marked as deleted. If "
            "they are gone indeed, raise `reconcile_limit` and run it again"
        )
    return ""


def _gone(ids: pl.Series) -> Page:
    columns = {"record_id": ids, "payload": ["{}"] * len(ids), "op": ["delete"] * len(ids)}
    rows = pl.DataFrame(columns, schema_overrides={"payload": pl.String, "op": pl.String})
    return Page(
        rows.select(
            (pl.col(n) if n in rows.columns else pl.lit(None)).cast(t).alias(n)
            for n, t in PAGE_SCHEMA.items()
        )
    )


def _as_of_now(pages: Iterable[Page], returned: pl.DataFrame) -> Iterator[Page]:
    """The returned records alone, without their cursor: they count from when they are stored,
    after the deletion that hid them."""
    for page in pages:
        rows = page.rows.join(returned, on="record_id", how="semi").filter(pl.col("op") == "upsert")
        undated = rows.with_columns(cursor_at=pl.lit(None, dtype=MOMENT))
        yield Page(undated, page.token, page.volatile)


def _write(
    table: OpenTable,
    source: Source,
    object_name: str,
    pages: Iterable[Page],
    now: datetime,
    run_id: str,
) -> None:
    ingest.write_pages(
        table,
        pages,
        source=source.name,
        object_name=object_name,
        now=now,
        window="reconcile",
        run_id=run_id,
        payload_format="json",
    )


def _spans(
    found: _Difference, first: datetime, reached: datetime, rows: pl.DataFrame | None = None
) -> list[tuple[datetime, datetime]]:
    """Whole days that hold these records' cursors, joined where they touch or are too many."""
    rows = found.missed if rows is None else rows
    days = rows.select(pl.col("cursor_at").dt.truncate("1d")).drop_nulls().unique()
    starts = days.to_series().sort().to_list()
    spans: list[tuple[datetime, datetime]] = []
    for day in starts:
        start, end = max(day, first), min(day + _DAY, reached)
        if start >= end:
            continue
        if spans and spans[-1][1] >= start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    while len(spans) > _LONGEST:
        gaps = [(spans[i + 1][0] - spans[i][1], i) for i in range(len(spans) - 1)]
        _, at = min(gaps)
        spans[at : at + 2] = [(spans[at][0], spans[at + 1][1])]
    return spans
