"""A defs.yaml as plain values with the line of each, and the mistakes YAML itself lets pass."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KeyPath = tuple[str | int, ...]

_ENV = re.compile(r"\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass(frozen=True)
class Problem:
    """A mistake in the configuration, at the place where a person can mend it."""

    file: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class ConfigurationError(ValueError):
    """The configuration cannot be used; the text lists each mistake with file and line."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
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

    value: the document as plain values; lines: key path → line (from 1).
    """

    file: Path
    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: KeyPath) -> int:
        """The line of the value at `path`, or of its nearest known ancestor."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A mistake at the value at `path`."""
        return Problem(self.file, self.line(path), message)


def read_yaml(file: Path) -> YamlSource:
    """Parse a defs.yaml, refusing duplicate keys, several documents and unquoted booleans in lists.

    `no` in a list is false in YAML 1.1: a country code or a value would be lost in silence.
    """
    source = YamlSource(file)
    try:
        text = file.read_text("utf-8")
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except UnicodeDecodeError as error:
        source.problems.append(Problem(file, 1, f"not UTF-8 at byte {error.start}"))
        return source
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        source.problems.append(Problem(file, line, f"not YAML: {error.problem or error.context}"))
        return source
    if len(documents) != 1 or documents[0] is None:
        message = "one document a file: the folder's name is the thing's name"
        source.problems.append(Problem(file, 1, message))
        return source
    source.value = _value(documents[0], (), source)
    return source


def _value(node: yaml.Node, path: KeyPath, source: YamlSource) -> Any:
    source.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source)
    if isinstance(node, yaml.SequenceNode):
        values = [_value(child, (*path, i), source) for i, child in enumerate(node.value)]
        for i, child in enumerate(node.value):
            if child.tag == "tag:yaml.org,2002:bool":
                message = f"`{child.value}` in a list is a boolean in YAML: put it in quotes"
                source.problems.append(source.problem((*path, i), message))
        return values
    constructor = yaml.constructor.SafeConstructor()
    try:
        return constructor.construct_object(node)
    except (yaml.MarkedYAMLError, ValueError):
        source.problems.append(source.problem(path, f"unknown YAML tag {node.tag}"))
        return None


def _mapping(node: yaml.MappingNode, path: KeyPath, source: YamlSource) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        here = (*path, key)
        source.lines[here] = key_node.start_mark.line + 1
        if key in result:
            line = key_node.start_mark.line + 1
            source.problems.append(Problem(source.file, line, f"`{key}` stands here twice"))
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


def unset_variables(value: Any) -> set[str]:
    """Names of the environment variables that `value` still waits for."""
    missing: set[str] = set()
    fill_env(value, missing)
    return missing
