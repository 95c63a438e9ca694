"""The demo: what it refuses before it touches anything, what it says as it goes, run twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from cdp_assets.demo import MARK
from cdp_assets.demo_runs import Progress


def demo(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("CDP_", "DAGSTER_"))}
    command = [sys.executable, "-m", "cdp_assets.cli", "demo", *arguments]
    return subprocess.run(
        command,
        env={**environment, "CDP_HOME": str(home), **more},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CDP_NOW", "2020-01-01T00:00:00Z"), ("CDP_STORE_URL", "postgresql+psycopg://127.0.0.1/x")],
)
def test_what_it_cannot_run_with_is_one_message(tmp_path: Path, variable: str, value: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / MARK).touch()
    kept = home / "store.db"
    kept.write_text("of an earlier demo")
    said = demo(home, **{variable: value})
    assert said.returncode == 2
    assert f"unset {variable}" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert kept.exists(), "nothing is emptied before it is known that the demo can run"


def entry(kind: str, step: str, at: float) -> Any:
    kinds = {"start": dg.DagsterEventType.STEP_START, "end": dg.DagsterEventType.STEP_SUCCESS}
    return SimpleNamespace(dagster_event_type=kinds[kind], step_key=step, timestamp=at)


def test_a_stage_is_told_when_its_last_step_has_ended() -> None:
    told: list[str] = []
    progress = Progress(["pull_a", "pull_b", "ingest_events"], told.append)
    for kind, step, at in (
        ("start", "pull_a", 0.0),
        ("end", "pull_a", 1.0),
        ("start", "ingest_events", 1.0),
        ("end", "ingest_events", 3.5),
    ):
        progress(entry(kind, step, at))
    assert told == ["  ingest 2.5 s"]
    progress(entry("start", "pull_b", 4.0))
    progress(entry("end", "pull_b", 6.0))
    assert told == ["  ingest 2.5 s", "  pull 3.0 s"]


@pytest.mark.slow
def test_a_demo_after_a_demo(tmp_path: Path) -> None:
    figures = []
    for _ in range(2):
        said = demo(tmp_path, "--people", "50")
        assert said.returncode == 0, said.stderr
        for stage in ("pull", "ingest", "records", "identity", "profiles", "audiences", "syncs"):
            assert f"\n  {stage} " in said.stdout
        figures.append(json.loads((tmp_path / "demo.json").read_text()))
        del figures[-1]["stage_seconds"]
    assert figures[0] == figures[1]
    assert figures[1]["third_run_rows_written"] == 0
