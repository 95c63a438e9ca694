"""A field that is renamed, removed or hidden there is paused; the rest of the sync goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdp_assets.connectors.base import Description
from cdp_assets.syncs import ApplyResult, SyncError, apply, plan
from cdp_assets.syncs.config import SyncConfig
from cdp_assets_tests.syncs.world import DESCRIPTION, World, config, times_out

SYNC = config(fields={"Title": "title", "Orders__c": "orders"}, approve="always")


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path)
    found.profile(1, title="CTO", orders=1)
    found.link("a", 1)
    return found


def hidden(*names: str, **changed: Any) -> Description:
    contact = DESCRIPTION.objects["Contact"]
    fields = {n: f for n, f in contact.fields.items() if n not in names}
    for name, options in changed.items():
        fields[name] = msgspec.structs.replace(fields[name], **options)
    known = {"Contact": msgspec.structs.replace(contact, fields=fields)}
    return msgspec.structs.replace(DESCRIPTION, objects={**DESCRIPTION.objects, **known})


def planned(world: World, described: Description, sync: SyncConfig = SYNC, **more: Any) -> Any:
    return plan(
        world.lake, world.store, "s", sync, world.crm, described, world.now, entity="person",
        gather=world.gather, **more,
    )  # fmt: skip


def applied(world: World, described: Description, sync: SyncConfig = SYNC) -> ApplyResult:
    return apply(
        world.lake, world.store, "s", sync, world.crm, described, world.now, "run",
        url="http://127.0.0.1:1", entity="person", gather=world.gather,
    )  # fmt: skip


def test_the_field_is_paused_and_the_rest_goes_on(world: World) -> None:
    world.apply(SYNC)
    world.crm.hidden = {"Title"}
    world.profile(1, title="CEO", orders=2)
    made = planned(world, hidden("Title"))
    [(record, field, op, why)] = [(o.record, o.field, o.op, o.why) for o in made.obstacles]
    assert (record, field, op) == ("crm.Contact:(all)", "Title", "paused")
    assert why.startswith("paused: crm.Contact has no field Title any more (renamed, removed")
    assert [dict(c.told) for c in made.changes] == [{"Orders__c": "2"}]
    never = SYNC.model_copy(update={"approve": "never"})
    assert applied(world, hidden("Title"), never).written == 1
    record_now = world.crm.records["Contact"]["a"]
    assert record_now == {"Title": "CTO", "Orders__c": 2}
    # Nothing else to say: the plan stands, until the field is back.
    world.gather = lambda *where: replace(  # type: ignore[method-assign]
        World.gather(world, *where), timeless=True
    )
    assert planned(world, hidden("Title"), never).standing
    assert planned(world, hidden("Title"), never, anew=False).profiles == 0, "as it stood"
    world.crm.hidden = set()
    assert applied(world, DESCRIPTION, never).written == 1
    assert record_now == {"Title": "CEO", "Orders__c": 2}


def test_a_yes_to_the_sync_holds_on(world: World) -> None:
    first = config(fields={"Title": "title", "Orders__c": "orders"})
    world.apply(first)
    world.profile(1, title="CTO", orders=2)
    assert not planned(world, hidden("Title"), first).waits
    assert first.without({"Title"}).fingerprint == first.fingerprint


def test_what_may_not_be_written_any_more_is_paused_too(world: World) -> None:
    world.apply(SYNC)
    world.profile(1, title="CEO", orders=2)
    for change in ({"updateable": False}, {"calculated": True}):
        assert list(planned(world, hidden(Title=change)).paused) == ["Title"]


def test_a_slip_of_the_pen_is_refused_as_ever(world: World) -> None:
    with pytest.raises(SyncError, match="has no field `Title`"):
        planned(world, hidden("Title"))
    world.apply(SYNC)
    with pytest.raises(SyncError, match="no field `Titel`; did you mean Title"):
        planned(world, DESCRIPTION, config(fields={"Titel": "title", "Orders__c": "orders"}))


def test_where_no_field_is_left_the_sync_is_refused(world: World) -> None:
    sync = config(fields={"Title": "title"})
    world.apply(sync)
    with pytest.raises(SyncError, match="has no field Title any more"):
        planned(world, hidden("Title"), sync)


def test_a_key_that_is_gone_refuses_the_sync(world: World) -> None:
    keyed = config(fields={"Orders__c": "orders"}, key={"CDP_Id__c": "profile_id"})
    world.apply(keyed)
    with pytest.raises(SyncError, match=r"key\.CDP_Id__c: crm\.Contact has no field"):
        planned(world, hidden("CDP_Id__c"), keyed)


def test_a_description_that_is_behind_is_asked_for_anew(world: World) -> None:
    world.apply(SYNC)
    world.crm.hidden = {"Title"}
    world.profile(1, title="CEO", orders=2)
    made = planned(world, DESCRIPTION)
    assert list(made.paused) == ["Title"]
    assert made.rows_planned == 1


def test_an_open_row_is_read_back_without_the_field(world: World) -> None:
    never = SYNC.model_copy(update={"approve": "never"})
    world.apply(never)
    world.profile(1, title="CEO", orders=2)
    world.crm.faults = times_out()
    assert applied(world, DESCRIPTION, never).unknown == 1
    world.crm.faults = None
    world.crm.hidden = {"Title"}
    assert applied(world, hidden("Title"), never).written == 1
    assert world.crm.records["Contact"]["a"]["Orders__c"] == 2
