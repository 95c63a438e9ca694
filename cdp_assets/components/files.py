"""Rows of CSV, JSONL and Parquet files, as events or as records of an entity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import (
    accounted,
    accounting_spec,
    asset_spec,
    counts,
    safe_errors,
)
from cdp_assets.components.event_files import event_source, files_sensor, source_spec
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.events.config import FilesConfig
from cdp_assets.raw.tables import raw_table


class _FilesParams(BaseModel):
    path: str = Field("files/*.csv", description="Glob of the files")
    event: str = Field("Order Completed", description="Name of the event that each row is")


class _FilesScaffolder(dg.Scaffolder[_FilesParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[_FilesParams]:
        return _FilesParams

    def scaffold(self, request: dg.ScaffoldRequest[_FilesParams]) -> None:
        scaffold_attributes(
            request,
            {
                "path": request.params.path,
                "event": request.params.event,
                "fields": {"userId": "customer_id", "timestamp": "date"},
            },
        )


@dg.scaffold_with(_FilesScaffolder)
class Files(CdpComponent):
    """Rows of CSV, JSONL or Parquet files, plain or gzip, as events or as records."""

    config_model = FilesConfig
    config: Any

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        source = source_spec(
            declared, "csv", "Files of rows in a folder; a sensor looks for new ones."
        )
        if self.config.event:
            return event_source(declared, deployment, source)
        pull = _records_asset(declared, deployment)
        return dg.Definitions(
            assets=[source, pull], sensors=[files_sensor(deployment, declared.name, pull.key)]
        )


def _records_asset(declared: Declared, deployment: Deployment) -> dg.AssetsDefinition:
    config: Any = declared.config
    spec = asset_spec(
        f"raw/{declared.name}/{config.as_}",
        group="raw",
        description=f"Every row of the files of `{declared.name}`, verbatim, as {config.as_}.",
        table=raw_table(declared.name, config.as_),
        deps=[f"files/{declared.name}"],
    )

    @dg.multi_asset(
        name=f"pull_{declared.name}",
        specs=[spec],
        check_specs=[
            accounting_spec(
                spec.key,
                "Every row read is stored, known already, or in quarantine, and every file could "
                "be read.",
            )
        ],
        pool=declared.name,
    )
    @safe_errors
    def pull(context: dg.AssetExecutionContext) -> Iterator[Any]:
        result = platform(deployment).ingest_record_files(declared.name, run_id=context.run.run_id)
        whole = result.rows == result.new + result.duplicates + result.quarantined
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata=counts(
                read=result.rows,
                new=result.new,
                already_stored=result.duplicates,
                quarantined=result.quarantined,
                files=result.files,
                files_skipped=result.skipped,
                files_failed=result.failed,
                files_still_growing=result.growing,
            ),
            check_results=accounted(
                whole and not result.failed,
                read=result.rows,
                files_failed=result.failed,
                reasons="; ".join(result.reasons) or None,
            ),
        )

    return pull
