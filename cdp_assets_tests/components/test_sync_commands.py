"""`cdp plan`, `cdp approve` and `cdp replay`: what waits, and what they will not go on with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cdp_assets import cli
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.settings import Settings
from cdp_assets.store import ledger, plans
from cdp_assets.syncs import SyncConfig, waiting
from cdp_assets_tests.components.projects import Project

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SALESFORCE, HUBSPOT = "people_to_salesforce", "people_to_hubspot"


@pytest.fixture
def here(company: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """A project in which both syncs have made a plan."""
    monkeypatch.chdir(company.root)
    monkeypatch.setenv("CDP_NOW", NOW.isoformat())
    here = Platform(Settings(), load_deployment(company.defs))
    keep(here, HUBSPOT, "b" * 64, NOW - timedelta(days=3))
    keep(here, SALESFORCE, "a" * 64, NOW - timedelta(minutes=150))
    return here


def keep(
    here: Platform,
    name: str,
    hash_: str,
    at: datetime,
    stopped: str | None = None,
    rows: int = 1_200,
) -> None:
    config = here.deployment.syncs[name].fingerprint
    head = plans.PlanHead(
        sync=name, hash=hash_, config=config, made_at=at,
        creates=rows // 6, updates=rows - rows // 6, fields=rows, errors=0, stopped=stopped,
    )  # fmt: skip
    plans.keep(here.store, head)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_without_a_plan_those_that_wait_are_listed(
    here: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "approve") == (
        0,
        "waits for approval    plan          rows   made\n"
        "people_to_hubspot     bbbbbbbbbbbb  1,200  3 days ago\n"
        "people_to_salesforce  aaaaaaaaaaaa  1,200  2 h ago\n",
        "",
    )
    assert run(capsys, "approve", "b" * 12)[0] == 0
    keep(here, SALESFORCE, "c" * 64, NOW, stopped="too many")
    assert run(capsys, "approve") == (0, "no plan waits for approval\n", "")


def test_an_unknown_plan_is_refused_with_those_that_wait(
    here: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "approve", "f" * 12)
    assert (code, out) == (2, "")
    assert err.startswith("No plan ffffffffffff.")
    assert "people_to_hubspot     bbbbbbbbbbbb  1,200  3 days ago\n" in err
    assert plans.approvals(here.store, HUBSPOT) == []


def test_what_does_not_wait(here: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan of another configuration, one that writes nothing, one that was begun and ended."""
    keep(here, SALESFORCE, "d" * 64, NOW, rows=0)
    intent = ledger.Intent(
        entity="person", profile_id=1, source="hubspot", object="contacts", record_id="1",
        op="update", fields={}, asked={}, digest="d",
    )  # fmt: skip
    assert [head.sync for head in here.waiting_plans()] == [HUBSPOT]
    ledger.announce(here.store, HUBSPOT, "b" * 64, "run", [intent], NOW)
    plans.applied(here.store, HUBSPOT, "b" * 64, NOW)
    assert run(capsys, "approve") == (0, "no plan waits for approval\n", "")
    keep(here, SALESFORCE, "e" * 64, NOW)
    config = here.deployment.syncs[SALESFORCE]
    other = SyncConfig.model_validate(
        {**config.model_dump(by_alias=True, exclude_unset=True), "where": "orders > 1"}
    )
    assert len(waiting(here.store, {SALESFORCE: config})) == 1
    assert waiting(here.store, {SALESFORCE: other}) == []


COMMANDS = (["plan", SALESFORCE], ["replay", SALESFORCE], ["approve", "a" * 12])


@pytest.mark.parametrize(
    ("folder", "old", "new", "said"),
    [
        (SALESFORCE, "Orders__c: orders", "Orders__c: ordres", "did you mean orders?"),
        (SALESFORCE, "email is not null", "emial is not null", "did you mean email?"),
        (SALESFORCE, "from: person", "from: audiences.good_costumers", "good_customers?"),
        ("person", "events_30d > 0", "event_30d > 0", "did you mean events_30d?"),
    ],
)
def test_a_mistake_that_touches_the_sync_stops_its_commands(
    here: Platform, company: Project, capsys: pytest.CaptureFixture[str],
    folder: str, old: str, new: str, said: str,
) -> None:  # fmt: skip
    company.change(folder, old, new)
    expected = "\n".join(m for m in company.mistakes(here.settings) if f"/{folder}/" in m)
    assert said in expected
    for command in COMMANDS:
        code, out, err = run(capsys, *command)
        assert (code, out) == (2, ""), command
        assert expected in err, command
    assert plans.approvals(here.store, SALESFORCE) == []


def test_a_mistake_in_an_audience_of_an_audience_touches_it(
    here: Platform, company: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    company.change(SALESFORCE, "email is not null", "in_audience('ready_for_sales')")
    company.change("ready_for_sales", "and active", "and active and in_audience('good_customers')")
    company.change("good_customers", "revenue >= 300", "revnue >= 300")
    code, _, err = run(capsys, "plan", SALESFORCE)
    assert code == 2
    assert "good_customers/defs.yaml" in err
    assert "did you mean revenue?" in err


def test_a_mistake_elsewhere_does_not(
    here: Platform, company: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    company.change("good_customers", "revenue >= 300", "revnue >= 300")
    company.change(HUBSPOT, "orders: orders", "orders: ordres")
    company.change("identity", "events.userId, salesforce.Contact", "events.userId, sap.Contact")
    assert len(company.mistakes(here.settings)) == 3
    assert run(capsys, "replay", SALESFORCE)[0] == 0
    assert run(capsys, "approve", "a" * 12)[0] == 0
    assert run(capsys, "replay", HUBSPOT)[0] == 2


def test_no_such_sync(here: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("plan", "replay"):
        code, _, err = run(capsys, command, "people_to_salesforc")
        assert code == 2
        assert "did you mean people_to_salesforce?" in err
