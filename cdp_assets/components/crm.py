"""CRMs as components: raw assets by day, a sensor for changes, a daily schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import dagster as dg
from pydantic import BaseModel, Field, create_model

from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import (
    RETRY,
    accounted,
    accounting_spec,
    asset_spec,
    counts,
    days_partitions,
    range_tags,
    safe_errors,
)
from cdp_assets.components.reconciliation import reconciliation, schema_spec, spoken, unbroken
from cdp_assets.connectors.hubspot.config import HubSpotConfig
from cdp_assets.connectors.salesforce.config import SalesforceConfig
from cdp_assets.connectors.sugarcrm.config import SugarCRMConfig
from cdp_assets.connectors.systems import System
from cdp_assets.connectors.zendesk.config import ZendeskConfig
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.raw.tables import raw_table, table_name


class OutsideSystem(CdpComponent):
    """Pull the objects of a CRM, and write profiles back into it through syncs.

    A system of your own is a subclass with `config_model`, `system` and `outside`.
    """

    system: str
    outside: ClassVar[System]
    config: Any

    def get_asset_spec(self, deployment: Deployment, name: str, object_name: str) -> dg.AssetSpec:
        """The spec of one object's raw asset; override to change groups, owners or tags."""
        return asset_spec(
            raw_table(name, object_name).key,
            group="raw",
            description=f"Every version of every {object_name} record of `{name}`, verbatim, "
            "with deletions and merges. A day holds what last changed that day, as known now.",
            table=raw_table(name, object_name),
            deps=[f"crm/{name}"],
            kinds=("delta", self.system),
            partitions_def=days_partitions(deployment),
        )

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        name = declared.name
        self.config = declared.config
        objects = list(self.config.object_configs)
        assets = [self._pull(deployment, name, item) for item in objects]
        system = asset_spec(
            f"crm/{name}",
            group="sources",
            description=f"The {type(self).__name__} account itself, read by `raw/{name}/…` and "
            "written to by the syncs that name it.",
            kinds=(self.system,),
        )
        compared, when = reconciliation(deployment, name, self.config, self.system)
        return dg.Definitions(
            assets=[system, *assets, *compared],
            sensors=[_changes_sensor(deployment, name, self.config.every, assets)],
            schedules=[_daily_schedule(deployment, name, assets), *when],
        )

    def _pull(self, deployment: Deployment, name: str, object_name: str) -> dg.AssetsDefinition:
        spec = self.get_asset_spec(deployment, name, object_name)

        @dg.multi_asset(
            name=f"pull_{name}_{table_name(object_name)}",
            specs=[spec],
            check_specs=[
                accounting_spec(spec.key, "Every record read is stored now or was stored before."),
                schema_spec(spec.key),
            ],
            pool=name,
            retry_policy=RETRY,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        @safe_errors
        def pull(context: dg.AssetExecutionContext) -> Iterator[Any]:
            """One window and one run for any range of days: a window costs requests, and a CRM
            answers a range in one query as well as a day."""
            start, end = (None, None)
            if context.has_partition_key or context.has_partition_key_range:
                start, end = context.partition_time_window
            here = platform(deployment)
            result = here.pull(name, object_name, start, end, run_id=context.run.run_id)
            days = set(context.partition_keys) if start is not None else set()
            for day, rows in sorted(result.by_day.items()):
                if day in days:
                    context.add_asset_metadata(
                        {"rows": rows}, asset_key=spec.key, partition_key=day
                    )
            yield dg.MaterializeResult(
                asset_key=spec.key,
                metadata=counts(
                    read=result.rows,
                    new=result.new,
                    already_stored=result.duplicates,
                    deleted=result.deleted,
                    merged=result.merged,
                    api_calls=result.calls,
                    api_budget=spoken(here.budget(name)),
                    minutes_behind=int(here.lag(name, object_name).total_seconds() // 60),
                    fields_changed="; ".join(result.changes) or None,
                    not_told="; ".join(result.gaps) or None,
                    window=f"{result.start:%Y-%m-%d %H:%M} to {result.end:%Y-%m-%d %H:%M} UTC",
                ),
                check_results=[
                    *accounted(
                        result.rows == result.new + result.duplicates,
                        read=result.rows,
                        new=result.new,
                    ),
                    unbroken(result.changes),
                ],
            )

        return pull


def _changes_sensor(
    deployment: Deployment, name: str, every: timedelta, assets: Sequence[dg.AssetsDefinition]
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"{name}_changes",
        target=list(assets),
        minimum_interval_seconds=max(30, int(every.total_seconds())),
        description=f"Asks `{name}` for one row newer than what is stored and starts no run "
        "without one.",
    )
    @safe_errors
    def changes(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        here = platform(deployment)
        news = here.objects_with_news(name)
        if not news:
            return dg.SkipReason(f"`{name}` has nothing newer than what is stored")
        first = min(day for _, day in news)
        today = here.settings.clock().date()
        return dg.RunRequest(
            asset_selection=[dg.AssetKey(raw_table(name, item).key.split("/")) for item, _ in news],
            tags=range_tags(first, today),
        )

    return changes


def _daily_schedule(
    deployment: Deployment, name: str, assets: Sequence[dg.AssetsDefinition]
) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{name}_daily",
        target=list(assets),
        cron_schedule="30 4 * * *",
        execution_timezone="UTC",
        description=f"Pulls `{name}` from where it stands to now, whatever its sensor says: "
        "archived and merged records move no cursor.",
    )
    @safe_errors
    def daily(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        here = platform(deployment)
        today = context.scheduled_execution_time.date()
        first = min([*(day for _, day in here.cursors(name)), today])
        return dg.RunRequest(tags=range_tags(first, today))

    return daily


def _variable(name: str) -> str:
    return "{{ env." + name + " }}"


def _scaffolded(option: str, variable: str, attributes: Mapping[str, Any]) -> Any:
    """What `dg scaffold defs` writes of a system.

    option: the attribute that is read from an environment variable, by default `variable`.
    attributes: the others, as they are written.
    """
    said = f"Environment variable with the {option}"
    fields: dict[str, Any] = {
        f"{option}_variable": (str, Field(variable, description=said)),
        "start": (str, Field("2015-01-01", description="First day to pull")),
    }
    params: type[BaseModel] = create_model("Params", **fields)

    class Scaffolder(dg.Scaffolder[Any]):
        @classmethod
        def get_scaffold_params(cls) -> type[BaseModel]:
            return params

        def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
            named = getattr(request.params, f"{option}_variable")
            last = {"start": request.params.start, "every": "15m"}
            scaffold_attributes(request, {option: _variable(named), **attributes, **last})

    return dg.scaffold_with(Scaffolder)


@_scaffolded(
    "url",
    "SALESFORCE_URL",
    {
        "client_id": _variable("SALESFORCE_CLIENT_ID"),
        "client_secret": _variable("SALESFORCE_CLIENT_SECRET"),
        "objects": ["Account", "Contact", "Lead", "Opportunity"],
    },
)
class Salesforce(OutsideSystem):
    """Salesforce: its objects as raw assets by day, and a destination of syncs."""

    config_model = SalesforceConfig
    system = "salesforce"


@_scaffolded("token", "HUBSPOT_TOKEN", {"objects": ["contacts", "companies", "deals", "tickets"]})
class HubSpot(OutsideSystem):
    """HubSpot: its objects as raw assets by day, and a destination of syncs."""

    config_model = HubSpotConfig
    system = "hubspot"


@_scaffolded(
    "url",
    "ZENDESK_URL",
    {
        "email": _variable("ZENDESK_EMAIL"),
        "token": _variable("ZENDESK_TOKEN"),
        "objects": ["users", "organizations", "tickets", "ticket_comments"],
    },
)
class Zendesk(OutsideSystem):
    """Zendesk Support: its objects as raw assets by day, and a destination of syncs."""

    config_model = ZendeskConfig
    system = "zendesk"


@_scaffolded(
    "url",
    "SUGARCRM_URL",
    {
        "username": _variable("SUGARCRM_USERNAME"),
        "password": _variable("SUGARCRM_PASSWORD"),
        "platform": "cdp",
        "objects": ["Accounts", "Contacts", "Leads", "Opportunities", "Cases"],
    },
)
class SugarCRM(OutsideSystem):
    """SugarCRM: its modules as raw assets by day, and a destination of syncs."""

    config_model = SugarCRMConfig
    system = "sugarcrm"
