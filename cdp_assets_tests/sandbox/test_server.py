"""The command: what it prints, what survives its end, and the tests' hand on it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cdp_assets_tests.sandbox.running import Running, running

QUERY = "/services/data/v62.0/query"


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        request.getfixturevalue("server").control("DELETE", "faults")


def test_it_prints_one_line_a_system(server: Running) -> None:
    named = [line["system"] for line in server.lines]
    assert named == ["salesforce", "hubspot", "events", "zendesk", "sugarcrm"]
    assert server.lines[3].keys() == {"system", "url", "email", "token"}
    assert server.lines[0].keys() == {"system", "url", "client_id", "client_secret"}
    assert server.lines[1].keys() == {"system", "url", "token"}
    folder = Path(server.lines[2]["path"])
    assert any(path.name.endswith(".jsonl.gz") for path in folder.iterdir())
    assert server.control("GET", "state")["today"] == "2026-03-31"


def test_the_journal_keeps_requests_and_how_many_rows_they_carried(server: Running) -> None:
    server.control("DELETE", "journal")
    server.query("SELECT Id FROM User")
    server.hubspot("GET", "/crm/v3/objects/contacts", params={"limit": "7"})
    journal = server.control("GET", "journal")
    seen = [(r["method"], r["path"], r["status"], r["rows"]) for r in journal["requests"]]
    assert seen[-2:] == [
        ("GET", QUERY, 200, 12),
        ("GET", "/crm/v3/objects/contacts", 200, 7),
    ]
    assert server.control("DELETE", "journal") == {}
    assert server.control("GET", "journal") == {"count": 0, "requests": []}


def test_a_status_comes_as_scripted_and_then_no_more(server: Running) -> None:
    fault = {
        "match": "/query", "method": "GET", "after": 1, "times": 2, "status": 503,
        "headers": {"Retry-After": "7"}, "body": "<html>busy</html>",
    }  # fmt: skip
    server.control("POST", "faults", [fault])
    replies = [server.salesforce("GET", "/query", params={"q": "SELECT Id FROM User"})
               for _ in range(4)]  # fmt: skip
    assert [reply.status_code for reply in replies] == [200, 503, 503, 200]
    assert (replies[1].headers["Retry-After"], replies[1].text) == ("7", "<html>busy</html>")


@pytest.mark.parametrize("action", ["reset", "truncate"])
def test_a_connection_breaks(server: Running, action: str) -> None:
    server.control("POST", "faults", {"match": "/query", "action": action})
    with pytest.raises(requests.RequestException):
        server.salesforce("GET", "/query", params={"q": "SELECT Id FROM User"})


@pytest.mark.parametrize("action", ["commit_then_stall", "commit_then_reset"])
def test_a_write_may_take_effect_without_an_answer(server: Running, action: str) -> None:
    server.control("POST", "faults", {"match": "/sobjects/Lead", "action": action, "seconds": 1})
    headers = {"Authorization": f"Bearer {server.token()}"}
    with pytest.raises(requests.RequestException):
        requests.post(
            f"{server.url}/services/data/v62.0/sobjects/Lead",
            json={"LastName": action, "Company": "x"}, headers=headers, timeout=0.3,
        )  # fmt: skip
    time.sleep(0.2)
    assert len(server.query(f"SELECT Id FROM Lead WHERE LastName = '{action}'")) == 1


def test_what_is_scripted_wrongly_is_refused(server: Running) -> None:
    for fault in ({"match": "("}, {"match": "x", "actions": "reset"}):
        reply = requests.post(f"{server.url}/_sandbox/faults", json=fault, timeout=9)
        assert reply.status_code == 400
    assert requests.get(f"{server.url}/_sandbox/nope", timeout=9).status_code == 404


def test_sessions_can_be_ended(server: Running) -> None:
    token = server.token()
    server.control("POST", "expire-tokens")
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{server.url}/services/data/v62.0/limits"
    assert requests.get(url, headers=headers, timeout=9).status_code == 401


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_on_where_it_was_ended(tmp_path: Path, end: signal.Signals) -> None:
    def look(found: Running) -> tuple[object, ...]:
        contacts = found.query("SELECT FIELDS(ALL) FROM Contact ORDER BY Id LIMIT 200")
        listed = found.hubspot("GET", "/crm/v3/objects/contacts", params={"limit": "100"}).json()
        state = found.control("GET", "state")
        return contacts, listed["results"], state["records"], state["today"]

    arguments = ("--people", "40", "--end", "2026-03-31")
    with running(tmp_path, *arguments) as found:
        found.control("POST", "next-day")
        found.salesforce("POST", "/sobjects/Contact", json={"LastName": "Written"})
        found.hubspot("POST", "/crm/v3/objects/contacts", json={"properties": {"orders": "3"}})
        found.salesforce("POST", "/composite/sobjects", json={
            "records": [{"attributes": {"type": "Contact"}, "LastName": f"c{n}"} for n in range(5)]
        })  # fmt: skip
        before = look(found)
        first = found.lines
        found.process.send_signal(end)
        code = found.process.wait(60)
        assert code == (0 if end == signal.SIGTERM else -signal.SIGKILL)
    port = first[0]["url"].rpartition(":")[2]
    with running(tmp_path, *arguments, "--port", port) as found:
        assert look(found) == before
        assert found.lines == first


def test_the_sandbox_is_a_stranger() -> None:
    code = (
        "import sys, cdp_assets.sandbox.server\n"
        "names = {n for n in sys.modules if n.startswith('cdp_assets.')}\n"
        "print(sorted(n for n in names if not n.startswith('cdp_assets.sandbox')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
