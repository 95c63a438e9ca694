"""What a plan takes of the destination: the calls that applying it makes, and what it may cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdp_assets.connectors.hubspot.cost import cost
from cdp_assets.syncs.send import calls_needed
from cdp_assets_tests.syncs.world import World, config


@pytest.mark.parametrize(("people", "new"), [(1, 0), (3, 0), (4, 0), (7, 3), (0, 4), (9, 9)])
def test_calls_are_what_applying_makes(tmp_path: Path, people: int, new: int) -> None:
    world = World(tmp_path)
    for n in range(people + new):
        world.profile(n + 1, orders=n)
    for n in range(people):
        world.link(f"r{n}", n + 1)
    sync = config(
        mode="upsert", key={"CDP_Id__c": "profile_id"}, create="crm.Contact", approve="never"
    )
    made = world.plan(sync)
    told = calls_needed(made, world.crm, sync)
    reads = world.crm.calls
    writes: list[str] = []
    world.crm.faults = lambda name, batch: writes.append(name)  # type: ignore[func-returns-value]
    assert world.apply(sync).written == people + new
    assert len(writes) == told
    assert reads


def test_marketing_contacts_are_named_where_they_cost() -> None:
    assert cost({}, {"email": 3}) == []
    (told,) = cost({"contacts": 1_200}, {"email": 3})
    assert "1,200 new contacts, none of them a marketing contact" in told
    (told,) = cost({"companies": 2}, {"hs_marketable_status": 5})
    assert "bills marketing contacts" in told
