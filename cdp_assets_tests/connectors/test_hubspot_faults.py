"""HubSpot on bad days: any fault at any request, and both sides end as without it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.base import FieldInfo, RowChange
from cdp_assets.connectors.hubspot import HubSpot
from cdp_assets.raw.payload import payload_hash
from cdp_assets_tests.connectors.faulty import Clock
from cdp_assets_tests.connectors.stand_in import StandIn, quick
from cdp_assets_tests.connectors.test_hubspot_access import app
from cdp_assets_tests.connectors.test_hubspot_pull import START, create, later

MARCH = datetime(2026, 3, 1, 9, tzinfo=UTC)
TOO_MANY = {"category": "RATE_LIMITS", "message": "limit", "policyName": "TEN_SECONDLY_ROLLING"}
FAULTS: Mapping[str, dict[str, Any]] = {
    "500 HTML": {"status": 500, "body": "<html>Oops</html>", "times": 2},
    "502": {"status": 502, "times": 2},
    "truncated": {"action": "truncate", "times": 2},
    "HTML for JSON": {"status": 200, "body": "<html>maintenance</html>"},
    "reset": {"action": "reset"},
    "reset after the commit": {"action": "commit_then_reset"},
    "429": {"status": 429, "body": TOO_MANY},
    "429 with Retry-After": {"status": 429, "headers": {"Retry-After": "3"}, "times": 2},
    "423": {"status": 423},
    "477": {"status": 477, "headers": {"Retry-After": "5"}},
    "401": {"status": 401, "body": {"category": "EXPIRED_AUTHENTICATION"}},
}
EVERYWHERE = ("truncated", "reset after the commit", "429 with Retry-After", "401")
"""Faults that are tried at the first, a middle and the last request, the others at a middle one."""
Work = Callable[[HubSpot, str], Any]


def pulled(name: str) -> Work:
    def work(source: HubSpot, stem: str) -> Any:
        rows = pl.concat([page.rows for page in source.pull(name, START, later())])
        rows = rows.with_columns(payload_hash(rows["payload"], ("url", "objectWriteTraceId")))
        columns = ["record_id", "cursor_at", "op", "merged_into", "payload_hash"]
        return rows.select(columns).unique().sort(columns).rows()

    return work


def keyed(source: HubSpot, stem: str) -> Any:
    return pl.concat(source.keys("contacts")).sort("record_id").rows()


def listed(source: HubSpot, stem: str) -> Any:
    """A list made, filled, emptied a little, and read."""
    ids = found(source, stem)
    made = source.create_list(f"List {stem}", "contacts")
    outcomes = source.change_members(made, ids, [])
    outcomes += source.change_members(made, [], ids[:1])
    there = [i for page in source.list_members(made) for i in page]
    return [o.ok for o in outcomes], [ids.index(i) for i in there]


def upserted(source: HubSpot, stem: str) -> Any:
    batch = [
        RowChange(n, "upsert", {"city": "Rome"}, key_field="customer_id", key_value=f"{stem}-{n}")
        for n in range(3)
    ]
    outcomes = source.write("contacts", batch)
    shown = source.find("contacts", "customer_id", [f"{stem}-{n}" for n in range(3)], ["city"])
    return [o.ok for o in outcomes], [[r["city"] for r in rows] for rows in shown.values()]


def updated(source: HubSpot, stem: str) -> Any:
    ids = found(source, stem)
    batch = [RowChange(n, "update", {"city": "Oslo"}, record_id=i) for n, i in enumerate(ids)]
    outcomes = source.write("contacts", batch)
    return [o.ok for o in outcomes], [
        row["city"] for row in source.read("contacts", ids, ["city"]).values()
    ]


def deleted(source: HubSpot, stem: str) -> Any:
    ids = found(source, stem)
    batch = [RowChange(n, "delete", {}, record_id=i) for n, i in enumerate(ids)]
    return [o.ok for o in source.write("contacts", batch)], source.read("contacts", ids, [])


def found(source: HubSpot, stem: str) -> list[str]:
    emails = [f"{stem}{n}@made.example" for n in range(3)]
    return [str(rows[0]["id"]) for rows in source.find("contacts", "email", emails, []).values()]


@dataclass(frozen=True)
class Case:
    """Work to be done. prepares: contacts are made for it."""

    work: Work
    prepares: bool = False


CASES: Mapping[str, Case] = {
    **{
        f"pull {name}": Case(pulled(name))
        for name in ("contacts", "tasks", "owners", "list_members", "email_events",
                     "form_submissions", "contacts_history")
    },
    "keys": Case(keyed),
    "list": Case(listed, prepares=True),
    "upsert": Case(upserted),
    "update": Case(updated, prepares=True),
    "delete": Case(deleted, prepares=True),
}  # fmt: skip
_numbers = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def filled(running: StandIn) -> None:
    """Something of everything."""
    running.quiet()
    source = running.hubspot()
    ids = create(source, 4, "filled")
    task = {"hs_timestamp": "2026-03-01T09:00:00Z", "hs_task_subject": "Call"}
    source.write("tasks", [RowChange(1, "create", task, links=(("contacts", ids[0]),))])
    source.write("contacts", [RowChange(1, "update", {"city": "Rome"}, record_id=ids[0])])
    source.change_members(source.create_list("Filled", "contacts"), ids, [])
    at = int(MARCH.timestamp() * 1000)
    running.control("POST", "hubspot/marketing", {
        "email_events": [{"id": f"f{n}", "created": at + n, "type": "OPEN",
                          "recipient": "filled0@made.example"} for n in range(3)],
        "forms": [{"id": "filled", "name": "Filled"}],
        "submissions": [{"conversionId": "filled", "form": "filled", "submittedAt": at,
                         "values": [{"name": "email", "value": "filled1@made.example"}]}],
    })  # fmt: skip


def stem(source: HubSpot, case: Case) -> str:
    made = f"fault{next(_numbers)}x"
    if case.prepares:
        create(source, 3, made)
    return made


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CASES)
def test_any_fault_at_any_request_changes_nothing(stand_in: StandIn, name: str, fault: str) -> None:
    case, plain = CASES[name], app(stand_in)
    mine = stem(plain, case)
    stand_in.control("DELETE", "journal")
    expected = case.work(plain, mine)
    assert expected
    requests = [e for e in stand_in.journal() if not e["path"].startswith("/oauth")]
    middle, last = len(requests) // 2, len(requests) - 1
    places = sorted({0, middle, last}) if fault in EVERYWHERE else [middle]
    for place in places:
        clock = Clock()
        source = app(stand_in, quick(monotonic=clock, sleep=clock.sleep, read_timeout=5))
        other = stem(plain, case)
        stand_in.control("DELETE", "journal")
        stand_in.faults({"match": "^/(?!oauth)", "after": place, **FAULTS[fault]})
        assert case.work(source, other) == expected, f"at request {place}"
        assert stand_in.control("GET", "faults") == [], "the fault was met"
        told = re.search(r"\d+", str(FAULTS[fault].get("headers", "")))
        if told is not None:
            assert max(clock.slept) >= int(told[0]), "it was not asked before its time"


@pytest.mark.parametrize("action", ["commit_then_reset", "truncate"])
def test_a_property_whose_answer_is_lost_is_not_made_twice(stand_in: StandIn, action: str) -> None:
    source = stand_in.hubspot()
    info = FieldInfo(name=f"cdp_lost_{action}", type="string")
    stand_in.faults({"match": "properties/contacts$", "method": "POST", "action": action})
    with pytest.raises(Exception, match="may or may not have taken effect"):
        source.create_field("contacts", info)
    assert info.name in source.describe(["contacts"]).objects["contacts"].fields


def test_a_server_whose_clock_is_off_loses_nothing(stand_in: StandIn) -> None:
    """Windows are of HubSpot's own stamps; what it stamps ahead of us waits for its time."""
    source = stand_in.hubspot()
    now = datetime(2026, 8, 1, 12, tzinfo=UTC)
    seen: list[str] = []
    for minutes in (-20, 20):
        stand_in.control("POST", "clock", {"now": (now + timedelta(minutes=minutes)).isoformat()})
        seen += create(source, 1, f"skew{minutes}")
    early = pl.concat([p.rows for p in source.pull("contacts", now - timedelta(hours=1), now)])
    assert early["record_id"].to_list() == seen[:1]
    late = pl.concat([p.rows for p in source.pull("contacts", now, now + timedelta(hours=1))])
    assert late["record_id"].to_list() == seen[1:]
