"""What marketing leaves behind: events of its e-mails, forms and what was sent in with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.hubspot.errors import HubSpotError, not_found
from cdp_assets.sandbox.tables import Row, Tables

EVENTS, FORMS, SUBMISSIONS = "hubspot.email_events", "hubspot.forms", "hubspot.submissions"


class Marketing:
    """The handlers of the older marketing APIs. They only read: `seed` puts in what there is."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def routes(self) -> list[tuple[str, str, Callable[[Request, re.Match[str]], Reply]]]:
        """(method, path, handler) of each endpoint."""
        return [
            ("GET", "/email/public/v1/events", self._events),
            ("GET", "/marketing/v3/forms", self._forms),
            ("GET", "/form-integrations/v1/submissions/forms/(?P<form>[^/]+)", self._submissions),
        ]

    def seed(self, found: Mapping[str, list[Row]]) -> None:
        """Put in events ({id, created, type, recipient …}), forms ({id, name}) and submissions
        ({conversionId, form, submittedAt, values})."""
        for name, table, key in (
            ("email_events", EVENTS, "id"),
            ("forms", FORMS, "id"),
            ("submissions", SUBMISSIONS, "conversionId"),
        ):
            for row in found.get(name, ()):
                self.tables.put(table, str(row[key]), row)
        self.tables.commit()

    def _events(self, request: Request, match: re.Match[str]) -> Reply:
        query = request.query
        limit, start = int(query.get("limit") or 10), int(query.get("offset") or 0)
        if not 1 <= limit <= 1_000:
            raise HubSpotError(400, "VALIDATION_ERROR", "limit is at most 1000")
        low, high = query.get("startTimestamp"), query.get("endTimestamp")
        rows = [
            row
            for row in self.tables[EVENTS].rows.values()
            if (low is None or row["created"] >= int(low))
            and (high is None or row["created"] <= int(high))
            and query.get("eventType") in (None, row["type"])
        ]
        rows.sort(key=lambda row: (-row["created"], row["id"]))
        page = rows[start : start + limit]
        body = {"hasMore": start + limit < len(rows), "offset": str(start + limit), "events": page}
        return Reply(body=body, rows=len(page))

    def _forms(self, request: Request, match: re.Match[str]) -> Reply:
        rows = list(self.tables[FORMS].rows.values())
        shown = [{"formType": "hubspot", "archived": False, **row} for row in rows]
        return _page(request, shown, 50, 500)

    def _submissions(self, request: Request, match: re.Match[str]) -> Reply:
        if self.tables[FORMS].get(match["form"]) is None:
            raise not_found()
        rows = [r for r in self.tables[SUBMISSIONS].rows.values() if r["form"] == match["form"]]
        rows.sort(key=lambda row: (-row["submittedAt"], row["conversionId"]))
        shown = [{k: v for k, v in row.items() if k != "form"} for row in rows]
        return _page(request, shown, 20, 50)


def _page(request: Request, rows: list[Any], default: int, most: int) -> Reply:
    limit, start = int(request.query.get("limit") or default), int(request.query.get("after") or 0)
    if not 1 <= limit <= most:
        raise HubSpotError(400, "VALIDATION_ERROR", f"limit is at most {most}")
    page = rows[start : start + limit]
    body: Row = {"results": page}
    if start + limit < len(rows):
        body["paging"] = {"next": {"after": str(start + limit)}}
    return Reply(body=body, rows=len(page))
