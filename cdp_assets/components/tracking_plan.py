"""Tracking plans as components."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from cdp_assets.components.base import CdpComponent, scaffold_attributes
from cdp_assets.components.dagster_assets import asset_spec, rules_version
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.plans import plan_named, plans
from cdp_assets.events.plan.config import TrackingPlanConfig


def plan_key(name: str) -> str:
    """The asset of a plan."""
    return f"tracking_plan/{name}"


def plan_keys(deployment: Deployment) -> list[str]:
    """The assets of the plans that sources are judged by."""
    named = {plan_named(item) for item in deployment.declared.values()}
    return [plan_key(name) for name in deployment.of(TrackingPlanConfig) if name in named]


class _PlanParams(BaseModel):
    event: str = Field("Report Exported", description="Name of a first event")


class _PlanScaffolder(dg.Scaffolder[_PlanParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[_PlanParams]:
        return _PlanParams

    def scaffold(self, request: dg.ScaffoldRequest[_PlanParams]) -> None:
        scaffold_attributes(
            request,
            {
                "violations": "flag",
                "events": {
                    request.params.event: {
                        "properties": {"format": {"type": "string", "required": True}}
                    }
                },
            },
        )


@dg.scaffold_with(_PlanScaffolder)
class TrackingPlan(CdpComponent):
    """The events that sources may send, with their properties; sources name it by
    `tracking_plan`."""

    config_model = TrackingPlanConfig
    config: Any

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        plan = plans(deployment)[declared.name]
        config = plan.config
        sources = [n for n, item in deployment.declared.items() if plan_named(item) == plan.name]
        rows = [
            dg.TableRecord(
                {
                    "event": event,
                    "violations": rule.violations or config.violations,
                    "feature": rule.feature or "",
                    "owner": rule.owner or config.owner or "",
                    "description": rule.description or "",
                }
            )
            for event, rule in sorted(plan.event_rules.items())
        ]
        spec = asset_spec(
            plan_key(declared.name),
            group="sources",
            description=f"What {', '.join(sources) or 'no source yet'} may send: "
            f"{len(rows)} events. What breaks it: {config.violations}.",
            kinds=("yaml",),
            owners=[config.owner] if config.owner else (),
            personal=False,
            metadata={"version": str(config.version or "")}
            | ({"events": dg.MetadataValue.table(rows)} if rows else {}),
            code_version=rules_version(config, plan.schemas),
        )
        return dg.Definitions(assets=[spec])
