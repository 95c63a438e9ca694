"""Values in one form, whatever way SugarCRM shows them: numbers come as texts, nothing as an empty
text, times in the zone of the user who asks, flags as "0" and "1"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from cdp_assets.connectors.base import FieldInfo
from cdp_assets.connectors.crm import as_day, as_milliseconds, as_number, in_form
from cdp_assets.connectors.sugarcrm.fields import EMAIL, OPT_OUT, PARENT

_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
Address = Mapping[str, Any]


def normalised(info: FieldInfo, value: Any) -> Any:
    """`value` in our form. Raises ValueError, without the value, where it cannot be of the field's
    type."""
    return in_form(info, value, _converted)


def shown(info: FieldInfo, record: Mapping[str, Any]) -> Any:
    """A field of a record that the instance showed, in our form; as it stands where it is not of
    its type."""
    value = record.get(info.name)
    addresses = record.get("email")
    if isinstance(addresses, list) and info.name in (EMAIL, OPT_OUT, "invalid_email"):
        value = from_addresses(addresses)[info.name]
    elif info.name == f"{PARENT}{record.get('parent_type')}":
        value = record.get("parent_id")
    try:
        return normalised(info, value)
    except ValueError:
        return value


def from_addresses(addresses: Sequence[Address]) -> dict[str, Any]:
    """What a list of addresses says of the record: its first address, and that one's flags."""
    main = primary(addresses)
    return {
        EMAIL: main.get("email_address") if main else None,
        OPT_OUT: flag(main, "opt_out"),
        "invalid_email": flag(main, "invalid_email"),
    }


def primary(addresses: Sequence[Address]) -> Address | None:
    """The address that is marked as the first one; without a mark, the first."""
    marked = [a for a in addresses if flag(a, "primary_address")]
    return next(iter([*marked, *addresses]), None)


def flag(address: Address | None, name: str) -> bool:
    """A flag of an address: true, 1 or "1"; "0" is no."""
    return _TRUTHS.get(str((address or {}).get(name)).lower(), False)


def with_main(addresses: Sequence[Address], changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A list of addresses with another first one, or with the first one's mark changed. SugarCRM
    drops what a written list leaves out, so all others stay in it.

    changes: `email1` and `email_opt_out`, those that are to change. Who has opted out stays so with
    a new address, and where nothing is known: only a `False` that is told takes it back.
    """
    kept = [dict(a) for a in addresses]
    main = primary(kept)
    if EMAIL in changes:
        wanted = changes[EMAIL]
        if wanted is None:
            kept = [a for a in kept if a is not main]
            main = next(iter(kept), None)
        else:
            same = [a for a in kept if str(a.get("email_address")).lower() == wanted.lower()]
            main = same[0] if same else {"email_address": wanted}
            if not same:
                out = {"opt_out": True} if flag(primary(kept), "opt_out") else {}
                kept.append(main | out)
                main = kept[-1]
    for address in kept:
        address["primary_address"] = address is main
        for name in ("invalid_email", "opt_out"):
            if name in address:
                address[name] = flag(address, name)
    if changes.get(OPT_OUT) is not None and isinstance(main, dict):
        main["opt_out"] = bool(changes[OPT_OUT])
    return kept


def _converted(info: FieldInfo, value: Any) -> Any:
    kind = info.type
    if kind == "boolean":
        return _TRUTHS[str(value).lower()]
    if kind == "integer":
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
        return as_milliseconds(value)[:19] + "+00:00"
    if kind == "multi_enum":
        parts = value if isinstance(value, list | tuple | set) else str(value).split(",")
        return sorted({str(p).strip().strip("^") for p in parts} - {""}) or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return as_milliseconds(value)[:19] + "+00:00"
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    return text.lower() if kind == "email" else text
