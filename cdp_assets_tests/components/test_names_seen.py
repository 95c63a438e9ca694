"""Names that only what was read can judge: events, their properties, objects not yet described."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdp_assets import cli
from cdp_assets.connectors.base import Description, FieldInfo
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import Project, describe


def track(number: int, event: str, **properties: object) -> dict[str, object]:
    return {
        "type": "track", "messageId": f"m-{number}", "anonymousId": "a-1", "event": event,
        "timestamp": "2026-06-01T12:00:00Z", "properties": properties,
    }  # fmt: skip


@pytest.fixture
def company(company: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project into which a few events were ingested."""
    lines = [
        track(1, "Order Completed", revenue=12.5, currency="USD"),
        track(2, "Pricing Viewed"),
        track(3, "Feature Used", feature="export"),
        track(4, "Signed Out"),
    ]
    folder = tmp_path / "events"
    folder.mkdir()
    folder.joinpath("a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("EVENTS_DIR", str(folder))
    here = Platform(Settings(), load_deployment(company.defs))
    assert here.ingest(None, "run").stored == 4
    return company


def about_events(company: Project, settings: Settings) -> list[str]:
    return [note for note in company.notes(settings) if "described" not in note]


def test_what_was_seen_is_no_matter(company: Project, settings: Settings) -> None:
    assert company.mistakes(settings) == []
    assert about_events(company, settings) == []


def test_an_event_like_one_that_was_seen_is_a_slip(company: Project, settings: Settings) -> None:
    company.change(
        "person", "(timestamp), from: Order Completed", "(timestamp), from: Order Compleed"
    )
    (found,) = company.mistakes(settings)
    assert "person/defs.yaml:12: no event `Order Compleed` was ever seen" in found
    assert "did you mean Order Completed?" in found


def test_an_event_like_none_is_a_note(company: Project, settings: Settings) -> None:
    company.change(
        "person", "(timestamp), from: Order Completed", "(timestamp), from: Badge Earned"
    )
    assert company.mistakes(settings) == []
    assert about_events(company, settings) == ["person:12: no event `Badge Earned` was ever seen"]


def test_a_logout_like_an_event_that_was_seen_is_a_slip(
    company: Project, settings: Settings
) -> None:
    company.change("identity", "[Signed Out]", "[Singed Out]")
    (found,) = company.mistakes(settings)
    assert "identity/defs.yaml:10: no event `Singed Out` was ever seen" in found
    company.change("identity", "[Singed Out]", "[Goodbye]")
    assert company.mistakes(settings) == []
    assert about_events(company, settings) == ["identity:10: no event `Goodbye` was ever seen"]


def test_a_logout_is_judged_while_a_trait_is_wrong(company: Project, settings: Settings) -> None:
    company.change("identity", "[Signed Out]", "[Singed Out]")
    company.change("person", "events_30d > 0", "event_30d > 0")
    assert len(company.mistakes(settings)) == 2


def test_a_property_that_no_event_has_is_a_note(company: Project, settings: Settings) -> None:
    company.change("person", "revenue: {select: sum(revenue)", "revenue: {select: sum(revnue)")
    assert company.mistakes(settings) == []
    assert about_events(company, settings) == [
        "person:10: no `Order Completed` that was looked at has a property `revnue`; did you mean "
        "revenue?"
    ]


def test_a_type_that_nothing_feeds_is_a_note(company: Project, settings: Settings) -> None:
    company.change("identity", "      phone:", "      passport: {}\n      phone:")
    assert company.mistakes(settings) == []
    assert about_events(company, settings) == [
        "identity:8: no field feeds `passport`: name its fields with `from`"
    ]


def test_a_value_is_no_name_of_a_list(company: Project, settings: Settings) -> None:
    company.change("identity", "anonymous_id: {limit: 100}", "anonymous_id: {block: test}")
    assert company.mistakes(settings) == []


def test_without_identity_it_is_said_that_nothing_resolves(
    company: Project, settings: Settings
) -> None:
    company.file("identity").unlink()
    assert any(
        "nothing here says `type: cdp_assets.Identity`" in n for n in company.notes(settings)
    )


def test_what_was_not_described_is_said(
    company: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    company.change("salesforce", "    - Task", "    - Tsk")
    cure = "not described yet: fields not checked; run `cdp describe"
    assert company.notes(settings) == [
        f"hubspot:2: hubspot: {cure} hubspot`",
        f"salesforce:3: salesforce: {cure} salesforce`",
        f"salesforce:12: salesforce.Tsk is {cure} salesforce`; did you mean Task?",
    ]
    monkeypatch.chdir(company.root)
    cli.main(["check"])
    assert f"note: src/{company.defs.parent.name}/defs/salesforce/defs.yaml:3: " in (
        capsys.readouterr().out
    )
    company.change("salesforce", "    - Tsk", "    - Task")
    fields = [FieldInfo(name="Id", type="string")]
    describe(settings, "hubspot", contacts=fields, companies=fields, deals=fields)
    assert f"hubspot:5: hubspot.tickets is {cure} hubspot`" in company.notes(settings)


def test_a_pull_keeps_the_names_that_were_described(settings: Settings) -> None:
    fields = [FieldInfo(name="Id", type="string")]
    describe(settings, "salesforce", ("Contact", "Lead"), Contact=fields)
    describe(settings, "salesforce", Lead=fields)
    found = Description.load(settings.descriptions, "salesforce")
    assert found is not None
    assert (found.names, set(found.objects)) == (("Contact", "Lead"), {"Contact", "Lead"})
