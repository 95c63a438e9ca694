"""Ingest jobs of Bulk API 2.0: a CSV of changes, worked on when its upload is declared complete."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdp_assets.sandbox.clock import Clock, salesforce_time
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.salesforce.bulk_csv import read, written
from cdp_assets.sandbox.salesforce.bulk_query import csv_form, decoded, invalid_job
from cdp_assets.sandbox.salesforce.errors import SalesforceError, not_found
from cdp_assets.sandbox.salesforce.fields import SObject
from cdp_assets.sandbox.salesforce.ids import full_id, make_id
from cdp_assets.sandbox.salesforce.objects import Objects
from cdp_assets.sandbox.tables import Row

LARGEST = 150_000_000
CLEAR = "#N/A"
_DELETES = ("delete", "hardDelete")
_OPERATIONS = ("insert", "update", "upsert", *_DELETES)
_USER = make_id("005", 1)


@dataclass
class IngestJob:
    """One job. good, bad, left: lines of the three results, without their header."""

    id: str
    operation: str
    object: SObject
    key: str | None
    version: str
    delimiter: str
    ending: str
    created: str
    state: str = "Open"
    polls: int = 0
    data: bytes | None = None
    message: str | None = None
    header: list[str] = field(default_factory=list)
    good: list[list[str]] = field(default_factory=list)
    bad: list[list[str]] = field(default_factory=list)
    left: list[list[str]] = field(default_factory=list)


class IngestJobs:
    """The handlers of `/jobs/ingest`; jobs live in memory.

    polls: how often a job is asked for before it is done. stop_after: rows after which jobs fail,
        None for none.
    """

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self.objects = objects
        self.clock = clock
        self.polls = 1
        self.stop_after: int | None = None
        self._jobs: dict[str, IngestJob] = {}
        self._count = 0

    def create(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`POST /jobs/ingest`."""
        body = decoded(request)
        operation = body.get("operation")
        if operation not in _OPERATIONS:
            raise invalid_job(f"Invalid operation: {operation}")
        spec = self.objects.spec(str(body.get("object")))
        if not spec.bulk or not spec.writable:
            raise SalesforceError(
                400, "INVALIDENTITY", f"Entity '{spec.name}' is not supported by the Bulk API."
            )
        key = body.get("externalIdFieldName")
        if operation == "upsert":
            if not key:
                raise invalid_job("External ID was blank for " + spec.name)
            key = self.objects.external_field(spec, str(key)).name
        delimiter, ending = csv_form(body)
        self._count += 1
        job = IngestJob(
            make_id("750", 1_000_000 + self._count), str(operation), spec, key, version, delimiter,
            ending, salesforce_time(self.clock.now()),
        )  # fmt: skip
        self._jobs[job.id] = job
        return Reply(body=self._shown(job, new=True))

    def all(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET /jobs/ingest`."""
        records = [self._shown(job) for job in self._jobs.values()]
        return Reply(body={"done": True, "records": records, "nextRecordsUrl": None})

    def upload(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`PUT /jobs/ingest/<id>/batches`, once a job."""
        job = self._job(match)
        if job.state != "Open":
            raise SalesforceError(400, "INVALIDJOBSTATE", f"the job is {job.state}")
        if len(request.body) > LARGEST:
            raise SalesforceError(413, "REQUEST_ENTITY_TOO_LARGE", "more than 150 MB")
        if job.data is not None:
            raise invalid_job("Found multiple contents for job")
        job.data = request.body
        return Reply(201)

    def get(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET /jobs/ingest/<id>`; each asking brings the job a step on."""
        job = self._job(match)
        if job.state in ("UploadComplete", "InProgress"):
            job.polls += 1
            job.state = "InProgress"
            if job.polls > self.polls:
                self._run(job)
        return Reply(body=self._shown(job))

    def change(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`PATCH /jobs/ingest/<id>`: the upload is complete, or the job is to stop."""
        job = self._job(match)
        state = decoded(request).get("state")
        if state == "UploadComplete" and job.state == "Open":
            job.state = state
        elif state == "Aborted" and job.state in ("Open", "UploadComplete", "InProgress"):
            self._leave(job, "Aborted", None)
        else:
            raise SalesforceError(400, "INVALIDJOBSTATE", f"the job is {job.state}")
        return Reply(body=self._shown(job))

    def delete(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`DELETE /jobs/ingest/<id>`, of a job that is over."""
        job = self._job(match)
        if job.state not in ("JobComplete", "Aborted", "Failed"):
            raise SalesforceError(400, "INVALIDJOBSTATE", f"the job is {job.state}")
        del self._jobs[job.id]
        return Reply(204)

    def results(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET /jobs/ingest/<id>/successfulResults`, `failedResults`, `unprocessedrecords`."""
        job = self._job(match)
        if job.state not in ("JobComplete", "Aborted", "Failed"):
            raise SalesforceError(400, "INVALIDJOBSTATE", f"the job is {job.state}")
        kind = match["kind"].lower()
        lead, lines = {
            "successfulresults": (["sf__Id", "sf__Created"], job.good),
            "failedresults": (["sf__Id", "sf__Error"], job.bad),
            "unprocessedrecords": ([], job.left),
        }[kind]
        # In no order that a caller could rely on.
        body = written(reversed(lines), [*lead, *job.header], job.delimiter, job.ending)
        return Reply(200, body.encode(), rows=len(lines), content_type="text/csv")

    def _run(self, job: IngestJob) -> None:
        try:
            job.header, lines = read(job.data or b"", job.delimiter, job.ending)
            setters = self._columns(job)
        except SalesforceError as error:
            self._leave(job, "Failed", f"{error.code} : {error.message}")
            return
        for at, line in enumerate(lines):
            if self.stop_after is not None and at >= self.stop_after:
                job.left = lines[at:]
                job.state, job.message = "Failed", "TooManyLockFailure : Too many lock failure"
                return
            try:
                key, created = self._row(job, line, setters)
                job.good.append([key, str(created).lower(), *line])
            except SalesforceError as error:
                fields = " ".join(error.fields or ())
                said = f"{error.code}:{error.message}:{fields} --"
                job.bad.append(["", said, *line])
        job.state = "JobComplete"

    def _leave(self, job: IngestJob, state: str, message: str | None) -> None:
        """End a job without working on any row."""
        job.state, job.message = state, message
        try:
            job.header, job.left = read(job.data or b"", job.delimiter, job.ending)
        except SalesforceError:
            job.header, job.left = [], []

    def _columns(self, job: IngestJob) -> Sequence[Callable[[Row, str], None]]:
        """What each cell does to the record; a column that is none fails the whole job."""
        return [self._setter(job, name) for name in job.header]

    def _setter(self, job: IngestJob, name: str) -> Callable[[Row, str], None]:
        link, dot, external = name.partition(".")
        known = job.object.by_name.get(name.lower())
        if not dot and known is not None and (job.operation not in _DELETES or name == "Id"):
            own = known.name

            def put(record: Row, cell: str) -> None:
                record[own] = None if cell == CLEAR else cell

            return put
        if dot and link.lower() in job.object.by_relationship:

            def refer(record: Row, cell: str) -> None:
                record[link] = {external: cell}

            return refer
        raise SalesforceError(400, "InvalidBatch", f"Field name not found : {name}")

    def _row(
        self, job: IngestJob, line: list[str], setters: Sequence[Callable[[Row, str], None]]
    ) -> tuple[str, bool]:
        record: Row = {}
        for cell, put in zip(line, setters, strict=True):
            if cell != "":
                put(record, cell)
        objects, spec = self.objects, job.object
        if job.operation == "insert":
            return objects.create(spec, record), True
        if job.operation == "upsert" and job.key is not None:
            value = record.get(job.key)
            if value is None:
                raise SalesforceError(
                    400, "MISSING_ARGUMENT", f"{job.key} not specified", [job.key]
                )
            key = objects.external_field(spec, job.key)
            rows = objects.by_external_id(spec, key, str(value))
            if len(rows) > 1:
                raise SalesforceError(
                    400, "DUPLICATE_EXTERNAL_ID",
                    f"{job.key}: more than one record found for external id field: "
                    f"[{', '.join(row['Id'] for row in rows)}]", [job.key],
                )  # fmt: skip
            if not rows and key.type != "id":
                return objects.create(spec, record), True
            record = {k: v for k, v in record.items() if k != "Id"}
            objects.update(spec, rows[0]["Id"] if rows else str(value), record)
            return (rows[0]["Id"] if rows else str(value)), False
        found = str(record.pop("Id", None) or "")
        if not found:
            raise SalesforceError(400, "MISSING_ARGUMENT", "Id not specified", ["Id"])
        if job.operation == "update":
            objects.update(spec, found, record)
        else:
            objects.delete(spec, found)
        return full_id(found) or found, False

    def _job(self, match: re.Match[str]) -> IngestJob:
        job = self._jobs.get(match["job"])
        if job is None:
            raise not_found()
        return job

    def _shown(self, job: IngestJob, *, new: bool = False) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": job.id, "operation": job.operation, "object": job.object.name,
            "createdById": _USER, "createdDate": job.created,
            "systemModstamp": salesforce_time(self.clock.now()), "state": job.state,
            "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": float(job.version),
            "contentUrl": f"services/data/v{job.version}/jobs/ingest/{job.id}/batches",
            "lineEnding": job.ending, "columnDelimiter": job.delimiter,
        }  # fmt: skip
        if job.key is not None:
            body["externalIdFieldName"] = job.key
        if new:
            return body
        body |= {
            "jobType": "V2Ingest", "retries": 0, "totalProcessingTime": 0,
            "apiActiveProcessingTime": 0, "apexProcessingTime": 0,
            "numberRecordsProcessed": len(job.good) + len(job.bad),
            "numberRecordsFailed": len(job.bad),
        }  # fmt: skip
        if job.message is not None:
            body["errorMessage"] = job.message
        return body
