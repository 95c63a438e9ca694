"""The schemas API: custom object types, which the account's people make."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.hubspot.errors import HubSpotError, not_found
from cdp_assets.sandbox.hubspot.objects import Records
from cdp_assets.sandbox.hubspot.properties import property_of, shown
from cdp_assets.sandbox.hubspot.schema import CUSTOM
from cdp_assets.sandbox.tables import Row

PORTAL = 8_888_888


class SchemasApi:
    """The handlers of `/crm/v3/schemas`, which newer clients call `/crm-object-schemas/v3`."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.tables = records.tables

    def routes(self) -> list[tuple[str, str, Callable[[Request, re.Match[str]], Reply]]]:
        """(method, path, handler) of each endpoint."""
        base = "(?:/crm/v3/schemas|/crm-object-schemas/v3/schemas)"
        return [
            ("GET", base, self._list),
            ("POST", base, self._create),
            ("GET", f"{base}/(?P<kind>[^/]+)", self._get),
            ("DELETE", f"{base}/(?P<kind>[^/]+)", self._archive),
        ]

    def _list(self, request: Request, match: re.Match[str]) -> Reply:
        archived = request.query.get("archived", "").lower() == "true"
        rows = self.tables[CUSTOM].rows
        found = [
            self._shown(k) for k, row in rows.items() if bool(row.get("_archived")) is archived
        ]
        return Reply(body={"results": found}, rows=len(found))

    def _get(self, request: Request, match: re.Match[str]) -> Reply:
        return Reply(body=self._shown(self._key(match)), rows=1)

    def _archive(self, request: Request, match: re.Match[str]) -> Reply:
        key = self._key(match)
        self.tables.put(CUSTOM, key, self.tables[CUSTOM].rows[key] | {"_archived": True})
        return Reply(204)

    def _create(self, request: Request, match: re.Match[str]) -> Reply:
        body: Any = msgspec.json.decode(request.body)
        name = str(body.get("name") or "")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not body.get("labels"):
            raise HubSpotError(400, "VALIDATION_ERROR", "name and labels are required")
        full = f"p{PORTAL}_{name}"
        if any(row["fullyQualifiedName"] == full for row in self.tables[CUSTOM].rows.values()):
            raise HubSpotError(409, "OBJECT_ALREADY_EXISTS", f"{full} is there already")
        key, now = f"2-{self.tables.next_number(CUSTOM, 3_000_001)}", self.records.now()
        properties = [property_of(one, group=f"{name}_information") for one in body["properties"]]
        row: Row = {
            "name": name, "fullyQualifiedName": full, "labels": body["labels"],
            "requiredProperties": list(body.get("requiredProperties") or ()),
            "primaryDisplayProperty": body.get("primaryDisplayProperty"),
            "properties": [msgspec.to_builtins(one) for one in properties], "createdAt": now,
            "updatedAt": now, "associations": [],
        }  # fmt: skip
        self.tables.put(CUSTOM, key, row)
        kind = self.records.schema.type(key)
        links: list[Row] = []
        for name in body.get("associatedObjects") or ():
            other = self.records.schema.type(str(name))
            there, back = self.records.associations.add_type(kind, other, None, None)
            for number, one, two in ((there, kind, other), (back, other, kind)):
                links.append({
                    "id": str(number["typeId"]), "fromObjectTypeId": one.type_id,
                    "toObjectTypeId": two.type_id, "name": f"{one.singular}_to_{two.singular}",
                })  # fmt: skip
        self.tables.put(CUSTOM, key, row | {"associations": links})
        return Reply(201, self._shown(key), rows=1)

    def _key(self, match: re.Match[str]) -> str:
        try:
            kind = self.records.schema.type(match["kind"])
        except HubSpotError:
            raise not_found() from None
        if not kind.custom:
            raise not_found()
        return kind.type_id

    def _shown(self, key: str) -> Row:
        row = self.tables[CUSTOM].rows[key]
        kind = self.records.schema.type(key) if not row.get("_archived") else None
        known = self.records.schema.properties(kind) if kind is not None else {}
        body = {name: value for name, value in row.items() if not name.startswith("_")}
        return body | {
            "id": key.partition("-")[2], "objectTypeId": key,
            "archived": bool(row.get("_archived")),
            "properties": [shown(one) for one in known.values()],
            "searchableProperties": row["requiredProperties"], "secondaryDisplayProperties": [],
        }  # fmt: skip
