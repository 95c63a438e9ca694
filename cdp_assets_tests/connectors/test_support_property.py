"""Whatever happens in Zendesk and SugarCRM between pulls, the pulls tell the state they end in."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import Page, Refused
from cdp_assets.connectors.http import HttpOptions, Reply
from cdp_assets.connectors.sugarcrm import SugarCRM, SugarCRMConfig
from cdp_assets.connectors.zendesk import Zendesk, ZendeskConfig
from cdp_assets.connectors.zendesk import pull as zendesk_pull
from cdp_assets.raw.windows import OVERLAP
from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Request
from cdp_assets.sandbox.sugarcrm.api import SugarApi
from cdp_assets.sandbox.tables import Tables
from cdp_assets.sandbox.zendesk.api import ZendeskApi
from cdp_assets.sandbox.zendesk.schema import KINDS

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BASIC = "Basic " + base64.b64encode(b"a@b.example/token:t").decode()
LOGIN = {"grant_type": "password", "client_id": "sugar", "client_secret": "", "username": "u",
         "password": "p", "platform": "cdp"}  # fmt: skip


@dataclass
class InProcess:
    """The requests of a client handed to a stand-in, without a network between them."""

    handle: Callable[[Request], Any]
    prefix: str
    headers: Mapping[str, str]
    calls: int = 0

    def request(self, method: str, path: str, **asked: Any) -> Any:
        self.calls += 1
        query, body = asked.get("params") or {}, asked.get("body") or b""
        sent = Request(method, self.prefix + path, query, self.headers, body, "http://x")
        reply = self.handle(sent)
        raw = reply.encoded()
        if reply.status >= 300:
            raise Refused("refused", status=reply.status, body=raw)
        return Reply(reply.status, reply.headers, asked["decode"](raw), raw)


@dataclass
class Desk:
    """A stand-in with records of one object, our client of it, and what was pulled so far."""

    clock: Clock
    source: Zendesk | SugarCRM
    name: str
    create: Callable[[int], str]
    update: Callable[[str, int], Any]
    delete: Callable[[str], Any]
    touch: Callable[[str], Any]
    ids: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    number: int = 0
    reached: datetime = BEGIN
    versions: list[tuple[str, datetime, int, str, Any]] = field(default_factory=list)
    pulls: int = 0

    def act(self, kind: str, which: int) -> None:
        self.number += 1
        live = [i for i in self.ids if i not in self.gone]
        if kind == "create" or not live:
            self.ids.append(self.create(self.number))
            return
        key = live[which % len(live)]
        if kind == "update":
            self.update(key, self.number)
        elif kind == "touch":
            self.touch(key)
        else:
            self.delete(key)
            self.gone.add(key)

    def pull(self) -> None:
        now = self.clock.now()
        self.pulls += 1
        for page in self.source.pull(self.name, max(BEGIN, self.reached - OVERLAP), now):
            self.take(page)
        self.reached = now

    def take(self, page: Page) -> None:
        for row in page.rows.iter_rows(named=True):
            body = json.loads(row["payload"])
            self.versions.append((row["record_id"], row["cursor_at"], self.pulls, row["op"], body))

    def state(self) -> dict[str, tuple[str, Any]]:
        """Record → its last version, in the order in which records takes them."""
        ordered = sorted(self.versions, key=lambda v: (v[1], v[2], v[3] != "upsert"))
        return {key: (op, body) for key, _, _, op, body in ordered}


def zendesk(name: str, lag: int) -> Desk:
    clock = Clock()
    clock.freeze(BEGIN + timedelta(hours=1))
    api = ZendeskApi(Tables(None), clock, "a@b.example", "t")
    api.records.lag = timedelta(seconds=lag)
    config = ZendeskConfig(url="https://x.example", email="a@b.example", token="t", objects=[name])
    source = Zendesk("z", config, options=HttpOptions(now=clock.now, sleep=lambda _: None))
    source._client._http = InProcess(api.handle, "", {"authorization": BASIC})  # type: ignore[assignment]
    kind, records = KINDS[name], api.records

    def said(number: int) -> dict[str, Any]:
        more = {"comment": {"body": "x"}} if name == "tickets" else {}
        return {"name": f"N{number}", "subject": f"N{number}", **more}

    return Desk(
        clock, source, name,
        create=lambda n: records.create(kind, said(n)),
        update=lambda key, n: records.update(kind, key, said(n)),
        delete=lambda key: records.delete(kind, key),
        touch=lambda key: records.touch(kind, key),
    )  # fmt: skip


def sugarcrm(size: int) -> Desk:
    clock = Clock()
    clock.freeze(BEGIN + timedelta(hours=1))
    api = SugarApi(Tables(None), clock, "u", "p", "sugar", "")
    signed = api.handle(
        Request("POST", "/rest/v11_10/oauth2/token", body=json.dumps(LOGIN).encode())
    )
    api.logins._access[signed.body["access_token"]] = ("cdp", 1e12)
    config = SugarCRMConfig(
        url="https://x.example", username="u", password="p", objects=["Accounts"], page_size=size
    )
    source = SugarCRM("s", config, options=HttpOptions(now=clock.now))
    token = {"oauth-token": signed.body["access_token"]}
    source._client._http = InProcess(api.handle, "/rest/v11_10", token)  # type: ignore[assignment]
    records, name = api.records, "Accounts"
    return Desk(
        clock, source, name,
        create=lambda n: records.create(name, {"name": f"N{n}"}),
        update=lambda key, n: records.update(name, key, {"name": f"N{n}"}),
        delete=lambda key: records.delete(name, key),
        touch=lambda key: records.update(name, key, {}),
    )  # fmt: skip


KIND = st.sampled_from(["create", "create", "update", "update", "touch", "delete", "pull"])
STEP = st.tuples(KIND, st.integers(0, 9), st.sampled_from([0.0, 0.0, 0.4, 1.0, 7.0, 70.0, 900.0]))
STEPS = st.lists(STEP, max_size=30)


def run(desk: Desk, steps: list[tuple[str, int, float]]) -> None:
    for kind, which, pause in steps:
        if kind == "pull":
            desk.pull()
        else:
            desk.act(kind, which)
        desk.clock.freeze(desk.clock.now() + timedelta(seconds=pause))
    desk.clock.freeze(desk.clock.now() + timedelta(seconds=200))
    desk.pull()


def names(desk: Desk, shown: Iterator[tuple[str, Any]]) -> dict[str, str]:
    return {key: str(row.get("name") or row.get("subject")) for key, row in shown}


def check(desk: Desk, there: dict[str, str]) -> None:
    state = desk.state()
    assert state.keys() == set(desk.ids)
    assert {key for key, (op, _) in state.items() if op == "delete"} == desk.gone
    live = ((key, body) for key, (op, body) in state.items() if op == "upsert")
    assert names(desk, live) == there
    keys = {i for frame in desk.source.keys(desk.name) for i in frame["record_id"]}
    assert keys == set(there), "and so do its keys"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=STEPS, lag=st.sampled_from([0, 3, 45]),
    name=st.sampled_from(["users", "organizations", "tickets"]), size=st.sampled_from(["1", "3"]),
)  # fmt: skip
def test_zendesk(steps: list[tuple[str, int, float]], lag: int, name: str, size: str) -> None:
    before, zendesk_pull._PAGE = zendesk_pull._PAGE, size
    try:
        desk = zendesk(name, lag)
        run(desk, steps)
        rows = desk.source._client._http.handle.__self__.records.all(KINDS[name])  # type: ignore[union-attr]
        check(desk, names(desk, rows))
    finally:
        zendesk_pull._PAGE = before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, size=st.sampled_from([1, 2, 5]))
def test_sugarcrm(steps: list[tuple[str, int, float]], size: int) -> None:
    desk = sugarcrm(size)
    run(desk, steps)
    api = desk.source._client._http.handle.__self__  # type: ignore[union-attr]
    rows = api.records.all("Accounts", deleted=False)
    check(desk, names(desk, ((row["id"], row) for row in rows)))
