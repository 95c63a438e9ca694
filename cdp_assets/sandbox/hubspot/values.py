"""Checking property values, and turning them into the text that HubSpot keeps."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from cdp_assets.sandbox.clock import hubspot_time
from cdp_assets.sandbox.hubspot.schema import STAGES, Property

EMAIL = re.compile(r"[^@\s,;<>()\[\]]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_LONGEST = 65_536


class BadValue(Exception):
    """A value that is refused. code: HubSpot's word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def stored(found: Property, value: Any) -> str | None:
    """`value` as kept; None clears."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int | float):
        value = format(Decimal(str(value)), "f")
    if not isinstance(value, str):
        raise BadValue("INVALID_TYPE", f"{found.name} must be text")
    if "\x00" in value or len(value) > _LONGEST:
        raise BadValue("PROPERTY_VALUE_TOO_LONG", f"{found.name} is not a value we can keep")
    if found.name == "email":
        return _email(value)
    if found.type == "number":
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise BadValue("INVALID_INTEGER", f"{value} was not a valid number.") from None
        if not number.is_finite():
            raise BadValue("INVALID_INTEGER", f"{value} was not a valid number.")
        return value.strip()
    if found.type == "date":
        at = moment(value)
        if at is None or at.time().replace(tzinfo=None) != datetime.min.time():
            raise BadValue("INVALID_DATE", f"{value} is at {value} UTC, not midnight!")
        return at.date().isoformat()
    if found.type == "datetime":
        at = moment(value)
        if at is None:
            raise BadValue("INVALID_LONG", f"{value} was not a valid long.")
        return hubspot_time(at)
    if found.type in ("enumeration", "bool") and found.options:
        for part in value.split(";") if found.field_type == "checkbox" else [value]:
            if part not in found.options:
                raise BadValue(
                    "INVALID_OPTION",
                    f"{part} was not one of the allowed options: [{', '.join(found.options)}]",
                )
    return value


def moment(value: str) -> datetime | None:
    """A point in time as HubSpot takes it: ISO 8601 or milliseconds since 1970."""
    try:
        if value.lstrip("-").isdigit():
            return datetime.fromtimestamp(int(value) / 1000, UTC)
        at = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def moves_on(before: str | None, after: str | None) -> bool:
    """Whether a lifecycle stage may be set: forward, or to nothing."""
    if before is None or after is None or before not in STAGES or after not in STAGES:
        return True
    return STAGES.index(after) >= STAGES.index(before)


def _email(value: str) -> str:
    text = value.strip().lower()
    if not EMAIL.fullmatch(text):
        raise BadValue("INVALID_EMAIL", f"Email address {value} is invalid")
    return text
