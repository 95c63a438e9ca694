"""Writes by Bulk API 2.0: what calls of 200 would do, in one job."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import BudgetSpent, RowChange, RowOutcome, Unavailable
from cdp_assets.connectors.salesforce import Salesforce
from cdp_assets_tests.connectors.stand_in import StandIn, quick

FIELDS = ["Title", "Department", "Description", "Email", "Revenue_90d__c", "Orders__c",
          "Last_Seen__c", "Active__c", "AccountId", "LeadSource"]  # fmt: skip


def by_jobs(stand_in: StandIn, **more: Any) -> Salesforce:
    return stand_in.salesforce(bulk_write_above=1, **more)


def by_calls(stand_in: StandIn) -> Salesforce:
    return stand_in.salesforce(bulk_write_above=0)


_numbers = itertools.count()


def keyed(row: int, **fields: Any) -> RowChange:
    """A new record with a key of its own."""
    key = f"made-{next(_numbers)}"
    return RowChange(row, "upsert", fields, key_field="CDP_Id__c", key_value=key)


def made(source: Salesforce, count: int, **more: Any) -> list[str]:
    batch = [keyed(i, LastName=f"B{i}", **more) for i in range(count)]
    return [str(o.record_id) for o in source.write("Contact", batch)]


def steps(stand_in: StandIn) -> list[str]:
    """Calls of a job, and of collections, without the job's id."""
    found = []
    for entry in stand_in.journal():
        tail = entry["path"].partition("v62.0/")[2].split("/")
        if tail[0] == "jobs":
            found.append(f"{entry['method']} {'/'.join([tail[1], *tail[3:]])}")
        elif tail[0] == "composite":
            found.append(f"{entry['method']} collections")
    return found


def said(outcomes: Sequence[RowOutcome]) -> list[tuple[int, bool, bool, str | None, str | None]]:
    return [(o.row, o.ok, o.created, o.error_class, o.code) for o in outcomes]


def test_many_rows_go_by_one_job_and_few_by_calls(stand_in: StandIn) -> None:
    source = stand_in.salesforce(bulk_write_above=200)
    assert source.batch_size("Contact") == 10_000
    assert by_calls(stand_in).batch_size("Contact") == 200
    stand_in.control("DELETE", "journal")
    few = made(source, 200)
    assert steps(stand_in) == ["PATCH collections"]
    stand_in.control("DELETE", "journal")
    many = made(source, 201)
    assert steps(stand_in) == [
        "POST ingest", "PUT ingest/batches", "PATCH ingest", "GET ingest", "GET ingest",
        "GET ingest/successfulResults", "GET ingest/failedResults",
        "GET ingest/unprocessedrecords", "DELETE ingest",
    ]  # fmt: skip
    assert len(set(few + many)) == 401


@pytest.mark.parametrize(("above", "rows"), [(0, 200), (500, 1), (500, 450), (500, 501)])
def test_calls_are_told_before(stand_in: StandIn, above: int, rows: int) -> None:
    source = stand_in.salesforce(bulk_write_above=above)
    stand_in.control("POST", "limits", {"salesforce_bulk_polls": 0})
    try:
        made(source, 1)
        stand_in.control("DELETE", "journal")
        made(source, rows)
    finally:
        stand_in.control("POST", "limits", {"salesforce_bulk_polls": 1})
    assert len(steps(stand_in)) == source.calls_for("upsert", rows)


