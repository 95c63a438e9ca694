"""Zendesk and SugarCRM in one deployment: described, checked, pulled, joined, written back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.base import RowChange
from cdp_assets.connectors.systems import system_of
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import Project, project
from cdp_assets_tests.connectors.stand_in import StandIn, quick, sandbox

DEFS = {
    "zendesk": """\
type: cdp_assets.Zendesk
attributes:
  url: "{{ env.ZENDESK_URL }}"
  email: "{{ env.ZENDESK_EMAIL }}"
  token: "{{ env.ZENDESK_TOKEN }}"
  objects: [users, organizations, tickets, ticket_comments, satisfaction_ratings]
  requests_per_minute: 100000
  exports_per_minute: 100000
""",
    "sugarcrm": """\
type: cdp_assets.SugarCRM
attributes:
  url: "{{ env.SUGARCRM_URL }}"
  username: "{{ env.SUGARCRM_USERNAME }}"
  password: "{{ env.SUGARCRM_PASSWORD }}"
  client_secret: "{{ env.SUGARCRM_CLIENT_SECRET }}"
  objects: [Accounts, Contacts, Leads, Opportunities, Cases, Calls, Tasks]
""",
    "identity": """\
type: cdp_assets.Identity
attributes:
  person:
    identifiers:
      email: {limit: 5}
""",
    "person": """\
type: cdp_assets.Traits
attributes:
  entity: person
  traits:
    email: {prefer: [sugarcrm.Contacts.email1, zendesk.users.email]}
    name: {latest: [zendesk.users.name, sugarcrm.Contacts.last_name]}
    tickets: {select: "count(*)", from: zendesk.tickets}
    solved: {select: "count(*)", from: zendesk.tickets, where: "status = 'solved'"}
    cases: {select: "count(*)", from: sugarcrm.Cases}
    opted_out: {prefer: [sugarcrm.Contacts.email_opt_out], type: boolean}
""",
    "asks_a_lot": """\
type: cdp_assets.Audience
attributes: {where: tickets > 0}
""",
    "people_to_zendesk": """\
type: cdp_assets.Sync
attributes:
  from: person
  to: zendesk.users
  mode: update
  match: [linked]
  fields: {custom_orders: tickets}
""",
    "people_to_sugarcrm": """\
type: cdp_assets.Sync
attributes:
  from: person
  to: sugarcrm.Contacts
  mode: update
  match: [linked]
  fields: {orders_c: tickets}
""",
    "asks_a_lot_to_zendesk": """\
type: cdp_assets.Sync
attributes:
  from: audiences.asks_a_lot
  to: zendesk.tags
  mode: mirror
  list: Asks a lot
""",
}


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), 120) as found:
        yield found


@pytest.fixture
def company(tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Project:
    for system in ("zendesk", "sugarcrm"):
        for name, value in stand_in.credentials[system].items():
            monkeypatch.setenv(f"{system}_{name}".upper(), value)
    mine = project(tmp_path / "company", own_defs=False)
    for name, text in DEFS.items():
        mine.write(name, text)
    return mine


def apply(here: Platform, name: str) -> Any:
    plan = here.plan(name)
    if plan.waits and plan.changes:
        here.approve(plan.hash, "tester")
    return here.apply(name, "run")


def test_the_whole_way(stand_in: StandIn, company: Project, settings: Settings) -> None:
    assert company.mistakes(settings) == []
    here = Platform(settings, load_deployment(company.defs))
    for name, config in here.deployment.crms.items():
        # Nothing here is worth waiting for: neither a job nor the minute that exports leave out.
        here._connectors[name] = system_of(config).connect(name, config, options=quick())
    for name in ("zendesk", "sugarcrm"):
        here.describe(name)
        for object_name in here.deployment.crms[name].object_configs:
            result = here.pull(name, object_name, None, None, "run")
            assert result.rows == result.new
    assert company.mistakes(settings) == [], "also where fields are known"
    assert company.notes(settings) == []
    here.build_records()
    here.resolve()
    here.build_profiles("person")
    here.build_audience("asks_a_lot")
    people = here.lake.open(_table(here)).scan().collect()
    both = people.filter(pl.col("tickets") > 0, pl.col("cases") > 0)
    users = here.connector("zendesk")
    assert both.height == people.filter(pl.col("email").is_not_null()).height > 0
    assert people["opted_out"].drop_nulls().unique().to_list() == [False]
    assert people["solved"].sum() > 0

    for name, source, object_name, field in (
        ("people_to_zendesk", "zendesk", "users", "custom_orders"),
        ("people_to_sugarcrm", "sugarcrm", "Contacts", "orders_c"),
    ):
        done = apply(here, name)
        assert (done.failed, done.unknown) == (0, 0)
        assert done.written == both.height
        client = here.connector(source)
        found = client.find(object_name, "email" if source == "zendesk" else "email1",
                            both["email"].to_list(), [field])  # fmt: skip
        told = {email: rows[0][field] for email, rows in found.items()}
        assert told == dict(both.select("email", "tickets").iter_rows())
        assert apply(here, name).written == 0, "what was told is not told again"

    done = apply(here, "asks_a_lot_to_zendesk")
    assert done.failed == 0
    members = {i for page in users.list_members("asks_a_lot") for i in page}
    assert len(members) == both.height

    gone = sorted(members)[0]
    assert users.write("users", [RowChange(1, "delete", {}, record_id=gone)])[0].ok
    for name in ("zendesk", "sugarcrm"):
        for compared in here.reconcile(name, "run"):
            if not compared.refused:
                assert (compared.gone, compared.missed) in {(0, 0), (1, 0)}, compared


def _table(here: Platform) -> Any:
    from cdp_assets.deployment.catalog import profile_table

    return profile_table(here.deployment, "person")
