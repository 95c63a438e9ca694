"""Text of outside systems made fit for an error message: no secret, no value of a record."""

from __future__ import annotations

import re
from collections.abc import Iterable

EXCERPT = 200

_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # A quoted text, an address, a link, and what follows "value:" are what vendors echo.
    (re.compile(r"(?i)\b(bearer|basic|token|secret|password|key)\b[\s:=]+\S+"), r"\1 …"),
    (re.compile(r"https?://\S+"), "…"),
    (re.compile(r"\S+@\S+"), "…"),
    (re.compile(r"(?is)\b((?:bad |invalid )?value[^:\"]{0,60}|too large|is not valid|invalid"
                r"|existing id|already has that value|not one of[^:]{0,40})\s*[:=].*"), r"\1: …"),
    (re.compile(r'"[^"]*"|“[^”]*”|`[^`]*`'), "…"),
    (re.compile(r"(?<!\w)'[^']*'(?!\w)"), "…"),
    (re.compile(r"\b(?!\w+__[a-z]\b)(?=\w*\d)\w{6,}\b|\b(?![A-Z_]+\b)\w{25,}\b"), "…"),
    (re.compile(r"\+?\d[\d ().\-/]{3,}\d"), "…"),
)  # fmt: skip


def redact(text: str, values: Iterable[object] = ()) -> str:
    """`text` without tags, quoted texts, addresses, numbers, tokens and any of `values`,
    at most 200 characters.

    values: what the request sent (fields of a row, credentials); each occurrence goes, whatever
    its case. Values of fewer than two characters are left, being parts of words.
    """
    # Values go first: a rule may cut one in two and leave half of it standing.
    for value in sorted((str(v) for v in values if v is not None), key=len, reverse=True):
        if len(value) >= 2:
            text = re.sub(re.escape(value), "…", text, flags=re.IGNORECASE)
    text = _TAGS.sub(" ", text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def redact_path(path: str) -> str:
    """A request's path without query string, and with the ids of records as `…`."""
    parts = path.split("?", 1)[0].split("/")
    return "/".join(
        "…" if re.fullmatch(r"\d+|(?=.*\d)\w{15,}(-\d+)?|.*@.*|.*%.*", p) else p for p in parts
    )
