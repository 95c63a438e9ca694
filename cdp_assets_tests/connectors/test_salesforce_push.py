"""Writes to Salesforce: one outcome a row, nothing twice, no value in any message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdp_assets.connectors.base import RowChange, RowOutcome, UnknownOutcome, WrongObject
from cdp_assets.connectors.salesforce import Salesforce
from cdp_assets.connectors.salesforce.describe import SalesforceField
from cdp_assets.connectors.salesforce.forms import normalised, sought
from cdp_assets_tests.connectors.stand_in import StandIn, quick


def made(source: Salesforce, *names: str, **more: Any) -> list[str]:
    batch = [RowChange(i, "create", {"LastName": n, **more}) for i, n in enumerate(names)]
    return [str(o.record_id) for o in source.write("Contact", batch)]


def errors(outcomes: Sequence[RowOutcome]) -> list[tuple[int, str | None, str | None]]:
    return [(o.row, o.error_class, o.code) for o in outcomes if not o.ok]


def count(stand_in: StandIn, name: str = "Contact") -> int:
    return int(stand_in.control("GET", "state")["records"][f"salesforce.{name}"])


def test_some_rows_fail_and_the_others_are_written(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    ids = made(source, *[f"Row{i}" for i in range(200)])
    stand_in.control("DELETE", "journal")
    batch = [
        RowChange(1000 + i, "update", {"Title": f"T{i}"}, record_id=r) for i, r in enumerate(ids)
    ]
    batch[5] = RowChange(5, "update", {"Title": "Ada Lovelace " * 40}, record_id=ids[5])
    batch[7] = RowChange(7, "update", {"Nope__c": "x"}, record_id=ids[7])
    batch[9] = RowChange(9, "update", {"Title": "x"}, record_id="003000000000001AAA")
    outcomes = source.write("Contact", batch)
    assert [o.row for o in outcomes] == [c.row for c in batch]
    assert [row for row, _, _ in errors(outcomes)] == [5, 7, 9]
    assert [kind for _, kind, _ in errors(outcomes)] == ["data", "mapping", "gone"]
    assert all("Lovelace" not in str(o) for o in outcomes)
    assert len([e for e in stand_in.journal() if e["path"].endswith("composite/sobjects")]) == 1
    shown = source.read("Contact", ids, ["Title"])
    assert shown[ids[0]] == {"Title": "T0"}
    assert shown[ids[5]] == {"Title": None}


def test_upsert_by_external_id_creates_once_and_updates_after(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    before = count(stand_in)

    def upsert(title: str) -> list[RowOutcome]:
        batch = [
            RowChange(i, "upsert", {"LastName": "U", "Title": title},
                      key_field="CDP_Id__c", key_value=f"77{i}")
            for i in range(3)
        ]  # fmt: skip
        return source.write("Contact", batch)

    first, second = upsert("a"), upsert("b")
    assert [o.created for o in first + second] == [True] * 3 + [False] * 3
    assert [o.record_id for o in first] == [o.record_id for o in second]
    assert count(stand_in) == before + 3


def test_one_external_id_twice_in_a_batch_is_a_row_error(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    change = RowChange(1, "upsert", {"LastName": "U"}, key_field="CDP_Id__c", key_value="88a")
    again = RowChange(2, "upsert", {"LastName": "U"}, key_field="CDP_Id__c", key_value="88A")
    outcomes = source.write("Contact", [change, again])
    assert [o.ok for o in outcomes] == [True, False]
    assert outcomes[1].code == "DUPLICATE_KEY_IN_BATCH"


@pytest.mark.parametrize("action", ["commit_then_stall", "commit_then_reset"])
def test_a_create_whose_answer_is_lost_is_not_repeated(stand_in: StandIn, action: str) -> None:
    source = stand_in.salesforce(quick(read_timeout=0.5))
    before = count(stand_in)
    stand_in.faults({"match": "composite/sobjects", "action": action, "seconds": 1.5, "times": 9})
    with pytest.raises(UnknownOutcome) as caught:
        made(source, "Only One")
    assert "Only" not in str(caught.value)
    stand_in.control("DELETE", "faults")
    assert count(stand_in) == before + 1


@pytest.mark.parametrize("action", ["commit_then_stall", "commit_then_reset", "reset", "truncate"])
def test_an_upsert_whose_answer_is_lost_is_repeated_and_makes_one_record(
    stand_in: StandIn, action: str
) -> None:
    source = stand_in.salesforce(quick(read_timeout=0.5))
    before = count(stand_in)
    stand_in.faults({"match": "composite/sobjects", "action": action, "seconds": 1.5, "times": 2})
    key = f"lost-{action}"
    change = RowChange(1, "upsert", {"LastName": "U"}, key_field="CDP_Id__c", key_value=key)
    assert source.write("Contact", [change])[0].ok
    assert count(stand_in) == before + 1


def test_a_row_lock_is_tried_again_with_the_locked_rows_alone(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    ids = made(source, *[f"L{i}" for i in range(8)])
    locked = [
        {"success": i not in (2, 3, 6), "id": r, "errors": []
         if i not in (2, 3, 6)
         else [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access",
                "fields": []}]}
        for i, r in enumerate(ids)
    ]  # fmt: skip
    stand_in.control("DELETE", "journal")
    stand_in.faults({"match": "composite/sobjects", "status": 200, "body": locked})
    batch = [RowChange(i, "update", {"Title": "x"}, record_id=r) for i, r in enumerate(ids)]
    assert all(o.ok for o in source.write("Contact", batch))
    sizes = [e["rows"] for e in stand_in.journal() if e["path"].endswith("composite/sobjects")][1:]
    assert sum(sizes) == 3
    assert max(sizes) <= 2


def test_a_lock_and_then_no_answer_leaves_those_rows_open(stand_in: StandIn) -> None:
    source = stand_in.salesforce(quick(attempts=1))
    ids = made(source, "L", "M")
    locked = {"statusCode": "UNABLE_TO_LOCK_ROW", "message": "no"}
    body = [{"success": True, "id": ids[0]}, {"success": False, "errors": [locked]}]
    stand_in.faults(
        {"match": "composite/sobjects", "status": 200, "body": body},
        {"match": "composite/sobjects", "action": "commit_then_reset", "after": 1},
    )
    batch = [RowChange(i, "update", {"Title": "x"}, record_id=r) for i, r in enumerate(ids)]
    assert [(o.row, o.ok) for o in source.write("Contact", batch)] == [(0, True)]


def test_a_lock_that_never_opens_is_a_row_to_retry(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    ids = made(source, "L")
    body = [{"success": False, "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "no"}]}]
    stand_in.faults({"match": "composite/sobjects", "status": 200, "body": body, "times": 99})
    outcome = source.write("Contact", [RowChange(1, "update", {"Title": "x"}, record_id=ids[0])])[0]
    assert (outcome.ok, outcome.error_class) == (False, "retry")


def test_a_record_merged_away_is_written_where_it_went_and_not_made_again(
    stand_in: StandIn,
) -> None:
    source = stand_in.salesforce()
    master, loser, deleted = made(source, "M", "N", "O")
    stand_in.control(
        "POST", "salesforce/merge", {"object": "Contact", "master": master, "losers": [loser]}
    )
    stand_in.control("POST", "salesforce/delete", {"object": "Contact", "id": deleted})
    before = count(stand_in)
    batch = [RowChange(n, "update", {"Title": "x"}, record_id=r)
             for n, r in enumerate([loser, deleted])]  # fmt: skip
    moved, gone = source.write("Contact", batch)
    assert (moved.ok, moved.record_id) == (True, master)
    assert (gone.error_class, gone.code) == ("gone", "ENTITY_IS_DELETED")
    assert count(stand_in) == before
    assert source.read("Contact", [loser, master], ["Title"]) == {master: {"Title": "x"}}
    both = [RowChange(n, "update", {"Title": f"t{n}"}, record_id=r)
            for n, r in enumerate([loser, master])]  # fmt: skip
    assert [o.ok for o in source.write("Contact", both)] == [False, True]
    assert source.read("Contact", [master], ["Title"]) == {master: {"Title": "t1"}}


def test_deletes_go_by_ids_and_what_is_gone_is_done(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    ids = made(source, *[f"D{i}" for i in range(200)])
    before = count(stand_in)
    batch = [RowChange(i, "delete", {}, record_id=r) for i, r in enumerate(ids)]
    stand_in.control("DELETE", "journal")
    stand_in.faults({"match": "composite/sobjects", "action": "commit_then_reset"})
    assert all(o.ok for o in source.write("Contact", batch))
    assert count(stand_in) == before - 200
    assert [e["method"] for e in stand_in.journal()].count("DELETE") == 2
    wrong = RowChange(1, "delete", {}, record_id="003000000000001AAA")
    assert source.write("Contact", [wrong])[0].ok


def test_a_new_task_is_linked_to_people_and_companies(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    (contact,) = made(source, "Linked")
    account = source.write("Account", [RowChange(1, "create", {"Name": "A"})])[0].record_id
    assert account is not None
    links = (("Contact", contact[:15]), ("Account", account))
    task = source.write("Task", [RowChange(1, "create", {"Subject": "viewed"}, links=links)])[0]
    assert task.record_id is not None
    shown = source.read("Task", [task.record_id], ["WhoId", "WhatId"])[task.record_id]
    assert shown == {"WhoId": contact, "WhatId": account}
    person = source.write(
        "Contact", [RowChange(1, "create", {"LastName": "B"}, links=(("Account", account),))]
    )[0]
    assert source.read("Contact", [str(person.record_id)], ["AccountId"]) == {
        str(person.record_id): {"AccountId": account}
    }
    wrong = RowChange(7, "create", {"Subject": "x"}, links=(("Subscription__c", "a00x"),))
    outcome = source.write("Task", [wrong])[0]
    assert (outcome.row, outcome.error_class, outcome.code) == (7, "mapping", "NO_SUCH_LINK")


def test_find_says_every_hit_whatever_the_case(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    one, other = made(source, "A", "B", Email="Twin.O'Hara@Example.com")
    values = [
        "twin.o'hara@example.com",
        "nobody@example.com",
        *[f"x{i}@example.com" for i in range(300)],
    ]
    found = source.find("Contact", "Email", values, ["LastName"])
    assert found.keys() == {"twin.o'hara@example.com"}
    assert sorted(r["id"] for r in found["twin.o'hara@example.com"]) == sorted([one, other])
    assert {r["LastName"] for r in found["twin.o'hara@example.com"]} == {"A", "B"}
    with pytest.raises(WrongObject, match="no field `Emial`"):
        source.find("Contact", "Emial", ["x"], [])


@pytest.mark.parametrize(
    ("field", "holds", "value"),
    [
        ("Last_Seen__c", "2026-03-01T09:00:00.000+0000", "2026-03-01T10:00:00.000000+01:00"),
        ("Revenue_90d__c", 1500.5, "1500.50"),
        ("Orders__c", 7, "7"),
        ("Active__c", True, "true"),
        ("Title", "Chief", "chief"),
    ],
)
def test_a_value_that_is_none_of_the_field_s_type_finds_nothing(
    stand_in: StandIn, field: str, holds: Any, value: str
) -> None:
    source = stand_in.salesforce()
    (record,) = made(source, "Sought")
    source.write("Contact", [RowChange(1, "update", {field: holds}, record_id=record)])
    wrong = [
        "u-17",
        "1e999999999",
        "2026-03-01) OR (Email != null",
        "true) OR (Id != null",
        "",
        "neither",
    ]
    found = source.find("Contact", field, [value, *wrong, "y" * 9000], ["LastName"])
    assert record in [r["id"] for r in found.pop(value)]
    assert found == {}


@given(st.sampled_from(["date", "datetime", "boolean", "double", "int", "id", "string"]), st.text())
@example("date", "2020-01-01) OR (Email != null")
@example("datetime", "2020-01-01T00:00:00Z) OR (Email != null")
@example("string", "') OR (Email != null")
@example("double", "NaN")
def test_no_value_ends_its_literal(kind: str, value: str) -> None:
    form = sought(SalesforceField(name="F", type=kind), value)
    if form is None:
        return
    quoted = re.fullmatch(r"'(?:[^'\\]|\\.)*'", form.literal, re.DOTALL)
    assert quoted or re.fullmatch(r"[-0-9T:.]+Z?|true|false", form.literal)


def test_what_is_no_id_is_not_asked_for(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    (record,) = made(source, "Id")
    stand_in.control("DELETE", "journal")
    assert source.find("Contact", "Id", ["u-17"], []) == {}
    assert not [e for e in stand_in.journal() if "query" in e["path"]]
    assert source.find("Contact", "Id", [record[:15]], []).keys() == {record[:15]}


def test_what_is_normalised_is_what_is_shown_after_a_write(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    (record,) = made(source, "N")
    values = {
        "Title": "  Chief  ",
        "Email": "Ada@Example.COM",
        "Revenue_90d__c": Decimal("1500.50"),
        "Orders__c": 7,
        "Active__c": True,
        "Last_Seen__c": datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))),
        "Department": "",
    }
    wanted = {f: source.normalise("Contact", f, v) for f, v in values.items()}
    assert source.write("Contact", [RowChange(1, "update", wanted, record_id=record)])[0].ok
    shown = source.read("Contact", [record], list(values))[record]
    assert shown == wanted


@pytest.mark.parametrize(
    ("kind", "value", "form"),
    [
        ("string", "  x ", "x"), ("string", "", None), ("string", None, None),
        ("string", 7.0, "7"), ("string", Decimal("1.50"), "1.5"), ("string", True, "true"),
        ("boolean", None, False), ("boolean", "true", True), ("double", "1.005", 1.01),
        ("double", float("nan"), None), ("currency", 3, 3.0), ("int", "4.4", 4),
        ("date", datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))), "2026-02-28"),
        ("date", date(2026, 3, 1), "2026-03-01"), ("date", "2026-03-01", "2026-03-01"),
        ("datetime", date(2026, 3, 1), "2026-03-01T00:00:00.000+0000"),
        ("datetime", datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00.000+0000"),
        ("multipicklist", "b; a", "a;b"), ("reference", "003D000000QAXt6", "003D000000QAXt6IAH"),
    ],
)  # fmt: skip
def test_forms(kind: str, value: Any, form: Any) -> None:
    field = SalesforceField(name="F", type=kind, scale=2)
    once = normalised(field, value)
    assert once == form
    assert normalised(field, once) == once


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("double", "many"), ("date", "soon"), ("boolean", "perhaps"), ("int", "1e"),
        ("date", "2026-03-01 or so"), ("double", "1e999999999"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_an_error_without_it(kind: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"F takes a {kind}") as caught:
        normalised(SalesforceField(name="F", type=kind), value)
    assert value not in str(caught.value)
