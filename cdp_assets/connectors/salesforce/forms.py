"""Values in the forms that Salesforce shows and that SOQL takes."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, NamedTuple

from cdp_assets.connectors.crm import as_day, as_milliseconds, as_number, in_form
from cdp_assets.connectors.salesforce.client import soql_string
from cdp_assets.connectors.salesforce.describe import SalesforceField
from cdp_assets.connectors.salesforce.ids import is_id, long_id

_NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})


def normalised(field: SalesforceField, value: Any) -> Any:
    """`value` in the form in which Salesforce shows it.

    Raises ValueError, without the value, where it cannot be of the field's type."""
    form = in_form(field, value, _converted)
    # A checkbox has no null.
    return False if form is None and field.type == "boolean" else form


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


class Sought(NamedTuple):
    """A value of a field as two of them are compared, and as SOQL writes it."""

    folded: str
    literal: str


def sought(field: SalesforceField, value: Any) -> Sought | None:
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
        return Sought(plain, plain)
    if field.type in {"id", "reference"}:
        text = long_id(text)
        return Sought(text, soql_string(text)) if is_id(text) else None
    if field.length and len(text) > field.length:
        return None
    return Sought(text if field.case_sensitive else text.casefold(), soql_string(text))


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
