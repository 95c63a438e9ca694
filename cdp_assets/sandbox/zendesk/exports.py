"""Incremental exports: by cursor, and by time; and what a ticket's events are."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from cdp_assets.sandbox.tables import Row
from cdp_assets.sandbox.zendesk.records import Records, bad_request
from cdp_assets.sandbox.zendesk.schema import KINDS
from cdp_assets.sandbox.zendesk.tickets import EVENTS

PAGE = 1000
_LEFT_OUT = 60
"""Seconds before the request whose changes are left out ("Incremental Exports")."""


class Exports:
    """Changed records in the order of the account's own time; deleted ones among them."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def by_cursor(self, name: str, query: Mapping[str, str], url: str) -> Row:
        """`/incremental/<name>/cursor`: each change once, in pages that a cursor leads through."""
        after = _decoded(query["cursor"]) if "cursor" in query else (self._start(query), -1)
        rows = [(at, key, row) for at, key, row in self._rows(name, query) if (at, key) > after]
        size = self._size(query)
        page = rows[:size]
        last = (page[-1][0], page[-1][1]) if page else after
        cursor = _encoded(last)
        return {
            name: [self._shown(name, row, query) for _, _, row in page],
            "after_cursor": cursor,
            "after_url": f"{url}?cursor={cursor}",
            "before_cursor": None,
            "before_url": None,
            "end_of_stream": len(rows) <= size,
        }

    def by_time(self, name: str, query: Mapping[str, str], url: str) -> Row:
        """`/incremental/<name>`: a page begins with the second that the one before ended with, so
        rows come twice."""
        start, size = self._start(query), self._size(query)
        rows = [entry for entry in self._rows(name, query) if entry[0] >= start]
        cut = min(size, len(rows))
        # Rows of one second stay together, and a page must lead past its start.
        while cut < len(rows) and (rows[cut][0] == rows[cut - 1][0] or rows[cut - 1][0] <= start):
            cut += 1
        page = rows[:cut]
        end = page[-1][0] if page else start
        return {
            name: [self._shown(name, row, query) for _, _, row in page],
            "count": len(page),
            "end_of_stream": cut == len(rows),
            "end_time": end,
            "next_page": f"{url}?start_time={end}",
        }

    def _start(self, query: Mapping[str, str]) -> int:
        text = query.get("start_time", "")
        if not text.isdigit():
            raise bad_request("start_time: a whole number of seconds is required")
        if int(text) > self._now() - _LEFT_OUT:
            raise bad_request("Too recent start_time. Use a start_time older than 1 minutes")
        return int(text)

    def _now(self) -> int:
        return int(self.records.clock.now().timestamp())

    def _rows(self, name: str, query: Mapping[str, str]) -> list[tuple[int, int, Row]]:
        table = EVENTS if name == "ticket_events" else KINDS[name].table
        until = self._now() - _LEFT_OUT
        without = query.get("exclude_deleted") == "true"
        return sorted(
            (
                (int(row["_generated"]), int(key), row)
                for key, row in self.records.tables[table].rows.items()
                if row["_generated"] <= until and not (without and row.get("_deleted"))
            ),
            key=lambda entry: entry[:2],
        )

    def _size(self, query: Mapping[str, str]) -> int:
        text = query.get("per_page", str(PAGE))
        asked = max(1, min(int(text), PAGE)) if text.isdigit() else PAGE
        return self.records.rows.most(asked)

    def _shown(self, name: str, row: Row, query: Mapping[str, str]) -> Row:
        if name != "ticket_events":
            return self.records.shown(KINDS[name], row)
        if "comment_events" in query.get("include", ""):
            events = row["child_events"]
        else:
            events = [
                {"id": e["id"], "via": e["via"]["channel"], "comment_present": True,
                 "comment_public": e["public"], "event_type": "Comment"}
                if e["event_type"] == "Comment" else e
                for e in row["child_events"]
            ]  # fmt: skip
        return {k: v for k, v in row.items() if not k.startswith("_")} | {"child_events": events}


def _encoded(at: tuple[int, int]) -> str:
    return base64.b64encode(f"{at[0]}.0||{at[1]}|".encode()).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[int, int]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, _, key = text.partition(".0||")
        return int(at), int(key.rstrip("|"))
    except (binascii.Error, ValueError):
        raise bad_request("cursor: invalid") from None
