"""Any fault at any request of any connector: both sides end as if nothing had happened."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.base import ConnectorError, RowChange
from cdp_assets.connectors.hubspot import HubSpot
from cdp_assets.connectors.zendesk import Zendesk
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.raw.tables import raw_table
from cdp_assets.syncs import dead_letters, plan, replay
from cdp_assets.syncs.approval import approve
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.run import ApplyResult, apply
from cdp_assets.syncs.settle import settle
from cdp_assets_tests.connectors.stand_in import StandIn, quick, sandbox
from cdp_assets_tests.faults import judges
from cdp_assets_tests.syncs.world import World

START = datetime(2015, 1, 1, tzinfo=UTC)
WAIT = 7
PEOPLE = 4
RUNS = 8
"""Runs after which all must be well; a person's work lies between two of them where it must."""
BETWEEN = 900
"""Seconds from one run to the next."""
WINDOW = 2_000
"""Seconds of maintenance: longer than a request may wait, and than two runs lie apart."""
SKEW = 1_500
"""Seconds by which a server's clock is wrong: more than pulls overlap."""

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


BY_SEARCH: dict[str, dict[str, Any]] = {
    # What the account finds by its search alone, whose index is behind.
    "hubspot": {
        "match": ["linked", {"lastname": "title"}],
        "fields": {"lastname": "title", "orders": "orders"},
    },
    "zendesk": {},
}
Fault = dict[str, Any]


def _moment(seconds: int) -> str:
    at = datetime.now(UTC).timestamp() + seconds
    return format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)


def faults() -> dict[str, Fault]:
    """What one request may meet."""
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
        "maintenance window": {"action": "closed", "status": 503, "seconds": WINDOW, "body": html},
        "truncated JSON": {"action": "truncate"},
        "no answer": {"action": "reset"},
        "no answer, though it was done": {"action": "commit_then_reset"},
        "time-out, though it was done": {"action": "commit_then_stall", "seconds": 1.1},
    }


ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "row locks": {"salesforce": {"refused": 2, "every": 2, "code": "UNABLE_TO_LOCK_ROW"}},
    "partial success, rows in another order": {
        "salesforce": {"refused": 1, "every": 2, "code": "UNKNOWN_EXCEPTION"},
        "hubspot": {"refused": 1, "every": 3, "code": "INTERNAL_ERROR", "backwards": True},
        "zendesk": {"refused": 1, "every": 3, "code": "DatabaseConflict", "backwards": True},
        "sugarcrm": {"refused": 1, "every": 3, "code": "maintenance"},
    },
    "duplicate rules": {
        "salesforce": {"refused": 2, "every": 2, "code": "DUPLICATES_DETECTED"},
        "hubspot": {"refused": 2, "every": 2, "code": "CONFLICT"},
        "zendesk": {"refused": 2, "every": 2, "code": "DuplicateValue"},
    },
    "values rewritten": {system: {"rewritten": True} for system in SYNCS},
}
"""What the rows of a write may meet, where a system knows it."""
SKEWED = {"server's clock ahead": SKEW, "server's clock behind": -SKEW}


def _spread(cases: list[tuple[str, str]]) -> list[Any]:
    """(system, kind) of all cases: by default each kind once, on one system after the other, and in
    the slow run all of them."""
    kinds: dict[str, list[str]] = {}
    for system, kind in cases:
        kinds.setdefault(kind, []).append(system)
    turn = cycle(SYNCS)
    usual = set()
    for kind, systems in kinds.items():
        usual.add((next((s for s in (next(turn), *systems) if s in systems)), kind))
    return [
        pytest.param(system, kind, marks=[] if (system, kind) in usual else [pytest.mark.slow])
        for system, kind in cases
    ]


ENDS_OR_ALL = pytest.mark.parametrize(
    "whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["last", "all requests"]
)


