"""What `dg scaffold defs` writes: a beginning that fits what the deployment already declares, so
that its checks pass at once."""

from __future__ import annotations

from typing import Any

import dagster as dg

from cdp_assets.connectors.systems import SYSTEMS, system_of
from cdp_assets.deployment.catalog import bare_specs
from cdp_assets.deployment.declarations import Deployment, load_deployment


def around(request: dg.ScaffoldRequest[Any]) -> Deployment:
    """The deployment into which something is scaffolded."""
    return load_deployment(request.target_path.parent)


def first_traits(deployment: Deployment, entity: str) -> dict[str, Any]:
    """A few traits of an entity from the sources that are there: survivors of its CRM records,
    and for people what their events say."""
    found: dict[str, Any] = {}
    specs = [spec for spec in bare_specs(deployment) if spec.entity == entity]
    for trait, rule in (("email", "prefer"), ("name", "prefer"), ("title", "latest")):
        fields = [
            f"{spec.name}.{spec.mapping.columns[trait]}"
            for spec in specs
            if trait in spec.mapping.columns
        ]
        if fields:
            found[trait] = {rule: fields}
    if entity == "person" and (deployment.has_events or not found):
        found |= {
            "last_seen": {"select": "max(timestamp)", "from": "events"},
            "events_30d": {"select": "count(*)", "from": "events", "within": "30d"},
            "active": {"expr": "events_30d > 0"},
        }
    return found or {"records": {"select": "count(*)", "from": entity}}


def first_condition(deployment: Deployment, entity: str) -> str:
    """A condition over a trait that the entity has."""
    traits = deployment.traits
    names = list(traits[entity].traits) if entity in traits else []
    if "active" in names or not names:
        return "active"
    return f"{names[0]} is not null"


def first_sync(deployment: Deployment, to: str) -> dict[str, Any]:
    """Where a sync writes to, and one field that it tells, from a trait that is there."""
    system = to.partition(".")[0] or next(iter(deployment.crms), "salesforce")
    config = deployment.crms.get(system)
    object_name, field = (system_of(config) if config else SYSTEMS["Salesforce"]).people
    traits = deployment.traits
    names = list(traits["person"].traits) if "person" in traits else ["title"]
    told = "title" if "title" in names else names[0]
    return {
        "to": to or f"{system}.{object_name}",
        "fields": {field: {"trait": told, "write": "if_empty"}},
    }
