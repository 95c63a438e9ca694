"""HubSpot's rules beside those of records: lists, labels, former values, sign-in."""

from __future__ import annotations

import urllib.parse
from datetime import timedelta
from typing import Any

import pytest

from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.hubspot.oauth import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN
from cdp_assets_tests.sandbox.conftest import Vendors
from cdp_assets_tests.sandbox.test_hubspot import CONTACTS, make

LISTS = "/crm/v3/lists"
BRANCH = {"filterBranchType": "OR", "filterBranches": [], "filters": []}


def made_list(vendors: Vendors, name: str, **more: Any) -> str:
    body = {"name": name, "objectTypeId": "0-1", "processingType": "MANUAL", **more}
    reply = vendors.hs("POST", LISTS, body)
    assert reply.status == 200, reply.body
    return str(reply.body["list"]["listId"])


def change(vendors: Vendors, key: str, add: list[str], remove: list[str]) -> Reply:
    body = {"recordIdsToAdd": add, "recordIdsToRemove": remove}
    return vendors.hs("PUT", f"{LISTS}/{key}/memberships/add-and-remove", body)


def members(vendors: Vendors, key: str) -> list[str]:
    found = vendors.hs("GET", f"{LISTS}/{key}/memberships").body["results"]
    return [one["recordId"] for one in found]


def test_static_lists_hold_who_was_put_on_them(vendors: Vendors) -> None:
    key, other = made_list(vendors, "A"), made_list(vendors, "B", processingType="SNAPSHOT")
    one, two, gone = make(vendors), make(vendors), make(vendors)
    vendors.hs("DELETE", f"{CONTACTS}/{gone}")
    answer = change(vendors, key, [one, two, one, gone, "7"], []).body
    assert answer["recordsIdsAdded"] == [one, two]
    assert answer["recordIdsMissing"] == [gone, "7"]
    assert change(vendors, key, [one], []).body["recordsIdsAdded"] == [], "it was there"
    assert change(vendors, key, [], [two, "7"]).body["recordIdsRemoved"] == [two]
    assert (members(vendors, key), members(vendors, other)) == ([one], [])
    assert change(vendors, key, ["x"], []).status == 400


def test_dynamic_lists_are_not_filled_by_hand(vendors: Vendors) -> None:
    assert vendors.hs(
        "POST", LISTS, {"name": "D", "objectTypeId": "0-1", "processingType": "DYNAMIC"}
    ).status == 400  # fmt: skip
    key = made_list(vendors, "D", processingType="DYNAMIC", filterBranch=BRANCH)
    assert change(vendors, key, [make(vendors)], []).status == 400


def test_a_deleted_list_is_gone_until_it_is_restored(vendors: Vendors) -> None:
    key = made_list(vendors, "Gone")
    person = make(vendors)
    change(vendors, key, [person], [])
    assert vendors.hs("DELETE", f"{LISTS}/{key}").status == 204
    for path in (f"/{key}", f"/{key}/memberships", "/object-type-id/0-1/name/gone"):
        assert vendors.hs("GET", LISTS + path).status == 404
    assert change(vendors, key, [], [person]).status == 404
    assert vendors.hs("POST", f"{LISTS}/search", {}).body["total"] == 0
    assert vendors.hs("PUT", f"{LISTS}/{key}/restore").status == 204
    assert members(vendors, key) == [person]


def test_a_name_is_held_once_of_each_object(vendors: Vendors) -> None:
    made_list(vendors, "Same")
    again = {"name": "SAME", "objectTypeId": "0-1", "processingType": "MANUAL"}
    assert vendors.hs("POST", LISTS, again).status == 400
    made_list(vendors, "Same", objectTypeId="0-2")


def test_labels_stand_beside_the_plain_type(vendors: Vendors) -> None:
    path = "/crm/v4/associations/contacts/deals/labels"
    made = vendors.hs("POST", path, {"label": "Boss", "name": "boss"}).body["results"]
    person = make(vendors)
    deal = vendors.hs("POST", "/crm/v3/objects/deals", {"properties": {}}).body["id"]
    put = f"/crm/v4/objects/contacts/{person}/associations/deals/{deal}"
    types = [{"associationCategory": "USER_DEFINED", "associationTypeId": made[0]["typeId"]}]
    assert vendors.hs("PUT", put, types).body["labels"] == ["Boss"]
    shown = vendors.hs("GET", put.rpartition("/")[0]).body["results"][0]["associationTypes"]
    assert [t["label"] for t in shown] == [None, "Boss"]
    back = vendors.hs("GET", f"/crm/v4/objects/deals/{deal}/associations/contacts").body
    assert [t["label"] for t in back["results"][0]["associationTypes"]] == [None, "Boss"]
    vendors.hs("DELETE", put)
    vendors.hs("PUT", f"/crm/v4/objects/contacts/{person}/associations/default/deals/{deal}")
    shown = vendors.hs("GET", put.rpartition("/")[0]).body["results"][0]["associationTypes"]
    assert [t["label"] for t in shown] == [None], "a label ends with its association"


def test_former_values_with_the_moment_of_each(vendors: Vendors) -> None:
    key = make(vendors, city="Rome")
    for city in ("Rome", "Oslo", ""):
        vendors.clock.freeze(vendors.clock.now() + timedelta(hours=1))
        vendors.hs("PATCH", f"{CONTACTS}/{key}", {"properties": {"city": city}})
    shown = vendors.hs("GET", f"{CONTACTS}/{key}", propertiesWithHistory="city,email").body
    found = shown["propertiesWithHistory"]["city"]
    assert [(one["value"], one["timestamp"][11:13]) for one in found] == [
        ("", "15"), ("Oslo", "14"), ("Rome", "12")
    ]  # fmt: skip
    assert "email" not in shown["propertiesWithHistory"]
    assert vendors.hs("GET", CONTACTS, limit="51", propertiesWithHistory="city").status == 400


def test_engagements_need_their_moment(vendors: Vendors) -> None:
    path = "/crm/v3/objects/notes"
    assert vendors.hs("POST", path, {"properties": {"hs_note_body": "x"}}).status == 400
    given = {"hs_note_body": "x", "hs_timestamp": "2026-03-01T09:00:00Z"}
    assert vendors.hs("POST", path, {"properties": given}).status == 201


def sign_in(vendors: Vendors, **more: str) -> Reply:
    form = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
            "refresh_token": REFRESH_TOKEN, **more}  # fmt: skip
    body = urllib.parse.urlencode(form).encode()
    return vendors.hubspot.handle(Request("POST", "/oauth/v1/token", body=body))


@pytest.mark.parametrize("name", ["client_id", "client_secret", "refresh_token", "grant_type"])
def test_who_signs_in_wrongly_is_told_what_is_wrong(vendors: Vendors, name: str) -> None:
    reply = sign_in(vendors, **{name: "other"})
    assert reply.status == 400
    assert reply.body["status"] == f"BAD_{name.upper()}"


def test_access_tokens_live_for_half_an_hour(vendors: Vendors) -> None:
    reply = sign_in(vendors)
    headers = {"authorization": f"Bearer {reply.body['access_token']}"}
    request = Request("GET", CONTACTS, headers=headers)
    assert vendors.hubspot.handle(request).status == 200
    vendors.clock.freeze(vendors.clock.now() + timedelta(seconds=reply.body["expires_in"]))
    assert vendors.hubspot.handle(request).status == 401
