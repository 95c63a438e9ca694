"""All that is pulled of HubSpot, by way of a deployment: into raw and into records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from cdp_assets.connectors.base import RowChange
from cdp_assets_tests.connectors.stand_in import StandIn
from cdp_assets_tests.connectors.test_hubspot_activities import CARS, make
from cdp_assets_tests.connectors.test_hubspot_pull import create
from cdp_assets_tests.e2e.house import House

NOW = datetime(2026, 9, 1, 9, tzinfo=UTC)
HUBSPOT = """
type: cdp_assets.HubSpot
attributes:
  url: "{{ env.HUBSPOT_URL }}"
  token: "{{ env.HUBSPOT_TOKEN }}"
  start: 2015-01-01
  requests_per_10s: 100000
  searches_per_second: 10000
  objects:
    - contacts
    - tasks
    - feedback_submissions
    - owners
    - lists
    - list_members
    - email_events
    - form_submissions
    - contacts_history
    - {name: NUMBER, as: car, fields: {plate: plate}}
"""
IDENTITY = """
type: cdp_assets.Identity
attributes: {person: {identifiers: {email: {limit: 5}}}}
"""


def test_everything_reaches_the_records(stand_in: StandIn, tmp_path: Path) -> None:
    source = stand_in.hubspot()
    schema = {**CARS, "name": "wagons"}
    number = source._client.post("/crm/v3/schemas", schema, what="make").body["objectTypeId"]
    stand_in.control("POST", "clock", {"now": (NOW - timedelta(days=1)).isoformat()})
    (contact,) = create(source, 1, "whole")
    task = make(source, "tasks", ("contacts", contact), hs_timestamp="2026-08-01T09:00:00Z",
                hs_task_subject="Call", hubspot_owner_id="503")  # fmt: skip
    car = make(source, number, ("contacts", contact), plate="CDP 9")
    source.write("contacts", [RowChange(1, "update", {"city": "Rome"}, record_id=contact)])
    source.change_members(source.create_list("Whole", "contacts"), [contact], [])
    at = int((NOW - timedelta(hours=5)).timestamp() * 1000)
    stand_in.control("POST", "hubspot/marketing", {
        "email_events": [{"id": "w1", "created": at, "type": "OPEN",
                          "recipient": "whole0@made.example"}],
        "forms": [{"id": "whole", "name": "Whole"}],
        "submissions": [{"conversionId": "w1", "form": "whole", "submittedAt": at,
                         "values": [{"name": "email", "value": "whole0@made.example"}]}],
    })  # fmt: skip
    stand_in.control("POST", "clock", {"now": NOW.isoformat()})
    for name, text in {"hubspot": HUBSPOT.replace("NUMBER", number), "identity": IDENTITY}.items():
        (tmp_path / "defs" / name).mkdir(parents=True)
        (tmp_path / "defs" / name / "defs.yaml").write_text(text, "utf-8")
    variables = {"HUBSPOT_URL": stand_in.url,
                 "HUBSPOT_TOKEN": stand_in.credentials["hubspot"]["token"],
                 "CDP_START": "2015-01-01"}  # fmt: skip
    house = House(tmp_path / "home", variables, tmp_path / "defs", NOW, {"CDP_START": "2015-01-01"})
    first = house.run("pull", "records", "resolve")
    empty = {item for (_, item), found in first["pull"].items() if not found.new}
    assert empty <= {"feedback_submissions"}
    found = house.table("records/activity").select("object", "record_id").rows()
    assert {("tasks", task), ("email_events", "w1"), ("form_submissions", "w1")} <= set(found)
    relations = house.table("records/relation").filter(kind="person")
    origins = set(
        relations.filter(to=f"hubspot.contacts:{contact}")["from"].str.extract(r"\.(\w+):")
    )
    assert {"tasks", "list_members", "email_events", "form_submissions"} <= origins
    users = house.table("records/user")
    assert "503" in users["record_id"].to_list()
    cars = house.table("records/car").filter(record_id=car)
    assert cars["plate"].to_list() == ["CDP 9"]
    assert cars["record"].to_list() == [f"hubspot.{number}:{car}"]
    # Nothing changed: whole snapshots bring no row a second time.
    again = house.at(NOW + timedelta(minutes=30)).run("pull")["pull"]
    assert {item: found.new for (_, item), found in again.items() if found.new} == {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in house.environment.items():
            patch.setenv(name, value)
        patch.setenv("CDP_DEFS", str(tmp_path / "wholeproject" / "defs"))
        patch.syspath_prepend(tmp_path)
        loaded = dg.load_from_defs_folder(path_within_project=_project(tmp_path))
        keys = {key.to_user_string() for key in loaded.resolve_asset_graph().get_all_asset_keys()}
    assert f"raw/hubspot/o{number.replace('-', '_')}" in keys
    assert {"raw/hubspot/owners", "raw/hubspot/contacts_history", "records/activity"} <= keys


def _project(root: Path) -> Path:
    (root / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "wholeproject"\n'
    )
    module = root / "wholeproject"
    module.mkdir()
    (module / "__init__.py").touch()
    (root / "defs").rename(module / "defs")
    return module