def test_below_the_mark_a_batch_goes_by_calls_of_two_hundred(stand_in: StandIn) -> None:
    source = stand_in.salesforce(bulk_write_above=1_000)
    stand_in.control("DELETE", "journal")
    assert len(set(made(source, 450))) == 450
    assert steps(stand_in) == ["PATCH collections"] * 3


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
good = st.fixed_dictionaries(
    {},
    optional={
        "Title": st.none() | st.just("") | texts,
        "Department": st.none() | texts | st.just("#N/A"),
        "Description": texts.map(lambda text: f'{text}\n"q",\r\n#'),
        "Email": st.sampled_from([None, "", "A@B.example"]),
        "Revenue_90d__c": st.sampled_from([None, "", 0, 1.5, float("nan"), "7.25"]),
        "Orders__c": st.sampled_from([None, 3]),
        "Last_Seen__c": st.sampled_from([None, "2026-03-01T09:00:00.000+0000"]),
        "Active__c": st.booleans(),
        "LeadSource": st.sampled_from([None, "Web"]),
    },
)
wrong = st.sampled_from(
    [{}, {}, {}, {"Orders__c": "x"}, {"Last_Seen__c": "soon"}, {"Email": "no address"},
     {"Revenue_90d__c": 1e30}, {"AccountId": "nonsense"}, {"AccountId": "001000000000001AAA"},
     {"Nope__c": "x"}, {"LastName": None}, {"Title": "x" * 200}, {"Active__c": None},
     {"CreatedDate": "2026-03-01T09:00:00.000+0000"}]
)  # fmt: skip
changes = st.builds(lambda one, other: one | other, good, wrong)


