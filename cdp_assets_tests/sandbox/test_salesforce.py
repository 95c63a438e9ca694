"""Salesforce's rules of writing, deleting and merging."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.sandbox.salesforce.ids import full_id, make_id, with_checksum
from cdp_assets_tests.sandbox.conftest import Vendors


def test_ids_carry_the_published_checksum() -> None:
    assert with_checksum("0015500001QdQWa") == "0015500001QdQWaAAN"
    assert with_checksum("0039H00000BbbFB") == "0039H00000BbbFBQAZ"
    assert with_checksum("001P000001vkheI") == "001P000001vkheIIAQ"


@given(st.integers(0, 10**8))
def test_an_id_is_known_by_15_characters_and_in_any_case(number: int) -> None:
    key = make_id("003", number)
    assert full_id(key[:15]) == full_id(key.lower()) == full_id(key.upper()) == key


def make(vendors: Vendors, name: str = "Contact", **fields: Any) -> str:
    reply = vendors.sf("POST", f"/sobjects/{name}", {"LastName": "x", **fields})
    assert reply.status == 201, reply.body
    return str(reply.body["id"])


def one(vendors: Vendors, key: str) -> dict[str, Any]:
    where = f"WHERE Id = '{key}'"
    fields = "Id, Title, Email, IsDeleted, MasterRecordId, SystemModstamp, AccountId, Name"
    return vendors.query(f"SELECT {fields} FROM Contact {where}", deleted_too=True)[0]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"FirstName": "x"}, "REQUIRED_FIELD_MISSING"),
        ({"LastName": ""}, "REQUIRED_FIELD_MISSING"),
        ({"LastName": "x", "Nope": 1}, "INVALID_FIELD"),
        ({"LastName": "x", "Name": "y"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"LastName": "x" * 81}, "STRING_TOO_LONG"),
        ({"LastName": 5}, "JSON_PARSER_ERROR"),
        ({"LastName": "x", "Email": "nobody"}, "INVALID_EMAIL_ADDRESS"),
        ({"LastName": "x", "Orders__c": "many"}, "JSON_PARSER_ERROR"),
        ({"LastName": "x", "Orders__c": "NaN"}, "JSON_PARSER_ERROR"),
        ({"LastName": "x", "Last_Seen__c": "2026-01-01"}, "JSON_PARSER_ERROR"),
        ({"LastName": "x", "AccountId": "0035g0000000001AAA"}, "MALFORMED_ID"),
        ({"LastName": "x", "AccountId": "0015g0000000001AAA"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"LastName": "x", "Id": "0035g0000000001AAA"}, "INVALID_FIELD"),
    ],
)
def test_a_wrong_record_is_refused(vendors: Vendors, fields: dict[str, Any], code: str) -> None:
    reply = vendors.sf("POST", "/sobjects/Contact", fields)
    assert (reply.status, reply.body[0]["errorCode"]) == (400, code)
    assert not vendors.query("SELECT Id FROM Contact")


def test_restricted_lists_and_unique_ids(vendors: Vendors) -> None:
    reply = vendors.sf("POST", "/sobjects/Account", {"Name": "A", "Plan__c": "gold"})
    assert reply.body[0]["errorCode"] == "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    make(vendors, CDP_Id__c="Abc")
    reply = vendors.sf("POST", "/sobjects/Contact", {"LastName": "y", "CDP_Id__c": "aBC"})
    assert reply.body[0]["errorCode"] == "DUPLICATE_VALUE"


def test_null_clears_absent_leaves_and_every_call_moves_the_stamp(vendors: Vendors) -> None:
    key = make(vendors, Title="Boss", Email="a@b.example")
    vendors.clock.freeze(vendors.clock.now() + timedelta(hours=1))
    assert vendors.sf("PATCH", f"/sobjects/Contact/{key}", {"Title": None}).status == 204
    row = one(vendors, key)
    assert (row["Title"], row["Email"]) == (None, "a@b.example")
    assert row["SystemModstamp"] == "2026-04-01T13:00:00.000+0000"


def test_upsert_makes_changes_or_says_that_there_are_several(vendors: Vendors) -> None:
    path = "/sobjects/Contact/CDP_Id__c/7%2F8"
    assert vendors.sf("PATCH", path, {"LastName": "x"}).status == 201
    assert vendors.query("SELECT CDP_Id__c FROM Contact")[0]["CDP_Id__c"] == "7/8"
    reply = vendors.sf("PATCH", path, {"Title": "y"})
    assert (reply.status, reply.body["created"]) == (200, False)
    assert vendors.sf("PATCH", path, {"Title": "y", "Id": "x"}).status == 400
    for _ in range(2):
        make(vendors, App_User_Id__c="u")
    several = vendors.sf("PATCH", "/sobjects/Contact/App_User_Id__c/u", {"Title": "y"})
    assert (several.status, len(several.body)) == (300, 2)
    assert vendors.sf("PATCH", "/sobjects/Contact/Title/u", {"Title": "y"}).status == 404


def test_a_collection_answers_row_by_row(vendors: Vendors) -> None:
    def rows(*values: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"attributes": {"type": "Contact"}, "LastName": "x", **value} for value in values]

    body = {"records": rows({"CDP_Id__c": "1"}, {"CDP_Id__c": "2"}, {"CDP_Id__c": "2"})}
    reply = vendors.sf("PATCH", "/composite/sobjects/Contact/CDP_Id__c", body)
    assert [r["success"] for r in reply.body] == [True, False, False]
    assert (reply.status, reply.rows) == (200, 1)
    whole = body | {"allOrNone": True}
    address = vendors.sf("PATCH", "/composite/sobjects/Contact/CDP_Id__c", body, allOrNone="true")
    assert address.body[0]["success"]  # believed in the body alone
    reply = vendors.sf("PATCH", "/composite/sobjects/Contact/CDP_Id__c", whole)
    assert not any(r["success"] for r in reply.body)
    many = {"records": rows(*({} for _ in range(201)))}
    reply = vendors.sf("POST", "/composite/sobjects", many)
    assert (reply.status, reply.body[0]["errorCode"]) == (400, "EXCEEDED_MAX_SOBJECTS_LIMIT")
    assert len(vendors.query("SELECT Id FROM Contact")) == 1


def test_all_or_none_leaves_nothing_behind(vendors: Vendors) -> None:
    first = make(vendors, CDP_Id__c="1", Title="old")
    records = [
        {"attributes": {"type": "Contact"}, "Id": first, "Title": "new"},
        {"attributes": {"type": "Contact"}, "Id": first[:-4] + "zAAA", "Title": "new"},
    ]
    body = {"allOrNone": True, "records": records}
    reply = vendors.sf("PATCH", "/composite/sobjects", body)
    codes = [r["errors"][0]["statusCode"] for r in reply.body]
    assert codes[0] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    assert one(vendors, first)["Title"] == "old"
    assert [r["Id"] for r in vendors.query("SELECT Id FROM Contact WHERE CDP_Id__c='1'")] == [first]


def test_deleted_records_show_in_query_all_alone(vendors: Vendors) -> None:
    key = make(vendors)
    assert vendors.sf("DELETE", f"/sobjects/Contact/{key}").status == 204
    assert not vendors.query("SELECT Id FROM Contact")
    assert one(vendors, key)["IsDeleted"] is True
    again = vendors.sf("DELETE", f"/sobjects/Contact/{key}")
    assert (again.status, again.body[0]["errorCode"]) == (404, "ENTITY_IS_DELETED")
    update = vendors.sf("PATCH", f"/sobjects/Contact/{key}", {"Title": "x"})
    assert update.body[0]["errorCode"] == "ENTITY_IS_DELETED"


def test_a_merge_leaves_one_that_the_other_names(vendors: Vendors) -> None:
    account = vendors.sf("POST", "/sobjects/Account", {"Name": "A"}).body["id"]
    kept, gone = make(vendors, Title="Boss"), make(vendors, Title="x", Email="g@x.example")
    vendors.sf("PATCH", f"/sobjects/Contact/{gone}", {"AccountId": account})
    task = vendors.sf("POST", "/sobjects/Task", {"WhoId": gone, "Subject": "Call"}).body["id"]
    objects = vendors.salesforce.objects
    objects.merge(objects.spec("Contact"), kept, [gone])
    winner, loser = one(vendors, kept), one(vendors, gone)
    assert (loser["IsDeleted"], loser["MasterRecordId"]) == (True, kept)
    assert (winner["Title"], winner["Email"], winner["AccountId"]) == (
        "Boss",
        "g@x.example",
        account,
    )
    assert vendors.query(f"SELECT WhoId FROM Task WHERE Id = '{task}'")[0]["WhoId"] == kept


def test_a_day_has_so_many_calls(vendors: Vendors) -> None:
    vendors.salesforce.daily_limit = 2
    assert vendors.sf("GET", "/limits").headers["Sforce-Limit-Info"] == "api-usage=1/2"
    assert vendors.sf("GET", "/limits").body["DailyApiRequests"]["Remaining"] == 0
    reply = vendors.sf("GET", "/limits")
    assert (reply.status, reply.body[0]["errorCode"]) == (403, "REQUEST_LIMIT_EXCEEDED")


def test_sessions_end(vendors: Vendors) -> None:
    vendors.clock.freeze(vendors.clock.now() + timedelta(hours=3))
    reply = vendors.sf("GET", "/limits")
    assert (reply.status, reply.body[0]["errorCode"]) == (401, "INVALID_SESSION_ID")


def test_composite_parts_name_results_of_earlier_parts(vendors: Vendors) -> None:
    base = "/services/data/v62.0"
    parts = [
        {"method": "POST", "url": f"{base}/sobjects/Account", "referenceId": "a",
         "body": {"Name": "A"}},
        {"method": "POST", "url": f"{base}/sobjects/Contact", "referenceId": "c",
         "body": {"LastName": "x", "AccountId": "@{a.id}"}},
        {"method": "GET", "url": f"{base}/sobjects/Contact/@{{c.id}}?fields=AccountId",
         "referenceId": "g"},
    ]  # fmt: skip
    reply = vendors.sf("POST", "/composite", {"compositeRequest": parts})
    answers = reply.body["compositeResponse"]
    assert [a["httpStatusCode"] for a in answers] == [201, 201, 200]
    assert answers[2]["body"]["AccountId"] == answers[0]["body"]["id"]
