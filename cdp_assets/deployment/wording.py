"""What a model finds wrong in a defs.yaml, in plain words, once for each place."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from cdp_assets.deployment.yaml_source import A_DAY, KeyPath, Problem, YamlSource
from cdp_assets.profiles.errors import nearest

_SHAPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a map",
    "mapping_type": "a map",
    "model_type": "a map",
}
"""Kind of error → what should stand there instead."""

_WORDS = {
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "string_pattern_mismatch": "expected text of the form {pattern}",
    "union_tag_not_found": (
        "expected a map such as {{prefer: […]}}, {{select: …, from: …}} or {{expr: …}}"
    ),
}


def in_plain_words(
    source: YamlSource, kind: str, model: type[BaseModel], error: ValidationError
) -> list[Problem]:
    """The mistakes of an `attributes`. Where several shapes are allowed, pydantic tells what is
    wrong by each: what is said of a shape that was not meant is left out."""
    shapes: dict[KeyPath, list[str]] = {}
    found: dict[KeyPath, list[Problem]] = {}
    for item in error.errors():
        path = source.nearest(("attributes", *item["loc"]))
        if shape := _SHAPES.get(item["type"]):
            shapes.setdefault(path, []).append(shape)
        else:
            found.setdefault(path, []).append(_problem(source, kind, model, path, item))
    for path, wanted in shapes.items():
        told = {*found, *(other for other in shapes if other != path)}
        if not any(other[: len(path)] == path for other in told):
            *first, last = dict.fromkeys(wanted)
            text = f"expected {', '.join(first)}{' or ' if first else ''}{last}"
            found[path] = [source.problem(path, f"{_name(kind, path)}: {text}")]
    told_once = {str(problem): problem for problems in found.values() for problem in problems}
    return list(told_once.values())


def _name(kind: str, path: KeyPath) -> str:
    return ".".join(str(part) for part in path[1:]) or kind


def _problem(
    source: YamlSource, kind: str, model: type[BaseModel], path: KeyPath, error: Any
) -> Problem:
    name, context = _name(kind, path), error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        near = nearest(str(path[-1]), _options(model, error["loc"][:-1]))
        return source.problem(path, f"{name}: no such option{near}", key=True)
    text = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "missing":
        text = f"`{error['loc'][-1]}` is missing"
    elif error["type"].startswith("date_"):
        text = A_DAY
    elif error["type"] == "too_short":
        count = context["min_length"]
        text = f"needs {count} or more" if context["actual_length"] else "is empty"
    elif error["type"] == "literal_error":
        near = nearest(str(error["input"]), re.findall("'([^']*)'", context["expected"]))
        text = f"expected {context['expected']}{near}"
    elif words := _WORDS.get(error["type"]):
        text = words.format(**context)
    return source.problem(path, f"{name}: {text}")


def _options(model: type[BaseModel], loc: tuple[Any, ...]) -> set[str]:
    """What may be written in the model that `loc` leads to. Names of a map lead nowhere, and the
    tag of a union leads to its member."""
    found = [model]
    for part in loc:
        below = [
            inner
            for one in found
            for name, info in one.model_fields.items()
            if part in (name, info.alias)
            for inner in _models_in(info.annotation)
        ]
        found = below or [one for one in found if part in one.model_fields] or found
    return {info.alias or name for one in found for name, info in one.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
