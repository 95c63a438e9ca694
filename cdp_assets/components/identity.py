"""Identity as a component: the records that it reads, and the graph that it resolves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import BaseModel

from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import (
    AFTER_UPSTREAM,
    SINGLE_FILE,
    asset_spec,
    counts,
    rules_version,
    safe_errors,
)
from cdp_assets.deployment.catalog import (
    catalog,
    identity_of,
    raw_keys,
    reconciliation_keys,
)
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.identity import tables as identity_tables
from cdp_assets.identity.config import IdentityConfig
from cdp_assets.records import tables as record_tables
from cdp_assets.records.tables import entity_table
from cdp_assets.records.versions import own_columns


def _own_columns(deployment: Deployment, entity: str) -> list[str]:
    specs = [spec for spec in catalog(deployment).specs if spec.entity == entity]
    return [column for spec in specs for column in own_columns(spec)]


def _records(deployment: Deployment) -> dg.AssetsDefinition:
    raw = raw_keys(deployment)
    mended = reconciliation_keys(deployment)
    # One version for all: they are one step, which reads an object anew where its rules change.
    rules = sorted((spec.name, spec.rules()) for spec in catalog(deployment).specs)
    version = rules_version(*rules)
    specs = [
        asset_spec(
            f"records/{entity}",
            group="records",
            description=f"The latest version of each source record that is a kind of {entity}, "
            "in common columns; deletions and merges followed.",
            table=entity_table(entity, _own_columns(deployment, entity)),
            deps=[*keys, *mended],
            automation=AFTER_UPSTREAM,
            code_version=version,
            column_deps={"record_id": [(key, "record_id") for key in keys]},
        )
        for entity, keys in raw.items()
    ]
    every_raw = [key for keys in raw.values() for key in keys]
    specs += [
        asset_spec(
            "records/relation",
            group="records",
            description="Which record points at which: a contact's account, a lead's contact.",
            table=record_tables.RELATION,
            deps=[*every_raw, *mended],
            automation=AFTER_UPSTREAM,
            code_version=version,
            column_deps={
                column: [(key, "payload") for key in every_raw] for column in ("from", "to")
            },
        ),
        asset_spec(
            "records/values",
            group="records",
            description="The values over time of each field that configuration names; what we "
            "wrote ourselves is no observation.",
            table=record_tables.VALUES,
            deps=[*every_raw, *mended],
            automation=AFTER_UPSTREAM,
            code_version=version,
            column_deps={"value": [(key, "payload") for key in every_raw]},
        ),
    ]

    @dg.multi_asset(name="build_records", specs=specs, pool=SINGLE_FILE)
    @safe_errors
    def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
        result = platform(deployment).build_records()
        for spec in specs:
            entity = spec.key.path[-1]
            read = result.records.get(entity)
            found = (
                counts(records_read=read)
                if read is not None
                else counts(
                    rows_inserted=result.inserted,
                    rows_updated=result.updated,
                    rows_deleted=result.deleted,
                    unreadable=result.unreadable,
                )
            )
            yield dg.MaterializeResult(asset_key=spec.key, metadata=found)

    return build


def _identity(deployment: Deployment) -> dg.AssetsDefinition:
    version = rules_version(identity_of(deployment))
    deps = ["records/values", "records/relation"]
    if deployment.has_events:
        deps.append("events")
    described = {
        "identity/links": (
            identity_tables.LINKS,
            "Which identifier was seen with which, how often, where; refused ones with why.",
        ),
        "identity/graph": (
            identity_tables.GRAPH,
            "Identifier → profile. Look here for whom an identifier belongs to.",
        ),
        "identity/changes": (
            identity_tables.CHANGES,
            "Each move of an identifier from one profile to another, with its cause.",
        ),
    }
    sides = [("records/values", "record"), ("records/values", "value")]
    sides += [("records/relation", "from"), ("records/relation", "to")]
    if deployment.has_events:
        sides += [("events", "anonymous_id"), ("events", "user_id"), ("events", "payload")]
    ends = [("identity/links", "left"), ("identity/links", "right")]
    specs = [
        asset_spec(
            key,
            group="identity",
            description=text,
            table=table,
            deps=deps if key == "identity/links" else ["identity/links"],
            automation=AFTER_UPSTREAM if key == "identity/links" else None,
            column_deps={"left": sides, "right": sides}
            if key == "identity/links"
            else {"identifier": ends},
            code_version=version,
        )
        for key, (table, text) in described.items()
    ]
    graph = dg.AssetKey(["identity", "graph"])

    @dg.multi_asset(
        name="resolve_identity",
        specs=specs,
        check_specs=[
            dg.AssetCheckSpec(
                "within_limits",
                asset=graph,
                description="No profile holds more identifiers of a type than its limit.",
            )
        ],
        pool=SINGLE_FILE,
    )
    @safe_errors
    def resolve(context: dg.AssetExecutionContext) -> Iterator[Any]:
        here = platform(deployment)
        result = here.resolve()
        over = here.profiles_over_limits()
        moved = sum(item.moved for item in result.entities.values())
        yield dg.MaterializeResult(
            asset_key=specs[0].key,
            metadata=counts(links=result.links, refused=result.refused),
        )
        yield dg.MaterializeResult(
            asset_key=graph,
            metadata=counts(
                **{f"profiles_{k}": v.profiles for k, v in result.entities.items()},
                identifiers_moved=moved,
            ),
            check_results=[
                dg.AssetCheckResult(
                    check_name="within_limits",
                    passed=over == 0,
                    metadata=counts(profiles_over_a_limit=over),
                )
            ],
        )
        yield dg.MaterializeResult(asset_key=specs[2].key, metadata=counts(moves=moved))

    return resolve


class _IdentityScaffolder(dg.Scaffolder[BaseModel]):
    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        scaffold_attributes(
            request,
            {
                "person": {
                    "identifiers": {
                        "user_id": {"from": ["events.userId"], "limit": 1},
                        "email": {"limit": 5, "block": ["info@*"]},
                        "phone": {"limit": 3, "region": "US"},
                        "anonymous_id": {"limit": 100},
                    },
                    "logout": ["Signed Out"],
                }
            },
        )


@dg.scaffold_with(_IdentityScaffolder)
class Identity(CdpComponent):
    """Who is who: identifiers with their limits, resolved into profiles of people and accounts."""

    config_model = IdentityConfig

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        del declared
        assets = [_identity(deployment)]
        if raw_keys(deployment):
            assets.insert(0, _records(deployment))
        return dg.Definitions(assets=assets)
