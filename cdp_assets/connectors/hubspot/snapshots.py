"""Owners, lists and their members: small, and without a trustworthy time of change, so each pull
reads them whole and raw keeps what differs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl

from cdp_assets.connectors.base import Page, Unavailable, WrongObject
from cdp_assets.connectors.hubspot.answers import Rows, mark
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.lists import List
from cdp_assets.connectors.hubspot.paths import LISTS, OWNERS
from cdp_assets.connectors.hubspot.schemas import NAMES
from cdp_assets.connectors.hubspot.special import extended, snapshot, undated
from cdp_assets.connectors.paging import pages_ahead

_OWNERS_PAGE, _LISTS_PAGE, _MEMBERS_PAGE = 500, 250, 250
_HOLDERS = {"contacts": "contactId", "companies": "companyId", "deals": "dealId"}


class _Id(msgspec.Struct):
    id: str


class _Found(msgspec.Struct, rename="camel"):
    lists: list[msgspec.Raw] = []
    has_more: bool = False
    offset: int = 0
    total: int = 0


class _Member(msgspec.Struct, rename="camel"):
    record_id: str


class Owners:
    """The account's users, those without access any more too: these as deleted, since that moves
    no date of theirs, while their ids stay on records."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """All owners, whatever the window."""
        for archived in (False, True):
            for ids, raws in self._read(archived=archived):
                yield snapshot(self._client, ids, raws, "delete" if archived else "upsert")

    def news(self, after: datetime) -> bool:
        """Not to be told by one request: the daily round reads them."""
        return False

    def keys(self) -> Iterator[pl.DataFrame]:
        """Those who have access."""
        for ids, _ in self._read(archived=False):
            yield undated(ids)

    def _read(self, *, archived: bool) -> Iterator[tuple[list[str], list[bytes]]]:
        decode, envelope = msgspec.json.Decoder(Rows).decode, msgspec.json.Decoder(_Id).decode

        def fetch(after: str | None) -> tuple[Rows, str | None]:
            params = {"limit": str(_OWNERS_PAGE), "archived": "true" if archived else "false"}
            params |= {"after": after} if after is not None else {}
            page = self._client.get(OWNERS, what="pull of owners", params=params, decode=decode)
            return page, mark(page.paging)

        for page in pages_ahead(f"{self._client.name}: pull of owners", fetch):
            yield [envelope(raw).id for raw in page.results], [bytes(r) for r in page.results]


class Lists:
    """The account's lists. A deleted one is missing from then on: comparing keys tells it."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """All lists, whatever the window."""
        for lists, raws in self.read():
            yield snapshot(self._client, [one.list_id for one in lists], raws)

    def news(self, after: datetime) -> bool:
        """Not to be told by one request: the daily round reads them."""
        return False

    def keys(self) -> Iterator[pl.DataFrame]:
        """Those that there are."""
        for lists, _ in self.read():
            yield undated([one.list_id for one in lists])

    def read(self) -> Iterator[tuple[list[List], list[bytes]]]:
        """Pages of lists, decoded and verbatim. Raises Unavailable where fewer came than there are:
        searches end at ten thousand, and lists that come or go shift the pages."""
        decode, one = msgspec.json.Decoder(_Found).decode, msgspec.json.Decoder(List).decode

        def fetch(offset: str | None) -> tuple[_Found, str | None]:
            body: dict[str, Any] = {"query": "", "count": _LISTS_PAGE, "offset": int(offset or 0)}
            page = self._client.post(
                f"{LISTS}/search", body, what="pull of lists", decode=decode
            ).body
            return page, str(page.offset) if page.has_more else None

        seen: set[str] = set()
        total = 0
        for page in pages_ahead(f"{self._client.name}: pull of lists", fetch):
            lists = [one(raw) for raw in page.lists]
            seen.update(found.list_id for found in lists)
            total = max(total, page.total)
            yield lists, [bytes(raw) for raw in page.lists]
        if len(seen) < total:
            raise Unavailable(
                f"{self._client.name}: pull of lists: {len(seen)} of {total} lists came. Nothing "
                "was lost; a later run asks again."
            )


class ListMembers:
    """Who is on which list since when. Who left is missing, as the comparison of keys tells."""

    def __init__(self, client: HubSpotClient, names: list[str]) -> None:
        """names: the lists whose members are read; all where it names none."""
        self._client = client
        self._names = {name.casefold() for name in names}

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """All members, whatever the window."""
        for one, ids, raws in self._read():
            holder = _HOLDERS.get(NAMES.get(one.object_type_id, ""))
            common = {"listId": one.list_id, "listName": one.name, "kind": "list"}
            bodies = [
                extended(raw, common | ({holder: i} if holder else {}))
                for i, raw in zip(ids, raws, strict=True)
            ]
            yield snapshot(self._client, [f"{one.list_id}:{i}" for i in ids], bodies)

    def news(self, after: datetime) -> bool:
        """Not to be told by one request: the daily round reads them."""
        return False

    def keys(self) -> Iterator[pl.DataFrame]:
        """Those who are on a list."""
        for one, ids, _ in self._read():
            yield undated([f"{one.list_id}:{i}" for i in ids])

    def _read(self) -> Iterator[tuple[List, list[str], list[msgspec.Raw]]]:
        lists = [
            one
            for page, _ in Lists(self._client).read()
            for one in page
            if not self._names or one.name.casefold() in self._names
        ]
        if missing := self._names - {one.name.casefold() for one in lists}:
            raise WrongObject(
                f"{self._client.name}: the account has no list `{min(missing)[:80]}`, or deleted "
                "it. Not retried. Correct `lists`, or restore it in HubSpot."
            )
        for one in lists:
            for page in self._members(one.list_id):
                yield one, *page

    def _members(self, list_id: str) -> Iterator[tuple[list[str], list[msgspec.Raw]]]:
        what = "pull of list members"
        path = f"{LISTS}/{quote(list_id, safe='')}/memberships"
        decode, member = msgspec.json.Decoder(Rows).decode, msgspec.json.Decoder(_Member).decode

        def fetch(after: str | None) -> tuple[Rows, str | None]:
            params = {"limit": str(_MEMBERS_PAGE)} | ({"after": after} if after else {})
            page = self._client.get(path, what=what, params=params, decode=decode)
            return page, mark(page.paging)

        for page in pages_ahead(f"{self._client.name}: {what}", fetch):
            yield [member(raw).record_id for raw in page.results], page.results
