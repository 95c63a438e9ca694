"""sObject collections: up to 200 records in one call, one result a record."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.salesforce.errors import SalesforceError
from cdp_assets.sandbox.salesforce.fields import SObject
from cdp_assets.sandbox.salesforce.ids import full_id
from cdp_assets.sandbox.salesforce.objects import Objects
from cdp_assets.sandbox.salesforce.schema import PREFIXES
from cdp_assets.sandbox.tables import Row

_MOST = 200
_ROLLED_BACK = (
    "Record rolled back because not all records were valid and the request was using AllOrNone "
    "header"
)


class Collections:
    """The handlers of `/composite/sobjects`."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def create(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`POST /composite/sobjects`."""
        body = _body(request)

        def one(record: Row) -> Row:
            key = self.objects.create(self._spec(record), record)
            return {"id": key, "success": True, "errors": []}

        return self._each(body["records"], body["allOrNone"], one)

    def update(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`PATCH /composite/sobjects`."""
        body = _body(request)
        twice = _twice([str(record.get("Id") or record.get("id")) for record in body["records"]])

        def one(record: Row) -> Row:
            key = str(record.get("Id") or record.get("id") or "")
            fields = {k: v for k, v in record.items() if k.lower() != "id"}
            if not key:
                raise SalesforceError(400, "MISSING_ARGUMENT", "Id not specified in an update call")
            if key in twice:
                raise SalesforceError(400, "DUPLICATE_VALUE", f"Duplicate id specified: {key}", [])
            self.objects.update(self._spec(record), key, fields)
            return {"id": full_id(key), "success": True, "errors": []}

        return self._each(body["records"], body["allOrNone"], one)

    def upsert(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`PATCH /composite/sobjects/<name>/<external id field>`."""
        body = _body(request)
        spec = self.objects.spec(match["name"])
        field = self.objects.external_field(spec, match["field"])
        twice = _twice([str(record.get(field.name)).casefold() for record in body["records"]])

        def one(record: Row) -> Row:
            if self._spec(record) is not spec:
                raise SalesforceError(400, "INVALID_TYPE", "record of another type", [])
            value = record.get(field.name)
            by_id = field.type == "id"
            fields = {k: v for k, v in record.items() if k != field.name or not by_id}
            if value is None and not by_id:
                raise SalesforceError(
                    400, "MISSING_ARGUMENT", f"{field.name} not specified", [field.name]
                )
            if value is not None and str(value).casefold() in twice:
                raise SalesforceError(
                    400, "DUPLICATE_VALUE", f"Duplicate external id specified: {value}",
                    [field.name],
                )  # fmt: skip
            if "Id" in fields and not by_id:
                raise SalesforceError(
                    400, "INVALID_FIELD", "Id and external id both specified", ["Id"]
                )
            rows = [] if value is None else self.objects.by_external_id(spec, field, str(value))
            if len(rows) > 1:
                raise SalesforceError(
                    400,
                    "DUPLICATE_EXTERNAL_ID",
                    f"{field.name}: more than one record found for external id field: "
                    f"[{', '.join(row['Id'] for row in rows)}]",
                    [field.name],
                )
            if rows:
                self.objects.update(spec, rows[0]["Id"], fields)
                return {"id": rows[0]["Id"], "success": True, "errors": [], "created": False}
            if by_id and value is not None:
                raise SalesforceError(404, "NOT_FOUND", "invalid cross reference id", ["Id"])
            key = self.objects.create(spec, fields)
            return {"id": key, "success": True, "errors": [], "created": True}

        return self._each(body["records"], body["allOrNone"], one)

    def delete(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`DELETE /composite/sobjects?ids=…&allOrNone=…`."""
        keys = [key for key in request.query.get("ids", "").split(",") if key]
        _most(keys)

        def one(record: Row) -> Row:
            key = record["Id"]
            spec = PREFIXES.get(key[:3])
            if spec is None:
                raise SalesforceError(400, "MALFORMED_ID", f"malformed id {key}", [])
            self.objects.delete(spec, key)
            return {"id": full_id(key), "success": True, "errors": []}

        whole = request.query.get("allOrNone", "").lower() == "true"
        return self._each([{"Id": key} for key in keys], whole, one)

    def retrieve(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET` or `POST /composite/sobjects/<name>`: records by id, null for one that is not
        there."""
        spec = self.objects.spec(match["name"])
        if request.method == "POST":
            body = _decoded(request)
            keys, names = body.get("ids") or [], body.get("fields") or []
        else:
            keys = [key for key in request.query.get("ids", "").split(",") if key]
            names = [name for name in request.query.get("fields", "").split(",") if name]
        _most(keys, 2000)
        fields = []
        for name in names:
            field = spec.by_name.get(str(name).lower())
            if field is None:
                raise SalesforceError(
                    400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {spec.name}"
                )
            fields.append(field.name)
        out: list[Row | None] = []
        for key in keys:
            full = full_id(str(key))
            row = self.objects.table(spec).get(full) if full else None
            if row is None or row.get("IsDeleted"):
                out.append(None)
                continue
            url = f"/services/data/v{version}/sobjects/{spec.name}/{full}"
            shown: Row = {"attributes": {"type": spec.name, "url": url}, "Id": full}
            out.append(shown | {name: row.get(name) for name in fields})
        return Reply(body=out, rows=len(out))

    def _spec(self, record: Row) -> SObject:
        attributes = record.get("attributes")
        name = attributes.get("type") if isinstance(attributes, dict) else None
        if not name:
            raise SalesforceError(400, "INVALID_TYPE", "attributes.type is missing", [])
        return self.objects.spec(str(name))

    def _each(self, records: list[Row], whole: bool, one: Callable[[Row], Row]) -> Reply:
        """One result a record; with `whole`, all of them or none."""
        before = self.objects.tables.mark()
        results: list[Row] = []
        failed: list[bool] = []
        for record in records:
            try:
                results.append(one(record))
                failed.append(False)
            except SalesforceError as error:
                results.append(error.row())
                failed.append(True)
        if whole and any(failed):
            self.objects.tables.roll_back(before)
            undone = SalesforceError(400, "ALL_OR_NONE_OPERATION_ROLLED_BACK", _ROLLED_BACK).row()
            results = [r if bad else undone for r, bad in zip(results, failed, strict=True)]
        return Reply(body=results, rows=len(results) - sum(failed))


def _decoded(request: Request) -> Row:
    try:
        body: Any = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise SalesforceError(400, "JSON_PARSER_ERROR", str(error)) from None
    if not isinstance(body, dict):
        raise SalesforceError(400, "JSON_PARSER_ERROR", "an object was expected")
    return body


def _body(request: Request) -> Row:
    body = _decoded(request)
    records = body.get("records")
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise SalesforceError(400, "JSON_PARSER_ERROR", "records: an array was expected")
    _most(records)
    # only here: a parameter of this name in the address is ignored, as by the real thing
    return {"records": records, "allOrNone": body.get("allOrNone") is True}


def _most(records: list[Any], limit: int = _MOST) -> None:
    if len(records) > limit:
        raise SalesforceError(
            400,
            "EXCEEDED_MAX_SOBJECTS_LIMIT",
            f"record limit reached: cannot process more than {limit} records",
        )


def _twice(values: list[str]) -> set[str]:
    return {value for value, count in Counter(values).items() if count > 1 and value != "none"}
