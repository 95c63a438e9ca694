"""Values as identifiers: one spelling a value, and none for what identifies nobody.

Row-local work on distinct values: unique → map → join, never row by row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import phonenumbers
import polars as pl
from email_validator import EmailNotValidError, validate_email

VERSION = 1
"""Raised where a normaliser gives another spelling: all links are then made anew."""

MAX_LENGTH = 512
"""Longer values are no identifiers: cut ones would join strangers."""

LISTS = ("free_mail", "role_addresses")

NULLISH = (
    "", "null", "(null)", "undefined", "none", "nil", "nan", "n/a", "na", "unknown", "anonymous",
    "guest", "true", "false", "[object object]", "-1", "not set", "(not set)", "empty",
)  # fmt: skip
"""Folded values that clients send for nobody. Zeros and dashes besides."""

_NANP = r"^(?:\+?1[\s.\-]*)?\(?([2-9][0-8][0-9])\)?[\s.\-]*([2-9][0-9]{2})[\s.\-]*([0-9]{4})$"
_HOST = r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$"
_EMAIL = r"^[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@" + _HOST[1:]


def normalise(
    values: pl.Series, kind: str, *, block: Sequence[str] = (), region: str | None = None
) -> pl.Series:
    """The one spelling of each value; null for what is no identifier of this type.

    values: String. kind: type of identifier; `email`, `phone`, `domain` and `user_id` have
        spellings of their own, of all others white space around them goes.
    block: patterns (`info@*`) and names of LISTS. region: of phone numbers without country code.
    """
    name = values.name or "value"
    known = pl.DataFrame({name: values.unique().drop_nulls()}, schema={name: pl.String})
    if known.is_empty():
        return pl.Series(name, [None] * len(values), dtype=pl.String)
    spelt = known.with_columns(
        spelt=_KINDS.get(kind, _text)(known[name].str.strip_chars(), region)
    ).with_columns(
        pl.when(_identifies(pl.col("spelt"), kind, block)).then(pl.col("spelt")).alias("spelt")
    )
    return (
        values.to_frame(name)
        .join(spelt, on=name, how="left", maintain_order="left")["spelt"]
        .alias(name)
    )


def _text(values: pl.Series, region: str | None) -> pl.Series:
    return values


def _user_id(values: pl.Series, region: str | None) -> pl.Series:
    """42, "42" and 42.0 are one id."""
    return values.str.replace(r"^([0-9]+)\.0+$", "$1")


def _email(values: pl.Series, region: str | None) -> pl.Series:
    folded = values.str.strip_prefix("mailto:").str.to_lowercase()
    plain = folded.str.contains(_EMAIL) & ~folded.str.contains(r"\.\.|\.@|^\.")
    odd = folded.filter(~plain & folded.str.contains("@") & folded.str.contains(r"[^\x00-\x7f]"))
    spelt = {text: _validated(text) for text in odd.to_list()}
    frame = pl.DataFrame({"folded": folded, "plain": plain})
    others = frame["folded"].replace_strict(spelt, default=None, return_dtype=pl.String)
    return frame["folded"].zip_with(frame["plain"], others)


def _validated(text: str) -> str | None:
    """Addresses beyond ASCII, in their one spelling."""
    try:
        return validate_email(text, check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return None


def _phone(values: pl.Series, region: str | None) -> pl.Series:
    regular = values.str.contains(_NANP) if region in ("US", "CA") else values == "\0"
    american = values.str.replace(_NANP, "+1$1$2$3")
    rest = values.filter(~regular).to_list()
    spelt = {text: _parsed(text, region) for text in rest}
    others = values.replace_strict(spelt, default=None, return_dtype=pl.String)
    return american.zip_with(regular, others)


def _parsed(text: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    plain = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # Colleagues share a number and differ by extension.
    return f"{plain};ext={number.extension}" if number.extension else str(plain)


def _domain(values: pl.Series, region: str | None) -> pl.Series:
    """The host of a web address or of an e-mail address, without `www.`."""
    return (
        values.str.to_lowercase()
        .str.replace(r"^[a-z][a-z0-9+.\-]*://", "")
        .str.replace(r"^//", "")
        .str.replace(r"[/?#].*$", "")
        .str.replace(r"^.*@", "")
        .str.replace(r":[0-9]*$", "")
        .str.replace(r"\.$", "")
        .str.replace(r"^www[0-9]?\.", "")
    )


_KINDS = {"email": _email, "phone": _phone, "domain": _domain, "user_id": _user_id}


def _identifies(value: pl.Expr, kind: str, block: Sequence[str]) -> pl.Expr:
    folded = value.str.to_lowercase()
    good = (
        ~folded.is_in(list(NULLISH))
        & ~value.str.contains(r"^[0\-\s_.]*$")
        & (value.str.len_bytes() <= MAX_LENGTH)
    )
    if kind == "domain":
        good &= value.str.contains(_HOST)
    for entry in block:
        if entry in LISTS:
            good &= ~_part(folded, kind, entry).is_in(list(words(entry)))
        else:
            good &= ~folded.str.contains(f"(?s){pattern(entry)}")
    return good


def _part(value: pl.Expr, kind: str, name: str) -> pl.Expr:
    if kind != "email":
        return value
    place = "@" if name == "free_mail" else None
    return value.str.replace(r"^.*@", "") if place else value.str.replace(r"@.*$", "")


@lru_cache(maxsize=256)
def pattern(glob: str) -> str:
    """A pattern with * and ? as a regular expression that the engines share."""
    parts = {"*": ".*", "?": "."}
    return "^" + "".join(parts.get(c) or re.escape(c) for c in glob.lower()) + "$"


@lru_cache(maxsize=8)
def words(name: str) -> tuple[str, ...]:
    """The entries of a list of the package."""
    text = files("cdp_assets.identity").joinpath(f"{name}.txt").read_text("utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip() and line[0] != "#")
