"""`dg` and `dagster` on a fresh clone without any environment: clean, and silent about us."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cdp_assets_tests.components.commands import run
from cdp_assets_tests.components.projects import ROOT

KINDS = (
    "Audience", "EventFiles", "Files", "HubSpot", "Identity", "Salesforce", "Sync", "Traits",
    "SugarCRM", "Zendesk", "TrackingPlan", "Features",
)  # fmt: skip
NOISE = re.compile(r"warning|deprecat|superseded", re.IGNORECASE)


def test_check_yaml(tmp_path: Path) -> None:
    done = run(ROOT, tmp_path, "dg", "check", "yaml")
    assert (done.returncode, done.stdout) == (0, "All component YAML validated successfully.\n")
    assert done.stderr == ""


def test_check_defs(tmp_path: Path) -> None:
    done = run(ROOT, tmp_path, "dg", "check", "defs")
    assert done.returncode == 0, done.stderr
    assert "All definitions loaded successfully." in done.stdout
    assert not NOISE.search(done.stdout + done.stderr)


def test_list_defs(tmp_path: Path) -> None:
    done = run(ROOT, tmp_path, "dg", "list", "defs", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    keys = {asset["asset_key"] for asset in listed["assets"]}
    assert {"raw/salesforce/contact", "events", "identity/graph", "profiles/person",
            "audiences/ready_for_sales", "syncs/people_to_salesforce"} <= keys  # fmt: skip
    assert not NOISE.search(done.stderr)


@pytest.mark.slow
def test_list_components(tmp_path: Path) -> None:
    done = run(ROOT, tmp_path, "dg", "list", "components", "--json")
    assert done.returncode == 0, done.stderr
    said = {item["key"]: item["summary"] for item in json.loads(done.stdout)["items"]}
    for name in KINDS:
        assert said[f"cdp_assets.{name}"]


@pytest.mark.slow
def test_validate_workspace(tmp_path: Path) -> None:
    done = run(ROOT, tmp_path, "dagster", "definitions", "validate", "-w", "workspace.yaml")
    assert done.returncode == 0, done.stderr
    assert "Validation successful for code location cdp" in done.stderr + done.stdout
    ours = [line for line in done.stderr.splitlines() if "cdp_assets" in line]
    assert not any(NOISE.search(line) for line in ours)


@pytest.mark.slow
def test_launch(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "dagster").mkdir(parents=True)
    done = run(
        ROOT, tmp_path, "dg", "launch", "--assets", 'key:"lake/maintenance"',
        CDP_HOME=str(home), DAGSTER_HOME=str(home / "dagster"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "RUN_SUCCESS" in done.stderr + done.stdout


def test_nothing_was_written_into_the_checkout() -> None:
    """The commands above ran here."""
    assert not list(ROOT.glob(".tmp_dagster_home_*"))
    assert not (ROOT / "cdp_assets" / "defs" / ".local_defs_state").exists()
