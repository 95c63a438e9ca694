"""Reading an object's records from Salesforce, in the order (cursor, id)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from cdp_assets.connectors.base import Page, Refused, Unavailable
from cdp_assets.connectors.frames import moments, page_rows, payloads
from cdp_assets.connectors.paging import pages_ahead
from cdp_assets.connectors.salesforce.bulk_query import NotTaken, query_pages
from cdp_assets.connectors.salesforce.bulk_rows import BulkRows, fits
from cdp_assets.connectors.salesforce.client import (
    LONGEST_URL,
    QueryPage,
    SalesforceClient,
    checked_name,
    soql_datetime,
    soql_string,
)
from cdp_assets.connectors.salesforce.describe import SalesforceField, SalesforceObject
from cdp_assets.connectors.salesforce.keys import deleted

VOLATILE = ("attributes",)
"""Salesforce puts a record's type and a link with the API version there."""
_LOST_LOCATOR = {"INVALID_QUERY_LOCATOR", "QUERY_TIMEOUT"}
_TOO_MUCH = {"QUERY_TIMEOUT", "OPERATION_TOO_LARGE", "QUERY_TOO_COMPLICATED"}
"""What REST says of a query that a job may still manage."""


@dataclass(frozen=True)
class _Key:
    """A record's place in the order (cursor, id); the cursor as the API wrote it."""

    cursor: str | None
    id: str


@dataclass
class _Batch:
    """One decoded page: envelopes and the records' own bytes, side by side."""

    envelopes: list[Any]
    raws: list[msgspec.Raw]
    done: bool
    next_url: str | None
    total: int = 0


