"""A home and a project of their own for each test."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from cdp_assets.connectors.base import FieldInfo
from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import Project, describe, project

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


@pytest.fixture
def described(settings: Settings) -> None:
    """Systems that were described once, with a few of their fields and all their objects."""
    text = {"type": "string"}
    describe(
        settings,
        "salesforce",
        ("Account", "Campaign", "Contact", "Lead", "Opportunity", "Subscription__c", "Task"),
        Contact=[
            FieldInfo(name=name, **text)  # type: ignore[arg-type]
            for name in ("Email", "FirstName", "LastName", "Title", "Revenue_90d__c", "Orders__c",
                         "App_User_Id__c")
        ]
        + [FieldInfo(name="CDP_Id__c", type="string", external_id=True)],
        Account=[FieldInfo(name=name, **text)  # type: ignore[arg-type]
                 for name in ("Name", "Industry", "Website", "Workspace_Id__c")],
    )  # fmt: skip
