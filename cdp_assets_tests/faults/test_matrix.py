"""Any fault at any request of any connector: both sides end as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.base import ConnectorError, RowChange
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.raw.tables import raw_table
from cdp_assets.syncs import dead_letters, plan, replay
from cdp_assets.syncs.approval import approve
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.run import ApplyResult, apply
from cdp_assets_tests.connectors.stand_in import StandIn, quick, sandbox
from cdp_assets_tests.syncs.world import World

START = datetime(2015, 1, 1, tzinfo=UTC)
WAIT = 7
PEOPLE = 4
RUNS = 8
"""Runs after which all must be well; a person's work lies between two of them where it must."""

PULLED = {
    "salesforce": "Contact", "hubspot": "contacts", "zendesk": "users", "sugarcrm": "Contacts"
}  # fmt: skip
SYNCS: dict[str, dict[str, Any]] = {
    "salesforce": {
        "to": "salesforce.Contact",
        "create": "salesforce.Contact",
        "match": ["linked", {"Email": "email"}],
        "fields": {"LastName": "title", "Orders__c": "orders"},
    },
    "hubspot": {
        "to": "hubspot.contacts",
        "create": "hubspot.contacts",
        "match": ["linked", {"email": "email"}],
        "fields": {"lastname": "title", "orders": "orders"},
    },
    "zendesk": {
        "to": "zendesk.users",
        "create": "zendesk.users",
        "match": ["linked", {"email": "email"}],
        "fields": {"name": "title", "notes": "status"},
    },
    "sugarcrm": {
        "to": "sugarcrm.Contacts",
        "create": "sugarcrm.Contacts",
        "match": ["linked", {"email1": "email"}],
        "fields": {"last_name": "title", "orders_c": "orders"},
    },
}


def _moment(seconds: int) -> str:
    at = datetime.now(UTC).timestamp() + seconds
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)


def faults() -> dict[str, dict[str, Any]]:
    html = "<html><body>Bad gateway for ada@example.com</body></html>"
    return {
        "401 in the middle": {"status": 401},
        "403 on one request": {"status": 403},
        "409": {"status": 409},
        "423 locked": {"status": 423},
        "429 with seconds": {"status": 429, "headers": {"Retry-After": str(WAIT)}},
        "429 with a date": {"status": 429, "headers": {"Retry-After": _moment(WAIT + 2)}},
        "429 without a word": {"status": 429},
        "500": {"status": 500},
        "502 in HTML": {"status": 502, "body": html},
        "503 with seconds": {"status": 503, "headers": {"Retry-After": str(WAIT)}},
        "truncated JSON": {"action": "truncate"},
        "no answer": {"action": "reset"},
        "no answer, though it was done": {"action": "commit_then_reset"},
        "time-out, though it was done": {"action": "commit_then_stall", "seconds": 0.6},
    }


WAITS = {"429 with seconds", "429 with a date", "503 with seconds"}


ENDS_OR_ALL = pytest.mark.parametrize(
    "whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["ends", "all requests"]
)


def _requests(count: int, whole: bool) -> list[int]:
    """Which requests meet the fault: each one, or the last two."""
    return list(range(count)) if whole else sorted({max(count - 2, 0), count - 1})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), people=20) as stand_in:
        rows = [
            RowChange(n, "create", {"name": f"N{n}", "email": f"u{n}@example.com"})
            for n in range(6)
        ]
        assert all(outcome.ok for outcome in stand_in.zendesk().write("users", rows))
        rows = [RowChange(n, "create", {"last_name": f"N{n}"}) for n in range(6)]
        assert all(outcome.ok for outcome in stand_in.sugarcrm().write("Contacts", rows))
        yield stand_in


@dataclass
class Patience:
    """The client's sleep, without sleeping."""

    slept: list[float] = field(default_factory=list)

    def options(self) -> Any:
        return quick(sleep=self.slept.append, read_timeout=0.3, attempts=3)


def _client(stand_in: StandIn, system: str, patience: Patience) -> Any:
    client: Any = getattr(stand_in, system)(options=patience.options())
    client.find_lag = 0.0
    return client


def _settled(stand_in: StandIn) -> int:
    """How many requests came since the journal was cleared."""
    return len(stand_in.journal())


def _reset(stand_in: StandIn, now: datetime) -> None:
    """No faults, and a clock that stands: exports leave the last minute out."""
    stand_in.quiet()
    stand_in.control("POST", "clock", {"now": now.isoformat()})


def _raw(lake: Lake, system: str) -> pl.DataFrame:
    columns = ["record_id", "cursor_at", "op", "merged_into", "payload_hash"]
    table = lake.open(raw_table(system, PULLED[system]))
    return table.scan().select(columns).sort(columns).collect()


def _pull(stand_in: StandIn, system: str, folder: Path, now: datetime) -> tuple[Lake, list[float]]:
    """Pull until it succeeds, each time as a new process would."""
    lake, patience, said = Lake(folder), Patience(), []
    for _ in range(RUNS):
        client = _client(stand_in, system, patience)
        try:
            ingest.pull_live(lake, client, PULLED[system], START, now, "run")
        except ConnectorError as error:
            said.append(str(error))
            continue
        assert "ada@example.com" not in " ".join(said)
        return lake, patience.slept
    raise AssertionError("it never ended well")


