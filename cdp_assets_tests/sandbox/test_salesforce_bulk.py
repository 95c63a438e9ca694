"""Bulk API 2.0 of the stand-in org."""

from __future__ import annotations

import csv
import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
