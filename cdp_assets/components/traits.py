"""Traits of an entity as a component: one wide profile row each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import (
    SINGLE_FILE,
    after_upstream_and_midnight,
    asset_spec,
    counts,
    rules_version,
    safe_errors,
)
from cdp_assets.components.scaffolding import around, first_traits
from cdp_assets.deployment.catalog import profile_table, sql_texts, trait_columns, trait_inputs
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.soundness import profiles_found
from cdp_assets.profiles.config import TraitsConfig


class _TraitsParams(BaseModel):
    entity: str = Field("person", description="Entity whose profiles the traits describe")


class _TraitsScaffolder(dg.Scaffolder[_TraitsParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[_TraitsParams]:
        return _TraitsParams

    def scaffold(self, request: dg.ScaffoldRequest[_TraitsParams]) -> None:
        scaffold_attributes(
            request,
            {
                "entity": request.params.entity,
                "traits": first_traits(around(request), request.params.entity),
            },
        )


@dg.scaffold_with(_TraitsScaffolder)
class Traits(CdpComponent):
    """What is known of each profile of an entity: survivors, counts, sums, windows, expressions."""

    config_model = TraitsConfig
    config: Any

    def get_asset_spec(self, declared: Declared, deployment: Deployment) -> dg.AssetSpec:
        """The spec of profiles/<entity>; override to change groups, owners or tags."""
        entity = self.config.entity
        table = profile_table(deployment, entity)
        stored = {
            trait: columns
            for trait, columns in trait_columns(deployment, entity).items()
            if table is None or trait in table.schema
        }
        return asset_spec(
            f"profiles/{entity}",
            group="profiles",
            description=f"One row for each {entity}: the unified profile. "
            "`cdp explain` shows where each value comes from.",
            table=table,
            deps=trait_inputs(deployment, entity),
            automation=after_upstream_and_midnight(),
            owners=sorted({t.owner for t in self.config.traits.values() if t.owner}),
            column_deps=stored,
            code_version=rules_version(self.config, *sql_texts(deployment, entity).values()),
        )

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        spec = self.get_asset_spec(declared, deployment)
        entity = self.config.entity

        once = dg.AssetCheckSpec(
            "one_row_each",
            asset=spec.key,
            blocking=True,
            description=f"Every {entity} in identity's graph has its one row here, and nobody else "
            "has one: no audience and no sync is made of profiles that were lost or doubled.",
        )

        @dg.multi_asset(
            name=f"build_profiles_{entity}", specs=[spec], check_specs=[once], pool=SINGLE_FILE
        )
        @safe_errors
        def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
            here = platform(deployment)
            result = here.build_profiles(entity, run_id=context.run.run_id)
            found = profiles_found(here.lake, entity)
            yield dg.MaterializeResult(
                asset_key=spec.key,
                metadata={
                    **counts(
                        profiles=result.profiles,
                        touched=result.touched,
                        changed=result.changed,
                        values_changed=result.values_changed,
                        now=result.now.isoformat(),
                    ),
                    "dagster/row_count": result.profiles,
                },
                check_results=[
                    dg.AssetCheckResult(
                        check_name=once.name, passed=found.sound, metadata=counts(**asdict(found))
                    )
                ],
            )

        return dg.Definitions(assets=[build])
