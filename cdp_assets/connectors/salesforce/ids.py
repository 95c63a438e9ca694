"""Salesforce's ids: 15 characters where case matters, or 18 where a checksum keeps the case."""

from __future__ import annotations

import re

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_SHORT = re.compile(r"[A-Za-z0-9]{15}")
_LONG = re.compile(r"[A-Za-z0-9]{18}")


def is_id(text: str) -> bool:
    """Whether a text has the form of an id, short or long."""
    return bool(_SHORT.fullmatch(text) or _LONG.fullmatch(text))


def long_id(record_id: str) -> str:
    """The 18-character form of an id; anything but a 15-character id comes back as it is."""
    if _SHORT.fullmatch(record_id) is None:
        return record_id
    suffix = ""
    for block in (record_id[0:5], record_id[5:10], record_id[10:15]):
        bits = sum(1 << place for place, char in enumerate(block) if char.isupper())
        suffix += _ALPHABET[bits]
    return record_id + suffix
