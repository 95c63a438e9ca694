"""Sessions as a component: visits and page views, made of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
from pydantic import BaseModel

from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import (
    AFTER_UPSTREAM,
    SINGLE_FILE,
    accounted,
    accounting_spec,
    asset_spec,
    counts,
    rules_version,
    safe_errors,
)
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.sessions.config import SessionsConfig
from cdp_assets.sessions.tables import PAGE_VIEWS, SESSIONS
from cdp_assets.settings import Settings


class _SessionsScaffolder(dg.Scaffolder[BaseModel]):
    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        scaffold_attributes(request, {"timeout": "30m", "timezone": Settings().timezone})


@dg.scaffold_with(_SessionsScaffolder)
class Sessions(CdpComponent):
    """Visits of devices with their page views, landing and exit, and the channel that brought
    them."""

    config_model = SessionsConfig

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        del declared
        version = rules_version(deployment.sessions, Settings().timezone)
        specs = [
            asset_spec(
                SESSIONS.key,
                group="sessions",
                description=SESSIONS.description,
                table=SESSIONS,
                deps=["events"],
                automation=AFTER_UPSTREAM,
                column_deps={
                    "visitor": [("events", "anonymous_id")],
                    "started_at": [("events", "timestamp")],
                    "landing_url": [("events", "page_url")],
                    "channel": [
                        ("events", name) for name in ("page_url", "referrer", "campaign_source")
                    ],
                },
                code_version=version,
            ),
            asset_spec(
                PAGE_VIEWS.key,
                group="sessions",
                description=PAGE_VIEWS.description,
                table=PAGE_VIEWS,
                deps=["events"],
                automation=AFTER_UPSTREAM,
                column_deps={"page_url": [("events", "page_url")]},
                code_version=version,
            ),
        ]
        check = accounting_spec(
            specs[0].key,
            "Each interaction of a device stands in exactly one session, each page view once; "
            "events = interactions + heartbeats + left out.",
        )

        @dg.multi_asset(name="build_sessions", specs=specs, check_specs=[check], pool=SINGLE_FILE)
        @safe_errors
        def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
            here = platform(deployment)
            result = here.build_sessions()
            account = here.account_sessions()
            yield dg.MaterializeResult(
                asset_key=specs[0].key,
                metadata=counts(
                    devices=result.devices,
                    events=result.events,
                    heartbeats_outside=result.unplaced,
                    changed=result.sessions,
                ),
                check_results=accounted(account.balanced, **asdict(account)),
            )
            yield dg.MaterializeResult(
                asset_key=specs[1].key, metadata=counts(changed=result.page_views)
            )

        return dg.Definitions(assets=[build])