class SalesforcePull:
    """One object's query: its fields in as many parts as a request line can hold."""

    def __init__(self, client: SalesforceClient, name: str) -> None:
        described = client.queryable(name)
        self._client = client
        self._name = name
        self._described = described
        self.cursor = described.cursor
        fields = described.pulled
        self._fields = client.fields(name)
        self._lead = [
            f for f in ("Id", self.cursor, "IsDeleted", "MasterRecordId") if f and f in fields
        ]
        self._deletes = "IsDeleted" in fields
        self._parts = self._split([f for f in fields if f not in self._lead])
        self._envelope = msgspec.json.Decoder(QueryPage[_envelope_type(described)]).decode  # type: ignore[misc]
        self._raw = msgspec.json.Decoder(QueryPage[msgspec.Raw]).decode

    def _split(self, fields: Sequence[str]) -> list[list[str]]:
        """Fields in groups whose query fits in a request line: by length, not by count."""
        parts: list[list[str]] = [[]]
        room = LONGEST_URL - 600 - len(",".join(self._lead))
        used = 0
        for field in fields:
            # A comma and a field name are encoded as `%2C` and themselves.
            if parts[-1] and used + len(field) + 3 > room:
                parts.append([])
                used = 0
            parts[-1].append(field)
            used += len(field) + 3
        return parts

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Pages of [start, end), with what was deleted."""
        yield from self._records(start, end)
        described = self._described
        if not self._deletes and described.replicateable and described.deletable:
            for page in deleted(self._client, described, start, end):
                yield replace(page, volatile=VOLATILE)

    def _records(self, start: datetime, end: datetime) -> Iterator[Page]:
        """What queries show of [start, end): by Bulk API 2.0 where there are many records and it
        takes the object, else by REST, which tells with its first page how many there are."""
        where, order = self._legs(None, start, end)[0]
        soql = self._soql([*self._lead, *self._parts[0]], where, order)
        begun: _Batch | None = None
        try:
            begun = self._first(soql)
        except Refused as refused:
            if not _TOO_MUCH.intersection(refused.codes):
                raise
        if self._bulk and (begun is None or begun.total > self._client.bulk_above):
            try:
                yield from self._by_bulk(where)
                return
            except NotTaken as no:
                self._client.not_by_bulk[self._name] = no.reason
        if begun is None:
            raise Unavailable(
                f"{self._client.name}: pull of {self._name}: the org does not answer so large a "
                "query in time. Pull fewer days at once, or ask its administrator for an index on "
                f"{self.cursor}."
            )
        yield from self._by_rest(start, end, begun)

    @property
    def _bulk(self) -> bool:
        """Whether Bulk may be tried: wanted, not refused before, and able to say the same."""
        wanted = self._client.bulk_above and self._name not in self._client.not_by_bulk
        return bool(wanted) and fits(self._columns())

    def _columns(self) -> list[SalesforceField]:
        names = [*self._lead, *(name for part in self._parts for name in part)]
        return [self._fields[name] for name in names]

    def _by_bulk(self, where: Sequence[str]) -> Iterator[Page]:
        """Unsorted: the org splits a job's work by ids, and does not where it has to sort."""
        fields = self._columns()
        rows = BulkRows(self._client.name, fields, self.cursor)
        soql = self._soql([field.name for field in fields], where, None)
        what = f"Bulk pull of {self._name}"
        pages = query_pages(
            self._client, soql, rows.read, lambda p: p.height, columns=len(fields), what=what
        )
        for page in pages:
            if page.height:
                yield Page(page, volatile=VOLATILE)

    def _by_rest(self, start: datetime, end: datetime, begun: _Batch | None) -> Iterator[Page]:
        """Pages in order; where the server forgets the query, it is asked again from the last
        record seen. begun: the first page, where it was fetched."""
        after: _Key | None = None
        last: _Key | None = None
        while True:
            try:
                for batch in self._read(after, start, end, begun):
                    if batch.envelopes:
                        yield self._page(batch)
                        tail = batch.envelopes[-1]
                        last = _Key(tail.cursor if self.cursor else None, tail.id)
                return
            except Refused as refused:
                if not _LOST_LOCATOR.intersection(refused.codes):
                    raise
                if last == after:
                    raise Unavailable(
                        f"{self._client.name}: pull of {self._name}: the org forgets the query "
                        "before its first page is read. A later run goes on from here."
                    ) from None
                after, begun = last, None

    def _read(
        self, after: _Key | None, start: datetime, end: datetime, begun: _Batch | None
    ) -> Iterator[_Batch]:
        for where, order in self._legs(after, start, end):
            soql = self._soql([*self._lead, *self._parts[0]], where, order)
            for batch in self._query(soql, begun):
                yield self._completed(batch)

    def _legs(
        self, after: _Key | None, start: datetime, end: datetime
    ) -> list[tuple[list[str], str]]:
        """Queries (conditions, order) that give what comes after a key. Two after a broken one:
        `(a, b) > (x, y)` in one condition is slow there, and `>` alone would skip equal stamps."""
        cursor = self.cursor
        if cursor is None:
            return [([f"Id > {soql_string(after.id)}"] if after else [], "Id")]
        before_end = f"{cursor} < {soql_datetime(end)}"
        order = f"{cursor} ASC, Id ASC"
        if after is None:
            return [([f"{cursor} >= {soql_datetime(start)}", before_end], order)]
        assert after.cursor is not None
        stamp = _literal(after.cursor)
        return [
            ([f"{cursor} = {stamp}", f"Id > {soql_string(after.id)}"], "Id ASC"),
            ([f"{cursor} > {stamp}", before_end], order),
        ]

    def _soql(self, fields: Sequence[str], where: Sequence[str], order: str | None) -> str:
        conditions = f" WHERE {' AND '.join(where)}" if where else ""
        sorting = f" ORDER BY {order}" if order else ""
        # Names come from the org's own describe, texts through soql_string.
        return f"SELECT {','.join(fields)} FROM {self._name}{conditions}{sorting}"  # noqa: S608

    def _first(self, soql: str) -> _Batch:
        what = f"pull of {self._name}"
        return self._client.query_page(soql, what=what, decode=self._decode, deleted=True)

    def _query(self, soql: str, begun: _Batch | None = None) -> Iterator[_Batch]:
        what = f"pull of {self._name}"

        def fetch(url: str | None) -> tuple[_Batch, str | None]:
            if url is None:
                batch = begun or self._first(soql)
            else:
                batch = self._client.get(url, what=what, decode=self._decode)
            return batch, None if batch.done else batch.next_url

        return pages_ahead(f"{self._client.name}: {what}", fetch)

    def _decode(self, body: bytes) -> _Batch:
        page = self._raw(body)
        envelopes = self._envelope(body).records
        return _Batch(envelopes, page.records, page.done, page.nextRecordsUrl, page.totalSize)

    def _completed(self, batch: _Batch) -> _Batch:
        """The batch with the fields of the further parts. A record whose parts disagree on its
        cursor has moved on meanwhile and comes again later in the order: it is left out here."""
        if len(self._parts) == 1 or not batch.envelopes:
            return batch
        whole = {
            e.id: (e, msgspec.json.decode(r, type=dict[str, msgspec.Raw]))
            for e, r in zip(batch.envelopes, batch.raws, strict=True)
        }
        for part in self._parts[1:]:
            found = set()
            for envelope, raw in self._part(part, batch.envelopes[0], batch.envelopes[-1]):
                first = whole.get(envelope.id)
                if first is not None and _cursor(first[0]) == _cursor(envelope):
                    first[1].update(msgspec.json.decode(raw, type=dict[str, msgspec.Raw]))
                    found.add(envelope.id)
            whole = {key: value for key, value in whole.items() if key in found}
        return _Batch(
            [e for e, _ in whole.values()],
            [msgspec.Raw(msgspec.json.encode(values)) for _, values in whole.values()],
            batch.done,
            batch.next_url,
        )

    def _part(
        self, fields: Sequence[str], first: Any, last: Any
    ) -> Iterator[tuple[Any, msgspec.Raw]]:
        ids = [f"Id >= {soql_string(first.id)}", f"Id <= {soql_string(last.id)}"]
        if self.cursor is None:
            where, order = ids, "Id"
        else:
            low, high = _literal(first.cursor), _literal(last.cursor)
            where = [f"{self.cursor} >= {low}", f"{self.cursor} <= {high}"]
            # Within one stamp the ids bound the part, or a stamp of many pages is read each time.
            where = [f"{self.cursor} = {low}", *ids] if low == high else where
            order = f"{self.cursor} ASC, Id ASC"
        soql = self._soql([*self._lead, *fields], where, order)
        for batch in self._query(soql):
            yield from zip(batch.envelopes, batch.raws, strict=True)

    def _page(self, batch: _Batch) -> Page:
        envelopes = batch.envelopes
        ids = [e.id for e in envelopes]
        if self.cursor:
            cursors = moments([e.cursor for e in envelopes])
        else:
            cursors = pl.Series("cursor_at", [None] * len(ids), dtype=pl.Datetime("us", "UTC"))
        raws = payloads(self._client.name, batch.raws)
        if not self._deletes or not any(e.deleted for e in envelopes):
            return Page(page_rows(ids, cursors, "upsert", None, raws), volatile=VOLATILE)
        ops = [_op(e) for e in envelopes]
        merged = [e.master if op == "merge" else None for e, op in zip(envelopes, ops, strict=True)]
        return Page(page_rows(ids, cursors, ops, merged, raws), volatile=VOLATILE)


