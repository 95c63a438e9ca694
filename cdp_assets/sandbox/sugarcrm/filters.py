"""Filters of lists ("Filters" of the Developer Guide): conditions over fields of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cdp_assets.sandbox.sugarcrm.errors import bad_parameter
from cdp_assets.sandbox.sugarcrm.schema import NUMBERS, Field

Test = Callable[[Mapping[str, Any]], bool]
_DATES = {"datetime", "datetimecombo"}


def compiled(conditions: Any, fields: Mapping[str, Field]) -> Test:
    """A filter as a function of a stored record. A list of conditions must all hold."""
    if not isinstance(conditions, list):
        raise bad_parameter("filter: an array was expected")
    tests = [_condition(one, fields) for one in conditions]
    return lambda row: all(test(row) for test in tests)


def _condition(one: Any, fields: Mapping[str, Field]) -> Test:
    if not isinstance(one, Mapping):
        raise bad_parameter("filter: an object was expected")
    tests: list[Test] = []
    for name, wanted in one.items():
        if name in ("$and", "$or"):
            inner = [_condition(part, fields) for part in wanted]
            every = all if name == "$and" else any
            tests.append(lambda row, t=inner, e=every: e(test(row) for test in t))  # type: ignore[misc]
        elif name == "email_addresses.email_address":
            tests.append(_operators("email", wanted, {"type": "email"}))
        elif name not in fields:
            raise bad_parameter(f"Unknown field {name} in filter")
        else:
            tests.append(_operators(name, wanted, fields[name]))
    return lambda row: all(test(row) for test in tests)


def _operators(name: str, wanted: Any, field: Field) -> Test:
    pairs = wanted.items() if isinstance(wanted, Mapping) else [("$equals", wanted)]
    tests = [_operator(name, sign, value, field) for sign, value in pairs]
    return lambda row: all(test(row) for test in tests)


def _operator(name: str, sign: str, value: Any, field: Field) -> Test:
    if sign in ("$is_null", "$empty"):
        return lambda row: row.get(name) in (None, "", [])
    if sign in ("$not_null", "$not_empty"):
        return lambda row: row.get(name) not in (None, "", [])
    if sign in ("$in", "$not_in"):
        if not isinstance(value, list):
            raise bad_parameter(f"{sign}: an array was expected")
        some = [comparable(v, field) for v in value]
        found: Test = lambda row: any(v in some for v in _own(row, name, field))  # noqa: E731
        return found if sign == "$in" else lambda row: not found(row)
    target = comparable(value, field)
    compare: dict[str, Callable[[Any], bool]] = {
        "$equals": lambda v: v == target,
        "$not_equals": lambda v: v != target,
        "$gt": lambda v: v is not None and v > target,
        "$gte": lambda v: v is not None and v >= target,
        "$lt": lambda v: v is not None and v < target,
        "$lte": lambda v: v is not None and v <= target,
        "$starts": lambda v: str(v or "").startswith(str(target)),
        "$contains": lambda v: str(target) in str(v or ""),
    }
    if sign not in compare:
        raise bad_parameter(f"Unknown operator {sign} in filter")
    return lambda row: any(compare[sign](v) for v in _own(row, name, field))


def _own(row: Mapping[str, Any], name: str, field: Field) -> list[Any]:
    if field["type"] == "email":
        return [str(e["email_address"]).lower() for e in row.get("email") or []]
    return [comparable(row.get(name), field)]


def comparable(value: Any, field: Field) -> Any:
    """A value so that two of them can be compared: text without case, as the database does."""
    if value in (None, ""):
        return None
    kind = field["type"]
    try:
        if kind in _DATES:
            return datetime.fromisoformat(str(value)).timestamp()
        if kind in NUMBERS:
            return float(value)
    except ValueError:
        raise bad_parameter(f"Invalid value for {field.get('name', kind)} in filter") from None
    if kind == "bool":
        return str(value).lower() in ("1", "true")
    return str(value).lower()
