"""What the org says of a row it was sent → the row's outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdp_assets.connectors.base import ErrorClass, RowChange, RowOutcome
from cdp_assets.connectors.redaction import redact
from cdp_assets.connectors.salesforce.ids import long_id

LOCKED = "UNABLE_TO_LOCK_ROW"
DELETED = "ENTITY_IS_DELETED"
DUPLICATES = "DUPLICATES_DETECTED"
REFERENCE = "a record that a field of this row names is not there, or not for this user to see"
_CLASSES: Mapping[str, ErrorClass] = {
    LOCKED: "retry",
    "SERVER_UNAVAILABLE": "retry",
    "UNKNOWN_EXCEPTION": "retry",
    "REQUEST_RUNNING_TOO_LONG": "retry",
    "QUERY_TIMEOUT": "retry",
    DELETED: "gone",
    "NOT_FOUND": "gone",
    "INVALID_CROSS_REFERENCE_KEY": "gone",
    DUPLICATES: "conflict",
    "DUPLICATE_VALUE": "conflict",
    "DUPLICATE_EXTERNAL_ID": "conflict",
    "MULTIPLE_CHOICES": "conflict",
    "ENTITY_IS_LOCKED": "conflict",
    "INSUFFICIENT_ACCESS_OR_READONLY": "permission",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "permission",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "permission",
    "INVALID_FIELD": "mapping",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "mapping",
    "INVALID_TYPE": "mapping",
    "NO_SUCH_COLUMN": "mapping",
    "JSON_PARSER_ERROR": "mapping",
}
GONE = frozenset({DELETED, "NOT_FOUND", "INVALID_CROSS_REFERENCE_KEY"})
"""What the org says of a record that is not there, the row's own or one that a field of it names;
an error that names the field is about the latter."""
_ITSELF = frozenset({"", "id"})


def refused(
    change: RowChange, code: str, message: str, kind: ErrorClass | None = None
) -> RowOutcome:
    """The outcome of a row that was not taken. message: without any value of the row."""
    return RowOutcome(
        change.row,
        False,
        record_id=change.record_id,
        error_class=kind or _CLASSES.get(code, "data"),
        code=code,
        message=message,
    )


def of_result(change: RowChange, result: Any) -> RowOutcome:
    """The outcome in a result of sObject collections."""
    if not isinstance(result, dict):
        return refused(change, "NO_RESULT", "no result for this row")
    if result.get("success"):
        found = result.get("id")
        return written(change, str(found or ""), created=bool(result.get("created")))
    errors = [e for e in result.get("errors") or [] if isinstance(e, dict)]
    code = str(errors[0].get("statusCode") or errors[0].get("errorCode")) if errors else "UNKNOWN"
    texts = []
    for error in errors:
        fields = ", ".join(str(f) for f in error.get("fields") or [])
        said = _redacted(change, str(error.get("message", "")))
        said += _matches(error)
        texts.append(said if said.startswith(fields) else f"{fields}: {said}")
    about = [str(f) for f in errors[0].get("fields") or []] if errors else []
    return failed(change, code, "; ".join(texts), about)


def of_error(change: RowChange, text: str) -> RowOutcome:
    """The outcome in a Bulk result's `sf__Error`: `CODE:message:fields --`."""
    code, _, said = text.partition(":")
    code = code.strip()
    if not code or not code.replace("_", "").isalnum():
        code, said = "UNKNOWN", text
    about = said.removesuffix("--").rpartition(":")[2].split() if text.endswith("--") else []
    return failed(change, code, _redacted(change, said.removesuffix("--").strip(" :")), about)


def written(change: RowChange, record_id: str, *, created: bool) -> RowOutcome:
    """The outcome of a row that was taken."""
    return RowOutcome(
        change.row,
        True,
        record_id=long_id(record_id) if record_id else change.record_id,
        created=change.op == "create" or (created and change.op == "upsert"),
    )


def failed(change: RowChange, code: str, message: str, about: Sequence[str] = ()) -> RowOutcome:
    """The outcome of a row that was refused with this code; to delete what is gone is done.

    about: the fields that the error names. What is not there is the row's own record only where
    it names none and the row has one."""
    if code in GONE:
        if any(field.lower() not in _ITSELF for field in about) or change.op == "create":
            return refused(change, code, message or REFERENCE, "data")
        if change.op == "delete":
            return RowOutcome(change.row, True, record_id=change.record_id)
    return refused(change, code, message or "refused without a reason")


def _redacted(change: RowChange, text: str) -> str:
    values: Sequence[Any] = [*change.fields.values(), change.key_value, change.record_id]
    return redact(text, values)


def _matches(error: Mapping[str, Any]) -> str:
    """Ids of the records that a duplicate rule found: what a person has to look at."""
    result = error.get("duplicateResult")
    found = result.get("matchResults") if isinstance(result, dict) else None
    ids = [
        str(record["record"]["Id"])
        for match in found or []
        for record in match.get("matchRecords") or []
        if isinstance(record, dict) and isinstance(record.get("record"), dict)
        and record["record"].get("Id")
    ]  # fmt: skip
    return f" (matches {', '.join(ids[:3])})" if ids else ""
