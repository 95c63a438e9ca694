"""Zendesk's rules of exporting, writing in bulk, tagging and deleting."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.tables import Tables
from cdp_assets.sandbox.zendesk.api import ZendeskApi
from cdp_assets_tests.sandbox.conftest import NOW

SINCE = str(int((NOW - timedelta(days=1)).timestamp()))


class Desk:
    """The stand-in over empty tables."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.freeze(NOW)
        self.api = ZendeskApi(Tables(None), self.clock, "a@b.example", "token", "id", "secret")
        basic = base64.b64encode(b"a@b.example/token:token").decode()
        self.headers = {"authorization": f"Basic {basic}"}

    def __call__(self, method: str, path: str, body: Any = None, **query: str) -> Reply:
        raw = json.dumps(body).encode() if body is not None else b""
        request = Request(method, f"/api/v2{path}.json", query, self.headers, raw, "http://x")
        return self.api.handle(request)

    def later(self, seconds: float) -> None:
        self.clock.freeze(self.clock.now() + timedelta(seconds=seconds))

    def user(self, **fields: Any) -> int:
        reply = self("POST", "/users", {"user": {"name": "Ada", **fields}})
        assert reply.status == 201, reply.body
        return int(reply.body["user"]["id"])

    def job(self, reply: Reply) -> dict[str, Any]:
        """The end of a job."""
        assert reply.status == 200, reply.body
        assert reply.body["job_status"]["status"] == "queued"
        assert reply.body["job_status"]["results"] is None
        for _ in range(5):
            found = self("GET", f"/job_statuses/{reply.body['job_status']['id']}")
            if found.body["job_status"]["status"] == "completed":
                return dict(found.body["job_status"])
        raise AssertionError("the job does not end")


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_last_minute_is_left_out_and_each_change_comes_once(desk: Desk) -> None:
    ids = [desk.user(name=f"User {n}") for n in range(5)]
    first = desk("GET", "/incremental/users/cursor", start_time=SINCE)
    assert (first.body["users"], first.body["end_of_stream"]) == ([], True)
    desk.later(61)
    seen: list[int] = []
    query = {"start_time": SINCE, "per_page": "2"}
    while True:
        page = desk("GET", "/incremental/users/cursor", **query).body
        seen += [user["id"] for user in page["users"]]
        if page["end_of_stream"]:
            break
        query = {"cursor": page["after_cursor"], "per_page": "2"}
    assert seen == ids
    recent = str(int(desk.clock.now().timestamp()) - 30)
    assert desk("GET", "/incremental/users/cursor", start_time=recent).status == 400


def test_an_export_by_time_tells_rows_twice(desk: Desk) -> None:
    for n in range(4):
        desk("POST", "/organizations", {"organization": {"name": f"Org {n}"}})
        desk.later(1)
    desk.later(61)
    first = desk("GET", "/incremental/organizations", start_time=SINCE, per_page="2").body
    assert not first["end_of_stream"]
    start = str(first["end_time"])
    second = desk("GET", "/incremental/organizations", start_time=start, per_page="2").body
    names = [[o["name"] for o in page["organizations"]] for page in (first, second)]
    assert names == [["Org 0", "Org 1"], ["Org 1", "Org 2"]]


def test_a_change_by_the_system_moves_only_the_generated_timestamp(desk: Desk) -> None:
    ticket = {"subject": "Help", "comment": {"body": "It burns"}}
    made = desk("POST", "/tickets", {"ticket": ticket}).body["ticket"]
    desk.later(500)
    desk.api.touch("tickets", made["id"])
    desk.later(61)
    found = desk("GET", "/incremental/tickets/cursor", start_time=SINCE).body["tickets"][0]
    assert found["updated_at"] == made["updated_at"]
    assert found["generated_timestamp"] == made["generated_timestamp"] + 500


def test_deleted_records_come_once_more_in_exports_and_nowhere_else(desk: Desk) -> None:
    user = desk.user()
    ticket = desk("POST", "/tickets", {"ticket": {"comment": {"body": "x"}}}).body["ticket"]["id"]
    assert desk("DELETE", f"/users/{user}").body["user"]["active"] is False
    assert desk("DELETE", f"/tickets/{ticket}").status == 204
    assert desk("GET", f"/tickets/{ticket}").status == 404
    assert desk("GET", "/users/show_many", ids=str(user)).body["users"] == []
    desk.later(61)
    users = desk("GET", "/incremental/users/cursor", start_time=SINCE).body["users"]
    tickets = desk("GET", "/incremental/tickets/cursor", start_time=SINCE).body["tickets"]
    assert (users[0]["active"], tickets[0]["status"]) == (False, "deleted")


