"""Salesforce record ids: 15 characters in which case matters, and 3 that make case redundant."""

from __future__ import annotations

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHECK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def make_id(prefix: str, number: int) -> str:
    """The 18-character id of record `number` of the object with this key prefix."""
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return with_checksum(f"{prefix}5g00000{digits:0>5}")


def with_checksum(short: str) -> str:
    """The 18-character form of a 15-character id."""
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << i for i, c in enumerate(short[start : start + 5]) if c.isupper())
        suffix += _CHECK[bits]
    return short + suffix


def full_id(text: str) -> str | None:
    """`text` as an 18-character id; None where it is no id at all."""
    if len(text) == 15 and text.isalnum():
        return with_checksum(text)
    if len(text) == 18 and text.isalnum():
        # the suffix restores the case of an id that lost it on the way
        bits = [_CHECK.find(c.upper()) for c in text[15:]]
        if min(bits) < 0:
            return None
        short = "".join(
            c.upper() if c.isalpha() and bits[i // 5] >> (i % 5) & 1 else c.lower()
            for i, c in enumerate(text[:15])
        )
        return with_checksum(short)
    return None
