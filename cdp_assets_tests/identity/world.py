"""Events and records for the tests of identity, made by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from cdp_assets.connectors.base import ObjectMapping, Relation
from cdp_assets.events.tables import EVENTS
from cdp_assets.events.tables import VALUES as EVENT_VALUES
from cdp_assets.identity import GRAPH, LINKS, IdentityConfig, resolve
from cdp_assets.lake import Lake
from cdp_assets.records import ObjectSpec, build
from cdp_assets_tests.records.world import LEAD, at, pull, version

CONTACT = ObjectSpec(
    source="salesforce",
    object="Contact",
    mapping=ObjectMapping(
        entity="person",
        columns={"email": "Email", "created_at": "CreatedDate"},
        identifiers={"email": ("Email",), "phone": ("MobilePhone", "Phone")},
        relations=(Relation("account", "AccountId", "Account"),),
    ),
    value_fields=("App_User_Id__c",),
)
ACCOUNT = ObjectSpec(
    source="salesforce",
    object="Account",
    mapping=ObjectMapping(
        entity="account",
        columns={"name": "Name", "website": "Website"},
        identifiers={"domain": ("Website",)},
    ),
    value_fields=("Workspace_Id__c",),
)
COMPANY = ObjectSpec(
    source="hubspot",
    object="companies",
    mapping=ObjectMapping(
        entity="account",
        columns={"name": "name"},
        identifiers={"domain": ("domain",)},
        fields_at=("properties",),
        id_field="id",
    ),
)
PLAN = ObjectSpec(
    source="salesforce",
    object="Plan__c",
    mapping=ObjectMapping(
        entity="plan",
        columns={"account": "Account__c"},
        relations=(Relation("account", "Account__c", "Account"),),
    ),
)
SPECS = (CONTACT, LEAD, ACCOUNT, COMPANY, PLAN)

CONFIG = IdentityConfig.model_validate(
    {
        "person": {
            "identifiers": {
                "user_id": {
                    "from": ["events.userId", "salesforce.Contact.App_User_Id__c"],
                    "limit": 1,
                },
                "email": {"limit": 5, "block": ["info@*", "*@example.org"]},
                "phone": {"limit": 3, "region": "US"},
                "anonymous_id": {"limit": 100},
            },
            "logout": ["Signed Out"],
        },
        "account": {
            "identifiers": {
                "workspace_id": {"from": ["events.groupId", "salesforce.Account.Workspace_Id__c"]},
                "domain": {
                    "from": ["salesforce.Account.Website", "hubspot.companies.domain"],
                    "block": "free_mail",
                },
            }
        },
    }
)


def event(
    hours: float,
    anonymous: str | None = None,
    user: str | None = None,
    *,
    name: str = "Viewed",
    group: str | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    """One row of `events`, so many hours after the start of the world."""
    moment = at(hours)
    return {
        "message_id": message or f"{hours}-{anonymous}-{user}-{name}",
        "source": "app",
        "type": "track",
        "event": name,
        "anonymous_id": anonymous,
        "user_id": user,
        "group_id": group,
        "visitor": anonymous or user or "",
        "received_at": moment,
        "timestamp": moment,
        "event_day": moment.date(),
        "origin": "file",
        "row_number": 1,
        "flags": [],
        "payload": "{}",
    }


def send(lake: Lake, *events: dict[str, Any]) -> None:
    """Append rows to `events`."""
    lake.open(EVENTS).append(pl.DataFrame(list(events), schema=dict(EVENTS.schema)))


def tell(lake: Lake, hours: float, identifier: str, trait: str, value: str | None) -> None:
    """Add a row to events/values: an identify call."""
    row = {
        "source": "app",
        "visitor": identifier.partition(":")[2],
        "identifier": identifier,
        "field": f"events.traits.{trait}",
        "value": value,
        "changed_at": at(hours),
        "message_id": f"m{hours}",
    }
    lake.open(EVENT_VALUES).merge(pl.DataFrame([row], schema=dict(EVENT_VALUES.schema)))


def contact(record_id: str, hours: float, **fields: Any) -> dict[str, Any]:
    """A version of a Salesforce contact."""
    return version(record_id, hours, fields)


def run(lake: Lake, *, config: IdentityConfig = CONFIG, now: datetime | None = None) -> None:
    """Build records and resolve identity."""
    build(lake, SPECS, None, now or at(100))
    resolve(lake, config, SPECS, now or at(100))


def profiles(lake: Lake, entity: str = "person") -> list[set[str]]:
    """The identifiers of each profile, in the order of profile ids."""
    rows = lake.open(GRAPH).scan().filter(pl.col("entity") == entity)
    found = rows.group_by("profile_id").agg("identifier").sort("profile_id").collect()
    return [set(ids) for ids in found["identifier"]]


def profile_of(lake: Lake, identifier: str, entity: str = "person") -> int | None:
    """The profile that holds an identifier."""
    rows = (
        lake.open(GRAPH)
        .scan()
        .filter((pl.col("entity") == entity) & (pl.col("identifier") == identifier))
    )
    found = rows.collect()["profile_id"].to_list()
    return found[0] if found else None


def refused(lake: Lake) -> set[tuple[str, str, str]]:
    """left, right, reason of the refused links."""
    rows = lake.open(LINKS).scan().filter(pl.col("state") == "refused")
    return set(rows.select("left", "right", "reason").collect().iter_rows())


__all__ = [
    "ACCOUNT", "COMPANY", "CONFIG", "CONTACT", "LEAD", "PLAN", "SPECS", "at", "contact", "event",
    "profile_of", "profiles", "pull", "refused", "run", "send", "tell", "version",
]  # fmt: skip
