"""Syncs through the real clients to the stand-in CRMs, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.connectors.base import RowChange, Unavailable
from cdp_assets.syncs import apply_undo, dead_letters, plan, plan_undo
from cdp_assets.syncs.approval import approve
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.run import ApplyResult, apply
from cdp_assets_tests.connectors.stand_in import StandIn, quick, sandbox
from cdp_assets_tests.syncs.world import World

PEOPLE = range(9_000, 9_030)
SALESFORCE = {
    "from": "person",
    "to": "salesforce.Contact",
    "mode": "upsert",
    "create": "salesforce.Contact",
    "key": {"CDP_Id__c": "profile_id"},
    "match": ["linked", {"Email": "email"}],
    "fields": {
        "LastName": {"trait": "title", "write": "on_create"},
        "Revenue_90d__c": "revenue",
        "Orders__c": "orders",
        "Title": {"trait": "status", "write": "if_empty"},
    },
}
HUBSPOT = {
    "from": "person",
    "to": "hubspot.contacts",
    "mode": "upsert",
    "create": "hubspot.contacts",
    "key": {"customer_id": "profile_id"},
    "match": ["linked", {"email": "email"}],
    "fields": {
        "lastname": {"trait": "title", "write": "on_create"},
        "revenue_90d": "revenue",
        "orders": "orders",
        "jobtitle": {"trait": "status", "write": "if_empty"},
        "lapsed": {"value": True},
    },
}
DELETES = r"/composite/sobjects|/batch/archive"
WRITES = r"/composite/sobjects|/batch/(create|upsert|update)"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), people=30) as stand_in:
        yield stand_in


class Sync:
    """One sync against one stand-in; each has people of its own."""

    taken = 0

    def __init__(self, stand_in: StandIn, folder: Path, options: dict[str, Any]) -> None:
        stand_in.quiet()
        self.stand_in = stand_in
        self.config = SyncConfig.model_validate(options)
        client = getattr(stand_in, self.config.source)
        self.client: Any = client(options=quick(attempts=1))
        # The stand-in is told not to lag, so the tests need not wait.
        self.client.find_lag = 0.0
        self.object = self.config.objects[0]
        self.description = self.client.describe([self.object])
        self.world = World(folder)
        Sync.taken += 100
        self.people = [p + Sync.taken for p in PEOPLE]
        for p in self.people:
            self.world.profile(
                p, title=f"N{p}", orders=p % 7, revenue=Decimal("10.5"), status="CTO"
            )

    def apply(self) -> ApplyResult:
        world = self.world
        common: dict[str, Any] = {"entity": "person", "gather": world.gather}
        where = (world.lake, world.store, "s", self.config, self.client, self.description)
        made = plan(*where, world.now, **common)
        if made.waits and made.changes:
            approve(world.store, made.hash, "tester", world.now)
        return apply(*where, world.now, "run", url=self.stand_in.url, **common)

    def records(self, *fields: str) -> dict[int, list[dict[str, Any]]]:
        emails = {f"p{p}@example.com": p for p in self.people}
        field = self.config.match_rule
        assert field is not None
        found = self.client.find(self.object, field[0], list(emails), list(fields))
        return {p: found.get(e, []) for e, p in emails.items()}


@pytest.fixture(params=["salesforce", "hubspot"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"salesforce": SALESFORCE, "hubspot": HUBSPOT}[request.param]


@pytest.mark.parametrize("by", ["key", "match"])
@pytest.mark.parametrize("action", ["commit_then_reset", "reset"])
def test_no_answer_doubles_nobody(
    running: StandIn, tmp_path: Path, options: dict[str, Any], by: str, action: str
) -> None:
    keyless = {k: v for k, v in options.items() if k != "key"}
    sync = Sync(running, tmp_path, keyless if by == "match" else options)
    running.faults({"match": WRITES, "action": action})
    if by == "key":
        # An upsert may be sent again; the client gave up after its attempts.
        with pytest.raises(Unavailable):
            sync.apply()
    else:
        first = sync.apply()
        assert (first.written, first.unknown) == (0, len(sync.people))
    assert sync.world.state().is_empty()
    second = sync.apply()
    assert second.written == (0 if action == "commit_then_reset" else len(sync.people))
    found = sync.records()
    assert {len(records) for records in found.values()} == {1}
    assert dead_letters(sync.world.store).is_empty()
    assert sync.world.state().height == len(sync.people)
    assert sync.apply().written == 0


def test_the_way_of_a_sync(running: StandIn, tmp_path: Path, options: dict[str, Any]) -> None:
    sync = Sync(running, tmp_path, options)
    assert sync.apply().created == len(sync.people)
    assert sync.apply().written == 0
    calls = sync.client.calls
    assert sync.apply().written == 0
    assert sync.client.calls == calls, "nothing new asks nothing"
    one = sync.people[0]
    sync.world.profile(one, title="N", orders=42, revenue=Decimal("99.999"), status="CEO")
    result = sync.apply()
    assert result.written == 1
    fields = [f for f in sync.config.fields if f not in ("LastName", "lastname")]
    shown = sync.records(*fields)[one][0]
    told = {f: sync.client.normalise(sync.object, f, shown[f]) for f in fields}
    wished = {"revenue_90d": Decimal("99.999"), "Revenue_90d__c": Decimal("99.999")}
    for name in fields:
        expected = {**wished, "orders": 42, "Orders__c": 42, "lapsed": True}.get(name, "CTO")
        assert told[name] == sync.client.normalise(sync.object, name, expected)
    assert sync.apply().written == 0


def test_one_bad_row_leaves_the_others(
    running: StandIn, tmp_path: Path, options: dict[str, Any]
) -> None:
    sync = Sync(running, tmp_path, options)
    victim = sync.people[3]
    # An address that the CRM refuses, though nothing in its description says so.
    sync.world.profile(victim, title="N", orders=1, email="no address")
    mapped = {**options, "fields": {**options["fields"]}}
    name = "Email" if sync.config.source == "salesforce" else "email"
    mapped["fields"][name] = "email"
    sync.config = SyncConfig.model_validate({**mapped, "match": ["linked"]})
    result = sync.apply()
    assert (result.created, result.failed) == (len(sync.people) - 1, 1)
    letters = dead_letters(sync.world.store)
    assert letters["profile_id"].to_list() == [victim]
    assert letters["error_class"].to_list() == ["data"]
    assert "no address" not in str(letters.to_dicts())
    assert sync.apply().written == 0
    sync.world.profile(victim, title="N", orders=1, email=f"p{victim}@example.com")
    assert sync.apply().written == 1


@pytest.mark.parametrize("action", ["commit_then_reset", "reset", None])
def test_who_left_is_archived_or_emptied(
    running: StandIn, tmp_path: Path, options: dict[str, Any], action: str | None
) -> None:
    fields = {n: f for n, f in options["fields"].items() if "lead" not in n.lower()}
    mirrored = {**options, "fields": fields, "mode": "mirror", "gone": "archive"}
    sync = Sync(running, tmp_path, {**mirrored, "stop_if": {"deleted": "100%"}})
    assert sync.apply().created == len(sync.people)
    gone = sync.people[:4]
    sync.world.profiles = [p for p in sync.world.profiles if p["profile_id"] not in gone]
    if action is not None:
        running.faults({"match": DELETES, "action": action})
        with suppress(Unavailable):
            assert sync.apply().unknown == 4
        running.quiet()
        sync.client.find_lag = 0.0
    assert sync.apply().written == (0 if action == "commit_then_reset" else 4)
    found = sync.records()
    assert [len(found[p]) for p in gone] == [0] * 4
    assert {len(found[p]) for p in sync.people[4:]} == {1}
    assert sync.apply().written == 0
    for p in gone:
        sync.world.profile(p, title=f"N{p}", orders=1, revenue=Decimal(1), status="CTO")
    assert sync.apply().created == 4, "who returns is created again"
    assert {len(records) for records in sync.records().values()} == {1}
    assert dead_letters(sync.world.store).is_empty()


def test_what_a_run_created_is_taken_back_unless_somebody_changed_it(
    running: StandIn, tmp_path: Path, options: dict[str, Any]
) -> None:
    sync = Sync(running, tmp_path, options)
    sync.people = sync.people[:4]
    sync.world.profiles = sync.world.profiles[:4]
    assert sync.apply().created == 4
    told, other, _, _ = (records[0]["id"] for records in sync.records().values())
    running.wait(120)
    fields = {
        "salesforce": ("Orders__c", "Phone"), "hubspot": ("orders", "phone"),
        "zendesk": ("custom_orders", "notes"), "sugarcrm": ("orders_c", "phone_work"),
    }  # fmt: skip
    told_field, other_field = fields[sync.config.source]
    for record, field, value in ((told, told_field, 77), (other, other_field, "555")):
        change = RowChange(0, "update", {field: value}, record_id=record)
        assert sync.client.write(sync.object, [change])[0].ok
    found = plan_undo(sync.world.store, sync.client, "s", "run")
    assert len(found.changes) == 2
    why = {r["record"].partition(":")[2]: r["why"] for r in found.rows.to_dicts()}
    assert f"{told_field} was changed there since" in why[told]
    assert "it was changed there since" in why[other]
    world = sync.world
    _, sent = apply_undo(
        world.lake, world.store, sync.client, "s", sync.config, "run", found.hash, "ada", world.now,
        env="development", url=running.url, entity="person",
    )  # fmt: skip
    assert sent.written == 2
    assert [len(records) for records in sync.records().values()] == [1, 1, 0, 0]
    assert plan_undo(world.store, sync.client, "s", "run").changes == ()
