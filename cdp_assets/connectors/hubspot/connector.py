"""HubSpot as a source and a destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cdp_assets.connectors.base import FieldInfo, Page, RowOutcome
from cdp_assets.connectors.crm import Crm
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.config import HubSpotConfig
from cdp_assets.connectors.hubspot.fields import create_field
from cdp_assets.connectors.hubspot.lists import MEMBERS_BATCH, HubSpotLists
from cdp_assets.connectors.hubspot.mapping import mapping
from cdp_assets.connectors.hubspot.paths import VERSION
from cdp_assets.connectors.hubspot.pull import HubSpotPull
from cdp_assets.connectors.hubspot.push import HubSpotPush


class HubSpot(Crm):
    """One HubSpot account (see `Source`, `Destination`, `ListDestination` and `FieldMaker` for what
    each method promises)."""

    system = "hubspot"
    find_lag = 10.0
    """Seconds by which searches are behind writes."""
    members_batch = MEMBERS_BATCH

    def __init__(
        self, name: str, config: HubSpotConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        options = options or HttpOptions()
        self._client = HubSpotClient(name, config, options)
        self._lists = HubSpotLists(self._client)
        super().__init__(
            name,
            config,
            client=self._client,
            push=HubSpotPush(self._client, options),
            map_object=mapping,
            api_version=VERSION,
            options=options,
        )

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return HubSpotPull(self._client, object_name).pages(start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        return HubSpotPull(self._client, object_name).news(after)

    def list_id(self, name: str) -> str | None:
        return self._lists.list_id(name)

    def create_list(self, name: str, object_name: str) -> str:
        return self._lists.create_list(name, object_name)

    def list_members(self, list_id: str) -> Iterator[list[str]]:
        return self._lists.list_members(list_id)

    def change_members(
        self, list_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> list[RowOutcome]:
        return self._lists.change_members(list_id, add, remove)

    def create_field(self, object_name: str, info: FieldInfo) -> None:
        create_field(self._client, object_name, info)