@settings(
    max_examples=20, deadline=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip
@given(st.lists(changes, min_size=3, max_size=12))
def test_the_same_plan_has_the_same_effect_either_way(
    running: StandIn, plan: list[dict[str, Any]]
) -> None:
    first = {"Title": "was", "Department": "was", "Description": "was", "Orders__c": 9}
    shown, outcomes = [], []
    for source in (by_calls(running), by_jobs(running)):
        ids = made(by_calls(running), len(plan), **first)
        batch = [RowChange(i, "update", c, record_id=ids[i]) for i, c in enumerate(plan)]
        outcomes.append(said(source.write("Contact", batch)))
        found = source.read("Contact", ids, FIELDS)
        shown.append([found[key] for key in ids])
    assert outcomes[0] == outcomes[1]
    assert shown[0] == shown[1]


def test_new_records_without_a_key_never_go_by_a_job(stand_in: StandIn) -> None:
    """It would go on when we are gone, and who then looks too early makes them once more."""
    source = by_jobs(stand_in)
    stand_in.control("DELETE", "journal")
    outcomes = source.write(
        "Contact", [RowChange(i, "create", {"LastName": "A"}) for i in range(9)]
    )
    assert all(o.ok and o.created for o in outcomes)
    assert steps(stand_in) == ["POST collections"]
    assert source.calls_for("create", 450) == 3


@pytest.mark.parametrize("op", ["create", "upsert", "delete"])
def test_each_op_has_the_same_effect_either_way(stand_in: StandIn, op: Any) -> None:
    found = []
    for number, source in enumerate((by_calls(stand_in), by_jobs(stand_in))):
        ids = made(source, 6)
        if op == "delete":
            stand_in.control("POST", "salesforce/delete", {"object": "Contact", "id": ids[2]})
            batch = [RowChange(i, op, {}, record_id=key) for i, key in enumerate(ids)]
        else:
            keys = [f"{number}-{n}" for n in ("a", "b", "A", "c", "d", "")]
            key = "CDP_Id__c"
            batch = [
                RowChange(i, op, {"LastName": "same" if i < 5 else None, "Title": "x"},
                          **({"key_field": key, "key_value": k} if op == "upsert" else {}))
                for i, k in enumerate(keys)
            ]  # fmt: skip
        before = stand_in.control("GET", "state")["records"]["salesforce.Contact"]
        outcomes = source.write("Contact", batch)
        after = stand_in.control("GET", "state")["records"]["salesforce.Contact"]
        written = [o.record_id for o in outcomes if o.ok]
        assert len(set(written)) == len(written)
        found.append((said(outcomes), after - before))
    assert found[0] == found[1]


@pytest.mark.parametrize("way", [by_calls, by_jobs])
def test_one_record_twice_in_a_batch_is_an_error_of_the_second_row(
    stand_in: StandIn, way: Any
) -> None:
    key, other = made(by_calls(stand_in), 2)
    ids = [key, key[:15], other]
    batch = [RowChange(i, "update", {"Title": f"t{i}"}, record_id=r) for i, r in enumerate(ids)]
    outcomes = way(stand_in).write("Contact", batch)
    assert [(o.ok, o.code) for o in outcomes] == [
        (True, None), (False, "DUPLICATE_KEY_IN_BATCH"), (True, None),
    ]  # fmt: skip


def test_references_by_external_id_go_either_way(stand_in: StandIn) -> None:
    account = {"Name": "A", "Workspace_Id__c": "ws-bulk"}
    by_calls(stand_in).write("Account", [RowChange(1, "create", account)])
    for source in (by_calls(stand_in), by_jobs(stand_in)):
        fields: dict[str, Any] = {"LastName": "R", "Account": {"Workspace_Id__c": "ws-bulk"}}
        ids = [str(o.record_id) for o in source.write(
            "Contact", [keyed(i, **fields) for i in range(3)])]  # fmt: skip
        assert all(r["AccountId"] for r in source.read("Contact", ids, ["AccountId"]).values())


def test_a_job_that_is_complete_with_every_row_failed_says_so(stand_in: StandIn) -> None:
    source = by_jobs(stand_in)
    ids = made(source, 3)
    batch = [RowChange(i, "update", {"Title": "Ada Lovelace" * 40}, record_id=r)
             for i, r in enumerate(ids)]  # fmt: skip
    outcomes = source.write("Contact", batch)
    assert {(o.ok, o.error_class, o.code) for o in outcomes} == {(False, "data", "STRING_TOO_LONG")}
    assert all("Lovelace" not in str(o) for o in outcomes)


def test_what_a_failed_job_left_is_sent_by_calls(stand_in: StandIn) -> None:
    source = by_jobs(stand_in)
    ids = made(by_calls(stand_in), 30)
    stand_in.control("POST", "limits", {"salesforce_bulk_stop_after": 12})
    stand_in.control("DELETE", "journal")
    batch = [RowChange(i, "update", {"Title": f"t{i}"}, record_id=r) for i, r in enumerate(ids)]
    outcomes = source.write("Contact", batch)
    assert [o.ok for o in outcomes] == [True] * 30
    assert steps(stand_in)[-1] == "PATCH collections"
    shown = source.read("Contact", ids, ["Title"])
    assert [shown[key]["Title"] for key in ids] == [f"t{i}" for i in range(30)]


def test_one_bad_column_does_not_make_good_rows_fail(stand_in: StandIn) -> None:
    """The org fails a whole job for one column that it does not know."""
    source = by_jobs(stand_in)
    ids = made(source, 4)
    source.describe(["Contact"])
    batch = [RowChange(i, "update", {"Title": "x"}, record_id=r) for i, r in enumerate(ids)]
    batch[1] = RowChange(1, "update", {"Title": "x", "Nope__c": 1}, record_id=ids[1])
    outcomes = source.write("Contact", batch)
    assert [(o.ok, o.code) for o in outcomes] == [
        (True, None), (False, "INVALID_FIELD"), (True, None), (True, None),
    ]  # fmt: skip
    # A field that was taken away since the org was described makes a job fail as well.
    known = source._client.fields("Contact")
    known["Gone__c"] = known["Title"]
    batch[1] = RowChange(1, "update", {"Title": "x", "Gone__c": "y"}, record_id=ids[1])
    stand_in.control("DELETE", "journal")
    assert [o.ok for o in source.write("Contact", batch)] == [True, False, True, True]
    assert "POST ingest" in steps(stand_in)


def test_an_object_that_bulk_does_not_take_goes_by_calls(stand_in: StandIn) -> None:
    source = by_jobs(stand_in)
    said = [{"errorCode": "INVALIDENTITY", "message": "not supported by the Bulk API"}]
    stand_in.faults({"match": "jobs/ingest$", "status": 400, "body": said})
    assert len(set(made(source, 5))) == 5
    stand_in.control("DELETE", "journal")
    assert len(set(made(source, 5))) == 5
    assert steps(stand_in) == ["PATCH collections"]


UPLOAD = ("batches$", "PUT")
REQUESTS = [
    ("jobs/ingest$", "POST"), UPLOAD, ("jobs/ingest/[^/]*$", "PATCH"),
    ("jobs/ingest/[^/]*$", "GET"), ("Results$", "GET"), ("records$", "GET"),
]  # fmt: skip
PAGE = {"status": 200, "body": "<html>maintenance</html>"}
FAULTS: list[dict[str, Any]] = [
    {"action": "commit_then_reset"}, {"action": "reset"}, {"status": 503}, {"action": "truncate"},
    PAGE,
]  # fmt: skip


# An upload's answer is empty, so that a proxy's page in its place cannot be told from one.
@pytest.mark.parametrize(
    ("match", "method", "fault"),
    [(*r, f) for r in REQUESTS for f in FAULTS if (r, f) != (UPLOAD, PAGE)],
)
def test_faults_on_the_way_write_each_row_once(
    stand_in: StandIn, match: str, method: str, fault: dict[str, Any]
) -> None:
    source = by_jobs(stand_in)
    source.describe(["Contact"])
    before = stand_in.control("GET", "state")["records"]["salesforce.Contact"]
    stand_in.faults({"match": match, "method": method, **fault})
    batch = [keyed(i, LastName="Once", Title=f"{i % 3}") for i in range(9)]
    outcomes = source.write("Contact", batch)
    assert [o.row for o in outcomes] == list(range(9))
    assert len({o.record_id for o in outcomes if o.ok}) == 9
    after = stand_in.control("GET", "state")["records"]["salesforce.Contact"]
    assert after == before + 9
    shown = source.read("Contact", [str(o.record_id) for o in outcomes], ["Title"])
    assert [shown[str(o.record_id)]["Title"] for o in outcomes] == [f"{i % 3}" for i in range(9)]


def test_an_upload_whose_answers_are_all_lost_writes_nothing(stand_in: StandIn) -> None:
    source = by_jobs(
        stand_in,
    )
    before = stand_in.control("GET", "state")["records"]["salesforce.Contact"]
    stand_in.faults({"match": "batches$", "action": "commit_then_reset", "times": 9})
    with pytest.raises(Unavailable, match="Nothing was written"):
        made(source, 5)
    assert stand_in.control("GET", "state")["records"]["salesforce.Contact"] == before


def test_a_job_of_which_nobody_knows_whether_it_began_is_stopped(stand_in: StandIn) -> None:
    source = by_jobs(stand_in)
    source.describe(["Contact"])
    before = stand_in.control("GET", "state")["records"]["salesforce.Contact"]
    stand_in.faults(
        {"match": "jobs/ingest/[^/]*$", "method": "PATCH", "status": 503, "times": 6},
    )
    with pytest.raises(Unavailable):
        made(source, 5)
    assert steps(stand_in)[-1] == "PATCH ingest"
    assert stand_in.control("GET", "state")["records"]["salesforce.Contact"] == before


def test_a_job_without_end_is_stopped_and_its_rows_go_by_calls(stand_in: StandIn) -> None:
    stand_in.control("POST", "limits", {"salesforce_bulk_polls": 10**6})
    try:
        assert len(set(made(by_jobs(stand_in), 5))) == 5
    finally:
        stand_in.control("POST", "limits", {"salesforce_bulk_polls": 1})
    assert "PATCH collections" in steps(stand_in)


@pytest.mark.parametrize("way", [by_calls, by_jobs])
def test_rows_that_met_a_lock_are_sent_again_alone(stand_in: StandIn, way: Any) -> None:
    source = way(stand_in)
    accounts = [str(o.record_id) for o in source.write(
        "Account", [RowChange(i, "create", {"Name": f"P{i}"}) for i in range(3)])]  # fmt: skip
    stand_in.control("POST", "salesforce/lock", {"id": accounts[1], "times": 3})
    batch = [keyed(i, LastName="C", AccountId=accounts[i % 3]) for i in range(12)]
    assert all(o.ok for o in source.write("Contact", batch))


def test_children_of_one_parent_are_sent_side_by_side(stand_in: StandIn) -> None:
    source = by_calls(stand_in)
    accounts = [str(o.record_id) for o in source.write(
        "Account", [RowChange(i, "create", {"Name": f"P{i}"}) for i in range(3)])]  # fmt: skip
    batch = [RowChange(i, "create", {"LastName": "S", "AccountId": accounts[i % 3]})
             for i in range(9)]  # fmt: skip
    outcomes = source.write("Contact", batch)
    assert [o.row for o in outcomes] == list(range(9))
    # Ids are given in the order in which rows arrive.
    order = sorted(range(9), key=lambda row: str(outcomes[row].record_id))
    assert [accounts[row % 3] for row in order] == sorted(accounts * 3)


@pytest.mark.parametrize(
    ("rule", "allowed", "good"),
    [("warn", False, False), ("warn", True, True), ("block", True, False)],
)
@pytest.mark.parametrize("above", [0, 1])
def test_a_duplicate_rule_is_answered_as_the_user_chose(
    stand_in: StandIn, rule: str, allowed: bool, good: bool, above: int
) -> None:
    email = f"{rule}{allowed}{above}@dup.example"
    (there,) = made(by_calls(stand_in), 1, Email=email)
    stand_in.control("POST", "limits", {"salesforce_duplicate_rule": rule})
    source = stand_in.salesforce(quick(), bulk_write_above=above, save_duplicates=allowed)
    batch = [keyed(1, LastName="D", Email=email), keyed(2, LastName="E")]
    outcome, other = source.write("Contact", batch)
    assert other.ok
    assert outcome.ok is good
    if not good:
        assert (outcome.error_class, outcome.code) == ("conflict", "DUPLICATES_DETECTED")
        assert email not in str(outcome.message)
        if above == 0 or allowed:
            assert there in str(outcome.message)


@pytest.mark.parametrize("way", [by_calls, by_jobs])
def test_an_external_id_of_several_records_is_no_guess(stand_in: StandIn, way: Any) -> None:
    made(by_calls(stand_in), 2, App_User_Id__c=f"twins {way.__name__}")
    keys = [f"twins {way.__name__}", "alone"]
    batch = [
        RowChange(i, "upsert", {"LastName": "U"}, key_field="App_User_Id__c", key_value=key)
        for i, key in enumerate(keys)
    ]
    outcomes = way(stand_in).write("Contact", batch)
    assert [(o.ok, o.error_class, o.code) for o in outcomes] == [
        (False, "conflict", "DUPLICATE_EXTERNAL_ID"), (True, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize("after", range(8))
def test_a_token_that_ends_within_a_job_is_renewed(stand_in: StandIn, after: int) -> None:
    source = by_jobs(stand_in)
    source.describe(["Contact"])
    said = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
    stand_in.faults({"match": "jobs/", "status": 401, "body": said, "after": after})
    assert len(set(made(source, 6))) == 6


def test_where_the_budget_ends_the_rest_is_said_not_to_be_sent(stand_in: StandIn) -> None:
    source = stand_in.salesforce(bulk_write_above=10_000, api_budget=1.0)
    source.describe(["Contact"])
    stand_in.control("POST", "limits", {"salesforce_daily": 100, "salesforce_used": 93})
    batch = [RowChange(i, "create", {"LastName": "B"}) for i in range(900)]
    outcomes = source.write("Contact", batch)
    good = [o for o in outcomes if o.ok]
    assert len(good) in {200, 400}
    assert len(outcomes) == 900
    assert {(o.error_class, o.code) for o in outcomes if not o.ok} == {("retry", "NOT_SENT")}
    with pytest.raises(BudgetSpent):
        source.write("Contact", batch)


def test_two_calls_without_an_answer_end_the_batch(stand_in: StandIn) -> None:
    source = stand_in.salesforce(quick(attempts=1), bulk_write_above=10_000)
    source.describe(["Contact"])
    stand_in.faults({"match": "composite/sobjects", "action": "commit_then_reset", "after": 1,
                     "times": 9})  # fmt: skip
    batch = [RowChange(i, "create", {"LastName": "B"}) for i in range(900)]
    outcomes = source.write("Contact", batch)
    # One call done, two of which nobody knows, the last two not sent.
    assert [o.row for o in outcomes] == [*range(200), *range(600, 900)]
    assert {o.code for o in outcomes if not o.ok} == {"NOT_SENT"}
