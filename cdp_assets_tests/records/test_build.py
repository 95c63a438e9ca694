"""Records built from raw, end to end through the lake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.config import ObjectConfig
from cdp_assets.connectors.hubspot.mapping import MAPPINGS as HUBSPOT_MAPPINGS
from cdp_assets.connectors.salesforce.mapping import mapping as mapping_of
from cdp_assets.lake import Lake
from cdp_assets.records import RELATION, VALUES, ObjectSpec, build, current, entity_table
from cdp_assets_tests.records.world import (
    CONTACT,
    HUBSPOT,
    LEAD,
    SUBSCRIPTION,
    at,
    pull,
    version,
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def values(lake: Lake, field: str) -> list[tuple[str, Any, Any, bool]]:
    rows = lake.open(VALUES).scan().filter(pl.col("field") == field).sort("record_id", "changed_at")
    return rows.select("record_id", "value", "changed_at", "current").collect().rows()


def test_a_record_and_its_values(lake: Lake) -> None:
    first = {
        "Email": "ada@example.com",
        "Title": "Engineer",
        "AccountId": "A1",
        "CreatedDate": "2020-05-01T10:00:00.000+0000",
    }
    pull(lake, CONTACT, version("1", 0, first))
    build(lake, [CONTACT], None, at(1))
    pull(lake, CONTACT, version("1", 5, {**first, "Title": "Lead", "AccountId": "A2"}))
    build(lake, [CONTACT], None, at(6))
    person = lake.open(entity_table("person")).scan().collect().row(0, named=True)
    assert person["record"] == "salesforce.Contact:1"
    assert person["title"] == "Lead"
    assert person["changed_at"] == at(5)
    assert person["created_at"].isoformat() == "2020-05-01T10:00:00+00:00"
    assert values(lake, "salesforce.Contact.Email") == [("1", "ada@example.com", at(0), True)]
    assert values(lake, "salesforce.Contact.Title") == [
        ("1", "Engineer", at(0), False),
        ("1", "Lead", at(5), True),
    ]
    relations = lake.open(RELATION).scan().select("from", "kind", "to").collect().rows()
    assert relations == [("salesforce.Contact:1", "account", "salesforce.Account:A2")]
    found = current(lake, "salesforce", "Contact", ["Email", "Title"]).collect()
    assert found.rows() == [("salesforce.Contact:1", "1", "ada@example.com", "Lead")]


def test_nothing_new_commits_nothing(lake: Lake) -> None:
    pull(lake, CONTACT, version("1", 0, {"Email": "a@example.com"}))
    build(lake, [CONTACT], None, at(1))
    keys = sorted(lake.keys())
    before = [(key, handle.version()) for key in keys if (handle := lake.handle(key))]
    build(lake, [CONTACT], None, at(2))
    after = [(key, handle.version()) for key in keys if (handle := lake.handle(key))]
    assert (after, sorted(lake.keys())) == (before, keys)


def test_an_absent_field_keeps_its_value_and_null_empties_it(lake: Lake) -> None:
    pull(
        lake,
        CONTACT,
        version("1", 0, {"Email": "a@example.com", "Title": "x"}),
        version("1", 1, {"Email": "a@example.com"}),
        version("2", 0, {"Email": "b@example.com", "Title": "y"}),
        version("2", 1, {"Email": "b@example.com", "Title": None}),
        version("3", 0, {"Email": "c@example.com", "Title": None}),
    )
    build(lake, [CONTACT], None, at(2))
    assert values(lake, "salesforce.Contact.Title") == [
        ("1", "x", at(0), True),
        ("2", "y", at(0), False),
        ("2", None, at(1), True),
    ]


def test_deleted_merged_and_converted_records_are_followed(lake: Lake) -> None:
    pull(
        lake,
        CONTACT,
        version("1", 0, {"Email": "a@example.com", "AccountId": "A"}),
        version("1", 1, "{}", op="delete"),
        version("2", 0, {"Email": "b@example.com", "AccountId": "A"}),
        version("2", 1, None, op="merge", merged_into="3"),
        version("3", 0, {"Email": "c@example.com"}),
    )
    pull(lake, LEAD, version("9", 0, {"Email": "c@example.com", "ConvertedContactId": "3"}))
    build(lake, [CONTACT, LEAD], None, at(2))
    people = lake.open(entity_table("person")).scan().sort("record_id").collect()
    assert people.select("record_id", "deleted", "merged_into", "email").rows() == [
        ("1", True, None, "a@example.com"),
        ("2", True, "salesforce.Contact:3", "b@example.com"),
        ("3", False, None, "c@example.com"),
        ("9", False, "salesforce.Contact:3", "c@example.com"),
    ]
    assert lake.open(RELATION).scan().select("from", "kind", "to").sort(
        "from"
    ).collect().rows() == [
        ("salesforce.Contact:2", "merged", "salesforce.Contact:3"),
        ("salesforce.Lead:9", "converted", "salesforce.Contact:3"),
    ]
    assert [row[3] for row in values(lake, "salesforce.Contact.Email")] == [False, False, True]


def test_hubspot_properties_and_associations(lake: Lake) -> None:
    payload = {
        "id": "7",
        "properties": {"email": "a@example.com", "jobtitle": ""},
        "associations": {
            "companies": {
                "results": [
                    {"id": "20", "type": "contact_to_company_unlabeled"},
                    {"id": "21", "type": "contact_to_company"},
                ]
            },
            "notes": {"results": [{"id": "1", "type": "x"}]},
        },
    }
    pull(lake, HUBSPOT, version("7", 0, payload))
    build(lake, [HUBSPOT], None, at(1))
    rows = lake.open(RELATION).scan().select("from", "kind", "to", "primary").sort("to").collect()
    assert rows.rows() == [
        ("hubspot.contacts:7", "account", "hubspot.companies:20", False),
        ("hubspot.contacts:7", "account", "hubspot.companies:21", True),
    ]
    assert values(lake, "hubspot.contacts.jobtitle") == []


def test_labels_of_associations_are_kept_beside_what_is_primary(lake: Lake) -> None:
    links = [
        {"id": "20", "type": "contact_to_company_payer", "label": "Payer"},
        {"id": "20", "type": "contact_to_company_boss", "label": "Boss"},
        {"id": "20", "type": "contact_to_company_unlabeled"},
        {"id": "21", "type": "contact_to_company", "label": "Primary"},
        {"id": "21", "type": "contact_to_company_payer", "label": "Payer"},
    ]
    payload = {"id": "7", "properties": {}, "associations": {"companies": {"results": links}}}
    pull(lake, HUBSPOT, version("7", 0, payload))
    build(lake, [HUBSPOT], None, at(1))
    rows = lake.open(RELATION).scan().select("to", "label", "primary").sort("to").collect()
    assert rows.rows() == [
        ("hubspot.companies:20", "Payer; Boss", False),
        ("hubspot.companies:21", "Payer", True),
    ]


def test_a_custom_object_has_its_own_columns(lake: Lake) -> None:
    pull(
        lake,
        SUBSCRIPTION,
        version("1", 0, {"Account__c": "A", "MRR__c": 12.50, "Status__c": "active"}),
    )
    build(lake, [SUBSCRIPTION], None, at(1))
    row = lake.open(entity_table("subscription", ("account", "mrr", "status"))).scan().collect()
    assert row.select("account", "mrr", "status").rows() == [("A", "12.5", "active")]


def test_what_is_no_object_is_quarantined_and_the_rest_goes_on(lake: Lake) -> None:
    pull(
        lake,
        CONTACT,
        version("1", 0, "[1]"),
        version("2", 0, '{"Email": "\\ud800"}'),
        version("3", 0, {"Email": "c@example.com"}),
    )
    result = build(lake, [CONTACT], None, at(1))
    assert result.unreadable == 2
    assert lake.open(entity_table("person")).scan().collect().height == 1


def test_naming_another_field_reads_raw_anew(lake: Lake) -> None:
    pull(lake, CONTACT, version("1", 0, {"Email": "a@example.com", "City": "Bonn"}))
    build(lake, [CONTACT], None, at(1))
    more = ObjectSpec(
        source="salesforce", object="Contact", mapping=CONTACT.mapping, value_fields=("City",)
    )
    build(lake, [more], None, at(2))
    assert values(lake, "salesforce.Contact.City") == [("1", "Bonn", at(0), True)]
    build(lake, [CONTACT], None, at(3))
    assert values(lake, "salesforce.Contact.City") == []


TOLD_SCHEMA = ["source", "object", "record_id", "field", "value", "told_at"]


def told(*rows: tuple[str, str, Any, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [("salesforce", "Contact", r, f, v, at(t)) for r, f, v, t in rows],
        schema=TOLD_SCHEMA,
        orient="row",
    )


def test_an_echo_is_not_an_observation_until_it_differs(lake: Lake) -> None:
    pull(lake, CONTACT, version("1", 0, {"Title": "old"}))
    build(lake, [CONTACT], None, at(1))
    ledger = told(("1", "Title", "ours", 2))
    pull(lake, CONTACT, version("1", 2.1, {"Title": "ours"}))
    build(lake, [CONTACT], ledger, at(3))
    assert values(lake, "salesforce.Contact.Title") == [("1", "old", at(0), True)]
    pull(lake, CONTACT, version("1", 4, {"Title": "theirs"}))
    build(lake, [CONTACT], ledger, at(5))
    assert values(lake, "salesforce.Contact.Title")[-1] == ("1", "theirs", at(4), True)
    pull(lake, CONTACT, version("1", 6, {"Title": "ours"}))
    build(lake, [CONTACT], ledger, at(7))
    assert values(lake, "salesforce.Contact.Title")[-1] == ("1", "ours", at(6), True)


def test_a_value_changed_back_after_our_write_is_news(lake: Lake) -> None:
    pull(lake, CONTACT, version("1", 0, {"Title": "old"}))
    pull(lake, CONTACT, version("1", 3, {"Title": "old"}))
    build(lake, [CONTACT], told(("1", "Title", "ours", 2)), at(4))
    assert values(lake, "salesforce.Contact.Title")[-1] == ("1", "old", at(3), True)


def test_an_echo_in_another_spelling(lake: Lake) -> None:
    pull(lake, CONTACT, version("1", 0, {"Title": "1"}), version("1", 3, {"Title": 250.5}))
    build(lake, [CONTACT], told(("1", "Title", "250.50", 2)), at(4))
    assert values(lake, "salesforce.Contact.Title") == [("1", "1", at(0), True)]


def test_a_tell_learnt_of_late_is_judged_again(lake: Lake) -> None:
    pull(lake, CONTACT, version("1", 3, {"Title": "ours"}))
    build(lake, [CONTACT], None, at(4))
    assert len(values(lake, "salesforce.Contact.Title")) == 1
    build(lake, [CONTACT], told(("1", "Title", "ours", 2)), at(5))
    assert values(lake, "salesforce.Contact.Title") == []


def test_why_a_deal_was_won_or_lost_is_a_column(lake: Lake) -> None:
    """HubSpot's own properties; of Salesforce, where it is a field of one's own, by `fields`."""
    named = ObjectConfig(name="Opportunity", fields={"lost_reason": "Loss_Reason__c"})
    org = mapping_of(named)
    assert org is not None
    deals, sales = (
        ObjectSpec("hubspot", "deals", HUBSPOT_MAPPINGS["deals"]),
        ObjectSpec("salesforce", "Opportunity", org),
    )
    told = {"hs_object_id": "1", "closed_lost_reason": "Price"}
    pull(lake, deals, version("1", 0, {"id": "1", "properties": told}))
    pull(lake, sales, version("1", 0, {"Id": "1", "Loss_Reason__c": "Price"}))
    build(lake, [deals, sales], None, at(1))
    rows = lake.open(entity_table("opportunity")).scan().collect()
    assert rows["lost_reason"].to_list() == ["Price", "Price"]
    assert "won_reason" in rows.columns
