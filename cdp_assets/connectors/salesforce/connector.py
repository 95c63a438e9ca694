"""Salesforce as a source and a destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from cdp_assets.connectors.base import Description, ObjectMapping, Page, RowChange, RowOutcome
from cdp_assets.connectors.config import ObjectConfig
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.salesforce import mapping as mappings
from cdp_assets.connectors.salesforce.client import SalesforceClient
from cdp_assets.connectors.salesforce.config import SalesforceConfig
from cdp_assets.connectors.salesforce.pull import SalesforcePull, news
from cdp_assets.connectors.salesforce.push import SalesforcePush


class Salesforce:
    """One Salesforce org (see `Source` and `Destination` for what each method promises)."""

    system = "salesforce"

    def __init__(
        self, name: str, config: SalesforceConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        self.name = name
        self.config = config
        self._options = options or HttpOptions()
        self._client = SalesforceClient(name, config, self._options)
        self._push = SalesforcePush(self._client, self._options)

    def __repr__(self) -> str:
        return f"Salesforce({self.name!r})"

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
            api_version=self.config.api_version,
            objects=self._client.describe(objects),
        )

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return SalesforcePull(self._client, object_name).pages(start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        return news(self._client, object_name, after)

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
