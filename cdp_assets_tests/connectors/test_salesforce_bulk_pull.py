"""Pulls by Bulk API 2.0: the same rows as by REST, and no row lost on the way."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import RowChange, Unavailable
from cdp_assets.connectors.salesforce import Salesforce, bulk_query
from cdp_assets.connectors.salesforce.bulk_rows import BulkRows, fits
from cdp_assets.connectors.salesforce.describe import SalesforceField
from cdp_assets.raw.payload import payload_hash
from cdp_assets_tests.connectors.stand_in import StandIn, quick

START = datetime(2015, 1, 1, tzinfo=UTC)
KEYS = ["record_id", "cursor_at", "op", "merged_into", "payload_hash"]
TEXTS = ("Ada", 'says "yes"', "two\nlines", "a\r\nb\tc", "back\\slash", "#N/A", "null", "0012",
         " kept inside ", "ünï – 日本 🙂", ",;|", "\x07 bell", "'", "1e5", "true")  # fmt: skip


def rows(source: Salesforce, name: str) -> pl.DataFrame:
    end = datetime.now(UTC) + timedelta(days=2)
    pages = []
    for page in source.pull(name, START, end):
        assert page.rows.height
        pages.append(page.rows.with_columns(payload_hash(page.rows["payload"], page.volatile)))
    return pl.concat(pages)


def same(one: pl.DataFrame, two: pl.DataFrame) -> bool:
    return one.select(KEYS).sort("record_id").equals(two.select(KEYS).sort("record_id"))


def paths(stand_in: StandIn) -> list[str]:
    return [f"{e['method']} {e['path'].partition('v62.0')[2]}" for e in stand_in.journal()]


def odd_accounts(source: Salesforce, count: int = 60) -> list[str]:
    """Accounts that hold a value of each kind, odd ones and none."""
    rng = random.Random(7)

    def maybe(value: Any) -> Any:
        return value if rng.random() < 0.7 else None

    def account(number: int) -> dict[str, Any]:
        return {
            "Name": f"Odd {number}",
            "Description": maybe(" ".join(rng.sample(TEXTS, 4))),
            "Website": maybe('https://a.example/?q=a,b&c="d"'),
            "Phone": maybe("+1 (415) 555-0100"),
            "AccountNumber": maybe(rng.choice(TEXTS)),
            "NumberOfEmployees": maybe(rng.randrange(-5, 10**9)),
            "AnnualRevenue": maybe(rng.choice([0, 100, 12345678, 10**15, -7])),
            "MRR__c": maybe(round(rng.uniform(-1e9, 1e9), 2)),
            "Health__c": maybe(rng.choice([0, 0.01, 99.99, 100])),
            "Office__Latitude__s": maybe(rng.uniform(-90, 90)),
            "Office__Longitude__s": maybe(rng.choice([0, -0.000001234, 179.999999999999])),
            "Opens_At__c": maybe("09:30:00.000Z"),
            "Segments__c": maybe("retail;health"),
            "Plan__c": maybe("team"),
            "BillingStreet": maybe("1 High St\nFloor 2"),
            "BillingCity": maybe("Köln"),
        }

    batch = [RowChange(n, "create", account(n)) for n in range(count)]
    outcomes = source.write("Account", batch)
    assert all(o.ok for o in outcomes), [o for o in outcomes if not o.ok][:3]
    return [str(o.record_id) for o in outcomes]


@pytest.mark.parametrize("name", ["Account", "Contact", "Lead", "Opportunity", "Task", "User",
                                  "Subscription__c"])  # fmt: skip
def test_bulk_and_rest_give_the_same_rows(stand_in: StandIn, name: str) -> None:
    rest, bulk = stand_in.salesforce(bulk_above=0), stand_in.salesforce(bulk_above=1)
    if name == "Account":
        odd_accounts(rest)
    if name in {"Account", "Contact", "Lead"}:
        master, loser, gone = rows(rest, name).filter(op="upsert")["record_id"].to_list()[:3]
        stand_in.control(
            "POST", "salesforce/merge", {"object": name, "master": master, "losers": [loser]}
        )
        stand_in.control("POST", "salesforce/delete", {"object": name, "id": gone})
    stand_in.control("DELETE", "journal")
    by_bulk = rows(bulk, name)
    asked = paths(stand_in)
    assert "POST /jobs/query" in asked
    assert asked[-1].startswith("DELETE /jobs/query/")
    by_rest = rows(rest, name)
    assert by_bulk.height > 3
    assert same(by_bulk, by_rest)
    kinds = {"upsert"} if name not in {"Account", "Contact", "Lead"} else {
        "upsert", "delete", "merge"
    }  # fmt: skip
    assert set(by_bulk["op"]) >= kinds
    mine = {r: json.loads(p) for r, p in by_bulk.select("record_id", "payload").rows()}
    theirs = {r: json.loads(p) for r, p in by_rest.select("record_id", "payload").rows()}
    for key, record in mine.items():
        stamps = {k: v.replace("Z", "+0000") for k, v in record.items() if _is_moment(v)}
        assert record | stamps == {k: v for k, v in theirs[key].items() if k != "attributes"}


def _is_moment(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 24 and value.endswith(".000Z")


def test_results_come_page_by_page_and_add_up(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_query, "PAGE", 7)
    source = stand_in.salesforce(bulk_above=1)
    end = datetime.now(UTC) + timedelta(days=2)
    pages = [page.rows for page in source.pull("Contact", START, end)]
    assert {page.height for page in pages[:-1]} == {7}
    assert same(
        pl.concat(pages).with_columns(payload_hash(pl.concat(pages)["payload"])),
        rows(stand_in.salesforce(bulk_above=0), "Contact"),
    )


def test_a_page_holds_fewer_records_of_more_fields(stand_in: StandIn) -> None:
    source = stand_in.salesforce(bulk_above=1)
    list(source.keys("User"))
    rows(source, "Contact")
    asked = [e["query"] for e in stand_in.journal() if e["path"].endswith("/results")]
    sizes = [int(query.partition("maxRecords=")[2].partition("&")[0]) for query in asked]
    assert sizes[0] == 100_000
    assert 2_000 < sizes[-1] < 20_000


def test_a_small_window_costs_one_request_and_no_job(stand_in: StandIn) -> None:
    source = stand_in.salesforce(bulk_above=1_000_000)
    source.describe(["User"])
    stand_in.control("DELETE", "journal")
    assert rows(source, "User").height
    assert [p.partition("?")[0] for p in paths(stand_in)] == ["GET /queryAll"]


def test_a_page_that_lost_rows_is_no_page(stand_in: StandIn) -> None:
    source = stand_in.salesforce(bulk_above=1)
    short = '"Id","SystemModstamp"\n'
    stand_in.faults({"match": "jobs/query/.*/results", "status": 200, "body": short, "times": 99})
    with pytest.raises(Unavailable):
        rows(source, "Contact")


def test_a_job_that_tells_of_more_rows_than_came_is_not_complete(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = bulk_query.JOB

    def told(body: bytes) -> bulk_query.JobInfo:
        return msgspec.structs.replace(decode(body), number_records_processed=4_100_000)

    monkeypatch.setattr(bulk_query, "JOB", told)
    with pytest.raises(Unavailable, match="4100000 records"):
        rows(stand_in.salesforce(bulk_above=1), "User")


@pytest.mark.parametrize(
    "fault",
    [
        {"match": "jobs/query$", "status": 400,
         "body": [{"errorCode": "INVALIDENTITY", "message": "not supported by the Bulk API"}]},
        {"match": "jobs/query$", "status": 403,
         "body": [{"errorCode": "API_DISABLED_FOR_ORG", "message": "not enabled"}]},
        {"match": "jobs/query/[^/]*$", "method": "GET", "status": 200,
         "body": {"id": "750x", "state": "Failed", "errorMessage": "InvalidBatch"}},
    ],
)  # fmt: skip
def test_what_bulk_refuses_is_pulled_by_rest_and_bulk_is_not_asked_again(
    stand_in: StandIn, fault: dict[str, Any]
) -> None:
    source = stand_in.salesforce(bulk_above=1)
    stand_in.faults(fault)
    assert same(rows(source, "Contact"), rows(stand_in.salesforce(bulk_above=0), "Contact"))
    stand_in.control("DELETE", "journal")
    rows(source, "Contact")
    assert "POST /jobs/query" not in paths(stand_in)


def test_a_query_too_slow_for_rest_is_left_to_a_job(stand_in: StandIn) -> None:
    said = [{"errorCode": "QUERY_TIMEOUT", "message": "Your query request ran too long"}]
    slow = {"match": "queryAll$", "status": 400, "body": said}
    stand_in.faults(slow)
    by_bulk = rows(stand_in.salesforce(bulk_above=1_000_000), "Contact")
    assert same(by_bulk, rows(stand_in.salesforce(bulk_above=0), "Contact"))
    stand_in.faults(slow)
    with pytest.raises(Unavailable, match="fewer days"):
        rows(stand_in.salesforce(bulk_above=0), "Contact")


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"action": "reset"}, {"action": "truncate"},
     {"status": 200, "body": "<html>maintenance</html>"}],
)  # fmt: skip
def test_faults_on_the_way_change_nothing(
    stand_in: StandIn, fault: dict[str, Any], times: int
) -> None:
    whole = rows(stand_in.salesforce(bulk_above=0), "Lead")
    stand_in.faults({"match": "jobs/query", "times": times, "after": 1, **fault})
    assert same(rows(stand_in.salesforce(bulk_above=1), "Lead"), whole)


@pytest.mark.parametrize("after", range(5))
def test_a_token_that_ends_within_a_job_is_renewed(stand_in: StandIn, after: int) -> None:
    whole = rows(stand_in.salesforce(bulk_above=0), "Lead")
    said = [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
    stand_in.faults({"match": "jobs/", "status": 401, "body": said, "after": after})
    assert same(rows(stand_in.salesforce(bulk_above=1), "Lead"), whole)


def test_a_job_without_end_is_given_up_and_taken_away(stand_in: StandIn) -> None:
    slept: list[float] = []
    source = stand_in.salesforce(quick(sleep=slept.append), bulk_above=1)
    stand_in.control("POST", "limits", {"salesforce_bulk_polls": 10**6})
    try:
        with pytest.raises(Unavailable, match="2 hours"):
            rows(source, "Contact")
    finally:
        stand_in.control("POST", "limits", {"salesforce_bulk_polls": 1})
    assert 7200 <= sum(slept) < 7300
    assert len(slept) < 300
    assert [p.split("/")[0] for p in paths(stand_in)[-2:]] == ["PATCH ", "DELETE "]


KINDS = {
    "Id": "id", "SystemModstamp": "datetime", "IsDeleted": "boolean", "MasterRecordId": "reference",
    "Text__c": "string", "Long__c": "textarea", "Number__c": "double", "Whole__c": "int",
    "Truth__c": "boolean", "Day__c": "date",
}  # fmt: skip
FIELDS = [SalesforceField(name=name, type=kind) for name, kind in KINDS.items()]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.fixed_dictionaries(
    {
        "Id": st.from_regex(r"003[A-Za-z0-9]{15}", fullmatch=True),
        "SystemModstamp": st.just("2026-01-31T09:00:00.000Z"),
        "IsDeleted": st.booleans(),
        "MasterRecordId": st.none(),
        "Text__c": st.none() | texts.filter(bool),
        "Long__c": st.none() | texts.filter(bool),
        "Number__c": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "Whole__c": st.none() | st.integers(-(2**53), 2**53),
        "Truth__c": st.none() | st.booleans(),
        "Day__c": st.none() | st.dates().map(str),
    }
)


def table(records: list[dict[str, Any]], quoting: Any, end: str) -> bytes:
    def cell(value: Any) -> Any:
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else value

    out = io.StringIO()
    writer = csv.writer(out, quoting=quoting, lineterminator=end)
    writer.writerow(KINDS)
    writer.writerows([[cell(r[name]) for name in KINDS] for r in records])
    return out.getvalue().encode()


@settings(deadline=None)
@given(
    st.lists(values, max_size=8),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_table_is_read_as_its_records(
    records: list[dict[str, Any]], quoting: Any, end: str
) -> None:
    # The writer leaves a lone carriage return bare where lines end otherwise; the org quotes all.
    bare = any("\r" in str(value) for record in records for value in record.values())
    assume(quoting == csv.QUOTE_ALL or not bare)
    frame = BulkRows("x", FIELDS, "SystemModstamp").read(table(records, quoting, end))
    assert [json.loads(p) for p in frame["payload"]] == records
    assert frame["record_id"].to_list() == [r["Id"] for r in records]
    assert (frame["op"] == "delete").to_list() == [r["IsDeleted"] for r in records]
    rest = pl.Series([json.dumps(r | {"attributes": {"type": "x"}}) for r in records],
                     dtype=pl.String)  # fmt: skip
    assert payload_hash(frame["payload"], ("attributes",)).equals(
        payload_hash(rest, ("attributes",))
    )


HEAD = ",".join(KINDS).encode()
GOOD = b"\n003000000000000AAA,2026-01-31T09:00:00.000Z,false,,a,b,1.5,2,true,2026-01-31"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (GOOD.replace(b",a,", b',"a,'), "without its end"),
        (GOOD.replace(b",a,", b',a"a,'), "a quote"),
        (GOOD.replace(b",a,", b',"a"a,'), "columns"),
        (GOOD + b",more", "columns"),
        (GOOD.removesuffix(b",2026-01-31"), "columns"),
        (GOOD.replace(b",2,", b",2,2,"), "none, after 1 rows"),
        (GOOD.replace(b"1.5", b"NaN"), "a number"),
        (GOOD.replace(b"1.5", b"01"), "a number"),
        (GOOD.replace(b"1.5", b"1."), "a number"),
        (GOOD.replace(b"true", b"yes"), "a boolean"),
        (GOOD.replace(b",a,", b",\xff\xfe,"), "UTF-8"),
    ],
)
def test_a_broken_table_is_refused_whole(broken: bytes, said: str) -> None:
    reader = BulkRows("x", FIELDS, "SystemModstamp")
    assert reader.read(HEAD + GOOD).height == 1
    with pytest.raises(Unavailable, match=said):
        reader.read(HEAD + GOOD + broken)


def test_another_table_is_no_answer() -> None:
    reader = BulkRows("x", FIELDS, "SystemModstamp")
    for body in (b"", b"<html>x</html>", b"Id,Other\n", b'{"a": 1}\n'):
        with pytest.raises(msgspec.DecodeError):
            reader.read(body)


def test_fields_whose_type_a_text_does_not_tell_are_left_to_rest() -> None:
    assert fits(FIELDS)
    assert not fits([*FIELDS, SalesforceField(name="OldValue", type="anyType")])
