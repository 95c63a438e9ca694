"""What is documented is true: pages written from the code, options described, README's words."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from cdp_assets import cli
from cdp_assets.deployment.declarations import KINDS, Declared, declare
from cdp_assets.profiles.expressions import Context, parse
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.operators import BUILT_IN, NAMED
from cdp_assets.settings import Settings

ROOT = Path(__file__).parents[2]


def _generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["components.md", "settings.md"])
def test_page_is_what_the_code_says(page: str) -> None:
    written = (ROOT / "docs" / page).read_text("utf-8")
    assert written == _generator().PAGES[page](), "run `make docs`"


@pytest.mark.parametrize("kind", KINDS)
def test_examples_load(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "thing" / "defs.yaml"
    file.parent.mkdir()
    file.write_text(f"type: cdp_assets.{kind}" + _generator().EXAMPLES[kind])
    found = declare(file)
    assert isinstance(found, Declared), found
    for path, text in _expressions_of(found.config):
        assert parse(text, Context({}, open=True, audiences=frozenset("*"))), path


def _expressions_of(config: BaseModel) -> Iterator[tuple[str, str]]:
    for name, trait in getattr(config, "traits", {}).items():
        if expr := getattr(trait, "expr", None):
            yield name, expr
    if where := getattr(config, "where", None):
        yield "where", where


TRAITS = {
    "email": Kind.STRING, "title": Kind.STRING, "stage": Kind.STRING, "orders": Kind.INTEGER,
    "revenue": Kind.DECIMAL, "active": Kind.BOOLEAN, "last_seen": Kind.TIMESTAMP,
}  # fmt: skip


def test_examples_of_expressions_are_expressions() -> None:
    for name, example, _ in _generator().FUNCTIONS:
        assert parse(example, Context(TRAITS, audiences=frozenset({"competitors"}))), name


def test_every_function_is_documented() -> None:
    forms = " ".join(name for name, _, _ in _generator().FUNCTIONS)
    named = set(re.findall(r"([a-z_]+)\(", forms))
    assert named - {"cast"} == {*NAMED, *BUILT_IN}


def _models() -> dict[str, type[BaseModel]]:
    generator = _generator()
    found = {model.__name__: model for model in KINDS.values()}
    for model in KINDS.values():
        found |= {m.__name__: m for m in generator._nested(model, set())}
    return {**found, "Settings": Settings}


@pytest.mark.parametrize("name", sorted(_models()))
def test_every_option_is_described(name: str) -> None:
    bare = [n for n, f in _models()[name].model_fields.items() if not f.description]
    own = {"Limit"}  # written as text, never as a map
    assert name in own or bare == []


def test_every_command_is_described() -> None:
    commands = cli._parser()._subparsers._group_actions[0]  # type: ignore[union-attr]
    described = {action.dest: action.help for action in commands._choices_actions}  # type: ignore[attr-defined]
    assert set(described) == set(commands.choices)  # type: ignore[arg-type]
    assert all(described.values())


def test_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8") + (ROOT / "docs/operations.md").read_text()
    commands = cli._parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    named = set(re.findall(r"(?:^|[`$ ])cdp ([a-z]+)", text, re.MULTILINE)) - {"is"}
    assert named
    assert named <= set(commands)  # type: ignore[arg-type]
    targets = set(re.findall(r"(?:^|[`0-9] ?)make ([a-z-]+)", text, re.MULTILINE))
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets <= rules


def test_yaml_of_the_readme_is_valid(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    block = next(b for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    parts = [part for part in block.split("\n\n") if part.strip()]
    assert len(parts) == 3
    for i, part in enumerate(parts):
        file = tmp_path / f"thing_{i}" / "defs.yaml"
        file.parent.mkdir()
        file.write_text(part)
        assert yaml.safe_load(part)
        found = declare(file)
        assert isinstance(found, Declared), found


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/design.md"])
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    for target in re.findall(r"\]\(([^)#]+)\)", file.read_text("utf-8")):
        if "://" not in target:
            assert (file.parent / target).exists(), target
