"""Redaction, paging, configuration, mappings, descriptions."""

from __future__ import annotations

import inspect
import json
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cdp_assets.connectors import base
from cdp_assets.connectors.base import (
    ConnectorError,
    Description,
    FieldInfo,
    ObjectInfo,
    ObjectMapping,
)
from cdp_assets.connectors.frames import moments
from cdp_assets.connectors.hubspot import HubSpot, HubSpotConfig
from cdp_assets.connectors.hubspot import mapping as hubspot_mapping
from cdp_assets.connectors.paging import pages_ahead
from cdp_assets.connectors.redaction import redact, redact_path
from cdp_assets.connectors.salesforce import Salesforce, SalesforceConfig
from cdp_assets.connectors.salesforce import mapping as salesforce_mapping
from cdp_assets.connectors.salesforce.describe import SalesforceField, SalesforceObject, object_info
from cdp_assets.connectors.sugarcrm import SugarCRM
from cdp_assets.connectors.zendesk import Zendesk
from cdp_assets_tests.connectors.stand_in import StandIn

COMMON = {
    "name", "first_name", "last_name", "email", "phone", "title", "company", "domain", "website",
    "stage", "status", "amount", "currency", "subject", "kind", "owner", "closed_at",
    "occurred_at", "created_at", "changed_at", "before", "after",
    "won_reason", "lost_reason",
}  # fmt: skip
ENTITIES = {"person", "account", "opportunity", "ticket", "activity", "product", "user", "change"}

# Redaction


@given(
    st.text(alphabet=st.characters(categories=["L", "Nd"], include_characters=" .'-"), min_size=4),
    st.sampled_from(
        [
            "Title: data value too large: {} (max length=10)",
            'Property values were not valid: [{{"isValid":false,"message":"{} was wrong"}}]',
            "{} is no longer available",
            "duplicate value found: Email duplicates value on record with id: {}",
        ]
    ),
)
def test_no_value_of_the_request_is_in_the_text(value: str, template: str) -> None:
    said = redact(template.format(value), [value])
    assert value.strip().lower() not in said.lower() or value.strip().lower() in template.lower()
    assert len(said) <= 200


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("Email ada@example.com is taken", "ada@"),
        ("call +1 (415) 555-0100 now", "555"),
        ('value "Ada Lovelace" is bad', "Lovelace"),
        ("<html><script>x='Ada'</script><b>Ada</b></html>", "<b>"),
        ("bad value for restricted picklist field: Countess", "Countess"),
        ("Authorization: Bearer 00Dxx!AQEAQ.abc", "AQEAQ"),
        ("see https://x.example/?token=abc", "token=abc"),
        ("Contact already exists. Existing ID: 4711", "4711"),
        ("id 003xx000004TmiQAAS", "TmiQ"),
        ("x" * 5000, "x" * 201),
    ],
)
def test_what_vendors_echo_is_taken_out(text: str, gone: str) -> None:
    assert gone not in redact(text)


def test_what_helps_stays() -> None:
    said = redact("FIELD_CUSTOM_VALIDATION_EXCEPTION: Close date must lie in the future")
    assert said == "FIELD_CUSTOM_VALIDATION_EXCEPTION: Close date must lie in the future"


def test_ids_in_a_path_are_no_one_s_business() -> None:
    path = "/crm/v3/objects/contacts/123456?email=ada%40example.com"
    assert redact_path(path) == "/crm/v3/objects/contacts/…"
    assert redact_path("/services/data/v62.0/sobjects/Contact/003D000000QAXt6IAH") == (
        "/services/data/v62.0/sobjects/Contact/…"
    )


# Paging


def test_a_circle_of_page_marks_is_an_error_and_no_end() -> None:
    marks = {None: "A", "A": "B", "B": "A"}
    seen = []
    with pytest.raises(ConnectorError, match="circle"):
        seen += list(pages_ahead("crm: pull", lambda mark: (mark, marks[mark])))


def test_an_error_of_the_next_page_comes_after_the_present_one() -> None:
    def fetch(mark: str | None) -> tuple[int, str | None]:
        if mark is None:
            return 1, "next"
        raise ConnectorError("gone")

    pages = pages_ahead("crm: pull", fetch)
    assert next(pages) == 1
    with pytest.raises(ConnectorError, match="gone"):
        next(pages)


