"""Reading an object's records from HubSpot.

Three questions make one pull: what changed in the window (the list API where that is most of the
object, as in a first pull; else searches), what was archived, and what was merged away: neither of
the last two moves a cursor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import quote

import msgspec
import polars as pl

from cdp_assets.connectors.base import Page, Unavailable
from cdp_assets.connectors.frames import moments, page_rows, payloads
from cdp_assets.connectors.hubspot.answers import (
    MERGED,
    Rows,
    envelope_type,
    floor,
    losers,
    mark,
    moment_filter,
)
from cdp_assets.connectors.hubspot.associations import associations, with_associations
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.mapping import ASSOCIATED
from cdp_assets.connectors.hubspot.paths import OBJECTS
from cdp_assets.connectors.paging import pages_ahead

VOLATILE = ("url", "objectWriteTraceId")
_LIST_PAGE = 100
_SEARCH_PAGE = 200
_READ_BATCH = 100
_TOGETHER = 1_000
"""Records of a page: as many as one request for associations takes."""
_LONGEST_QUERY = 6_000
_SMALLEST = timedelta(milliseconds=1)
_ROUNDS = 5
_LONG = timedelta(days=30)
_AHEAD = timedelta(days=1)
"""By so much the account's clock may be before ours."""
_CUSTOM = re.compile(r"(?i)p\d*_|2-\d")


