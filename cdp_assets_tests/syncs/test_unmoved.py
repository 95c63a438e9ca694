"""A plan that says nothing is not made again while nothing moves: and whatever moves, makes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.audiences.read import audience_table
from cdp_assets.identity import GRAPH, IDS
from cdp_assets.lake import Lake, Table
from cdp_assets.profiles import TraitsConfig
from cdp_assets.profiles.catalogue import save_traits
from cdp_assets.profiles.model import compile_traits
from cdp_assets.profiles.tables import profiles_table
from cdp_assets.records.tables import RULES, entity_table
from cdp_assets.store import Store, ledger, plans
from cdp_assets.syncs import SyncConfig, apply, plan, sought_table, state_table
from cdp_assets.syncs.inputs import gather
from cdp_assets.syncs.model import Inputs, Plan
from cdp_assets_tests.syncs.test_inputs import TRAITS, lake, rows
from cdp_assets_tests.syncs.world import DESCRIPTION, NOW, Crm, config

__all__ = ["lake"]


class House:
    """A sync over real tables. made: how many plans were really made."""

    def __init__(self, lake: Lake, store: Store) -> None:
        self.lake, self.store = lake, store
        contacts: dict[str, dict[str, Any]] = {"a": {}, "lost": {}, "gone": {}}
        self.crm = Crm(records={"Contact": contacts})
        self.made = 0

    def _gather(self, *arguments: Any) -> Inputs:
        self.made += 1
        return gather(*arguments)

    def plan(self, sync: SyncConfig, days: int = 0, *, anew: bool = False) -> Plan:
        return plan(
            self.lake, self.store, "s", sync, self.crm, DESCRIPTION, NOW + timedelta(days),
            entity="person", gather=self._gather, anew=anew,
        )  # fmt: skip

    def apply(self, sync: SyncConfig) -> int:
        return apply(
            self.lake, self.store, "s", sync, self.crm, DESCRIPTION, NOW, "run",
            entity="person", gather=self._gather, url="http://127.0.0.1:1",
        ).written  # fmt: skip

    def makes(self, sync: SyncConfig, days: int = 0) -> bool:
        """Whether a plan is really made."""
        before = self.made
        self.plan(sync, days)
        return self.made > before

    def settle(self, sync: SyncConfig) -> None:
        """Until nothing is left to write, to read or to seek."""
        self.apply(sync)
        for _ in range(3):
            self.plan(sync)


@pytest.fixture
def house(lake: Lake, tmp_path: Path) -> Iterator[House]:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    store.migrate()
    yield House(lake, store)
    store.close()


def sync(**options: Any) -> SyncConfig:
    base = {
        "fields": {"Orders__c": "orders", "Title": {"trait": "user_id"}},
        "where": "email is not null and not in_audience('good') or orders = 1",
        "match": ["linked", {"Email": "email"}],
        "approve": "never",
    }
    return config(**{**base, **options})


def stood(house: House) -> dict[str, str]:
    found: dict[str, str] = json.loads(plans.basis(house.store, "s") or "{}").get("stood", {})
    return found


def test_it_is_made_once(house: House) -> None:
    assert house.apply(sync()) == 1
    house.settle(sync())
    hash_ = house.plan(sync(), anew=True).hash
    calls = house.crm.calls
    assert not house.makes(sync())
    assert house.plan(sync()).hash == hash_
    assert house.apply(sync()) == 0
    assert house.crm.calls == calls
    made = house.made
    assert house.plan(sync(), anew=True).profiles == 3
    assert house.made == made + 1


MOVED = {
    "profiles/person": {"profile_id": 2, "email": "p2@x.org", "orders": 77},
    "audiences/good": {"profile_id": 2, "entered_at": NOW},
    "identity/graph": {
        "entity": "person", "identifier": "user_id:u9", "profile_id": 3, "type": "user_id",
    },
    "identity/ids": {
        "entity": "person", "anchor": "user_id:u9", "profile_id": 9, "redirect_to": 1,
    },
    "records/person": {
        "source": "crm", "object": "Contact", "record_id": "new", "record": "crm.Contact:new",
        "deleted": False,
    },
    "records/rules": {"source": "crm", "object": "Lead", "rules": 1},
    "syncs/s": {"record": "crm.Contact:b", "object": "Contact", "profile_id": 3},
    "syncs/s/sought": {"profile_id": 3, "sought": "x", "at": NOW},
}  # fmt: skip


def tables() -> dict[str, Table]:
    model = compile_traits(TRAITS, {"person": TRAITS})
    found = (
        profiles_table("person", model.stored), audience_table("good"), GRAPH, IDS,
        entity_table("person"), RULES, state_table("s"), sought_table("s"),
    )  # fmt: skip
    return {table.key: table for table in found}


@pytest.mark.parametrize("key", list(MOVED))
def test_whatever_moves_makes_it_again(house: House, key: str) -> None:
    house.settle(sync())
    assert not house.makes(sync())
    table = tables()[key]
    house.lake.open(table).merge(rows(table, MOVED[key]))
    assert house.makes(sync())


def test_a_table_made_anew_makes_it_again_though_its_count_is_the_same(house: House) -> None:
    house.settle(sync())
    people = house.lake.open(tables()["profiles/person"])
    before, rows_ = people.seq(), people.scan().drop("_seq").collect()
    shutil.rmtree(house.lake.root / "profiles" / "person.delta")
    anew = Lake(house.lake.root).open(people.table)
    anew.merge(rows_.with_columns(orders=pl.col("orders") + 5))
    house.lake = Lake(house.lake.root)
    assert anew.seq() == before
    assert house.makes(sync())


def test_a_changed_trait_makes_it_again(house: House) -> None:
    house.settle(sync())
    assert not house.makes(sync())
    said = TRAITS.model_dump(by_alias=True, exclude_none=True)
    said["traits"]["fresh"] = {"expr": "seen > now() - interval '3 days'"}
    other = TraitsConfig.model_validate(said)
    save_traits(house.lake, compile_traits(other, {"person": other}), other)
    assert house.makes(sync())


def test_every_table_that_is_read_is_noted(house: House) -> None:
    house.settle(sync())
    assert set(stood(house)) >= set(MOVED)


def test_another_configuration_or_an_open_row_makes_it_again(house: House) -> None:
    house.settle(sync())
    assert house.makes(sync(where="orders > 0"))
    house.settle(sync())
    assert not house.makes(sync())
    intent = ledger.Intent(
        entity="person", profile_id=1, source="crm", object="Contact", record_id="a", op="update",
        fields={"Orders__c": "1"}, asked={}, digest="d",
    )  # fmt: skip
    ledger.announce(house.store, "s", "plan", "run", [intent], NOW)
    assert house.makes(sync())


@pytest.mark.parametrize(
    "options",
    [
        {"fields": {"Orders__c": "orders", "Title": "fresh"}},
        {"where": "fresh or orders > 0"},
        {"where": "seen > now() - interval '30 days'"},
    ],
)
def test_what_depends_on_the_time_is_made_each_time(house: House, options: Any) -> None:
    house.settle(sync(**options))
    assert stood(house) == {}
    assert house.makes(sync(**options))


def test_those_sought_in_vain_are_sought_again_in_time(house: House) -> None:
    """Where not all records are pulled, one may have come to be that nobody knows."""
    both = sync(to=["crm.Contact", "crm.Lead"])
    house.settle(both)
    assert stood(house) == {}
    assert house.makes(both, days=8)


def test_what_is_in_the_way_is_said_each_time(house: House) -> None:
    long = sync(fields={"Title": "{email}" + "t" * 50, "Orders__c": "orders"})
    house.settle(long)
    made = house.plan(long)
    assert made.row_errors
    assert house.makes(long)


def test_a_profile_that_changes_is_written(house: House) -> None:
    plain = sync(where=None)
    house.settle(plain)
    assert not house.makes(plain)
    table = tables()["profiles/person"]
    changed = {"profile_id": 1, "email": "p1@x.org", "orders": 12, "seen": NOW}
    house.lake.open(table).merge(rows(table, changed))
    assert house.apply(plain) == 1
    assert house.crm.records["Contact"]["a"]["Orders__c"] == 12
