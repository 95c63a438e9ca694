"""Writes to SugarCRM: bulk requests, one outcome a row, nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from cdp_assets.connectors.base import (
    ConnectorError,
    RowChange,
    RowOutcome,
    UnknownOutcome,
    WrongObject,
)
from cdp_assets.connectors.sugarcrm import SugarCRM
from cdp_assets_tests.connectors.stand_in import StandIn
from cdp_assets_tests.connectors.test_sugarcrm_pull import call, sign_in


def made(source: SugarCRM, *emails: str, **more: Any) -> list[str]:
    batch = [
        RowChange(i, "create", {"last_name": f"N{i}", "email1": e, **more})
        for i, e in enumerate(emails)
    ]
    outcomes = source.write("Contacts", batch)
    assert all(o.ok and o.created for o in outcomes), outcomes
    return [str(o.record_id) for o in outcomes]


def errors(outcomes: Sequence[RowOutcome]) -> dict[int, str | None]:
    return {o.row: o.error_class for o in outcomes if not o.ok}


def bulks(stand_in: StandIn) -> list[int]:
    return [e["rows"] for e in stand_in.journal() if e["path"].endswith("/bulk")]


def upserts(*pairs: tuple[int, str], **fields: Any) -> list[RowChange]:
    return [
        RowChange(row, "upsert", {"name": "N", **fields}, key_field="sync_key", key_value=key)
        for row, key in pairs
    ]


def addresses(stand_in: StandIn, key: str) -> list[tuple[str, bool, bool]]:
    found = call(stand_in, "GET", f"/Contacts/{key}")["email"]
    return [(e["email_address"], e["primary_address"] == "1", e["opt_out"] == "1") for e in found]


def test_a_batch_is_one_request_and_some_rows_fail(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    assert source.batch_size("Contacts") == 50
    ids = made(source, *[f"row{i}@spush.example" for i in range(50)])
    assert bulks(stand_in) == [50]
    batch = [RowChange(500 + i, "update", {"title": f"T{i}"}, r) for i, r in enumerate(ids)]
    batch[5] = RowChange(5, "update", {"orders_c": "Countess Lovelace"}, record_id=ids[5])
    batch[9] = RowChange(9, "update", {"title": "x"}, record_id="99999999-nope")
    outcomes = source.write("Contacts", batch)
    assert [o.row for o in outcomes] == [c.row for c in batch]
    assert errors(outcomes) == {5: "data", 9: "gone"}
    assert all("Lovelace" not in str(o) for o in outcomes)
    assert bulks(stand_in) == [50, 50]
    shown = source.read("Contacts", ids, ["title"])
    assert [shown[r]["title"] for r in ids[:3]] == ["T0", "T1", "T2"]
    assert shown[ids[5]]["title"] is None


def test_upsert_by_sync_key_creates_once(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    first = source.write("Accounts", upserts((1, "S-1"), (2, "S 2/ä")))
    assert [(o.ok, o.created) for o in first] == [(True, True)] * 2
    again = source.write("Accounts", upserts((1, "S-1"), (2, "S 2/ä"), phone_office="5"))
    assert [(o.record_id, o.created) for o in again] == [(o.record_id, False) for o in first]
    found = source.find("Accounts", "sync_key", ["s-1", "none"], ["phone_office"])
    assert found == {"s-1": [{"id": first[0].record_id, "phone_office": "5"}]}
    twice = source.write("Accounts", upserts((1, "S-3"), (2, "s-3")))
    assert [(o.ok, o.code) for o in twice] == [(True, None), (False, "DUPLICATE_KEY_IN_BATCH")]
    with pytest.raises(WrongObject, match="only by sync_key"):
        source.write("Accounts", [RowChange(1, "upsert", {}, key_field="name", key_value="N")])


def test_a_known_record_gets_its_sync_key(stand_in: StandIn) -> None:
    """The upsert by a key finds no record that has none yet: it would make a second one."""
    source = stand_in.sugarcrm()
    key, other = made(source, "k0@spush.example", "k1@spush.example")
    row = RowChange(1, "update", {"sync_key": "K-9", "title": "T"}, record_id=key)
    outcome, = source.write("Contacts", [row])  # fmt: skip
    assert (outcome.ok, outcome.created, outcome.record_id) == (True, False, key)
    row = RowChange(1, "upsert", {"last_name": "L"}, key_field="sync_key", key_value="K-9")
    again, = source.write("Contacts", [row])  # fmt: skip
    assert (again.record_id, again.created) == (key, False)
    taken = RowChange(1, "update", {"sync_key": "K-9"}, record_id=other)
    assert errors(source.write("Contacts", [taken])) == {1: "conflict"}
    fields = {"last_name": "New", "sync_key": "K-10"}
    first, = source.write("Contacts", [RowChange(1, "create", fields)])  # fmt: skip
    assert first.created
    found = source.find("Contacts", "sync_key", ["K-9", "K-10"], ["last_name"])
    assert {k: v[0]["id"] for k, v in found.items()} == {"K-9": key, "K-10": first.record_id}


def test_deleted_is_deleted_and_twice_is_fine(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    ids = made(source, "d0@spush.example", "d1@spush.example")
    batch = [RowChange(i, "delete", {}, record_id=r) for i, r in enumerate(ids)]
    assert [o.ok for o in source.write("Contacts", batch)] == [True, True]
    assert source.read("Contacts", ids, ["title"]) == {}
    assert [o.ok for o in source.write("Contacts", batch)] == [True, True]


def test_other_addresses_stay_when_the_first_one_changes(stand_in: StandIn) -> None:
    """A written list of addresses replaces the one that is there."""
    source = stand_in.sugarcrm()
    held = [
        {"email_address": "old@spush.example", "primary_address": True},
        {"email_address": "other@spush.example", "opt_out": True},
    ]
    key = call(stand_in, "POST", "/Contacts", {"last_name": "L", "email": held})["id"]

    def change(**fields: Any) -> list[tuple[str, bool, bool]]:
        assert source.write("Contacts", [RowChange(1, "update", fields, record_id=key)])[0].ok
        return addresses(stand_in, key)

    assert change(email1="new@spush.example") == [
        ("new@spush.example", True, False), ("old@spush.example", False, False),
        ("other@spush.example", False, True),
    ]  # fmt: skip
    assert change(email1="OTHER@spush.example")[0] == ("other@spush.example", True, True)
    assert change(email_opt_out=False)[0] == ("other@spush.example", True, False)
    assert change(email1=None) == [
        ("new@spush.example", True, False), ("old@spush.example", False, False)
    ]  # fmt: skip
    found = source.find("Contacts", "email1", ["Old@spush.example"], ["email1"])
    assert found == {"Old@spush.example": [{"id": key, "email1": "new@spush.example"}]}


def test_who_has_opted_out_stays_so_with_a_new_address(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    (key,) = made(source, "out@spush.example", email_opt_out=True)
    for fields in ({"email1": "new@spush.example"}, {"email_opt_out": None}):
        assert source.write("Contacts", [RowChange(0, "update", fields, record_id=key)])[0].ok
        assert source.read("Contacts", [key], ["email_opt_out"])[key]["email_opt_out"] is True
    change = RowChange(0, "update", {"email_opt_out": False}, record_id=key)
    assert source.write("Contacts", [change])[0].ok
    assert source.read("Contacts", [key], ["email_opt_out"])[key]["email_opt_out"] is False


def test_new_records_are_linked(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    account = str(source.write("Accounts", [RowChange(1, "create", {"name": "A"})])[0].record_id)
    links = (("Accounts", account),)
    row = RowChange(1, "create", {"last_name": "L"}, links=links)
    contact = str(source.write("Contacts", [row])[0].record_id)
    assert source.read("Contacts", [contact], ["account_id"])[contact] == {"account_id": account}
    both = (("Accounts", account), ("Contacts", contact))
    fields = {"name": "Viewed pricing", "status": "Planned"}
    task = str(source.write("Tasks", [RowChange(1, "create", fields, links=both)])[0].record_id)
    shown = source.read("Tasks", [task], ["parent_type", "parent_id", "contact_id"])[task]
    assert shown == {"parent_type": "Accounts", "parent_id": account, "contact_id": contact}
    meeting = str(
        source.write("Calls", [RowChange(1, "create", fields, links=both[::-1])])[0].record_id
    )
    linked = call(stand_in, "GET", f"/Calls/{meeting}/link/contacts")["records"]
    assert [r["id"] for r in linked] == [contact]
    linked = ["parent_Accounts", "parent_Contacts", "contact_id", "date_entered"]
    shown = source.read("Calls", [meeting], linked)[meeting]
    made = shown.pop("date_entered")
    assert shown == {"parent_Accounts": account, "parent_Contacts": None, "contact_id": contact}
    assert datetime.fromisoformat(made).tzinfo is not None
    sale = RowChange(1, "create", {"name": "Sale", "amount": 5}, links=both)
    key = str(source.write("Opportunities", [sale])[0].record_id)
    linked = call(stand_in, "GET", f"/Opportunities/{key}/link/contacts")["records"]
    assert [r["id"] for r in linked] == [contact]
    with pytest.raises(WrongObject, match="cannot be linked"):
        source.write("Contacts", [RowChange(1, "create", {}, links=(("Cases", "1"),))])


def test_a_create_that_lost_its_answer_is_not_sent_again(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    source.has_news("Contacts", datetime.now(UTC))
    stand_in.faults({"match": "/bulk", "action": "commit_then_reset"})
    with pytest.raises(UnknownOutcome):
        made(source, "once@spush.example")
    assert len(bulks(stand_in)) == 1
    assert len(source.find("Contacts", "email1", ["once@spush.example"], [])) == 1
    stand_in.faults({"match": "/bulk", "action": "commit_then_reset"})
    assert source.write("Accounts", upserts((1, "once")))[0].ok, "an upsert is sent again"


def test_an_answer_that_is_too_short_leaves_rows_open(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    source.has_news("Contacts", datetime.now(UTC))
    short = [{"status": 200, "contents": {"id": "a"}}]
    stand_in.faults({"match": "/bulk", "status": 200, "body": short, "times": 2})
    rows = [RowChange(i, "create", {"last_name": "L"}) for i in (1, 2)]
    assert [(o.row, o.record_id) for o in source.write("Contacts", rows)] == [(1, "a")]
    rows = [RowChange(i, "update", {"title": "x"}, record_id=str(i)) for i in (1, 2)]
    outcomes = source.write("Contacts", rows)
    assert [(o.ok, o.error_class) for o in outcomes] == [(True, None), (False, "retry")]


def test_statuses_inside_a_bulk_are_told_apart(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    source.has_news("Contacts", datetime.now(UTC))
    kinds = {401: "retry", 403: "permission", 404: "gone", 409: "conflict", 422: "data",
             429: "retry", 500: "retry"}  # fmt: skip
    answers = [{"status": s, "contents": []} for s in kinds]
    stand_in.faults({"match": "/bulk", "status": 200, "body": answers})
    rows = [RowChange(s, "update", {"title": "x"}, record_id=str(s)) for s in kinds]
    assert errors(source.write("Contacts", rows)) == kinds


def test_a_session_that_ends_in_between_is_renewed_once(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    made(source, "s0@spush.example")
    sign_in(stand_in)
    stand_in.control("DELETE", "journal")
    made(source, "s1@spush.example")
    statuses = [e["status"] for e in stand_in.journal()]
    assert statuses.count(401) == 1
    assert bulks(stand_in) == [0, 1]


def test_a_target_list_is_a_list(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm(page_size=2)
    ids = made(source, *[f"l{n}@spush.example" for n in range(5)])
    assert source.list_id("Hot") is None
    key = source.create_list("Hot", "Contacts")
    assert source.list_id("Hot") == key
    stand_in.control("DELETE", "journal")
    outcomes = source.change_members(key, [*ids, "nobody"], [])
    assert errors(outcomes) == {5: "gone"}
    assert bulks(stand_in) == [6]
    assert source.change_members(key, ids[:1], ["nobody"])[1].ok
    members = [one for page in source.list_members(key) for one in page]
    assert sorted(members) == sorted(ids)
    assert all(o.ok for o in source.change_members(key, [], [ids[0], ids[0]]))
    assert ids[0] not in [one for page in source.list_members(key) for one in page]
    call(stand_in, "POST", "/ProspectLists", {"name": "Hot"})
    with pytest.raises(Exception, match="several"):
        source.list_id("Hot")
    with pytest.raises(WrongObject, match="Contacts"):
        source.create_list("Cold", "Accounts")


def test_members_whose_pages_go_in_a_circle_are_an_error_and_not_an_end(
    stand_in: StandIn,
) -> None:
    body = {"next_offset": 1, "records": [{"id": "a"}]}
    stand_in.faults({"match": "/link/contacts", "times": 3, "status": 200, "body": body})
    with pytest.raises(ConnectorError, match="circle"):
        list(stand_in.sugarcrm().list_members("any"))


def test_fields_are_described(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    contacts = source.describe(["Contacts"]).objects["Contacts"].fields
    assert contacts["email1"].type == "email"
    assert contacts["account_id"].references == ("Accounts",)
    assert contacts["last_name"].length == 100
    assert not contacts["last_name"].nullable
    assert contacts["tags_c"].options == ("a", "b", "c")
    assert contacts["sync_key"].external_id
    assert not contacts["date_modified"].createable
    assert "account_name" not in contacts, "the name of another record is no field of this one"
    assert {"Accounts", "Contacts", "ProspectLists"} <= set(source.names())
    accounts = source.describe(["Accounts"]).objects["Accounts"].fields
    assert accounts["account_type"].options[0] == "Analyst"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("orders_c", Decimal("3.0"), 3),
        ("orders_c", "7", 7),
        ("revenue_c", "1000.000000", 1000),
        ("revenue_c", Decimal("12.50"), 12.5),
        ("do_not_call", "1", True),
        ("do_not_call", "0", False),
        ("last_order_c", date(2026, 1, 31), "2026-01-31"),
        ("date_entered", datetime(2026, 1, 31, 1, tzinfo=timezone(timedelta(hours=2))),
         "2026-01-30T23:00:00+00:00"),
        ("date_entered", "2013-09-20T15:10:00-07:00", "2013-09-20T22:10:00+00:00"),
        ("email1", " Ada@X.example ", "ada@x.example"),
        ("title", "", None),
        ("tags_c", "b,a", ["a", "b"]),
        ("tags_c", ["c", "a"], ["a", "c"]),
    ],
)  # fmt: skip
def test_values_take_one_form(stand_in: StandIn, field: str, value: Any, expected: Any) -> None:
    assert stand_in.sugarcrm().normalise("Contacts", field, value) == expected


def test_what_was_written_reads_back_as_it_was_normalised(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    wanted = {
        name: source.normalise("Contacts", name, value)
        for name, value in {
            "orders_c": "7", "revenue_c": "1.50", "do_not_call": True, "last_order_c":
            "2026-03-01", "tags_c": ["b", "a"], "description": " x ",
            "email1": "Back@SPush.example",
        }.items()
    }  # fmt: skip
    key, = made(source, "back@spush.example")  # fmt: skip
    assert source.write("Contacts", [RowChange(1, "update", wanted, record_id=key)])[0].ok
    assert source.read("Contacts", [key], list(wanted))[key] == wanted
    cleared: dict[str, Any] = dict.fromkeys(wanted)
    del cleared["do_not_call"]
    assert source.write("Contacts", [RowChange(1, "update", cleared, record_id=key)])[0].ok
    assert source.read("Contacts", [key], list(cleared))[key] == cleared
