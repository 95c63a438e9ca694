"""Salesforce as a source and a destination."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl

from cdp_assets.connectors.base import Page, RowOutcome, WriteOp
from cdp_assets.connectors.crm import Crm
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.salesforce.client import SalesforceClient
from cdp_assets.connectors.salesforce.config import SalesforceConfig
from cdp_assets.connectors.salesforce.keys import keys
from cdp_assets.connectors.salesforce.lists import SalesforceLists
from cdp_assets.connectors.salesforce.mapping import mapping
from cdp_assets.connectors.salesforce.pull import news, pull
from cdp_assets.connectors.salesforce.push import SalesforcePush
from cdp_assets.connectors.salesforce.streams import streams

_RECORD_KB = 2
"""Most records take as much, whatever they hold ("Salesforce record size overview")."""


class Salesforce(Crm):
    """One Salesforce org (see `Source` and `Destination` for what each method promises)."""

    system = "salesforce"

    def __init__(
        self, name: str, config: SalesforceConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        options = options or HttpOptions()
        self._client = SalesforceClient(name, config, options)
        self._lists = SalesforceLists(self._client)
        self._push = SalesforcePush(
            self._client,
            options,
            bulk_above=config.bulk_write_above,
            save_duplicates=config.save_duplicates,
        )
        super().__init__(
            name,
            config,
            client=self._client,
            push=self._push,
            map_object=mapping,
            api_version=config.api_version,
            options=options,
        )

    @property
    def budget(self) -> tuple[int, int] | None:
        """The org's requests of the day (used, allowed) as its last answer told."""
        return self._client.budget

    def cost(self, created: Mapping[str, int], fields: Mapping[str, int]) -> list[str]:
        count = sum(created.values())
        room = f"{count:,} new records take about {count * _RECORD_KB:,} kB of data storage"
        return [room] if count else []

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(item.name for item in self._client.listed()))

    def streams(self) -> tuple[str, ...]:
        """The objects that `objects: all` stands for."""
        return streams(self._client.listed())

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return pull(self._client, object_name, start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        return news(self._client, object_name, after)

    def calls_for(self, op: WriteOp, rows: int) -> int:
        return self._push.calls_for(op, rows)

    def missing_rights(self, object_name: str, ops: Collection[WriteOp]) -> list[str]:
        """By the object's description, which is of what this user may do."""
        found = self._client.object(object_name)
        able = {"create": found.createable, "update": found.updateable, "delete": found.deletable}
        return [
            f"the user may not {op} {object_name}: an administrator gives that by its profile or a "
            "permission set"
            for op, yes in able.items()
            if op in ops and not yes
        ]

    def keys(self, object_name: str) -> Iterator[pl.DataFrame]:
        return keys(self._client, object_name)

    @property
    def members_batch(self) -> int:
        return self._lists.members_batch

    def calls_for_members(self, add: int, remove: int) -> int:
        return self._lists.calls_for_members(add, remove)

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
