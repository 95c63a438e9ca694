"""HubSpot as a source and a destination."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cdp_assets.connectors.base import Page
from cdp_assets.connectors.crm import Crm
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.config import HubSpotConfig
from cdp_assets.connectors.hubspot.mapping import mapping
from cdp_assets.connectors.hubspot.pull import HubSpotPull
from cdp_assets.connectors.hubspot.push import HubSpotPush


class HubSpot(Crm):
    """One HubSpot account (see `Source` and `Destination` for what each method promises)."""

    system = "hubspot"
    find_lag = 10.0
    """Seconds by which searches are behind writes."""

    def __init__(
        self, name: str, config: HubSpotConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        options = options or HttpOptions()
        self._client = HubSpotClient(name, config, options)
        super().__init__(
            name,
            config,
            client=self._client,
            push=HubSpotPush(self._client, options),
            map_object=mapping,
            api_version="v3",
            options=options,
        )

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return HubSpotPull(self._client, object_name).pages(start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        return HubSpotPull(self._client, object_name).news(after)
