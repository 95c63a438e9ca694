"""Writing records to Salesforce: sObject collections, one outcome a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, NamedTuple

from cdp_assets.connectors.base import (
    ConnectorError,
    ErrorClass,
    RowChange,
    RowOutcome,
    WrongObject,
)
from cdp_assets.connectors.crm import alike, as_day, as_milliseconds, as_number
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.redaction import redact
from cdp_assets.connectors.salesforce.client import SalesforceClient, soql_string
from cdp_assets.connectors.salesforce.describe import SalesforceField
from cdp_assets.connectors.salesforce.ids import is_id, long_id

BATCH = 200
_LONGEST_WHERE = 3_500
_LOCK = "UNABLE_TO_LOCK_ROW"
_LOCK_ROUNDS = 4
_CLASSES: Mapping[str, ErrorClass] = {
    _LOCK: "retry",
    "SERVER_UNAVAILABLE": "retry",
    "UNKNOWN_EXCEPTION": "retry",
    "REQUEST_RUNNING_TOO_LONG": "retry",
    "QUERY_TIMEOUT": "retry",
    "ENTITY_IS_DELETED": "gone",
    "NOT_FOUND": "gone",
    "INVALID_CROSS_REFERENCE_KEY": "gone",
    "DUPLICATES_DETECTED": "conflict",
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
_NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})


class SalesforcePush:
    """Reads and writes of records by sObject collections."""

    batch_size = BATCH

    def __init__(self, client: SalesforceClient, options: HttpOptions) -> None:
        self._client = client
        self._options = options

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        asked = {long_id(i): i for i in ids}
        found: dict[str, dict[str, Any]] = {}
        for record in self._select(name, "Id", [soql_string(i) for i in asked], fields):
            record_id = str(record.pop("Id"))
            found[asked.get(record_id, record_id)] = self._shown(name, fields, record)
        return found

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        field = self._field(name, field_name)
        # Text is compared without case there, so an answer is matched to what was asked alike.
        asked: dict[str, list[str]] = {}
        literals: dict[str, str] = {}
        for value in values:
            if (sought := _sought(field, value)) is not None:
                asked.setdefault(sought.folded, []).append(value)
                literals.setdefault(sought.folded, sought.literal)
        found: dict[str, list[dict[str, Any]]] = {}
        wanted = list(dict.fromkeys([*fields, field_name]))
        for record in self._select(name, field_name, literals.values(), wanted):
            row = {"id": record["Id"], **self._shown(name, fields, record)}
            here = _sought(field, record.get(field_name))
            for value in asked.get(here.folded, ()) if here else ():
                found.setdefault(value, []).append(row)
        return found

    def _shown(self, name: str, fields: Sequence[str], record: Mapping[str, Any]) -> dict[str, Any]:
        """The record's values in the form that `normalise` gives, so that the two can be compared
        whatever way the org writes a moment or a number."""
        return {f: shown(self._field(name, f), record.get(f)) for f in fields}

    def _select(
        self, name: str, by: str, literals: Iterable[str], fields: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        for field in fields:
            self._field(name, field)
        columns = ",".join(dict.fromkeys(["Id", *fields]))
        for group in _groups(list(literals), _LONGEST_WHERE):
            # Names were looked up in the org's describe; literals are `_sought`'s, or quoted.
            soql = f"SELECT {columns} FROM {name} WHERE {by} IN ({','.join(group)})"  # noqa: S608
            for record in self._client.query(soql, what=f"read of {name}"):
                record.pop("attributes", None)
                yield record

    def _field(self, name: str, field_name: str) -> SalesforceField:
        field = self._client.fields(name).get(field_name)
        if field is None:
            raise WrongObject(
                f"{self._client.name}: {name} has no field `{field_name[:80]}`, or does not show "
                "it to this user. Not retried. Correct the sync's `fields`, `key` or `match`."
            )
        return field

    def write(self, name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        """One call for the batch; rows that met a row lock are tried again by themselves."""
        outcomes: dict[int, RowOutcome] = {}
        for group in alike(batch):
            outcomes.update(self._send(name, group))
        self._unlock(name, batch, outcomes)
        return [outcomes[change.row] for change in batch if change.row in outcomes]

    def _unlock(
        self, name: str, batch: Sequence[RowChange], outcomes: dict[int, RowOutcome]
    ) -> None:
        """Send the rows that met a row lock again, by themselves, fewer each round."""
        size = max(len(batch) // 4, 1)
        for attempt in range(_LOCK_ROUNDS):
            locked = [c for c in batch if outcomes[c.row].code == _LOCK]
            if not locked:
                return
            self._options.sleep(self._options.backoff * (attempt + 1))
            # Children of one parent lock it: they go together.
            locked.sort(key=lambda c: (_parents(c), c.row))
            parts = [g[at : at + size] for g in alike(locked) for at in range(0, len(g), size)]
            for part in parts:
                try:
                    outcomes.update(self._send(name, part))
                except ConnectorError:
                    # Nothing is known of these alone: they have no outcome, the rest keep theirs.
                    for change in part:
                        del outcomes[change.row]
                    return
            size = max(size // 4, 1)

    def _send(self, name: str, group: Sequence[RowChange]) -> dict[int, RowOutcome]:
        sent: list[RowChange] = []
        outcomes: dict[int, RowOutcome] = {}
        keys: set[str] = set()
        records: list[dict[str, Any]] = []
        key = self._field(name, group[0].key_field) if group[0].key_field else None
        for change in group:
            text = (change.key_value or "").casefold()
            if change.op == "upsert" and text in keys:
                outcomes[change.row] = RowOutcome(
                    change.row, False, error_class="data", code="DUPLICATE_KEY_IN_BATCH",
                    message="another row of this batch has the same external id",
                )  # fmt: skip
                continue
            keys.add(text)
            try:
                records.append(_record(name, change, key))
            except ValueError as error:
                outcomes[change.row] = RowOutcome(
                    change.row, False, error_class="data", code="INVALID_KEY", message=str(error)
                )
                continue
            sent.append(change)
        if not sent:
            return outcomes
        method, path, repeatable = _endpoint(name, sent[0])
        value = {"allOrNone": False, "records": records}
        what = f"{sent[0].op} of {len(sent)} {name} records"
        _, results = self._client.send(method, path, value, what=what, repeatable=repeatable)
        if not isinstance(results, list) or len(results) != len(sent):
            raise ConnectorError(
                f"{self._client.name}: {what}: the answer does not hold one result a row. Not "
                "retried. Read the records before writing again."
            )
        for change, result in zip(sent, results, strict=True):
            outcomes[change.row] = _outcome(change, result)
        return outcomes

    def normalise(self, name: str, field_name: str, value: Any) -> Any:
        """`value` as the org will show it after a write: its own number, text and date forms."""
        return normalised(self._field(name, field_name), value)


def normalised(field: SalesforceField, value: Any) -> Any:
    """`value` in the form in which Salesforce shows it.

    Raises ValueError, without the value, where it cannot be of the field's type."""
    if value is None or (isinstance(value, float) and value != value):
        return False if field.type == "boolean" else None
    if isinstance(value, str):
        value = value.strip()
        if value == "":
            return False if field.type == "boolean" else None
    try:
        return _converted(field, value)
    except (ValueError, InvalidOperation, OverflowError):
        raise ValueError(f"{field.name} takes a {field.type}, which the value is not") from None


