"""Raw rows for the tests of records, made by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from cdp_assets.connectors.base import ObjectMapping, Relation
from cdp_assets.lake import Lake
from cdp_assets.raw.tables import raw_table
from cdp_assets.records import ObjectSpec

START = datetime(2026, 1, 1, tzinfo=UTC)

CONTACT = ObjectSpec(
    source="salesforce",
    object="Contact",
    mapping=ObjectMapping(
        entity="person",
        columns={"name": "Name", "email": "Email", "title": "Title", "created_at": "CreatedDate"},
        identifiers={"email": ("Email",), "phone": ("Phone",)},
        relations=(
            Relation("account", "AccountId", "Account"),
            Relation("owner", "OwnerId", "User"),
        ),
    ),
    value_fields=("Title",),
)
LEAD = ObjectSpec(
    source="salesforce",
    object="Lead",
    mapping=ObjectMapping(
        entity="person",
        columns={"name": "Name", "email": "Email", "status": "Status"},
        identifiers={"email": ("Email",)},
        relations=(Relation("converted", "ConvertedContactId", "Contact"),),
    ),
)
SUBSCRIPTION = ObjectSpec(
    source="salesforce",
    object="Subscription__c",
    mapping=ObjectMapping(
        entity="subscription",
        columns={"account": "Account__c", "mrr": "MRR__c", "status": "Status__c"},
        relations=(Relation("account", "Account__c", "Account"),),
    ),
)
HUBSPOT = ObjectSpec(
    source="hubspot",
    object="contacts",
    mapping=ObjectMapping(
        entity="person",
        columns={"email": "email", "title": "jobtitle"},
        identifiers={"email": ("email",)},
        fields_at=("properties",),
        id_field="id",
        associations_at=("associations",),
        association_kinds={"companies": "account"},
    ),
    value_fields=("jobtitle",),
)


def at(hours: float) -> datetime:
    """So many hours after the start of the tests' world."""
    return START + timedelta(hours=hours)


def version(
    record_id: str,
    cursor: float | None,
    payload: dict[str, Any] | str | None,
    *,
    op: str = "upsert",
    merged_into: str | None = None,
    extracted: float | None = None,
) -> dict[str, Any]:
    """One raw row. Times in hours after the start; extraction a minute after the change."""
    text = payload if isinstance(payload, str) or payload is None else json.dumps(payload)
    seen = extracted if extracted is not None else (cursor or 0) + 1 / 60
    return {
        "record_id": record_id,
        "cursor_at": None if cursor is None else at(cursor),
        "op": op,
        "merged_into": merged_into,
        "payload": text,
        "payload_format": "json",
        "payload_hash": str(text),
        "extracted_at": at(seen),
        "window": "w",
        "run_id": "r",
    }


def pull(lake: Lake, spec: ObjectSpec, *versions: dict[str, Any]) -> None:
    """Append versions to the object's raw table, in one commit."""
    table = raw_table(spec.source, spec.object)
    lake.open(table).append(pl.DataFrame(list(versions), schema=dict(table.schema)))
