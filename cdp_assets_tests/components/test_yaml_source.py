"""Whatever a defs.yaml holds is a mistake with its file and line, never a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.deployment.declarations import declare
from cdp_assets.deployment.yaml_source import Problem

LAUGHS = "type: cdp_assets.Sync\nattributes:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"  {name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
HOSTILE = {
    "a control character": (b"type: cdp_assets.Traits\nattributes: {a: x\x07}\n", 2, "U+0007"),
    "a list that holds itself": (b"type: cdp_assets.Traits\na: &a [*a]\n", 2, "50 levels"),
    "a map that holds itself": (b"type: cdp_assets.Traits\na: &a {b: *a}\n", 2, "50 levels"),
    "deep nesting": (b"type: cdp_assets.Traits\na: " + b"[" * 60 + b"]" * 60, 2, "50 levels"),
    "endless nesting": (b"type: cdp_assets.Traits\na: " + b"[" * 9000, 2, "50 levels"),
    "aliases of aliases": (LAUGHS.encode(), 2, "more than 100000 values"),
    "another encoding": (b"type: cdp_assets.Traits\na: caf\xe9\n", 2, "not UTF-8"),
    "two documents": (b"type: cdp_assets.Traits\n---\ntype: cdp_assets.Traits\n", 3, "a second"),
    "an anchor of nothing": (b"type: cdp_assets.Traits\na: *b\n", 2, "undefined alias"),
    "a key that is a list": (b"type: cdp_assets.Traits\n? [a]\n: b\n", 2, "a key is one word"),
    "an empty number": (b'type: cdp_assets.Traits\na: !!int ""\n', 2, "2002:int"),
    "a truth that is none": (b"type: cdp_assets.Traits\na: !!bool x\n", 2, "2002:bool"),
    "a day that is none": (b"type: cdp_assets.Traits\na: !!timestamp x\n", 2, "expected a day"),
    "a list that is none": (b"type: cdp_assets.Traits\na: !!seq x\n", 2, "2002:seq"),
    "a Python object": (b"type: cdp_assets.Traits\na: !!python/name:os.system x\n", 2, "python"),
    "several types": (b"\ntype: [cdp_assets.Traits]\n", 2, "expected the name of one component"),
    "a type that is a map": (b"type: {a: b}\n", 1, "expected the name of one component"),
    "no type": (b"type:\n", 1, "expected the name of one component"),
    "nothing": (b"", 1, "empty"),
    "a word": (b"hello", 1, "expected `type:`"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_cannot_be_read_is_one_message(case: str, tmp_path: Path) -> None:
    content, line, message = HOSTILE[case]
    file = tmp_path / "defs.yaml"
    file.write_bytes(content)
    found = declare(file)
    assert isinstance(found, list)
    (problem,) = found
    assert message in problem.message
    assert (problem.line, problem.file) == (line, file)
    assert str(problem)


def test_a_folder_where_a_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "defs.yaml").mkdir()
    found = declare(tmp_path / "defs.yaml")
    assert isinstance(found, list)
    assert [str(p).partition("defs.yaml: ")[2] for p in found] == ["cannot be read: Is a directory"]


def test_an_alias_is_read(tmp_path: Path) -> None:
    file = tmp_path / "defs.yaml"
    file.write_text("type: cdp_assets.EventFiles\nattributes: {path: &p a/*.jsonl, purpose: *p}\n")
    assert not isinstance(declare(file), list)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_bytes_crash_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "defs.yaml"
    file.write_bytes(content)
    found = declare(file)
    assert isinstance(found, list)
    assert all(isinstance(problem, Problem) for problem in found)
