"""Dagster's own run storage, kept from growing for ever."""

from __future__ import annotations

from datetime import datetime

import dagster as dg


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
