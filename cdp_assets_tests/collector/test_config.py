"""What `cdp check` says of event sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_assets import cli
from cdp_assets.collector.snippet import tag
from cdp_assets_tests.collector.serving import write_defs

SOURCE = "type: cdp_assets.EventSource\nattributes: {{write_key: {}}}\n"


@pytest.fixture
def check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> object:
    def run(**keys: str) -> tuple[int, str]:
        defs = write_defs(tmp_path / "defs", {n: SOURCE.format(k) for n, k in keys.items()})
        monkeypatch.setenv("CDP_DEFS", str(defs))
        monkeypatch.setenv("CDP_HOME", str(tmp_path / "home"))
        code = cli.main(["check"])
        return code, capsys.readouterr().err

    return run


def test_a_key_of_two_sources_is_a_mistake(check) -> None:  # type: ignore[no-untyped-def]
    code, said = check(web="one-key-1", app="another-1", shop="one-key-1")
    assert code == 2
    assert "web/defs.yaml:2" in said
    assert "write_key is that of `shop` too" in said


@pytest.mark.parametrize("key", ["short", "'a:b-cdefgh'", "'with a blank'", "x" * 129])
def test_what_a_key_is_made_of(check, key: str) -> None:  # type: ignore[no-untyped-def]
    code, said = check(web=key)
    assert code == 2
    assert "8 to 128 letters, digits and signs" in said


def test_a_key_that_waits_for_its_variable_is_told_so(check) -> None:  # type: ignore[no-untyped-def]
    code, said = check(web='"{{ env.NOT_SET }}"')
    assert code == 1
    assert "the environment variable NOT_SET is not set" in said


def test_a_snippets_host_needs_its_scheme() -> None:
    with pytest.raises(ValueError, match="scheme and host"):
        tag("one-key-1", "events.example.com")
