"""`cdp doctor` beside real stand-ins: all well, and each thing that can be wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
import requests

from cdp_assets import cli
from cdp_assets.connectors.base import FieldInfo
from cdp_assets.deployment import doctor
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.settings import Settings
from cdp_assets_tests.components.deployed import variables
from cdp_assets_tests.components.projects import Project
from cdp_assets_tests.sandbox.running import Running, running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("world")
    with running(folder, "--people", "20", "--seed", "5", "--end", "2026-06-14") as found:
        yield found


@pytest.fixture
def here(world: Running, company: Project, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.chdir(company.root)
    for name, value in variables(world).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CDP_START")
    monkeypatch.setenv("CDP_ALERT_WEBHOOK", "https://chat.example.com/x")
    return Platform(Settings(), load_deployment(company.defs))


def said(here: Platform, level: str) -> dict[str, str]:
    return {f.what: f.do for f in doctor.examine(here) if f.level == level}


def test_all_is_well(here: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for words in ("salesforce: signed in", "hubspot: signed in", "GiB free", "without mistakes"):
        assert words in out
    assert {line.split()[0] for line in out.splitlines()} == {"ok"}


def test_a_wrong_key_is_told_and_the_rest_is_looked_at(
    here: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-wrong-secret")
    assert cli.main(["doctor"]) == 2
    out = capsys.readouterr().out
    assert "broken  hubspot: no description: hubspot:" in out
    assert "Re-authorise" in out
    assert "salesforce: signed in" in out
    assert "wrong-secret" not in out


def test_a_system_that_is_down_and_a_missing_variable(
    here: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SALESFORCE_CLIENT_SECRET")
    here = Platform(Settings(), load_deployment(here.deployment.folder))
    (text,) = [what for what in said(here, "look") if "SALESFORCE_CLIENT_SECRET" in what]
    assert "defs.yaml:" in text


def test_a_field_that_went_since_the_last_look_is_told(here: Platform) -> None:
    found = here.describe("hubspot")
    contacts = found.objects["contacts"]
    known = {**contacts.fields, "former": FieldInfo(name="former", type="string")}
    objects = {"contacts": msgspec.structs.replace(contacts, fields=known)}
    msgspec.structs.replace(found, objects=objects).save(here.settings.descriptions)
    assert "hubspot.contacts: former: gone, or no longer shown to this user" in said(here, "look")
    assert not [what for what in said(here, "look") if "former" in what]


def test_pauses_plans_and_letters_are_named_with_what_to_do(here: Platform) -> None:
    here.pause(None, "ada", "wrong prices")
    here.pause("people_to_hubspot", "ada", "wrong names")
    found = said(here, "look")
    assert set(found.values()) == {"cdp resume --all", "cdp resume people_to_hubspot"}


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "level"), [(2 * 2**30, "look"), (2**20, "broken")])
def test_a_disk_that_fills_is_told(
    here: Platform, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(10**12, 0, free))
    assert any("GiB free" in what for what in said(here, level))


def test_a_home_that_others_can_read_is_told(here: Platform) -> None:
    here.settings.home.mkdir(parents=True, exist_ok=True)
    here.settings.home.chmod(0o755)
    assert f"chmod 700 {here.settings.home}" in said(here, "look").values()


def test_clocks_that_are_apart_are_told(here: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) - timedelta(minutes=10)

    monkeypatch.setattr(doctor, "datetime", Late)
    found = [what for what in said(here, "broken") if "clock" in what]
    assert {what.split(":")[0] for what in found} == {"hubspot", "salesforce"}
    assert all(re.search(r" (59|60)\d s apart", what) for what in found)


def test_a_field_that_the_crm_no_longer_has_is_told(here: Platform, company: Project) -> None:
    file = company.defs / "people_to_salesforce" / "defs.yaml"
    file.write_text(file.read_text().replace("Revenue_90d__c:", "Revenue_91d__c:"))
    here = Platform(Settings(), load_deployment(company.defs))
    found = said(here, "broken")
    assert any("Revenue_91d__c" in what for what in found)


def test_damage_in_the_lake_is_told(here: Platform) -> None:
    assert here.pull("salesforce", "Account", None, None, "run").new
    parts = sorted(here.settings.lake.rglob("account.delta/*.parquet"))
    assert parts
    parts[0].unlink()
    assert any(what.startswith("table raw/salesforce/account") for what in said(here, "broken"))


def test_nobody_told_is_told(here: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDP_ALERT_WEBHOOK")
    here = Platform(Settings(), here.deployment)
    assert "nobody is told when a run fails" in said(here, "look")


def test_the_collectors_log_is_looked_at(here: Platform) -> None:
    folder = here.settings.landing
    folder.mkdir(parents=True)
    (folder / "one.damaged").write_bytes(b"CDPLOG1\n")
    (folder / "two.segment").write_bytes(b"CDPLOG1\n12345678")
    broken, waiting = said(here, "broken"), said(here, "look")
    assert any("one.damaged was damaged" in what for what in broken)
    assert any(
        "not ingested" in what and "collector_segments" in do for what, do in waiting.items()
    )


def test_a_right_to_write_that_a_sync_lacks_is_told(here: Platform, world: Running) -> None:
    body = {"salesforce_read_only": ["Contact"], "hubspot_scopes": ["crm.objects.contacts.read"]}
    requests.post(f"{world.url}/_sandbox/limits", json=body, timeout=9).raise_for_status()
    try:
        broken = said(here, "broken")
    finally:
        everything = ["crm.objects.contacts.write", "crm.lists.write"]
        body = {"hubspot_scopes": everything}
        requests.post(f"{world.url}/_sandbox/limits", json=body, timeout=9).raise_for_status()
    told = {what: do for what, do in broken.items() if "may not write" in what or "may not" in what}
    assert any("salesforce: the user may not update Contact" in what for what in told)
    hubspot = next(what for what in told if "hubspot: the private app lacks the scope" in what)
    assert "crm.objects.contacts.write" in hubspot
    assert told[hubspot] == "a super admin adds it to the app"
    assert not any("may not" in what for what in said(here, "broken"))
