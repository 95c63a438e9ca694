"""Care for what lasts: the lake's files, and Dagster's own run storage. Every deployment has it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from cdp_assets.components.base import platform
from cdp_assets.components.dagster_assets import asset_spec, counts, safe_errors
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.platform import Platform

KEEP_RUNS = timedelta(days=30)


def maintenance(deployment: Deployment) -> dg.Definitions:
    """The asset that cares for the lake, and its nightly schedule."""
    spec = asset_spec(
        "lake/maintenance",
        group="maintenance",
        description="Small files joined, files of past versions removed, old runs pruned. "
        "The same as `cdp maintain`.",
        kinds=("delta",),
        personal=False,
    )

    @dg.multi_asset(name="maintain_lake", specs=[spec], pool="maintenance")
    @safe_errors
    def maintain(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        result = maintain_all(platform(deployment), context.instance)
        return dg.MaterializeResult(asset_key=spec.key, metadata=counts(**result))

    nightly = dg.ScheduleDefinition(
        name="maintenance_nightly",
        target=dg.AssetSelection.assets(spec.key),
        cron_schedule="15 3 * * *",
        execution_timezone="UTC",
        description="Compacts and vacuums the lake and prunes old runs, each night.",
    )
    return dg.Definitions(assets=[maintain], schedules=[nightly])


def maintain_all(here: Platform, instance: dg.DagsterInstance) -> dict[str, int]:
    """Care for the lake, then prune Dagster's old runs; the figures of both."""
    return {**here.maintain(), "runs_pruned": prune(instance, here.now - KEEP_RUNS)}


def prune(instance: dg.DagsterInstance, before: datetime, batch: int = 200) -> int:
    """Delete finished runs older than `before`, with their events and logs; returns how many.

    Sixty assets every 15 minutes are two million asset runs a year.
    """
    finished = [
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.CANCELED,
    ]
    pruned = 0
    while True:
        runs = instance.get_runs(
            dg.RunsFilter(statuses=finished, created_before=before), limit=batch
        )
        for run in runs:
            instance.delete_run(run.run_id)
        pruned += len(runs)
        if len(runs) < batch:
            return pruned
