"""The laws of syncs to the CRMs, for Zendesk and SugarCRM."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.connectors.base import RowChange
from cdp_assets_tests.connectors.stand_in import StandIn
from cdp_assets_tests.syncs import test_stand_ins
from cdp_assets_tests.syncs.test_stand_ins import (
    Sync,
    running,
    test_no_answer_doubles_nobody,
    test_what_a_run_created_is_taken_back_unless_somebody_changed_it,
    test_who_left_is_archived_or_emptied,
)

__all__ = [
    "running",
    "test_no_answer_doubles_nobody",
    "test_what_a_run_created_is_taken_back_unless_somebody_changed_it",
    "test_who_left_is_archived_or_emptied",
]
ZENDESK = {
    "from": "person",
    "to": "zendesk.users",
    "mode": "upsert",
    "create": "zendesk.users",
    "key": {"external_id": "profile_id"},
    "match": ["linked", {"email": "email"}],
    "fields": {
        "name": {"trait": "title", "write": "on_create"},
        "custom_revenue": "revenue",
        "custom_orders": "orders",
        "details": {"trait": "status", "write": "if_empty"},
        "custom_lapsed": {"value": True},
    },
}
SUGARCRM = {
    "from": "person",
    "to": "sugarcrm.Contacts",
    "mode": "upsert",
    "create": "sugarcrm.Contacts",
    "key": {"sync_key": "profile_id"},
    "match": ["linked", {"email1": "email"}],
    "fields": {
        "last_name": {"trait": "title", "write": "on_create"},
        "revenue_c": "revenue",
        "orders_c": "orders",
        "title": {"trait": "status", "write": "if_empty"},
        "do_not_call": {"value": True},
    },
}
WRITES = r"/users/(create|create_or_update|update)_many|/bulk"
DELETES = r"/users/destroy_many|/bulk"


@pytest.fixture(params=["zendesk", "sugarcrm"])
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(test_stand_ins, "WRITES", WRITES)
    monkeypatch.setattr(test_stand_ins, "DELETES", DELETES)
    return {"zendesk": ZENDESK, "sugarcrm": SUGARCRM}[request.param]


def test_the_way_of_a_sync(running: StandIn, tmp_path: Path, options: dict[str, Any]) -> None:
    sync = Sync(running, tmp_path, options)
    assert sync.apply().created == len(sync.people)
    writes = [e for e in running.journal() if e["method"] != "GET" and "filter" not in e["path"]]
    assert len([e for e in writes if "token" not in e["path"]]) <= 2, "one call for all"
    assert sync.apply().written == 0
    one = sync.people[0]
    sync.world.profile(one, title="N", orders=42, revenue=Decimal("99.999"), status="CEO")
    assert sync.apply().written == 1
    name, revenue, orders, title, truth = options["fields"]
    shown = sync.records(*options["fields"])[one][0]
    del shown["id"]
    assert shown == {name: f"N{one}", revenue: 99.999, orders: 42, title: "CTO", truth: True}
    assert sync.apply().written == 0


def test_who_was_there_before_is_adopted(
    running: StandIn, tmp_path: Path, options: dict[str, Any]
) -> None:
    """A record that a match finds is not made a second time by the key that it lacks."""
    sync = Sync(running, tmp_path, options)
    rule = sync.config.match_rule
    assert rule is not None
    (key,) = options["key"]
    first = next(iter(options["fields"]))
    there = [
        RowChange(p, "create", {first: "There", rule[0]: f"p{p}@example.com"})
        for p in sync.people[:3]
    ]
    known = [o.record_id for o in sync.client.write(sync.object, there)]
    result = sync.apply()
    assert (result.created, result.failed) == (len(sync.people) - 3, 0)
    found = sync.records(key)
    assert {len(records) for records in found.values()} == {1}
    assert [found[p][0]["id"] for p in sync.people[:3]] == known
    assert [str(found[p][0][key]) for p in sync.people[3:]] == list(map(str, sync.people[3:]))
    assert sync.apply().written == 0
