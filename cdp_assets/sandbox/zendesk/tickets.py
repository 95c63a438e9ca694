"""What happened to tickets: their audits, with the comments in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cdp_assets.sandbox.tables import Row, Tables

EVENTS = "zendesk.ticket_events"
_FIRST = 90_000_000_001
_TOLD = ("subject", "status", "priority", "type", "assignee_id", "group_id", "organization_id",
         "tags", "custom_fields")  # fmt: skip


class TicketEvents:
    """Audits, each with its events; they are written once and never changed."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def begun(self, ticket: Row, comment: Mapping[str, Any], now: str, at: int) -> None:
        """A new ticket with its first comment."""
        events = [self._comment(ticket, comment, now)]
        events += [
            self._event(ticket, "Create", field_name=name, value=ticket[name])
            for name in ("subject", "status", "requester_id")
        ]
        self._put(ticket, events, now, at)

    def changed(self, old: Row, ticket: Row, given: Mapping[str, Any], now: str, at: int) -> None:
        """A change of a ticket, and the comment that came with it."""
        events = []
        if given.get("comment"):
            events.append(self._comment(ticket, given["comment"], now))
        events += [
            self._event(ticket, "Change", field_name=n, value=ticket[n], previous_value=old.get(n))
            for n in _TOLD
            if ticket.get(n) != old.get(n)
        ]
        if events:
            self._put(ticket, events, now, at)

    def of(self, ticket_id: str) -> Iterator[Row]:
        """The audits of a ticket, in order."""
        for key in self.tables[EVENTS].find("ticket_id", ticket_id):
            yield self.tables[EVENTS].rows[key]

    def comments(self, ticket_id: str) -> Iterator[Row]:
        """The comments of a ticket, in order."""
        for audit in self.of(ticket_id):
            for event in audit["child_events"]:
                if event["event_type"] == "Comment":
                    yield {k: v for k, v in event.items() if k != "event_type"}

    def _put(self, ticket: Row, events: list[Row], now: str, at: int) -> None:
        number = self._number()
        for event in events:
            event["audit_id"] = number
        self.tables.put(
            EVENTS,
            str(number),
            {
                "id": number, "ticket_id": ticket["id"], "timestamp": at, "created_at": now,
                "updater_id": ticket["submitter_id"], "via": ticket["via"]["channel"],
                "system": {"client": None, "location": None, "latitude": None, "longitude": None},
                "metadata": {}, "event_type": "Audit", "child_events": events, "_generated": at,
            },
        )  # fmt: skip

    def _event(self, ticket: Row, kind: str, **more: Any) -> Row:
        return {
            "id": self._number(), "via": ticket["via"], "type": kind, "event_type": kind, **more
        }  # fmt: skip

    def _comment(self, ticket: Row, comment: Mapping[str, Any], now: str) -> Row:
        body = str(comment.get("body") or comment.get("html_body") or "")
        return self._event(
            ticket, "Comment",
            author_id=comment.get("author_id") or ticket["submitter_id"],
            body=body, html_body=f"<div>{body}</div>", plain_body=body,
            public=bool(comment.get("public", True)), attachments=[], created_at=now,
            metadata={},
        )  # fmt: skip

    def _number(self) -> int:
        return self.tables.next_number(EVENTS, _FIRST)
