"""What Salesforce holds beside contacts: history, activities, campaigns, keys, deletions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.base import Refused, RowChange, WrongObject
from cdp_assets.connectors.salesforce import Salesforce
from cdp_assets.connectors.salesforce.describe import SalesforceField
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.raw.tables import raw_table
from cdp_assets_tests.connectors.stand_in import StandIn, quick

START = datetime(2015, 1, 1, tzinfo=UTC)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)


def pulled(source: Salesforce, name: str, start: datetime = START) -> pl.DataFrame:
    return pl.concat([page.rows for page in source.pull(name, start, later())])


def made(source: Salesforce, name: str, *records: dict[str, Any]) -> list[str]:
    batch = [RowChange(i, "create", fields) for i, fields in enumerate(records)]
    outcomes = source.write(name, batch)
    assert all(o.ok for o in outcomes), outcomes
    return [str(o.record_id) for o in outcomes]


def payloads(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {r: json.loads(p) for r, p in frame.select("record_id", "payload").rows()}


def test_field_history_comes_as_changes_by_its_only_stamp(stand_in: StandIn) -> None:
    source = stand_in.salesforce(bulk_above=1)
    (contact,) = made(source, "Contact", {"LastName": "H", "Email": "old@h.example"})
    changes = {"Email": "new@h.example", "HasOptedOutOfEmail": True, "Department": "untracked"}
    source.write("Contact", [RowChange(1, "update", changes, record_id=contact)])
    stand_in.control("DELETE", "journal")
    rows = payloads(pulled(source, "ContactHistory"))
    mine = {r["Field"]: (r["OldValue"], r["NewValue"])
            for r in rows.values() if r["ContactId"] == contact}  # fmt: skip
    assert mine == {
        "created": (None, None),
        "Email": ("old@h.example", "new@h.example"),
        "HasOptedOutOfEmail": (False, True),
    }
    # Old and new values have no one type: a table of texts could not say it.
    assert not [e for e in stand_in.journal() if "/jobs/" in e["path"]]
    found = source.mapping("ContactHistory")
    assert found is not None
    assert (found.entity, found.columns["after"]) == ("change", "NewValue")
    assert [(r.kind, r.field) for r in found.relations] == [("person", "ContactId")]
    custom = source.mapping("Subscription__History")
    assert custom is not None
    assert [(r.field, r.to) for r in custom.relations] == [("ParentId", "Subscription__c")]


@pytest.mark.parametrize(
    ("name", "fields", "moment"),
    [
        ("Event", {"Subject": "Demo", "ActivityDateTime": "2026-03-01T10:00:00.000+0000"},
         "ActivityDateTime"),
        ("EmailMessage", {"Subject": "Hi", "FromAddress": "a@b.example",
                          "MessageDate": "2026-03-01T10:00:00.000+0000"}, "MessageDate"),
        ("Campaign", {"Name": "Spring", "StartDate": "2026-03-01"}, "StartDate"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("above", [0, 1])
def test_activities_are_pulled_and_mapped(
    stand_in: StandIn, name: str, fields: dict[str, Any], moment: str, above: int
) -> None:
    source = stand_in.salesforce(bulk_above=above)
    one, _ = made(source, name, fields, fields)
    record = payloads(pulled(source, name))[one]
    found = source.mapping(name)
    assert found is not None
    assert found.entity == "activity"
    assert found.columns["occurred_at"] == moment
    assert record[moment] is not None
    used = {*found.columns.values()} - {"CurrencyIsoCode"}
    assert used <= record.keys()


def test_a_lost_opportunity_says_why(stand_in: StandIn) -> None:
    reason = {"name": "Opportunity", "fields": {"reason": "Loss_Reason__c"}}
    source = stand_in.salesforce(objects=[reason])
    fields = {"Name": "O", "StageName": "Closed Lost", "CloseDate": "2026-03-01",
              "Loss_Reason__c": "Price"}  # fmt: skip
    (one,) = made(source, "Opportunity", fields)
    found = source.mapping("Opportunity")
    assert found is not None
    assert payloads(pulled(source, "Opportunity"))[one][found.columns["reason"]] == "Price"


def test_what_was_deleted_and_taken_back_lives_again(stand_in: StandIn, tmp_path: Path) -> None:
    source = stand_in.salesforce()
    (key,) = made(source, "Contact", {"LastName": "Back"})
    lake = Lake(tmp_path / "lake")
    table = lake.open(raw_table("salesforce", "Contact"))
    seen = []
    now = datetime.now(UTC)
    for step in (None, "delete", "undelete"):
        now += timedelta(minutes=10)
        stand_in.control("POST", "clock", {"now": now.isoformat()})
        if step is not None:
            stand_in.control("POST", f"salesforce/{step}", {"object": "Contact", "id": key})
        ingest.pull_live(lake, source, "Contact", START, now + timedelta(minutes=1), str(step))
        rows = table.scan().filter(record_id=key).sort("_seq").collect()
        seen.append(rows["op"][-1])
    assert seen == ["upsert", "delete", "upsert"]


def test_deletions_that_no_query_shows_are_asked_for(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    names = [{"Name": f"G{n}"} for n in range(9)]
    ids = made(source, "Group", *names)
    for key in ids[:7]:
        stand_in.control("POST", "salesforce/delete", {"object": "Group", "id": key})
    start = datetime.now(UTC) - timedelta(days=400)
    rows = pulled(source, "Group", start)
    assert set(rows.filter(op="delete")["record_id"]) >= set(ids[:7])
    assert set(rows.filter(op="upsert")["record_id"]) >= set(ids[7:])
    assert set(ids[:7]).isdisjoint(rows.filter(op="upsert")["record_id"])
    old = list(source.pull("Group", start, start + timedelta(days=30)))
    assert not [page for page in old if page.rows.height]


def test_a_span_with_too_many_deletions_is_halved(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    now = datetime.now(UTC)
    ids = []
    for day in range(6, 0, -1):
        at = now - timedelta(days=day)
        stand_in.control("POST", "clock", {"now": at.isoformat()})
        for key in made(source, "Group", {"Name": "a"}, {"Name": "b"}):
            stand_in.control("POST", "salesforce/delete", {"object": "Group", "id": key})
            ids.append(key)
    stand_in.control("POST", "clock", {"now": now.isoformat()})
    stand_in.control("POST", "limits", {"salesforce_deleted_ids": 10})
    stand_in.control("DELETE", "journal")
    source = stand_in.salesforce(quick(now=lambda: now))
    try:
        rows = pulled(source, "Group", now - timedelta(days=7))
    finally:
        stand_in.control("POST", "limits", {})
    gone = rows.filter(op="delete")["record_id"].to_list()
    assert sorted(set(gone) & set(ids)) == sorted(ids)
    assert len(set(gone)) == len(gone)
    asked = [e["status"] for e in stand_in.journal() if e["path"].endswith("/deleted")]
    assert asked.count(400) >= 1


@pytest.mark.parametrize("above", [0, 1])
def test_keys_name_every_live_record(stand_in: StandIn, above: int) -> None:
    source = stand_in.salesforce(bulk_above=above)
    keep, gone = made(source, "Contact", {"LastName": "K"}, {"LastName": "L"})
    stand_in.control("POST", "salesforce/delete", {"object": "Contact", "id": gone})
    found = pl.concat(list(source.keys("Contact")))
    assert found.schema == {"record_id": pl.String, "cursor_at": pl.Datetime("us", "UTC")}
    live = pulled(source, "Contact").filter(op="upsert").select("record_id", "cursor_at")
    assert found.sort("record_id").equals(live.sort("record_id"))
    assert keep in found["record_id"]
    assert gone not in found["record_id"]
    groups = pl.concat(list(source.keys("Group")))
    assert groups["record_id"].n_unique() == groups.height


def test_the_budget_is_what_the_org_told_last(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    assert source.budget is None
    stand_in.control("POST", "limits", {"salesforce_daily": 5_000, "salesforce_used": 41})
    source.has_news("Contact", START)
    assert source.budget == (42, 5_000)


def test_a_field_taken_away_and_a_new_one_are_followed_without_a_stop(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    (key,) = made(source, "Contact", {"LastName": "F", "Title": "T"})
    known = source._client.object("Contact")
    # As the org was described yesterday: one field more, which it does not know today.
    yesterday = SalesforceField(name="Gone__c", type="string")
    known.fields[:] = [f for f in known.fields if f.name != "Title"] + [yesterday]
    record = payloads(pulled(source, "Contact"))[key]
    assert record["Title"] == "T"
    assert "Gone__c" not in record


def test_a_formula_changes_and_no_stamp_moves(stand_in: StandIn) -> None:
    """Which is why such fields are told apart: they have to be read again."""
    for above in (0, 1):
        source = stand_in.salesforce(bulk_above=above)
        (account,) = made(source, "Account", {"Name": "A", "Plan__c": "trial"})
        (contact,) = made(source, "Contact", {"LastName": "F", "AccountId": account})
        before = pulled(source, "Contact").filter(record_id=contact)
        source.write("Account", [RowChange(1, "update", {"Plan__c": "team"}, record_id=account)])
        after = pulled(source, "Contact").filter(record_id=contact)
        assert before["cursor_at"].equals(after["cursor_at"])
        plans = [payloads(rows)[contact]["Account_Plan__c"] for rows in (before, after)]
        assert plans == ["trial", "team"]
    fields = source.describe(["Contact"]).objects["Contact"].fields
    assert [name for name, field in fields.items() if field.calculated] == ["Account_Plan__c"]


def test_news_of_what_has_no_usual_stamp(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    made(source, "Contact", {"LastName": "N", "Email": "n@news.example"})
    assert source.has_news("ContactHistory", datetime.now(UTC) - timedelta(days=1))
    assert not source.has_news("ContactHistory", later())


# Campaigns as lists


def listed(source: Salesforce, list_id: str) -> set[str]:
    return {key for page in source.list_members(list_id) for key in page}


def test_a_campaign_is_a_list_of_contacts_and_leads(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    assert source.list_id("Trial users") is None
    key = source.create_list("Trial users", "Contact")
    assert source.create_list("Trial users", "Contact") == key
    assert source.list_id("trial USERS") == key
    contacts = made(source, "Contact", *[{"LastName": f"M{n}"} for n in range(5)])
    leads = made(source, "Lead", {"LastName": "L", "Company": "C"})
    assert listed(source, key) == set()
    outcomes = source.change_members(key, [*contacts, *leads, contacts[0][:15]], [])
    assert [(o.row, o.ok) for o in outcomes] == [(n, True) for n in range(7)]
    assert listed(source, key) == {*contacts, *leads}
    again = source.change_members(
        key, contacts[:2], [contacts[4], contacts[3], "003000000000001AAA"]
    )
    assert [(o.row, o.ok, o.record_id) for o in again][:4] == [
        (0, True, contacts[0]), (1, True, contacts[1]), (2, True, contacts[4]),
        (3, True, contacts[3]),
    ]  # fmt: skip
    assert again[4].ok
    assert listed(source, key) == {*contacts[:3], *leads}


def test_who_cannot_be_put_on_a_campaign_is_a_row(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    key = source.create_list("Rows", "Lead")
    (good, gone) = made(source, "Contact", {"LastName": "A"}, {"LastName": "B"})
    stand_in.control("POST", "salesforce/delete", {"object": "Contact", "id": gone})
    outcomes = source.change_members(key, ["nonsense", good, gone, "001000000000001AAA"], [])
    assert [(o.ok, o.error_class, o.code) for o in outcomes] == [
        (False, "data", "INVALID_ID"), (True, None, None), (False, "gone", "ENTITY_IS_DELETED"),
        (False, "data", "INVALID_ID"),
    ]  # fmt: skip
    with pytest.raises(WrongObject, match="contacts and leads"):
        source.create_list("Companies", "Account")


@pytest.mark.parametrize("action", ["commit_then_reset", "reset"])
def test_a_lost_answer_puts_nobody_on_a_campaign_twice(stand_in: StandIn, action: str) -> None:
    source = stand_in.salesforce()
    key = source.create_list(f"Lost {action}", "Contact")
    contacts = made(source, "Contact", {"LastName": "A"}, {"LastName": "B"})
    stand_in.faults({"match": "composite/sobjects", "action": action})
    assert all(o.ok for o in source.change_members(key, contacts, []))
    soql = f"SELECT Id FROM CampaignMember WHERE CampaignId = '{key}'"
    assert len(list(source._client.query(soql, what="members"))) == 2


def test_a_campaign_that_was_deleted_is_never_made_again(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    key = source.create_list("Old list", "Contact")
    stand_in.control("POST", "salesforce/delete", {"object": "Campaign", "id": key})
    for call in (
        lambda: source.list_id("Old list"),
        lambda: source.create_list("Old list", "Contact"),
        lambda: list(source.list_members(key)),
        lambda: source.change_members(key, [], []),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.status == 404
    made(source, "Campaign", {"Name": "Twin"}, {"Name": "twin"})
    with pytest.raises(Refused, match="2 campaigns"):
        source.list_id("Twin")


def test_an_object_that_cannot_be_queried_is_named(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    source._client.object("Task").queryable = False
    for call in (lambda: list(source.pull("Task", START, later())),
                 lambda: list(source.keys("Task"))):  # fmt: skip
        with pytest.raises(WrongObject, match="Task cannot be queried"):
            call()
