"""Files of events, and of rows read as events, as components of the one `events` asset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
from pydantic import BaseModel, Field

from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import (
    WHEN_NAMED,
    accounted,
    accounting_spec,
    asset_spec,
    counts,
    days_partitions,
    rules_version,
    safe_errors,
)
from cdp_assets.components.event_catalogue import event_catalogue, quarantine_table
from cdp_assets.components.tracking_plan import plan_keys
from cdp_assets.deployment.catalog import catalog
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.events import EVENTS, accounts, typed_specs
from cdp_assets.events.config import EventFilesConfig

UNDERSTOOD = "understood"


def landed_table(landed: pl.DataFrame) -> dict[str, dg.MetadataValue[Any]]:
    """What became of the collector's events by source and hour of receipt, the latest 48 rows."""
    if not len(landed):
        return {}
    columns = [dg.TableColumn("source"), dg.TableColumn("hour")]
    columns += [dg.TableColumn(name, "int") for name in accounts.COUNTS]
    latest = landed.sort("hour", descending=True).head(48)
    records = [
        dg.TableRecord({**row, "hour": f"{row['hour']:%Y-%m-%d %H:00} UTC"})
        for row in latest.iter_rows(named=True)
    ]
    table = dg.MetadataValue.table(records, dg.TableSchema(columns))
    return {"by_source_and_hour": table}


def source_spec(declared: Declared, kind: str, description: str) -> dg.AssetSpec:
    """The outside files, as the graph's left edge."""
    return asset_spec(
        f"files/{declared.name}",
        group="sources",
        description=description,
        kinds=("file", kind),
    )


