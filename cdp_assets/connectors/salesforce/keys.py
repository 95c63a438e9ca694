"""The ids of all records, and of those that were deleted where no query shows them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from cdp_assets.connectors.base import PAGE_SCHEMA, Page, Refused
from cdp_assets.connectors.frames import moments, page_rows
from cdp_assets.connectors.paging import pages_ahead
from cdp_assets.connectors.salesforce.bulk_query import NotTaken, query_pages
from cdp_assets.connectors.salesforce.bulk_rows import BulkRows
from cdp_assets.connectors.salesforce.client import QueryPage, SalesforceClient
from cdp_assets.connectors.salesforce.describe import SalesforceObject

KEPT = timedelta(days=15)
"""How far back the org tells what was deleted."""
_MARGIN = timedelta(minutes=5)
_SHORTEST = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_MOMENT = pl.Datetime("us", "UTC")


def keys(client: SalesforceClient, name: str) -> Iterator[pl.DataFrame]:
    """record_id String, cursor_at Datetime[us, UTC] of all live records, archived activities too.

    By Bulk where there are many, with two columns a row."""
    described = client.queryable(name)
    fields = {field.name: field for field in described.fields}
    columns = [fields[f] for f in ("Id", described.cursor, "IsDeleted") if f and f in fields]
    live = " WHERE IsDeleted = false" if "IsDeleted" in fields else ""
    # Names come from the org's own describe.
    soql = f"SELECT {','.join(f.name for f in columns)} FROM {name}{live}"  # noqa: S608
    what = f"keys of {name}"
    decode = msgspec.json.Decoder(QueryPage[dict[str, Any]]).decode
    first = client.query_page(soql, what=what, decode=decode, deleted=True)
    if client.bulk_above and first.totalSize > client.bulk_above:
        rows = BulkRows(client.name, columns, described.cursor)
        try:
            pages = query_pages(
                client, soql, rows.read, lambda p: p.height, columns=len(columns), what=what
            )
            for page in pages:
                yield page.select("record_id", "cursor_at")
            return
        except NotTaken:
            pass

    def fetch(url: str | None) -> tuple[QueryPage[dict[str, Any]], str | None]:
        page = first if url is None else client.get(url, what=what, decode=decode)
        return page, None if page.done else page.nextRecordsUrl

    for batch in pages_ahead(f"{client.name}: {what}", fetch):
        yield _frame(
            [row["Id"] for row in batch.records],
            [row.get(described.cursor or "") for row in batch.records],
        )


def deleted(
    client: SalesforceClient, described: SalesforceObject, start: datetime, end: datetime
) -> Iterator[Page]:
    """Pages of what was deleted in [start, end), by getDeleted ("Get Deleted" in Salesforce's REST
    API Developer Guide): for objects whose queries show nothing of it.

    The org tells of the last 15 days, or fewer where its log was purged (`earliestDateAvailable`):
    a gap, found by comparing keys. What a running transaction deletes is told when it is over, so
    the window counts up to `latestDateCovered` only.
    """
    now = client.options.now()
    if start < now - KEPT:
        yield Page(pl.DataFrame(schema=PAGE_SCHEMA), gap=_gap(described.name, now - KEPT))
    # Stamps are cut to the second: one second more takes in the present one.
    start, end = max(start, now - KEPT + _MARGIN), min(end, now + timedelta(seconds=1))
    spans = [(start, end)] if start < end else []
    while spans:
        begin, finish = spans.pop()
        if finish - begin <= _SHORTEST:
            begin = finish - _SHORTEST - timedelta(seconds=1)
        try:
            found: dict[str, Any] = client.get(
                f"/sobjects/{described.name}/deleted",
                what=f"deleted {described.name} records",
                params={"start": _stamp(begin), "end": _stamp(finish)},
            )
        except Refused as refused:
            if "INVALID_REPLICATION_DATE" in refused.codes:
                # An administrator emptied the bin: nothing of before is told.
                yield Page(pl.DataFrame(schema=PAGE_SCHEMA), gap=_gap(described.name, finish))
                continue
            if "EXCEEDED_ID_LIMIT" not in refused.codes or finish - begin <= 2 * _SHORTEST:
                raise
            half = begin + (finish - begin) / 2
            spans += [(half, finish), (begin, half)]
            continue
        records = [r for r in found.get("deletedRecords") or [] if r.get("id")]
        ids = [str(r["id"]) for r in records]
        payload = pl.Series([msgspec.json.encode({"Id": i}).decode() for i in ids], dtype=pl.String)
        rows = page_rows(
            ids, moments([r.get("deletedDate") for r in records]), "delete", None, payload
        )
        covered, earliest = (
            _moment(found.get(name)) for name in ("latestDateCovered", "earliestDateAvailable")
        )
        purged = earliest is not None and begin < earliest
        yield Page(
            rows,
            upto=covered if covered is not None and covered < finish - _SECOND else None,
            gap=_gap(described.name, earliest) if purged and earliest else "",
        )


def _gap(name: str, upto: datetime) -> str:
    return (
        f"the org tells no more which {name} records were deleted before {upto:%Y-%m-%d %H:%M} "
        "UTC; the next comparison of keys finds them"
    )


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _frame(ids: list[str], stamps: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [pl.Series("record_id", ids, dtype=pl.String), moments(stamps).cast(_MOMENT)]
    )


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S+00:00")
