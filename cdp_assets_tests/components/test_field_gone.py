"""A field that identity or a trait names and its CRM has no more: paused, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import polars as pl
import pytest

from cdp_assets.connectors.base import Description, FieldInfo, ObjectInfo
from cdp_assets.deployment.checks import check_deployment
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.notes import notes
from cdp_assets.lake import Lake
from cdp_assets.records.tables import VALUES
from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import Project, project

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def company_of_one(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Project:
    del settings
    mine = project(tmp_path / "one", name=f"one_{uuid4().hex[:8]}", own_defs=False)
    monkeypatch.syspath_prepend(str(mine.root / "src"))
    mine.write(
        "crm",
        "type: cdp_assets.Salesforce\nattributes: {url: https://x.example.com, client_id: a, "
        "client_secret: b, objects: [Contact]}\n",
    )
    mine.write(
        "identity",
        "type: cdp_assets.Identity\nattributes:\n  person:\n    identifiers:\n"
        "      user_id: {from: [crm.Contact.App_User_Id__c]}\n",
    )
    mine.write(
        "person",
        "type: cdp_assets.Traits\nattributes:\n  entity: person\n  traits:\n"
        "    title: {latest: [crm.Contact.Title]}\n",
    )
    return mine


def describe(*fields: str) -> None:
    known = {name: FieldInfo(name=name, type="string") for name in ("Id", "Email", *fields)}
    Description(
        source="crm", system="salesforce", taken_at=NOW,
        objects={"Contact": ObjectInfo(name="Contact", fields=known)},
    ).save(Settings().descriptions)  # fmt: skip


def had(*fields: str) -> None:
    row = {"entity": "person", "source": "crm", "object": "Contact", "record_id": "1",
           "record": "crm.Contact:1", "value": "v", "changed_at": NOW, "extracted_at": NOW,
           "current": True}  # fmt: skip
    rows = [{**row, "field": f"crm.Contact.{name}"} for name in fields]
    schema = dict(VALUES.schema)
    Lake(Settings().lake).open(VALUES).merge(pl.DataFrame(rows, schema=schema))


def test_a_field_that_was_there_once_is_paused(company_of_one: Project) -> None:
    here = load_deployment(company_of_one.defs)
    describe()
    found = [problem.message for problem in check_deployment(here, Settings())]
    assert len(found) == 2
    assert all("has no field" in text for text in found), "a name that never was is a mistake"
    had("App_User_Id__c", "Title")
    assert check_deployment(here, Settings()) == []
    said = [note.message for note in notes(here, Settings()) if "paused" in note.message]
    assert len(said) == 2, "one warning a field"
    assert "crm.Contact has no field App_User_Id__c any more" in said[0]
    describe("App_User_Id__c", "Title")
    assert not any("paused" in note.message for note in notes(here, Settings()))