def test_an_external_id_is_matched_without_case_and_rewritten(desk: Desk) -> None:
    made = {"user": {"name": "Ada", "external_id": "ABC"}}
    assert desk("POST", "/users/create_or_update", made).status == 201
    made["user"]["external_id"] = "abc"
    again = desk("POST", "/users/create_or_update", made)
    assert (again.status, again.body["user"]["external_id"]) == (200, "abc")
    taken = desk("POST", "/users", {"user": {"name": "Bob", "external_id": "Abc"}})
    assert taken.status == 422
    assert taken.body["details"]["external_id"][0]["error"] == "DuplicateValue"


def test_bulk_writes_are_jobs_with_a_result_a_row(desk: Desk) -> None:
    users = [{"name": "A", "email": "a@x.example"}, {"name": ""}, {"name": "B"}]
    job = desk.job(desk("POST", "/users/create_many", {"users": users}))
    assert [r["success"] for r in job["results"]] == [True, False, True]
    assert "blank" in job["results"][1]["details"]
    ids = [r["id"] for r in job["results"] if r["success"]]
    change = {"users": [{"id": ids[0], "phone": "1"}, {"id": 999, "phone": "2"}]}
    job = desk.job(desk("PUT", "/users/update_many", change))
    assert [r["success"] for r in job["results"]] == [True, False]
    desk.later(3601)
    assert desk("GET", f"/job_statuses/{job['id']}").status == 404
    assert desk("POST", "/users/create_many", {"users": [{"name": "n"}] * 101}).status == 400


def test_bulk_imports_are_refused_until_they_are_turned_on(desk: Desk) -> None:
    desk.api.limit({"imports": False})
    for verb in ("create_many", "create_or_update_many"):
        assert desk("POST", f"/users/{verb}", {"users": [{"name": "n"}]}).status == 403


def test_tags_are_added_and_removed_beside_others(desk: Desk) -> None:
    user = desk.user(tags=["vip"])
    assert desk("PUT", f"/users/{user}/tags", {"tags": ["Big Deal"]}).body["tags"] == [
        "vip", "big_deal"
    ]  # fmt: skip
    assert desk("DELETE", f"/users/{user}/tags", {"tags": ["vip"]}).status == 204
    assert desk("GET", f"/users/{user}/tags").body["tags"] == ["big_deal"]
    found = desk("GET", "/search", query="type:user tags:big_deal").body
    assert [r["id"] for r in found["results"]] == [user]


def test_an_email_written_to_a_known_user_is_added_beside_the_first(desk: Desk) -> None:
    user = desk.user(email="One@x.example")
    shown = desk("PUT", f"/users/{user}", {"user": {"email": "two@x.example"}}).body["user"]
    assert shown["email"] == "one@x.example"
    found = desk("GET", f"/users/{user}/identities").body["identities"]
    assert [i["value"] for i in found] == ["one@x.example", "two@x.example"]
    assert desk("GET", "/search", query="email:two@x.example").body["count"] == 1


def test_limits_are_told_with_the_seconds_to_wait(desk: Desk) -> None:
    desk.api.limit({"exports": 2})
    for status in (200, 200, 429):
        reply = desk("GET", "/incremental/users/cursor", start_time=SINCE)
        assert reply.status == status
    assert reply.headers["Retry-After"] == "60"
    desk.later(60)
    assert desk("GET", "/incremental/users/cursor", start_time=SINCE).status == 200


def test_pages_by_number_end_at_ten_thousand(desk: Desk) -> None:
    assert desk("GET", "/users", page="100").status == 200
    assert desk("GET", "/users", page="101").status == 400


def test_a_bearer_token_holds_until_it_is_ended(desk: Desk) -> None:
    form = {"grant_type": "client_credentials", "client_id": "id", "client_secret": "secret"}
    request = Request("POST", "/oauth/tokens", body=json.dumps(form).encode())
    token = desk.api.handle(request).body["access_token"]
    desk.headers = {"authorization": f"Bearer {token}"}
    assert desk("GET", "/users/me").status == 200
    assert desk.api.expire() == 1
    assert desk("GET", "/users/me").status == 401
