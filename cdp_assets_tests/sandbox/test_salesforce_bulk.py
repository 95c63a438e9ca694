"""Bulk API 2.0 of the stand-in org."""

from __future__ import annotations

import csv
import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.sandbox.http import Request
from cdp_assets.sandbox.salesforce.bulk_csv import java_double
from cdp_assets_tests.sandbox.conftest import Vendors


def job(vendors: Vendors, query: str, **more: Any) -> dict[str, Any]:
    reply = vendors.sf("POST", "/jobs/query", {"operation": "query", "query": query, **more})
    assert reply.status == 200, reply.body
    return dict(reply.body)


def done(vendors: Vendors, key: str) -> dict[str, Any]:
    for _ in range(10):
        body = vendors.sf("GET", f"/jobs/query/{key}").body
        if body["state"] == "JobComplete":
            return dict(body)
    raise AssertionError(body)


def contacts(vendors: Vendors, count: int) -> list[str]:
    return [
        vendors.sf("POST", "/sobjects/Contact", {"LastName": f"N{n}"}).body["id"]
        for n in range(count)
    ]


def test_a_query_job_runs_and_gives_its_rows_page_by_page(vendors: Vendors) -> None:
    ids = contacts(vendors, 5)
    vendors.sf("PATCH", f"/sobjects/Contact/{ids[0]}", {"Description": 'a "b"\nc,d'})
    made = job(vendors, "SELECT Id, Description, SystemModstamp, HasOptedOutOfEmail FROM Contact")
    assert made["state"] == "UploadComplete"
    early = vendors.sf("GET", f"/jobs/query/{made['id']}/results")
    assert (early.status, early.body[0]["errorCode"]) == (400, "INVALIDJOBSTATE")
    assert vendors.sf("GET", f"/jobs/query/{made['id']}").body["state"] == "InProgress"
    assert done(vendors, made["id"])["numberRecordsProcessed"] == 5
    vendors.sf("PATCH", f"/sobjects/Contact/{ids[0]}", {"Description": "later"})
    rows: list[list[str]] = []
    mark = ""
    sizes = []
    while mark != "null":
        query = {"maxRecords": "2"} | ({"locator": mark} if mark else {})
        reply = vendors.sf("GET", f"/jobs/query/{made['id']}/results", **query)
        header, *page = csv.reader(io.StringIO(reply.encoded().decode(), newline=""))
        assert header == ["Id", "Description", "SystemModstamp", "HasOptedOutOfEmail"]
        assert reply.headers["Sforce-NumberOfRecords"] == str(len(page))
        sizes.append(len(page))
        rows += page
        mark = reply.headers["Sforce-Locator"]
    assert sizes == [2, 2, 1]
    assert [row[0] for row in rows] == ids
    assert rows[0][1:] == ['a "b"\nc,d', "2026-04-01T12:00:00.000Z", "false"]
    assert rows[1][1] == ""
    assert vendors.sf("DELETE", f"/jobs/query/{made['id']}").status == 204
    assert vendors.sf("GET", f"/jobs/query/{made['id']}").status == 404


def test_deleted_records_are_for_query_all(vendors: Vendors) -> None:
    key, *_ = contacts(vendors, 2)
    vendors.sf("DELETE", f"/sobjects/Contact/{key}")
    for operation, count in (("query", 1), ("queryAll", 2)):
        made = job(vendors, "SELECT Id FROM Contact", operation=operation)
        assert done(vendors, made["id"])["numberRecordsProcessed"] == count


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT Id, MailingAddress FROM Contact", "FUNCTIONALITY_NOT_ENABLED"),
        ("SELECT Office__c FROM Account", "FUNCTIONALITY_NOT_ENABLED"),
        ("SELECT COUNT() FROM Contact", "API_ERROR"),
        ("SELECT Id FROM Contact OFFSET 5", "API_ERROR"),
        ("SELECT Nope FROM Contact", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id FROM", "MALFORMED_QUERY"),
    ],
)
def test_what_a_query_job_refuses(vendors: Vendors, query: str, code: str) -> None:
    reply = vendors.sf("POST", "/jobs/query", {"operation": "query", "query": query})
    assert (reply.status, reply.body[0]["errorCode"]) == (400, code)


def test_rest_gives_compound_fields_whole(vendors: Vendors) -> None:
    fields = {"Name": "A", "BillingCity": "Bonn", "Office__Latitude__s": 50.7}
    vendors.sf("POST", "/sobjects/Account", fields)
    made = vendors.query("SELECT Id FROM Account")[0]["Id"]
    assert vendors.sf("GET", f"/sobjects/Account/{made}").body["BillingAddress"]["city"] == "Bonn"
    [row] = vendors.query("SELECT BillingAddress, Office__c, BillingCity FROM Account")
    assert row["BillingAddress"]["city"] == "Bonn"
    assert row["Office__c"] == {"latitude": 50.7, "longitude": None}


def test_a_job_is_stopped_and_its_results_are_of_one_version(vendors: Vendors) -> None:
    made = job(vendors, "SELECT Id FROM Contact")
    stopped = vendors.sf("PATCH", f"/jobs/query/{made['id']}", {"state": "Aborted"})
    assert stopped.body["state"] == "Aborted"
    other = job(vendors, "SELECT Id FROM Contact")
    done(vendors, other["id"])
    pages = vendors.sf("GET", f"/jobs/query/{other['id']}/resultPages")
    assert pages.body["done"] is True


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_are_written_as_java_does(number: float) -> None:
    text = java_double(number)
    assert struct.pack("d", float(text)) == struct.pack("d", number)
    mantissa, _, exponent = text.lstrip("-").partition("E")
    assert "." in mantissa
    if exponent:
        assert 1 <= float(mantissa) < 10
        assert not 1e-3 <= abs(number) < 1e7


