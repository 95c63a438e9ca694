"""Writes to Zendesk: jobs that are waited for, one outcome a row, nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest

from cdp_assets.connectors.base import (
    FieldInfo,
    FieldType,
    Refused,
    RowChange,
    RowOutcome,
    UnknownOutcome,
    WrongObject,
)
from cdp_assets.connectors.zendesk import Zendesk
from cdp_assets_tests.connectors.stand_in import StandIn, quick
from cdp_assets_tests.connectors.test_zendesk_pull import call


def made(source: Zendesk, *emails: str, **more: Any) -> list[str]:
    batch = [
        RowChange(i, "create", {"name": f"N{i}", "email": e, **more}) for i, e in enumerate(emails)
    ]
    outcomes = source.write("users", batch)
    assert all(o.ok and o.created for o in outcomes), outcomes
    return [str(o.record_id) for o in outcomes]


def errors(outcomes: Sequence[RowOutcome]) -> dict[int, str | None]:
    return {o.row: o.error_class for o in outcomes if not o.ok}


def sent(stand_in: StandIn, *methods: str) -> list[str]:
    return [e["path"].rpartition("/api/v2")[2] for e in stand_in.journal()
            if e["method"] in (methods or ("POST", "PUT", "DELETE"))]  # fmt: skip


def upserts(*pairs: tuple[int, str], **fields: Any) -> list[RowChange]:
    return [
        RowChange(row, "upsert", {"name": "N", **fields}, key_field="external_id", key_value=key)
        for row, key in pairs
    ]


def test_a_hundred_rows_are_one_job_and_some_of_them_fail(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    ids = made(source, *[f"row{i}@zpush.example" for i in range(100)])
    assert sent(stand_in) == ["/users/create_many.json"]
    stand_in.control("DELETE", "journal")
    batch = [
        RowChange(500 + i, "update", {"phone": f"{i}"}, record_id=r) for i, r in enumerate(ids)
    ]
    batch[5] = RowChange(5, "update", {"role": "Countess Lovelace"}, record_id=ids[5])
    batch[9] = RowChange(9, "update", {"phone": "x"}, record_id="99999999")
    batch[11] = RowChange(11, "update", {"custom_plan": "Countess Lovelace"}, record_id=ids[11])
    outcomes = source.write("users", batch)
    assert [o.row for o in outcomes] == [c.row for c in batch]
    assert errors(outcomes) == {5: "data", 9: "gone", 11: "data"}
    assert all("Lovelace" not in str(o) for o in outcomes)
    assert sent(stand_in) == ["/users/update_many.json"]
    shown = source.read("users", ids, ["phone"])
    assert [shown[r]["phone"] for r in ids[:4]] == ["0", "1", "2", "3"]


def test_an_external_id_is_one_whatever_its_case(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    first, = source.write("users", upserts((1, "Key-A")))  # fmt: skip
    assert (first.ok, first.created) == (True, True)
    second, = source.write("users", upserts((1, "KEY-a"), phone="5"))  # fmt: skip
    assert (second.record_id, second.created) == (first.record_id, False)
    twice = source.write("users", upserts((1, "key-b"), (2, "KEY-B")))
    assert [(o.ok, o.code) for o in twice] == [(True, None), (False, "DUPLICATE_KEY_IN_BATCH")]
    found = source.find("users", "external_id", ["kEy-A", "none", "with,comma"], ["phone"])
    assert found == {"kEy-A": [{"id": first.record_id, "phone": "5"}]}


def test_upserts_work_where_imports_are_off(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    source.write("users", upserts((0, "off-0"), (1, "off-1")))
    stand_in.control("POST", "limits", {"zendesk_imports": False})
    source = stand_in.zendesk()
    stand_in.control("DELETE", "journal")
    rows = upserts((0, "OFF-0"), (1, "off-1"), (2, "off-2"), phone="7")
    outcomes = source.write("users", rows)
    assert [(o.ok, o.created) for o in outcomes] == [(True, False), (True, False), (True, True)]
    assert sent(stand_in) == [
        "/users/create_or_update_many.json",
        "/users/update_many.json",
        "/users/create_or_update.json",
    ]
    stand_in.control("DELETE", "journal")
    source.write("users", rows)
    assert "/users/create_or_update_many.json" not in sent(stand_in), "it is asked for once"
    assert made(source, "off@zpush.example")
    shown = source.find("users", "external_id", ["off-2"], ["phone"])
    assert shown["off-2"][0]["phone"] == "7"


def test_organizations_are_upserted_by_two_jobs(stand_in: StandIn) -> None:
    source = stand_in.zendesk()

    def upsert(*keys: str) -> list[RowOutcome]:
        return source.write("organizations", [
            RowChange(i, "upsert", {"name": f"Org {k.lower()}", "custom_tier": "gold"},
                      key_field="external_id", key_value=k)
            for i, k in enumerate(keys)
        ])  # fmt: skip

    assert [o.created for o in upsert("o1", "o2")] == [True, True]
    stand_in.control("DELETE", "journal")
    outcomes = upsert("O1", "o2", "o3")
    assert [(o.ok, o.created) for o in outcomes] == [(True, False), (True, False), (True, True)]
    assert sent(stand_in) == [
        "/organizations/update_many.json", "/organizations/create_many.json"
    ]  # fmt: skip
    taken = RowChange(1, "create", {"name": "Org o1"})
    assert errors(source.write("organizations", [taken])) == {1: "conflict"}


def test_a_job_is_polled_until_it_ends(stand_in: StandIn) -> None:
    stand_in.control("POST", "limits", {"zendesk_polls": 4})
    slept: list[float] = []
    source = stand_in.zendesk(quick(sleep=slept.append))
    made(source, "polled@zpush.example")
    assert len([s for s in slept if s >= 0.5]) >= 4
    assert slept == sorted(slept), "questions grow rarer"


@pytest.mark.parametrize("status", [404, 500])
def test_a_job_that_nobody_answers_for_is_unknown(stand_in: StandIn, status: int) -> None:
    source = stand_in.zendesk()
    stand_in.faults({"match": "job_statuses", "status": status, "times": 20})
    with pytest.raises(UnknownOutcome, match="ledger"):
        made(source, f"lost{status}@zpush.example")
    stand_in.control("DELETE", "faults")
    assert len(source.find("users", "email", [f"lost{status}@zpush.example"], [])) == 1


def test_a_job_that_does_not_end_is_unknown(stand_in: StandIn) -> None:
    stand_in.control("POST", "limits", {"zendesk_polls": 10_000})
    with pytest.raises(UnknownOutcome, match="not ended in time"):
        made(stand_in.zendesk(job_patience="5s"), "slow@zpush.example")


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({"status": "completed", "results": {"success": True}}, [True, True]),
        ({"status": "completed", "results": {"success": False}}, [False, False]),
        ({"status": "completed", "results": None}, [False, False]),
        ({"status": "failed", "results": None, "message": "no"}, [False, False]),
        ({"status": "completed", "results": [
            {"id": 8, "action": "update", "success": False, "error": "DatabaseConflict",
             "details": "try again"},
            {"id": 7, "action": "update", "success": True, "status": "Updated"},
        ]}, [True, False]),
    ],
)  # fmt: skip
def test_results_may_be_a_list_an_object_or_nothing(
    stand_in: StandIn, job: dict[str, Any], expected: list[bool]
) -> None:
    answer = {"job_status": {"id": "x", "total": 2, "progress": 2, **job}}
    stand_in.faults({"match": "update_many", "status": 200, "body": answer})
    batch = [RowChange(1, "update", {"phone": "1"}, "7"), RowChange(2, "update", {}, "8")]
    outcomes = stand_in.zendesk().write("users", batch)
    assert [o.ok for o in outcomes] == expected
    if job["results"] is None or isinstance(job["results"], list):
        assert {o.error_class for o in outcomes if not o.ok} == {"retry"}


def test_a_failed_row_of_an_upsert_may_be_named_by_its_place_alone(stand_in: StandIn) -> None:
    """As an account answered `create_or_update_many`: neither index nor success."""
    results = [
        {"id": 1900233268488, "status": "Created", "email": "a@zpush.example"},
        {"id": 902860577023, "status": "Updated", "email": "b@zpush.example"},
        {"id": 2, "status": "Failed", "error": "UserUpdateError",
         "details": "Name: Value Boss was not found"},
    ]  # fmt: skip
    job = {"id": "x", "status": "completed", "results": results}
    stand_in.faults({"match": "create_or_update_many", "status": 200, "body": {"job_status": job}})
    batch = [
        RowChange(row, "upsert", {"name": "Boss"}, None, "email", f"{who}@zpush.example")
        for row, who in ((5, "a"), (6, "b"), (7, "c"))
    ]
    outcomes = stand_in.zendesk().write("users", batch)
    assert [(o.row, o.ok, o.created) for o in outcomes] == [
        (5, True, True), (6, True, False), (7, False, False)
    ]  # fmt: skip
    assert (outcomes[2].error_class, outcomes[2].code) == ("data", "UserUpdateError")
    assert outcomes[2].record_id is None


def test_creates_of_a_job_without_results_have_no_outcome(stand_in: StandIn) -> None:
    answer = {"job_status": {"id": "x", "status": "completed", "results": None}}
    stand_in.faults({"match": "create_many", "status": 200, "body": answer})
    assert stand_in.zendesk().write("users", [RowChange(1, "create", {"name": "A"})]) == []


def test_too_many_is_not_success(stand_in: StandIn) -> None:
    slept: list[float] = []
    source = stand_in.zendesk(quick(sleep=slept.append))
    stand_in.faults({"match": "create_many", "status": 429, "headers": {"Retry-After": "11"},
                     "body": {"error": "TooManyJobs"}})  # fmt: skip
    assert len(made(source, "many@zpush.example")) == 1
    assert any(s >= 11 for s in slept)
    assert [e["status"] for e in stand_in.journal() if "create_many" in e["path"]] == [429, 200]


def test_a_create_that_lost_its_answer_is_not_sent_again(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    stand_in.faults({"match": "create_many", "action": "commit_then_reset"})
    with pytest.raises(UnknownOutcome):
        made(source, "once@zpush.example")
    assert sent(stand_in, "POST") == ["/users/create_many.json"]
    assert len(source.find("users", "email", ["once@zpush.example"], [])) == 1


def test_a_batch_that_is_refused_whole_is_halved(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    ids = made(source, "h0@zpush.example", "h1@zpush.example")
    stand_in.faults({"match": "update_many", "status": 422, "times": 2, "body": {
        "error": "RecordInvalid", "description": "Record validation errors"}})  # fmt: skip
    batch = [RowChange(i, "update", {"phone": "9"}, record_id=r) for i, r in enumerate(ids)]
    outcomes = source.write("users", batch)
    assert errors(outcomes) == {0: "data"}
    assert source.read("users", ids, ["phone"])[ids[1]] == {"phone": "9"}


def test_deleted_is_deleted_and_twice_is_fine(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    ids = made(source, "d0@zpush.example", "d1@zpush.example")
    batch = [RowChange(i, "delete", {}, record_id=r) for i, r in enumerate(ids)]
    assert [o.ok for o in source.write("users", batch)] == [True, True]
    assert source.read("users", ids, ["name"]) == {}
    assert [o.ok for o in source.write("users", batch)] == [True, True]
    assert sent(stand_in, "DELETE") == ["/users/destroy_many.json"] * 2
    gone = source.write("users", [RowChange(1, "update", {"phone": "1"}, record_id=ids[0])])
    assert errors(gone) == {1: "gone"}


def test_a_created_ticket_is_linked_and_mails_nobody(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    user, = made(source, "asks@zpush.example")  # fmt: skip
    organization = source.write("organizations", [RowChange(1, "create", {"name": "Linked"})])[0]
    links = (("users", user), ("organizations", str(organization.record_id)))
    fields = {"subject": "Pricing", "description": "Viewed 5 times", "tags": ["sales"]}
    outcome, = source.write("tickets", [RowChange(1, "create", fields, links=links)])  # fmt: skip
    assert outcome.created
    shown = source.read("tickets", [str(outcome.record_id)], ["requester_id", "organization_id"])
    assert shown[str(outcome.record_id)] == {
        "requester_id": int(user), "organization_id": int(str(organization.record_id))
    }  # fmt: skip
    comments = call(stand_in, "GET", f"/tickets/{outcome.record_id}/comments")["comments"]
    assert [(c["body"], c["public"]) for c in comments] == [("Viewed 5 times", False)]
    with pytest.raises(WrongObject, match="linked"):
        source.write("tickets", [RowChange(1, "create", fields, links=(("contacts", "1"),))])


def test_tickets_are_updated_and_not_upserted(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    fields = {"subject": "Old", "description": "x"}
    key = str(source.write("tickets", [RowChange(1, "create", fields)])[0].record_id)
    product = next(
        f.name for f in source.describe(["tickets"]).objects["tickets"].fields.values()
        if f.label == "Product"
    )  # fmt: skip
    change = {"subject": "New", "priority": "high", product: "web"}
    assert source.write("tickets", [RowChange(1, "update", change, record_id=key)])[0].ok
    assert source.read("tickets", [key], list(change))[key] == change
    rows = [RowChange(1, "upsert", {}, key_field="external_id", key_value="1")]
    with pytest.raises(WrongObject, match="upserted"):
        source.write("tickets", rows)


def test_a_tag_is_a_list_and_other_tags_stay(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    ids = made(source, "t0@zpush.example", "t1@zpush.example", tags=["own"])
    tag = source.list_id("Hot Leads") or source.create_list("Hot Leads", "users")
    assert tag == "hot_leads"
    outcomes = source.change_members(tag, [*ids, "999"], [])
    assert errors(outcomes) == {2: "gone"}
    assert [o.record_id for o in outcomes if o.ok] == ids
    assert source.change_members(tag, ids, [])[0].ok, "there already is fine"
    members = [key for page in source.list_members(tag) for key in page]
    assert members == ids
    assert all(o.ok for o in source.change_members(tag, [], [ids[0], "999"]))
    shown = source.read("users", ids, ["tags"])
    assert [shown[i]["tags"] for i in ids] == [["own"], ["hot_leads", "own"]]
    tags = source.describe(["users"]).objects["users"].fields["tags"]
    assert (tags.createable, tags.updateable) == (True, False), "set whole, they would lose others"


def test_users_are_found_by_any_of_their_addresses(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    user, other = made(source, "First@zpush.example", "other@zpush.example")
    call(stand_in, "PUT", f"/users/{user}", {"user": {"email": "second@zpush.example"}})
    asked = ["SECOND@zpush.example", "other@zpush.example", "nobody@zpush.example", "no mail"]
    found = source.find("users", "email", asked, ["email"])
    assert found == {
        "SECOND@zpush.example": [{"id": user, "email": "first@zpush.example"}],
        "other@zpush.example": [{"id": other, "email": "other@zpush.example"}],
    }
    email = source.describe(["users"]).objects["users"].fields["email"]
    assert not email.updateable, "an update would add an address instead of changing it"


def test_fields_that_the_account_added_are_described_and_found_by(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    fields = source.describe(["users"]).objects["users"].fields
    kinds = {n: f.type for n, f in fields.items() if n.startswith("custom_")}
    assert kinds == {
        "custom_customer_id": "string", "custom_orders": "integer", "custom_revenue": "decimal",
        "custom_lapsed": "boolean", "custom_last_order": "date", "custom_plan": "enum",
    }  # fmt: skip
    assert fields["custom_plan"].options == ("free", "team", "enterprise")
    assert fields["external_id"].external_id
    assert not fields["external_id"].case_sensitive
    user, = made(source, "cust@zpush.example", custom_customer_id="C-17")  # fmt: skip
    found = source.find("users", "custom_customer_id", ["c-17"], ["custom_customer_id"])
    assert found == {"c-17": [{"id": user, "custom_customer_id": "C-17"}]}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("custom_orders", Decimal("3.0"), 3),
        ("custom_revenue", Decimal("12.50"), 12.5),
        ("custom_revenue", 1000, 1000),
        ("custom_lapsed", "false", False),
        ("custom_last_order", date(2026, 1, 31), "2026-01-31"),
        ("email", " Ada@X.example ", "ada@x.example"),
        ("phone", "", None),
        ("name", float("nan"), None),
        ("organization_id", "360000000001", 360000000001),
        ("tags", "b,A b", ["a_b", "b"]),
    ],
)
def test_values_take_the_form_in_which_they_are_shown(
    stand_in: StandIn, field: str, value: Any, expected: Any
) -> None:
    assert stand_in.zendesk().normalise("users", field, value) == expected


def test_what_was_written_reads_back_as_it_was_normalised(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    wanted = {
        name: source.normalise("users", name, value)
        for name, value in {
            "custom_orders": "7", "custom_revenue": "1.50", "custom_lapsed": True,
            "custom_last_order": "2026-03-01", "custom_plan": "team", "details": " x ",
        }.items()
    }  # fmt: skip
    user, = made(source, "back@zpush.example")  # fmt: skip
    assert source.write("users", [RowChange(1, "update", wanted, record_id=user)])[0].ok
    assert source.read("users", [user], list(wanted))[user] == wanted
    cleared = dict.fromkeys(wanted)
    assert source.write("users", [RowChange(1, "update", cleared, record_id=user)])[0].ok
    assert source.read("users", [user], list(wanted))[user] == cleared


def test_wrong_names_are_told(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    with pytest.raises(WrongObject, match="custom_"):
        source.normalise("users", "nope", 1)
    with pytest.raises(WrongObject, match="cannot be written"):
        source.write("ticket_comments", [RowChange(1, "update", {}, record_id="1")])
    with pytest.raises(ValueError, match="custom_orders takes a integer"):
        source.normalise("users", "custom_orders", "many")


def test_missing_fields_are_made_once(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    kinds: dict[FieldType, tuple[str, ...]] = {"integer": (), "enum": ("a", "b"), "boolean": ()}
    for kind, options in kinds.items():
        info = FieldInfo(name=f"custom_made_{kind}", type=kind, options=options)
        source.create_field("users", info)
        made_now = source.describe(["users"]).objects["users"].fields[info.name]
        assert (made_now.type, made_now.options) == (kind, options)
        with pytest.raises(Refused, match="DuplicateValue"):
            source.create_field("users", info)
    rows = [RowChange(1, "create", {"name": "N", "custom_made_enum": "b"})]
    assert source.write("users", rows)[0].ok
    for info in (
        FieldInfo(name="plain", type="string"),
        FieldInfo(name="custom_x", type="enum"),
        FieldInfo(name="custom_x", type="reference"),
    ):
        with pytest.raises(WrongObject, match="cannot be made"):
            source.create_field("users", info)
    with pytest.raises(WrongObject, match="cannot be made"):
        source.create_field("tickets", FieldInfo(name="custom_x", type="string"))


def test_no_list_is_read_by_page_numbers(stand_in: StandIn) -> None:
    """Pages by number end at ten thousand records."""
    source = stand_in.zendesk()
    source.describe(["users", "organizations", "tickets"])
    list(source.list_members("hot"))
    source.find("users", "email", ["nobody@zpush.example"], [])
    source.find("organizations", "name", ["Nobody"], [])
    asked = [parse_qs(e["query"]).keys() for e in stand_in.journal()]
    assert len(asked) >= 6
    assert not any("page" in names for names in asked)


def test_what_writes_take_and_may_cost_is_told(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    assert [source.calls_for("create", rows) for rows in (1, 100, 101)] == [2, 2, 4]
    assert source.cost({"users": 5}, {"phone": 5}) == []
    assert "a seat that is billed" in source.cost({}, {"role": 3})[0]
    assert "1,200 new tickets" in source.cost({"tickets": 1200}, {})[0]


def test_deleted_tickets_come_back_and_users_do_not(stand_in: StandIn) -> None:
    client = stand_in.zendesk()
    rows = [RowChange(n, "create", {"subject": f"S{n}", "description": "d"}) for n in range(2)]
    ids = [str(o.record_id) for o in client.write("tickets", rows)]
    gone = [RowChange(n, "delete", {}, record_id=i) for n, i in enumerate(ids)]
    assert all(o.ok for o in client.write("tickets", gone))
    assert client.read("tickets", ids, []) == {}
    assert [o.ok for o in client.restore("tickets", ids)] == [True, True]
    assert set(client.read("tickets", ids, [])) == set(ids)
    assert [o.code for o in client.restore("tickets", ["987654"])] == ["NOT_RESTORED"]
    assert (client.restorable("tickets"), client.restorable("users")) == (True, False)
