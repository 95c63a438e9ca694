"""Server keys of several sources that bear one name: what ends one leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cdp_assets.cli import main
from cdp_assets_tests.collector.serving import DEFS, write_defs

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """`cdp keys …`: its code, what it printed, what it complained of."""
    write_defs(tmp_path / "defs", {"a": DEFS, "b": DEFS.replace("publickey1", "publickey2")})
    monkeypatch.setenv("CDP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CDP_DEFS", str(tmp_path / "defs"))

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["keys", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def state(keys: Run) -> list[tuple[str, str]]:
    """(source, good or revoked) of each server key, as listed."""
    lines = [line.split("  ") for line in keys("list")[1].splitlines()]
    return [(line[0], line[4].split()[0]) for line in lines if line[1] == "server"]


def test_a_replaced_key_leaves_those_of_other_sources(keys: Run) -> None:
    for arguments in (["a"], ["b"], ["b", "--replace", "--overlap", "0"]):
        assert keys("create", *arguments)[0] == 0
    assert sorted(state(keys)) == [("a", "good"), ("b", "good"), ("b", "revoked")]


def test_a_name_that_several_sources_have_is_not_revoked_unsaid(keys: Run) -> None:
    for source in ("a", "b"):
        keys("create", source)
    code, _, said = keys("revoke", "default")
    assert code == 2
    assert "a, b" in said
    assert "--source" in said
    assert sorted(state(keys)) == [("a", "good"), ("b", "good")]
    assert keys("revoke", "default", "--source", "b")[0] == 0
    assert sorted(state(keys)) == [("a", "good"), ("b", "revoked")]
    assert keys("revoke", "default", "--source", "b")[0] == 2, "there is none any more"
    assert keys("revoke", "default")[0] == 0, "now it is clear which"
