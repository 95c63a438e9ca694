"""Values of a property that are right beyond doubt, found for a whole column at once. The others
are judged one by one, each text once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

Fine = Callable[[pl.Series], pl.Series]
_SILENT = {"type", "title", "description", "pii", "default", "examples", "$comment"}
_YEARS = r"(19[7-9][0-9]|20[0-9][0-9])"
_DAY = r"-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_CLOCK = r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]0[0-9]:[0-5][0-9])"
_PLAIN_PATTERN = re.compile(r"[A-Za-z0-9_@:/ ^$.\[\]+*?{},()|-]+")
_TRICKY = re.compile(r"\(\?|--|\[\]|\[\^\]|\[[^\]]*\[")
"""Signs that Python and polars (Rust) may read otherwise."""


def fine_values(schema: Any, right: Callable[[str], bool]) -> Fine | None:
    """Which of a column's values (JSON texts, null where absent) surely meet a property's schema;
    None where nothing can be said of a column. right: whether one text does."""
    if not isinstance(schema, Mapping):
        return None
    asked = set(schema) - _SILENT
    types = schema.get("type")
    types = [types] if isinstance(types, str) else list(types or ())
    if asked <= {"enum", "const"} and asked:
        return _one_of([*schema.get("enum", ()), schema.get("const")], right)
    if asked <= {"minimum", "maximum"} and {*types} <= {"integer", "number", "null"} and types:
        return _between(schema, "number" not in types, right)
    if asked <= {"minLength", "maxLength", "pattern", "format"} and {*types} <= {"string", "null"}:
        return _text(schema, right) if types else None
    return None


def _one_of(values: list[Any], right: Callable[[str], bool]) -> Fine:
    texts = {json.dumps(v, ensure_ascii=way) for v in values for way in (False, True)}
    known = pl.Series(sorted(text for text in {*texts, "null"} if right(text)), dtype=pl.String)
    return lambda column: column.is_null() | column.is_in(known.implode()).fill_null(False)


def _between(schema: Mapping[str, Any], whole: bool, right: Callable[[str], bool]) -> Fine:
    least, most = schema.get("minimum", -1e15), schema.get("maximum", 1e15)
    form = r"^-?[0-9]{1,15}$" if whole else r"^-?[0-9]{1,9}(\.[0-9]{1,6})?$"
    null = right("null")

    def fine(column: pl.Series) -> pl.Series:
        regular = column.str.contains(form).fill_null(False)
        number = column.set(~regular, None).cast(pl.Float64)
        inside: pl.Series = ((number >= least) & (number <= most)).fill_null(False)
        return inside | _nothing(column, null)

    return fine


def _text(schema: Mapping[str, Any], right: Callable[[str], bool]) -> Fine | None:
    patterns = [r'^"[^\\]*"$']
    if (form := schema.get("format")) is not None:
        if form not in ("date", "date-time"):
            return None
        patterns.append(f'^"{_YEARS}{_DAY}{_CLOCK if form == "date-time" else ""}"$')
    inner = schema.get("pattern")
    if inner is not None and (not _PLAIN_PATTERN.fullmatch(inner) or _TRICKY.search(inner)):
        return None
    least, most = schema.get("minLength", 0), schema.get("maxLength", 1 << 40)
    null = right("null")

    def fine(column: pl.Series) -> pl.Series:
        good: pl.Series = pl.repeat(True, len(column), dtype=pl.Boolean, eager=True)
        for pattern in patterns:
            good &= column.str.contains(pattern).fill_null(False)
        size = column.str.len_chars().cast(pl.Int64) - 2
        good &= ((size >= least) & (size <= most)).fill_null(False)
        if inner is not None:
            bare = column.str.strip_prefix('"').str.strip_suffix('"')
            good &= bare.str.contains(inner, strict=False).fill_null(False)
        return good | _nothing(column, null)

    return fine


def _nothing(column: pl.Series, null: bool) -> pl.Series:
    """Values that are absent, or null where that is right."""
    said = column.set(column == "null", None) if null else column
    return said.is_null()
