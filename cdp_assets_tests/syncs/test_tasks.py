"""Tasks in the timelines of the stand-in CRMs through the real clients, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.connectors.base import RowChange
from cdp_assets.syncs import dead_letters
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.run import ApplyResult, apply
from cdp_assets_tests.connectors.stand_in import StandIn, quick, sandbox
from cdp_assets_tests.syncs.world import NOW, World

SALESFORCE = {
    "to": "salesforce.Task",
    "fields": {
        "Subject": "{title}: viewed pricing {orders} times",
        "Status": {"value": "Not Started"},
    },
}
HUBSPOT = {
    "to": "hubspot.tasks",
    "fields": {
        "hs_task_subject": "{title}: viewed pricing {orders} times",
        "hs_timestamp": "entered_at",
    },
}
ZENDESK = {
    "to": "zendesk.tickets",
    "fields": {
        "subject": "{title}: viewed pricing {orders} times",
        "description": {"value": "Have a look"},
    },
}
SUGARCRM = {
    "to": "sugarcrm.Tasks",
    "fields": {"name": "{title}: viewed pricing {orders} times", "date_due": "entered_at"},
}
CALLS = {"to": "sugarcrm.Calls", "fields": {"name": "{title}: viewed pricing {orders} times"}}
WAYS = {
    "salesforce": SALESFORCE, "hubspot": HUBSPOT, "zendesk": ZENDESK, "sugarcrm": SUGARCRM,
    "calls": CALLS,
}  # fmt: skip
PERSON = {
    "salesforce": ("Contact", {"LastName": "Doe"}),
    "hubspot": ("contacts", {"lastname": "Doe"}),
    "zendesk": ("users", {"name": "Doe"}),
    "sugarcrm": ("Contacts", {"last_name": "Doe"}),
}
WRITES = r"/composite/sobjects|/tasks/batch/create|/tickets|/bulk"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), people=30) as stand_in:
        yield stand_in


class Tasks:
    """A sync of tasks; each of six people has a record of its own there."""

    taken = 0

    def __init__(self, running: StandIn, folder: Path, options: dict[str, Any]) -> None:
        running.quiet()
        self.running = running
        base = {"from": "audiences.a", "rows": "entered", "mode": "insert", "approve": "never"}
        self.config = SyncConfig.model_validate({**base, "link": ["person"], **options})
        self.source = self.config.source
        self.client: Any = getattr(running, self.source)(options=quick(attempts=1))
        self.client.find_lag = 0.0
        self.description = self.client.describe([self.config.objects[0]])
        self.world = World(folder)
        Tasks.taken += 1
        self.title = f"S{Tasks.taken}"
        object_name, fields = PERSON[self.source]
        people = [RowChange(p, "create", fields) for p in range(6)]
        self.people = [str(o.record_id) for o in self.client.write(object_name, people)]
        for p, record in enumerate(self.people):
            self.world.profile(p + 1, orders=5, title=self.title, entered_at=NOW)
            ref = f"{self.source}.{object_name}:{record}"
            self.world.associated.append((p + 1, "person", ref))

    def apply(self) -> ApplyResult:
        world = self.world
        return apply(
            world.lake, world.store, "s", self.config, self.client, self.description, world.now,
            "run", url=self.running.url, entity="person", gather=world.gather,
        )  # fmt: skip

    def made(self) -> list[dict[str, Any]]:
        field = next(iter(self.config.fields))
        subject = f"{self.title}: viewed pricing 5 times"
        fields = ["WhoId"] if self.source == "salesforce" else []
        found = self.client.find(self.config.objects[0], field, [subject], fields)
        return list(found.get(subject, []))


@pytest.fixture(params=WAYS)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WAYS[request.param]


def test_the_way_of_tasks(running: StandIn, tmp_path: Path, options: dict[str, Any]) -> None:
    one = Tasks(running, tmp_path, options)
    assert one.apply().created == 6
    made = one.made()
    assert len(made) == 6
    if one.source == "salesforce":
        assert {t["WhoId"] for t in made} == set(one.people)
    assert one.apply().written == 0
    one.world.profile(1, orders=5, title=one.title, entered_at=NOW + timedelta(hours=1))
    assert one.apply().created == 1
    assert len(one.made()) == 7


@pytest.mark.parametrize("action", ["commit_then_reset", "reset"])
def test_a_lost_answer_doubles_no_task(
    running: StandIn, tmp_path: Path, options: dict[str, Any], action: str
) -> None:
    one = Tasks(running, tmp_path, options)
    running.faults({"match": WRITES, "action": action})
    assert one.apply().unknown == 6
    running.quiet()
    assert one.apply().created == (0 if action == "commit_then_reset" else 6)
    assert len(one.made()) == 6
    assert one.apply().written == 0
    assert dead_letters(one.world.store).is_empty()