def shown(field: SalesforceField, value: Any) -> Any:
    """A value that the org showed, in our form; as it stands where it is not of its type."""
    try:
        return normalised(field, value)
    except ValueError:
        return value


def _converted(field: SalesforceField, value: Any) -> Any:
    kind = field.type
    if kind == "boolean":
        return _truth(value)
    if kind in _NUMBERS:
        number = as_number(value)
        step = Decimal(1).scaleb(-(0 if kind in {"int", "long"} else field.scale))
        rounded = (
            number.quantize(step, ROUND_HALF_UP)
            if field.scale or kind in {"int", "long"}
            else number
        )
        whole = rounded == rounded.to_integral_value()
        return int(rounded) if kind in {"int", "long"} and whole else float(rounded)
    if kind == "date":
        return as_day(value).isoformat()
    if kind == "datetime":
        return as_milliseconds(value) + "+0000"
    if kind == "multipicklist":
        parts = value if isinstance(value, list | tuple | set) else str(value).split(";")
        return ";".join(sorted({str(p).strip() for p in parts} - {""})) or None
    if kind in {"reference", "id"}:
        return long_id(str(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, datetime):
        return as_milliseconds(value) + "+0000"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text.lower() if kind == "email" else text


class _Sought(NamedTuple):
    """A value of a field as two of them are compared, and as SOQL writes it."""

    folded: str
    literal: str


def _sought(field: SalesforceField, value: Any) -> _Sought | None:
    """A value as the field may hold it; None where no record can: nothing, too long, or not of
    the field's type. What stands unquoted in SOQL is written anew from what was read."""
    text = str(value).strip() if value is not None else ""
    if not text:
        return None
    try:
        plain = _unquoted(field.type, text)
    except (ValueError, InvalidOperation, OverflowError):
        return None
    if plain is not None:
        return _Sought(plain, plain)
    if field.type in {"id", "reference"}:
        text = long_id(text)
        return _Sought(text, soql_string(text)) if is_id(text) else None
    if field.length and len(text) > field.length:
        return None
    return _Sought(text if field.case_sensitive else text.casefold(), soql_string(text))


def _unquoted(kind: str, text: str) -> str | None:
    """SOQL's literal of a number, a day, a moment or a truth; None of a type that is quoted.

    Raises ValueError, InvalidOperation or OverflowError where the text is no such value."""
    if kind in _NUMBERS:
        # Not rounded as a write is: 7.4 is no whole number's record.
        number = as_number(text)
        return format(number.normalize(), "f") if number else "0"
    if kind == "date":
        return as_day(text).isoformat()
    if kind == "datetime":
        return as_milliseconds(text) + "Z"
    if kind == "boolean":
        return "true" if _truth(text) else "false"
    return None


def _truth(value: Any) -> bool:
    text = str(value).lower()
    if text not in {"true", "false", "1", "0"}:
        raise ValueError
    return text in {"true", "1"}


def _groups(literals: Sequence[str], longest: int) -> Iterator[list[str]]:
    group: list[str] = []
    used = 0
    for literal in literals:
        if group and used + len(literal) + 1 > longest:
            yield group
            group, used = [], 0
        group.append(literal)
        used += len(literal) + 1
    if group:
        yield group


def _endpoint(name: str, change: RowChange) -> tuple[str, str, bool]:
    """Method, path, and whether the same call twice does what it does once."""
    if change.op == "create":
        return "POST", "/composite/sobjects", False
    if change.op == "update":
        return "PATCH", "/composite/sobjects", True
    return "PATCH", f"/composite/sobjects/{name}/{change.key_field}", True


def _record(name: str, change: RowChange, key: SalesforceField | None) -> dict[str, Any]:
    fields = {k: v for k, v in change.fields.items() if k not in {"Id", "id", change.key_field}}
    record: dict[str, Any] = {"attributes": {"type": name}}
    if change.op == "update":
        record["Id"] = long_id(change.record_id or "")
    elif key is not None and change.key_value is not None:
        # Of an upsert this is the key; the record's own id beside it is refused.
        record[key.name] = normalised(key, change.key_value)
    return record | fields


def _parents(change: RowChange) -> str:
    return "|".join(str(v) for k, v in sorted(change.fields.items()) if k.endswith(("Id", "__c")))


def _outcome(change: RowChange, result: Any) -> RowOutcome:
    if not isinstance(result, dict):
        return RowOutcome(change.row, False, error_class="data", code="NO_RESULT",
                          message="no result for this row")  # fmt: skip
    if result.get("success"):
        found = result.get("id")
        return RowOutcome(
            change.row,
            True,
            record_id=long_id(str(found)) if found else change.record_id,
            created=change.op == "create" or bool(result.get("created")),
        )
    errors = [e for e in result.get("errors") or [] if isinstance(e, dict)]
    code = str(errors[0].get("statusCode") or errors[0].get("errorCode")) if errors else "UNKNOWN"
    return RowOutcome(
        change.row,
        False,
        record_id=change.record_id,
        error_class=_CLASSES.get(code, "data"),
        code=code,
        message=_message(change, errors),
    )


def _message(change: RowChange, errors: Sequence[Mapping[str, Any]]) -> str:
    values = [*change.fields.values(), change.key_value, change.record_id]
    texts = []
    for error in errors:
        fields = ", ".join(str(f) for f in error.get("fields") or [])
        said = redact(str(error.get("message", "")), values)
        texts.append(said if said.startswith(fields) else f"{fields}: {said}")
    return "; ".join(texts) or "refused without a reason"
