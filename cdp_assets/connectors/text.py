"""Values as text: one spelling each, so that wanted, told and present values can be compared.

What a source shows (`records`), what a sync wants and what it told (`syncs`) are spelt here alone.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

_BLANKS = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's white space, as polars' `strip_chars` has it; Python's `strip` takes four more."""
_MOST_DIGITS = 400
_encode = msgspec.json.Encoder(decimal_format="number").encode


def text(value: Any) -> str | None:
    """A value's canonical text: numbers without exponent and trailing zeros, `true` and `false`,
    moments in UTC with microseconds, lists and objects as compact JSON (numbers in it stay as they
    came); blank text, null and what is no number (NaN, infinite) are None. A moment without zone
    is UTC."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return None if blank(value) else value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(Decimal(repr(value)))
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, date):
        return value.isoformat()
    return _encode(value).decode()


def number(value: Decimal) -> str | None:
    """A number's one spelling: 1500, 1500.0 and 1.5e3 are `1500`; -0 is `0`. One that would take
    hundreds of digits keeps its exponent; None for NaN and the infinite."""
    if not value.is_finite():
        return None
    if abs(value.adjusted()) > _MOST_DIGITS and value:
        return str(value)
    return bare(format(value, "f")) if value else "0"


def bare(spelt: str) -> str:
    """Digits without the zeros that end their fraction: `250.50` is `250.5`, `007` stays."""
    if "." in spelt:
        spelt = spelt.rstrip("0").rstrip(".")
    return "0" if spelt in {"-0", "-", ""} else spelt


def moment(at: datetime) -> str:
    """A moment in UTC, to the microsecond: `2026-01-31T08:00:00.000000Z`."""
    known = at.astimezone(UTC) if at.tzinfo else at
    return known.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def blank(value: str) -> bool:
    """Whether a text holds nothing but white space."""
    return not value.strip(_BLANKS)
