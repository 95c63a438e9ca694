"""What hangs on tickets: comments, audits and ratings."""

from __future__ import annotations

import re
from collections.abc import Callable

from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.tables import Row
from cdp_assets.sandbox.zendesk.asking import one_of, paged
from cdp_assets.sandbox.zendesk.errors import invalid
from cdp_assets.sandbox.zendesk.records import Records
from cdp_assets.sandbox.zendesk.schema import TICKETS

_RATINGS = "zendesk.satisfaction_ratings"
Handler = Callable[[Request, re.Match[str]], Reply]


class TicketsApi:
    """Answers requests below a ticket, and the list of ratings."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and who answers."""
        key = r"(?P<key>\d+)"
        return [
            ("GET", r"/satisfaction_ratings", self._ratings),
            ("GET", f"/tickets/{key}/comments", self._comments),
            ("GET", f"/tickets/{key}/audits", self._audits),
            ("POST", f"/tickets/{key}/satisfaction_rating", self._rate),
            ("PUT", f"/deleted_tickets/{key}/restore", self._restore),
            ("PUT", r"/deleted_tickets/restore_many", self._restore_many),
        ]

    def _comments(self, request: Request, match: re.Match[str]) -> Reply:
        self.records.live(TICKETS, match["key"])
        return paged(request, "comments", list(self.records.events.comments(match["key"])))

    def _audits(self, request: Request, match: re.Match[str]) -> Reply:
        self.records.live(TICKETS, match["key"])
        found = [audit_shown(row) for row in self.records.events.of(match["key"])]
        return paged(request, "audits", found)

    def _ratings(self, request: Request, match: re.Match[str]) -> Reply:
        rows = sorted(self.records.tables[_RATINGS].rows.values(), key=lambda row: int(row["id"]))
        since, until = request.query.get("start_time"), request.query.get("end_time")
        found = [
            {k: v for k, v in row.items() if not k.startswith("_")}
            for row in rows
            if (since is None or row["_at"] >= int(since))
            and (until is None or row["_at"] <= int(until))
        ]
        return paged(request, "satisfaction_ratings", found)

    def _restore(self, request: Request, match: re.Match[str]) -> Reply:
        self.records.restore(TICKETS, match["key"])
        return Reply(body="", rows=1)

    def _restore_many(self, request: Request, match: re.Match[str]) -> Reply:
        ids = [i for i in request.query.get("ids", "").split(",") if i]
        for key in ids:
            self.records.restore(TICKETS, key)
        return Reply(body="", rows=len(ids))

    def _rate(self, request: Request, match: re.Match[str]) -> Reply:
        ticket = self.records.live(TICKETS, match["key"])
        given = one_of(request, "satisfaction_rating")
        if given.get("score") not in ("offered", "good", "bad"):
            raise invalid("score", "InvalidValue", "Score: is not valid")
        known = self.records.tables[_RATINGS].find("ticket_id", match["key"])
        before = self.records.tables[_RATINGS].rows[known[0]] if known else {}
        number = before.get("id") or self.records.tables.next_number(_RATINGS, 62_000_001)
        now = self.records.now()
        row = {
            "id": number, "url": f"{request.url}/api/v2/satisfaction_ratings/{number}.json",
            "assignee_id": ticket["assignee_id"], "group_id": ticket["group_id"],
            "requester_id": ticket["requester_id"], "ticket_id": ticket["id"],
            "score": given["score"], "comment": given.get("comment"), "reason": None,
            "created_at": before.get("created_at", now), "updated_at": now,
            # Ratings are found by when they were made, not by when they were changed.
            "_at": before.get("_at") or int(self.records.clock.now().timestamp()),
        }  # fmt: skip
        self.records.tables.put(_RATINGS, str(number), row)
        rated = {"id": number, "score": given["score"], "comment": given.get("comment")}
        self.records.tables.put(
            TICKETS.table, match["key"], ticket | {"satisfaction_rating": rated}
        )
        self.records.touch(TICKETS, match["key"])
        shown = {k: v for k, v in row.items() if not k.startswith("_")}
        return Reply(body={"satisfaction_rating": [shown]}, rows=1)


def audit_shown(row: Row) -> Row:
    """An audit as a list of audits shows it."""
    events = [{k: v for k, v in e.items() if k != "event_type"} for e in row["child_events"]]
    return {
        "id": row["id"], "ticket_id": row["ticket_id"], "created_at": row["created_at"],
        "author_id": row["updater_id"], "metadata": {"system": {}, "custom": {}},
        "events": events, "via": {"channel": row["via"], "source": {"from": {}, "to": {}, "rel":
        None}},
    }  # fmt: skip
