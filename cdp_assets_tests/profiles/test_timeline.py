"""A profile's moments, newest first."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from cdp_assets.profiles import timeline
from cdp_assets_tests.profiles.test_build import SIX, ada
from cdp_assets_tests.profiles.world import NOW, World, at


def test_moments_of_every_kind(tmp_path: Path) -> None:
    world = World(tmp_path)
    ada(world)
    world.identify(2, "user_id:bob")
    world.event("Order Completed", at("2026-03-05"), user="bob", revenue="3")
    world.record("salesforce.Opportunity:5", "opportunity", at("2026-02-20"), Amount="7")
    world.relate("salesforce.Opportunity:5", "person", "salesforce.Contact:1")
    world.build(SIX)
    world.event("Order Completed", at("2026-03-09"), user="ada", revenue="1")
    world.identify(1, "user_id:bob", when=NOW + timedelta(hours=1))
    world.build(SIX, NOW + timedelta(hours=2))
    found = timeline(world.lake, "person", 1)
    assert found["at"].is_sorted(descending=True)
    seen = set(found.select("kind", "what", "detail", "ref").rows())
    assert ("trait", "orders", "2 → 4", "r") in seen
    assert ("identity", "test", "from 2", "user_id:bob") in seen
    assert ("value", "salesforce.Contact.Email", "ada@x.org", "salesforce.Contact:1") in seen
    assert ("record", "salesforce.Opportunity", None, "salesforce.Opportunity:5") in seen
    events = found.filter(found["kind"] == "event")
    assert sorted(events["what"].to_list()) == ["Order Completed"] * 4 + ["identify"]
    assert timeline(world.lake, "person", 1, limit=3).height == 3
    early = timeline(world.lake, "person", 1, before=at("2026-01-02"))
    assert early["at"].max() == at("2026-01-01")


def test_an_account_has_the_events_of_its_people(tmp_path: Path) -> None:
    world = World(tmp_path)
    ada(world)
    world.identify(7, "salesforce.Account:7", entity="account")
    world.relate("salesforce.Contact:1", "account", "salesforce.Account:7")
    found = timeline(world.lake, "account", 7)
    assert sorted(found.filter(found["kind"] == "event")["what"].to_list()) == [
        "Order Completed", "Order Completed", "identify"
    ]  # fmt: skip
    assert timeline(world.lake, "machine", 1).is_empty()
