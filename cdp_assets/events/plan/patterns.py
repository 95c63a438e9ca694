"""Regular expressions of plans, held against texts that anybody may send.

Python's engine can take minutes over some texts, so that it sees short ones alone; the others go to
polars' engine (Rust's `regex`), whose time grows with the text and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import polars as pl
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

SHORT: Final = 64
"""Characters of a text that Python's engine may see, whatever the pattern."""
MOST: Final = 256
"""As SHORT, for a pattern that only Python's engine reads: a longer text does not match."""
NAME: Final = 200
"""Characters of a property's name that patterns of names see."""
_TRICKY = re.compile(r"--|&&|~~|\[\]|\[\^\]|\[[^\]]*\[")
"""Signs that the two engines read otherwise."""
_TOKENS = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?(?:[:=!>]|<[=!]|P<\w+>))?|\)|[*+?]|\{\d*,?\d*\}|.",
    re.DOTALL,
)


def fault(pattern: str, *, of_names: bool = False) -> str | None:
    """Why a plan may not have this pattern; None where it may. of_names: whether names of
    properties are held against it, which Python's engine does."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"{pattern!r} is no regular expression: {error}"
    if nested(pattern) and (of_names or not linear(pattern)):
        return (
            f"{pattern!r} repeats what repeats itself, which can take minutes over one text; "
            "write it without, or without look-around and references to groups"
        )
    return None


def faults(schema: Any) -> Iterator[str]:
    """`fault` of each pattern in a JSON Schema."""
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name == "pattern" and isinstance(value, str):
                found = [fault(value)]
            elif name == "patternProperties" and isinstance(value, Mapping):
                found = [fault(str(pattern), of_names=True) for pattern in value]
            else:
                found = []
            yield from filter(None, found)
            yield from faults(value)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from faults(part)


@lru_cache(maxsize=1_000)
def nested(pattern: str) -> bool:
    """Whether a group that holds a repetition or a choice is repeated itself."""
    inside, before = [False], False
    for sign in _TOKENS.findall(pattern):
        if sign[0] == "(":
            inside.append(False)
            before = False
        elif sign == ")":
            before = inside.pop() if len(inside) > 1 else False
            inside[-1] |= before
        elif sign in "*+?|" or (sign[0] == "{" and len(sign) > 1):
            if before and sign not in "?|":
                return True
            inside[-1] = True
            before = False
        else:
            before = False
    return False


@lru_cache(maxsize=1_000)
def linear(pattern: str) -> bool:
    """Whether polars' engine reads a pattern, and as Python's does."""
    if _TRICKY.search(pattern):
        return False
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.PolarsError:
        return False
    return True


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern that has no `fault` matches somewhere in a text. `$` is the text's end."""
    plain = not text.endswith("\n")  # before which Python's `$` matches, and no other's
    if len(text) <= SHORT and plain and not nested(pattern):
        return re.search(pattern, text) is not None
    if linear(pattern):
        sound = text.encode(errors="replace").decode()
        return bool(pl.Series([sound]).str.contains(pattern)[0])
    return len(text) <= MOST and re.search(pattern, text) is not None


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    """JSON Schema's `pattern`."""
    del schema
    if validator.is_type(value, "string") and not matches(pattern, value):
        yield ValidationError("does not match")


@lru_cache
def bounded(kind: Any) -> Any:
    """This class of validators, held to what no value can keep busy or break."""
    own: dict[str, Any] = {"pattern": _pattern}
    for name in ("multipleOf", "divisibleBy"):
        if (of_kind := kind.VALIDATORS.get(name)) is not None:
            own[name] = _multiple(of_kind)
    return extend(kind, own)


def _multiple(keyword: Any) -> Any:
    def bounded(*said: Any) -> Iterator[ValidationError]:
        try:
            yield from keyword(*said)
        except OverflowError:  # a whole number that no double holds, divided by one
            yield ValidationError("is too large")

    return bounded


def cut(content: Any) -> Any:
    """The same with its names cut at NAME characters, for patterns that are held against them."""
    if isinstance(content, Mapping):
        return {name[:NAME]: cut(value) for name, value in content.items()}
    return [cut(value) for value in content] if isinstance(content, list) else content
