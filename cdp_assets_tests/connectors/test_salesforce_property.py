"""Whatever happens in Salesforce between pulls, by REST or Bulk, they tell the state it ends in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import Refused, RowChange
from cdp_assets.connectors.http import HttpOptions, Reply
from cdp_assets.connectors.salesforce import Salesforce, SalesforceConfig, bulk_query
from cdp_assets.raw.windows import OVERLAP
from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Request
from cdp_assets.sandbox.salesforce import api as stand_in
from cdp_assets.sandbox.salesforce.oauth import OAuth
from cdp_assets.sandbox.salesforce.schema import OBJECTS
from cdp_assets.sandbox.tables import Row, Tables

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class InProcess:
    """The requests of a client handed to a stand-in, without a network between them."""

    calls = 0

    def __init__(self, api: stand_in.SalesforceApi, token: str) -> None:
        self.api = api
        self.token = token

    def request(self, method: str, path: str, **asked: Any) -> Any:
        self.calls += 1
        query, body = asked.get("params") or {}, asked.get("body") or b""
        headers = {k.lower(): v for k, v in (asked.get("headers") or {}).items()}
        headers["authorization"] = f"Bearer {self.token}"
        path, _, more = path.partition("?")
        assert not more
        reply = self.api.handle(Request(method, path, query, headers, body, "http://x"))
        raw = reply.encoded()
        if reply.status >= 300:
            codes = tuple(error["errorCode"] for error in json.loads(raw))
            raise Refused(f"refused: {codes}", status=reply.status, codes=codes, body=raw)
        decode = asked.get("decode", lambda found: json.loads(found) if found else None)
        return Reply(reply.status, reply.headers, decode(raw), raw)


@dataclass
class Org:
    """A stand-in with records of one object, our client of it, and what was pulled so far."""

    name: str
    above: int
    clock: Clock = field(default_factory=Clock)
    reached: datetime = BEGIN
    versions: list[tuple[str, datetime, int, bool, str, str | None, Row]] = field(
        default_factory=list
    )
    pulls: int = 0
    number: int = 0

    def __post_init__(self) -> None:
        self.clock.freeze(BEGIN + timedelta(hours=1))
        oauth = OAuth(self.clock, "id", "secret", "refresh")
        self.api = stand_in.SalesforceApi(Tables(None), self.clock, oauth)
        form = b"grant_type=client_credentials&client_id=id&client_secret=secret"
        reply = self.api.handle(Request("POST", "/services/oauth2/token", body=form))
        oauth._tokens[reply.body["access_token"]] = 1e12
        config = SalesforceConfig(
            url="https://x.example", client_id="id", client_secret="secret",
            objects=[self.name], bulk_above=self.above, bulk_write_above=self.above,
        )  # fmt: skip
        options = HttpOptions(now=self.clock.now, sleep=lambda _: None)
        self.source = Salesforce("s", config, options=options)
        self.source._client._http = InProcess(self.api, reply.body["access_token"])  # type: ignore[assignment]
        self.spec = OBJECTS[self.name.lower()]

    def rows(self) -> dict[str, Row]:
        return self.api.objects.table(self.spec).rows

    def act(self, kind: str, which: int) -> None:
        self.number += 1
        objects, column = self.api.objects, "LastName" if self.name == "Contact" else "Name"
        live = sorted(key for key, row in self.rows().items() if not row.get("IsDeleted"))
        dead = sorted(
            key for key, row in self.rows().items()
            if row.get("IsDeleted") and not row.get("MasterRecordId")
        )  # fmt: skip
        if kind == "undelete" and dead:
            objects.undelete(self.spec, dead[which % len(dead)])
        elif kind == "create" or len(live) < 2:
            objects.create(self.spec, {column: f"N{self.number}"})
        elif kind == "update":
            objects.update(self.spec, live[which % len(live)], {column: f"N{self.number}"})
        elif kind == "merge" and self.spec.mergeable:
            objects.merge(self.spec, live[0], [live[1 + which % (len(live) - 1)]])
        else:
            objects.delete(self.spec, live[which % len(live)])

    def pull(self) -> None:
        now = self.clock.now()
        self.pulls += 1
        for page in self.source.pull(self.name, max(BEGIN, self.reached - OVERLAP), now):
            for row in page.rows.iter_rows(named=True):
                self.versions.append(
                    (row["record_id"], row["cursor_at"], self.pulls, row["op"] != "upsert",
                     row["op"], row["merged_into"], json.loads(row["payload"]))
                )  # fmt: skip
        self.reached = now

    def state(self) -> dict[str, tuple[str, str | None, Row]]:
        """Record → its last version, in the order in which records takes them."""
        ordered = sorted(self.versions, key=lambda v: v[1:4])
        return {key: (op, into, body) for key, _, _, _, op, into, body in ordered}


KINDS = ["create", "create", "update", "update", "delete", "undelete", "merge", "pull", "pull"]
STEP = st.tuples(st.sampled_from(KINDS), st.integers(0, 9),
                 st.sampled_from([0.0, 0.0, 0.4, 1.0, 7.0, 70.0, 900.0]))  # fmt: skip


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "_page_size", lambda request: 3)
    monkeypatch.setattr(bulk_query, "PAGE", 3)


@settings(
    max_examples=20, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    steps=st.lists(STEP, max_size=30), name=st.sampled_from(["Contact", "Group"]),
    above=st.sampled_from([0, 1, 5]),
)  # fmt: skip
def test_any_interleaving_of_changes_and_pulls(
    steps: list[tuple[str, int, float]], name: str, above: int
) -> None:
    org = Org(name, above)
    for kind, which, pause in steps:
        if kind == "pull":
            org.pull()
        else:
            org.act(kind, which)
        org.clock.freeze(org.clock.now() + timedelta(seconds=pause))
    org.clock.freeze(org.clock.now() + timedelta(seconds=2))
    org.pull()
    state = org.state()
    column = "LastName" if name == "Contact" else "Name"
    # What came and went between two pulls is told as gone, by getDeleted too.
    assert state.keys() == org.rows().keys()
    for key, row in org.rows().items():
        op, into, body = state[key]
        if not row.get("IsDeleted"):
            assert (op, body[column]) == ("upsert", row[column])
        elif row.get("MasterRecordId"):
            assert (op, into) == ("merge", row["MasterRecordId"])
        else:
            assert op == "delete"
    live = {key for key, row in org.rows().items() if not row.get("IsDeleted")}
    assert {key for frame in org.source.keys(name) for key in frame["record_id"]} == live


VALUES = st.sampled_from([None, "", "a", 'b"\n,', "#N/A", "x" * 200])
ROWS = st.lists(st.tuples(st.integers(0, 5), VALUES, VALUES), min_size=1, max_size=12)


@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(batches=st.lists(ROWS, min_size=1, max_size=4))
def test_any_upserts_end_alike_by_calls_and_by_jobs(
    batches: list[list[tuple[int, Any, Any]]],
) -> None:
    ends = []
    for above in (0, 1):
        org = Org("Contact", above)
        said = []
        for batch in batches:
            rows = [
                RowChange(n, "upsert", {"LastName": last, "Title": title},
                          key_field="CDP_Id__c", key_value=f"k{key}")
                for n, (key, last, title) in enumerate(batch)
            ]  # fmt: skip
            outcomes = org.source.write("Contact", rows)
            assert [o.row for o in outcomes] == list(range(len(rows)))
            said.append([(o.ok, o.created, o.error_class, o.code) for o in outcomes])
        shown = {r["CDP_Id__c"]: (r["LastName"], r.get("Title")) for r in org.rows().values()}
        ends.append((said, shown))
    assert ends[0] == ends[1]
