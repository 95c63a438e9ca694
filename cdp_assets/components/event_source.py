"""Events over HTTP, landed by the collector, as a component of the one `events` asset."""

from __future__ import annotations

import secrets
from typing import Any

import dagster as dg
from pydantic import BaseModel

from cdp_assets.collector.config import EventSourceConfig
from cdp_assets.components.base import CdpComponent, scaffold_attributes
from cdp_assets.components.dagster_assets import asset_spec
from cdp_assets.components.event_files import shared_by
from cdp_assets.deployment.declarations import Declared, Deployment


class _EventSourceScaffolder(dg.Scaffolder[BaseModel]):
    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        key = secrets.token_urlsafe(18).replace("-", "a").replace("_", "b")
        scaffold_attributes(request, {"write_key": key, "purpose": "analytics"})


@dg.scaffold_with(_EventSourceScaffolder)
class EventSource(CdpComponent):
    """Events of websites, apps and servers, sent to the collector (`cdp serve`) by any SDK that
    speaks Segment's protocol, or by the platform's own snippet."""

    config_model = EventSourceConfig

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        source = asset_spec(
            f"http/{declared.name}",
            group="sources",
            description="Events sent to the collector with this source's keys; kept as they came "
            "in the landing log.",
            kinds=("http",),
        )
        return shared_by(declared, deployment, dg.Definitions(assets=[source]))