class HubSpotPull:
    """One object's records."""

    def __init__(self, client: HubSpotClient, name: str) -> None:
        self._client = client
        self._name = name
        self._what = f"pull of {name}"
        # Contacts have both; only this one moves with every change of a contact.
        self.cursor = "lastmodifieddate" if name == "contacts" else "hs_lastmodifieddate"
        self._whole = msgspec.json.Decoder(Rows).decode
        self._envelope = msgspec.json.Decoder(envelope_type(self.cursor)).decode

    @cached_property
    def _targets(self) -> tuple[str, ...]:
        """Objects whose associations are pulled; of a custom object, those it was made for."""
        if self._name in ASSOCIATED or not _CUSTOM.match(self._name):
            return ASSOCIATED.get(self._name, ())
        found = self._client.schema(self._name)
        return found.targets() if found is not None else ()

    @cached_property
    def _fields(self) -> list[str]:
        """All properties of the account; only a pull needs them, a look for news does not."""
        return sorted(self._client.properties(self._name))

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Pages of [start, end). A window of most records comes in the order of ids, all others in
        that of the cursor; archived and merged records last, so that of a record the end comes
        last."""
        yield from self._changed(start, end)
        yield from self._archived(start, end)
        if MERGED in self._fields:
            yield from self._merged(end)

    def news(self, after: datetime) -> bool:
        """Whether a record was changed at `after` or later."""
        filters = [moment_filter(self.cursor, "GTE", after)]
        return bool(self._search(filters, [self.cursor], limit=1).results)

    def keys(self) -> Iterator[pl.DataFrame]:
        """Every live record, a hundred a request."""
        for answer in self._list([self.cursor], archived=False):
            envelopes = [self._envelope(r) for r in answer.results]
            ids = pl.Series("record_id", [e.id for e in envelopes], dtype=pl.String)
            yield pl.DataFrame([ids, moments([e.properties.cursor for e in envelopes])])

    def changed_since(self, start: datetime) -> Iterator[list[str]]:
        """Ids of the live records changed at `start` or later, page by page."""
        end = self._client.now() + _AHEAD
        first = self._search(self._bounds(start, end), [self.cursor])
        if self._most(first.total or 0, end - start):
            answers = self._list([self.cursor], archived=False)
        else:
            answers = self._window([], start, end, [self.cursor], first)
        for answer in answers:
            envelopes = [self._envelope(r) for r in answer.results]
            cursors = moments([e.properties.cursor for e in envelopes])
            late = (cursors.is_null() | (cursors >= floor(start))).to_list()
            if ids := [e.id for e, yes in zip(envelopes, late, strict=True) if yes]:
                yield ids

    # What changed -------------------------------------------------------------------------------

    def _listed(self) -> Iterator[Sequence[msgspec.Raw]]:
        narrow = len(quote(",".join(self._fields))) > _LONGEST_QUERY
        fields = [self.cursor] if narrow else self._fields
        for answer in self._list(fields, archived=False):
            raws = answer.results
            yield self._read([self._envelope(r).id for r in raws]) if narrow else raws

    def _list(self, fields: Sequence[str], *, archived: bool) -> Iterator[Rows]:
        def fetch(after: str | None) -> tuple[Rows, str | None]:
            params = {
                "limit": str(_LIST_PAGE),
                "archived": "true" if archived else "false",
                "properties": ",".join(fields),
            }
            if after is not None:
                params["after"] = after
            answer = self._client.get(
                f"{OBJECTS}/{self._name}", what=self._what, params=params, decode=self._whole
            )
            return answer, mark(answer.paging)

        return pages_ahead(f"{self._client.name}: {self._what}", fetch)

    def _read(self, ids: Sequence[str]) -> list[msgspec.Raw]:
        """Records by id with all properties, in the order of `ids`. One that is gone is left out:
        it comes with the archived ones."""
        found: dict[str, msgspec.Raw] = {}
        for at in range(0, len(ids), _READ_BATCH):
            body = {
                "properties": self._fields,
                "propertiesWithHistory": [],
                "inputs": [{"id": i} for i in ids[at : at + _READ_BATCH]],
            }
            path = f"{OBJECTS}/{self._name}/batch/read"
            answer = self._client.post(path, body, what=self._what, decode=self._whole).body
            found.update((self._envelope(raw).id, raw) for raw in answer.results)
        return [found[i] for i in ids if i in found]

    def _changed(self, start: datetime, end: datetime) -> Iterator[Page]:
        if floor(start) >= floor(end):
            return
        first = self._search(self._bounds(start, end), self._fields)
        if self._most(first.total or 0, end - start):
            parts = self._listed()
        else:
            answers = self._window([], start, end, self._fields, first)
            parts = (answer.results for answer in answers)
        yield from self._assembled(parts, start, end)

    def _assembled(
        self, parts: Iterable[Sequence[msgspec.Raw]], start: datetime, end: datetime
    ) -> Iterator[Page]:
        """The records of [start, end) as pages of a thousand, which is what one request for
        associations takes; made while the next ones are read, so that two thousand are held."""
        held: list[msgspec.Raw] = []
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="links") as beside:
            coming: Future[Page | None] | None = None
            for raws in parts:
                held += raws
                if len(held) < _TOGETHER:
                    continue
                job = beside.submit(self._page, held, start, end)
                held = []
                if coming is not None and (page := coming.result()) is not None:
                    yield page
                coming = job
            if coming is not None and (page := coming.result()) is not None:
                yield page
        if (page := self._page(held, start, end)) is not None:
            yield page

    def _most(self, within: int, length: timedelta) -> bool:
        """Whether a window that holds `within` records holds half of the object or more.

        Judged by what HubSpot counts: where a pull begins is the deployment's matter (`start`,
        CDP_START, a backfill), and says little of how much lies there. A short window of one page
        is not worth the question."""
        if within <= _SEARCH_PAGE and length < _LONG:
            return False
        whole = self._search([], [self.cursor], limit=1).total or 0
        return 2 * within >= whole

    def _bounds(self, start: datetime, end: datetime) -> list[dict[str, str]]:
        return [
            moment_filter(self.cursor, "GTE", floor(start)),
            moment_filter(self.cursor, "LT", floor(end)),
        ]

    def _window(
        self,
        filters: list[dict[str, str]],
        start: datetime,
        end: datetime,
        fields: Sequence[str],
        first: Rows | None = None,
    ) -> Iterator[Rows]:
        """Pages of a search by cursor window, halved until it holds what a search can page.
        first: its first page, where it was read already."""
        start, end = floor(start), floor(end)
        if start >= end:
            return
        bounds = self._bounds(start, end)
        first = first or self._search([*filters, *bounds], fields)
        if (first.total or 0) < self._client.config.search_limit:
            yield from self._read_through([*filters, *bounds], first, fields)
        elif end - start > _SMALLEST:
            middle = start + (end - start) / 2
            yield from self._window(filters, start, middle, fields)
            yield from self._window(filters, floor(middle), end, fields)
        else:
            yield from self._one_stamp([*filters, *bounds], fields)

    def _read_through(
        self, filters: list[dict[str, str]], first: Rows, fields: Sequence[str]
    ) -> Iterator[Rows]:
        """All records of a search. Its pages are places in a list: a record changed meanwhile
        leaves the list and pulls the rest forward, past us. So what came is counted, and where
        records are missing the search is read again for those not seen yet."""
        seen: set[str] = set()
        for _ in range(_ROUNDS):
            answer, expected, came = first, first.total or 0, set[str]()
            while True:
                ids = [e.id for e in self._ordered(answer)]
                came.update(ids)
                if new := [r for i, r in zip(ids, answer.results, strict=True) if i not in seen]:
                    seen.update(ids)
                    yield Rows(new)
                after = mark(answer.paging)
                if after is None or not answer.results:
                    break
                answer = self._search(filters, fields, after=after)
            if len(came) >= expected:
                return
            first = self._search(filters, fields)
        raise Unavailable(
            f"{self._client.name}: {self._what}: its records change faster than they can be read "
            f"({_ROUNDS} rounds). Nothing was lost; a later run goes on from here."
        )

    def _ordered(self, answer: Rows) -> list[Any]:
        envelopes: list[Any] = [self._envelope(r) for r in answer.results]
        stamps = [e.properties.cursor or "" for e in envelopes]
        if stamps != sorted(stamps):
            raise Unavailable(
                f"{self._client.name}: {self._what}: the search did not keep the order asked for, "
                "so pages could hide records. Nothing was taken from it; a later run asks again."
            )
        return envelopes

    def _one_stamp(self, filters: list[dict[str, str]], fields: Sequence[str]) -> Iterator[Rows]:
        """More records of one millisecond than a search can page: in the order of their ids."""
        after_id = "0"
        while True:
            where = [
                *filters,
                {"propertyName": "hs_object_id", "operator": "GT", "value": after_id},
            ]
            answer = self._search(where, fields, sort="hs_object_id")
            if not answer.results:
                return
            yield answer
            after_id = str(max(int(self._envelope(r).id) for r in answer.results))

    def _search(
        self,
        filters: Sequence[dict[str, str]],
        fields: Sequence[str],
        *,
        after: str | None = None,
        limit: int | None = None,
        sort: str | None = None,
    ) -> Rows:
        body: dict[str, Any] = {
            "filterGroups": [{"filters": list(filters)}] if filters else [],
            "sorts": [{"propertyName": sort or self.cursor, "direction": "ASCENDING"}],
            "properties": list(fields),
            "limit": limit or _SEARCH_PAGE,
        }
        if after is not None:
            body["after"] = after
        path = f"{OBJECTS}/{self._name}/search"
        return self._client.post(path, body, what=self._what, decode=self._whole).body

    def _page(self, raws: Sequence[msgspec.Raw], start: datetime, end: datetime) -> Page | None:
        """The records of [start, end) with their associations, as a page."""
        envelopes = [self._envelope(r) for r in raws]
        cursors = moments([e.properties.cursor for e in envelopes])
        # A record without a cursor belongs to no window: it is taken whenever it is met.
        inside = (cursors.is_between(start, end, closed="left") | cursors.is_null()).to_list()
        kept = [place for place, yes in enumerate(inside) if yes]
        if not kept:
            return None
        ids = [envelopes[k].id for k in kept]
        bodies: list[msgspec.Raw | bytes] = [raws[k] for k in kept]
        if self._targets:
            found = associations(self._client, self._name, self._targets, ids, self._what)
            bodies = [with_associations(r, found[i]) for i, r in zip(ids, bodies, strict=True)]
        payload = payloads(self._client.name, bodies)
        rows = page_rows(ids, cursors.gather(kept), "upsert", None, payload)
        merged = [(envelopes[k].id, envelopes[k].properties.merged) for k in kept]
        gone = losers([(i, m) for i, m in merged if m])
        return Page(pl.concat([rows, gone]) if gone.height else rows, volatile=VOLATILE)

    # What is gone -------------------------------------------------------------------------------

    def _archived(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Deletions: the list of archived records (kept 90 days there), those of the window. What
        was merged into one of them is told whatever the window, as no search shows it."""
        fields = [self.cursor, *([MERGED] if MERGED in self._fields else [])]
        for answer in self._list(fields, archived=True):
            envelopes = [self._envelope(r) for r in answer.results]
            stamps = moments([e.archived_at for e in envelopes])
            inside = stamps.is_between(start, end, closed="left").fill_null(value=False).to_list()
            kept = [place for place, yes in enumerate(inside) if yes]
            if kept:
                payload = payloads(self._client.name, [answer.results[k] for k in kept])
                ids = [envelopes[k].id for k in kept]
                rows = page_rows(ids, stamps.gather(kept), "delete", None, payload)
                yield Page(rows, volatile=VOLATILE)
            yield from _merges(envelopes)

    def _merged(self, end: datetime) -> Iterator[Page]:
        """Merges: every surviving record names those that went into it. Without a time of their
        own, they are told each time; raw keeps what is new."""
        filters = [{"propertyName": MERGED, "operator": "HAS_PROPERTY"}]
        oldest = datetime(2000, 1, 1, tzinfo=UTC)
        for answer in self._window(filters, oldest, end, [self.cursor, MERGED]):
            yield from _merges([self._envelope(r) for r in answer.results])


def _merges(survivors: Sequence[Any]) -> Iterator[Page]:
    gone = losers([(e.id, m) for e in survivors if (m := e.properties.merged)])
    if gone.height:
        yield Page(gone, volatile=VOLATILE)
