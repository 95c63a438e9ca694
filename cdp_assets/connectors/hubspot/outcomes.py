"""What HubSpot's answers to writes mean for each row: no value of a row in any message."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cdp_assets.connectors.base import ErrorClass, Refused, RowChange, RowOutcome
from cdp_assets.connectors.redaction import redact

_EXISTING = re.compile(r"(?i)existing id:\s*(\d+)")
_TAKEN = frozenset({"CONFLICTING_UNIQUE_VALUE"})
_TAKEN_BY = "taken by"
_HOLDER = re.compile(r"(?i)\b(\d+) already has that value")
_CLASSES: Mapping[str, ErrorClass] = {
    "OBJECT_NOT_FOUND": "gone",
    "CONFLICT": "conflict",
    "OBJECT_ALREADY_EXISTS": "conflict",
    "CONFLICTING_UNIQUE_VALUE": "conflict",
    "PROPERTY_DOESNT_EXIST": "mapping",
    "READ_ONLY_VALUE": "mapping",
    "MISSING_SCOPES": "permission",
    "FORBIDDEN": "permission",
    "RATE_LIMITS": "retry",
    "INTERNAL_ERROR": "retry",
}


class RowError(msgspec.Struct):
    """What an answer says is wrong with a row, or with a whole request of one."""

    message: str = ""
    category: str = ""
    status: Any = None
    context: dict[str, list[str]] = {}
    errors: list[dict[str, Any]] = []


def named(
    error: RowError,
    by_trace: Mapping[str, RowChange],
    by_id: Mapping[str, RowChange],
    by_key: Mapping[str, RowChange],
) -> list[RowChange]:
    """The rows that an error of a 207 is about."""
    traces = [by_trace[t] for t in error.context.get("objectWriteTraceId", []) if t in by_trace]
    if traces:
        return traces
    names = [v for key in ("id", "ids") for v in error.context.get(key, [])]
    found = [by_id.get(v) or by_key.get(v.casefold()) for v in names]
    return [change for change in found if change is not None]


def failed(change: RowChange, error: RowError) -> RowOutcome:
    """The outcome of a row that an error is about."""
    codes = [str(e.get("code")) for e in error.errors if e.get("code")]
    context = dict(error.context)
    for detail in error.errors:
        if detail.get("code") in _TAKEN and isinstance(detail.get("context"), dict):
            context |= {_TAKEN_BY: detail["context"].get("objectId") or []}
    return _outcome(change, [error.category, *codes], error.message, context)


def refused_alone(change: RowChange, refused: Refused) -> RowOutcome:
    """The outcome of a row that was refused as a request of its own."""
    try:
        error = msgspec.json.decode(refused.body, type=RowError)
    except (msgspec.DecodeError, msgspec.ValidationError):
        error = RowError(category="UNKNOWN")
    if refused.status == 409 and not error.category:
        error.category = "CONFLICT"
    return failed(change, error)


def _outcome(
    change: RowChange, codes: Sequence[str], message: str, context: Mapping[str, list[str]]
) -> RowOutcome:
    known = [code for code in (*reversed(codes), *_codes_in(message)) if code in _CLASSES]
    there = existing_id(message, context)
    values = [*change.fields.values(), change.key_value, change.record_id]
    return RowOutcome(
        change.row,
        False,
        record_id=there or change.record_id,
        error_class="conflict" if there else (_CLASSES[known[0]] if known else "data"),
        code=(known or [c for c in codes if c] or ["UNKNOWN"])[0],
        message=redact(message, values) or "refused without a reason",
    )


def existing_id(message: str, context: Mapping[str, list[str]]) -> str | None:
    """The record that holds a value which must be there once; None where the answer names none."""
    found = _EXISTING.search(message) or _HOLDER.search(message)
    if found:
        return found[1]
    return next(iter(context.get(_TAKEN_BY, ())), None)


def _codes_in(message: str) -> list[str]:
    """HubSpot puts the codes of single properties into the message's text."""
    return re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", message)
