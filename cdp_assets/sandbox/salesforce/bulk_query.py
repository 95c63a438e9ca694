"""Query jobs of Bulk API 2.0: a query that runs by itself, its rows fetched as CSV."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cdp_assets.sandbox.clock import Clock, salesforce_time
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.salesforce.binding import Column
from cdp_assets.sandbox.salesforce.bulk_csv import DELIMITERS, LINE_ENDINGS, cell, written
from cdp_assets.sandbox.salesforce.errors import SalesforceError, not_found
from cdp_assets.sandbox.salesforce.fields import COMPOUND, SObject
from cdp_assets.sandbox.salesforce.ids import make_id
from cdp_assets.sandbox.salesforce.query import QueryEngine
from cdp_assets.sandbox.salesforce.soql import parse
from cdp_assets.sandbox.tables import Row

_MOST_A_PAGE = 250_000
_LEAST_A_PAGE = 1
_USER = make_id("005", 1)


@dataclass
class QueryJob:
    """One job. rows: the records as they were when it ran; a later change is not seen."""

    id: str
    operation: str
    object: SObject
    version: str
    delimiter: str
    ending: str
    created: str
    query: str
    state: str = "UploadComplete"
    polls: int = 0
    columns: list[Column] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    message: str | None = None


class QueryJobs:
    """The handlers of `/jobs/query`; jobs live in memory.

    polls: how often a job is asked for before it is done. fail: what jobs end with instead of
        rows, None for none. page: rows a page holds where the caller does not say.
    """

    def __init__(self, queries: QueryEngine, clock: Clock) -> None:
        self.queries = queries
        self.clock = clock
        self.polls = 1
        self.fail: str | None = None
        self.page = 50_000
        self._jobs: dict[str, QueryJob] = {}
        self._count = 0

    def create(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`POST /jobs/query`."""
        body = decoded(request)
        operation = body.get("operation")
        if operation not in ("query", "queryAll"):
            raise invalid_job(f"Invalid operation: {operation}")
        text = str(body.get("query") or "")
        delimiter, ending = csv_form(body)
        query = parse(text)
        result = self.queries.run(text, deleted_too=operation == "queryAll")
        spec = result.object
        if not spec.bulk:
            raise SalesforceError(
                400, "INVALIDENTITY", f"Entity '{spec.name}' is not supported by the Bulk API."
            )
        if query.group or query.offset or any(item.aggregate for item in query.selected):
            raise SalesforceError(
                400, "API_ERROR", "Aggregate queries, GROUP BY and OFFSET are not supported in "
                "Bulk Query",
            )  # fmt: skip
        if any(column.kind in COMPOUND for column in result.columns):
            raise SalesforceError(
                400,
                "FUNCTIONALITY_NOT_ENABLED",
                "Selecting compound data not supported in Bulk Query",
            )
        self._count += 1
        # Rows are replaced, never changed in place: references are a snapshot.
        table = self.queries.tables[f"salesforce.{spec.name}"].rows
        job = QueryJob(
            make_id("750", self._count), str(operation), spec, version, delimiter, ending,
            salesforce_time(self.clock.now()), text, columns=result.columns,
            rows=[table[key] for key in result.ids],
        )  # fmt: skip
        self._jobs[job.id] = job
        return Reply(body=self._shown(job, new=True))

    def all(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET /jobs/query`."""
        records = [self._shown(job) for job in self._jobs.values()]
        return Reply(body={"done": True, "records": records, "nextRecordsUrl": None})

    def get(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET /jobs/query/<id>`; each asking brings the job a step on."""
        job = self._job(match)
        if job.state in ("UploadComplete", "InProgress"):
            job.polls += 1
            job.state = "InProgress"
            if job.polls > self.polls and self.fail is not None:
                job.state, job.message, job.rows = "Failed", self.fail, []
            elif job.polls > self.polls:
                job.state = "JobComplete"
        return Reply(body=self._shown(job))

    def change(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`PATCH /jobs/query/<id>`: the one thing to ask for is to stop."""
        job = self._job(match)
        if decoded(request).get("state") != "Aborted":
            raise invalid_job("Invalid state transition")
        if job.state in ("UploadComplete", "InProgress"):
            job.state, job.rows = "Aborted", []
        return Reply(body=self._shown(job))

    def delete(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`DELETE /jobs/query/<id>`, of a job that runs no more."""
        job = self._job(match)
        if job.state == "InProgress":
            raise invalid_job("Cannot delete a job that is in progress")
        del self._jobs[job.id]
        return Reply(204)

    def results(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET /jobs/query/<id>/results`: a page as CSV, the mark of the next in `Sforce-Locator`,
        the text `null` after the last."""
        job = self._job(match)
        self._complete(job, version)
        start = self._start(request.query.get("locator"))
        size = self._size(request)
        rows = job.rows[start : start + size]
        names = [".".join(column.steps) for column in job.columns]
        cells = ([cell(c.kind, c.get(row)) for c in job.columns] for row in rows)
        end = start + len(rows)
        headers = {
            "Sforce-Locator": locator(end) if end < len(job.rows) else "null",
            "Sforce-NumberOfRecords": str(len(rows)),
        }
        body = written(cells, names, job.delimiter, job.ending).encode()
        return Reply(200, body, headers, rows=len(rows), content_type="text/csv")

    def pages(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET /jobs/query/<id>/resultPages`: addresses of up to five pages, to fetch at once."""
        job = self._job(match)
        self._complete(job, version)
        start = self._start(request.query.get("locator"))
        size = self._size(request)
        base = f"/services/data/v{version}/jobs/query/{job.id}"
        starts = list(range(start, max(len(job.rows), 1), size))
        urls = [
            {"resultUrl": f"{base}/results?locator={locator(at)}&maxRecords={size}"}
            for at in starts[:5]
        ]
        body: Row = {"resultPages": urls, "done": len(starts) <= 5}
        if len(starts) > 5:
            rest = f"locator={locator(starts[5])}&maxRecords={size}"
            body["nextRecordsUrl"] = f"{base}/resultPages?{rest}"
        return Reply(body=body)

    def _job(self, match: re.Match[str]) -> QueryJob:
        job = self._jobs.get(match["job"])
        if job is None:
            raise not_found()
        return job

    def _complete(self, job: QueryJob, version: str) -> None:
        if job.version != version:
            raise SalesforceError(409, "API_ERROR", "the job was made with another API version")
        if job.state != "JobComplete":
            raise SalesforceError(400, "INVALIDJOBSTATE", f"the job is {job.state}")

    def _start(self, mark: str | None) -> int:
        if not mark:
            return 0
        found = re.fullmatch(r"MTAw([0-9a-f]+)", mark)
        if found is None:
            raise SalesforceError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return int(found[1], 16)

    def _size(self, request: Request) -> int:
        text = request.query.get("maxRecords", "")
        asked = int(text) if text.isdigit() else self.page
        return max(_LEAST_A_PAGE, min(asked, _MOST_A_PAGE, self.page))

    def _shown(self, job: QueryJob, *, new: bool = False) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": job.id, "operation": job.operation, "object": job.object.name,
            "createdById": _USER, "createdDate": job.created,
            "systemModstamp": salesforce_time(self.clock.now()), "state": job.state,
            "concurrencyMode": "Parallel", "contentType": "CSV", "apiVersion": float(job.version),
            "lineEnding": job.ending, "columnDelimiter": job.delimiter,
        }  # fmt: skip
        if new:
            return body
        body["jobType"] = "V2Query"
        if job.state in ("JobComplete", "Failed"):
            body |= {
                "numberRecordsProcessed": len(job.rows), "retries": 0, "totalProcessingTime": 104,
                "isPkChunkingSupported": True,
            }  # fmt: skip
        if job.message is not None:
            body["errorMessage"] = job.message
        return body


def locator(start: int) -> str:
    """The mark of the page that begins with this row; callers must not read it."""
    return f"MTAw{start:x}"


def decoded(request: Request) -> dict[str, Any]:
    """The body as an object."""
    try:
        body: Any = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise SalesforceError(400, "JSON_PARSER_ERROR", str(error)) from None
    if not isinstance(body, dict):
        raise SalesforceError(400, "JSON_PARSER_ERROR", "an object was expected")
    return body


def csv_form(body: dict[str, Any]) -> tuple[str, str]:
    """Column delimiter and line ending that a job asks for."""
    delimiter, ending = body.get("columnDelimiter", "COMMA"), body.get("lineEnding", "LF")
    if delimiter not in DELIMITERS or ending not in LINE_ENDINGS:
        raise invalid_job("Invalid columnDelimiter or lineEnding")
    if body.get("contentType", "CSV") != "CSV":
        raise invalid_job("Invalid contentType")
    return str(delimiter), str(ending)


def invalid_job(message: str) -> SalesforceError:
    """A job that cannot be."""
    return SalesforceError(400, "INVALIDJOB", f"InvalidJob : {message}")
