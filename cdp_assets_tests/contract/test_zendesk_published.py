"""The stand-in Zendesk against Zendesk's own document and captured replies."""

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
LONG_AGO = {"start_time": "1262304000"}


def translated(schema: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema. Captured tickets hold null where the document says nothing of
    it, so null is let through everywhere."""
    if isinstance(schema, list):
        return [translated(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {k: translated(v) for k, v in schema.items() if k not in {"nullable", "example"}}
    if "oneOf" in found:
        found["anyOf"] = found.pop("oneOf")
    kind = found.get("type")
    if isinstance(kind, str):
        found["type"] = [kind, "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    return found


@pytest.fixture(scope="module")
def document(specs: Path) -> Any:
    return translated(json.loads((specs / "zendesk" / "support-api.trimmed.json").read_bytes()))


def ask(sandbox: Running, method: str, path: str, body: Any = None, **more: Any) -> Any:
    given = sandbox.system("zendesk")
    return requests.request(
        method, f"{sandbox.url}{path}.json", json=body, timeout=30,
        auth=(f"{given['email']}/token", given["token"]), **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def call(sandbox: Running, document: Any) -> Call:
    """Send a request and validate the reply: `call(method, template, body, status=…, **path)`."""

    def send(
        method: str, template: str, body: Any = None, *, status: int = 200,
        params: dict[str, str] | None = None, **path: Any,
    ) -> Any:  # fmt: skip
        reply = ask(sandbox, method, template.format(**path), body, params=params)
        assert reply.status_code == status, reply.text
        operation = document["paths"][template][method.lower()]
        wanted = operation["responses"].get(str(status), {})
        schema = wanted.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return reply.json() if reply.content else None
        whole = schema | {"components": document["components"]}
        jsonschema.Draft202012Validator(whole).validate(reply.json())
        return reply.json()

    return send


def test_users(call: Call) -> None:
    base = "/api/v2/users"
    made = call("POST", base, {"user": {"name": "One", "external_id": "pub-1"}}, status=201)
    one = {"user_id": made["user"]["id"]}
    call("GET", f"{base}/{{user_id}}", **one)
    call("PUT", f"{base}/{{user_id}}", {"user": {"name": "Two"}}, **one)
    call("GET", base, params={"page[size]": "5"})
    call("GET", f"{base}/show_many", params={"external_ids": "PUB-1"})
    call("GET", f"{base}/search", params={"query": "Two"})
    call("GET", f"{base}/count")
    call("GET", f"{base}/me")
    call("GET", f"{base}/{{user_id}}/identities", **one)
    again = {"user": {"name": "Three", "external_id": "PUB-1"}}
    call("POST", f"{base}/create_or_update", again)
    call("DELETE", f"{base}/{{user_id}}", **one)
    call("GET", "/api/v2/incremental/users/cursor", params=LONG_AGO)


def test_organizations(call: Call) -> None:
    base = "/api/v2/organizations"
    made = call("POST", base, {"organization": {"name": "Published"}}, status=201)
    one = {"organization_id": made["organization"]["id"]}
    call("GET", f"{base}/{{organization_id}}", **one)
    call("PUT", f"{base}/{{organization_id}}", {"organization": {"notes": "x"}}, **one)
    call("GET", base)
    call("GET", f"{base}/search", params={"name": "published"})
    call("GET", f"{base}/show_many", params={"ids": str(one["organization_id"])})
    call("GET", "/api/v2/incremental/organizations", params=LONG_AGO)


def test_tickets(call: Call) -> None:
    base = "/api/v2/tickets"
    asked = {"ticket": {"subject": "S", "comment": {"body": "B"}}}
    made = call("POST", base, asked, status=201)
    one = {"ticket_id": made["ticket"]["id"]}
    call("GET", f"{base}/{{ticket_id}}", **one)
    call("PUT", f"{base}/{{ticket_id}}", {"ticket": {"status": "pending"}}, **one)
    call("GET", f"{base}/{{ticket_id}}/comments", **one)
    call("GET", f"{base}/{{ticket_id}}/audits", **one)
    call("PUT", f"{base}/{{ticket_id}}/tags", {"tags": ["a"]}, **one)
    call("GET", f"{base}/{{ticket_id}}/tags", **one)
    call("DELETE", f"{base}/{{ticket_id}}/tags", {"tags": ["a"]}, status=204, **one)
    call("GET", f"{base}/show_many", params={"ids": str(one["ticket_id"])})
    rating = {"satisfaction_rating": {"score": "good", "comment": "x"}}
    call("POST", f"{base}/{{ticket_id}}/satisfaction_rating", rating, **one)
    call("GET", "/api/v2/satisfaction_ratings")
    call("DELETE", f"{base}/{{ticket_id}}", status=204, **one)
    call("GET", "/api/v2/incremental/tickets/cursor", params=LONG_AGO)


def test_fields_and_searches(call: Call) -> None:
    for one in ("user", "organization", "ticket"):
        call("GET", f"/api/v2/{one}_fields")
    asked = {"user_field": {"key": "new_one", "title": "New", "type": "text"}}
    call("POST", "/api/v2/user_fields", asked, status=201)
    call("GET", "/api/v2/search", params={"query": "type:user one"})
    call("GET", "/api/v2/search/count", params={"query": "type:user"})
    call("GET", "/api/v2/search/export", params={"query": "x", "filter[type]": "user"})


def test_jobs(call: Call) -> None:
    users = {"users": [{"name": "J"}, {"name": ""}]}
    jobs = [call("POST", f"/api/v2/users/{v}", users)["job_status"]["id"]
            for v in ("create_many", "create_or_update_many")]  # fmt: skip
    change = {"users": [{"id": 1, "phone": "1"}]}
    jobs.append(call("PUT", "/api/v2/users/update_many", change)["job_status"]["id"])
    for job in jobs:
        for _ in range(2):
            found = call("GET", "/api/v2/job_statuses/{job_status_id}", job_status_id=job)
        assert found["job_status"]["status"] == "completed"


@pytest.mark.parametrize(
    ("capture", "path", "name"),
    [("GET/user", "/api/v2/users", "user"), ("GET/ticket", "/api/v2/tickets", "ticket"),
     ("GET/organization", "/api/v2/organizations", "organization")],
)  # fmt: skip
def test_captured_records_have_what_ours_have(
    sandbox: Running, specs: Path, capture: str, path: str, name: str
) -> None:
    """Every key of a captured record is in ours, and of the same type where neither is null."""
    file = specs / "zendesk" / "rest_responses.go-zendesk.json"
    real = json.loads(file.read_bytes())[capture][name]
    given = {"user": {"name": "Cap"}, "organization": {"name": "Cap"},
             "ticket": {"subject": "S", "comment": {"body": "B"}}}[name]  # fmt: skip
    ours = ask(sandbox, "POST", path, {name: given}).json()[name]
    assert set(real) <= set(ours)
    for key in real:
        if real[key] is not None and ours[key] is not None:
            assert type(real[key]) is type(ours[key]), key
