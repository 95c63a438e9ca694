"""Events of marketing e-mails, and what people sent in with forms. Both name a person by e-mail;
the contact who has it is looked up, so that they lie beside a contact's other activities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec
import polars as pl

from cdp_assets.connectors.base import Page
from cdp_assets.connectors.frames import page_rows, payloads
from cdp_assets.connectors.hubspot.answers import Rows, mark
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.paths import EMAIL_EVENTS, FORMS, SUBMISSIONS
from cdp_assets.connectors.hubspot.special import Finder, contact_ids, extended, no_keys
from cdp_assets.connectors.paging import pages_ahead

_EVENTS_PAGE, _FORMS_PAGE, _SUBMISSIONS_PAGE = 1_000, 500, 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLI = timedelta(milliseconds=1)


class _Event(msgspec.Struct):
    id: str
    created: int
    recipient: str | None = None


class _Events(msgspec.Struct, rename="camel"):
    events: list[msgspec.Raw] = []
    has_more: bool = False
    offset: str = ""


class _Form(msgspec.Struct):
    id: str
    name: str = ""


class _Value(msgspec.Struct):
    name: str = ""
    value: str | None = None


class _Submission(msgspec.Struct, rename="camel"):
    submitted_at: int
    conversion_id: str | None = None
    values: list[_Value] = []

    @property
    def email(self) -> str | None:
        """The address that was filled in."""
        return next((v.value for v in self.values if v.name.lower() == "email"), None)


class EmailEvents:
    """What became of marketing e-mails, one event type after the other; newest first, as the API
    gives them."""

    def __init__(self, client: HubSpotClient, finder: Finder, types: Sequence[str]) -> None:
        """types: the events that are pulled (SENT, OPEN, CLICK, BOUNCE, STATUSCHANGE …)."""
        self._client = client
        self._finder = finder
        self._types = types
        self._event = msgspec.json.Decoder(_Event).decode

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Events of [start, end)."""
        low, high = _millis(start), _millis(end)
        for kind in self._types:
            # A millisecond more on both sides: whether the ends are inside is said nowhere.
            for raws in self._read(kind, low - 1, high):
                events = [self._event(raw) for raw in raws]
                who = contact_ids(self._finder, [event.recipient for event in events])
                bodies = [
                    extended(raw, {"contactId": who(event.recipient)})
                    for raw, event in zip(raws, events, strict=True)
                ]
                ids = [event.id for event in events]
                yield from _page(self._client, ids, [e.created for e in events], bodies, low, high)

    def news(self, after: datetime) -> bool:
        """Whether one event is newer."""
        params = {"startTimestamp": str(_millis(after) + 1), "limit": "1"}
        decode = msgspec.json.Decoder(_Events).decode
        found = self._client.get(EMAIL_EVENTS, what="look for news", params=params, decode=decode)
        return bool(found.events)

    def keys(self) -> Iterator[pl.DataFrame]:
        """None: what happened stays so."""
        raise no_keys(self._client, "email_events")

    def _read(self, kind: str, low: int, high: int) -> Iterator[list[msgspec.Raw]]:
        what = "pull of email_events"
        decode = msgspec.json.Decoder(_Events).decode

        def fetch(offset: str | None) -> tuple[_Events, str | None]:
            params = {
                "eventType": kind,
                "startTimestamp": str(low),
                "endTimestamp": str(high),
                "limit": str(_EVENTS_PAGE),
            } | ({"offset": offset} if offset is not None else {})
            page = self._client.get(EMAIL_EVENTS, what=what, params=params, decode=decode)
            return page, page.offset if page.has_more else None

        for page in pages_ahead(f"{self._client.name}: {what}", fetch):
            yield page.events


class FormSubmissions:
    """What people sent in, form after form; newest first, as the API gives them."""

    def __init__(self, client: HubSpotClient, finder: Finder) -> None:
        self._client = client
        self._finder = finder
        self._submission = msgspec.json.Decoder(_Submission).decode

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Submissions of [start, end)."""
        low, high = _millis(start), _millis(end)
        decode = msgspec.json.Decoder(_Form).decode
        for forms in self._rows(FORMS, _FORMS_PAGE):
            for form in [decode(raw) for raw in forms]:
                yield from self._of(form, low, high)

    def news(self, after: datetime) -> bool:
        """Not to be told by one request, since each form is asked for itself: the daily round
        reads them."""
        return False

    def keys(self) -> Iterator[pl.DataFrame]:
        """None: what happened stays so."""
        raise no_keys(self._client, "form_submissions")

    def _of(self, form: _Form, low: int, high: int) -> Iterator[Page]:
        for raws in self._rows(f"{SUBMISSIONS}/{quote(form.id, safe='')}", _SUBMISSIONS_PAGE):
            sent = [self._submission(raw) for raw in raws]
            who = contact_ids(self._finder, [one.email for one in sent])
            bodies = [
                extended(raw, {"formId": form.id, "formName": form.name, "email": one.email,
                               "contactId": who(one.email), "kind": "form"})
                for raw, one in zip(raws, sent, strict=True)
            ]  # fmt: skip
            ids = [
                one.conversion_id or _digest(form.id, raw)
                for raw, one in zip(raws, sent, strict=True)
            ]
            times = [one.submitted_at for one in sent]
            yield from _page(self._client, ids, times, bodies, low, high)
            if times and min(times) < low:
                return

    def _rows(self, path: str, limit: int) -> Iterator[list[msgspec.Raw]]:
        what = "pull of form_submissions"
        decode = msgspec.json.Decoder(Rows).decode

        def fetch(after: str | None) -> tuple[Rows, str | None]:
            params = {"limit": str(limit)} | ({"after": after} if after is not None else {})
            page = self._client.get(path, what=what, params=params, decode=decode)
            return page, mark(page.paging)

        for page in pages_ahead(f"{self._client.name}: {what}", fetch):
            yield page.results


def _page(
    client: HubSpotClient,
    ids: Sequence[str],
    times: Sequence[int],
    bodies: Sequence[bytes],
    low: int,
    high: int,
) -> Iterator[Page]:
    kept = [place for place, at in enumerate(times) if low <= at < high]
    if kept:
        moments = pl.from_epoch(pl.Series("cursor_at", [times[k] for k in kept]), "ms")
        cursor = moments.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        payload = payloads(client.name, [bodies[k] for k in kept])
        yield Page(page_rows([ids[k] for k in kept], cursor, "upsert", None, payload))


def _digest(form: str, raw: msgspec.Raw) -> str:
    return hashlib.sha256(form.encode() + b"\0" + bytes(raw)).hexdigest()[:32]


def _millis(at: datetime) -> int:
    return (at - _EPOCH) // _MILLI
