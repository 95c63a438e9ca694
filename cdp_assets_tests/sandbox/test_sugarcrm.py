"""SugarCRM's rules of logging in, listing, writing, linking and deleting."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.sugarcrm.api import SugarApi
from cdp_assets.sandbox.tables import Tables
from cdp_assets_tests.sandbox.conftest import NOW

LOGIN = {"grant_type": "password", "client_id": "sugar", "client_secret": "", "username": "u",
         "password": "p", "platform": "cdp"}  # fmt: skip


class Sugar:
    """The stand-in over empty tables."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.freeze(NOW)
        self.api = SugarApi(Tables(None), self.clock, "u", "p", "sugar", "")
        self.session = self.login().body
        self.token = self.session["access_token"]

    def login(self, **more: Any) -> Reply:
        raw = json.dumps(LOGIN | more).encode()
        return self.api.handle(Request("POST", "/rest/v11_20/oauth2/token", body=raw))

    def __call__(self, method: str, path: str, body: Any = None, **query: str) -> Reply:
        raw = json.dumps(body).encode() if body is not None else b""
        headers = {"oauth-token": self.token}
        return self.api.handle(Request(method, f"/rest/v11_20{path}", query, headers, raw))

    def later(self, seconds: float) -> None:
        self.clock.freeze(self.clock.now() + timedelta(seconds=seconds))

    def make(self, module: str = "Accounts", **fields: Any) -> str:
        reply = self("POST", f"/{module}", {"name": "A", **fields})
        assert reply.status == 200, reply.body
        return str(reply.body["id"])

    def find(self, module: str, *conditions: Any, **more: Any) -> list[dict[str, Any]]:
        body = {"filter": list(conditions), "max_num": 100, **more}
        reply = self("POST", f"/{module}/filter", body)
        assert reply.status == 200, reply.body
        return list(reply.body["records"])


@pytest.fixture
def sugar() -> Sugar:
    return Sugar()


def test_a_second_login_of_a_platform_ends_the_first(sugar: Sugar) -> None:
    assert sugar("GET", "/me").status == 200
    assert sugar.login(platform="mobile").status == 200
    assert sugar("GET", "/me").status == 200, "another platform is another session"
    sugar.login()
    ended = sugar("GET", "/me")
    assert (ended.status, ended.body["error"]) == (401, "invalid_grant")


def test_unknown_platforms_and_wrong_words_are_refused(sugar: Sugar) -> None:
    assert "not allowed" in sugar.login(platform="mine").body["error_message"]
    assert sugar.login(password="x").status == 401
    assert sugar.login(client_secret="x").status == 400


def test_a_refresh_token_gives_a_new_session_once(sugar: Sugar) -> None:
    given = {"grant_type": "refresh_token", "refresh_token": sugar.session["refresh_token"]}
    again = sugar.login(**given)
    assert again.status == 200
    assert sugar("GET", "/me").status == 401
    assert sugar.login(**given).status == 400
    sugar.token = again.body["access_token"]
    sugar.later(3601)
    assert sugar("GET", "/me").status == 401


def test_lists_hold_twenty_rows_unless_more_are_asked_for(sugar: Sugar) -> None:
    for n in range(45):
        sugar.make(name=f"A{n}")
    offset, seen = 0, []
    while offset != -1:
        page = sugar("GET", "/Accounts", offset=str(offset)).body
        seen.append(len(page["records"]))
        offset = page["next_offset"]
    assert seen == [20, 20, 5]
    assert len(sugar("GET", "/Accounts", max_num="1000").body["records"]) == 45


def test_deleted_rows_are_shown_where_they_are_asked_for(sugar: Sugar) -> None:
    kept, gone = sugar.make(), sugar.make()
    sugar.later(5)
    assert sugar("DELETE", f"/Accounts/{gone}").body == {"id": gone}
    assert sugar("GET", f"/Accounts/{gone}").status == 404
    assert [r["id"] for r in sugar.find("Accounts")] == [kept]
    found = {r["id"]: r["deleted"] for r in sugar.find("Accounts", deleted=True)}
    assert found == {kept: False, gone: True}


