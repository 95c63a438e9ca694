"""The batch endpoints: up to a hundred records in one call.

Where a faulty record comes with an `objectWriteTraceId`, the rest is written and the answer is
207; without one the whole batch is refused and the error names the first fault alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from cdp_assets.sandbox.http import Reply
from cdp_assets.sandbox.hubspot.errors import HubSpotError, not_found
from cdp_assets.sandbox.hubspot.objects import Records
from cdp_assets.sandbox.hubspot.schema import ObjectType
from cdp_assets.sandbox.tables import Row

_MOST, _MOST_WITH_HISTORY = 100, 50


class Batches:
    """The handlers of `/crm/v3/objects/<type>/batch/<verb>`."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.verbs: dict[str, Callable[[ObjectType, Row], Reply]] = {
            "read": self._read,
            "create": self._create,
            "update": self._update,
            "upsert": self._upsert,
            "archive": self._archive,
        }

    def _read(self, kind: ObjectType, body: Row) -> Reply:
        history = list(body.get("propertiesWithHistory") or ())
        inputs = _inputs(body, _MOST_WITH_HISTORY if history else _MOST)
        id_property = body.get("idProperty")
        names = list(body.get("properties") or ())
        keys, missing = [], []
        for one in inputs:
            try:
                keys.append(self.records.find(kind, str(one.get("id")), id_property))
            except HubSpotError as error:
                if error.status != 404:
                    raise
                missing.append(str(one.get("id")))
        errors = [not_found(missing).entry()] if missing else []
        results = [self.records.shown(kind, key, names, history) for key in dict.fromkeys(keys)]
        return self._answer(200, results, errors, len(missing))

    def _create(self, kind: ObjectType, body: Row) -> Reply:
        def one(given: Row) -> Row:
            key = self.records.create(kind, _properties(given), given.get("associations") or ())
            return self._result(kind, key, given)

        return self._each(201, _inputs(body), one)

    def _update(self, kind: ObjectType, body: Row) -> Reply:
        def one(given: Row) -> Row:
            key = self.records.find(kind, str(given.get("id")), given.get("idProperty"))
            self.records.update(kind, key, _properties(given))
            return self._result(kind, key, given)

        inputs = _inputs(body)
        _once(inputs)
        return self._each(200, inputs, one)

    def _upsert(self, kind: ObjectType, body: Row) -> Reply:
        def one(given: Row) -> Row:
            name, value = given.get("idProperty"), str(given.get("id"))
            try:
                key, new = self.records.find(kind, value, name), False
            except HubSpotError as error:
                if error.status != 404 or not name or name == "hs_object_id":
                    raise
                key, new = "", True
            if new:
                key = self.records.create(kind, {str(name): value} | _properties(given))
            else:
                self.records.update(kind, key, _properties(given))
            return self._result(kind, key, given) | {"new": new}

        inputs = _inputs(body)
        _once(inputs)
        return self._each(200, inputs, one)

    def _archive(self, kind: ObjectType, body: Row) -> Reply:
        inputs = _inputs(body)
        for one in inputs:
            self.records.archive(kind, str(one.get("id")))
        return Reply(204, rows=len(inputs))

    def _result(self, kind: ObjectType, key: str, given: Row) -> Row:
        shown = self.records.shown(kind, key, list(_properties(given)))
        if given.get("objectWriteTraceId") is not None:
            shown["objectWriteTraceId"] = given["objectWriteTraceId"]
        return shown

    def _each(self, status: int, inputs: list[Row], one: Callable[[Row], Row]) -> Reply:
        mark = self.records.tables.mark()
        results: list[Row] = []
        errors: list[Row] = []
        gone: list[str] = []
        for given in inputs:
            try:
                if (code := self.records.rows.refusal()) is not None:
                    raise HubSpotError(409 if "CONFLICT" in code else 500, code, "by order")
                results.append(one(given))
            except HubSpotError as error:
                trace = given.get("objectWriteTraceId")
                if trace is not None:
                    if error.status == 404 and given.get("id"):
                        error = not_found([str(given["id"])])
                    errors.append(error.entry(str(trace)))
                elif error.status == 404:
                    gone.append(str(given.get("id")))
                else:
                    self.records.tables.roll_back(mark)
                    raise
        if gone:
            errors.append(not_found(gone).entry())
        failed = len(inputs) - len(results)
        return self._answer(status, results, errors, failed)

    def _answer(self, status: int, results: list[Row], errors: list[Row], failed: int) -> Reply:
        now = self.records.now()
        body: Row = {
            "status": "COMPLETE", "results": self.records.rows.ordered(results),
            "requestedAt": now, "startedAt": now, "completedAt": now,
        }  # fmt: skip
        if errors:
            body |= {"numErrors": failed, "errors": errors}
            status = 207
        return Reply(status, body, rows=len(results))


def _inputs(body: Mapping[str, Any], most: int = _MOST) -> list[Row]:
    inputs = body.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(one, dict) for one in inputs):
        raise HubSpotError(400, "VALIDATION_ERROR", "Invalid input JSON: inputs is missing")
    if len(inputs) > most:
        raise HubSpotError(
            400,
            "VALIDATION_ERROR",
            f"The maximum number of inputs supported in a batch request is {most}",
        )
    return inputs


def _properties(given: Row) -> Row:
    properties = given.get("properties") or {}
    if not isinstance(properties, dict):
        raise HubSpotError(400, "VALIDATION_ERROR", "Invalid input JSON: properties")
    return properties


def _once(inputs: list[Row]) -> None:
    counts = Counter(str(one.get("id")).casefold() for one in inputs)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise HubSpotError(
            400,
            "VALIDATION_ERROR",
            f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique",
        )
