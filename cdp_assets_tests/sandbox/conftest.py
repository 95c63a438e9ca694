"""A small world, and stand-ins without a server around them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.hubspot.api import HubSpotApi
from cdp_assets.sandbox.salesforce.api import SalesforceApi
from cdp_assets.sandbox.salesforce.oauth import OAuth
from cdp_assets.sandbox.tables import Tables
from cdp_assets.sandbox.world.world import World
from cdp_assets_tests.sandbox.running import Running, running

END = date(2026, 3, 31)
NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


def make_world(home: Path, people: int = 300, seed: int = 1) -> World:
    """A world whose first state ends on 2026-03-31, at noon of the day after."""
    clock = Clock()
    clock.freeze(NOW)
    return World(home, people=people, seed=seed, end=END, clock=clock)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One world for the tests that only look."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("server") / "world"
    with running(home, "--people", "60", "--end", "2026-03-31") as found:
        yield found


@dataclass
class Vendors:
    """Both stand-ins over empty tables."""

    salesforce: SalesforceApi
    hubspot: HubSpotApi
    clock: Clock
    token: str

    def sf(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None,
        **query: str,
    ) -> Reply:  # fmt: skip
        """One request below /services/data/v62.0."""
        sent = {"authorization": f"Bearer {self.token}", **(headers or {})}
        raw = json.dumps(body).encode() if body is not None else b""
        path = f"/services/data/v62.0{path}"
        return self.salesforce.handle(Request(method, path, query, sent, raw, "http://x"))

    def hs(self, method: str, path: str, body: Any = None, **query: str) -> Reply:
        """One request to HubSpot."""
        raw = json.dumps(body).encode() if body is not None else b""
        headers = {"authorization": "Bearer token"}
        return self.hubspot.handle(Request(method, path, query, headers, raw, "http://x"))

    def query(self, text: str, *, deleted_too: bool = False) -> list[dict[str, Any]]:
        """The records of the first page of a query."""
        reply = self.sf("GET", "/queryAll" if deleted_too else "/query", q=text)
        assert reply.status == 200, reply.body
        return list(reply.body["records"])


@pytest.fixture
def vendors() -> Vendors:
    clock = Clock()
    clock.freeze(NOW)
    tables = Tables(None)
    oauth = OAuth(clock, "id", "secret", "refresh")
    salesforce = SalesforceApi(tables, clock, oauth)
    form = b"grant_type=client_credentials&client_id=id&client_secret=secret"
    reply = salesforce.handle(Request("POST", "/services/oauth2/token", body=form))
    return Vendors(
        salesforce, HubSpotApi(tables, clock, "token"), clock, reply.body["access_token"]
    )