def _requests(count: int, whole: bool) -> list[int]:
    """Which requests meet the fault: each one, or the last."""
    return list(range(count)) if whole else [max(count - 1, 0)]


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
    """A client's time: it waits as told, and no time is lost, since the stand-ins' clock goes on by
    what it would have waited. What was told is kept for the next run, as a deployment does."""

    stand_in: StandIn
    folder: Path
    waited: float = field(default=0.0)

    def sleep(self, seconds: float) -> None:
        self.stand_in.wait(seconds)
        self.waited += seconds

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.waited)

    def client(self, system: str) -> Any:
        """A new process's client, at the pace that the system allows."""
        options = quick(
            sleep=self.sleep,
            now=self.now,
            monotonic=lambda: time.monotonic() + self.waited,
            usage=self.folder / "usage",
            read_timeout=0.8,
            attempts=3,
        )
        return getattr(self.stand_in, system)(options=options, **PACE.get(system, {}))


PACE: dict[str, dict[str, Any]] = {
    "hubspot": {"requests_per_10s": 10, "searches_per_second": 2},
    "zendesk": {"requests_per_minute": 40, "exports_per_minute": 10},
}
LIMITS = {
    "hubspot_per_ten_seconds": 10, "hubspot_search_per_second": 3, "zendesk_per_minute": 40,
    "zendesk_exports": 10,
}  # fmt: skip


def _begin(stand_in: StandIn, folder: Path, skew: float = 0.0) -> Patience:
    """A day without faults. Ten minutes after what was there was made: exports leave out the last
    one."""
    stand_in.quiet()
    stand_in.control("POST", "clock", {"skew_seconds": skew})
    stand_in.control("POST", "limits", LIMITS)
    patience = Patience(stand_in, folder)
    patience.sleep(600)
    return patience


def _judge(stand_in: StandIn, case: str) -> int:
    """Nothing in the journal that must not be; how many requests there were."""
    journal = stand_in.journal()
    assert judges.asked_too_soon(journal) == [], case
    assert judges.made_twice(journal) == [], case
    assert judges.turned_away(journal) == [], case
    return len(journal)


def _raw(lake: Lake, system: str) -> pl.DataFrame:
    columns = ["record_id", "cursor_at", "op", "merged_into", "payload_hash"]
    table = lake.open(raw_table(system, PULLED[system]))
    return table.scan().select(columns).sort(columns).collect()


def _pull(system: str, folder: Path, patience: Patience, now: datetime | None = None) -> Lake:
    """Pull until it succeeds, each time as a new process would, one run after the other."""
    lake, said = Lake(folder), []
    for _ in range(RUNS):
        client = patience.client(system)
        try:
            now = now or patience.now()
            ingest.pull_live(lake, client, PULLED[system], START, now, "run")
        except ConnectorError as error:
            said.append(str(error))
            patience.sleep(BETWEEN)
            continue
        assert "ada@example.com" not in " ".join(said)
        return lake
    raise AssertionError(f"it never ended well: {said}")


TIES = "cursor ties"
LOCATOR = "a forgotten cursor among ties"


def _pull_fault(system: str, kind: str) -> Fault:
    if kind == LOCATOR:
        body = [{"message": "invalid query locator", "errorCode": "INVALID_QUERY_LOCATOR"}]
        return {"match": "/queryAll/01g", "status": 400, "body": body}
    return {"match": ".", **({"action": "reset"} if kind == TIES else faults()[kind])}


@pytest.mark.parametrize(
    ("system", "kind"),
    _spread([(s, k) for k in (*faults(), TIES) for s in PULLED] + [("salesforce", LOCATOR)]),
)
@ENDS_OR_ALL
def test_a_pull_brings_the_same_whatever_happens(
    running: StandIn, tmp_path: Path, system: str, kind: str, whole: bool
) -> None:
    ties = kind in (TIES, LOCATOR)

    def begin(at: str) -> Patience:
        patience = _begin(running, tmp_path / f"patience {at}")
        running.control("POST", "rows", {system: {"page": 3}} if ties else {})
        return patience

    now = datetime.now(UTC) + timedelta(minutes=10)
    if ties:
        table = f"{system}.{PULLED[system]}"
        at = datetime.now(UTC) - timedelta(minutes=5)
        assert running.control("POST", "tie", {"table": table, "at": at.isoformat()})["tied"] >= 6
    patience = begin("quiet")
    undisturbed = _raw(_pull(system, tmp_path / "quiet", patience, now), system)
    requests = _judge(running, "undisturbed")
    assert undisturbed.height == undisturbed["record_id"].n_unique() or not ties
    assert undisturbed.height
    assert requests
    for at in _requests(requests - 2 if kind == LOCATOR else requests, whole):
        patience = begin(str(at))
        running.faults({"after": at, **_pull_fault(system, kind)})
        lake = _pull(system, tmp_path / str(at), patience, now)
        assert _raw(lake, system).equals(undisturbed), f"{kind} at request {at + 1}"
        _judge(running, f"{kind} at request {at + 1}")


