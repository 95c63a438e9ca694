"""Query jobs of Bulk API 2.0: make one, wait for it, fetch its pages, take it away.

Rules: "Create a Query Job", "Get Information About a Query Job" and "Get Results for a Query Job"
in Salesforce's Bulk API 2.0 Developer Guide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from cdp_assets.connectors.base import ConnectorError, NotPermitted, Refused, Unavailable
from cdp_assets.connectors.paging import pages_ahead
from cdp_assets.connectors.salesforce.client import SalesforceClient

T = TypeVar("T")
PAGE = 100_000
"""Records that a page of results holds at most."""
_CELLS = 500_000
"""Cells of a page: some 12 MB, two of which are in memory at once."""
_LEAST = 2_000
LONGEST_WAIT = 2 * 3600.0
_POLLS = (1.0, 30.0)
"""Seconds before a job is asked for again: first, and at most."""


class NotTaken(Exception):
    """Bulk API 2.0 does not take this query, or made nothing of it; REST may. `reason` is what it
    said, in its own codes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class JobInfo(msgspec.Struct, rename="camel"):
    """A job as the org tells of it (what we read of it)."""

    id: str
    state: str = ""
    number_records_processed: int = 0
    number_records_failed: int = 0
    error_message: str = ""


JOB = msgspec.json.Decoder(JobInfo).decode


def wait_for(client: SalesforceClient, path: str, *, what: str) -> JobInfo:
    """The job's last state: JobComplete, Failed or Aborted.

    Raises Unavailable where it does not come within two hours."""
    waited, pause = 0.0, _POLLS[0]
    while True:
        job = client.get(path, what=what, decode=JOB)
        if job.state in {"JobComplete", "Failed", "Aborted"}:
            return job
        if waited >= LONGEST_WAIT:
            raise Unavailable(
                f"{client.name}: {what}: the job is still {job.state[:20]} after "
                f"{LONGEST_WAIT / 3600:.0f} hours. A later run makes a new one."
            )
        client.options.sleep(pause)
        waited += pause
        pause = min(pause * 1.5, _POLLS[1])


def query_pages(
    client: SalesforceClient,
    soql: str,
    read: Callable[[bytes], T],
    count: Callable[[T], int],
    *,
    columns: int,
    what: str,
) -> Iterator[T]:
    """What `read` makes of each page of the query's results, deleted and archived records too.
    columns: how many fields it selects.

    Raises NotTaken before the first page where the org wants no such job; Unavailable where the
    pages hold another number of records than the job says.
    """
    try:
        made = client.send(
            "POST",
            "/jobs/query",
            {"operation": "queryAll", "query": soql, "contentType": "CSV",
             "columnDelimiter": "COMMA", "lineEnding": "LF"},
            what=what,
            # A second job of one query costs time, and changes nothing.
            repeatable=True,
            decode=JOB,
        )  # fmt: skip
    except Refused as refused:
        raise NotTaken(", ".join(refused.codes) or str(refused.status)) from None
    except NotPermitted:
        raise NotTaken("not permitted") from None
    path = f"/jobs/query/{made.id}"
    done = False
    try:
        job = wait_for(client, path, what=what)
        if job.state != "JobComplete":
            done = True
            raise NotTaken(f"job {job.state}")
        total = 0
        size = min(PAGE, max(_LEAST, _CELLS // columns))
        for page in _results(client, path, read, count, size, what):
            total += count(page)
            yield page
        if total != job.number_records_processed:
            raise Unavailable(
                f"{client.name}: {what}: the job tells of {job.number_records_processed} records, "
                f"and its pages hold {total}. The window counts as not read; a later run reads it "
                "again."
            )
        done = True
    finally:
        _remove(client, path, what, running=not done)


def _results(
    client: SalesforceClient,
    path: str,
    read: Callable[[bytes], T],
    count: Callable[[T], int],
    size: int,
    what: str,
) -> Iterator[T]:
    def fetch(locator: str | None) -> tuple[T, str | None]:
        params = {"maxRecords": str(size)} | ({"locator": locator} if locator else {})
        reply = client.reply(
            f"{path}/results", what=what, decode=read, params=params, accept="text/csv"
        )
        said = reply.headers.get("Sforce-NumberOfRecords", "")
        if said.isdigit() and int(said) != count(reply.body):
            raise Unavailable(
                f"{client.name}: {what}: a page of {said} records holds {count(reply.body)}. "
                "It was not taken; a later run asks again."
            )
        following = reply.headers.get("Sforce-Locator", "")
        return reply.body, None if following in {"", "null"} else following

    return pages_ahead(f"{client.name}: {what}", fetch)


def _remove(client: SalesforceClient, path: str, what: str, *, running: bool) -> None:
    """Free what the org keeps of the job; it goes by itself after a week, so a failure is none."""
    with contextlib.suppress(ConnectorError):
        if running:
            client.send("PATCH", path, {"state": "Aborted"}, what=what, repeatable=True)
        client.delete(path, what=what)