@pytest.mark.parametrize("kind", faults())
@pytest.mark.parametrize("system", PULLED)
@ENDS_OR_ALL
def test_a_pull_brings_the_same_whatever_happens(
    running: StandIn, tmp_path: Path, system: str, kind: str, whole: bool
) -> None:
    now = datetime.now(UTC) + timedelta(minutes=10)
    _reset(running, now)
    lake, _ = _pull(running, system, tmp_path / "quiet", now)
    undisturbed, requests = _raw(lake, system), _settled(running)
    assert undisturbed.height
    assert requests
    for at in _requests(requests, whole):
        _reset(running, now)
        running.faults({"match": ".", "after": at, **faults()[kind]})
        lake, slept = _pull(running, system, tmp_path / str(at), now)
        assert _raw(lake, system).equals(undisturbed), f"{kind} at request {at + 1}"
        if kind in WAITS:
            assert max(slept) >= WAIT - 1, "asked again before it was time"


class _Sync:
    """One sync of people of its own."""

    taken = 0

    def __init__(self, stand_in: StandIn, system: str, folder: Path) -> None:
        options = {"from": "person", "mode": "upsert", **SYNCS[system]}
        self.config = SyncConfig.model_validate(options)
        self.stand_in, self.system, self.patience = stand_in, system, Patience()
        self.client = _client(stand_in, system, self.patience)
        self.said: list[str] = []
        self.object = self.config.objects[0]
        self.description = _client(stand_in, system, Patience()).describe([self.object])
        self.world = World(folder)
        first = 50_000 + _Sync.taken
        _Sync.taken += PEOPLE
        self.people = list(range(first, first + PEOPLE))
        for number, p in enumerate(self.people):
            values: dict[str, Any] = {"orders": number, "status": f"note {number}"}
            self.world.profile(p, title=f"N{p}", **values)

    def apply(self) -> ApplyResult:
        world = self.world
        common: dict[str, Any] = {"entity": "person", "gather": world.gather}
        where = (world.lake, world.store, "s", self.config, self.client, self.description)
        made = plan(*where, world.now, **common)
        if made.waits and made.changes:
            approve(world.store, made.hash, "tester", world.now)
        return apply(*where, world.now, "run", url=self.stand_in.url, **common)

    def until_done(self) -> None:
        for _ in range(RUNS):
            try:
                done = self.apply()
            except ConnectorError as error:
                self.said.append(str(error))
                continue
            if not (done.written or done.failed or done.unknown or done.message):
                if dead_letters(self.world.store).is_empty():
                    return
                # What only a person can mend was mended.
                replay(self.world.store, "s")
        raise AssertionError("it never ended well")

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """e-mail → the records there that have it, without their ids."""
        rule = self.config.match_rule
        assert rule is not None
        client = _client(self.stand_in, self.system, Patience())
        emails = [f"p{p}@example.com" for p in self.people]
        found = client.find(self.object, rule[0], emails, list(self.config.fields))
        return {
            email: [{f: record.get(f) for f in self.config.fields} for record in records]
            for email, records in found.items()
        }

    def wanted(self) -> dict[str, list[dict[str, Any]]]:
        client = _client(self.stand_in, self.system, Patience())
        found: dict[str, list[dict[str, Any]]] = {}
        for profile in self.world.profiles:
            values = {
                name: client.normalise(self.object, name, profile[told.trait])
                for name, told in self.config.fields.items()
            }
            found[profile["email"]] = [values]
        return found

    def same(self, shown: Mapping[str, list[dict[str, Any]]]) -> bool:
        client = _client(self.stand_in, self.system, Patience())
        plain = {
            email: [
                {f: client.normalise(self.object, f, v) for f, v in record.items()}
                for record in records
            ]
            for email, records in shown.items()
        }
        return plain == self.wanted()


@pytest.mark.parametrize("kind", faults())
@pytest.mark.parametrize("system", SYNCS)
@ENDS_OR_ALL
def test_a_push_ends_the_same_whatever_happens(
    running: StandIn, tmp_path: Path, system: str, kind: str, whole: bool
) -> None:
    running.quiet()
    quiet = _Sync(running, system, tmp_path / "quiet")
    running.control("DELETE", "journal")
    assert quiet.apply().created == PEOPLE
    requests = _settled(running)
    assert quiet.same(quiet.shown())
    for at in _requests(requests, whole):
        sync = _Sync(running, system, tmp_path / str(at))
        running.quiet()
        running.faults({"match": ".", "after": at, **faults()[kind]})
        sync.until_done()
        running.control("DELETE", "faults")
        shown = sync.shown()
        counts = {email: len(records) for email, records in shown.items()}
        assert set(counts.values()) == {1}, f"{kind} at request {at + 1}: {counts}"
        assert sync.same(shown), f"{kind} at request {at + 1}"
        if kind in WAITS:
            assert max(sync.patience.slept) >= WAIT - 1, "asked again before it was time"
        assert sync.world.state().height == PEOPLE
        assert "ada@example.com" not in " ".join(sync.said)
