"""A defs.yaml as plain values with the line of each, and the mistakes YAML itself lets pass."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]
Place = tuple[int, int]

A_DAY = "expected a day such as 2015-01-31"

_ENV = re.compile(r"\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")

_PLAIN = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "timestamp", "str")
)
_DEEPEST, _MOST = 50, 100_000
"""Levels, and values, that no configuration needs."""
_TOO_DEEP = f"nested more than {_DEEPEST} levels deep"


@dataclass(frozen=True)
class Problem:
    """A mistake in the configuration, at the place where a person can mend it.

    line and column count from 1; a column of 0 marks the line as a whole, a line of 0 the file.
    """

    file: Path
    line: int
    message: str
    column: int = 0

    def __str__(self) -> str:
        return self.short() + self.snippet()

    def short(self) -> str:
        """Place and message in one line."""
        line = f":{self.line}" if self.line else ""
        return f"{shown(self.file)}{line}: {self.message}"

    def snippet(self) -> str:
        """The line with the one before it, and a caret below the place."""
        try:
            lines = self.file.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        if not 0 < self.line <= len(lines):
            return ""
        shown = [
            f"  {number:>4} | {lines[number - 1]}"
            for number in range(max(1, self.line - 1), self.line + 1)
        ]
        if self.column:
            shown.append(" " * (8 + self.column) + "^")
        return "\n" + "\n".join(shown)


def shown(file: Path) -> Path:
    """`file` as people read it: from the working directory, where it lies below it."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


class ConfigurationError(ValueError):
    """The configuration cannot be used; the text lists each mistake with file and line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in problems))

    @classmethod
    def plain(cls, message: str) -> ConfigurationError:
        """A mistake that stands in no file."""
        error = cls([])
        error.args = (message,)
        return error


@dataclass
class YamlSource:
    """One parsed defs.yaml.

    value: the document as plain values; keys and values: key path → (line, column) of the key
    (of the item, in a list) and of its value, from 1.
    """

    file: Path
    value: Any = None
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def nearest(self, path: KeyPath) -> KeyPath:
        """The part of `path` that stands in the file: as much as can be followed, its last part
        before all. What a model puts between (the form of a trait, say) is passed over."""
        found: set[KeyPath] = {()}
        for part in path:
            found |= {(*known, part) for known in found if (*known, part) in self.values}
        # what begins elsewhere (`type` of the file for one of its attributes) is another thing
        begun = [known for known in found if known[:1] == path[:1]] or found
        return max(begun, key=lambda known: (known[-1:] == path[-1:], len(known)))

    def problem(self, path: KeyPath, message: str, *, key: bool = False, into: int = 0) -> Problem:
        """A mistake in the value at `path`, or in the key itself.

        into: how many characters into the value's text it lies.
        """
        found = self.nearest(path)
        at_key, at_value = self.keys.get(found, (1, 1)), self.values.get(found, (1, 1))
        line, column = at_key if key or at_key[0] != at_value[0] else at_value
        return Problem(self.file, line, message, column + into)


class _Unreadable(Exception):
    """Why nothing can be made of a file; carries the Problem to tell."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def read_yaml(file: Path) -> YamlSource:
    """Parse a defs.yaml, refusing duplicate keys, several documents and unquoted booleans in lists.

    `no` in a list is false in YAML 1.1: a country code or a value would be lost in silence.
    Raises nothing: what cannot be read is one of `problems`.
    """
    source = YamlSource(file)
    try:
        node = _document(file)
        source.value = _value(node, (), source)
    except _Unreadable as error:
        source.problems.append(error.problem)
        return source
    if isinstance(source.value, dict) and not isinstance(source.value.get("type", ""), str):
        message = "expected the name of one component, such as cdp_assets.Traits"
        source.problems.append(source.problem(("type",), message))
    return source


