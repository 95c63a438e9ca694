"""Static lists of HubSpot: made, looked up by name, and filled (see `ListDestination`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

import msgspec

from cdp_assets.connectors.base import Refused, RowOutcome
from cdp_assets.connectors.hubspot.answers import Paging, mark
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.paths import LISTS
from cdp_assets.connectors.paging import pages_ahead

MEMBERS_BATCH = 10_000
_PAGE, _FOUND = 250, 500
LISTED = ("0-1", "0-2", "0-3", "0-5")
"""Contacts, companies, deals, tickets: what lists are looked for of."""
_BY_HAND = frozenset({"MANUAL", "SNAPSHOT"})


class List(msgspec.Struct, rename="camel"):
    """A list as the account describes it (what we read of it)."""

    list_id: str
    name: str = ""
    object_type_id: str = ""
    processing_type: str = ""
    deleted_at: str | None = None


class _One(msgspec.Struct):
    list: List


class _Found(msgspec.Struct):
    lists: list[List] = []


class _Member(msgspec.Struct, rename="camel"):
    record_id: str


class _Members(msgspec.Struct):
    results: list[_Member] = []
    paging: Paging | None = None


class _Changed(msgspec.Struct, rename="camel"):
    record_ids_missing: list[str] = []


class HubSpotLists:
    """The lists of one account."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client

    def list_id(self, name: str) -> str | None:
        """The static list of this name (case does not count), whatever it lists; None where there
        is none. Raises Refused for a dynamic or deleted list, or several of the name."""
        found: list[List] = []
        for type_id in LISTED:
            path = f"{LISTS}/object-type-id/{type_id}/name/{quote(name, safe='')}"
            decode = msgspec.json.Decoder(_One).decode
            try:
                found.append(self._client.get(path, what="look for a list", decode=decode).list)
            except Refused as refused:
                if refused.status != 404:
                    raise
        found = found or self._searched(name)
        for one in found:
            if one.deleted_at is not None:
                raise self._error(
                    "the list of this name was deleted. Not retried, and never made again: "
                    "restore it in HubSpot, or name another one.", 404,
                )  # fmt: skip
            if one.processing_type not in _BY_HAND:
                raise self._error(
                    f"the list of this name is {one.processing_type}: its filters decide who is "
                    "on it. Not retried. Name a static list.", 400,
                )  # fmt: skip
        if len(found) > 1:
            raise self._error(
                f"{len(found)} lists have this name, of different objects. Not retried. Rename "
                "all but one.", 409,
            )  # fmt: skip
        return found[0].list_id if found else None

    def _searched(self, name: str) -> list[List]:
        """Lists of this name of any object, custom ones too; the search may be behind."""
        body = {"query": name, "count": _FOUND}
        decode = msgspec.json.Decoder(_Found).decode
        path = f"{LISTS}/search"
        found = self._client.post(path, body, what="look for a list", decode=decode).body
        return [one for one in found.lists if one.name.casefold() == name.casefold()]

    def create_list(self, name: str, object_name: str) -> str:
        """Make an empty static list; one of that name that came about meanwhile is taken."""
        type_id = self._client.type_id(object_name)
        body = {"name": name, "objectTypeId": type_id, "processingType": "MANUAL"}
        decode = msgspec.json.Decoder(_One).decode
        try:
            # Names are held once, so a repeat whose first answer was lost makes no second list.
            reply = self._client.post(LISTS, body, what="make a list", decode=decode)
        except Refused:
            there = self.list_id(name)
            if there is None:
                raise
            return there
        return reply.body.list.list_id

    def list_members(self, list_id: str) -> Iterator[list[str]]:
        """Ids of the list's records in the order of ids, page by page."""
        path = f"{LISTS}/{quote(list_id, safe='')}/memberships"
        decode = msgspec.json.Decoder(_Members).decode

        def fetch(after: str | None) -> tuple[_Members, str | None]:
            params = {"limit": str(_PAGE)} | ({"after": after} if after is not None else {})
            try:
                page = self._client.get(path, what="read a list", params=params, decode=decode)
            except Refused as refused:
                raise self._gone(refused) from None
            return page, mark(page.paging)

        for page in pages_ahead(f"{self._client.name}: read a list", fetch):
            yield [member.record_id for member in page.results]

    def change_members(
        self, list_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> list[RowOutcome]:
        """Put records on the list and take others off, in one call. Sent twice it does the same,
        and says `missing` of a record that is gone; one that was there, or off, already is ok."""
        wrong = {i for i in (*add, *remove) if not (i.isascii() and i.isdigit())}
        body = {
            "recordIdsToAdd": [i for i in dict.fromkeys(add) if i not in wrong],
            "recordIdsToRemove": [i for i in dict.fromkeys(remove) if i not in wrong],
        }
        missing: set[str] = set()
        if any(body.values()):
            path = f"{LISTS}/{quote(list_id, safe='')}/memberships/add-and-remove"
            decode = msgspec.json.Decoder(_Changed).decode
            try:
                reply = self._client.post(
                    path, body, what="change a list", decode=decode, method="PUT"
                )
            except Refused as refused:
                raise self._gone(refused) from None
            missing.update(reply.body.record_ids_missing)
        rows = [(i, True) for i in add] + [(i, False) for i in remove]
        return [_outcome(row, i, adding, wrong, missing) for row, (i, adding) in enumerate(rows)]

    def _gone(self, refused: Refused) -> Refused:
        if refused.status == 404:
            return self._error(
                "the list is gone: somebody deleted it. Not retried, and never made again: restore "
                "it in HubSpot, or end its sync.", 404, refused.codes,
            )  # fmt: skip
        if any("PROCESSING_TYPE" in code for code in refused.codes):
            return self._error(
                "the list is dynamic: its filters decide who is on it. Not retried. Name a static "
                "list.", refused.status, refused.codes,
            )  # fmt: skip
        return refused

    def _error(self, text: str, status: int, codes: tuple[str, ...] = ()) -> Refused:
        return Refused(f"{self._client.name}: lists: {text}", status=status, codes=codes)


def _outcome(
    row: int, record_id: str, adding: bool, wrong: set[str], missing: set[str]
) -> RowOutcome:
    if record_id in wrong:
        return RowOutcome(row, False, record_id, error_class="data", code="INVALID_ID",
                          message="this is no record's id")  # fmt: skip
    if adding and record_id in missing:
        return RowOutcome(row, False, record_id, error_class="gone", code="RECORD_MISSING",
                          message="the record is gone: it cannot be put on the list")  # fmt: skip
    return RowOutcome(row, True, record_id)
