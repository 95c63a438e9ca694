"""HubSpot's rules of writing, archiving, merging and searching."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cdp_assets_tests.sandbox.conftest import Vendors

CONTACTS = "/crm/v3/objects/contacts"


def make(vendors: Vendors, **properties: Any) -> str:
    reply = vendors.hs("POST", CONTACTS, {"properties": properties})
    assert reply.status == 201, reply.body
    return str(reply.body["id"])


def show(vendors: Vendors, key: str, *names: str) -> dict[str, Any]:
    reply = vendors.hs("GET", f"{CONTACTS}/{key}", properties=",".join(names))
    assert reply.status == 200, reply.body
    return dict(reply.body["properties"])


def search(vendors: Vendors, **body: Any) -> Any:
    return vendors.hs("POST", f"{CONTACTS}/search", body)


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"nope": "x"}, "PROPERTY_DOESNT_EXIST"),
        ({"email": "x"}, "INVALID_EMAIL"),
        ({"lapsed": "yes"}, "INVALID_OPTION"),
        ({"orders": "many"}, "INVALID_INTEGER"),
        ({"last_order": "1998-06-30T10:00:00Z"}, "INVALID_DATE"),
        ({"createdate": "2020-01-01"}, "READ_ONLY_VALUE"),
    ],
)
def test_wrong_values_are_refused(vendors: Vendors, properties: Any, code: str) -> None:
    reply = vendors.hs("POST", CONTACTS, {"properties": properties})
    assert (reply.status, reply.body["errors"][0]["code"]) == (400, code)


def test_values_are_kept_as_text(vendors: Vendors) -> None:
    given = {"orders": 3, "lapsed": True, "last_order": "899164800000", "email": "A@B.example",
             "last_seen": "2026-01-01T01:00:00+01:00"}  # fmt: skip
    kept = show(vendors, make(vendors, **given), *given)
    assert {name: kept[name] for name in given} == {
        "orders": "3", "lapsed": "true", "last_order": "1998-06-30", "email": "a@b.example",
        "last_seen": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip


def test_the_properties_of_the_examples_are_there_from_the_start(vendors: Vendors) -> None:
    reply = vendors.hs("GET", "/crm/v3/properties/contacts")
    found = {p["name"]: p for p in reply.body["results"]}
    assert found["customer_id"]["hasUniqueValue"]
    assert {o["value"] for o in found["lapsed"]["options"]} == {"true", "false"}
    assert {"frequency", "monetary_value", "last_order", "rfm_score", "revenue_90d", "orders"} <= (
        found.keys()
    )


def test_an_update_moves_the_stamp_an_archive_does_not(vendors: Vendors) -> None:
    key = make(vendors, firstname="x")
    vendors.clock.freeze(vendors.clock.now() + timedelta(hours=1))
    vendors.hs("PATCH", f"{CONTACTS}/{key}", {"properties": {"firstname": "x"}})
    assert show(vendors, key)["lastmodifieddate"] == "2026-04-01T13:00:00.000Z"
    vendors.clock.freeze(vendors.clock.now() + timedelta(hours=1))
    assert vendors.hs("DELETE", f"{CONTACTS}/{key}").status == 204
    archived = vendors.hs("GET", CONTACTS, archived="true").body["results"]
    assert [one["id"] for one in archived] == [key]
    assert archived[0]["updatedAt"] == "2026-04-01T13:00:00.000Z"
    assert archived[0]["archivedAt"] == "2026-04-01T14:00:00.000Z"
    assert vendors.hs("GET", CONTACTS).body["results"] == []
    assert search(vendors).body["total"] == 0


def test_stages_move_forward_only(vendors: Vendors) -> None:
    key = make(vendors, lifecyclestage="customer")
    for stage, kept in (("lead", "customer"), ("", None), ("lead", "lead"), ("other", "other")):
        vendors.hs("PATCH", f"{CONTACTS}/{key}", {"properties": {"lifecyclestage": stage}})
        assert show(vendors, key, "lifecyclestage")["lifecyclestage"] == kept


def test_without_trace_ids_one_fault_refuses_the_batch(vendors: Vendors) -> None:
    make(vendors, email="taken@x.example")
    inputs = [{"properties": {"email": e}} for e in ("new@x.example", "taken@x.example", "bad")]
    reply = vendors.hs("POST", f"{CONTACTS}/batch/create", {"inputs": inputs})
    assert reply.status == 409
    assert search(vendors).body["total"] == 1
    traced = [{**one, "objectWriteTraceId": str(n)} for n, one in enumerate(inputs)]
    reply = vendors.hs("POST", f"{CONTACTS}/batch/create", {"inputs": traced})
    assert (reply.status, reply.body["numErrors"]) == (207, 2)
    assert [r["objectWriteTraceId"] for r in reply.body["results"]] == ["0"]
    assert search(vendors).body["total"] == 2


def test_batches_are_small_and_name_each_record_once(vendors: Vendors) -> None:
    def status(*ids: str) -> int:
        inputs = [{"id": i, "idProperty": "customer_id", "properties": {}} for i in ids]
        return vendors.hs("POST", f"{CONTACTS}/batch/upsert", {"inputs": inputs}).status

    assert status("a", "b", "a") == 400
    assert status(*map(str, range(101))) == 400
    assert status(*map(str, range(100))) == 200
    assert search(vendors).body["total"] == 100


def test_a_merged_record_leads_to_the_survivor(vendors: Vendors) -> None:
    kept, gone = make(vendors, email="k@x.example"), make(vendors, email="g@x.example", orders=2)
    company = vendors.hs("POST", "/crm/v3/objects/companies", {"properties": {"name": "C"}}).body
    path = f"/crm/v4/objects/contacts/{gone}/associations/default/companies/{company['id']}"
    assert vendors.hs("PUT", path).status == 200
    body = {"primaryObjectId": kept, "objectIdToMerge": gone}
    assert vendors.hs("POST", f"{CONTACTS}/merge", body).body["id"] == kept
    names = ("email", "orders", "hs_additional_emails", "hs_merged_object_ids")
    found = show(vendors, gone, *names)
    assert [found[name] for name in names] == ["k@x.example", "2", "g@x.example", gone]
    assert vendors.hs("GET", CONTACTS, archived="true").body["results"] == []
    listed = vendors.hs("GET", CONTACTS, associations="companies").body["results"]
    assert [one["id"] for one in listed] == [kept]
    types = [a["type"] for a in listed[0]["associations"]["companies"]["results"]]
    assert types == ["contact_to_company", "contact_to_company_unlabeled"]


def test_lists_page_to_the_end(vendors: Vendors) -> None:
    keys = [make(vendors) for _ in range(25)]
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        body = vendors.hs("GET", CONTACTS, limit="10", **after).body
        seen += [one["id"] for one in body["results"]]
        if "paging" not in body:
            break
        after = {"after": body["paging"]["next"]["after"]}
    assert seen == keys


def test_searches_filter_sort_page_and_end_at_ten_thousand(vendors: Vendors) -> None:
    for n in range(12):
        vendors.clock.freeze(vendors.clock.now() + timedelta(minutes=1))
        make(vendors, orders=n, firstname="Even" if n % 2 == 0 else "Odd")

    def ids(**body: Any) -> list[int]:
        reply = search(vendors, properties=["orders"], **body)
        assert reply.status == 200, reply.body
        return [int(one["properties"]["orders"]) for one in reply.body["results"]]

    def group(*filters: tuple[str, str, Any]) -> dict[str, Any]:
        return {"filters": [
            {"propertyName": p, "operator": o, **({"values": v} if isinstance(v, list) else
             {"value": v})} for p, o, v in filters
        ]}  # fmt: skip

    even = group(("firstname", "EQ", "eVEN"), ("orders", "GTE", "6"))
    first = group(("orders", "IN", ["0", "1"]))
    assert ids(filterGroups=[even, first]) == [0, 1, 6, 8, 10]
    down = [{"propertyName": "orders", "direction": "DESCENDING"}]
    assert ids(filterGroups=[even], sorts=down, limit=2) == [10, 8]
    assert ids(filterGroups=[even], sorts=down, limit=2, after="2") == [6]
    since = group(("lastmodifieddate", "GT", "2026-04-01T12:10:00Z"))
    assert ids(filterGroups=[since]) == [10, 11]
    assert ids(filterGroups=[group(("hs_lastmodifieddate", "GT", "0"))]) == []
    assert search(vendors, limit=201).status == 400
    assert search(vendors, limit=100, after="9901").status == 400
    assert search(vendors, sorts=["orders", "email"]).status == 400


def test_the_index_lags_behind_if_told_to(vendors: Vendors) -> None:
    vendors.hubspot.search.lag = timedelta(seconds=30)
    make(vendors)
    assert search(vendors).body["total"] == 0
    vendors.clock.freeze(vendors.clock.now() + timedelta(minutes=1))
    assert search(vendors).body["total"] == 1


def test_limits_name_their_policy(vendors: Vendors) -> None:
    limits = vendors.hubspot.limits
    limits.per_ten_seconds, limits.search_per_second = 2, 1
    replies = [vendors.hs("GET", CONTACTS) for _ in range(3)]
    assert [r.status for r in replies] == [200, 200, 429]
    assert replies[2].body["policyName"] == "TEN_SECONDLY_ROLLING"
    assert replies[1].headers["X-HubSpot-RateLimit-Remaining"] == "0"
    assert [search(vendors).status for _ in range(2)] == [200, 429]
    vendors.clock.freeze(vendors.clock.now() + timedelta(seconds=11))
    assert vendors.hs("GET", CONTACTS).status == 200


def test_addresses_have_an_end(vendors: Vendors) -> None:
    assert vendors.hs("GET", CONTACTS, properties="x," * 9000).status == 414
