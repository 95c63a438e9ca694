"""Records of an outside system into raw, window by window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from cdp_assets.connectors.base import Description, Page, Source
from cdp_assets.lake import Lake, OpenTable
from cdp_assets.raw import windows
from cdp_assets.raw.health import schema_changes
from cdp_assets.raw.payload import payload_hash
from cdp_assets.raw.tables import raw_table
from cdp_assets.settings import crash_point

CHUNK_ROWS = 20_000
CHUNK_BYTES = 32 * 1024 * 1024
KEY = ["record_id", "cursor_at", "op", "payload_hash"]


@dataclass
class PullResult:
    """What one pull did. rows = new + duplicates; deleted and merged are among the new."""

    source: str
    object: str
    start: datetime
    end: datetime
    kind: str
    rows: int = 0
    new: int = 0
    duplicates: int = 0
    deleted: int = 0
    merged: int = 0
    commits: int = 0
    calls: int = 0
    changes: tuple[str, ...] = ()
    """What changed in the object's description since the last pull (`health.schema_changes`)."""
    gaps: tuple[str, ...] = ()
    """What the system could not tell any more, of a window that follows others."""
    by_day: dict[str, int] = field(default_factory=dict)
    """New rows by the UTC day of their cursor (`none` without one)."""


def pull_live(
    lake: Lake,
    source: Source,
    object_name: str,
    start: datetime,
    now: datetime,
    run_id: str,
    *,
    descriptions: Path | None = None,
) -> PullResult:
    """Pull from the live cursor to `now`; from `start` where nothing was pulled before.

    Two of these at once for one object follow each other. descriptions: folder in which the
    object's description is refreshed.
    """
    with lake.step(f"raw/{source.name}/{object_name}/live"):
        reached = windows.cursor(lake, source.name, object_name, start)
        begin = max(start, reached - windows.OVERLAP)
        return pull_window(
            lake,
            source,
            object_name,
            begin,
            now,
            kind="live",
            now=now,
            run_id=run_id,
            descriptions=descriptions,
        )


def pull_range(
    lake: Lake,
    source: Source,
    object_name: str,
    first: datetime,
    start: datetime,
    end: datetime,
    now: datetime,
    run_id: str,
    *,
    descriptions: Path | None = None,
) -> PullResult:
    """Pull a range of days [start, end) as one window: live where it holds `now`, else a backfill.

    first: the configured start. A live range that reaches back to the cursor begins OVERLAP before
    it; one that begins after it leaves the gap to a later pull, as any window does.
    """
    if end <= now:
        with lake.step(f"raw/{source.name}/{object_name}/backfill"):
            return pull_window(
                lake,
                source,
                object_name,
                start,
                end,
                kind="backfill",
                now=now,
                run_id=run_id,
                descriptions=descriptions,
            )
    with lake.step(f"raw/{source.name}/{object_name}/live"):
        reached = windows.cursor(lake, source.name, object_name, first)
        begin = min(start, reached - windows.OVERLAP) if start <= reached else start
        return pull_window(
            lake,
            source,
            object_name,
            max(first, begin),
            now,
            kind="live",
            now=now,
            run_id=run_id,
            descriptions=descriptions,
        )


def has_news(lake: Lake, source: Source, object_name: str, start: datetime) -> bool:
    """Whether the source holds a record that a live pull would bring; one small request."""
    return source.has_news(object_name, windows.cursor(lake, source.name, object_name, start))


def pull_window(
    lake: Lake,
    source: Source,
    object_name: str,
    start: datetime,
    end: datetime,
    *,
    kind: str,
    now: datetime,
    run_id: str,
    descriptions: Path | None = None,
) -> PullResult:
    """Pull the records whose cursor lies in [start, end), deletions and merges included.

    The part of a window that lies after `now` is left to a later pull. The window is noted after
    the last data commit: killed before, it is pulled again and adds only what is missing.
    """
    end = min(end, now)
    result = PullResult(source.name, object_name, start, end, kind)
    if start >= end:
        return result
    calls = int(getattr(source, "calls", 0))
    found: Description | None = None
    if descriptions is not None:
        known = Description.load(descriptions, source.name)
        found = source.describe([object_name])
        before = known.objects.get(object_name) if known else None
        result.changes = schema_changes(before, found.objects.get(object_name))
    envelope = _Envelope(now, f"{start.isoformat()}/{end.isoformat()}", run_id)
    table = lake.open(raw_table(source.name, object_name))
    writer = _Writer(table, envelope, result, start, end)
    token: str | None = None
    reached, follows = end, table.exists()
    for page in source.pull(object_name, start, end):
        writer.take(page)
        token = page.token or token
        reached = min(reached, page.upto or reached)
        if page.gap and follows:
            result.gaps = tuple(dict.fromkeys([*result.gaps, page.gap]))
    writer.flush()
    crash_point("pull:after-data")
    # Where the source's clock is behind ours, what changes there from now on is stamped earlier.
    behind = timedelta(seconds=float(getattr(source, "behind", 0.0)))
    windows.record(
        lake,
        source=source.name,
        object_name=object_name,
        start=start,
        end=max(start, min(reached, now - behind)),
        token=token,
        rows=result.rows,
        kind=kind,
        finished_at=now,
    )
    if descriptions is not None and found is not None:
        # Kept last: a pull that failed told nobody what changed, and the next one has to.
        found.save(descriptions)
    result.calls = int(getattr(source, "calls", 0)) - calls
    return result


