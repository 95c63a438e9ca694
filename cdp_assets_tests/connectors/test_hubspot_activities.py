"""What is pulled of HubSpot beside contacts, companies, deals and tickets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.base import RowChange, Unavailable, WrongObject
from cdp_assets.connectors.config import ObjectConfig
from cdp_assets.connectors.hubspot import HubSpot
from cdp_assets.connectors.hubspot import marketing as marketing_module
from cdp_assets.connectors.hubspot import snapshots as snapshots_module
from cdp_assets.connectors.hubspot.mapping import mapping
from cdp_assets.records.config import ObjectSpec
from cdp_assets.records.versions import entity_rows, latest, read_versions, relation_rows
from cdp_assets_tests.connectors.stand_in import StandIn
from cdp_assets_tests.connectors.test_hubspot_pull import (
    START,
    create,
    everything,
    later,
    listed,
    same,
    searched,
)

MARCH = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def make(source: HubSpot, name: str, /, *links: tuple[str, str], **fields: Any) -> str:
    outcome = source.write(name, [RowChange(1, "create", fields, links=links)])[0]
    assert outcome.ok, outcome
    return str(outcome.record_id)


def read(rows: pl.DataFrame, name: str, **config: Any) -> tuple[dict[str, Any], set[Any]]:
    """The records of a pull as entities by id, and their relations as (from, kind, to)."""
    mapped = mapping(ObjectConfig(name=name, **config))
    assert mapped is not None
    spec = ObjectSpec("hubspot", name, mapped)
    rows = rows.unique(["record_id", "op", "payload_hash"])
    stamped = rows.with_columns(extracted_at=pl.lit(later()).cast(pl.Datetime("us", "UTC")))
    versions, refused = read_versions(stamped, spec)
    assert refused.is_empty()
    state = latest(versions, spec)
    entities = {row["record_id"]: row for row in entity_rows(state, spec).iter_rows(named=True)}
    relations = {(r["from"], r["kind"], r["to"]) for r in relation_rows(state, spec).to_dicts()}
    return entities, relations


ENGAGEMENTS: Mapping[str, tuple[dict[str, str], tuple[str | None, str | None, str | None]]] = {
    "calls": (
        {"hs_call_title": "Hello", "hs_call_direction": "OUTBOUND", "hs_call_status": "COMPLETED"},
        ("Hello", "OUTBOUND", "COMPLETED"),
    ),
    "emails": (
        {"hs_email_subject": "Hi", "hs_email_direction": "EMAIL", "hs_email_status": "SENT"},
        ("Hi", "EMAIL", "SENT"),
    ),
    "meetings": (
        {"hs_meeting_title": "Demo", "hs_meeting_outcome": "NO_SHOW"},
        ("Demo", None, "NO_SHOW"),
    ),
    "notes": ({"hs_note_body": "Likes tea"}, ("Likes tea", None, None)),
    "tasks": (
        {"hs_task_subject": "Call", "hs_task_type": "CALL", "hs_task_status": "WAITING"},
        ("Call", "CALL", "WAITING"),
    ),
}


@pytest.mark.parametrize("name", ENGAGEMENTS)
def test_engagements_are_activities_of_whom_they_concern(stand_in: StandIn, name: str) -> None:
    source = stand_in.hubspot()
    (contact,) = create(source, 1, f"met-{name}")
    company = make(source, "companies", name="Met")
    deal = make(source, "deals", dealname="Met")
    fields, (subject, kind, status) = ENGAGEMENTS[name]
    links = (("contacts", contact), ("companies", company), ("deals", deal))
    key = make(source, name, *links, hs_timestamp="2026-03-01T09:00:00Z", hubspot_owner_id="501",
               **fields)  # fmt: skip
    rows = listed(source, name)
    assert same(rows, searched(source, name))
    entities, relations = read(rows, name)
    found = entities[key]
    assert (found["subject"], found["kind"], found["status"]) == (subject, kind, status)
    assert found["occurred_at"].startswith("2026-03-01T09:00:00")
    assert found["created_at"] is not None
    assert {(k, to) for origin, k, to in relations if origin.endswith(f":{key}")} == {
        ("person", f"hubspot.contacts:{contact}"), ("account", f"hubspot.companies:{company}"),
        ("opportunity", f"hubspot.deals:{deal}"), ("owner", "hubspot.owners:501"),
    }  # fmt: skip
    assert source.write(name, [RowChange(1, "delete", {}, record_id=key)])[0].ok
    assert read(listed(source, name), name)[0][key]["deleted"]


def test_survey_answers_are_activities(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    (contact,) = create(source, 1, "asked")
    key = make(
        source, "feedback_submissions", ("contacts", contact), hs_survey_name="NPS",
        hs_survey_type="NPS", hs_response_group="DETRACTOR", hs_value="3",
        hs_submission_timestamp="2026-03-01T09:00:00Z",
    )  # fmt: skip
    entities, relations = read(listed(source, "feedback_submissions"), "feedback_submissions")
    found = entities[key]
    assert (found["subject"], found["status"]) == ("NPS", "DETRACTOR")
    assert found["occurred_at"].startswith("2026-03-01T09")
    assert (f"hubspot.feedback_submissions:{key}", "person", f"hubspot.contacts:{contact}") in (
        relations
    )


def test_owners_without_access_are_kept_as_deleted(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stand_in.hubspot()
    monkeypatch.setattr(snapshots_module, "_OWNERS_PAGE", 5)
    before, _ = read(listed(source, "owners"), "owners")
    assert len(before) == 12
    assert before["512"]["name"]
    assert "@" in before["512"]["email"]
    keys = pl.concat(source.keys("owners"))
    assert set(keys["record_id"]) == set(before)
    stand_in.control("POST", "hubspot/archive-owner", {"id": "512"})
    # Whatever the window: taking somebody's access moves no date.
    after, _ = read(everything(source.pull("owners", MARCH, MARCH + DAY)), "owners")
    assert {i for i, row in after.items() if row["deleted"]} == {"512"}
    assert "512" not in set(pl.concat(source.keys("owners"))["record_id"])
    fields = source.describe(["owners", "contacts"]).objects
    assert {"email", "archived"} <= fields["owners"].fields.keys()
    assert "email" in fields["contacts"].fields
    assert not source.has_news("owners", START)


def test_lists_and_who_is_on_them(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stand_in.hubspot(lists=["Pulled one", "Pulled two"])
    for name in ("_LISTS_PAGE", "_MEMBERS_PAGE"):
        monkeypatch.setattr(snapshots_module, name, 2)
    ids = create(source, 5, "onlist")
    one, two, other = (
        source.create_list(n, "contacts") for n in ("Pulled one", "Pulled two", "Not pulled")
    )
    for made in (one, two, other):
        source.change_members(made, ids, [])
    assert {one, two, other} <= read(listed(source, "lists"), "lists", **{"as": "segment"})[
        0
    ].keys()
    assert mapping(ObjectConfig(name="lists")) is None
    entities, relations = read(listed(source, "list_members"), "list_members")
    assert entities.keys() == {f"{made}:{i}" for made in (one, two) for i in ids}
    found = entities[f"{one}:{ids[0]}"]
    assert (found["subject"], found["kind"]) == ("Pulled one", "list")
    assert found["occurred_at"]
    assert (found["record"], "person", f"hubspot.contacts:{ids[0]}") in relations
    source.change_members(one, [], ids[:1])
    keys = set(pl.concat(source.keys("list_members"))["record_id"])
    assert keys == entities.keys() - {f"{one}:{ids[0]}"}
    source._client.http.request("DELETE", f"/crm/v3/lists/{two}", what="delete")
    with pytest.raises(WrongObject, match="no list `pulled two`"):
        listed(source, "list_members")


def test_lists_that_did_not_all_come_are_no_whole(stand_in: StandIn) -> None:
    one = {"listId": "1", "name": "One", "objectTypeId": "0-1", "processingType": "MANUAL"}
    body = {"lists": [one], "hasMore": False, "offset": 1, "total": 2}
    stand_in.faults({"match": "lists/search", "status": 200, "body": body, "times": 2})
    source = stand_in.hubspot()
    with pytest.raises(Unavailable, match="1 of 2 lists"):
        listed(source, "lists")
    with pytest.raises(Unavailable, match="1 of 2 lists"):
        list(source.keys("lists"))


def mail(n: int, kind: str, at: datetime, who: str, **more: Any) -> dict[str, Any]:
    created = int(at.timestamp() * 1000)
    return {"id": f"{kind}-{n}", "created": created, "type": kind, "recipient": who,
            "emailCampaignId": 7, "appId": 1, **more}  # fmt: skip


def test_marketing_e_mail_events_lie_beside_the_contact(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stand_in.hubspot()
    (contact,) = create(source, 1, "reader")
    events = [
        mail(n, kind, MARCH + timedelta(minutes=n), "Reader0@made.example", subject="News")
        for n, kind in enumerate(["SENT", "OPEN", "CLICK", "BOUNCE", "STATUSCHANGE"] * 5)
    ]
    events += [
        mail(90, "DELIVERED", MARCH, "reader0@made.example"),
        mail(91, "OPEN", MARCH, "nobody@made.example"),
        mail(92, "OPEN", MARCH - timedelta(milliseconds=1), "reader0@made.example"),
        mail(93, "OPEN", MARCH + DAY, "reader0@made.example"),
    ]
    stand_in.control("POST", "hubspot/marketing", {"email_events": events})
    monkeypatch.setattr(marketing_module, "_EVENTS_PAGE", 2)
    rows = everything(source.pull("email_events", MARCH, MARCH + DAY))
    rows = rows.filter(pl.col("record_id").is_in([e["id"] for e in events]))  # not other tests'
    assert set(rows["record_id"]) == {e["id"] for e in events[:25]} | {"OPEN-91"}
    entities, relations = read(rows, "email_events")
    found = entities["CLICK-2"]
    assert (found["kind"], found["subject"]) == ("CLICK", "News")
    assert found["created_at"] == MARCH + timedelta(minutes=2)
    mine = {origin for origin, kind, to in relations if to == f"hubspot.contacts:{contact}"}
    assert len(mine) == 25
    assert source.has_news("email_events", MARCH)
    assert not source.has_news("email_events", MARCH + DAY)
    with pytest.raises(WrongObject, match="never taken back"):
        list(source.keys("email_events"))


def test_form_submissions_are_read_back_to_the_window_s_start(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stand_in.hubspot()
    (contact,) = create(source, 1, "sender")
    forms = [{"id": f"form-{n}", "name": f"Form {n}"} for n in range(3)]
    sent = [
        {"conversionId": f"{form['id']}-{n}", "form": form["id"], "pageUrl": "https://x.example/",
         "submittedAt": int((MARCH + n * timedelta(hours=1)).timestamp() * 1000),
         "values": [{"name": "email", "value": "sender0@made.example"}]}
        for form in forms for n in range(30)
    ]  # fmt: skip
    stand_in.control("POST", "hubspot/marketing", {"forms": forms, "submissions": sent})
    monkeypatch.setattr(marketing_module, "_SUBMISSIONS_PAGE", 5)
    monkeypatch.setattr(marketing_module, "_FORMS_PAGE", 2)
    stand_in.control("DELETE", "journal")
    start = MARCH + timedelta(hours=20)
    rows = everything(source.pull("form_submissions", start, start + timedelta(hours=5)))
    assert set(rows["record_id"]) == {f"form-{f}-{n}" for f in range(3) for n in range(20, 25)}
    asked = [e for e in stand_in.journal() if "/submissions/forms/form-" in e["path"]]
    assert len(asked) <= 3 * 4, "older pages are not asked for"
    entities, relations = read(rows, "form_submissions")
    found = entities["form-1-20"]
    assert (found["subject"], found["kind"], found["email"]) == (
        "Form 1", "form", "sender0@made.example"
    )  # fmt: skip
    assert (found["record"], "person", f"hubspot.contacts:{contact}") in relations


@pytest.mark.parametrize("wide", [True, False])
def test_former_values_are_rows_of_their_own(stand_in: StandIn, wide: bool) -> None:
    source = stand_in.hubspot(history={"contacts": ["city", "orders"]})
    day = datetime(2026, 4, 1 if wide else 11, tzinfo=UTC)

    def at(hour: int) -> None:
        moment = day + timedelta(hours=hour)
        stand_in.control("POST", "clock", {"now": moment.isoformat()})

    at(1)
    (key,) = [make(source, "contacts", email=f"moved{wide}@made.example", city="Rome")]
    for hour, city in ((2, "Oslo"), (3, "Oslo"), (4, ""), (30, "Bonn")):
        at(hour)
        source.write("contacts", [RowChange(1, "update", {"city": city}, record_id=key)])
    stand_in.control("POST", "clock", {})
    start, end = day + timedelta(hours=2), day + timedelta(hours=30)
    rows = everything(source.pull("contacts_history", START if wide else start, end))
    mine = [json.loads(p) for p in rows.sort("cursor_at")["payload"] if f'"{key}"' in p]
    said = [(p["property"], p["value"]) for p in mine]
    assert said == ([("city", "Rome")] if wide else []) + [("city", "Oslo"), ("city", "")]
    assert all(p["sourceType"] == "INTEGRATION" and p["recordId"] == key for p in mine)
    assert source.has_news("contacts_history", START)
    assert "property" in source.describe(["contacts_history"]).objects["contacts_history"].fields


CARS = {
    "name": "cars", "labels": {"singular": "Car", "plural": "Cars"},
    "requiredProperties": ["plate"], "primaryDisplayProperty": "plate",
    "properties": [
        {"name": "plate", "label": "Plate", "type": "string", "fieldType": "text",
         "hasUniqueValue": True},
        {"name": "seats", "label": "Seats", "type": "number", "fieldType": "number"},
    ],
    "associatedObjects": ["contacts", "deals"],
}  # fmt: skip


def test_custom_objects_by_full_name_or_type_id(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    made = source._client.post("/crm/v3/schemas", CARS, what="make").body
    full, number = made["fullyQualifiedName"], made["objectTypeId"]
    (contact,) = create(source, 1, "driver")
    key = make(source, full, ("contacts", contact), plate="CDP 1", seats="4")
    for name in (full, number):
        described = source.describe([name]).objects[name].fields
        assert described["plate"].unique
        entities, relations = read(
            listed(source, name), name, **{"as": "car", "fields": {"plate": "plate"}}
        )
        assert entities[key]["plate"] == "CDP 1"
        assert entities[key]["created_at"] is not None
        record = f"hubspot.{name}:{key}"
        assert relations == {(record, "person", f"hubspot.contacts:{contact}")}
        upsert = RowChange(1, "upsert", {"seats": "5"}, key_field="plate", key_value="CDP 1")
        assert source.write(name, [upsert])[0].record_id == key
        assert set(pl.concat(source.keys(name))["record_id"]) == {key}
    members = source.create_list("Cars in stock", full)
    assert source.list_id("cars in stock") == members
    assert source.change_members(members, [key], [])[0].ok
    with pytest.raises(WrongObject, match="no object"):
        source.create_list("No such", "p8888888_boats")


def test_labels_of_associations_come_with_the_record(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    path = "/crm/v4/associations/deals/contacts/labels"
    body = {"label": "Decision maker", "name": "decision_maker"}
    label = source._client.post(path, body, what="make").body["results"][0]
    contact, other = create(source, 2, "label")
    deal = make(source, "deals", ("contacts", other), dealname="Labelled")
    types = [{"associationCategory": "USER_DEFINED", "associationTypeId": label["typeId"]}]
    put = f"/crm/v4/objects/deals/{deal}/associations/contacts/{contact}"
    source._client.post(put, types, what="label", method="PUT")
    for rows in (listed(source, "deals"), searched(source, "deals")):
        payload = json.loads(rows.filter(record_id=deal, op="upsert")["payload"][0])
        found = payload["associations"]["contacts"]["results"]
        assert {(r["id"], r["label"]) for r in found} == {
            (contact, "Decision maker"), (contact, None), (other, None)
        }  # fmt: skip
