"""The search API: filter groups, one sort, pages of 200, never past the ten-thousandth result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from cdp_assets.sandbox.clock import hubspot_time
from cdp_assets.sandbox.hubspot.errors import HubSpotError
from cdp_assets.sandbox.hubspot.objects import Records
from cdp_assets.sandbox.hubspot.schema import ObjectType, Property
from cdp_assets.sandbox.hubspot.values import moment
from cdp_assets.sandbox.tables import Row

CAP = 10_000
_LARGEST_PAGE = 200
_GROUPS, _FILTERS, _ALL_FILTERS = 5, 6, 18
_SEARCHED = ("email", "firstname", "lastname", "phone", "company", "name", "domain", "dealname",
             "subject", "hs_object_id")  # fmt: skip
Test = Callable[[str, Row], bool]


class Search:
    """Searches. lag: how long a change stays invisible here, as the real index lags behind."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.lag = timedelta(0)

    def run(self, kind: ObjectType, body: Mapping[str, Any]) -> Row:
        """The answer to `POST /crm/v3/objects/<type>/search`."""
        limit = int(body.get("limit") or 10)
        after = _whole(body.get("after") or 0)
        if limit > _LARGEST_PAGE:
            raise _wrong(f"The limit of {_LARGEST_PAGE} results per page was exceeded: {limit}")
        limit = self.records.rows.most(limit)
        if after + limit > CAP:
            raise _wrong(f"The result window ends at {CAP}: ask for smaller ranges")
        groups = body.get("filterGroups") or []
        filters = [f for group in groups for f in group.get("filters", ())]
        if len(groups) > _GROUPS or len(filters) > _ALL_FILTERS or any(
            len(group.get("filters", ())) > _FILTERS for group in groups
        ):  # fmt: skip
            raise _wrong("too many filterGroups or filters")
        tests = [
            [self._filter(kind, found) for found in group.get("filters", ())] for group in groups
        ]
        words = str(body.get("query") or "").casefold().split()
        horizon = hubspot_time(self.records.clock.now() - self.lag)
        hits = []
        for key, row in self.records.table(kind).rows.items():
            if row.get("_archived") or (self.lag and row["_updated"] > horizon):
                continue
            if tests and not any(all(test(key, row) for test in group) for group in tests):
                continue
            if words and not _contains(key, row, words):
                continue
            hits.append(key)
        self._sort(kind, hits, body.get("sorts") or [])
        names = list(body.get("properties") or ())
        page = hits[after : after + limit]
        answer: Row = {
            "total": len(hits),
            "results": [self.records.shown(kind, key, names) for key in page],
        }
        if after + limit < len(hits):
            answer["paging"] = {"next": {"after": str(after + limit)}}
        return answer

    def _read(self, kind: ObjectType, name: str) -> tuple[Property, Callable[[str, Row], Any]]:
        found = self.records.schema.properties(kind).get(name)
        if found is None:
            raise _wrong(f"There was a problem with the request: no property {name}")
        if name == "hs_object_id":
            return found, lambda key, row: Decimal(key)
        if name == kind.created:
            return found, lambda key, row: row["_created"]
        if name == kind.modified:
            return found, lambda key, row: row["_updated"]
        if found.type == "number":
            return found, lambda key, row: _decimal(row.get(name))
        if found.type in ("date", "datetime"):
            return found, lambda key, row: row.get(name)
        return found, lambda key, row: v.casefold() if (v := row.get(name)) is not None else None

    def _filter(self, kind: ObjectType, found: Mapping[str, Any]) -> Test:
        prop, read = self._read(kind, str(found.get("propertyName")))
        operator = str(found.get("operator"))
        if operator == "HAS_PROPERTY":
            return lambda key, row: read(key, row) is not None
        if operator == "NOT_HAS_PROPERTY":
            return lambda key, row: read(key, row) is None
        if operator in ("IN", "NOT_IN"):
            wanted = {_literal(prop, value) for value in found.get("values") or ()}
            inside = operator == "IN"
            return lambda key, row: (v := read(key, row)) is not None and (v in wanted) is inside
        value = _literal(prop, found.get("value"))
        if operator == "BETWEEN":
            high = _literal(prop, found.get("highValue"))
            return lambda key, row: (v := read(key, row)) is not None and value <= v <= high
        if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
            matches = re.compile(re.escape(str(value)).replace(r"\*", ".*")).fullmatch
            inside = operator == "CONTAINS_TOKEN"
            return lambda key, row: any(map(matches, _tokens(read(key, row)))) is inside
        tests: dict[str, Callable[[Any], bool]] = {
            "EQ": lambda v: v == value,
            "NEQ": lambda v: v != value,
            "LT": lambda v: v < value,
            "LTE": lambda v: v <= value,
            "GT": lambda v: v > value,
            "GTE": lambda v: v >= value,
        }
        test = tests.get(operator)
        if test is None:
            raise _wrong(f"{operator} is not a filter operator")
        return lambda key, row: (v := read(key, row)) is not None and test(v)

    def _sort(self, kind: ObjectType, hits: list[str], sorts: list[Any]) -> None:
        hits.sort(key=int)
        if len(sorts) > 1:
            raise _wrong("at most one sort")
        rows = self.records.table(kind).rows
        if not sorts:
            return
        by = sorts[0]
        if isinstance(by, str):
            name, down = by.lstrip("-"), by.startswith("-")
        else:
            name, down = str(by.get("propertyName")), by.get("direction") == "DESCENDING"
        _, read = self._read(kind, name)
        present = [key for key in hits if read(key, rows[key]) is not None]
        absent = [key for key in hits if read(key, rows[key]) is None]
        present.sort(key=lambda key: read(key, rows[key]), reverse=down)
        hits[:] = present + absent


def _literal(prop: Property, value: Any) -> Any:
    text = str(value)
    if value is None:
        raise _wrong(f"a filter on {prop.name} needs a value")
    if prop.type == "number":
        number = _decimal(text)
        if number is None:
            raise _wrong(f"{prop.name}: not a number")
        return number
    if prop.type in ("date", "datetime"):
        at = moment(text)
        if at is None:
            raise _wrong(f"{prop.name}: not a date")
        return at.date().isoformat() if prop.type == "date" else hubspot_time(at)
    return text.casefold()


def _decimal(value: Any) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


def _tokens(value: Any) -> list[str]:
    if value is None:
        return []
    text = str(value)
    return [text, *re.split(r"[\s@.,;:/\-]+", text)]


def _contains(key: str, row: Row, words: list[str]) -> bool:
    text = " ".join(str(row.get(name) or "") for name in _SEARCHED).casefold() + " " + key
    return all(word in text for word in words)


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise _wrong("after: not a number") from None


def _wrong(message: str) -> HubSpotError:
    return HubSpotError(400, "VALIDATION_ERROR", message)
