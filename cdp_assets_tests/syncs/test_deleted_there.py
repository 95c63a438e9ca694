"""Records that the destination deleted or merged, pulled and resolved by the rooms to the left."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from cdp_assets.lake import Lake
from cdp_assets.profiles import TraitsConfig, build
from cdp_assets.store import Store
from cdp_assets.syncs import ApplyResult, Plan, SyncError, apply, plan
from cdp_assets.syncs.config import FieldConfig, SyncConfig
from cdp_assets_tests.identity import world as identity
from cdp_assets_tests.records.world import at, pull, version
from cdp_assets_tests.syncs.world import DESCRIPTION, Crm

TRAITS = TraitsConfig.model_validate(
    {
        "entity": "person",
        "traits": {
            "email": {"latest": ["events.traits.email"]},
            "orders": {"select": "count(*)", "from": "events"},
        },
    }
)
SYNC = SyncConfig.model_validate(
    {
        "from": "person",
        "to": "salesforce.Contact",
        "mode": "upsert",
        "create": "salesforce.Contact",
        "match": ["linked", {"Email": "email"}],
        "fields": {"Orders__c": "orders"},
        "approve": "never",
    }
)


class House:
    """A lake with one user, u1, who has orders and an address; and a CRM."""

    def __init__(self, path: Path) -> None:
        self.lake = Lake(path / "lake")
        self.store = Store(f"sqlite:///{path}/store.db")
        self.store.migrate()
        self.crm = Crm(records={"Contact": {}}, name="salesforce")
        identity.tell(self.lake, 2, "user_id:u1", "email", "ada@example.com")

    def contact(self, record: str, hour: float, **fields: str) -> None:
        self.crm.records["Contact"][record] = dict(fields)
        pull(self.lake, identity.CONTACT, identity.contact(record, hour, **fields))

    def deleted(self, record: str, hour: float) -> None:
        self.crm.records["Contact"].pop(record)
        pull(self.lake, identity.CONTACT, version(record, hour, None, op="delete"))

    def merged(self, record: str, into: str, hour: float) -> None:
        self.crm.records["Contact"].pop(record)
        gone = version(record, hour, None, op="merge", merged_into=into)
        pull(self.lake, identity.CONTACT, gone)

    def build(self, hour: float) -> None:
        """One more order, and all that follows from what is in the lake."""
        identity.send(self.lake, identity.event(hour, user="u1"))
        identity.run(self.lake, now=at(hour))
        build(self.lake, TRAITS, now=at(hour))

    def plan(self, hour: float) -> Plan:
        described = replace(DESCRIPTION, source="salesforce")
        return plan(
            self.lake, self.store, "s", SYNC, self.crm, described, at(hour), entity="person"
        )

    def apply(self, hour: float, sync: SyncConfig = SYNC) -> ApplyResult:
        described = replace(DESCRIPTION, source="salesforce")
        return apply(
            self.lake, self.store, "s", sync, self.crm, described, at(hour), f"run{hour}",
            entity="person", url="http://127.0.0.1:1",
        )  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_whose_record_was_deleted_is_not_created_anew(house: House) -> None:
    house.contact("003A", 1, App_User_Id__c="u1")
    house.build(5)
    house.deleted("003A", 10)
    house.build(15)
    assert house.apply(15).created == 0
    assert house.crm.records["Contact"] == {}


def test_nothing_is_created_that_nobody_would_recognise(house: House) -> None:
    house.build(5)
    house.contact("003A", 6, Email="somebody@example.com")
    house.build(7)
    with pytest.raises(SyncError, match=r"create: a record created in .* would be nobody"):
        house.apply(8, SYNC.model_copy(update={"match": ["linked"]}))
    written = {"match": ["linked"], "fields": {**SYNC.fields, "Email": FieldConfig(trait="email")}}
    assert house.apply(9, SYNC.model_copy(update=written)).created == 1


def test_a_record_told_and_then_deleted_is_passed_over(house: House) -> None:
    house.contact("003A", 1, App_User_Id__c="u1")
    house.build(5)
    assert house.apply(5).written == 1
    house.deleted("003A", 10)
    house.build(15)
    after = house.plan(15)
    assert (after.obstacles, after.changes) == ((), ())
    assert house.apply(15).created == 0


def test_a_deleted_record_that_comes_back_is_told_again(house: House) -> None:
    house.contact("003A", 1, App_User_Id__c="u1")
    house.build(5)
    house.deleted("003A", 10)
    house.build(15)
    assert house.apply(15).written == 0
    house.contact("003A", 20, App_User_Id__c="u1")
    house.build(25)
    assert house.apply(25).written == 1
    assert house.crm.records["Contact"]["003A"]["Orders__c"] == 3


def test_what_we_created_and_they_deleted_stays_deleted(house: House) -> None:
    house.build(5)
    assert house.apply(5).created == 1
    made = next(iter(house.crm.records["Contact"]))
    pull(house.lake, identity.CONTACT, identity.contact(made, 6, Email="ada@example.com"))
    house.build(8)
    house.deleted(made, 10)
    house.build(15)
    assert house.apply(15).created == 0


def test_a_merge_there_moves_the_person_to_the_survivor(house: House) -> None:
    house.contact("003A", 1, App_User_Id__c="u1")
    house.contact("003C", 2, Email="ada.c@example.com")
    house.build(5)
    house.merged("003A", "003C", 10)
    house.build(15)
    assert identity.profile_of(house.lake, "user_id:u1") == identity.profile_of(
        house.lake, "salesforce.Contact:003C"
    )
    result = house.apply(15)
    assert (result.written, result.created) == (1, 0)
    assert house.crm.records["Contact"]["003C"]["Orders__c"] == 2


def test_a_merge_into_a_record_that_is_deleted_later_counts_no_more(house: House) -> None:
    house.contact("003A", 1, App_User_Id__c="u1")
    house.contact("003B", 1, Email="b@example.com")
    house.contact("003C", 2, Email="ada.c@example.com")
    house.build(5)
    house.merged("003A", "003B", 10)
    house.build(11)
    house.merged("003B", "003C", 12)
    house.build(13)
    assert identity.profile_of(house.lake, "email:b@example.com") is not None
    house.deleted("003C", 14)
    house.build(15)
    assert identity.profiles(house.lake) == [{"user_id:u1", "email:ada@example.com"}]
