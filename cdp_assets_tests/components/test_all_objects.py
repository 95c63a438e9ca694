"""`objects: all`: every object of an org that makes sense to be pulled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from cdp_assets.connectors.salesforce.describe import SalesforceName
from cdp_assets.connectors.salesforce.streams import FIRST, streams
from cdp_assets.deployment.checks import check_deployment
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.notes import notes
from cdp_assets.deployment.platform import Platform
from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import project
from cdp_assets_tests.connectors.stand_in import StandIn, sandbox


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), people=10) as stand_in:
        yield stand_in


def test_what_makes_sense_is_pulled() -> None:
    def named(name: str, **more: bool | str) -> SalesforceName:
        told = {"queryable": True, "replicateable": True, **more}
        return SalesforceName(name=name, **told)  # type: ignore[arg-type]

    objects = [
        named("Contact"), named("ContactHistory"), named("Subscription__c"),
        named("Transaction__c"), named("OpportunityFieldHistory"), named("CampaignMember"),
        named("AccountShare"), named("CaseFeed", associate_entity_type="Feed"),
        named("Subscription__Share"), named("Order__ChangeEvent"), named("Alarm__e"),
        named("ApexClass"), named("PermissionSet"), named("Rate__c", custom_setting=True),
        named("Old__c", deprecated_and_hidden=True), named("Name", queryable=False),
        named("ContentFolderItem", replicateable=False),
    ]  # fmt: skip
    assert streams(objects) == (
        "CampaignMember", "Contact", "ContactHistory", "OpportunityFieldHistory",
        "Subscription__c", "Transaction__c",
    )  # fmt: skip


def test_all_objects_of_an_org_are_pulled_but_those_left_out(
    world: StandIn, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    del settings
    mine = project(tmp_path / "all", name=f"all_{uuid4().hex[:8]}", own_defs=False)
    monkeypatch.syspath_prepend(str(mine.root / "src"))
    given = world.credentials["salesforce"]
    mine.write(
        "org",
        f"type: cdp_assets.Salesforce\nattributes: {{url: {world.url}, "
        f"client_id: {given['client_id']}, client_secret: {given['client_secret']}, "
        "objects: all, leave_out: [Organization]}\n",
    )
    here = Platform(Settings(), load_deployment(mine.defs))
    assert tuple(here.deployment.crms["org"].object_configs) == FIRST
    assert check_deployment(here.deployment, Settings()) == []
    assert any("not described yet" in note.message for note in notes(here.deployment, Settings()))
    described = here.describe("org")
    found = here.deployment.crms["org"].object_configs
    assert {"Contact", "Subscription__c", "ContactHistory", "Task"} <= set(found)
    assert "Organization" not in found
    assert set(described.objects) == set(found)
    assert check_deployment(here.deployment, Settings()) == []
    mine.write(
        "org",
        f"type: cdp_assets.Salesforce\nattributes: {{url: {world.url}, "
        f"client_id: {given['client_id']}, client_secret: {given['client_secret']}, "
        "objects: [all, {name: Subscription__c, as: subscription}]}\n",
    )
    again = load_deployment(mine.defs).crms["org"].object_configs
    assert again["Subscription__c"].as_ == "subscription"
    assert len(again) == len(found) + 1