# Frames


@given(st.lists(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1))))
def test_moments_in_every_spelling_of_utc(times: list[datetime]) -> None:
    for zone in ("+0000", "+00:00", "Z"):
        texts: list[str | None] = [
            t.strftime("%Y-%m-%dT%H:%M:%S.") + f"{t.microsecond // 1000:03d}{zone}" for t in times
        ]
        expected = [t.replace(microsecond=t.microsecond // 1000 * 1000, tzinfo=UTC) for t in times]
        assert moments([*texts, None]).to_list() == [*expected, None]


def test_moments_without_fractions() -> None:
    assert moments(["2026-01-02T03:04:05Z"]).to_list() == [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    ]


# Configuration


def salesforce(**more: Any) -> SalesforceConfig:
    given = {"url": "https://x.example", "client_id": "i", "client_secret": "s", **more}
    return SalesforceConfig.model_validate({"objects": ["Contact"], **given})


def test_the_shapes_of_the_issue() -> None:
    custom = {"name": "Subscription__c", "as": "subscription", "fields": {"account": "Account__c"}}
    config = salesforce(
        objects=["Account", custom], start="2015-01-01", every="15m", api_budget="30%"
    )
    assert config.every == timedelta(minutes=15)
    assert config.api_budget == 0.3
    assert config.start_at == datetime(2015, 1, 1, tzinfo=UTC)
    assert list(config.object_configs) == ["Account", "Subscription__c"]
    assert config.object_configs["Subscription__c"].as_ == "subscription"
    hubspot = HubSpotConfig.model_validate(
        {"token": "t", "objects": ["contacts"], "start": date(2020, 1, 1)}
    )
    assert hubspot.url == "https://api.hubapi.com"


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"every": 15}, "every"), ({"every": "15 minutes"}, "every"), ({"every": "0m"}, "every"),
        ({"every": "99999999999999d"}, "every"),
        ({"api_budget": "130%"}, "api_budget"), ({"api_budget": True}, "api_budget"),
        ({"api_budget": "0%"}, "api_budget"), ({"objects": []}, "objects"),
        ({"objcts": ["x"]}, "objcts"), ({"objects": [{"name": "X", "As": "x"}]}, "objects"),
        ({"objects": [{"name": "X", "as": "Big X"}]}, "objects"), ({"start": "soon"}, "start"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(more: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        salesforce(**more)
    assert caught.value.errors()[0]["loc"][0] == place


def test_the_schema_can_be_shown_and_secrets_cannot() -> None:
    for model in (SalesforceConfig, HubSpotConfig):
        assert all(p.get("description") for p in model.model_json_schema()["properties"].values())
    assert "'s'" not in repr(salesforce())
    assert "s3cret" not in salesforce(client_secret="s3cret").model_dump_json()


# Mappings


@pytest.mark.parametrize(
    "found", [*salesforce_mapping.MAPPINGS.values(), *hubspot_mapping.MAPPINGS.values()]
)
def test_mappings_use_the_common_words(found: ObjectMapping) -> None:
    assert found.columns.keys() <= COMMON
    assert found.entity in ENTITIES
    assert {"created_at", "changed_at"} <= found.columns.keys()


def test_an_object_of_one_s_own() -> None:
    custom = {"name": "Subscription__c", "as": "subscription",
              "fields": {"account": "Account__c", "mrr": "MRR__c"}}  # fmt: skip
    source = Salesforce("sf", salesforce(objects=["Contact", custom, "Other__c"]))
    found = source.mapping("Subscription__c")
    assert found is not None
    assert (found.entity, found.columns["mrr"]) == ("subscription", "MRR__c")
    assert [(r.kind, r.field, r.to) for r in found.relations] == [
        ("account", "Account__c", "Account")
    ]
    assert source.mapping("Other__c") is None
    contact = source.mapping("Contact")
    assert contact is not None
    assert contact.identifiers["email"] == ("Email",)


def test_a_person_under_another_name_brings_no_identifiers() -> None:
    config = HubSpotConfig.model_validate(
        {"token": "t", "objects": [{"name": "contacts", "as": "partner"}, "companies"]}
    )
    source = HubSpot("hs", config)
    partner, company = source.mapping("contacts"), source.mapping("companies")
    assert partner is not None
    assert company is not None
    assert (partner.entity, partner.identifiers) == ("partner", {})
    assert company.association_kinds["companies"] == "account"


# Descriptions


@pytest.mark.skipif("CDP_SPECS" not in os.environ, reason="CDP_SPECS names no folder of specs")
@pytest.mark.parametrize("name", ["Account", "Contact", "Lead", "Opportunity", "Case", "Event"])
def test_published_describes_are_read(name: str) -> None:
    import msgspec

    path = Path(os.environ["CDP_SPECS"]) / "salesforce" / "describe" / f"{name}.json"
    found = msgspec.json.decode(path.read_bytes(), type=SalesforceObject)
    info = object_info(found)
    assert found.cursor == "SystemModstamp"
    assert {"Id", "SystemModstamp", "IsDeleted"} <= set(found.pulled)
    assert not {f.name for f in found.fields if f.type == "address"} & set(found.pulled)
    mapped = salesforce_mapping.MAPPINGS[name]
    needed = {f for fields in mapped.identifiers.values() for f in fields}
    needed |= {r.field for r in mapped.relations if r.field != "ContactId"}
    optional = {"CurrencyIsoCode"}
    assert needed | set(mapped.columns.values()) <= set(info.fields) | optional
    assert "other" not in {f.type for n, f in info.fields.items() if n in mapped.columns.values()}


def test_the_cursor_is_what_can_be_filtered() -> None:
    def field(name: str, filterable: bool) -> SalesforceField:
        return SalesforceField(name=name, type="datetime", filterable=filterable)

    both = [field("SystemModstamp", True), field("CreatedDate", True)]
    assert SalesforceObject(name="X", fields=both).cursor == "SystemModstamp"
    history = [field("SystemModstamp", False), field("CreatedDate", True)]
    assert SalesforceObject(name="X", fields=history).cursor == "CreatedDate"
    assert SalesforceObject(name="X", fields=[]).cursor is None


def test_a_description_is_kept_with_those_made_before(tmp_path: Path) -> None:
    def described(name: str) -> Description:
        info = ObjectInfo(name=name, fields={"F": FieldInfo(name="F", type="email")})
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return Description(source="crm", system="x", taken_at=now, objects={name: info})

    described("A").save(tmp_path)
    described("B").save(tmp_path)
    found = Description.load(tmp_path, "crm")
    assert found is not None
    assert set(found.objects) == {"A", "B"}
    assert found.objects["A"].fields["F"].type == "email"
    assert [p.name for p in tmp_path.iterdir()] == ["crm.json"]
    assert json.loads((tmp_path / "crm.json").read_text())["system"] == "x"
    assert Description.load(tmp_path, "other") is None


@pytest.mark.parametrize("connector", [Salesforce, HubSpot, Zendesk, SugarCRM])
@pytest.mark.parametrize(
    "promise",
    [
        base.Source, base.Destination, base.ListDestination, base.FieldMaker, base.KeyLister,
        base.Batching, base.Priced,
    ],
)  # fmt: skip
def test_what_a_connector_offers_can_be_called_as_promised(connector: type, promise: type) -> None:
    for name, method in inspect.getmembers(promise, inspect.isfunction):
        if name.startswith("_") or not hasattr(connector, name):
            continue
        takes = list(inspect.signature(getattr(connector, name)).parameters)
        assert takes == list(inspect.signature(method).parameters), f"{connector}.{name}"


def test_what_a_user_may_not_write_is_known_beforehand(stand_in: StandIn) -> None:
    ops = ("create", "update")
    zendesk, sugar = stand_in.zendesk(), stand_in.sugarcrm()
    assert zendesk.missing_rights("users", ops) == []
    assert sugar.missing_rights("Contacts", ops) == []
    closed = {"Contacts": {"edit": "no"}, "Leads": {"access": "no"}}
    stand_in.control("POST", "limits", {"zendesk_role": "end-user", "sugarcrm_closed": closed})
    (said,) = zendesk.missing_rights("users", ops)
    assert "end-user" in said
    (said,) = sugar.missing_rights("Contacts", ops)
    assert "edit records of Contacts" in said
    assert len(sugar.missing_rights("Leads", ops)) == 2
    assert sugar.missing_rights("Accounts", ops) == []
    stand_in.control("POST", "limits", {})
