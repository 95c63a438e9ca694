"""Writes to HubSpot: one outcome a row, nothing twice, no value in any message."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from cdp_assets.connectors.base import RowChange, RowOutcome, UnknownOutcome, WrongObject
from cdp_assets.connectors.hubspot import HubSpot, HubSpotConfig
from cdp_assets.connectors.hubspot.client import Property
from cdp_assets.connectors.hubspot.forms import normalised
from cdp_assets_tests.connectors.faulty import Answer, Clock, Seen, reply, serve
from cdp_assets_tests.connectors.stand_in import StandIn, quick


def made(source: HubSpot, *emails: str, **more: Any) -> list[str]:
    batch = [RowChange(i, "create", {"email": e, **more}) for i, e in enumerate(emails)]
    return [str(o.record_id) for o in source.write("contacts", batch)]


def errors(outcomes: Sequence[RowOutcome]) -> list[tuple[int, str | None, str | None]]:
    return [(o.row, o.error_class, o.code) for o in outcomes if not o.ok]


def count(stand_in: StandIn) -> int:
    return int(stand_in.control("GET", "state")["records"]["hubspot.contacts"])


def calls(stand_in: StandIn) -> int:
    return sum("/batch/" in e["path"] for e in stand_in.journal())


def test_some_rows_fail_and_the_others_are_written(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    ids = made(source, *[f"row{i}@push.example" for i in range(100)])
    stand_in.control("DELETE", "journal")
    batch = [
        RowChange(500 + i, "update", {"jobtitle": f"T{i}"}, record_id=r) for i, r in enumerate(ids)
    ]
    batch[5] = RowChange(5, "update", {"lifecyclestage": "Countess Lovelace"}, record_id=ids[5])
    batch[7] = RowChange(7, "update", {"nope": "Countess Lovelace"}, record_id=ids[7])
    batch[9] = RowChange(9, "update", {"jobtitle": "x"}, record_id="99999999")
    batch[11] = RowChange(11, "update", {"email": "row12@push.example"}, record_id=ids[11])
    outcomes = source.write("contacts", batch)
    assert [o.row for o in outcomes] == [c.row for c in batch]
    assert {row: kind for row, kind, _ in errors(outcomes)} == {
        5: "data", 7: "mapping", 9: "gone", 11: "conflict"
    }  # fmt: skip
    assert all("Lovelace" not in str(o) and "row12" not in str(o) for o in outcomes)
    shown = source.read("contacts", ids, ["jobtitle"])
    assert [shown[r]["jobtitle"] for r in ids[:4]] == ["T0", "T1", "T2", "T3"]
    assert shown[ids[5]]["jobtitle"] is None
    assert calls(stand_in) < 60


def test_answers_in_another_order_are_told_apart_by_their_trace(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    results = [
        {"id": "9001", "properties": {}, "objectWriteTraceId": "2"},
        {"id": "9003", "properties": {}, "objectWriteTraceId": "1"},
    ]
    failed = {"status": "error", "category": "VALIDATION_ERROR", "message": "Bad.",
              "context": {"objectWriteTraceId": ["3"]}}  # fmt: skip
    body = {"status": "COMPLETE", "results": results, "errors": [failed], "numErrors": 1}
    stand_in.faults({"match": "batch/create", "status": 207, "body": body})
    batch = [RowChange(i, "create", {"email": f"o{i}@push.example"}) for i in (1, 2, 3)]
    outcomes = source.write("contacts", batch)
    assert [(o.row, o.record_id, o.ok) for o in outcomes] == [
        (1, "9003", True), (2, "9001", True), (3, None, False)
    ]  # fmt: skip


def test_upsert_by_a_unique_property_creates_once(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    before = count(stand_in)

    def upsert(title: str) -> list[RowOutcome]:
        batch = [
            RowChange(i, "upsert", {"jobtitle": title}, key_field="customer_id", key_value=f"u{i}")
            for i in range(3)
        ]
        return source.write("contacts", batch)

    first, second = upsert("a"), upsert("b")
    assert [o.created for o in first + second] == [True] * 3 + [False] * 3
    assert [o.record_id for o in first] == [o.record_id for o in second]
    assert count(stand_in) == before + 3
    found = source.find("contacts", "customer_id", ["u1", "zz"], ["jobtitle"])
    assert found == {"u1": [{"id": first[1].record_id, "jobtitle": "b"}]}


@pytest.mark.parametrize("action", ["commit_then_stall", "commit_then_reset"])
def test_a_create_whose_answer_is_lost_is_not_repeated(stand_in: StandIn, action: str) -> None:
    source = stand_in.hubspot(quick(read_timeout=0.5))
    before = count(stand_in)
    stand_in.faults({"match": "batch/create", "action": action, "seconds": 1.5, "times": 9})
    with pytest.raises(UnknownOutcome):
        made(source, f"once-{action}@push.example")
    stand_in.control("DELETE", "faults")
    assert count(stand_in) == before + 1


@pytest.mark.parametrize("action", ["commit_then_stall", "commit_then_reset", "reset", "truncate"])
def test_an_upsert_whose_answer_is_lost_is_repeated_and_makes_one_record(
    stand_in: StandIn, action: str
) -> None:
    source = stand_in.hubspot(quick(read_timeout=0.5))
    before = count(stand_in)
    stand_in.faults({"match": "batch/upsert", "action": action, "seconds": 1.5, "times": 2})
    change = RowChange(1, "upsert", {}, key_field="customer_id", key_value=f"lost-{action}")
    assert source.write("contacts", [change])[0].ok
    assert count(stand_in) == before + 1


def test_a_create_of_one_who_is_there_names_the_record(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    there = made(source, "there@push.example")[0]
    emails = ["new1@push.example", "there@push.example", "new2@push.example"]
    batch = [RowChange(i, "create", {"email": e}) for i, e in enumerate(emails)]
    outcomes = source.write("contacts", batch)
    assert [o.ok for o in outcomes] == [True, False, True]
    assert (outcomes[1].record_id, outcomes[1].error_class) == (there, "conflict")
    assert "there@" not in str(outcomes[1].message)


@pytest.mark.parametrize(
    ("after", "said", "made_there"),
    [
        (2, [(i, True, None) for i in range(4)], 8),
        (1, [(i, False, "NOT_SENT") for i in range(4, 8)], 4),
    ],
)
def test_of_a_refused_batch_s_halves_one_may_get_no_answer(
    stand_in: StandIn, after: int, said: list[tuple[int, bool, str | None]], made_there: int
) -> None:
    source = stand_in.hubspot()
    before = count(stand_in)
    refusal = {"category": "CONFLICT", "message": "one of them is there"}
    stand_in.faults(
        {"match": "batch/create", "status": 409, "body": refusal},
        {"match": "batch/create", "action": "commit_then_reset", "after": after},
    )
    emails = [f"half{after}{i}@push.example" for i in range(8)]
    batch = [RowChange(i, "create", {"email": e}) for i, e in enumerate(emails)]
    outcomes = source.write("contacts", batch)
    assert [(o.row, o.ok, o.code) for o in outcomes] == said
    assert count(stand_in) == before + made_there


def test_what_was_written_of_a_halved_batch_is_known_though_the_rest_is_turned_away(
    stand_in: StandIn,
) -> None:
    source = stand_in.hubspot()
    before = count(stand_in)
    refusal = {"category": "CONFLICT", "message": "one of them is there"}
    stand_in.faults(
        {"match": "batch/create", "status": 409, "body": refusal},
        {"match": "batch/create", "status": 413, "after": 2, "body": {"message": "too large"}},
    )
    batch = [RowChange(i, "create", {"email": f"big{i}@push.example"}) for i in range(8)]
    outcomes = source.write("contacts", batch)
    assert [(o.row, o.ok, o.code) for o in outcomes] == [
        *((i, True, None) for i in range(4)), *((i, False, "NOT_SENT") for i in range(4, 8))
    ]  # fmt: skip
    assert count(stand_in) == before + 4


def test_find_says_every_hit(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    one, other = made(source, "f1@push.example", "f2@push.example", lastname="Findable; Really")
    assert source.find("contacts", "email", ["F1@Push.Example"], ["lastname"]) == {
        "F1@Push.Example": [{"id": one, "lastname": "Findable; Really"}]
    }
    found = source.find("contacts", "lastname", ["findable; really", "nobody"], ["email"])
    assert [r["id"] for r in found["findable; really"]] == [one, other]
    assert found.keys() == {"findable; really"}
    with pytest.raises(WrongObject, match="no property `emial`"):
        source.find("contacts", "emial", ["x"], [])


@pytest.mark.parametrize(
    ("name", "holds", "value"),
    [
        ("orders", "7", "7.0"),
        ("last_seen", "2026-03-01T09:00:00.000Z", "2026-03-01T10:00:00.000000+01:00"),
        ("last_order", "2026-03-01", "2026-03-01"),
        ("city", "Paris", " paris "),
    ],
)
def test_a_value_that_is_none_of_the_property_s_type_finds_nothing(
    stand_in: StandIn, name: str, holds: str, value: str
) -> None:
    source = stand_in.hubspot()
    (record,) = made(source, f"sought-{name}@push.example", **{name: holds})
    found = source.find("contacts", name, [value, "u-17", "1e999999999", "", "soon"], [])
    assert record in [r["id"] for r in found.pop(value)]
    assert found == {}


def test_read_leaves_out_what_is_gone(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    kept, gone = made(source, "r1@push.example", "r2@push.example")
    source._client.http.request("DELETE", f"/crm/v3/objects/contacts/{gone}", what="archive")
    assert source.read("contacts", [kept, gone, "1"], ["city"]) == {kept: {"city": None}}


def test_what_is_normalised_is_what_is_shown_after_a_write(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    (record,) = made(source, "norm@push.example")
    values = {
        "jobtitle": "  Chief  ",
        "email": "Norm2@Push.Example",
        "revenue_90d": Decimal("1500.50"),
        "orders": 7,
        "active": True,
        "last_seen": datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2))),
        "last_order": date(2026, 3, 1),
        "city": "",
    }
    wanted = {f: source.normalise("contacts", f, v) for f, v in values.items()}
    assert source.write("contacts", [RowChange(1, "update", wanted, record_id=record)])[0].ok
    assert source.read("contacts", [record], list(values))[record] == wanted


def remove(source: HubSpot, name: str, *ids: str) -> list[RowOutcome]:
    return source.write(name, [RowChange(n, "delete", {}, record_id=i) for n, i in enumerate(ids)])


@pytest.mark.parametrize("action", [None, "commit_then_reset", "reset"])
def test_what_is_deleted_lies_in_the_archive(stand_in: StandIn, action: str | None) -> None:
    source = stand_in.hubspot()
    one, two, kept = made(source, *[f"bin{action}{i}@push.example" for i in range(3)])
    if action:
        stand_in.faults({"match": "batch/archive", "action": action, "times": 2})
    outcomes = remove(source, "contacts", one, two, "99999999")
    assert [(o.row, o.ok) for o in outcomes] == [(0, True), (1, True), (2, True)]
    assert list(source.read("contacts", [one, two, kept], ["email"])) == [kept]
    assert all(o.ok for o in remove(source, "contacts", one))
    http = source._client.http
    shown = http.request("GET", f"/crm/v3/objects/contacts/{one}?archived=true", what="look")
    assert shown.body["archived"] is True


def test_the_survivor_is_not_deleted_in_place_of_the_merged_one(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    kept, loser = made(source, "kept@merge.example", "loser@merge.example")
    body = {"primaryObjectId": kept, "objectIdToMerge": loser}
    source._client.post("/crm/v3/objects/contacts/merge", body, what="merge")
    stand_in.control("DELETE", "journal")
    assert remove(source, "contacts", loser)[0].ok
    assert [e["path"].rpartition("/")[2] for e in stand_in.journal()] == ["read"]
    assert kept in source.read("contacts", [kept], ["email"])


def test_a_new_record_is_linked_by_the_same_call(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    (contact,) = made(source, "linked@push.example")
    company = str(source.write("companies", [RowChange(1, "create", {"name": "L"})])[0].record_id)
    links = (("contacts", contact), ("companies", company))
    for name, fields in {
        "tasks": {"hs_timestamp": "2026-03-01T09:00:00Z", "hs_task_subject": "Call"},
        "notes": {"hs_timestamp": "2026-03-01T09:00:00Z", "hs_note_body": "Viewed pricing"},
        "calls": {"hs_timestamp": "2026-03-01T09:00:00Z", "hs_call_title": "Hello"},
        "deals": {"dealname": "New"},
        "tickets": {"subject": "Help"},
    }.items():
        batch = [RowChange(n, "create", fields, links=links) for n in range(2)]
        stand_in.control("DELETE", "journal")
        outcomes = source.write(name, batch)
        assert all(o.ok and o.created for o in outcomes), outcomes
        assert sum(e["method"] == "POST" for e in stand_in.journal()) == 1
        for other, key in links:
            shown = source._client.get(
                f"/crm/v4/objects/{name}/{outcomes[0].record_id}/associations/{other}", what="look"
            )
            assert [r["toObjectId"] for r in shown["results"]] == [key]
    stand_in.control("DELETE", "journal")
    source.write("tasks", [RowChange(1, "create", {"hs_timestamp": "1772355600000"}, links=links)])
    assert len(stand_in.journal()) == 1, "association types are asked for once"


@pytest.mark.parametrize("action", [None, "reset", "commit_then_reset"])
def test_an_upserted_record_is_linked_by_one_call_more(
    stand_in: StandIn, action: str | None
) -> None:
    source = stand_in.hubspot()
    (contact,) = made(source, f"upsert-link{action}@push.example")
    batch = [
        RowChange(n, "upsert", {"hs_timestamp": "1772355600000"}, key_field="cdp_marker",
                  key_value=f"m{action}{n}", links=(("contacts", to),))
        for n, to in enumerate([contact, "99999999", contact])
    ]  # fmt: skip
    if action:
        stand_in.faults({"match": "associate/default", "action": action})
    for created in (True, False):
        outcomes = source.write("tasks", batch)
        assert [(o.ok, o.error_class, o.code, o.created) for o in outcomes] == [
            (True, None, None, created), (False, "gone", "NOT_LINKED", created),
            (True, None, None, created),
        ]  # fmt: skip
    path = f"/crm/v4/objects/tasks/{outcomes[2].record_id}/associations/contacts"
    shown = source._client.get(path, what="look")["results"]
    assert [one["toObjectId"] for one in shown] == [contact]
    stand_in.faults({"match": "associate/default", "status": 500, "times": 99})
    outcomes = source.write("tasks", batch[:1])
    assert [(o.ok, o.error_class, o.code) for o in outcomes] == [(False, "retry", "NOT_LINKED")]


def test_a_link_to_who_is_gone_is_the_mistake_of_one_row(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    (contact,) = made(source, "one-link@push.example")
    batch = [
        RowChange(n, "create", {"subject": f"T{n}"}, links=(("contacts", to),))
        for n, to in enumerate([contact, "99999999", contact])
    ]
    outcomes = source.write("tickets", batch)
    assert [(o.row, o.ok, o.error_class) for o in outcomes] == [
        (0, True, None), (1, False, "gone"), (2, True, None)
    ]  # fmt: skip
    with pytest.raises(WrongObject, match="cannot be linked"):
        source.write("tickets", [RowChange(1, "create", {}, links=(("lines", "1"),))])


@pytest.mark.parametrize("op", ["create", "update", "upsert"])
def test_nothing_is_sent_that_is_not_named(op: Any) -> None:
    """The marketing status of contacts, which costs money, no less than anything else."""

    def script(seen: Seen) -> Answer:
        if "/batch/" not in seen.path:
            return reply({"results": []})
        inputs = json.loads(seen.body)["inputs"]
        return reply({"results": [{"id": "7", "objectWriteTraceId": i["objectWriteTraceId"],
                                   "properties": {}} for i in inputs]})  # fmt: skip

    with serve(script) as server:
        config = HubSpotConfig(url=server.url, token=SecretStr("t"), objects=["contacts"])
        source = HubSpot("hubspot", config, options=quick())
        key = {"key_field": "customer_id", "key_value": "c1"} if op == "upsert" else {}
        plain = RowChange(1, op, {"city": "Paris"}, record_id="7", **key)
        assert source.write("contacts", [plain])[0].ok
        named = RowChange(1, op, {"hs_marketable_status": "false"}, record_id="7", **key)
        assert source.write("contacts", [named])[0].ok
    sent = [json.loads(s.body)["inputs"][0]["properties"] for s in server.journal]
    own = {"customer_id": "c1"} if op == "upsert" else {}
    assert sent == [{"city": "Paris"} | own, {"hs_marketable_status": "false"} | own]


def test_what_becomes_a_contact_is_no_marketing_contact(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    ids = made(source, "cost1@push.example", "cost2@push.example")
    change = RowChange(1, "upsert", {}, key_field="customer_id", key_value="cost3")
    ids.append(str(source.write("contacts", [change])[0].record_id))
    source.change_members(source.create_list("Costs nothing", "contacts"), ids, [])
    shown = source.read("contacts", ids, ["hs_marketable_status"])
    assert {row["hs_marketable_status"] for row in shown.values()} == {None}


def test_a_stage_that_moves_back_is_told_not_repeated(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    ids = made(source, *[f"stage{i}@push.example" for i in range(3)], lifecyclestage="customer")
    stages = ["lead", "evangelist", ""]
    batch = [
        RowChange(n, "update", {"lifecyclestage": s or None, "city": "Rome"}, record_id=i)
        for n, (i, s) in enumerate(zip(ids, stages, strict=True))
    ]
    stand_in.control("DELETE", "journal")
    outcomes = source.write("contacts", batch)
    assert errors(outcomes) == [(0, "data", "NOT_TAKEN")]
    assert calls(stand_in) == 2
    shown = source.read("contacts", ids, ["lifecyclestage", "city"])
    assert [(shown[i]["lifecyclestage"], shown[i]["city"]) for i in ids] == [
        ("customer", "Rome"), ("evangelist", "Rome"), (None, "Rome")
    ]  # fmt: skip
    stand_in.faults({"match": "batch/read", "status": 500, "times": 99})
    assert errors(source.write("contacts", batch[1:2])) == []


def test_a_value_that_another_record_holds_names_that_record(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    (holder,) = made(source, "holder@push.example", customer_id="taken-1")
    outcomes = source.write("contacts", [
        RowChange(1, "create", {"email": "h2@push.example", "customer_id": "taken-1"}),
        RowChange(2, "create", {"email": "h3@push.example", "customer_id": "free-1"}),
    ])  # fmt: skip
    first = outcomes[0]
    assert (first.ok, first.error_class, first.record_id) == (False, "conflict", holder)
    assert outcomes[1].ok
    assert holder not in str(outcomes[0].message)


@pytest.mark.parametrize(
    ("fault", "least"),
    [({"status": 423}, 2.0), ({"status": 477, "headers": {"Retry-After": "7"}}, 7.0)],
)
@pytest.mark.parametrize("op", ["create", "update"])
def test_a_locked_or_moving_account_is_waited_for(
    stand_in: StandIn, op: Any, fault: dict[str, Any], least: float
) -> None:
    clock = Clock()
    source = stand_in.hubspot(quick(monotonic=clock, sleep=clock.sleep))
    (record,) = made(source, f"wait-{op}-{least}@push.example")
    stand_in.faults({"match": f"batch/{op}", **fault})
    change = RowChange(1, op, {"city": "Paris"}, record_id=record if op == "update" else None)
    assert source.write("contacts", [change])[0].ok
    assert least <= max(clock.slept) <= least * 1.2


def test_a_rule_of_the_account_s_people_is_the_mistake_of_one_row(stand_in: StandIn) -> None:
    """Since 2026-09 their validation rules hold for writes through the API too."""
    source = stand_in.hubspot()
    one, two = made(source, "rule1@push.example", "rule2@push.example")
    rule = "Phone numbers have to begin with the country's code"
    failed = {"status": "error", "category": "VALIDATION_ERROR", "message": rule,
              "context": {"objectWriteTraceId": ["2"]},
              "errors": [{"message": rule, "code": "PROPERTY_VALIDATION_RULE"}]}  # fmt: skip
    results = [{"id": one, "properties": {}, "objectWriteTraceId": "1"}]
    body = {"status": "COMPLETE", "results": results, "errors": [failed], "numErrors": 1}
    stand_in.faults({"match": "batch/update", "status": 207, "body": body})
    batch = [
        RowChange(n, "update", {"phone": "030 1"}, record_id=i) for n, i in ((1, one), (2, two))
    ]
    outcomes = source.write("contacts", batch)
    assert [(o.ok, o.error_class, o.message) for o in outcomes] == [
        (True, None, None), (False, "data", rule)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "value", "form"),
    [
        (("string", "text"), "  x ", "x"), (("string", "text"), "", None),
        (("bool", "booleancheckbox"), True, "true"), (("bool", "booleancheckbox"), "No", "false"),
        (("enumeration", "booleancheckbox"), False, "false"),
        (("number", "number"), Decimal("1500.50"), "1500.5"), (("number", "number"), 1000, "1000"),
        (("number", "number"), -0.0, "0"), (("number", "number"), float("nan"), None),
        (("date", "date"), datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))),
         "2026-02-28"),
        (("datetime", "date"), datetime(2026, 3, 1, tzinfo=UTC), "2026-03-01T00:00:00.000Z"),
        (("enumeration", "checkbox"), ["b", "a"], "a;b"), (("string", "text"), 7.0, "7"),
    ],
)  # fmt: skip
def test_forms(found: tuple[str, str], value: Any, form: Any) -> None:
    known = Property(name="p", type=found[0], field_type=found[1])
    once = normalised(known, value)
    assert once == form
    assert normalised(known, once) == once
