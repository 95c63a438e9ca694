"""Mistakes in syncs with the options that lists, activities and references bring; and what a CRM
takes away from a sync that runs is none."""

from __future__ import annotations

import polars as pl
import pytest

from cdp_assets.components.sync import Sync
from cdp_assets.connectors.base import FieldInfo
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.lake import Lake
from cdp_assets.settings import Settings
from cdp_assets.syncs import state_table
from cdp_assets_tests.components.projects import Project, describe

LIST = """\
type: cdp_assets.Sync
attributes:
  from: audiences.good_customers
  to: hubspot.lists
  list: "CDP: Good customers"
  mode: mirror
"""
TASKS = """\
type: cdp_assets.Sync
attributes:
  from: audiences.good_customers
  to: salesforce.Account
  rows: entered
  mode: insert
  link: [person, account]
  fields: {Name: "since {entered_at} as {entry}", OwnerId: {owner: email}}
"""


def test_a_list_and_tasks_are_none(company: Project, settings: Settings) -> None:
    company.write("a_list", LIST)
    company.write("tasks", TASKS.replace("OwnerId: {owner: email}", "Phone: phone"))
    assert company.mistakes(settings) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a_list", LIST + "  members: [hubspot.contcts]\n", "does not pull `contcts`"),
        ("tasks", TASKS, "salesforce pulls no users: add them to `objects` in salesforce/"),
        ("tasks", TASKS.replace("account]", "acount]"), "no records of `acount` are pulled"),
        ("tasks", TASKS.replace("{entry}", "{entrie}"), "person has no trait `entrie`"),
    ],
)
def test_mistakes(company: Project, settings: Settings, name: str, text: str, said: str) -> None:
    company.write(name, text)
    assert any(said in problem for problem in company.mistakes(settings))


def test_what_is_taken_from_a_running_sync_is_a_note(company: Project, settings: Settings) -> None:
    """An administrator who hides a field stops that field, and not the whole deployment."""
    name = "people_to_salesforce"
    fields = [
        FieldInfo(name="Revenue_90d__c", type="decimal"),
        FieldInfo(name="Title", type="string"),
        FieldInfo(name="Email", type="email"),
    ]
    describe(settings, "salesforce", Contact=fields, Lead=fields)

    def mistakes() -> list[str]:
        return [problem for problem in company.mistakes(settings) if name in problem]

    found = mistakes()
    assert any("has no field `Orders__c`" in problem for problem in found)
    assert any("has no field `CDP_Id__c`" in problem for problem in found)
    schema = {**state_table(name).schema, "last_Orders__c": pl.String()}
    row = dict.fromkeys(schema) | {"record": "salesforce.Contact:a", "last_Orders__c": "1"}
    Lake(settings.lake).open(state_table(name)).merge(pl.DataFrame([row], schema=schema))
    assert mistakes() == []
    notes = [note for note in company.notes(settings) if note.startswith(name)]
    assert any("paused: salesforce.Contact has no field Orders__c any more" in n for n in notes)
    assert any(
        "the sync stands still: salesforce.Contact has no field `CDP_Id__c`" in n for n in notes
    )


def test_their_assets_are_made_of_what_they_read(company: Project, settings: Settings) -> None:
    company.write("a_list", LIST)
    company.write("tasks", TASKS.replace("OwnerId: {owner: email}", "Phone: phone"))
    deployment = load_deployment(company.defs)
    found = {}
    for name in ("a_list", "tasks"):
        declared = deployment.declared[name]
        made = Sync(declared.config).definitions(declared, deployment)
        for asset in made.assets or ():
            for spec in asset.specs:  # type: ignore[union-attr]
                found[spec.key.to_user_string()] = {d.asset_key.to_user_string() for d in spec.deps}
    base = {"audiences/good_customers", "identity/graph", "profiles/person", "records/person"}
    assert found["syncs/a_list/plan"] == base
    assert found["syncs/tasks/plan"] == {*base, "records/account"}
