"""Checking what a client sends for a field, and turning it into what the org stores."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from cdp_assets.sandbox.clock import salesforce_time
from cdp_assets.sandbox.salesforce.errors import SalesforceError
from cdp_assets.sandbox.salesforce.fields import Field
from cdp_assets.sandbox.salesforce.ids import full_id
from cdp_assets.sandbox.salesforce.schema import PREFIXES
from cdp_assets.sandbox.tables import Tables

_EMAIL = re.compile(r"[^@\s,;<>()\[\]]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_JSON_KINDS = {str: "VALUE_STRING", bool: "VALUE_TRUE", int: "VALUE_NUMBER_INT",
               float: "VALUE_NUMBER_FLOAT", list: "START_ARRAY", dict: "START_OBJECT"}  # fmt: skip


def stored(field: Field, value: Any, tables: Tables) -> Any:
    """`value` as the org keeps it in `field`; "" is null.

    Raises SalesforceError for a value of the wrong type, too long, not on the list or pointing
    nowhere.
    """
    if value is None or value == "":
        return None
    kind = field.type
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise _wrong_type(field, value, "boolean")
    if kind in ("double", "currency", "percent", "int"):
        return _number(field, value)
    if not isinstance(value, str):
        raise _wrong_type(field, value, "string" if kind != "reference" else "reference")
    if "\x00" in value:
        raise SalesforceError(
            400, "JSON_PARSER_ERROR", f"Illegal character in {field.name}", [field.name]
        )
    if kind == "date":
        try:
            return date.fromisoformat(value[:10]).isoformat()
        except ValueError:
            raise _wrong_type(field, value, "date") from None
    if kind == "datetime":
        return _datetime(field, value)
    if kind == "time":
        try:
            return time.fromisoformat(value).strftime("%H:%M:%S.000Z")
        except ValueError:
            raise _wrong_type(field, value, "time") from None
    if kind == "reference":
        return _reference(field, value, tables)
    text = value.strip() or None
    if text is None:
        return None
    if kind == "email" and not _EMAIL.fullmatch(text):
        raise SalesforceError(
            400,
            "INVALID_EMAIL_ADDRESS",
            f"{field.label}: invalid email address: {text}",
            [field.name],
        )
    if field.restricted and text not in field.options:
        raise SalesforceError(
            400,
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{field.label}: bad value for restricted picklist field: {text}",
            [field.name],
        )
    if field.length and len(text) > field.length:
        raise SalesforceError(
            400,
            "STRING_TOO_LONG",
            f"{field.label}: data value too large: {text} (max length={field.length})",
            [field.name],
        )
    return text


def _number(field: Field, value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong_type(field, value, field.type)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _wrong_type(field, value, field.type) from None
    if not number.is_finite():
        raise _wrong_type(field, value, field.type)
    if field.type == "int":
        if number != number.to_integral_value() or abs(number) >= 2**31:
            raise _wrong_type(field, value, "int")
        return int(number)
    if field.precision and abs(number) >= Decimal(10) ** (field.precision - field.scale):
        raise SalesforceError(
            400,
            "NUMBER_OUTSIDE_VALID_RANGE",
            f"{field.label}: value outside of valid range on numeric field: {value}",
            [field.name],
        )
    return float(number.quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP))


def _datetime(field: Field, value: str) -> str:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise _wrong_type(field, value, "datetime") from None
    if len(value) <= 10:
        raise _wrong_type(field, value, "datetime")
    return salesforce_time(at.replace(tzinfo=UTC) if at.tzinfo is None else at)


def _reference(field: Field, value: str, tables: Tables) -> str:
    key = full_id(value)
    spec = PREFIXES.get(key[:3]) if key else None
    if key is None or spec is None or spec.name not in field.references:
        raise SalesforceError(
            400, "MALFORMED_ID", f"{field.label}: id value of incorrect type: {value}", [field.name]
        )
    target = tables[f"salesforce.{spec.name}"].get(key)
    if target is None:
        raise SalesforceError(
            400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [field.name]
        )
    if target.get("IsDeleted"):
        raise SalesforceError(400, "ENTITY_IS_DELETED", "entity is deleted", [field.name])
    return key


def _wrong_type(field: Field, value: Any, wanted: str) -> SalesforceError:
    kind = _JSON_KINDS.get(type(value), "VALUE")
    return SalesforceError(
        400,
        "JSON_PARSER_ERROR",
        f"Cannot deserialize instance of {wanted} from {kind} value {value} or request may be "
        f"missing a required field at {field.name}",
        [field.name],
    )
