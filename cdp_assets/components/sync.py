"""Syncs as components: a plan that people can read, its brakes, and the run that applies it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import RETRY, asset_spec, counts, safe_errors
from cdp_assets.components.scaffolding import around, first_sync
from cdp_assets.deployment.catalog import sync_columns, sync_inputs
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.syncs import PLAN, state_table
from cdp_assets.syncs.config import SyncConfig

STOP_IF = "stop_if"
FIELDS = "fields_still_there"


class ApplyOptions(dg.Config):
    """Launch options of a sync."""

    approve: str = Field(
        "", description="Hash of the plan to approve and apply in this run, as the plan shows it."
    )

    limit: int = Field(
        0, ge=0, description="Send no more rows than this, to try; 0: all. The rest stays planned."
    )
    resync: bool = Field(
        False,
        description="Read all records that were told before and tell again what differs there.",
    )


class _SyncParams(BaseModel):
    to: str = Field("", description="System and object to write to, such as salesforce.Contact")


class _SyncScaffolder(dg.Scaffolder[_SyncParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[_SyncParams]:
        return _SyncParams

    def scaffold(self, request: dg.ScaffoldRequest[_SyncParams]) -> None:
        scaffold_attributes(
            request,
            {
                "from": "person",
                "mode": "update",
                "match": ["linked"],
                **first_sync(around(request), request.params.to),
                "every": "1h",
                "approve": "first",
                "stop_if": {"changed": "20%", "failed": "1%"},
            },
        )


def cron(every: timedelta) -> str:
    """The cron line nearest to an interval: minutes below an hour, hours below a day, else days."""
    minutes = max(1, int(every.total_seconds() // 60))
    if minutes < 60:
        return f"*/{minutes} * * * *"
    hours = minutes // 60
    return f"0 */{hours} * * *" if hours < 24 else "0 5 * * *"


@dg.scaffold_with(_SyncScaffolder)
class Sync(CdpComponent):
    """Profiles written to an outside system: planned field by field, approved, then applied."""

    config_model = SyncConfig
    config: Any

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        name, config = declared.name, self.config
        system = config.targets[0].partition(".")[0]
        fields = ", ".join(config.fields) or f"members of {config.list_}"
        plan_spec = asset_spec(
            f"syncs/{name}/plan",
            group="syncs",
            description=f"What {name} would write to {', '.join(config.targets)}, field by field "
            f"({fields}), with old value, new value and why. Nothing is written here.",
            table=PLAN,
            deps=sync_inputs(deployment, name),
            column_deps={"new": sync_columns(deployment, name)},
            code_version=config.fingerprint[:12],
            owners=[config.owner] if config.owner else (),
        )
        sync_spec = asset_spec(
            f"syncs/{name}",
            group="syncs",
            description=f"Applies the approved plan of {name} to {', '.join(config.targets)}, and "
            "keeps what each record was last told. Without approval it writes nothing.",
            table=state_table(name),
            deps=[f"syncs/{name}/plan"],
            column_deps={
                column: [(f"syncs/{name}/plan", column)]
                for column in state_table(name).schema
                if column in PLAN.schema
            },
            code_version=config.fingerprint[:12],
            kinds=("delta", system),
            owners=[config.owner] if config.owner else (),
        )

        if config.purpose:
            # So that `tag:purpose=marketing` selects all that leaves the house for it.
            purpose = {"purpose": config.purpose}
            plan_spec = plan_spec.merge_attributes(tags=purpose)
            sync_spec = sync_spec.merge_attributes(tags=purpose)

        @dg.multi_asset(
            name=f"plan_{name}",
            specs=[plan_spec],
            check_specs=[
                dg.AssetCheckSpec(
                    STOP_IF,
                    asset=plan_spec.key,
                    blocking=True,
                    description="Changes, creations, deletions stay below the sync's own limits.",
                ),
                dg.AssetCheckSpec(
                    FIELDS,
                    asset=plan_spec.key,
                    description="The destination has all fields that the sync tells; one that is "
                    "gone there is paused, the rest goes on.",
                ),
            ],
            pool=f"{system}",
            retry_policy=RETRY,
        )
        @safe_errors
        def plan(context: dg.AssetExecutionContext) -> Iterator[Any]:
            result = platform(deployment).plan(name, anew=False)
            yield dg.MaterializeResult(
                asset_key=plan_spec.key,
                metadata={
                    **counts(
                        plan=result.hash,
                        rows=result.rows_planned,
                        creates=result.creates,
                        updates=result.updates,
                        deletes=result.deletes or None,
                        fields=result.fields_planned,
                        row_errors=result.row_errors,
                        approve_by=result.approve_hint,
                    ),
                    "dagster/row_count": result.fields_planned,
                },
                check_results=[
                    dg.AssetCheckResult(
                        check_name=STOP_IF,
                        passed=not result.stopped,
                        description="; ".join(result.stopped) or None,
                        metadata=counts(
                            rows=result.rows_planned,
                            creates=result.creates,
                            deletes=result.deletes or None,
                        ),
                    ),
                    dg.AssetCheckResult(
                        check_name=FIELDS,
                        passed=not result.paused,
                        severity=dg.AssetCheckSeverity.WARN,
                        description="; ".join(result.paused.values()) or None,
                    ),
                ],
            )

        @dg.multi_asset(name=f"apply_{name}", specs=[sync_spec], pool=f"{system}")
        @safe_errors
        def apply(
            context: dg.AssetExecutionContext, config: ApplyOptions
        ) -> dg.MaterializeResult[Any]:
            here = platform(deployment)
            if config.resync:
                read, differing = here.resync(name)
                context.log.info(f"{read} records were read, {differing} of them differ")
            result = here.apply(
                name,
                run_id=context.run.run_id,
                approve=config.approve or None,
                limit=config.limit or None,
            )
            if result.message:
                context.log.info(result.message)
            return dg.MaterializeResult(
                asset_key=sync_spec.key,
                metadata=counts(
                    written=result.written,
                    created=result.created,
                    failed=result.failed,
                    api_calls=result.calls,
                    note=result.message or None,
                ),
            )

        schedule = dg.ScheduleDefinition(
            name=f"{name}_every",
            target=dg.AssetSelection.assets(plan_spec.key, sync_spec.key),
            cron_schedule=cron(config.every),
            execution_timezone="UTC",
            description=f"Plans and applies {name}.",
        )
        return dg.Definitions(assets=[plan, apply], schedules=[schedule])