@dataclass(frozen=True)
class _Envelope:
    extracted_at: datetime
    window: str
    run_id: str
    payload_format: str = "json"


class _Writer:
    """Pages into the table by chunks, without the rows that are there already."""

    def __init__(
        self,
        table: OpenTable,
        envelope: _Envelope,
        result: PullResult,
        start: datetime | None,
        end: datetime | None,
    ) -> None:
        self._table = table
        self._envelope = envelope
        self._result = result
        self._known = _Known(table, start, end)
        self._pages: list[pl.DataFrame] = []
        self._rows = 0
        self._bytes = 0

    def take(self, page: Page) -> None:
        """Hash a page's rows and keep them until a chunk is full."""
        if page.rows.is_empty():
            return
        payload = page.rows["payload"]
        self._pages.append(page.rows.with_columns(payload_hash(payload, page.volatile)))
        self._rows += page.rows.height
        self._bytes += int(payload.str.len_bytes().sum())
        if self._rows >= CHUNK_ROWS or self._bytes >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Commit what is kept, if anything of it is new."""
        if not self._pages:
            return
        rows = pl.concat(self._pages)
        self._pages, self._rows, self._bytes = [], 0, 0
        envelope = self._envelope
        # One lock from reading keys to commit: a backfill beside us may bring the same rows.
        with self._table.exclusive():
            fresh = self._known.fresh(rows)
            if fresh.height:
                stamped = fresh.with_columns(
                    payload_format=pl.lit(envelope.payload_format),
                    # The nth row of one record without a cursor is a moment later than the one
                    # before, so that the latest stays known within one commit.
                    extracted_at=pl.lit(envelope.extracted_at).cast(pl.Datetime("us", "UTC"))
                    + pl.duration(microseconds=pl.col("_nth")),
                    window=pl.lit(envelope.window),
                    run_id=pl.lit(envelope.run_id),
                )
                commit = self._table.append(stamped.select(list(self._table.table.schema)))
                self._known.written(fresh, commit.seq)
                self._result.commits += 1
        self._count(rows.height, fresh)
        crash_point("pull:after-chunk")

    def _count(self, rows: int, fresh: pl.DataFrame) -> None:
        result = self._result
        result.rows += rows
        result.new += fresh.height
        result.duplicates += rows - fresh.height
        result.deleted += int((fresh["op"] == "delete").sum())
        result.merged += int((fresh["op"] == "merge").sum())
        days = fresh.select(day=pl.col("cursor_at").dt.date().cast(pl.String).fill_null("none"))
        for day, count in days.group_by("day").len().iter_rows():
            result.by_day[day] = result.by_day.get(day, 0) + count


class _Known:
    """Which rows the table holds, in eight bytes a row.

    Rows with a cursor: sorted 64-bit hashes of their keys, of the pulled window alone. A hit is
    looked up in the table before the row is left out, so two keys with one hash lose nothing.
    Rows without one: compared with the record's latest row.
    """

    def __init__(self, table: OpenTable, start: datetime | None, end: datetime | None) -> None:
        self._table = table
        self._range = (start, end)
        self._hashes = np.empty(0, dtype=np.uint64)
        self._seq = 0

    def fresh(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that are not there, in their order, with `_nth` Int64: how many rows of the
        same record without a cursor stand before it. To be called under the table's lock."""
        rows = rows.with_row_index("_at").with_columns(_nth=pl.lit(0, dtype=pl.Int64))
        dated = rows.filter(pl.col("cursor_at").is_not_null())
        undated = rows.filter(pl.col("cursor_at").is_null())
        parts = [self._dated(dated)]
        if undated.height:
            parts.append(self._undated(undated))
        return pl.concat(parts).sort("_at")

    def written(self, rows: pl.DataFrame, seq: int) -> None:
        """Take in what was just appended as commit `seq`."""
        self._seq = seq
        self._learn(rows.filter(pl.col("cursor_at").is_not_null()))

    def _learn(self, rows: pl.DataFrame) -> None:
        # A stable sort of two sorted runs is a merge.
        added = np.sort(_key_hashes(rows))
        self._hashes = np.sort(np.concatenate([self._hashes, added]), kind="stable")

    def _catch_up(self) -> None:
        """Read the keys of the window that other writers, or earlier runs, have committed."""
        seq = self._table.seq()
        if seq == self._seq:
            return
        start, end = self._range
        rows = self._table.scan().filter(pl.col("_seq") > self._seq)
        if start is not None and end is not None:
            rows = rows.filter(pl.col("cursor_at").is_between(start, end, closed="left"))
        self._learn(rows.select(KEY).collect())
        self._seq = seq

    def _dated(self, rows: pl.DataFrame) -> pl.DataFrame:
        if rows.is_empty():
            return rows
        self._catch_up()
        rows = rows.unique(KEY, keep="first", maintain_order=True)
        hashes = _key_hashes(rows)
        places = np.searchsorted(self._hashes, hashes)
        inside = places < len(self._hashes)
        hit = np.zeros(len(hashes), dtype=bool)
        hit[inside] = self._hashes[places[inside]] == hashes[inside]
        start, end = self._range
        if start is not None and end is not None:
            # Of rows outside the window nothing is known here.
            outside = rows.select(
                ~pl.col("cursor_at").is_between(start, end, closed="left")
            ).to_series()
            hit |= outside.to_numpy()
        if not hit.any():
            return rows
        doubtful = rows.filter(pl.Series(hit))
        there = (
            self._table.scan()
            .filter(
                pl.col("cursor_at").is_between(
                    doubtful["cursor_at"].min(), doubtful["cursor_at"].max()
                )
            )
            .select(KEY)
            .join(doubtful.lazy().select(KEY), on=KEY, how="semi")
            .collect()
        )
        return rows.join(there, on=KEY, how="anti", maintain_order="left")

    def _undated(self, rows: pl.DataFrame) -> pl.DataFrame:
        ids = rows.lazy().select("record_id").unique()
        latest = (
            self._table.scan()
            .join(ids, on="record_id", how="semi")
            .select("record_id", "op", "payload_hash", "cursor_at", "extracted_at", "_seq")
            # In the order in which records takes versions, so that "latest" means one thing.
            .sort(pl.coalesce("cursor_at", "extracted_at"), "extracted_at", "_seq")
            .group_by("record_id")
            .agg(pl.col("op", "payload_hash").last())
            .collect()
            .select("record_id", _op="op", _hash="payload_hash")
        )
        before = [
            pl.col(c).shift(1).over("record_id", order_by="_at").alias(f"_before_{c}")
            for c in ("op", "payload_hash")
        ]
        compared = rows.join(latest, on="record_id", how="left").with_columns(before)
        same = (pl.col("op") == pl.coalesce("_before_op", "_op")) & (
            pl.col("payload_hash") == pl.coalesce("_before_payload_hash", "_hash")
        )
        kept = compared.filter(~same.fill_null(False))
        nth = (pl.int_range(pl.len()).over("record_id", order_by="_at")).cast(pl.Int64)
        return kept.with_columns(_nth=nth).select(rows.columns)


def _key_hashes(rows: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return rows.select(KEY).hash_rows(seed=1).to_numpy()  # within this process only


def write_pages(
    table: OpenTable,
    pages: Iterable[Page],
    *,
    source: str,
    object_name: str,
    now: datetime,
    window: str,
    run_id: str,
    payload_format: str,
) -> PullResult:
    """Append pages that belong to no window of a cursor (rows of a file), without known rows."""
    result = PullResult(source, object_name, now, now, "file")
    writer = _Writer(table, _Envelope(now, window, run_id, payload_format), result, None, None)
    for page in pages:
        writer.take(page)
    writer.flush()
    return result


def split(page: Page, rows: int) -> Iterator[Page]:
    """A large page in smaller ones, so that a chunk stays a chunk."""
    for at in range(0, page.rows.height, rows):
        yield Page(page.rows.slice(at, rows), page.token, page.volatile)
