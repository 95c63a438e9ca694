"""Values in the form in which Zendesk shows them: JSON's own types, null for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from cdp_assets.connectors.base import FieldInfo
from cdp_assets.connectors.crm import as_day, as_milliseconds, as_number, in_form
from cdp_assets.connectors.zendesk.fields import CUSTOM

_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def normalised(info: FieldInfo, value: Any) -> Any:
    """`value` in the form in which Zendesk shows it.

    Raises ValueError, without the value, where it cannot be of the field's type."""
    return in_form(info, value, _converted)


def shown(info: FieldInfo, record: Mapping[str, Any]) -> Any:
    """A field of a record that the account showed, in our form; as it stands where it is not of
    its type."""
    value = _found(info.name, record)
    try:
        return normalised(info, value)
    except ValueError:
        return value


def _found(name: str, record: Mapping[str, Any]) -> Any:
    if name == "channel":
        return (record.get("via") or {}).get("channel")
    if name == "satisfaction":
        return (record.get("satisfaction_rating") or {}).get("score")
    if name == "domain":
        return next(iter(record.get("domain_names") or ()), None)
    if not name.startswith(CUSTOM):
        return record.get(name)
    key = name.removeprefix(CUSTOM)
    for group in ("user_fields", "organization_fields"):
        if key in (record.get(group) or {}):
            return record[group][key]
    for entry in record.get("custom_fields") or ():
        if str(entry.get("id")) == key:
            return entry.get("value")
    return None


def _converted(info: FieldInfo, value: Any) -> Any:
    kind = info.type
    if kind == "boolean":
        return _TRUTHS[str(value).lower()]
    if kind in {"integer", "reference"}:
        number = as_number(value)
        if number != int(number):
            raise ValueError
        return int(number)
    if kind == "decimal":
        number = as_number(value)
        return int(number) if number == int(number) else float(number)
    if kind == "date":
        return as_day(value).isoformat()
    if kind == "datetime":
        return as_milliseconds(value)[:19] + "Z"
    if kind == "multi_enum":
        parts = value if isinstance(value, list | tuple | set) else str(value).split(",")
        texts = {str(p).strip() for p in parts} - {""}
        if info.name == "tags":
            texts = {"_".join(t.lower().split()) for t in texts}
        return sorted(texts) or None
    text = _plain(value)
    return text.lower() if kind == "email" else text


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        at = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return as_milliseconds(at)[:19] + "Z"
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
