"""SugarCRM as a source and a destination."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

import polars as pl

from cdp_assets.connectors.base import Page, RowOutcome, WriteOp
from cdp_assets.connectors.crm import Crm
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.sugarcrm.client import SugarClient
from cdp_assets.connectors.sugarcrm.config import SugarCRMConfig
from cdp_assets.connectors.sugarcrm.lists import SugarLists
from cdp_assets.connectors.sugarcrm.mapping import mapping
from cdp_assets.connectors.sugarcrm.pull import SugarPull
from cdp_assets.connectors.sugarcrm.push import SugarPush


class SugarCRM(Crm):
    """One SugarCRM instance (see `Source`, `Destination`, `ListDestination` and `KeyLister` for
    what each method promises). Its lists are target lists of contacts."""

    system = "sugarcrm"
    members_batch = SugarLists.members_batch

    def __init__(
        self, name: str, config: SugarCRMConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        options = options or HttpOptions()
        self._client = SugarClient(name, config, options)
        self._lists = SugarLists(self._client)
        super().__init__(
            name,
            config,
            client=self._client,
            push=SugarPush(self._client),
            map_object=mapping,
            api_version=config.api_version,
            options=options,
        )

    def names(self) -> tuple[str, ...]:
        return self._client.names()

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return SugarPull(self._client, object_name).pages(start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        return SugarPull(self._client, object_name).news(after)

    def keys(self, object_name: str) -> Iterator[pl.DataFrame]:
        return SugarPull(self._client, object_name).keys()

    def missing_rights(self, object_name: str, ops: Collection[WriteOp]) -> list[str]:
        """By what the user's roles close (`_acl` of "Me")."""
        names: dict[WriteOp, str] = {"create": "create", "update": "edit", "delete": "delete"}
        closed = self._client.closed(object_name) if ops else frozenset()
        return [
            f"the user's role does not let it {action} records of {object_name}: an administrator "
            "opens that in its role"
            for op, action in names.items()
            if op in ops and closed & {action, "access"}
        ]

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
