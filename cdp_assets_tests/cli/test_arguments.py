"""Wrong arguments and settings end in one line."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from cdp_assets.cli import main
from cdp_assets.deployment.declarations import find_project
from cdp_assets.settings import Settings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--port", "99999"], "expected a port from 1 to 65535, not '99999'"),
        (["sandbox", "--port", "99999"], "'99999' is no port: 0 to 65535"),
        (["sandbox", "--end", "tomorrow"], "'tomorrow' is no day such as 2026-01-31"),
        (["sandbox", "--now", "noon"], "'noon' is no moment"),
        (["plan", "x", "--limit", "-3"], "expected a number from 0 on, not '-3'"),
        (["explain", "x", "--as-of", "soon"], "expected a day such as 2026-06-30, not 'soon'"),
    ],
)
def test_a_wrong_argument_is_told_in_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("below", [".", "home"])
def test_a_home_that_is_a_file_is_told_by_every_command(
    below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CDP_HOME", str(tmp_path / "file" / below))
    for command in (["demo"], ["tables"], ["check"]):
        assert main(command) == 2
        assert "it has to be a folder" in capsys.readouterr().err


def test_a_day_to_come_is_no_past_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CDP_HOME", str(tmp_path))
    day = date.today() + timedelta(days=30)
    assert main(["explain", "x", "--as-of", day.isoformat()]) == 2
    assert "is yet to come" in capsys.readouterr().err


def test_the_code_location_is_named_as_dg_names_it(tmp_path: Path) -> None:
    project = tmp_path / "my-customers"
    (project / "src" / "people" / "defs").mkdir(parents=True)
    file = project / "pyproject.toml"
    file.write_text('[tool.dg.project]\nroot_module = "people"\n')
    settings = Settings(defs=project / "src" / "people" / "defs")
    assert find_project(settings).location == "my-customers"
    file.write_text('[tool.dg.project]\nroot_module = "people"\ncode_location_name = "cl"\n')
    assert find_project(settings).location == "cl"
