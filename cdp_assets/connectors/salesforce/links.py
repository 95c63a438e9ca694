"""Which field of a new record points at each record it belongs to."""

from __future__ import annotations

from typing import Any

from cdp_assets.connectors.base import RowChange
from cdp_assets.connectors.salesforce.describe import SalesforceField, SalesforceObject
from cdp_assets.connectors.salesforce.ids import long_id

_FIRST = ("WhoId", "WhatId")


def linked(described: SalesforceObject, change: RowChange) -> tuple[dict[str, Any], str | None]:
    """The row's fields with its links as references, and the object that has no place in it.

    A task's contact or lead is its `WhoId`, its account, opportunity or case its `WhatId`; a
    contact's account is `AccountId`. A place holds one record: the first link keeps it, and a field
    that the row sets itself is left alone.
    """
    fields = dict(change.fields)
    for name, record_id in change.links:
        places = _places(described, name)
        if not places:
            return fields, name
        fields.setdefault(places[0].name, long_id(record_id))
    return fields, None


def _places(described: SalesforceObject, name: str) -> list[SalesforceField]:
    found = [f for f in described.fields if f.createable and name in f.reference_to]
    wanted = (*_FIRST, f"{name}Id", f"{name.removesuffix('__c')}__c")

    def rank(field: SalesforceField) -> int:
        return wanted.index(field.name) if field.name in wanted else len(wanted)

    return sorted(found, key=rank)
