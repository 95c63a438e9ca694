"""The associations API v4."""

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

_MOST_READ, _MOST_WRITTEN = 1_000, 2_000
_LARGEST_PAGE = 500


class AssociationsApi:
    """The handlers of `/crm/v4/…`."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def routes(self) -> list[tuple[str, str, Callable[[Request, re.Match[str]], Reply]]]:
        """(method, path, handler) of each endpoint."""
        kind, other = r"(?P<kind>[\w-]+)", r"(?P<other>[\w-]+)"
        key, to = r"(?P<key>\d+)", r"(?P<to>\d+)"
        base = f"/crm/v4/objects/{kind}/{key}/associations"
        pair = f"/crm/v4/associations/{kind}/{other}"
        return [
            ("GET", f"{base}/{other}", self._list),
            ("PUT", f"{base}/default/{other}/{to}", self._put_default),
            ("PUT", f"{base}/{other}/{to}", self._put),
            ("DELETE", f"{base}/{other}/{to}", self._delete),
            ("POST", f"{pair}/batch/read", self._read),
            ("POST", f"{pair}/batch/create", self._create),
            ("POST", f"{pair}/batch/associate/default", self._create_default),
            ("POST", f"{pair}/batch/archive", self._archive),
            ("GET", f"{pair}/labels", self._labels),
            ("POST", f"{pair}/labels", self._add_label),
        ]

    def _kinds(self, match: re.Match[str]) -> tuple[ObjectType, ObjectType]:
        schema = self.records.schema
        return schema.type(match["kind"]), schema.type(match["other"])

    def _list(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        key = self.records.find(kind, match["key"])
        limit = min(int(request.query.get("limit") or _LARGEST_PAGE), _LARGEST_PAGE)
        start = int(request.query.get("after") or 0)
        ids = self.records.associations.ids(kind, key, other)
        body: Row = {"results": [self._one(kind, key, other, i) for i in ids[start:][:limit]]}
        if start + limit < len(ids):
            body["paging"] = {"next": {"after": str(start + limit)}}
        return Reply(body=body, rows=len(body["results"]))

    def _one(self, kind: ObjectType, key: str, other: ObjectType, other_id: str) -> Row:
        types = self.records.associations.types(kind, key, other, other_id)
        return {"toObjectId": other_id, "associationTypes": types}

    def _read(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        results, errors = [], []
        for one in _inputs(request, _MOST_READ):
            key = str(one.get("id"))
            start = int(one.get("after") or 0)
            ids = self.records.associations.ids(kind, key, other)
            if not ids:
                error = HubSpotError(
                    404,
                    "OBJECT_NOT_FOUND",
                    f"No {other.singular} is associated with {kind.singular} {key}.",
                    sub_category="crm.associations.NO_ASSOCIATIONS_FOUND",
                    context={"fromObjectId": [key]},
                )
                errors.append(error.entry())
                continue
            page = ids[start:][:_LARGEST_PAGE]
            result: Row = {
                "from": {"id": key},
                "to": [self._one(kind, key, other, i) for i in page],
            }
            if start + len(page) < len(ids):
                result["paging"] = {"next": {"after": str(start + len(page))}}
            results.append(result)
        return self._answer(200, results, errors)

    def _create(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        results: list[Row] = []
        errors: list[Row] = []
        for one in _inputs(request, _MOST_WRITTEN):
            try:
                key, to = str(one["from"]["id"]), str(one["to"]["id"])
                results.append(self._associate(kind, key, other, to, one.get("types") or []))
            except HubSpotError as error:
                errors.append(error.entry())
        return self._answer(201, results, errors)

    def _create_default(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        results: list[Row] = []
        for one in _inputs(request, _MOST_WRITTEN):
            results += self._default(kind, str(one["from"]["id"]), other, str(one["to"]["id"]))
        return self._answer(200, results, [])

    def _archive(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        inputs = _inputs(request, _MOST_WRITTEN)
        for one in inputs:
            for to in one.get("to") or []:
                self.records.associations.remove(kind, str(one["from"]["id"]), other, str(to["id"]))
        return Reply(204, rows=len(inputs))

    def _put(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        types = msgspec.json.decode(request.body) if request.body else []
        return Reply(201, self._associate(kind, match["key"], other, match["to"], types), rows=1)

    def _put_default(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        return self._answer(200, self._default(kind, match["key"], other, match["to"]), [])

    def _delete(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        self.records.associations.remove(kind, match["key"], other, match["to"])
        return Reply(204, rows=1)

    def _labels(self, request: Request, match: re.Match[str]) -> Reply:
        return Reply(body={"results": self.records.associations.labels(*self._kinds(match))})

    def _add_label(self, request: Request, match: re.Match[str]) -> Reply:
        kind, other = self._kinds(match)
        body = msgspec.json.decode(request.body)
        made = self.records.associations.add_type(
            kind, other, str(body["label"]), body.get("inverseLabel")
        )
        return Reply(body={"results": made})

    def _associate(
        self, kind: ObjectType, key: str, other: ObjectType, to: str, types: list[Any]
    ) -> Row:
        known = {t["typeId"] for t in self.records.associations.labels(kind, other)}
        numbers = [t.get("associationTypeId") for t in types]
        if not numbers or not known >= set(numbers):
            raise HubSpotError(400, "VALIDATION_ERROR", "invalid association types")
        key, to = self.records.find(kind, key), self.records.find(other, to)
        self.records.associations.add(kind, key, other, to, numbers)
        shown = [t["label"] for t in self.records.associations.types(kind, key, other, to)]
        return {
            "fromObjectTypeId": kind.type_id,
            "fromObjectId": key,
            "toObjectTypeId": other.type_id,
            "toObjectId": to,
            "labels": [label for label in shown if label],
        }

    def _default(self, kind: ObjectType, key: str, other: ObjectType, to: str) -> list[Row]:
        key, to = self.records.find(kind, key), self.records.find(other, to)
        self.records.associations.add(kind, key, other, to)
        return [
            {"from": {"id": one_id}, "to": {"id": two_id}, "associationSpec": self._plain(one, two)}
            for one, one_id, two, two_id in ((kind, key, other, to), (other, to, kind, key))
        ]

    def _plain(self, one: ObjectType, two: ObjectType) -> Row:
        for found in self.records.associations.labels(one, two):
            if found["label"] is None:
                return {
                    "associationCategory": found["category"], "associationTypeId": found["typeId"]
                }  # fmt: skip
        raise HubSpotError(400, "VALIDATION_ERROR", f"{one.name} and {two.name} are not associable")

    def _answer(self, status: int, results: list[Row], errors: list[Row]) -> Reply:
        now = self.records.now()
        body: Row = {
            "status": "COMPLETE", "results": results, "requestedAt": now, "startedAt": now,
            "completedAt": now,
        }  # fmt: skip
        if errors:
            status, body = 207, body | {"numErrors": len(errors), "errors": errors}
        return Reply(status, body, rows=len(results))


def _inputs(request: Request, most: int) -> list[Row]:
    try:
        body: Any = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise HubSpotError(400, "VALIDATION_ERROR", f"Invalid input JSON: {error}") from None
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or len(inputs) > most:
        raise HubSpotError(400, "VALIDATION_ERROR", f"inputs: a list of at most {most} expected")
    return inputs
