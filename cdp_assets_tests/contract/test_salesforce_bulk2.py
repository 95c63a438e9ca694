"""Bulk API 2.0 of the stand-in: driven by simple-salesforce, judged by published bodies."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jsonschema import Draft7Validator
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceError,
    SalesforceOperationError,
)

from cdp_assets_tests.contract.test_public_clients import PlainHttp, login
from cdp_assets_tests.sandbox.running import Running


@pytest.fixture(scope="module")
def sf(sandbox: Running) -> Salesforce:
    return login(sandbox)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def held(sf: Salesforce, where: str) -> list[dict[str, Any]]:
    return list(sf.query_all(f"SELECT Id, LastName, Title FROM Contact WHERE {where}")["records"])


def test_simple_salesforce_queries_page_by_page(sf: Salesforce) -> None:
    soql = "SELECT Id, Name, SystemModstamp FROM Contact"
    pages = list(sf.bulk2.Contact.query(soql, max_records=50, wait=0))
    rows = [row for page in pages for row in table(page)]
    assert len(pages) > 2
    assert {len(table(page)) for page in pages[:-1]} == {50}
    expected = {r["Id"]: r["Name"] for r in sf.query_all(soql)["records"]}
    assert {row["Id"]: row["Name"] for row in rows} == expected
    assert len(rows) == len(expected)
    every = [row for page in sf.bulk2.Contact.query_all(soql, wait=0) for row in table(page)]
    assert len(every) >= len(rows)


def test_simple_salesforce_is_refused_what_bulk_does_not_take(sf: Salesforce) -> None:
    with pytest.raises(SalesforceError, match="compound data not supported"):
        list(sf.bulk2.Contact.query("SELECT MailingAddress FROM Contact", wait=0))
    with pytest.raises(SalesforceError, match="INVALIDENTITY"):
        list(sf.bulk2.Group.query("SELECT Id FROM Group", wait=0))


def test_simple_salesforce_inserts_updates_upserts_and_deletes(sf: Salesforce) -> None:
    people = [{"LastName": f"Bulk {n}", "Title": 'a "b",\nc'} for n in range(450)]
    jobs = sf.bulk2.Contact.insert(records=people, batch_size=200, wait=0)
    assert [job["numberRecordsProcessed"] for job in jobs] == [200, 200, 50]
    assert [job["numberRecordsFailed"] for job in jobs] == [0, 0, 0]
    good = table(sf.bulk2.Contact.get_successful_records(jobs[0]["job_id"]))
    assert {row["sf__Created"] for row in good} == {"true"}
    found = held(sf, "LastName LIKE 'Bulk %'")
    assert len(found) == 450
    assert {row["Title"] for row in found} == {'a "b",\nc'}

    ids = [row["Id"] for row in found]
    update = [{"Id": key, "Title": "#N/A" if n % 2 else "Chief"} for n, key in enumerate(ids)]
    assert sf.bulk2.Contact.update(records=update, wait=0)[0]["numberRecordsFailed"] == 0
    titles = {row["Id"]: row["Title"] for row in held(sf, "LastName LIKE 'Bulk %'")}
    assert titles == {key: None if n % 2 else "Chief" for n, key in enumerate(ids)}

    keyed = [{"CDP_Id__c": f"bulk2-{n}", "LastName": "Keyed"} for n in range(3)]
    for created in ("true", "false"):
        [job] = sf.bulk2.Contact.upsert(records=keyed, external_id_field="CDP_Id__c", wait=0)
        good = table(sf.bulk2.Contact.get_successful_records(job["job_id"]))
        assert [row["sf__Created"] for row in good] == [created] * 3

    gone = [{"Id": key} for key in ids]
    assert sf.bulk2.Contact.delete(records=gone, wait=0)[0]["numberRecordsProcessed"] == 450
    assert held(sf, "LastName LIKE 'Bulk %'") == []


def test_simple_salesforce_reads_what_failed(sf: Salesforce) -> None:
    rows = [{"LastName": "Good", "Email": "good@bulk.example"}, {"LastName": "Bad", "Email": "no"}]
    [job] = sf.bulk2.Contact.insert(records=rows, wait=0)
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (2, 1)
    [bad] = table(sf.bulk2.Contact.get_failed_records(job["job_id"]))
    assert (bad["LastName"], bad["sf__Id"]) == ("Bad", "")
    assert bad["sf__Error"].startswith("INVALID_EMAIL_ADDRESS:")
    assert bad["sf__Error"].endswith(":Email --")
    [good] = table(sf.bulk2.Contact.get_successful_records(job["job_id"]))
    assert good["LastName"] == "Good"
    assert table(sf.bulk2.Contact.get_unprocessed_records(job["job_id"])) == []


def test_one_unknown_column_fails_a_whole_job(sf: Salesforce) -> None:
    rows = [{"LastName": "Whole", "Nope__c": "x"}]
    with pytest.raises(SalesforceOperationError, match="InvalidBatch : Field name not found"):
        sf.bulk2.Contact.insert(records=rows, wait=0)
    assert held(sf, "LastName = 'Whole'") == []


def request(sandbox: Running, method: str, path: str, **more: Any) -> Any:
    reply = sandbox.salesforce(method, f"/jobs{path}", **more)
    assert reply.status_code < 300, reply.text
    return reply.json() if reply.content and "json" in reply.headers["content-type"] else reply


def test_jobs_are_told_as_published(sandbox: Running, specs: Path) -> None:
    folder = specs / "salesforce"
    samples = json.loads((folder / "bulk2_samples.json").read_bytes())
    schema = json.loads((folder / "bulk2_result.schema.json").read_bytes())
    job_schema = {"definitions": schema["definitions"], "$ref": "#/definitions/JobInfoV2"}
    ask = {"object": "Contact", "operation": "upsert", "externalIdFieldName": "CDP_Id__c",
           "contentType": "CSV", "lineEnding": "LF"}  # fmt: skip
    made = request(sandbox, "POST", "/ingest", json=ask)
    states = [made]
    path = f"/ingest/{made['id']}"
    data = '"CDP_Id__c","LastName"\n"told-1","X"\n"told-2",""\n'
    sent = request(sandbox, "PUT", f"{path}/batches", data=data,
                   headers={"Content-Type": "text/csv"})  # fmt: skip
    assert (sent.status_code, sent.text) == (201, "")
    states.append(request(sandbox, "PATCH", path, json={"state": "UploadComplete"}))
    while states[-1]["state"] not in ("JobComplete", "Failed"):
        states.append(request(sandbox, "GET", path))
    bodies = [s for s in samples["ingest"] if isinstance(s["body"], dict)]
    assert [s["state"] for s in states] == [b["body"]["state"] for b in bodies]
    for mine, theirs in zip(states, bodies, strict=True):
        # A made job has no `jobType` yet in Salesforce's own examples.
        assert theirs["body"].keys() - {"jobType"} <= mine.keys()
    Draft7Validator(job_schema).validate(states[-1])
    for kind, sample in (("successfulResults", samples["ingest"][-2]),
                         ("failedResults", samples["ingest"][-1])):  # fmt: skip
        reply = sandbox.salesforce("GET", f"/jobs{path}/{kind}")
        assert reply.headers["content-type"].startswith("text/csv")
        lead = reply.text.splitlines()[0].split(",")[:2]
        assert lead == sample["body"].splitlines()[0].split(",")[:2]
    records = schema["definitions"]["BulkProcessedRecordV2"]
    for row in table(sandbox.salesforce("GET", f"/jobs{path}/successfulResults").text):
        Draft7Validator(records).validate(row)


def test_query_jobs_are_told_as_published(sandbox: Running, specs: Path) -> None:
    samples = json.loads((specs / "salesforce" / "bulk2_samples.json").read_bytes())["query"]
    ask = {"operation": "query", "query": "SELECT Id, AccountId, Email FROM Contact LIMIT 4"}
    made = request(sandbox, "POST", "/query", json=ask)
    states = [made]
    while states[-1]["state"] not in ("JobComplete", "Failed"):
        states.append(request(sandbox, "GET", f"/query/{made['id']}"))
    bodies = [s["body"] for s in samples[:-1]]
    assert [s["state"] for s in states] == [b["state"] for b in bodies]
    for mine, theirs in zip(states, bodies, strict=True):
        # How many there are is told when all are there.
        late = set() if mine["state"] == "JobComplete" else {"numberRecordsProcessed"}
        assert theirs.keys() - late <= mine.keys()
        assert all(type(mine[key]) is type(theirs[key]) for key in theirs.keys() & mine.keys())
    reply = sandbox.salesforce("GET", f"/jobs/query/{made['id']}/results")
    assert (
        reply.headers["Sforce-NumberOfRecords"] == samples[-1]["headers"]["Sforce-NumberOfRecords"]
    )
    assert reply.headers["Sforce-Locator"] == "null"
    # Everything in quotes, line feeds, a line feed at the end.
    for text in (reply.text, samples[-1]["body"]):
        assert text.endswith('"\n')
        assert all(line.startswith('"') and line.endswith('"') for line in text.splitlines())


@pytest.mark.filterwarnings("ignore:.*self-authorize:UserWarning")
@pytest.mark.parametrize("host", ["login", "test"])
def test_simple_salesforce_signs_in_by_a_private_key(sandbox: Running, host: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = {"public_key": public.decode(), "usernames": ["sync@fathom.example"]}
    sandbox.control("POST", "salesforce/certificate", body)

    def enter(username: str) -> Salesforce:
        session = requests.Session()
        session.mount("https://", PlainHttp(sandbox.url))
        return Salesforce(
            username=username, consumer_key=sandbox.system("salesforce")["client_id"],
            privatekey=private, domain=host, session=session,
        )  # fmt: skip

    assert enter("sync@fathom.example").query("SELECT COUNT() FROM Contact")["totalSize"] > 0
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid_grant"):
        enter("nobody@fathom.example")
