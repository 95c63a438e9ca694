"""`cdp fields create`: made in HubSpot through its API, packed for a Salesforce administrator."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cdp_assets import cli
from cdp_assets.connectors.base import FieldInfo, WrongObject
from cdp_assets.connectors.salesforce.package import metadata_package
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.fields import missing_fields
from cdp_assets.deployment.platform import Platform
from cdp_assets.settings import Settings
from cdp_assets_tests.components.deployed import variables
from cdp_assets_tests.components.projects import Project
from cdp_assets_tests.sandbox.running import Running, running

_NS = {"m": "http://soap.sforce.com/2006/04/metadata"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("world")
    with running(folder, "--people", "20", "--seed", "5", "--end", "2026-06-14") as found:
        yield found


@pytest.fixture
def company(world: Running, company: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(company.root)
    for name, value in variables(world).items():
        monkeypatch.setenv(name, value)
    for name, field in (("hubspot", "revenue_90d"), ("salesforce", "Revenue_90d__c")):
        file = company.defs / f"people_to_{name}" / "defs.yaml"
        text = file.read_text()
        assert f"{field}:" in text
        new = field.replace("evenue", "evenues")
        file.write_text(text.replace(f"{field}:", f"{new}:"))
    return company


def test_a_property_is_made_in_hubspot(
    company: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fields", "list", "people_to_hubspot"]) == 0
    assert capsys.readouterr().out == "contacts.revenues_90d  decimal\n"
    assert cli.main(["fields", "create", "people_to_hubspot"]) == 0
    assert capsys.readouterr().out == "made: contacts.revenues_90d\n"
    assert cli.main(["fields", "create", "people_to_hubspot"]) == 0
    assert "every field" in capsys.readouterr().out
    here = Platform(Settings(), load_deployment(company.defs))
    described = here.describe("hubspot").objects["contacts"].fields["revenues_90d"]
    assert (described.type, described.updateable) == ("decimal", True)


def test_nothing_is_made_where_syncs_may_not_write(
    company: Project, world: Running, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("cdp_assets.deployment.fields.may_write", lambda env, url: False)
    before = len(world.control("GET", "journal")["requests"])
    file = company.defs / "people_to_hubspot" / "defs.yaml"
    file.write_text(file.read_text().replace("revenues_90d:", "revenuess_90d:"))
    assert cli.main(["fields", "create", "people_to_hubspot"]) == 2
    assert "CDP_ENV" in capsys.readouterr().err
    asked = world.control("GET", "journal")["requests"][before:]
    assert not [r for r in asked if r["method"] == "POST" and "/properties/" in r["path"]]


def test_a_package_is_written_for_salesforce(
    company: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out.zip"
    assert cli.main(["fields", "create", "people_to_salesforce", "--out", str(file)]) == 0
    assert "sf project deploy start" in capsys.readouterr().out
    with zipfile.ZipFile(file) as package:
        contact = ElementTree.fromstring(package.read("objects/Contact.object"))
        manifest = package.read("package.xml").decode()
    (field,) = contact.findall("m:fields", _NS)
    said = {child.tag.split("}")[1]: child.text for child in field}
    assert said["fullName"] == "Revenues_90d__c"
    assert (said["type"], said["precision"], said["scale"]) == ("Number", "18", "2")
    assert "Contact.Revenues_90d__c" in manifest
    here = Platform(Settings(), load_deployment(company.defs))
    still = {m.info.name for m in missing_fields(here, "people_to_salesforce")}
    assert still == {"Revenues_90d__c"}, "nothing is made there by us"


def test_a_key_is_an_external_id_and_every_type_has_its_form() -> None:
    infos = [
        FieldInfo(name="CDP_Id__c", type="string", external_id=True, unique=True, length=64),
        FieldInfo(name="Active__c", type="boolean"),
        FieldInfo(name="Seen__c", type="datetime"),
        FieldInfo(name="Born__c", type="date"),
        FieldInfo(name="Orders__c", type="integer"),
    ]
    with zipfile.ZipFile(io.BytesIO(metadata_package({"Contact": infos, "Lead": infos[:1]}))) as z:
        names = set(z.namelist())
        contact = ElementTree.fromstring(z.read("objects/Contact.object"))
        rights = ElementTree.fromstring(z.read("permissionsets/CDP_Fields.permissionset"))
    assert {"package.xml", "objects/Contact.object", "objects/Lead.object"} <= names
    kinds = {
        f.findtext("m:fullName", None, _NS): f.findtext("m:type", None, _NS)
        for f in contact.findall("m:fields", _NS)
    }
    assert kinds == {
        "CDP_Id__c": "Text",
        "Active__c": "Checkbox",
        "Seen__c": "DateTime",
        "Born__c": "Date",
        "Orders__c": "Number",
    }
    first = contact.find("m:fields", _NS)
    assert first is not None
    assert first.findtext("m:externalId", None, _NS) == "true"
    assert len(rights.findall("m:fieldPermissions", _NS)) == 6


@pytest.mark.parametrize("name", ["Title", "a b__c", "1x__c", "x___c", "x__y__c", "</x>__c"])
def test_a_name_that_no_custom_field_can_have_is_refused(name: str) -> None:
    with pytest.raises(WrongObject, match="ends in __c"):
        metadata_package({"Contact": [FieldInfo(name=name, type="string")]})
