"""The search language as far as clients of records need it: `type:user email:a email:b tags:x`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cdp_assets.sandbox.tables import Row
from cdp_assets.sandbox.zendesk.errors import ZendeskError
from cdp_assets.sandbox.zendesk.records import Records
from cdp_assets.sandbox.zendesk.schema import KINDS, TICKETS, USERS, Kind

CEILING = 10_000
_SEARCHED = 1_000


class Search:
    """An index of live records that is `lag` behind them."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.lag = timedelta(0)

    def find(self, query: str, kind: Kind | None = None) -> list[tuple[Kind, Row]]:
        """Records that fit a query, oldest first. Values of one word are alternatives, different
        words must all fit."""
        wanted: dict[str, list[str]] = {}
        try:
            parts = shlex.split(query)
        except ValueError:
            raise ZendeskError(422, "invalid", "Invalid search: unclosed quote") from None
        for part in parts:
            name, colon, value = part.partition(":")
            wanted.setdefault(name if colon else "", []).append((value if colon else part).lower())
        named = {f"{t}s" for t in wanted.pop("type", [])}
        kinds = [kind] if kind else [k for k in KINDS.values() if not named or k.name in named]
        found = [
            (k, row)
            for k in kinds
            for _, row in self.records.all(k)
            if self._indexed(row)
            and all(_fits(k, row, name, values) for name, values in wanted.items())
        ]
        return sorted(found, key=lambda entry: (entry[1]["created_at"], entry[1]["id"]))

    def page(self, query: Mapping[str, str], url: str) -> Row:
        """`/search`: pages by number, at most a thousand results."""
        found = self.find(query.get("query", ""))
        number, size = int(query.get("page", 1)), min(int(query.get("per_page", 100)), 100)
        if number * size > _SEARCHED:
            raise ZendeskError(
                422, "invalid", "Invalid search: Search Response Limits: requested response size "
                "was greater than Search Response Limits"
            )  # fmt: skip
        some = found[(number - 1) * size : number * size]
        more = number * size < len(found)
        return {
            "results": [self.shown(k, row) for k, row in some],
            "facets": None,
            "count": len(found),
            "next_page": f"{url}?query={query.get('query', '')}&page={number + 1}"
            if more
            else None,
            "previous_page": None,
        }

    def export(self, query: Mapping[str, str], url: str) -> Row:
        """`/search/export`: pages by cursor, of one type."""
        kind = KINDS.get(f"{query.get('filter[type]', '')}s")
        if kind is None:
            raise ZendeskError(400, "invalid", "filter[type] is required")
        found = self.find(query.get("query", ""), kind)
        size, after = min(int(query.get("page[size]", 100)), 1000), query.get("page[after]", "0")
        rest = [row for _, row in found if row["id"] > int(after)]
        page = sorted(rest, key=lambda row: row["id"])[:size]
        more = len(rest) > size
        cursor = str(page[-1]["id"]) if page else None
        link = f"{url}?page[after]={cursor}" if more else None
        return {
            "results": [self.shown(kind, row) for row in page],
            "facets": None,
            "meta": {"has_more": more, "after_cursor": cursor, "before_cursor": None},
            "links": {"next": link, "prev": None},
        }

    def shown(self, kind: Kind, row: Row) -> Row:
        """A result."""
        return self.records.shown(kind, row) | {"result_type": kind.one}

    def _indexed(self, row: Row) -> bool:
        if not self.lag:
            return True
        changed = datetime.fromisoformat(row["updated_at"])
        return changed <= self.records.clock.now() - self.lag


def _fits(kind: Kind, row: Row, name: str, values: list[str]) -> bool:
    if name == "":
        text = " ".join(str(row.get(n) or "") for n in ("name", "subject", "email", "description"))
        return all(value in text.lower() for value in values)
    own: list[Any]
    if name == "email" and kind is USERS:
        own = [*row.get("_emails", [row.get("email")])]
    elif name == "tags":
        own = row["tags"]
    elif name.startswith("custom_field_") and kind is TICKETS:
        number = name.removeprefix("custom_field_")
        own = [e["value"] for e in row["custom_fields"] if str(e["id"]) == number]
    elif name in row:
        own = [row[name]]
    else:
        own = [(row.get(kind.custom) or {}).get(name)] if kind is not TICKETS else []
    texts = {str(value).lower() for value in own if value is not None}
    if name == "name":
        return any(all(w in t for w in v.split()) for v in values for t in texts)
    return any(value in texts for value in values)
