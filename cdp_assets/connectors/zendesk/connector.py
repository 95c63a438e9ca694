"""Zendesk Support as a source and a destination."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from cdp_assets.connectors.base import FieldInfo, Page, RowOutcome, WriteOp
from cdp_assets.connectors.crm import Crm
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.zendesk.client import ZendeskClient
from cdp_assets.connectors.zendesk.config import ZendeskConfig
from cdp_assets.connectors.zendesk.fields import STANDARD
from cdp_assets.connectors.zendesk.making import create_field
from cdp_assets.connectors.zendesk.mapping import mapping
from cdp_assets.connectors.zendesk.pull import ZendeskPull
from cdp_assets.connectors.zendesk.push import ZendeskPush
from cdp_assets.connectors.zendesk.tags import ZendeskTags


class Zendesk(Crm):
    """One Zendesk account (see `Source`, `Destination`, `ListDestination`, `FieldMaker`,
    `KeyLister`, `Batching` and `Priced` for what each method promises). Its lists are tags."""

    system = "zendesk"
    find_lag = 60.0
    """Seconds by which searches are behind writes."""
    members_batch = ZendeskTags.members_batch
    calls_a_member = 1

    def __init__(
        self, name: str, config: ZendeskConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        options = options or HttpOptions()
        self._client = ZendeskClient(name, config, options)
        self._tags = ZendeskTags(self._client)
        self._push = ZendeskPush(self._client)
        super().__init__(
            name,
            config,
            client=self._client,
            push=self._push,
            map_object=mapping,
            api_version="v2",
            options=options,
        )

    def names(self) -> tuple[str, ...]:
        return tuple(STANDARD)

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return ZendeskPull(self._client, object_name).pages(start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        return ZendeskPull(self._client, object_name).news(after)

    def calls_for(self, op: WriteOp, rows: int) -> int:
        """A job is asked for and asked after."""
        return 2 * -(-rows // self.batch_size("users"))

    def cost(self, created: Mapping[str, int], fields: Mapping[str, int]) -> list[str]:
        """Seats of agents are billed, and triggers run on new tickets as on anybody's."""
        said = []
        if count := fields.get("role", 0):
            said.append(
                f"role of {count:,} users: each agent and admin takes a seat that is billed"
            )
        if count := created.get("tickets", 0):
            said.append(
                f"{count:,} new tickets, their first comments internal; the account's triggers run "
                "on them, and may write to people"
            )
        return said

    def missing_rights(self, object_name: str, ops: Collection[WriteOp]) -> list[str]:
        """By the role of who signs in: customers may write nothing ("Show Self"). What a custom
        role of an agent leaves out is not told there."""
        told: dict[str, Any] = self._client.get("/users/me.json", what="who is signed in")
        role = str((told.get("user") or {}).get("role") or "")
        if not ops or role in ("agent", "admin"):
            return []
        return [
            f"who is signed in is {role or 'nobody'}, who may not write {object_name}: an admin "
            "makes an agent or admin of that user, or use one's token"
        ]

    def restorable(self, object_name: str) -> bool:
        """Tickets alone: a deleted user or organization stays so."""
        return object_name == "tickets"

    def restore(self, object_name: str, ids: Sequence[str]) -> list[RowOutcome]:
        return self._push.restore(object_name, ids)

    def keys(self, object_name: str) -> Iterator[pl.DataFrame]:
        return ZendeskPull(self._client, object_name).keys()

    def create_field(self, object_name: str, info: FieldInfo) -> None:
        create_field(self._client, object_name, info)

    def list_id(self, name: str) -> str | None:
        return self._tags.list_id(name)

    def create_list(self, name: str, object_name: str) -> str:
        return self._tags.create_list(name, object_name)

    def list_members(self, list_id: str) -> Iterator[list[str]]:
        return self._tags.list_members(list_id)

    def change_members(
        self, list_id: str, add: Sequence[str], remove: Sequence[str]
    ) -> list[RowOutcome]:
        return self._tags.change_members(list_id, add, remove)
