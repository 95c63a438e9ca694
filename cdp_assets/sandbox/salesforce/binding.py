"""Names and conditions of a SOQL tree, turned into functions of a row."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cdp_assets.sandbox.clock import Clock, salesforce_time
from cdp_assets.sandbox.salesforce.errors import SalesforceError
from cdp_assets.sandbox.salesforce.fields import Field, SObject
from cdp_assets.sandbox.salesforce.ids import full_id
from cdp_assets.sandbox.salesforce.schema import OBJECTS, PREFIXES
from cdp_assets.sandbox.salesforce.soql import (
    Comparison,
    Junction,
    Query,
    Selected,
    Token,
    position,
)
from cdp_assets.sandbox.tables import Row, Tables

Getter = Callable[[Row], Any]
Predicate = Callable[[Row], bool]
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_NUMBERS = {"double", "currency", "percent", "int"}
_NAME_FIELDS = ("Id", "Name", "FirstName", "LastName", "Email", "Title", "Phone", "Username")


@dataclass(frozen=True)
class Column:
    """One selected path: its names on the way, and how to read it from a row."""

    steps: tuple[str, ...]
    get: Getter
    kind: str = "string"


def follow(tables: Tables, row: Row, link: Field) -> tuple[Row | None, SObject | None]:
    key = row.get(link.name)
    if not key:
        return None, None
    spec = PREFIXES.get(key[:3])
    if spec is None:
        return None, None
    return tables[f"salesforce.{spec.name}"].get(key), spec


def reader(tables: Tables, field: Field) -> Getter:
    """How a field is read from a row; an address is put together, a formula worked out."""
    if field.formula is not None:
        key, name = field.formula
        link = Field(name=key, type="reference", label="")

        def formula(row: Row) -> Any:
            parent, _ = follow(tables, row, link)
            return None if parent is None else parent.get(name)

        return formula
    if not field.parts:
        return operator.methodcaller("get", field.name)

    def whole(row: Row) -> Any:
        found = {key: row.get(name) for key, name in field.parts}
        return found if any(value is not None for value in found.values()) else None

    return whole


def sort_key(field: Field, get: Getter) -> Getter:
    if field.type in _NUMBERS or field.type == "boolean":
        return get
    if field.type in ("id", "reference", "date", "datetime"):
        return get
    return lambda row: str(get(row)).casefold()


class Binder:
    """Turns paths and conditions of one query into functions of a row."""

    def __init__(self, tables: Tables, clock: Clock, query: Query, spec: SObject) -> None:
        self.tables = tables
        self.clock = clock
        self.query = query
        self.spec = spec

    def selected(self, item: Selected) -> list[Column]:
        if item.path.startswith("FIELDS("):
            if self.query.limit is None or self.query.limit > 200:
                raise SalesforceError(
                    400,
                    "MALFORMED_QUERY",
                    "The SOQL FIELDS function must have a LIMIT of at most 200",
                )
            kind = item.path[7:-1]
            return [
                Column((f.name,), reader(self.tables, f), f.type)
                for f in self.spec.fields
                if kind == "ALL" or f.custom == (kind == "CUSTOM")
            ]
        field, get = self.path(item.path, item.at)
        steps = item.path.split(".")
        if len(steps) > 1 and steps[0].lower() == self.spec.name.lower():
            steps = steps[1:]
        return [Column((*steps[:-1], field.name), get, field.type)]

    def path(self, path: str, at: int) -> tuple[Field, Getter]:
        """The field that a path ends in, and how to read it."""
        steps = path.split(".")
        if len(steps) > 1 and steps[0].lower() == self.spec.name.lower():
            steps = steps[1:]
        here = self.spec
        links: list[Field] = []
        for step in steps[:-1]:
            link = here.by_relationship.get(step.lower())
            if link is None:
                raise SalesforceError(
                    400,
                    "INVALID_FIELD",
                    f"{position(self.query.text, at)}Didn't understand relationship '{step}' in "
                    "field path. If you are attempting to use a custom relationship, be sure to "
                    "append the '__r' after the custom relationship name. Please reference your "
                    "WSDL or the describe call for the appropriate names.",
                )
            links.append(link)
            here = OBJECTS[link.references[0].lower()]
        field = here.by_name.get(steps[-1].lower())
        if field is None or (
            links and len(links[-1].references) > 1 and field.name not in _NAME_FIELDS
        ):
            raise SalesforceError(
                400,
                "INVALID_FIELD",
                f"{position(self.query.text, at)}No such column '{steps[-1]}' on entity "
                f"'{here.name}'. If you are attempting to use a custom field, be sure to append "
                "the '__c' after the custom field name. Please reference your WSDL or the "
                "describe call for the appropriate names.",
            )
        read = reader(self.tables, field)
        if not links:
            return field, read
        tables = self.tables

        def get(row: Row) -> Any:
            for link in links:
                parent, _ = follow(tables, row, link)
                if parent is None:
                    return None
                row = parent
            return read(row)

        return field, get

    def aggregate(self, item: Selected, rows: list[Row]) -> Any:
        field, get = self.path(item.path, item.at) if item.path else (None, lambda row: row["Id"])
        values = [value for row in rows if (value := get(row)) is not None]
        if item.aggregate == "count":
            return len(values)
        if item.aggregate == "count_distinct":
            return len(set(values))
        if item.aggregate in ("sum", "avg") and (field is None or field.type not in _NUMBERS):
            raise SalesforceError(
                400,
                "MALFORMED_QUERY",
                f"{position(self.query.text, item.at)}field {item.path} does not support "
                f"aggregate operator {str(item.aggregate).upper()}",
            )
        if not values:
            return None
        if item.aggregate == "sum":
            return sum(values)
        if item.aggregate == "avg":
            return sum(values) / len(values)
        return min(values) if item.aggregate == "min" else max(values)

    def condition(self, node: Comparison | Junction) -> Predicate:
        if isinstance(node, Comparison):
            return self._comparison(node)
        parts = [self.condition(part) for part in node.parts]
        if node.kind == "not":
            only = parts[0]
            return lambda row: not only(row)
        if len(parts) == 2:
            one, two = parts
            if node.kind == "and":
                return lambda row: one(row) and two(row)
            return lambda row: one(row) or two(row)
        if node.kind == "and":
            return lambda row: all(part(row) for part in parts)
        return lambda row: any(part(row) for part in parts)

    def _comparison(self, node: Comparison) -> Predicate:
        field, get = self.path(node.path, node.at)
        if not field.filterable:
            raise SalesforceError(
                400,
                "INVALID_FIELD",
                f"{position(self.query.text, node.at)}field '{field.name}' can not be filtered in "
                "a query call",
            )
        fold = field.type not in (*_NUMBERS, "boolean", "date", "datetime", "id", "reference")
        read: Getter = get
        if fold:

            def read(row: Row) -> Any:
                value = get(row)
                return value.casefold() if isinstance(value, str) else value

        if node.operator in ("in", "not in", "includes", "excludes"):
            wanted = {self._literal(token, field, fold) for token in node.value}
            if node.operator == "in":
                return lambda row: read(row) in wanted
            if node.operator == "not in":
                return lambda row: read(row) not in wanted
            inside = node.operator == "includes"
            return lambda row: bool(wanted & set(str(read(row) or "").split(";"))) is inside
        if node.operator == "like":
            return self._like(node, field, read)
        token: Token = node.value
        days = self._days(token, field)
        if days is not None:
            return _within(node.operator, read, *days)
        value = self._literal(token, field, fold)
        if node.operator == "=":
            return lambda row: read(row) == value
        if node.operator == "!=":
            return lambda row: read(row) != value
        compare = _COMPARE[node.operator]

        def test(row: Row) -> bool:
            found = read(row)
            return found is not None and value is not None and bool(compare(found, value))

        return test

    def _like(self, node: Comparison, field: Field, read: Getter) -> Predicate:
        if node.value.kind != "string" or field.type in (*_NUMBERS, "date", "datetime", "boolean"):
            raise SalesforceError(
                400,
                "INVALID_QUERY_FILTER_OPERATOR",
                f"{position(self.query.text, node.at)}invalid operator on {field.type} field",
            )
        pattern = re.escape(node.value.text.casefold()).replace("%", ".*").replace("_", ".")
        matches = re.compile(pattern, re.DOTALL).fullmatch
        return lambda row: (v := read(row)) is not None and matches(str(v)) is not None

    def _literal(self, token: Token, field: Field, fold: bool) -> Any:
        """The value of a literal, in the form in which the field's values are stored."""
        text = token.text
        if token.kind == "word" and text.lower() == "null":
            return None
        kind = field.type
        if kind in ("id", "reference") and token.kind == "string":
            if not text:
                return None
            key = full_id(text)
            if key is None:
                raise SalesforceError(
                    400,
                    "INVALID_QUERY_FILTER_OPERATOR",
                    f"{position(self.query.text, token.at)}invalid ID field: {text}",
                )
            return key
        if kind == "datetime" and token.kind == "datetime":
            at = datetime.fromisoformat(text)
            return salesforce_time(at) if not at.microsecond else (
                at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.")
                + f"{at.microsecond // 1000:03d}+0000"
            )  # fmt: skip
        if kind == "date" and token.kind == "date":
            return text
        if kind in _NUMBERS and token.kind == "number":
            return float(text)
        if kind == "boolean" and token.kind == "word" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if fold and token.kind == "string":
            return text.casefold()
        quoted = "and should not be enclosed in quotes" if token.kind == "string" else ""
        shown = "dateTime" if kind == "datetime" else kind
        raise SalesforceError(
            400,
            "INVALID_FIELD",
            f"{position(self.query.text, token.at)}value of filter criterion for field "
            f"'{field.name}' must be of type {shown} {quoted}".rstrip(),
        )

    def _days(self, token: Token, field: Field) -> tuple[str, str] | None:
        """Start and end of a date literal such as TODAY or LAST_N_DAYS:30."""
        if token.kind != "word" or field.type not in ("date", "datetime"):
            return None
        name, _, count = token.text.upper().partition(":")
        today = self.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        day = timedelta(days=1)
        n = int(count) if count else 0
        week = today - day * ((today.weekday() + 1) % 7)
        month = today.replace(day=1)
        spans = {
            "TODAY": (today, today + day),
            "YESTERDAY": (today - day, today),
            "TOMORROW": (today + day, today + 2 * day),
            "THIS_WEEK": (week, week + 7 * day),
            "LAST_WEEK": (week - 7 * day, week),
            "THIS_MONTH": (month, (month + 32 * day).replace(day=1)),
            "LAST_MONTH": ((month - day).replace(day=1), month),
            "LAST_90_DAYS": (today - 90 * day, today + day),
            "LAST_N_DAYS": (today - n * day, today + day),
            "NEXT_N_DAYS": (today + day, today + (n + 1) * day),
        }
        span = spans.get(name)
        if span is None:
            return None
        if field.type == "date":
            return span[0].date().isoformat(), span[1].date().isoformat()
        return salesforce_time(span[0]), salesforce_time(span[1])


def _within(comparison: str, read: Getter, start: str, end: str) -> Predicate:
    tests: dict[str, Callable[[str], bool]] = {
        "=": lambda v: start <= v < end,
        "!=": lambda v: not start <= v < end,
        "<": lambda v: v < start,
        "<=": lambda v: v < end,
        ">": lambda v: v >= end,
        ">=": lambda v: v >= start,
    }
    test = tests[comparison]
    return lambda row: (value := read(row)) is not None and test(value)
