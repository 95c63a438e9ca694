"""Audiences as components."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from cdp_assets.audiences import audience_table
from cdp_assets.audiences.config import AudienceConfig
from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import (
    AFTER_UPSTREAM,
    SINGLE_FILE,
    asset_spec,
    counts,
    rules_version,
    safe_errors,
)
from cdp_assets.components.scaffolding import around, first_condition
from cdp_assets.deployment.catalog import audience_inputs
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.soundness import JUMP, SMALL, jumped, strangers


class _AudienceParams(BaseModel):
    entity: str = Field("person", description="Whose traits the condition is over")
    where: str = Field("", description="Condition over the profile's traits, in SQL")


class _AudienceScaffolder(dg.Scaffolder[_AudienceParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[_AudienceParams]:
        return _AudienceParams

    def scaffold(self, request: dg.ScaffoldRequest[_AudienceParams]) -> None:
        scaffold_attributes(
            request,
            {
                "entity": request.params.entity,
                "label": request.target_path.name.replace("_", " ").capitalize(),
                "where": request.params.where
                or first_condition(around(request), request.params.entity),
            },
        )


@dg.scaffold_with(_AudienceScaffolder)
class Audience(CdpComponent):
    """A condition over traits, and who meets it since when."""

    config_model = AudienceConfig
    config: Any

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        name = declared.name
        spec = asset_spec(
            f"audiences/{name}",
            group="audiences",
            description=f"{self.config.label or name}: who is in it, since when, and who left. "
            f"Condition: {self.config.where}",
            table=audience_table(name),
            deps=audience_inputs(deployment, name),
            owners=[self.config.owner] if self.config.owner else (),
            automation=AFTER_UPSTREAM,
            column_deps={"profile_id": [(f"profiles/{self.config.entity}", "profile_id")]},
            code_version=rules_version(self.config),
        )

        entity = self.config.entity
        checks = [
            dg.AssetCheckSpec(
                "members_are_profiles",
                asset=spec.key,
                blocking=True,
                description=f"Each present member is a {entity} that has a profile.",
            ),
            dg.AssetCheckSpec(
                "no_jump",
                asset=spec.key,
                description=f"A warning where a build makes the audience more than {JUMP:.0%} "
                f"larger or smaller; not of audiences below {SMALL}, nor at the first build.",
            ),
        ]

        @dg.multi_asset(
            name=f"build_audience_{name}", specs=[spec], check_specs=checks, pool=SINGLE_FILE
        )
        @safe_errors
        def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
            here = platform(deployment)
            result = here.build_audience(name)
            unknown = strangers(here.lake, name, entity)
            yield dg.MaterializeResult(
                asset_key=spec.key,
                metadata={
                    **counts(members=result.members, entered=result.entered, left=result.left),
                    "dagster/row_count": result.members,
                },
                check_results=[
                    dg.AssetCheckResult(
                        check_name=checks[0].name,
                        passed=unknown == 0,
                        metadata=counts(members=result.members, without_a_profile=unknown),
                    ),
                    dg.AssetCheckResult(
                        check_name=checks[1].name,
                        passed=not jumped(result),
                        severity=dg.AssetCheckSeverity.WARN,
                        metadata=counts(
                            members=result.members, entered=result.entered, left=result.left
                        ),
                    ),
                ],
            )

        return dg.Definitions(assets=[build])
