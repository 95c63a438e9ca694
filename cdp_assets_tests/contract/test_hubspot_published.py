"""The stand-in HubSpot against the vendor's own OpenAPI documents: every reply is validated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests

from cdp_assets_tests.sandbox.running import Running

Call = Callable[..., Any]


def without_nulls(value: Any) -> Any:
    """The real API shows empty properties and missing labels as null, which the documents do not
    say; everything else has to hold as it is."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def call(sandbox: Running, specs: Path) -> Call:
    """Send a request and validate the reply: `call(document, method, template, body=…, **path)`."""
    loaded: dict[str, dict[str, Any]] = {}

    def send(
        name: str, method: str, template: str, body: Any = None, *, status: int,
        params: dict[str, str] | None = None, **path: str,
    ) -> Any:  # fmt: skip
        if name not in loaded:
            file = specs / "hubspot" / "openapi" / f"{name}.json"
            loaded[name] = json.loads(file.read_bytes())
        document = loaded[name]
        operation = document["paths"][template][method.lower()]
        reply = sandbox.hubspot(method, template.format(**path), json=body, params=params)
        assert reply.status_code == status, reply.text
        wanted = operation["responses"].get(str(status), {})
        schema = wanted.get("content", {}).get("application/json", {}).get("schema")
        if status >= 400:
            schema = {"$ref": "#/components/schemas/Error"}
        if schema is None:
            assert reply.content == b""
            return None
        whole = schema | {"components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(without_nulls(reply.json()))
        return reply.json()

    return send


OBJECTS = "/crm/v3/objects/{objectType}"


NAMES = {
    "contacts": "firstname", "companies": "name", "deals": "dealname", "tickets": "subject",
    "calls": "hs_call_title", "emails": "hs_email_subject", "meetings": "hs_meeting_title",
    "notes": "hs_note_body", "tasks": "hs_task_subject", "feedback_submissions": "hs_survey_name",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["contacts", "companies", "deals", "tickets"])
def test_records(call: Call, kind: str) -> None:
    name = NAMES[kind]

    def on(method: str, path: str = "", body: Any = None, **more: Any) -> Any:
        return call("objects", method, OBJECTS + path, body, objectType=kind, **more)

    made = on("POST", body={"properties": {name: "One"}}, status=201)
    one = "/{objectId}"
    on("GET", one, objectId=made["id"], status=200)
    on("PATCH", one, {"properties": {name: "Two"}}, objectId=made["id"], status=200)
    page = on("GET", status=200, params={"limit": "5", "associations": "contacts,companies"})
    assert len(page["results"]) == 5
    on("GET", status=200, params={"after": page["paging"]["next"]["after"], "archived": "false"})
    batch = {"inputs": [{"properties": {name: "Three"}}, {"properties": {name: "Four"}}]}
    both = on("POST", "/batch/create", batch, status=201)
    ids = [{"id": result["id"]} for result in both["results"]]
    update = {"inputs": [i | {"properties": {name: "Five"}} for i in ids]}
    on("POST", "/batch/update", update, status=200)
    read = {"properties": [name], "propertiesWithHistory": [], "inputs": ids}
    on("POST", "/batch/read", read, status=200)
    on("POST", "/batch/read", read | {"inputs": [*ids, {"id": "1"}]}, status=207)
    search = {
        "filterGroups": [
            {"filters": [{"propertyName": name, "operator": "EQ", "value": "five"}]}
        ],
        "sorts": ["createdate"], "limit": 1, "properties": [name],
    }  # fmt: skip
    found = on("POST", "/search", search, status=200)
    assert (found["total"], found["paging"]["next"]["after"]) == (2, "1")
    on("POST", "/batch/archive", {"inputs": ids}, status=204)
    assert on("GET", status=200, params={"archived": "true"})["results"]
    on("DELETE", one, objectId=made["id"], status=204)
    on("GET", one, objectId=made["id"], status=404)
    on("POST", body={"properties": {"no_such_property": "x"}}, status=400)


@pytest.mark.parametrize("kind", list(NAMES)[4:])
def test_activities(call: Call, kind: str) -> None:
    def on(method: str, path: str = "", body: Any = None, **more: Any) -> Any:
        return call("objects", method, OBJECTS + path, body, objectType=kind, **more)

    contact = call("contacts", "POST", "/crm/v3/objects/contacts", {"properties": {}}, status=201)
    labels = call("associations_v4_schema", "GET",
                  "/crm/v4/associations/{fromObjectType}/{toObjectType}/labels", status=200,
                  fromObjectType=kind, toObjectType="contacts")  # fmt: skip
    plain = next(one for one in labels["results"] if one["label"] is None)
    link = {"to": {"id": contact["id"]}, "types": [
        {"associationCategory": plain["category"], "associationTypeId": plain["typeId"]}
    ]}  # fmt: skip
    given = {NAMES[kind]: "One", "hs_timestamp": "2026-03-01T09:00:00Z"}
    if kind == "feedback_submissions":
        del given["hs_timestamp"]
    made = on("POST", body={"properties": given, "associations": [link]}, status=201)
    inputs = {"inputs": [{"properties": given, "associations": [link]}] * 2}
    on("POST", "/batch/create", inputs, status=201)
    shown = on("GET", "/{objectId}", objectId=made["id"], status=200,
               params={"associations": "contacts"})  # fmt: skip
    assert shown["associations"]["contacts"]["results"][0]["id"] == contact["id"]
    on("PATCH", "/{objectId}", {"properties": {NAMES[kind]: "Two"}}, objectId=made["id"],
       status=200)  # fmt: skip
    read = {
        "properties": [],
        "propertiesWithHistory": [NAMES[kind]],
        "inputs": [{"id": made["id"]}],
    }
    former = on("POST", "/batch/read", read, status=200)["results"][0]["propertiesWithHistory"]
    assert [one["value"] for one in former[NAMES[kind]]] == ["Two", "One"]
    on("POST", "/batch/read", read | {"inputs": [{"id": "1"}] * 51}, status=400)
    on("POST", "/batch/archive", {"inputs": [{"id": made["id"]}, {"id": "1"}]}, status=204)
    archived = on("GET", status=200, params={"archived": "true", "limit": "100"})
    assert made["id"] in [one["id"] for one in archived["results"]]


def test_lists(call: Call) -> None:
    base, one = "/crm/v3/lists/", "/crm/v3/lists/{listId}"

    def on(method: str, path: str, body: Any = None, **more: Any) -> Any:
        return call("lists", method, path, body, **{"status": 200} | more)

    new = {"name": "Spec list", "objectTypeId": "0-1", "processingType": "MANUAL"}
    key = on("POST", base, new)["list"]["listId"]
    on("POST", base, new, status=400)
    named = base + "object-type-id/{objectTypeId}/name/{listName}"
    found = on("GET", named, objectTypeId="0-1", listName="spec LIST")
    assert found["list"]["listId"] == key
    on("GET", named, objectTypeId="0-1", listName="no such", status=404)
    on("GET", one, listId=key)
    assert on("GET", base, params={"listIds": key})["lists"][0]["listId"] == key
    page = on("POST", base + "search", {"query": "spec", "count": 1})
    assert (page["total"], page["hasMore"], page["lists"][0]["name"]) == (1, False, "Spec list")
    ids = [
        call("contacts", "POST", "/crm/v3/objects/contacts", {"properties": {}}, status=201)["id"]
        for _ in range(3)
    ]
    members = one + "/memberships"
    changed = on("PUT", members + "/add", [*ids, "1"], listId=key)
    assert changed == {
        "recordsIdsAdded": ids, "recordIdsRemoved": [], "recordIdsMissing": ["1"]
    }  # fmt: skip
    on("PUT", members + "/remove", ids[:1], listId=key)
    both = {"recordIdsToAdd": ids[:1], "recordIdsToRemove": ids[1:2]}
    assert on("PUT", members + "/add-and-remove", both, listId=key)["recordIdsRemoved"] == ids[1:2]
    first = on("GET", members, listId=key, params={"limit": "1"})
    after = first["paging"]["next"]["after"]
    rest = on("GET", members, listId=key, params={"limit": "1", "after": after})
    assert [m["recordId"] for m in (*first["results"], *rest["results"])] == [ids[0], ids[2]]
    on("GET", members + "/join-order", listId=key)
    on("PUT", one + "/update-list-name", listId=key, params={"listName": "Spec list 2"})
    dynamic = new | {"name": "Spec dynamic", "processingType": "DYNAMIC"}
    on("POST", base, dynamic, status=400)
    branch = {"filterBranchType": "OR", "filterBranchOperator": "OR", "filterBranches": [],
              "filters": []}  # fmt: skip
    other = on("POST", base, dynamic | {"filterBranch": branch})["list"]["listId"]
    refused = on("PUT", members + "/add", ids, listId=other, status=400)
    assert refused["subCategory"] == "ILS.INVALID_LIST_PROCESSING_TYPE"
    on("DELETE", members, listId=key, status=204)
    on("DELETE", one, listId=key, status=204)
    on("GET", members, listId=key, status=404)
    on("PUT", one + "/restore", listId=key, status=204)
    on("GET", one, listId=key)


def test_custom_objects(call: Call) -> None:
    base, one = "/crm-object-schemas/v3/schemas", "/crm-object-schemas/v3/schemas/{objectType}"
    new = {
        "name": "spec_cars", "labels": {"singular": "Car", "plural": "Cars"},
        "requiredProperties": ["plate"], "primaryDisplayProperty": "plate",
        "properties": [{"name": "plate", "label": "Plate", "type": "string", "fieldType": "text"}],
        "associatedObjects": ["contacts"],
    }  # fmt: skip
    made = call("schemas", "POST", base, new, status=201)
    call("schemas", "POST", base, new, status=409)
    full = made["fullyQualifiedName"]
    shown = call("schemas", "GET", one, objectType=full, status=200)
    assert shown["associations"][0]["toObjectTypeId"] == "0-1"
    assert full in [
        s["fullyQualifiedName"] for s in call("schemas", "GET", base, status=200)["results"]
    ]
    for name in (full, made["objectTypeId"]):
        car = call("objects", "POST", OBJECTS, {"properties": {"plate": "X"}}, objectType=name,
                   status=201)  # fmt: skip
        assert "hs_createdate" in car["properties"]
    call("objects", "POST", OBJECTS, {"properties": {}}, objectType=full, status=400)
    call("properties", "GET", "/crm/v3/properties/{objectType}", objectType=full, status=200)
    call("schemas", "DELETE", one, objectType=full, status=204)
    call("schemas", "GET", one, objectType=full, status=404)


def test_groups_of_properties_and_archived_owners(call: Call, sandbox: Running) -> None:
    base, kind = "/crm/v3/properties/{objectType}", {"objectType": "companies"}
    group = {"name": "spec_group", "label": "Spec", "displayOrder": -1}
    call("properties", "POST", base + "/groups", group, status=201, **kind)
    call("properties", "POST", base + "/groups", group, status=409, **kind)
    one = base + "/groups/{groupName}"
    call("properties", "GET", one, status=200, groupName="spec_group", **kind)
    call("properties", "GET", one, status=404, groupName="no_such", **kind)
    new = {"name": "spec_one", "label": "One", "type": "bool", "fieldType": "booleancheckbox",
           "groupName": "spec_group", "options": [
               {"label": v, "value": v, "displayOrder": n, "hidden": False}
               for n, v in enumerate(("true", "false"))
           ]}  # fmt: skip
    call("properties", "POST", base, new, status=201, **kind)
    call(
        "properties", "POST", base, new | {"name": "x", "groupName": "no_such"}, status=400, **kind
    )
    owner = "/crm/v3/owners/{ownerId}"
    sandbox.control("POST", "hubspot/archive-owner", {"id": "505"})
    call("owners", "GET", owner, ownerId="505", status=404)
    call("owners", "GET", owner, ownerId="505", status=200, params={"archived": "true"})
    gone = call("owners", "GET", "/crm/v3/owners/", status=200, params={"archived": "true"})
    assert [(one["id"], one["archived"]) for one in gone["results"]] == [("505", True)]


def test_contacts_upsert_merge_and_refusals(call: Call) -> None:
    base = "/crm/v3/objects/contacts"
    inputs = [
        {"idProperty": "customer_id", "id": f"spec-{n}", "properties": {"orders": str(n)}}
        for n in range(3)
    ]
    upsert = f"{base}/batch/upsert"
    first = call("contacts", "POST", upsert, {"inputs": inputs}, status=200)
    assert [result["new"] for result in first["results"]] == [True] * 3
    again = call("contacts", "POST", upsert, {"inputs": inputs}, status=200)
    assert [result["new"] for result in again["results"]] == [False] * 3
    faulty = [
        {"id": r["id"], "objectWriteTraceId": r["id"], "properties": {"orders": value}}
        for r, value in zip(first["results"], ("1", "many", "3"), strict=True)
    ]
    mixed = call("contacts", "POST", f"{base}/batch/update", {"inputs": faulty}, status=207)
    assert mixed["numErrors"] == 1
    trace = [error["context"]["objectWriteTraceId"] for error in mixed["errors"]]
    assert trace == [[first["results"][1]["id"]]]
    for one in faulty:
        del one["objectWriteTraceId"]
    call("contacts", "POST", f"{base}/batch/update", {"inputs": faulty}, status=400)
    pair = {
        "primaryObjectId": first["results"][0]["id"],
        "objectIdToMerge": first["results"][1]["id"],
    }
    call("contacts", "POST", f"{base}/merge", pair, status=200)
    survivor = call("contacts", "GET", base + "/{contactId}", status=200,
                    contactId=pair["objectIdToMerge"],
                    params={"properties": "hs_merged_object_ids"})  # fmt: skip
    assert survivor["id"] == pair["primaryObjectId"]
    assert survivor["properties"]["hs_merged_object_ids"] == pair["objectIdToMerge"]
    email = {"properties": {"email": "spec@mailbox.example"}}
    made = call("contacts", "POST", base, email, status=201)
    taken = call("contacts", "POST", base, email, status=409)
    assert taken["message"].endswith(f"Existing ID: {made['id']}")


def test_properties_owners_and_associations(call: Call) -> None:
    base = "/crm/v3/properties/{objectType}"
    kind = {"objectType": "contacts"}
    found = call("properties", "GET", base, status=200, **kind)
    unique = {p["name"] for p in found["results"] if p["hasUniqueValue"]}
    assert {"customer_id", "email"} <= unique
    new = {
        "name": "spec_score", "label": "Score", "type": "number", "fieldType": "number",
        "groupName": "contactinformation",
    }  # fmt: skip
    call("properties", "POST", base, new, status=201, **kind)
    call("properties", "POST", base, new, status=409, **kind)
    one = base + "/{propertyName}"
    call("properties", "GET", one, status=200, propertyName="spec_score", **kind)
    call("properties", "PATCH", one, {"label": "S"}, status=200, propertyName="spec_score", **kind)
    call("properties", "DELETE", one, status=204, propertyName="spec_score", **kind)
    call("properties", "GET", one, status=404, propertyName="spec_score", **kind)
    call("properties", "GET", base + "/groups", status=200, **kind)
    owners = call("owners", "GET", "/crm/v3/owners/", status=200, params={"limit": "2"})
    call(
        "owners", "GET", "/crm/v3/owners/{ownerId}", status=200, ownerId=owners["results"][0]["id"]
    )
    v4 = "associations_v4"
    contact = call("contacts", "POST", "/crm/v3/objects/contacts", {"properties": {}}, status=201)
    company = call("companies", "POST", "/crm/v3/objects/companies",
                   {"properties": {"name": "Spec"}}, status=201)  # fmt: skip
    put = "/crm/v4/objects/{objectType}/{objectId}/associations/{toObjectType}/{toObjectId}"
    path = {
        "objectType": "contacts", "objectId": contact["id"], "toObjectType": "companies",
        "toObjectId": company["id"],
    }  # fmt: skip
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]
    call(v4, "PUT", put, types, status=201, **path)
    listed = call(v4, "GET", put.removesuffix("/{toObjectId}"), status=200, **path)
    assert [one["toObjectId"] for one in listed["results"]] == [company["id"]]
    pair = "/crm/v4/associations/{fromObjectType}/{toObjectType}"
    ends = {"fromObjectType": "contacts", "toObjectType": "companies"}
    some = {"inputs": [{"id": contact["id"]}]}
    call(v4, "POST", pair + "/batch/read", some, status=200, **ends)
    none = {"inputs": [{"id": contact["id"]}, {"id": "1"}]}
    call(v4, "POST", pair + "/batch/read", none, status=207, **ends)
    both = {"from": {"id": contact["id"]}, "to": {"id": company["id"]}}
    many = {"inputs": [both | {"types": types}]}
    call(v4, "POST", pair + "/batch/create", many, status=201, **ends)
    call(v4, "POST", pair + "/batch/associate/default", {"inputs": [both]}, status=200, **ends)
    gone = {"inputs": [{"from": both["from"], "to": [both["to"]]}]}
    call(v4, "POST", pair + "/batch/archive", gone, status=204, **ends)
    call("associations_v4_schema", "GET", pair + "/labels", status=200, **ends)
    call(v4, "DELETE", put, status=204, **path)


def test_without_a_good_token_there_is_nothing(sandbox: Running, specs: Path) -> None:
    document = json.loads((specs / "hubspot" / "openapi" / "contacts.json").read_bytes())
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        reply = requests.get(f"{sandbox.url}/crm/v3/objects/contacts", headers=headers, timeout=10)
        assert reply.status_code == 401
        schema = {"$ref": "#/components/schemas/Error", "components": document["components"]}
        jsonschema.Draft202012Validator(schema).validate(reply.json())
