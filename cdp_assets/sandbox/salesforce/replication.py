"""getDeleted and getUpdated: ids of what changed in a span of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from cdp_assets.sandbox.clock import Clock, salesforce_time
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.salesforce.errors import SalesforceError
from cdp_assets.sandbox.salesforce.objects import Objects

_SHORTEST = timedelta(minutes=1)


class Replication:
    """The handler of `/sobjects/<name>/deleted` and `/updated`.

    most: ids an answer holds. kept: how long deletions are remembered; a large log is purged early.
    behind: by how much the log is behind, as a long transaction holds it back: what is deleted
        meanwhile is told later, and `latestDateCovered` says so.
    """

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self.objects = objects
        self.clock = clock
        self.most = 600_000
        self.kept = timedelta(days=15)
        self.behind = timedelta(0)

    def changed(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`GET /sobjects/<name>/deleted|updated?start=…&end=…`."""
        spec = self.objects.spec(match["name"])
        deleted = match["kind"] == "deleted"
        start, end = (_time(request, name) for name in ("start", "end"))
        now = self.clock.now()
        oldest = now - timedelta(days=15 if deleted else 30)
        if end - start <= _SHORTEST or start < oldest:
            raise SalesforceError(
                400, "INVALID_REPLICATION_DATE", "startDate before org replication enabled date"
                if start < oldest else "endDate must be more than a minute after startDate",
            )  # fmt: skip
        upto = min(end, now - self.behind)
        low, high = salesforce_time(start), salesforce_time(upto if self.behind else end)
        rows = [
            row
            for row in self.objects.table(spec).rows.values()
            if bool(row.get("IsDeleted")) is deleted and low <= row["SystemModstamp"] < high
        ]
        if len(rows) > self.most:
            raise SalesforceError(
                400, "EXCEEDED_ID_LIMIT", "too many ids; use a smaller span of time"
            )
        covered = {"latestDateCovered": salesforce_time(upto)}
        if not deleted:
            return Reply(body={"ids": [row["Id"] for row in rows]} | covered, rows=len(rows))
        earliest = now - self.kept
        records = [
            {"id": row["Id"], "deletedDate": row["SystemModstamp"]}
            for row in rows
            if row["SystemModstamp"] >= salesforce_time(earliest)
        ]
        body = {"deletedRecords": records, "earliestDateAvailable": salesforce_time(earliest)}
        return Reply(body=body | covered, rows=len(records))


def _time(request: Request, name: str) -> datetime:
    text = request.query.get(name, "").replace(" ", "+")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise SalesforceError(400, "INVALID_REPLICATION_DATE", f"{name}: bad date") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
