"""From a profile's columns to what each field of the destination should hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
import polars as pl

from cdp_assets.connectors.base import Destination, FieldInfo, ObjectInfo
from cdp_assets.syncs.config import FieldConfig, SyncConfig
from cdp_assets.syncs.text import as_text, text

_TEXTS = frozenset({"string", "text", "email", "phone", "url"})
KEY = "key"
MATCH = "match"


def value(field: str) -> str:
    """Column of a field's wanted value, in its own type."""
    return f"value_{field}"


def want(field: str) -> str:
    """Column of a field's wanted value as text."""
    return f"want_{field}"


class FieldError(Exception):
    """A value that the destination's field cannot hold. The text never holds the value."""


def wanted(profiles: pl.LazyFrame, config: SyncConfig) -> pl.LazyFrame:
    """What each profile's record should hold.

    profiles: profile_id Int64 and every column of `config.columns` in its own type.

    Returns profile_id, `value_<field>` in the value's type and `want_<field>` String for each
    field (empty where a null is to empty the field: no value's own text is), and `key`, `match`
    String: null where the profile has no such value or no such rule. Literals and templates stand
    in the same columns; a template with a null in it is null.
    """
    schema = profiles.collect_schema()
    values = {value(n): _expression(f, schema) for n, f in config.fields.items()}
    typed = profiles.with_columns(**values).select(
        "profile_id", *values, *_rule(config, KEY), *_rule(config, MATCH)
    )
    found = typed.collect_schema()
    return typed.with_columns(
        **{want(n): _want(n, f, found) for n, f in config.fields.items()},
        **{n: as_text(pl.col(n), found[n]) for n in (KEY, MATCH)},
    )


def _want(name: str, field: FieldConfig, schema: pl.Schema) -> pl.Expr:
    said = as_text(pl.col(value(name)), schema[value(name)])
    return said.fill_null("") if field.when_null == "clear" else said


def _rule(config: SyncConfig, name: str) -> tuple[pl.Expr]:
    rule = config.key_rule if name == KEY else config.match_rule
    column = pl.col(rule[1]) if rule else pl.lit(None, dtype=pl.String)
    return (column.alias(name),)


def _sha256(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()


def _expression(field: FieldConfig, schema: pl.Schema) -> pl.Expr:
    if field.stamp is not None:
        # It is known when the row is sent; till then it says nothing.
        return pl.lit(None, dtype=pl.String)
    if field.hash_ is not None:
        plain = _plain(field, schema)
        said = as_text(plain, schema[field.trait]) if field.trait else plain
        return said.map_elements(_sha256, return_dtype=pl.String)
    return _plain(field, schema)


def _plain(field: FieldConfig, schema: pl.Schema) -> pl.Expr:
    if (named := field.trait or field.owner) is not None:
        return pl.col(named)
    if field.template is None:
        return pl.lit(field.value)
    parts: list[pl.Expr] = []
    rest = field.template
    for name in field.columns:
        before, _, rest = rest.partition("{" + name + "}")
        parts += [pl.lit(before), as_text(pl.col(name), schema[name])]
    return pl.concat_str([*parts, pl.lit(rest)], ignore_nulls=False)


def as_told(
    destination: Destination,
    info: ObjectInfo | None,
    object_name: str,
    field: str,
    wish: Any,
    *,
    cut: bool = False,
) -> tuple[Any, str | None]:
    """A wanted value as it is sent, and as text of what the destination will then show. cut: of a
    text that is too long its beginning is sent.

    Raises FieldError where the field cannot hold it: wrong type, too long, no such option.
    """
    try:
        sent = destination.normalise(object_name, field, wish)
    except ValueError:
        raise FieldError(f"{field}: the value is not of the field's type") from None
    found = info.fields.get(field) if info else None
    if found is not None:
        if cut and isinstance(sent, str) and found.length and found.type in _TEXTS:
            sent = _beginning(sent, found.length)
        _fits(found, sent)
    return sent, text(sent)


def _units(said: str) -> int:
    """Length in UTF-16 units, the stricter of the two ways in which systems count."""
    return len(said.encode("utf-16-le", "surrogatepass")) // 2


def _beginning(said: str, length: int) -> str:
    while _units(said) > length:
        said = said[: len(said) - max(1, (_units(said) - length) // 2)]
    return said.rstrip()


def _fits(info: FieldInfo, sent: Any) -> None:
    long = info.length if info.type in _TEXTS else None
    listed = info.options and info.type in ("enum", "multi_enum")
    said = text(sent) if long or listed else None
    if said is None:
        return
    if long and _units(said) > long:
        raise FieldError(f"{info.name}: the value is longer than {long} characters")
    if listed:
        many = sent if isinstance(sent, list | tuple | set) else said.split(";")
        parts = [str(part) for part in many] if info.type == "multi_enum" else [said]
        if not set(parts) <= set(info.options):
            raise FieldError(f"{info.name}: the value is none of the field's options")


def present(destination: Destination, object_name: str, field: str, shown: Any) -> str | None:
    """Text of a value that the destination shows, in the spelling of `as_told`."""
    try:
        return text(destination.normalise(object_name, field, shown))
    except ValueError:
        return text(shown)


def digest(config: str, op: str, fields: Mapping[str, str | None]) -> str:
    """A hash of what is asked of one row under a configuration; tells no value."""
    said = msgspec.json.encode([config, op, sorted(fields.items())])
    return hashlib.sha256(said).hexdigest()
