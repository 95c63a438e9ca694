"""Mistakes that a changed word does not make, and what of them is but a note."""

from __future__ import annotations

import pytest

from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import Project


def test_an_object_of_a_sync_is_judged_before_its_system_is_described(
    company: Project, settings: Settings
) -> None:
    company.change("people_to_salesforce", "[salesforce.Contact, salesforce.Lead]",
                   "[salesforce.Contct, salesforce.Campaign]")  # fmt: skip
    said = [text.splitlines()[0].partition(": ")[2] for text in company.mistakes(settings)]
    assert said == [
        "salesforce does not pull `Contct`; did you mean Contact?",
        "salesforce does not pull `Campaign`: add it to `objects` in salesforce/defs.yaml",
    ]


@pytest.mark.usefixtures("described")
def test_what_is_not_pulled_is_found_by_a_field_only(company: Project, settings: Settings) -> None:
    """An object that was pulled once, so that it is described."""
    company.change("salesforce", "    - Contact\n", "")
    company.change("person", "salesforce.Contact.Email, ", "")
    company.change("person", "salesforce.Contact.FirstName, ", "")
    company.change("person", "salesforce.Contact.LastName, ", "")
    company.change("person", "salesforce.Contact.Title, ", "")
    company.change("identity", ", salesforce.Contact.App_User_Id__c", "")
    company.change("people_to_salesforce", ", salesforce.Lead", "")
    assert company.mistakes(settings) == []
    company.change("people_to_salesforce", "  key: {CDP_Id__c: profile_id}\n", "")
    assert company.mistakes(settings) == []
    company.change("people_to_salesforce", ", {Email: email}", "")
    (found,) = company.mistakes(settings)
    assert "people_to_salesforce/defs.yaml:6: salesforce does not pull `Contact`" in found
    assert "without it no record is `linked`, so none is found" in found


def test_an_entity_of_events_alone(company: Project, settings: Settings) -> None:
    group = "  household: {identifiers: {address: {from: events.groupId}}}\n  account:"
    company.change("identity", "  account:", group)
    assert company.mistakes(settings) == []


def test_a_column_of_files_of_records(company: Project, settings: Settings) -> None:
    company.write("loyalty", "type: cdp_assets.Files\nattributes: {path: x/*.csv, as: person}\n")
    company.change("person", "hubspot.contacts.email", "loyalty.person.email")
    assert company.mistakes(settings) == []
    for wrong in ("loyalty.person", "loyalty.email"):
        company.change("person", "loyalty.person.email", wrong)
        (found,) = company.mistakes(settings)
        assert f"{wrong} names no column: write loyalty.person.COLUMN" in found
        company.change("person", wrong + ",", "loyalty.person.email,")


def test_audiences_that_ask_for_each_other(company: Project, settings: Settings) -> None:
    company.change("good_customers", "orders >= 3", "in_audience('ready_for_sales')")
    assert company.mistakes(settings) == []
    company.change("ready_for_sales", "orders = 0", "in_audience('good_customers')")
    said = [text.splitlines()[0].partition(": ")[2] for text in company.mistakes(settings)]
    assert said == [
        "where: by way of `ready_for_sales` it asks for itself",
        "where: by way of `good_customers` it asks for itself",
    ]


def test_a_bad_address_from_the_environment_is_a_note(
    company: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One machine's environment keeps no other from loading."""
    said = "salesforce:4: url: must begin with https:// (http://127.0.0.1 also)"
    assert said not in company.notes(settings)
    for url in ("http://my.org", "https://", "http://[::1"):
        monkeypatch.setenv("SALESFORCE_URL", url)
        assert company.mistakes(settings) == []
        assert any(note.startswith("salesforce:4: url: ") for note in company.notes(settings))
    monkeypatch.setenv("SALESFORCE_URL", "https://my.org")
    assert said not in company.notes(settings)


def test_two_syncs_of_one_field_are_a_note(company: Project, settings: Settings) -> None:
    def told() -> list[str]:
        return [note for note in company.notes(settings) if "overwrite each other" in note]

    text = company.file("people_to_hubspot").read_text()
    company.write("vip_to_hubspot", text.replace("jobtitle: {", "JobTitle: {"))
    assert told() == []
    company.change("vip_to_hubspot", "orders: orders", "Orders: revenue")
    (note,) = told()
    assert note.startswith("vip_to_hubspot:10: `people_to_hubspot` writes hubspot.contacts.Orders")
    company.change("vip_to_hubspot", "Orders: revenue", "Orders: {trait: revenue, write: if_empty}")
    assert told() == []


def test_a_map_of_nothing(company: Project, settings: Settings) -> None:
    company.write("account", "type: cdp_assets.Traits\nattributes: {entity: account, traits: {}}")
    (found,) = company.mistakes(settings)
    assert "account/defs.yaml:2: traits: is empty" in found


def test_a_condition_long_and_one_deep(company: Project, settings: Settings) -> None:
    company.change("good_customers", "orders >= 3", " or ".join(["orders >= 3"] * 400))
    assert company.mistakes(settings) == []
    company.change("ready_for_sales", "orders = 0", "(" * 60 + "orders = 0" + ")" * 60)
    (found,) = company.mistakes(settings)
    assert "ready_for_sales/defs.yaml:5: where: nested too deeply: make a part of it a" in found
