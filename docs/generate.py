"""Write docs/components.md and docs/settings.md from the models that the code itself checks."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cdp_assets.deployment.declarations import KINDS
from cdp_assets.settings import Settings

HERE = Path(__file__).parent
MARK = "<!-- Written by `make docs` from the code: change the code, not this page. -->"


def components() -> str:
    """The options of every component, in Markdown."""
    lines = ["# Components and their options", MARK, ""]
    for kind, model in KINDS.items():
        lines += [f"## cdp_assets.{kind}", (model.__doc__ or "").strip(), ""]
        lines += _table(model)
        for nested in _nested(model, set()):
            lines += [f"### {nested.__name__}", (nested.__doc__ or "").strip(), ""]
            lines += _table(nested)
    return "\n".join(lines) + "\n"


def settings() -> str:
    """Every setting, in Markdown."""
    lines = [
        "# Settings",
        MARK,
        "",
        "Environment variables; `$CDP_HOME/env` may hold them too.",
        "",
    ]
    lines += ["| variable | default | what it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "~/.local/share/cdp" if name == "home" else _default(field)
        lines.append(f"| `CDP_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _table(model: type[BaseModel]) -> list[str]:
    lines = ["| option | type | default | what it says |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        label = field.alias or name
        kind = _type(field.annotation).replace("|", "or")
        lines.append(f"| `{label}` | {kind} | {_default(field)} | {field.description or ''} |")
    return [*lines, ""]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None or value in ({}, [], ()):
        return ""
    if isinstance(value, timedelta):
        return f"`{_span(value)}`"
    return f"`{value}`"


def _span(value: timedelta) -> str:
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if value.total_seconds() % seconds == 0:
            return f"{int(value.total_seconds() // seconds)}{unit}"
    return f"{int(value.total_seconds())}s"


WORDS = {
    "str": "text", "int": "number", "float": "share or number", "bool": "yes or no",
    "timedelta": "duration", "SecretStr": "text (secret)", "dict": "map", "Mapping": "map",
    "tuple": "list", "Path": "folder",
}  # fmt: skip


def _type(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _type(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type(a) for a in typing.get_args(annotation) if a is not type(None))
    if origin is typing.Literal:
        return " | ".join(f"`{a}`" for a in typing.get_args(annotation))
    if origin is not None:
        inside = [_type(a) for a in typing.get_args(annotation) if a is not Ellipsis]
        name = WORDS.get(origin.__name__, origin.__name__)
        return f"{name} of {' → '.join(inside)}"
    name = getattr(annotation, "__name__", str(annotation))
    return WORDS.get(name, name)


def _nested(model: type[BaseModel], seen: set[type]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        for found in _models(field.annotation):
            if found not in seen:
                seen.add(found)
                yield found
                yield from _nested(found, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)


PAGES = {"components.md": components, "settings.md": settings}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (HERE / name).write_text(write(), "utf-8")