@pytest.mark.parametrize(
    ("number", "text"),
    [(100.0, "100.0"), (1e7, "1.0E7"), (12345678.9, "1.23456789E7"), (0.001, "0.001"),
     (0.00012, "1.2E-4"), (-9999999.5, "-9999999.5"), (0.0, "0.0"), (1e23, "1.0E23")],
)  # fmt: skip
def test_known_doubles(number: float, text: str) -> None:
    assert java_double(number) == text


# Ingest


def ingest(vendors: Vendors, operation: str, data: str, **more: Any) -> dict[str, Any]:
    body = {"object": "Contact", "operation": operation, **more}
    made = vendors.sf("POST", "/jobs/ingest", body)
    assert made.status == 200, made.body
    path = f"/jobs/ingest/{made.body['id']}"
    assert upload(vendors, path, data).status == 201
    assert vendors.sf("PATCH", path, {"state": "UploadComplete"}).body["state"] == "UploadComplete"
    for _ in range(10):
        job = vendors.sf("GET", path).body
        if job["state"] in ("JobComplete", "Failed"):
            return {**job, "path": path}
    raise AssertionError(job)


def upload(vendors: Vendors, path: str, data: str) -> Any:
    headers = {"authorization": f"Bearer {vendors.token}", "content-type": "text/csv"}
    full = f"/services/data/v62.0{path}/batches"
    return vendors.salesforce.handle(Request("PUT", full, {}, headers, data.encode(), "http://x"))


def results(vendors: Vendors, job: dict[str, Any], kind: str) -> list[dict[str, str]]:
    text = vendors.sf("GET", f"{job['path']}/{kind}").encoded().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_an_empty_cell_leaves_alone_and_a_mark_clears(vendors: Vendors) -> None:
    one, two = contacts(vendors, 2)
    for key in (one, two):
        vendors.sf("PATCH", f"/sobjects/Contact/{key}", {"Title": "was", "Department": "was"})
    job = ingest(vendors, "update", f"Id,Title,Department\n{one},#N/A,\n{two},,new\n")
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (2, 0)
    shown = {r["Id"]: r for r in vendors.query("SELECT Id, Title, Department FROM Contact")}
    assert (shown[one]["Title"], shown[one]["Department"]) == (None, "was")
    assert (shown[two]["Title"], shown[two]["Department"]) == ("was", "new")


def test_a_job_is_complete_though_rows_failed(vendors: Vendors) -> None:
    job = ingest(vendors, "insert", 'LastName,Email\nA,\n"",b@c.example\nC,none\n')
    assert (job["state"], job["numberRecordsFailed"]) == ("JobComplete", 2)
    bad = {row["LastName"]: row["sf__Error"] for row in results(vendors, job, "failedResults")}
    assert bad[""].startswith("REQUIRED_FIELD_MISSING:")
    assert bad["C"].startswith("INVALID_EMAIL_ADDRESS:")
    assert [r["LastName"] for r in results(vendors, job, "successfulResults")] == ["A"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("LastName,Nope__c\nA,x\n", "Field name not found : Nope__c"),
        ("LastName,Title\nA\n", "does not match"),
        ('LastName\n"A\n', "Failed to parse"),
        ("LastName\r\nA\r\n", "LineEnding"),
        ("", "header row"),
    ],
)
def test_a_table_that_cannot_be_read_fails_the_whole_job(
    vendors: Vendors, data: str, said: str
) -> None:
    job = ingest(vendors, "insert", data)
    assert job["state"] == "Failed"
    assert said in job["errorMessage"]
    assert vendors.query("SELECT Id FROM Contact") == []


def test_a_job_takes_one_upload_and_does_nothing_before_it_is_told_to(vendors: Vendors) -> None:
    made = vendors.sf("POST", "/jobs/ingest", {"object": "Contact", "operation": "insert"}).body
    path = f"/jobs/ingest/{made['id']}"
    assert upload(vendors, path, "LastName\nA\n").status == 201
    assert upload(vendors, path, "LastName\nA\n").status == 400
    for _ in range(5):
        assert vendors.sf("GET", path).body["state"] == "Open"
    assert vendors.sf("PATCH", path, {"state": "Aborted"}).body["state"] == "Aborted"
    assert len(results(vendors, {"path": path}, "unprocessedRecords")) == 1
    assert vendors.query("SELECT Id FROM Contact") == []


def test_a_lock_and_a_duplicate_rule_refuse_rows(vendors: Vendors) -> None:
    account = vendors.sf("POST", "/sobjects/Account", {"Name": "A"}).body["id"]
    vendors.salesforce.objects.locks[account] = 1
    job = ingest(vendors, "insert", f"LastName,AccountId\nA,{account}\nB,{account}\n")
    [bad] = results(vendors, job, "failedResults")
    assert bad["sf__Error"].startswith("UNABLE_TO_LOCK_ROW:")
    vendors.salesforce.objects.duplicate_rule = "warn"
    fields = {"LastName": "D", "Email": "d@d.example"}
    assert vendors.sf("POST", "/sobjects/Contact", fields).status == 201
    refused = vendors.sf("POST", "/sobjects/Contact", fields)
    assert refused.body[0]["errorCode"] == "DUPLICATES_DETECTED"
    assert refused.body[0]["duplicateResult"]["allowSave"] is True
    headers = {"sforce-duplicate-rule-header": "allowSave=true"}
    assert vendors.sf("POST", "/sobjects/Contact", fields, headers=headers).status == 201