def _document(file: Path) -> yaml.Node:
    """The one document of a file. Raises _Unreadable."""
    documents: list[Any] = []
    try:
        text = file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise _Unreadable(Problem(file, line, f"not UTF-8 at byte {error.start}")) from None
    except OSError as error:
        raise _Unreadable(Problem(file, 0, f"cannot be read: {error.strerror}")) from None
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        message = f"not YAML: the control character U+{ord(text[error.position]):04X}"
        raise _Unreadable(Problem(file, len(before), message, len(before[-1]) + 1)) from None
    try:
        while loader.check_node():
            documents.append(loader.get_node())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 0)
        message = f"not YAML: {error.problem or error.context}"
        raise _Unreadable(Problem(file, line, message, column)) from None
    except RecursionError:
        raise _Unreadable(Problem(file, loader.line + 1, _TOO_DEEP)) from None
    finally:
        loader.dispose()
    if not documents:
        raise _Unreadable(Problem(file, 1, "empty: expected `type:` and `attributes:`"))
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        message = (
            "a second document: the folder's name is the thing's name, so each thing has a "
            "folder of its own"
        )
        raise _Unreadable(Problem(file, line, message))
    found: yaml.Node = documents[0]
    return found


def _place(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _value(node: yaml.Node, path: KeyPath, source: YamlSource) -> Any:
    # An alias may name what it stands in, and aliases of aliases may come to billions.
    if len(path) > _DEEPEST or len(source.values) > _MOST:
        message = _TOO_DEEP if len(path) > _DEEPEST else f"more than {_MOST} values"
        raise _Unreadable(source.problem(path[:1], message))
    source.values[path] = _place(node)
    source.keys.setdefault(path, _place(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source)
    if isinstance(node, yaml.SequenceNode):
        values = [_value(child, (*path, i), source) for i, child in enumerate(node.value)]
        for i, child in enumerate(node.value):
            if child.tag == "tag:yaml.org,2002:bool":
                message = f"`{child.value}` in a list is a boolean in YAML: put it in quotes"
                source.problems.append(source.problem((*path, i), message))
        return values
    try:
        if node.tag not in _PLAIN:
            raise ValueError
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.MarkedYAMLError, ValueError, LookupError, AttributeError, OverflowError):
        # The last ones are how PyYAML fails on `!!int ""`, `!!bool x` or `!!timestamp x`.
        day = node.tag == "tag:yaml.org,2002:timestamp"
        wrong = f"`{node.value}`: {A_DAY}" if day else f"cannot be read as {node.tag}"
        source.problems.append(source.problem(path, wrong))
        return None


def _mapping(node: yaml.MappingNode, path: KeyPath, source: YamlSource) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            line, column = _place(key_node)
            source.problems.append(Problem(source.file, line, "a key is one word", column))
            continue
        key = str(key_node.value)
        here = (*path, key)
        line, column = _place(key_node)
        if key in result:
            message = f"`{key}` stands here twice; the first is in line {source.keys[here][0]}"
            source.problems.append(Problem(source.file, line, message, column))
        source.keys[here] = (line, column)
        result[key] = _value(value_node, here, source)
    return result


def fill_env(value: Any, missing: set[str]) -> Any:
    """`value` with each `{{ env.X }}` in its texts replaced from the environment.

    A variable that is not set leaves its text as it is, and its name goes to `missing`: the rest
    of the deployment still loads, and what needs the value says so when it runs.
    """
    if isinstance(value, dict):
        return {key: fill_env(item, missing) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_env(item, missing) for item in value]
    if not isinstance(value, str) or "{{" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None or found == "":
            missing.add(match[1])
            return match[0]
        return found

    return _ENV.sub(replace, value)


def unset_variables(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Each place that names an environment variable which is not set (see `fill_env`)."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from unset_variables(item, (*path, key))
    elif isinstance(value, str):
        missing: set[str] = set()
        fill_env(value, missing)
        yield from ((path, name) for name in _ENV.findall(value) if name in missing)


def stray_templates(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Each text that holds a `{{` which is no `{{ env.NAME }}`: Dagster's templating would render
    it to nothing in silence."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from stray_templates(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from stray_templates(item, (*path, i))
    elif isinstance(value, str) and "{{" in _ENV.sub("", value):
        yield path, value
