"""A home and a project of their own for each test."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import Project, project

OUTSIDE = (
    "SALESFORCE_URL", "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET", "HUBSPOT_URL",
    "HUBSPOT_TOKEN", "EVENTS_DIR", "CDP_START", "CDP_NOW", "CDP_DEFS", "CDP_STORE_URL",
    "DAGSTER_HOME",
)  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty home, with no variable of an outside system set."""
    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CDP_HOME", str(tmp_path / "home"))
    return Settings()


@pytest.fixture
def company(tmp_path: Path, settings: Settings) -> Project:
    """A project with a copy of the repository's defs/, to make mistakes in."""
    return project(tmp_path / "company", name=f"company_{uuid4().hex[:8]}")
