"""Values in the form in which HubSpot shows them: always text, null for nothing."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from cdp_assets.connectors.crm import as_day, as_milliseconds, as_number, in_form
from cdp_assets.connectors.hubspot.client import Property


def normalised(found: Property, value: Any) -> str | None:
    """`value` in the form in which HubSpot shows it.

    Raises ValueError, without the value, where it cannot be of the property's type."""
    return in_form(found, value, _converted)


def shown(found: Property, value: Any) -> str | None:
    """A value that the account showed, in our form; as it stands where it is not of its type."""
    try:
        return normalised(found, value)
    except ValueError:
        return str(value)


def _converted(found: Property, value: Any) -> str | None:
    if found.type == "bool" or found.field_type == "booleancheckbox":
        text = str(value).lower()
        if text not in {"true", "false", "1", "0", "yes", "no"}:
            raise ValueError
        return "true" if text in {"true", "1", "yes"} else "false"
    if found.type == "number":
        number = as_number(value)
        # `normalize` writes 1E+3, and -0 for a negative zero.
        return format(number.normalize(), "f") if number else "0"
    if found.type == "date":
        day = as_day(value)
        return day.isoformat()
    if found.type == "datetime":
        return as_milliseconds(value) + "Z"
    if found.type == "enumeration" and (
        found.field_type == "checkbox" or isinstance(value, list | tuple | set)
    ):
        parts = value if isinstance(value, list | tuple | set) else str(value).split(";")
        order = {o.value: place for place, o in enumerate(found.options)}
        kept = sorted({str(p).strip() for p in parts} - {""}, key=lambda p: (order.get(p, 0), p))
        return ";".join(kept) or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return as_milliseconds(value) + "Z"
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text.lower() if found.name == "email" else text