def test_values_look_as_the_guide_shows_them(sugar: Sugar) -> None:
    email = [{"email_address": "b@x.example"}, {"email_address": "a@x.example", "opt_out": "1",
              "primary_address": True}]  # fmt: skip
    key = sugar.make("Contacts", last_name="L", email=email, orders_c=5)
    shown = sugar("GET", f"/Contacts/{key}").body
    assert shown["orders_c"] == "5"
    assert shown["email"][0] == {
        "email_address": "a@x.example", "primary_address": "1", "reply_to_address": "0",
        "invalid_email": "0", "opt_out": "1",
    }  # fmt: skip
    assert (shown["email1"], shown["email_opt_out"]) == ("a@x.example", True)
    assert shown["date_modified"] == "2026-04-01T05:00:00-07:00"
    sale = sugar.make("Opportunities", amount=1000)
    shown = sugar("GET", f"/Opportunities/{sale}").body
    assert (shown["amount"], shown["currency_id"]) == ("1000.000000", "-99")


def test_filters(sugar: Sugar) -> None:
    first = sugar.make(name="First", industry="Banking")
    sugar.later(1)
    second = sugar.make(name="Second")

    def ids(*conditions: Any) -> list[str]:
        return [r["id"] for r in sugar.find("Accounts", *conditions, order_by="name:asc")]

    assert ids({"name": "FIRST"}) == [first], "the database compares without case"
    assert ids({"name": {"$in": ["first", "second"]}}) == [first, second]
    assert ids({"date_modified": {"$gt": NOW.isoformat()}}) == [second]
    assert ids({"$or": [{"industry": "Banking"}, {"name": {"$starts": "sec"}}]}) == [first, second]
    assert ids({"industry": {"$is_null": ""}}) == [second]
    wrong = sugar("POST", "/Accounts/filter", {"filter": [{"nope": "x"}]})
    assert (wrong.status, wrong.body["error"]) == (422, "invalid_parameter")


def test_the_sync_key_upserts(sugar: Sugar) -> None:
    made = sugar("PATCH", "/Accounts/sync_key/K-1", {"name": "One"})
    again = sugar("PATCH", "/Accounts/sync_key/K-1", {"name": "Two"})
    assert (made.status, again.status) == (201, 200)
    assert made.body == again.body
    assert sugar("GET", "/Accounts/sync_key/K-1").body["name"] == "Two"
    other = sugar.make()
    assert sugar("PUT", f"/integrate/Accounts/{other}/sync_key/K-2").body == {"success": True}
    assert sugar("PUT", f"/integrate/Accounts/{other}/sync_key/K-1").body == {"success": False}


def test_bulk_answers_each_request_for_itself(sugar: Sugar) -> None:
    requests = [
        {"url": "/v11_20/Accounts", "method": "POST", "data": json.dumps({"name": "One"})},
        {"url": "/v11_20/Accounts", "method": "POST", "data": "{}"},
        {"url": "v11_20/Accounts/nope", "method": "DELETE"},
    ]
    reply = sugar("POST", "/bulk", {"requests": requests})
    assert [r["status"] for r in reply.body] == [200, 422, 404]
    assert reply.body[1]["contents"]["error"] == "missing_parameter"
    assert len(sugar.find("Accounts")) == 1


def test_linking_does_not_count_as_a_change(sugar: Sugar) -> None:
    account, contact = sugar.make(), sugar.make("Contacts", last_name="L")
    before = sugar("GET", f"/Contacts/{contact}").body["date_modified"]
    sugar.later(60)
    asked = {"link_name": "contacts", "ids": [contact]}
    assert sugar("POST", f"/Accounts/{account}/link", asked).status == 200
    shown = sugar("GET", f"/Contacts/{contact}").body
    assert (shown["account_id"], shown["date_modified"]) == (account, before)
    linked = sugar("GET", f"/Accounts/{account}/link/contacts").body["records"]
    assert [r["id"] for r in linked] == [contact]
    assert sugar("DELETE", f"/Accounts/{account}/link/contacts/{contact}").status == 200
    assert sugar("GET", f"/Accounts/{account}/link/contacts").body["records"] == []


def test_metadata_and_lists_of_values(sugar: Sugar) -> None:
    found = sugar("GET", "/metadata", type_filter="modules", module_filter="Contacts").body
    known = found["modules"]["Contacts"]["fields"]
    assert known["last_name"]["required"]
    assert known["account_id"]["type"] == "id"
    assert "Customer" in sugar("GET", "/Accounts/enum/account_type").body