LATE = "search index lag"


@pytest.mark.parametrize(
    ("system", "kind"),
    _spread([*((s, k) for k in SKEWED for s in PULLED), ("hubspot", LATE), ("zendesk", LATE)]),
)
def test_what_a_system_shows_late_or_stamps_wrong_is_pulled(
    running: StandIn, tmp_path: Path, system: str, kind: str
) -> None:
    patience = _begin(running, tmp_path / "patience", SKEWED.get(kind, 0))
    patience.sleep(SKEW)
    lake = _pull(system, tmp_path / "lake", patience)
    if kind == LATE:
        lag = {"hubspot_search_lag_seconds": 90, "zendesk_generated_lag_seconds": 90}
        running.control("POST", "limits", lag)
    first = _raw(lake, system)["record_id"].unique().sort()
    field_name = next(iter(SYNCS[system]["fields"]))
    changed = f"Changed {kind}"
    for number in (0, -1):
        row = RowChange(0, "update", {field_name: changed}, record_id=first[number])
        assert getattr(running, system)().write(PULLED[system], [row])[0].ok
        for _ in range(3):
            # At once, and after so long that everything has come to light.
            patience.sleep(SKEW / 2)
            _pull(system, tmp_path / "lake", patience)
    table = lake.open(raw_table(system, PULLED[system])).scan()
    shown = table.filter(pl.col("payload").str.contains(changed, literal=True)).collect()
    assert set(shown["record_id"]) == {first[0], first[-1]}
    _judge(running, kind)


class _Sync:
    """One sync of people of its own."""

    taken = 0

    def __init__(
        self, system: str, folder: Path, patience: Patience, more: Mapping[str, Any] | None = None
    ) -> None:
        options = {"from": "person", "mode": "upsert", **SYNCS[system], **(more or {})}
        self.config = SyncConfig.model_validate(options)
        self.stand_in, self.system, self.patience = patience.stand_in, system, patience
        self.said: list[str] = []
        self.object = self.config.objects[0]
        self.plain = getattr(self.stand_in, system)()
        self.plain.find_lag = 0.0
        self.description = self.plain.describe([self.object])
        self.world = World(folder)
        first = 50_000 + _Sync.taken
        _Sync.taken += PEOPLE
        self.people = list(range(first, first + PEOPLE))
        for number, p in enumerate(self.people):
            values: dict[str, Any] = {"orders": number, "status": f"note {number}"}
            self.world.profile(p, title=f"n{p}", **values)
        self.stand_in.control("DELETE", "journal")

    def apply(self) -> ApplyResult:
        world, client = self.world, self.patience.client(self.system)
        common: dict[str, Any] = {"entity": "person", "gather": world.gather}
        where = (world.lake, world.store, "s", self.config, client, self.description)
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
                self.patience.sleep(BETWEEN)
                continue
            if not (done.written or done.failed or done.unknown or done.message):
                if dead_letters(self.world.store).is_empty():
                    return
                # What only a person can mend was mended.
                replay(self.world.store, "s")
            self.patience.sleep(BETWEEN)
        raise AssertionError(f"it never ended well: {self.said}")

    def shown(self) -> dict[str, list[dict[str, Any]]]:
        """The value that a person is matched by → the records there that have it, without ids."""
        name, trait = self._match()
        found = self.plain.find(
            self.object, name, [str(p[trait]) for p in self.world.profiles],
            list(self.config.fields),
        )  # fmt: skip
        return {
            value: [
                {f: self.plain.normalise(self.object, f, r.get(f)) for f in self.config.fields}
                for r in records
            ]
            for value, records in found.items()
        }

    def wanted(self, rewritten: bool) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for profile in self.world.profiles:
            values = {
                name: self.plain.normalise(self.object, name, profile[told.trait])
                for name, told in self.config.fields.items()
            }
            if rewritten:
                values = {
                    n: v.upper() if isinstance(v, str) and not n.startswith("orders") else v
                    for n, v in values.items()
                }
            found[str(profile[self._match()[1]])] = [values]
        return found

    def _match(self) -> tuple[str, str]:
        rule = self.config.match_rule
        assert rule is not None
        return rule[0], str(rule[1])


