"""Cases that a transformation is tried with: what goes in, what has to come out, and what differs.

They stand beside it in `fixtures.yaml` or `fixtures.json`, or in files `fixtures/*.json`: one case
or a list of them, each with `in` and one of `out` (an event, a list of them, or null where the line
is dropped) and `fails: true`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from cdp_assets.events.transform import LineFailed, Transform

_ABSENT = object()


@dataclass(frozen=True)
class Case:
    """One case. where: its file and what it is called or its number. out: what has to come out, a
    list always. fails: whether the transformation has to refuse it."""

    where: str
    event: dict[str, Any]
    out: list[Any]
    fails: bool = False


def read_cases(folder: Path) -> list[Case]:
    """The cases in a definition's folder. Raises ValueError where a file of them cannot be read."""
    files = [folder / "fixtures.yaml", folder / "fixtures.json"]
    files += sorted((folder / "fixtures").glob("*.json"))
    return [case for file in files if file.is_file() for case in _cases(file, folder)]


def _cases(file: Path, folder: Path) -> Iterator[Case]:
    name = str(file.relative_to(folder))
    try:
        text = file.read_text("utf-8")
        found = _yaml(text) if file.suffix == ".yaml" else json.loads(text)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{name} cannot be read ({type(error).__name__})") from error
    except yaml.MarkedYAMLError as error:
        at = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{name}{at}: {error.problem}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}:{error.lineno}: {error.msg}") from error
    for place, case in enumerate(found if isinstance(found, list) else [found], start=1):
        here = f"{name} case {place}"
        if not isinstance(case, dict) or not isinstance(case.get("in"), dict):
            raise ValueError(f"{here}: expected `in:` with an event")
        if extra := sorted(str(key) for key in case.keys() - {"name", "in", "out", "fails"}):
            raise ValueError(f"{here}: knows no `{extra[0]}`; there are name, in, out, fails")
        fails = case.get("fails") is True
        if fails == ("out" in case):
            raise ValueError(f"{here}: give either `out:` or `fails: true`")
        out = case.get("out")
        made = out if isinstance(out, list) else [] if out is None else [out]
        yield Case(
            f"{here} ({case['name']})" if case.get("name") else here, case["in"], made, fails
        )


class _Loader(yaml.SafeLoader):
    """YAML whose times stay text, as they are in JSON."""


_Loader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in rules if not tag.endswith(":timestamp")]
    for sign, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader that leaves times as text


def differences(transform: Transform, case: Case) -> list[str]:
    """How what comes out differs from what the case says; nothing where it does not."""
    try:
        made = transform.run(msgspec.json.encode(case.event))
        came = [_plain(part) for part in made]
    except LineFailed as error:
        return [] if case.fails else [str(error)]
    if case.fails:
        return [f"it has to fail, and made {len(came)} events"]
    if len(came) != len(case.out):
        return [f"expected {len(case.out)} events, came {len(came)}"]
    found = []
    for place, (want, have) in enumerate(zip(case.out, came, strict=True), start=1):
        path = f"event {place}: " if len(came) > 1 else ""
        found += [f"{path}{said}" for said in _unlike(want, have, "")]
    return found


def _plain(part: Any) -> Any:
    if isinstance(part, bytes):
        return json.loads(part)
    return json.loads(msgspec.json.encode(part, enc_hook=str))


def _unlike(want: Any, have: Any, path: str) -> Iterator[str]:
    if isinstance(want, dict) and isinstance(have, dict):
        for name in dict.fromkeys([*want, *have]):
            inner = f"{path}.{name}" if path else str(name)
            yield from _unlike(want.get(name, _ABSENT), have.get(name, _ABSENT), inner)
    elif want != have or {type(want), type(have)} == {bool, int}:
        yield f"{path or 'event'}: expected {_shown(want)}, came {_shown(have)}"


def _shown(value: Any) -> str:
    return "nothing" if value is _ABSENT else json.dumps(value, ensure_ascii=False)
