"""Lists in the stand-in CRMs through the real clients, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.connectors.base import RowChange, Unavailable
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.run import ApplyResult, apply, plan
from cdp_assets.syncs.send import calls_needed
from cdp_assets_tests.connectors.stand_in import StandIn, quick, sandbox
from cdp_assets_tests.syncs.world import World

MEMBERS = r"/memberships/add-and-remove|/composite/sobjects|/bulk"
NAMES = {
    "hubspot": "lastname", "salesforce": "LastName", "zendesk": "name", "sugarcrm": "last_name"
}  # fmt: skip
TO = {"hubspot": ("lists", "contacts"), "salesforce": ("Campaign", "Contact"),
      "zendesk": ("tags", "users"), "sugarcrm": ("ProspectLists", "Contacts")}  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with sandbox(tmp_path_factory.mktemp("sandbox"), people=30) as stand_in:
        yield stand_in


@pytest.fixture(params=["hubspot", "salesforce", "sugarcrm"])
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class OneList:
    """A sync of one list; profile p has the p-th contact that was made for it."""

    def __init__(self, running: StandIn, folder: Path, system: str, name: str) -> None:
        running.quiet()
        self.running = running
        self.system = system
        self.client: Any = getattr(running, system)(options=quick(attempts=1))
        self.client.find_lag = 0.0
        self.world = World(folder)
        self.name = name
        self.object, member = TO[system]
        fields = {NAMES[system]: "Doe"}
        batch = [RowChange(p, "create", fields) for p in range(8)]
        self.contacts = [str(o.record_id) for o in self.client.write(member, batch)]
        for p, record in enumerate(self.contacts, 1):
            self.world.profile(p)
            self.world.links.append(
                {
                    "record": f"{system}.{member}:{record}", "object": member, "profile_id": p,
                    "live": True, "dead": False, "age": 0,
                }
            )  # fmt: skip

    def config(self, **options: Any) -> SyncConfig:
        base = {
            "from": "person", "to": f"{self.system}.{self.object}", "list": self.name,
            "mode": "mirror", "create": f"{self.system}.{self.object}", "approve": "never",
        }  # fmt: skip
        return SyncConfig.model_validate({**base, **options})

    def apply(self, **options: Any) -> ApplyResult:
        world = self.world
        return apply(
            world.lake, world.store, "s", self.config(**options), self.client, None, world.now,
            "run", url=self.running.url, entity="person", gather=world.gather,
        )  # fmt: skip

    def plan(self) -> Any:
        world = self.world
        return plan(
            world.lake, world.store, "s", self.config(), self.client, None, world.now,
            entity="person", gather=world.gather,
        )  # fmt: skip

    def on(self) -> set[str]:
        list_id = self.client.list_id(self.name)
        return {i for page in self.client.list_members(list_id) for i in page}

    def leave(self, *people: int) -> None:
        world = self.world
        world.profiles = [p for p in world.profiles if p["profile_id"] not in people]


@pytest.mark.parametrize("system", TO)
def test_the_way_of_a_list(running: StandIn, tmp_path: Path, system: str) -> None:
    one = OneList(running, tmp_path, system, "CDP: way")
    # A tag is there as soon as somebody has it; a list has to be made.
    assert one.apply().written == (8 if system == "zendesk" else 9)
    assert one.on() == set(one.contacts)
    if system == "hubspot":
        writes = [r for r in running.journal() if "add-and-remove" in r["path"]]
        assert len(writes) == 1, "all members in one call"
    one.leave(1, 2)
    assert one.apply().written == 2
    assert one.on() == set(one.contacts[2:])
    stranger = one.contacts[0]
    list_id = one.client.list_id(one.name)
    one.client.change_members(list_id, [stranger], [])
    assert one.apply().written == 0
    assert one.on() == {stranger, *one.contacts[2:]}
    assert one.apply(others="remove").written == 1
    assert one.on() == set(one.contacts[2:])


@pytest.mark.parametrize("action", ["commit_then_reset", "reset"])
def test_no_answer_is_read_back(running: StandIn, tmp_path: Path, system: str, action: str) -> None:
    one = OneList(running, tmp_path, system, f"CDP: {action}")
    one.client.create_list(one.name, TO[system][1])
    running.faults({"match": MEMBERS, "action": action})
    # A change of members may be sent again; the client gives up after its attempts.
    with suppress(Unavailable):
        assert one.apply().unknown == 8
    running.quiet()
    assert one.apply().written == (0 if action == "commit_then_reset" else 8)
    assert one.on() == set(one.contacts)
    one.leave(*range(2, 9))
    assert one.apply(stop_if={"deleted": "100%"}).written == 7
    assert one.on() == {one.contacts[0]}


def test_a_deleted_list_stops_the_sync_and_is_not_made_again(
    running: StandIn, tmp_path: Path, system: str
) -> None:
    one = OneList(running, tmp_path, system, "CDP: deleted")
    one.apply()
    list_id = one.client.list_id(one.name)
    if system == "hubspot":
        one.client._client.http.request("DELETE", f"/crm/v3/lists/{list_id}", what="delete")
    else:
        one.client.write(one.object, [RowChange(0, "delete", {}, record_id=list_id)])
    made = one.plan()
    assert not made.changes
    assert "deleted" in made.stopped[0] or "gone" in made.stopped[0]
    assert one.apply().message.startswith("Not applied, stopped:")


def test_the_calls_that_a_plan_tells_of_a_campaign_are_those_made(
    running: StandIn, tmp_path: Path
) -> None:
    one = OneList(running, tmp_path, "salesforce", "CDP: calls")
    list_id = one.client.create_list(one.name, "Contact")
    for add, remove in ((one.contacts, []), ([], one.contacts)):
        running.control("DELETE", "journal")
        one.client.change_members(list_id, add, remove)
        assert len(running.journal()) == one.client.calls_for_members(len(add), len(remove))
    plan_of = one.plan()
    assert calls_needed(plan_of, one.client, one.config()) == 2, "a look, and all members"
