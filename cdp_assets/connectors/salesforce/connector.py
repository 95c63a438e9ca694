"""Salesforce as a source and a destination."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cdp_assets.connectors.base import Page
from cdp_assets.connectors.crm import Crm
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.salesforce.client import SalesforceClient
from cdp_assets.connectors.salesforce.config import SalesforceConfig
from cdp_assets.connectors.salesforce.mapping import mapping
from cdp_assets.connectors.salesforce.pull import SalesforcePull, news
from cdp_assets.connectors.salesforce.push import SalesforcePush


class Salesforce(Crm):
    """One Salesforce org (see `Source` and `Destination` for what each method promises)."""

    system = "salesforce"

    def __init__(
        self, name: str, config: SalesforceConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        options = options or HttpOptions()
        self._client = SalesforceClient(name, config, options)
        super().__init__(
            name,
            config,
            client=self._client,
            push=SalesforcePush(
                self._client,
                options,
                bulk_above=config.bulk_write_above,
                save_duplicates=config.save_duplicates,
            ),
            map_object=mapping,
            api_version=config.api_version,
            options=options,
        )

    def names(self) -> tuple[str, ...]:
        return self._client.names()

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return SalesforcePull(self._client, object_name).pages(start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        return news(self._client, object_name, after)
