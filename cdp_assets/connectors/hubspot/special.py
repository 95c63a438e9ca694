"""What HubSpot keeps beside its CRM objects, read as objects too: owners, lists and who is on
them, marketing e-mail events, form submissions, former values of properties."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import polars as pl

from cdp_assets.connectors.base import FieldInfo, FieldType, ObjectInfo, Page, WrongObject
from cdp_assets.connectors.frames import page_rows, payloads
from cdp_assets.connectors.hubspot.client import HubSpotClient

HISTORY = "_history"
"""`contacts_history`: the former values of contacts' properties."""
FIELDS: Mapping[str, Mapping[str, FieldType]] = {
    "owners": {
        "id": "string", "email": "email", "firstName": "string", "lastName": "string",
        "type": "string", "userId": "integer", "createdAt": "datetime", "updatedAt": "datetime",
        "archived": "boolean",
    },
    "lists": {
        "listId": "string", "name": "string", "objectTypeId": "string",
        "processingType": "string", "createdAt": "datetime", "updatedAt": "datetime",
    },
    "list_members": {
        "listId": "string", "listName": "string", "recordId": "string", "contactId": "string",
        "companyId": "string", "dealId": "string", "membershipTimestamp": "datetime",
        "kind": "string",
    },
    "email_events": {
        "id": "string", "type": "string", "created": "datetime", "recipient": "email",
        "subject": "string", "emailCampaignId": "integer", "url": "url", "category": "string",
        "contactId": "string",
    },
    "form_submissions": {
        "conversionId": "string", "formId": "string", "formName": "string", "email": "email",
        "pageUrl": "url", "submittedAt": "datetime", "contactId": "string", "kind": "string",
    },
}  # fmt: skip
"""Object → its fields, which no endpoint describes."""
_FORMER: Mapping[str, FieldType] = {
    "recordId": "string", "property": "string", "value": "string", "timestamp": "datetime",
    "sourceType": "string", "sourceId": "string", "sourceLabel": "string",
    "updatedByUserId": "integer",
}  # fmt: skip


class Reader(Protocol):
    """One object's records (see `Source` and `KeyLister` for what each method promises)."""

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]: ...

    def news(self, after: datetime) -> bool: ...

    def keys(self) -> Iterator[pl.DataFrame]: ...


class Finder(Protocol):
    """Looks up records by the values of a field (`Destination.find`)."""

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]: ...


def described(name: str) -> ObjectInfo | None:
    """The fields of an object that no endpoint describes; None for the others."""
    fields = FIELDS.get(name) or (_FORMER if name.endswith(HISTORY) else None)
    if fields is None:
        return None
    return ObjectInfo(
        name=name,
        label=name.replace("_", " "),
        fields={
            n: FieldInfo(name=n, type=t, createable=False, updateable=False)
            for n, t in fields.items()
        },
        createable=False,
    )


def extended(record: msgspec.Raw | bytes, members: Mapping[str, Any]) -> bytes:
    """The record's own bytes with members of ours put in last; null ones are left out."""
    body = bytes(record).rstrip()
    more = msgspec.json.encode({k: v for k, v in members.items() if v is not None})
    return body if more == b"{}" else body[:-1] + b"," + more[1:]


def snapshot(
    client: HubSpotClient, ids: Sequence[str], bodies: Sequence[bytes], op: str = "upsert"
) -> Page:
    """Rows without a time of their own: raw keeps one where it differs from the record's last."""
    none = pl.Series("cursor_at", [None] * len(ids), dtype=pl.Datetime("us", "UTC"))
    return Page(page_rows(list(ids), none, op, None, payloads(client.name, list(bodies))))


def no_keys(client: HubSpotClient, name: str) -> WrongObject:
    """Why an object's records cannot be named."""
    return WrongObject(
        f"{client.name}: {name} are things that happened: they are never taken back, and HubSpot "
        "has no list of their keys to compare. Not retried."
    )


def undated(ids: Sequence[str]) -> pl.DataFrame:
    """A page of `KeyLister.keys` without times."""
    none = pl.Series("cursor_at", [None] * len(ids), dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame([pl.Series("record_id", list(ids), dtype=pl.String), none])


def contact_ids(finder: Finder, emails: Sequence[str | None]) -> Callable[[str | None], str | None]:
    """E-mail → the id of the one contact who has it; None for nobody, or for several."""
    wanted = sorted({e.strip().lower() for e in emails if e and "@" in e})
    found = finder.find("contacts", "email", wanted, []) if wanted else {}
    single = {e: str(rows[0]["id"]) for e, rows in found.items() if len(rows) == 1}
    return lambda email: single.get(email.strip().lower()) if email else None