def pull(client: SalesforceClient, name: str, start: datetime, end: datetime) -> Iterator[Page]:
    """Pages of an object's window. A field that was removed, or whose right was taken away, since
    the org was described makes the first query fail: the org is asked anew, once."""
    for attempt in range(2):
        known = client.described(name)
        begun = False
        try:
            for page in SalesforcePull(client, name).pages(start, end):
                begun = True
                yield page
            return
        except Refused as refused:
            if begun or attempt or not known or "INVALID_FIELD" not in refused.codes:
                raise
            client.describe([name])


def news(client: SalesforceClient, name: str, after: datetime) -> bool:
    """Whether a record was changed at `after` or later (the cursor is a window's open end), or in
    its second: Salesforce cuts its stamps to the second.

    One request: nearly every object has SystemModstamp, so describe is asked only where it is
    refused."""
    decode = msgspec.json.Decoder(QueryPage[msgspec.Raw]).decode
    cursor: str | None = "SystemModstamp"
    since = after.replace(microsecond=0)
    if client.described(name):
        cursor = client.object(name).cursor
    for _ in range(2):
        if cursor is None:
            return False
        # The name was found fit, or is looked at by `object` after the refusal.
        soql = (
            f"SELECT Id FROM {checked_name(client.name, name)} "  # noqa: S608
            f"WHERE {cursor} >= {soql_datetime(since)} ORDER BY {cursor} ASC, Id ASC LIMIT 1"
        )
        try:
            what = f"news of {name}"
            return bool(client.query_page(soql, what=what, decode=decode, deleted=True).records)
        except Refused as refused:
            if client.described(name) or not {"INVALID_FIELD", "INVALID_TYPE"} & set(refused.codes):
                raise
            cursor = client.object(name).cursor
    return False


def _envelope_type(described: SalesforceObject) -> Any:
    """A struct of what the pull itself reads of a record; the rest of it is passed over."""
    names = {f.name for f in described.fields}
    fields: list[Any] = [("id", str)]
    rename = {"id": "Id", "cursor": described.cursor or ""}
    if described.cursor is not None:
        fields.append(("cursor", str))
    if "IsDeleted" in names:
        fields.append(("deleted", bool, False))
        rename["deleted"] = "IsDeleted"
    if "MasterRecordId" in names:
        fields.append(("master", str | None, None))
        rename["master"] = "MasterRecordId"
    return msgspec.defstruct("Envelope", fields, rename=rename, gc=False)


def _cursor(envelope: Any) -> str | None:
    return getattr(envelope, "cursor", None)


def _literal(stamp: str) -> str:
    """A stamp as the API writes it → as SOQL takes it."""
    return stamp.replace("+0000", "Z")


def _op(envelope: Any) -> str:
    if not envelope.deleted:
        return "upsert"
    return "merge" if getattr(envelope, "master", None) else "delete"
