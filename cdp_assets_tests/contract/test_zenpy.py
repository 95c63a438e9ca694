"""The unmodified public client zenpy against the stand-in Zendesk."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from zenpy import Zenpy
from zenpy.lib.api_objects import Comment, JobStatus, Organization, Ticket, User
from zenpy.lib.exception import APIException, RecordNotFoundException

from cdp_assets_tests.sandbox.running import Running


@pytest.fixture
def client(sandbox: Running, monkeypatch: pytest.MonkeyPatch) -> Zenpy:
    monkeypatch.setenv("ZENPY_FORCE_NETLOC", sandbox.url.partition("://")[2])
    monkeypatch.setenv("ZENPY_FORCE_SCHEME", "http")
    given = sandbox.system("zendesk")
    return Zenpy(
        subdomain="company", email=given["email"], token=given["token"], disable_cache=True
    )


def ended(client: Zenpy, job: JobStatus) -> JobStatus:
    for _ in range(20):
        job = client.job_status(id=job.id)
        if job.status == "completed":
            return job
        time.sleep(0.01)
    raise AssertionError("the job does not end")


def test_users_come_and_go(client: Zenpy) -> None:
    made = client.users.create(User(name="Zen", email="zen@py.example", external_id="zen-1"))
    assert client.users(id=made.id).email == "zen@py.example"
    made.phone = "+1 555 0100"
    assert client.users.update(made).phone == "+1 555 0100"
    again = client.users.create_or_update(User(name="Zen", external_id="ZEN-1"))
    assert (again.id, again.external_id) == (made.id, "ZEN-1")
    assert [u.id for u in client.users.search(query="zen@py.example")] == [made.id]
    assert [u.id for u in client.search("zen@py.example", type="user")] == [made.id]
    with pytest.raises(APIException):
        client.users.create(User(name="Other", email="zen@py.example"))
    client.users.delete(made)
    assert not client.users(id=made.id).active


def test_lists_are_read_to_their_end(client: Zenpy) -> None:
    users = [User(name=f"List {n}", email=f"list{n}@py.example") for n in range(30)]
    job = ended(client, client.users.create(users))
    assert len(job.results) == 30
    found = {u.email for u in client.users(page_size=20)}
    assert {f"list{n}@py.example" for n in range(30)} <= found


def test_tickets_with_comments_tags_and_audits(client: Zenpy) -> None:
    audit = client.tickets.create(Ticket(subject="Help", description="It burns"))
    ticket = audit.ticket
    ticket.comment = Comment(body="Still", public=False)
    ticket.status = "pending"
    client.tickets.update(ticket)
    assert [c.body for c in client.tickets.comments(ticket.id)] == ["It burns", "Still"]
    assert len(list(client.tickets.audits(ticket.id))) == 2
    assert list(client.tickets.add_tags(ticket.id, ["hot"])) == ["hot"]
    assert len(list(client.tickets.tags(ticket.id))) == 1
    client.tickets.delete(ticket)
    with pytest.raises(RecordNotFoundException):
        client.tickets(id=ticket.id)


def test_update_many_is_a_job(client: Zenpy) -> None:
    made = [client.organizations.create(Organization(name=f"Many {n}")) for n in range(3)]
    for organization in made:
        organization.notes = "told"
    job = ended(client, client.organizations.update(made))
    assert [r["success"] for r in _plain(job.results)] == [True] * 3
    shown = client.organizations(ids=[o.id for o in made])
    assert {o.notes for o in shown} == {"told"}


def test_incremental_exports(client: Zenpy, sandbox: Running) -> None:
    past = datetime.now(UTC) - timedelta(days=3)
    sandbox.control("POST", "clock", {"now": past.isoformat()})
    user = client.users.create(User(name="Exported", email="exported@py.example"))
    organization = client.organizations.create(Organization(name="Exported"))
    ticket = client.tickets.create(Ticket(subject="Exported", description="x")).ticket
    client.tickets.delete(ticket)
    sandbox.control("POST", "clock", {})
    since = past - timedelta(hours=1)
    found = {u.id for u in client.users.incremental(start_time=since, paginate_by_time=False)}
    assert user.id in found
    tickets = client.tickets.incremental(start_time=since, paginate_by_time=False)
    assert {t.id: t.status for t in tickets}[ticket.id] == "deleted"
    assert organization.id in {o.id for o in client.organizations.incremental(start_time=since)}


def _plain(results: Any) -> list[dict[str, Any]]:
    return [r if isinstance(r, dict) else r.to_dict() for r in results]
