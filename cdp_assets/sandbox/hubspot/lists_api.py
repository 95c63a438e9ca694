"""The lists API v3: lists of records, of which the static ones are filled by hand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.hubspot.errors import HubSpotError
from cdp_assets.sandbox.hubspot.objects import Records
from cdp_assets.sandbox.hubspot.schema import ObjectType
from cdp_assets.sandbox.tables import Row

TABLE = "hubspot.lists"
_BY_HAND = ("MANUAL", "SNAPSHOT")
_LARGEST_PAGE = 250
_MOST_FOUND = 500


class ListsApi:
    """The handlers of `/crm/v3/lists…`. A row holds the list and `members`: record id → since."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.tables = records.tables

    def routes(self) -> list[tuple[str, str, Callable[[Request, re.Match[str]], Reply]]]:
        """(method, path, handler) of each endpoint."""
        base, one = "/crm/v3/lists", r"/crm/v3/lists/(?P<list>\d+)"
        return [
            ("POST", base, self._create),
            ("GET", base, self._several),
            ("POST", f"{base}/search", self._search),
            ("GET", rf"{base}/object-type-id/(?P<kind>[\w-]+)/name/(?P<name>[^/]+)", self._named),
            ("GET", one, self._get),
            ("DELETE", one, self._delete),
            ("PUT", f"{one}/restore", self._restore),
            ("PUT", f"{one}/update-list-name", self._rename),
            ("GET", f"{one}/memberships(?:/join-order)?", self._members),
            ("DELETE", f"{one}/memberships", self._clear),
            ("PUT", f"{one}/memberships/add", self._add),
            ("PUT", f"{one}/memberships/remove", self._remove),
            ("PUT", f"{one}/memberships/add-and-remove", self._change),
        ]

    def _create(self, request: Request, match: re.Match[str]) -> Reply:
        body = _object(request)
        name, processing = str(body.get("name") or ""), str(body.get("processingType"))
        if not name or processing not in (*_BY_HAND, "DYNAMIC"):
            raise _wrong("name and processingType are required")
        kind = self.records.schema.type(str(body.get("objectTypeId")))
        if processing == "DYNAMIC" and not body.get("filterBranch"):
            raise _wrong("a DYNAMIC list needs a filterBranch")
        if self._find(kind, name) is not None:
            raise HubSpotError(
                400, "VALIDATION_ERROR", f"List with name {name!r} already exists.",
                sub_category="ILS.DUPLICATE_LIST_NAMES",
            )  # fmt: skip
        key, now = str(self.tables.next_number(TABLE)), self.records.now()
        row = {
            "name": name, "objectTypeId": kind.type_id, "processingType": processing,
            "createdAt": now, "updatedAt": now, "listVersion": 1, "members": {},
        }  # fmt: skip
        self.tables.put(TABLE, key, row)
        return Reply(body={"list": self._shown(key)}, rows=1)

    def _several(self, request: Request, match: re.Match[str]) -> Reply:
        keys = [k for k in request.query.get("listIds", "").split(",") if self._live(k)]
        return Reply(body={"lists": [self._shown(key) for key in keys]}, rows=len(keys))

    def _search(self, request: Request, match: re.Match[str]) -> Reply:
        body = _object(request)
        words, types = str(body.get("query") or "").casefold(), body.get("processingTypes")
        offset, count = int(body.get("offset") or 0), int(body.get("count") or 20)
        if count > _MOST_FOUND:
            raise _wrong(f"count is at most {_MOST_FOUND}")
        keys = [
            key
            for key, row in self.tables[TABLE].rows.items()
            if self._live(key)
            and words in row["name"].casefold()
            and (not types or row["processingType"] in types)
            and (not body.get("listIds") or key in body["listIds"])
        ]
        page = keys[offset : offset + count]
        found = [self._shown(key, search=True) for key in page]
        answer = {"lists": found, "offset": offset + len(page), "total": len(keys),
                  "hasMore": offset + len(page) < len(keys)}  # fmt: skip
        return Reply(body=answer, rows=len(page))

    def _named(self, request: Request, match: re.Match[str]) -> Reply:
        key = self._find(self.records.schema.type(match["kind"]), match["name"])
        if key is None:
            raise _gone()
        return Reply(body={"list": self._shown(key)}, rows=1)

    def _get(self, request: Request, match: re.Match[str]) -> Reply:
        self._row(match)
        return Reply(body={"list": self._shown(match["list"])}, rows=1)

    def _delete(self, request: Request, match: re.Match[str]) -> Reply:
        row = self._row(match)
        self.tables.put(TABLE, match["list"], row | {"deletedAt": self.records.now()})
        return Reply(204)

    def _restore(self, request: Request, match: re.Match[str]) -> Reply:
        row = self.tables[TABLE].get(match["list"])
        if row is None:
            raise _gone()
        kept = {name: value for name, value in row.items() if name != "deletedAt"}
        self.tables.put(TABLE, match["list"], kept)
        return Reply(204)

    def _rename(self, request: Request, match: re.Match[str]) -> Reply:
        row = self._row(match)
        name = request.query.get("listName") or row["name"]
        self.tables.put(TABLE, match["list"], row | {"name": name})
        return Reply(body={"updatedList": self._shown(match["list"])})

    def _members(self, request: Request, match: re.Match[str]) -> Reply:
        members = self._row(match)["members"]
        text = request.query.get("limit") or "100"
        if not text.isdigit() or not 1 <= int(text) <= _LARGEST_PAGE:
            raise _wrong(f"limit is at most {_LARGEST_PAGE}")
        limit, after = int(text), request.query.get("after") or ""
        if request.path.endswith("join-order"):
            keys = sorted(members, key=lambda key: (members[key], int(key)))
        else:
            keys = sorted(members, key=int)
        start = int(after) if after.isdigit() else 0
        page = keys[start : start + limit]
        body: Row = {
            "results": [{"recordId": k, "membershipTimestamp": members[k]} for k in page],
            "total": len(keys),
        }
        if start + limit < len(keys):
            body["paging"] = {"next": {"after": str(start + limit)}}
        return Reply(body=body, rows=len(page))

    def _clear(self, request: Request, match: re.Match[str]) -> Reply:
        self._apply(match, [], list(self._row(match)["members"]))
        return Reply(204)

    def _add(self, request: Request, match: re.Match[str]) -> Reply:
        return self._apply(match, _ids(_body(request)), [])

    def _remove(self, request: Request, match: re.Match[str]) -> Reply:
        return self._apply(match, [], _ids(_body(request)))

    def _change(self, request: Request, match: re.Match[str]) -> Reply:
        body = _object(request)
        return self._apply(
            match, _ids(body.get("recordIdsToAdd")), _ids(body.get("recordIdsToRemove"))
        )

    def _apply(self, match: re.Match[str], add: list[str], remove: list[str]) -> Reply:
        row = self._row(match)
        if row["processingType"] not in _BY_HAND:
            raise HubSpotError(
                400, "VALIDATION_ERROR", f"List {match['list']} is {row['processingType']}: only "
                "MANUAL and SNAPSHOT lists are changed by hand.",
                sub_category="ILS.INVALID_LIST_PROCESSING_TYPE",
            )  # fmt: skip
        kind = self.records.schema.type(row["objectTypeId"])
        members, now = dict(row["members"]), self.records.now()
        added, removed, missing = [], [], []
        for key in dict.fromkeys(add):
            try:
                found = self.records.find(kind, key)
            except HubSpotError:
                missing.append(key)
                continue
            if found not in members:
                members[found] = now
                added.append(found)
        for key in dict.fromkeys(remove):
            if members.pop(key, None) is not None:
                removed.append(key)
            elif self.records.table(kind).get(key) is None:
                missing.append(key)
        if added or removed:
            changed = {"members": members, "updatedAt": now, "listVersion": row["listVersion"] + 1}
            self.tables.put(TABLE, match["list"], row | changed)
        # The real thing spells the first of them so.
        body = {
            "recordsIdsAdded": added, "recordIdsRemoved": removed, "recordIdsMissing": missing
        }  # fmt: skip
        return Reply(body=body, rows=len(added) + len(removed))

    def _live(self, key: str) -> bool:
        row = self.tables[TABLE].get(key)
        return row is not None and "deletedAt" not in row

    def _row(self, match: re.Match[str]) -> Row:
        row = self.tables[TABLE].get(match["list"])
        if row is None or "deletedAt" in row:
            raise _gone()
        return row

    def _find(self, kind: ObjectType, name: str) -> str | None:
        for key in self.tables[TABLE].find("name", name):
            if self._live(key) and self.tables[TABLE].rows[key]["objectTypeId"] == kind.type_id:
                return key
        return None

    def _shown(self, key: str, *, search: bool = False) -> Row:
        row = self.tables[TABLE].rows[key]
        shown = {name: value for name, value in row.items() if name != "members"}
        size = len(row["members"])
        more: Row = {"additionalProperties": {"hs_list_size": str(size)}} if search else {
            "size": size
        }  # fmt: skip
        return {"listId": key, "processingStatus": "COMPLETE", **shown, **more}


def _gone() -> HubSpotError:
    return HubSpotError(
        404, "OBJECT_NOT_FOUND", "List does not exist.", sub_category="ILS.LIST_NOT_FOUND"
    )


def _wrong(message: str) -> HubSpotError:
    return HubSpotError(400, "VALIDATION_ERROR", message)


def _body(request: Request) -> Any:
    try:
        return msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise _wrong(f"Invalid input JSON: {error}") from None


def _object(request: Request) -> Row:
    body = _body(request)
    if not isinstance(body, dict):
        raise _wrong("Invalid input JSON: an object was expected")
    return body


def _ids(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(str(one).isdigit() for one in value):
        raise _wrong("Invalid input JSON: a list of record ids was expected")
    return [str(one) for one in value]
