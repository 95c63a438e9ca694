"""Reading an object's records from Zendesk: incremental exports, and the list of ratings.

Exports are filtered and ordered by a time of the account's own (`generated_timestamp` of tickets),
which is later than `updated_at` and moves without it, and leave the last minute out ("Using the
Incremental Export API"). So windows are windows of that time, and pages follow the API's own mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from cdp_assets.connectors.base import Page, Refused, WrongObject
from cdp_assets.connectors.frames import moments, page_rows, payloads
from cdp_assets.connectors.zendesk.client import ZendeskClient, circle
from cdp_assets.connectors.zendesk.records import Lead, leads, widened

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE = "1000"
_LEFT_OUT = timedelta(seconds=60)
_SKEW = timedelta(seconds=30)
_RATING_OPEN = timedelta(days=28)
"""A rating can be changed until its ticket closes, at most so long after it was solved."""


class ZendeskPull:
    """One object's records."""

    def __init__(self, client: ZendeskClient, name: str) -> None:
        client.require(name)
        self._client = client
        self._name = name
        self._what = f"pull of {name}"
        self._lead = leads(name)

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Pages of [start, end) in the order of the account's own time; deleted records among
        them."""
        if start >= end:
            return
        if self._name == "satisfaction_ratings":
            yield from self._ratings(start, end)
            return
        if start > self._client.options.now() - _LEFT_OUT:
            return  # nothing of it is shown yet, and asking for it is refused
        for raws in self._shown(start):
            records = [self._lead.decode(raw) for raw in raws]
            page = self._page(raws, records, end=end)
            if page is not None:
                yield page
            # Every record's own stamp is at or before the account's time of it, so where all of a
            # page lie past the end, so does all that follows.
            if records and min(r.at() for r in records) >= end:
                return

    def _shown(self, start: datetime) -> Iterator[list[msgspec.Raw]]:
        """Pages of an export from `start` on; none where Zendesk's clock, behind ours, says that
        this is within the minute that it does not show."""
        by_cursor = self._name in {"tickets", "users"}
        pages = self._by_cursor(start) if by_cursor else self._by_time(start)
        try:
            yield from pages
        except Refused as refused:
            if not _too_recent(refused):
                raise

    def news(self, after: datetime) -> bool:
        """Whether a record was changed at `after` or later, or in the minute before, which no
        pull up to `after` was shown."""
        if self._name == "satisfaction_ratings":
            params = {"page[size]": "1", "start_time": _seconds(after)}
            return bool(next(self._rated(params)))
        since = min(after, self._client.options.now()) - _LEFT_OUT - _SKEW
        try:
            return bool(self._ask(self._path(), since, "1").rows)
        except Refused as refused:
            if _too_recent(refused):
                return False
            raise

    def keys(self) -> Iterator[pl.DataFrame]:
        """record_id, cursor_at of every live record. Exports show archived tickets too, which
        lists do not. A record changed in the minute before the end is not shown at that moment in
        either of its places: the export is asked once more when that minute is over.

        Raises WrongObject for events and comments: they are written once and never vanish, and an
        export of them all takes hours."""
        if "ticket_events" in self._path():
            raise WrongObject(
                f"{self._client.name}: {self._name} cannot be named cheaply and never vanish, so "
                "they are not compared. Not retried. Nothing needs to be done."
            )
        options, ever = self._client.options, datetime.max.replace(tzinfo=UTC)
        for page in self.pages(EPOCH, ever):
            yield page.rows.filter(op="upsert").select("record_id", "cursor_at")
        if self._name == "satisfaction_ratings":
            return
        ended = options.now()
        options.sleep((_LEFT_OUT + _SKEW).total_seconds())
        for page in self.pages(ended - _LEFT_OUT - _SKEW, ever):
            yield page.rows.filter(op="upsert").select("record_id", "cursor_at")

    # The API's own pages ------------------------------------------------------------------------

    def _path(self) -> str:
        export = {"ticket_comments": "ticket_events"}.get(self._name, self._name)
        cursor = "/cursor" if self._name in {"tickets", "users"} else ""
        return f"/incremental/{export}{cursor}.json"

    def _ask(
        self, path: str, start: datetime | int | None, size: str, cursor: str | None = None
    ) -> Any:
        params = {"per_page": size}
        if cursor is not None:
            params["cursor"] = cursor
        elif start is not None:
            params["start_time"] = str(start) if isinstance(start, int) else _seconds(start)
        if "ticket_events" in path:
            params["include"] = "comment_events"
        answer = _ANSWERS[path.split("/")[2].removesuffix(".json")]
        return self._client.get(path, what=self._what, params=params, decode=answer.decode)

    def _by_cursor(self, start: datetime) -> Iterator[list[msgspec.Raw]]:
        answer = self._ask(self._path(), start, _PAGE)
        seen: set[str | None] = {None}
        while True:
            yield answer.rows
            if answer.end_of_stream:
                return
            if answer.after_cursor in seen:
                raise circle(self._client.name, self._what)
            seen.add(answer.after_cursor)
            answer = self._ask(self._path(), None, _PAGE, answer.after_cursor)

    def _by_time(self, start: datetime) -> Iterator[list[msgspec.Raw]]:
        """A page by time begins with the second with which the one before ended: what came twice
        is left out here."""
        at, before = int(start.timestamp()), frozenset[bytes]()
        while True:
            answer = self._ask(self._path(), at, _PAGE)
            yield [raw for raw in answer.rows if bytes(raw) not in before]
            if answer.end_of_stream:
                return
            if answer.end_time is None or answer.end_time <= at:
                raise circle(self._client.name, self._what)
            at, before = answer.end_time, frozenset(bytes(raw) for raw in answer.rows)

    def _rated(self, params: dict[str, str]) -> Iterator[list[msgspec.Raw]]:
        path, name = "/satisfaction_ratings.json", "satisfaction_ratings"
        return self._client.pages(path, name, params, what=self._what)

    def _ratings(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Ratings are listed by when they were offered, and given later."""
        params = {"page[size]": "100", "start_time": _seconds(max(EPOCH, start - _RATING_OPEN))}
        for raws in self._rated(params):
            records = [self._lead.decode(raw) for raw in raws]
            page = self._page(raws, records, start=start, end=end)
            if page is not None:
                yield page

    # Frames -------------------------------------------------------------------------------------

    def _page(
        self, raws: Sequence[msgspec.Raw], records: Sequence[Lead], *, end: datetime,
        start: datetime | None = None,
    ) -> Page | None:  # fmt: skip
        ids: list[str] = []
        stamps: list[str] = []
        ops: list[str] = []
        bodies: list[bytes] = []
        for raw, record in zip(raws, records, strict=True):
            at = record.at()
            if at >= end or (start is not None and at < start):
                continue
            for own, body in (
                widened(record, raw) if self._name != "ticket_comments" else (record.comments())
            ):
                ids.append(own)
                stamps.append(at.isoformat())
                ops.append("delete" if record.gone() else "upsert")
                bodies.append(body)
        if not ids:
            return None
        payload = payloads(self._client.name, bodies)
        return Page(page_rows(ids, moments(stamps), ops, None, payload), volatile=("url",))


def _answer(name: str) -> Any:
    return msgspec.json.Decoder(
        msgspec.defstruct(
            "Answer",
            [
                ("rows", list[msgspec.Raw]),
                ("after_cursor", str | None, None),
                ("end_of_stream", bool, False),
                ("end_time", int | None, None),
            ],
            rename={"rows": name},
        )
    )


_ANSWERS = {n: _answer(n) for n in ("tickets", "users", "organizations", "ticket_events")}


def _too_recent(refused: Refused) -> bool:
    return refused.status in {400, 422} and b"recent" in refused.body.lower()


def _seconds(at: datetime) -> str:
    return str(max(int(at.timestamp()), 0))
