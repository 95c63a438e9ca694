"""HubSpot as a source and a destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from cdp_assets.connectors.base import Description, ObjectMapping, Page, RowChange, RowOutcome
from cdp_assets.connectors.config import ObjectConfig
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.hubspot import mapping as mappings
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.config import HubSpotConfig
from cdp_assets.connectors.hubspot.pull import HubSpotPull
from cdp_assets.connectors.hubspot.push import HubSpotPush


class HubSpot:
    """One HubSpot account (see `Source` and `Destination` for what each method promises)."""

    system = "hubspot"
    find_lag = 10.0
    """Seconds by which searches are behind writes."""

    def __init__(
        self, name: str, config: HubSpotConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        self.name = name
        self.config = config
        self._options = options or HttpOptions()
        self._client = HubSpotClient(name, config, self._options)
        self._push = HubSpotPush(self._client, self._options)

    def __repr__(self) -> str:
        return f"HubSpot({self.name!r})"

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._client.calls

    def mapping(self, object_name: str) -> ObjectMapping | None:
        configured = self.config.object_configs.get(object_name)
        return mappings.mapping(configured or ObjectConfig(name=object_name))

    def describe(self, objects: Sequence[str]) -> Description:
        return Description(
            source=self.name,
            system=self.system,
            taken_at=self._options.now(),
            api_version="v3",
            objects=self._client.describe(objects),
        )

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return HubSpotPull(self._client, object_name).pages(start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        return HubSpotPull(self._client, object_name).news(after)

    def batch_size(self, object_name: str) -> int:
        return self._push.batch_size

    def read(
        self, object_name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        return self._push.read(object_name, ids, fields)

    def find(
        self, object_name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        return self._push.find(object_name, field_name, values, fields)

    def write(self, object_name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        return self._push.write(object_name, batch)

    def normalise(self, object_name: str, field_name: str, value: Any) -> Any:
        return self._push.normalise(object_name, field_name, value)