def files_sensor(deployment: Deployment, name: str, target: dg.AssetKey) -> dg.SensorDefinition:
    """A run as soon as a file of `name` is there that was not read before."""

    @dg.sensor(
        name=f"{name}_files",
        target=dg.AssetSelection.assets(target),
        minimum_interval_seconds=30,
        description=f"Starts a run when `{name}` has a file that was not read before.",
    )
    @safe_errors
    def files(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        new = platform(deployment).new_files(name)
        if not new:
            return dg.SkipReason("no new file")
        return dg.RunRequest(run_key=None, asset_selection=[target])

    return files


def event_source(
    declared: Declared, deployment: Deployment, source: dg.AssetSpec
) -> dg.Definitions:
    """A source of events; the first of a deployment brings the assets that all of them share."""
    sensor = files_sensor(deployment, declared.name, dg.AssetKey("events"))
    return shared_by(declared, deployment, dg.Definitions(assets=[source], sensors=[sensor]))


def shared_by(declared: Declared, deployment: Deployment, own: dg.Definitions) -> dg.Definitions:
    """`own`, and with the deployment's first source of events what all of them share."""
    if next(iter((*deployment.event_files, *deployment.event_sources))) != declared.name:
        return own
    return dg.Definitions.merge(own, events_definitions(deployment), event_catalogue(deployment))


def segments_sensor(deployment: Deployment) -> dg.SensorDefinition:
    """A run as soon as the collector has closed a segment of its log."""
    target = dg.AssetKey("events")

    @dg.sensor(
        name="collector_segments",
        target=dg.AssetSelection.assets(target),
        minimum_interval_seconds=15,
        description="Starts a run when the collector has closed a segment that was not read.",
    )
    @safe_errors
    def segments(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        del context
        if not platform(deployment).new_segments():
            return dg.SkipReason("no new segment")
        return dg.RunRequest(run_key=None, asset_selection=[target])

    return segments


def events_definitions(deployment: Deployment) -> dg.Definitions:
    """The `events` asset that all event sources of the deployment share, and its typed tables."""
    kept = catalog(deployment)
    named = typed_specs(kept.properties)
    spec = asset_spec(
        "events",
        group="events",
        description="Every event once, verbatim and in common columns, by the UTC day on which "
        "the client says it happened. Broken lines are in `raw/quarantine` with file, line "
        "and reason.",
        table=EVENTS,
        deps=[
            *(f"files/{name}" for name in deployment.event_files),
            *(f"http/{name}" for name in deployment.event_sources),
            *plan_keys(deployment),
        ],
        partitions_def=days_partitions(deployment),
        automation=WHEN_NAMED,
        code_version=rules_version(*sorted(s.digest for s in named.values()), *sorted(kept.told)),
    )
    typed = [
        asset_spec(
            item.key,
            group="events",
            description=f"The properties of “{event}” that traits and audiences name, as typed "
            "columns. Written in the same step as `events`.",
            table=item.table,
            deps=["events"],
            column_deps={
                column: [("events", column if column in EVENTS.schema else "payload")]
                for column in item.table.schema
            },
            code_version=rules_version(item.digest),
        )
        for event, item in named.items()
    ]

    @dg.multi_asset(
        name="ingest_events",
        specs=[spec],
        check_specs=[
            accounting_spec(
                spec.key,
                "Every line read is stored, a duplicate, in quarantine, or dropped as planned.",
            ),
            dg.AssetCheckSpec(
                UNDERSTOOD,
                asset=spec.key,
                description="Every time could be read (else the time of receipt was taken: "
                "`date_format` says how a file writes its dates), and every property's value is of "
                "its column's type (else it is kept as text in `PROPERTY__str`).",
            ),
        ],
        pool="events",
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    @safe_errors
    def ingest(context: dg.AssetExecutionContext) -> Iterator[Any]:
        """New files where no day is named; for days, the files that hold them, in one run
        whatever the range: reading a file costs the same for one of its days as for all."""
        days = None
        if context.has_partition_key or context.has_partition_key_range:
            keys = context.partition_keys
            days = (keys[0], keys[-1])
        result = platform(deployment).ingest(days, run_id=context.run.run_id)
        for day, rows in sorted(result.by_day.items()):
            key = day.isoformat()
            if days is None:
                context.log_event(
                    dg.AssetMaterialization(spec.key, partition=key, metadata={"rows": rows})
                )
            elif days[0] <= key <= days[1]:
                context.add_asset_metadata({"rows": rows}, asset_key=spec.key, partition_key=key)
        for item in typed:
            if result.stored or "/".join(item.key.path) in result.decoded:
                context.log_event(dg.AssetMaterialization(item.key))
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata=counts(
                read=result.read,
                stored=result.stored,
                duplicates=result.duplicates,
                quarantined=result.quarantined,
                dropped_by_plan=sum(result.dropped_events.values()),
                dropped_by_transformation=sum(result.discarded.values()),
                split_by_transformation=result.split,
                reused_message_ids=result.reused_id,
                times_unread=result.unread_times,
                without_time=result.untimed,
                values_kept_as_text=sum(result.beside.values()),
                files=result.files,
                files_with_known_bytes=result.same_bytes,
                files_failed=result.failed,
                tables_decoded_anew=len(result.decoded),
            )
            | landed_table(result.landed)
            | quarantine_table(platform(deployment).lake)
            | dict(platform(deployment).event_versions),
            check_results=[
                *accounted(
                    result.accounted and not result.failed,
                    read=result.read,
                    stored=result.stored,
                ),
                dg.AssetCheckResult(
                    check_name=UNDERSTOOD,
                    passed=not (result.unread_times or result.beside),
                    severity=dg.AssetCheckSeverity.WARN,
                    metadata=counts(times_unread=result.unread_times, **result.beside),
                ),
            ],
        )

    return dg.Definitions(assets=[ingest, *typed], sensors=[segments_sensor(deployment)])


class _EventFilesParams(BaseModel):
    path: str = Field("events/*.jsonl*", description="Glob of the files")


class _EventFilesScaffolder(dg.Scaffolder[_EventFilesParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[_EventFilesParams]:
        return _EventFilesParams

    def scaffold(self, request: dg.ScaffoldRequest[_EventFilesParams]) -> None:
        scaffold_attributes(request, {"path": request.params.path, "purpose": "analytics"})


@dg.scaffold_with(_EventFilesScaffolder)
class EventFiles(CdpComponent):
    """Files of events in Segment's JSON shape, plain or gzip, in a folder."""

    config_model = EventFilesConfig

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        source = source_spec(
            declared, "json", "Event files that appear in a folder; a sensor looks for new ones."
        )
        return event_source(declared, deployment, source)
