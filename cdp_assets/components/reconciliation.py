"""How pulls stand, in Dagster: comparisons of keys on a schedule, and checks of descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from cdp_assets.components.base import platform
from cdp_assets.components.dagster_assets import RETRY, asset_spec, counts, safe_errors
from cdp_assets.connectors.config import CrmConfig
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.raw.health import lost
from cdp_assets.raw.reconcile import RECONCILIATIONS

SCHEMA, COMPLETE = "fields_still_there", "nothing_vanished_at_once"
_CRON = {"daily": "0 2 * * *", "weekly": "0 2 * * 0"}


def reconciliation(
    deployment: Deployment, name: str, config: CrmConfig, system: str
) -> tuple[list[dg.AssetsDefinition], list[dg.ScheduleDefinition]]:
    """The asset that compares a system's keys with those stored, and its schedule; neither where
    `reconcile` is never."""
    if config.reconcile == "never":
        return [], []
    spec = asset_spec(
        f"crm/{name}/reconciliation",
        # Beside the systems: it has no days, so a range over the group of raw would refuse it, and
        # it is not expected each day.
        group="sources",
        description=f"Compares the keys of all records of `{name}` with those stored, and mends "
        f"`raw/{name}/…`: what vanished without a trace is kept as deleted, what was missed is "
        "pulled again.",
        table=RECONCILIATIONS,
        deps=[f"crm/{name}"],
        kinds=("delta", system),
        personal=False,
    )

    @dg.multi_asset(
        name=f"reconcile_{name}",
        specs=[spec],
        check_specs=[
            dg.AssetCheckSpec(
                COMPLETE,
                asset=spec.key,
                description="No object lost more records at once than `reconcile_limit` allows.",
            )
        ],
        pool=name,
        retry_policy=RETRY,
    )
    @safe_errors
    def compare(context: dg.AssetExecutionContext) -> Iterator[Any]:
        here = platform(deployment)
        found = here.reconcile(name, context.run.run_id)
        refused = [f"{item.object}: {item.refused}" for item in found if item.refused]
        for text in refused:
            context.log.warning(text)
        per_object = {
            f"{item.object}: {what}": getattr(item, what)
            for item in found
            for what in ("gone", "missed", "returned")
            if getattr(item, what)
        }
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata=counts(
                there=sum(item.there for item in found),
                here=sum(item.here for item in found),
                gone=sum(item.gone for item in found if not item.refused),
                missed=sum(item.missed for item in found),
                returned=sum(item.returned for item in found),
                pulled_again=sum(item.reread for item in found) or None,
                api_budget=spoken(here.budget(name)),
                **per_object,
            ),
            check_results=[
                dg.AssetCheckResult(
                    check_name=COMPLETE,
                    passed=not any(item.refused and item.gone for item in found),
                    description="; ".join(refused) or None,
                )
            ],
        )

    schedule = dg.ScheduleDefinition(
        name=f"{name}_reconciliation",
        target=dg.AssetSelection.assets(spec.key),
        cron_schedule=_CRON[config.reconcile],
        execution_timezone="UTC",
        description=f"Compares all keys of `{name}` with those stored, {config.reconcile}.",
    )
    return [compare], [schedule]


def schema_spec(asset: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check that no field of the object went away or changed its type."""
    return dg.AssetCheckSpec(
        SCHEMA,
        asset=asset,
        description="Since the last pull no field of the object went away or changed its type.",
    )


def unbroken(changes: tuple[str, ...]) -> dg.AssetCheckResult:
    """The result of that check; a warning, since the pull itself went on."""
    broken = lost(changes)
    return dg.AssetCheckResult(
        check_name=SCHEMA,
        passed=not broken,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(broken) or None,
        metadata=counts(changed=len(changes), broken=len(broken)),
    )


def spoken(budget: tuple[int, int] | None) -> str | None:
    """`1,200 of 15,000 requests today`; None where it is not known."""
    return None if budget is None else f"{budget[0]:,} of {budget[1]:,} requests today"
