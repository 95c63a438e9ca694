"""Values as identifiers: one spelling a value, and none for what identifies nobody.

Row-local work on whole columns; what needs a library is asked once a distinct value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
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

_AMERICAN = r"[\s.\-]*\(?([2-9][0-8][0-9])\)?[\s.\-]*([2-9][0-9]{2})[\s.\-]*([0-9]{4})$"
_NANP = r"^(?:\+?1)?" + _AMERICAN
_NANP_ABROAD = r"^\+1" + _AMERICAN
_WORLD = r"^\+[2-9](?:[\s.\-/()]*[0-9]){6,14}$"
_TRUNK_ZERO = r"^\+[0-9]{1,3}[\s.\-/(]*0"
_WHOLE = r"^([0-9]+)\.0+$"
_MADE_UP = "|".join(f"{digit}{{9}}" for digit in range(10))
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
    plain = values.str.strip_chars()
    frame = pl.DataFrame({"plain": plain, "spelt": _KINDS.get(kind, _text)(plain, region)})
    good = _names_somebody(pl.col("plain")) & _identifies(pl.col("spelt"), kind, block)
    return frame.select(pl.when(good).then(pl.col("spelt"))).to_series().alias(values.name)


def _text(values: pl.Series, region: str | None) -> pl.Series:
    return values


def _user_id(values: pl.Series, region: str | None) -> pl.Series:
    """42, "42" and 42.0 are one id."""
    return values.str.replace(_WHOLE, "$1")


def _email(values: pl.Series, region: str | None) -> pl.Series:
    folded = values.str.strip_prefix("mailto:").str.to_lowercase()
    plain = folded.str.contains(_EMAIL) & ~folded.str.contains(r"\.\.|\.@|^\.")
    odd = ~plain & folded.str.contains("@") & folded.str.contains(r"[^\x00-\x7f]")
    return folded.zip_with(plain, _asked(folded, odd, _validated))


def _asked(values: pl.Series, where: pl.Series, ask: Callable[[str], str | None]) -> pl.Series:
    """What `ask` says of each value, asked once a distinct one; null elsewhere."""
    asked = values.filter(where.fill_null(value=False)).unique()
    answers = {text: ask(text) for text in asked.to_list()}
    return values.replace_strict(answers, default=None, return_dtype=pl.String)


def _validated(text: str) -> str | None:
    """Addresses beyond ASCII, in their one spelling."""
    try:
        return validate_email(text, check_deliverability=False).normalized.lower()
    except EmailNotValidError:
        return None


def _phone(values: pl.Series, region: str | None) -> pl.Series:
    american = region in ("US", "CA")
    known = values.str.contains(_NANP) if american else values.str.contains(_NANP_ABROAD)
    world = ~known & values.str.contains(_WORLD) & ~values.str.contains(_TRUNK_ZERO)
    spelt = values.str.replace(_NANP, "+1$1$2$3").zip_with(
        known, "+" + values.str.replace_all(r"[^0-9]", "")
    )
    rest = _asked(values, ~(known | world), lambda text: _parsed(text, region))
    return spelt.zip_with(known | world, rest)


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


def as_sent(kind: str) -> bool:
    """Whether values of this type are nearly always sent as they are spelt: ids."""
    return kind == "user_id" or kind not in _KINDS


def spelling(values: pl.Expr, kind: str, region: str | None) -> pl.Expr:
    """What `normalise` makes of a column; of what identifies nobody, null or a text that no
    identifier is spelt as. Of ids (`as_sent`) by expressions alone, for very many rows."""
    if as_sent(kind):
        plain = values.str.strip_chars()
        return plain.str.replace(_WHOLE, "$1") if kind == "user_id" else plain
    spell = partial(normalise, kind=kind, region=region)
    return values.map_batches(spell, return_dtype=pl.String(), is_elementwise=True)


def _names_somebody(plain: pl.Expr) -> pl.Expr:
    return ~plain.str.to_lowercase().is_in(NULLISH) & ~plain.str.contains(r"^[0\-\s_.]*$")


def _identifies(value: pl.Expr, kind: str, block: Sequence[str]) -> pl.Expr:
    folded = value.str.to_lowercase()
    good = value.str.len_bytes() <= MAX_LENGTH
    if kind == "phone":
        good &= ~value.str.contains(_MADE_UP)
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