def _push(running: StandIn, system: str, folder: Path, case: str, fault: Fault | None) -> int:
    """One sync's whole life under a fault; how many requests it took."""
    patience = _begin(running, folder, (fault or {}).get("skew", 0))
    sync = _Sync(system, folder, patience, (fault or {}).get("sync"))
    if fault is not None and "rows" in fault:
        running.control("POST", "rows", {system: fault["rows"]})
    if fault is not None and "limits" in fault:
        running.control("POST", "limits", fault["limits"])
    if fault is not None and "request" in fault:
        running.faults({"match": ".", **fault["request"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(settle.__kwdefaults__, "sleep", patience.sleep)
        if fault is None:
            assert sync.apply().created == PEOPLE, case
        else:
            sync.until_done()
    running.control("DELETE", "faults")
    requests = _judge(running, case)
    running.wait(600)
    shown = sync.shown()
    counts = {value: len(records) for value, records in shown.items()}
    assert set(counts.values()) == {1}, f"{case}: {counts}"
    rewritten = bool((fault or {}).get("rows", {}).get("rewritten"))
    assert shown == sync.wanted(rewritten), case
    assert sync.world.state().height == PEOPLE, case
    assert "ada@example.com" not in " ".join(sync.said)
    return requests


@pytest.mark.parametrize(("system", "kind"), _spread([(s, k) for k in faults() for s in SYNCS]))
@ENDS_OR_ALL
def test_a_push_ends_the_same_whatever_happens(
    running: StandIn, tmp_path: Path, system: str, kind: str, whole: bool
) -> None:
    requests = _push(running, system, tmp_path / "quiet", "undisturbed", None)
    for at in _requests(requests, whole):
        fault = {"request": {"after": at, **faults()[kind]}}
        _push(running, system, tmp_path / str(at), f"{kind} at request {at + 1}", fault)


@pytest.mark.parametrize(
    ("system", "kind"),
    _spread([(s, k) for k, known in ROWS.items() for s in known]),
)
def test_a_push_ends_the_same_whatever_its_rows_meet(
    running: StandIn, tmp_path: Path, system: str, kind: str
) -> None:
    _push(running, system, tmp_path, kind, {"rows": ROWS[kind][system]})


@pytest.mark.parametrize(("system", "kind"), _spread([(s, k) for k in SKEWED for s in SYNCS]))
def test_a_push_cares_for_no_clock(
    running: StandIn, tmp_path: Path, system: str, kind: str
) -> None:
    lost = {"match": ".", "method": "POST", "action": "commit_then_reset"}
    _push(running, system, tmp_path, kind, {"skew": SKEWED[kind], "request": lost})


@pytest.mark.parametrize("system", BY_SEARCH)
def test_a_push_is_not_misled_by_an_index_that_is_behind(
    running: StandIn, tmp_path: Path, system: str
) -> None:
    """The answer to the creation is lost, and a search for what it made finds nothing yet."""
    lag = {"hubspot": HubSpot.find_lag, "zendesk": Zendesk.find_lag}[system] - 1
    making = {"match": "/(batch/create|create_many)", "action": "commit_then_reset"}
    fault = {
        "limits": {f"{system}_search_lag_seconds": lag}, "request": making,
        "sync": BY_SEARCH[system],
    }  # fmt: skip
    _push(running, system, tmp_path, LATE, fault)
