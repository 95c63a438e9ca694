"""Reading a module's records from SugarCRM: in the order of date_modified and id, from key to key.

Times are of whole seconds, so that many records share one, and offsets shift when records change
while they are read: each page therefore begins behind the last record of the one before, and only
a `next_offset` of -1 is an end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from cdp_assets.connectors.base import ConnectorError, Page, Unavailable
from cdp_assets.connectors.frames import moments, page_rows, payloads
from cdp_assets.connectors.paging import pages_ahead
from cdp_assets.connectors.sugarcrm.client import SugarClient
from cdp_assets.connectors.sugarcrm.fields import PARENT
from cdp_assets.connectors.sugarcrm.forms import flag, from_addresses

VOLATILE = ("_acl", "my_favorite", "following")
_STAMP = "date_modified"
_KEYS = 1000
_BETWEEN = "\0"


class _Lead(msgspec.Struct):
    """What the pull itself reads of a record."""

    id: str
    date_modified: str | None = None
    deleted: Any = False
    email: list[dict[str, Any]] | None = None
    parent_type: str | None = None
    parent_id: str | None = None


_Records = tuple[list[msgspec.Raw], list[_Lead]]


class SugarPull:
    """One module's records."""

    def __init__(self, client: SugarClient, name: str) -> None:
        client.require(name)
        self._client = client
        self._name = name
        self._what = f"pull of {name}"
        self._lead = msgspec.json.Decoder(_Lead).decode

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Pages of [start, end) in the order of time and id; deleted records among them."""
        if start >= end:
            return
        before = {_STAMP: {"$lt": _text(end + timedelta(seconds=1))}}
        first = {_STAMP: {"$gte": _text(start)}}

        def fetch(token: str | None) -> tuple[_Records, str | None]:
            where = first if token is None else _behind(token)
            return self._fetch(
                {
                    "filter": [before, where], "max_num": self._client.config.page_size,
                    "deleted": True, "order_by": f"{_STAMP}:asc,id:asc",
                }
            )  # fmt: skip

        for raws, leads in pages_ahead(f"{self._client.name}: {self._what}", fetch):
            page = self._page(raws, leads, start, end)
            if page is not None:
                yield page

    def news(self, after: datetime) -> bool:
        """Whether a record was changed at `after` or later, to the second."""
        asked = {
            "filter": [{_STAMP: {"$gte": _text(after)}}], "max_num": 1, "deleted": True,
            "fields": "id,date_modified",
        }  # fmt: skip
        return bool(self._client.filter(self._name, asked, what=self._what).records)

    def keys(self) -> Iterator[pl.DataFrame]:
        """record_id, cursor_at of every live record, in the order of ids."""

        def fetch(token: str | None) -> tuple[_Records, str | None]:
            last = None if token is None else token.partition(_BETWEEN)[2]
            return self._fetch(
                {
                    "filter": [] if last is None else [{"id": {"$gt": last}}], "max_num": _KEYS,
                    "order_by": "id:asc", "fields": "id,date_modified",
                },
                by_id=True,
            )  # fmt: skip

        for _, leads in pages_ahead(f"{self._client.name}: keys of {self._name}", fetch):
            stamps = moments([lead.date_modified for lead in leads])
            yield pl.DataFrame(
                [pl.Series("record_id", [lead.id for lead in leads], dtype=pl.String), stamps]
            )

    def _fetch(self, asked: dict[str, Any], *, by_id: bool = False) -> tuple[_Records, str | None]:
        """A page, and the key of its last record where more follow."""
        found = self._client.filter(self._name, asked, what=self._what)
        leads = [self._lead(raw) for raw in found.records]
        if not by_id:
            self._ordered([lead.date_modified or "" for lead in leads])
        if found.next_offset == -1:
            return (found.records, leads), None
        if not leads:
            raise ConnectorError(
                f"{self._client.name}: {self._what}: a page without records says that more follow, "
                "so the pages go in a circle. Nothing more was taken. Not retried. Report it to "
                "the system's makers."
            )
        return (found.records, leads), f"{leads[-1].date_modified}{_BETWEEN}{leads[-1].id}"

    def _ordered(self, stamps: Sequence[str]) -> None:
        times = [datetime.fromisoformat(text) for text in stamps if text]
        if times != sorted(times):
            raise Unavailable(
                f"{self._client.name}: {self._what}: the list did not keep the order asked for, "
                "so pages could hide records. Nothing was taken from it; a later run asks again."
            )

    def _page(
        self, raws: Sequence[msgspec.Raw], leads: Sequence[_Lead], start: datetime, end: datetime
    ) -> Page | None:
        cursors = moments([lead.date_modified for lead in leads])
        inside = (cursors.is_between(start, end, closed="left") | cursors.is_null()).to_list()
        kept = [place for place, yes in enumerate(inside) if yes]
        if not kept:
            return None
        ops = ["delete" if flag({"d": leads[k].deleted}, "d") else "upsert" for k in kept]
        bodies = [_widened(leads[k], raws[k]) for k in kept]
        payload = payloads(self._client.name, bodies)
        ids = [leads[k].id for k in kept]
        return Page(page_rows(ids, cursors.gather(kept), ops, None, payload), volatile=VOLATILE)


def _widened(lead: _Lead, raw: msgspec.Raw) -> bytes:
    """The payload as it came, with what its list of addresses says, in truths, and the id of its
    parent under the parent's module."""
    told: dict[str, Any] = from_addresses(lead.email) if lead.email else {}
    if lead.parent_type and lead.parent_id:
        told[f"{PARENT}{lead.parent_type}"] = lead.parent_id
    if not told:
        return bytes(raw)
    record = _members(raw)
    record |= {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in told.items()}
    return msgspec.json.encode(record)


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _behind(token: str) -> dict[str, Any]:
    """The condition of all records behind the one of this key."""
    stamp, _, key = token.partition(_BETWEEN)
    tied = {"$and": [{_STAMP: {"$equals": stamp}}, {"id": {"$gt": key}}]}
    return {"$or": [{_STAMP: {"$gt": stamp}}, tied]}


def _text(at: datetime) -> str:
    """A moment as filters take it, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
