"""HubSpot as a source and a destination."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
import polars as pl

from cdp_assets.connectors.base import (
    Description,
    FieldInfo,
    ObjectMapping,
    Page,
    RowOutcome,
    WriteOp,
)
from cdp_assets.connectors.crm import Crm
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.hubspot.bridge import bridged
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.config import HubSpotConfig
from cdp_assets.connectors.hubspot.cost import cost
from cdp_assets.connectors.hubspot.fields import create_field
from cdp_assets.connectors.hubspot.history import PropertyHistory
from cdp_assets.connectors.hubspot.lists import MEMBERS_BATCH, HubSpotLists
from cdp_assets.connectors.hubspot.mapping import mapping
from cdp_assets.connectors.hubspot.marketing import EmailEvents, FormSubmissions
from cdp_assets.connectors.hubspot.paths import VERSION
from cdp_assets.connectors.hubspot.pull import HubSpotPull
from cdp_assets.connectors.hubspot.push import HubSpotPush
from cdp_assets.connectors.hubspot.snapshots import ListMembers, Lists, Owners
from cdp_assets.connectors.hubspot.special import HISTORY, Reader, described


class HubSpot(Crm):
    """One HubSpot account (see `Source`, `Destination`, `ListDestination` and `FieldMaker` for what
    each method promises)."""

    system = "hubspot"
    find_lag = 10.0
    """Seconds by which searches are behind writes."""
    members_batch = MEMBERS_BATCH
    fleeting = frozenset({"list_members"})
    """Objects of which many records may end at once (see `KeyLister`)."""

    def __init__(
        self, name: str, config: HubSpotConfig, *, options: HttpOptions | None = None
    ) -> None:
        """name: the name of its folder in defs/. No request is made before it is asked for one."""
        options = options or HttpOptions()
        self._client = HubSpotClient(name, config, options)
        self._config = config
        self._push = HubSpotPush(self._client, options)
        self._lists = HubSpotLists(self._client)
        super().__init__(
            name,
            config,
            client=self._client,
            push=self._push,
            map_object=mapping,
            api_version=VERSION,
            options=options,
        )

    @property
    def budget(self) -> tuple[int, int] | None:
        """(used, allowed) of the day's requests, as answers last told."""
        return self._client.policy.budget

    def mapping(self, object_name: str) -> ObjectMapping | None:
        found = super().mapping(object_name)
        return found and bridged(found, object_name, self._config.bridge)

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        return self._reader(object_name).pages(start, end)

    def has_news(self, object_name: str, after: datetime) -> bool:
        """Whether a record changed since. An association that changes alone moves no date, and of
        owners, lists and form submissions no single request tells: these wait for the daily
        round."""
        return self._reader(object_name).news(after)

    def keys(self, object_name: str) -> Iterator[pl.DataFrame]:
        return self._reader(object_name).keys()

    def describe(self, objects: Sequence[str]) -> Description:
        known = {name: info for name in objects if (info := described(name)) is not None}
        found = super().describe([name for name in objects if name not in known])
        return msgspec.structs.replace(found, objects={**found.objects, **known})

    def _reader(self, name: str) -> Reader:
        client, config = self._client, self._config
        if name == "owners":
            return Owners(client)
        if name == "lists":
            return Lists(client)
        if name == "list_members":
            return ListMembers(client, config.lists)
        if name == "email_events":
            return EmailEvents(client, self._push, config.email_event_types)
        if name == "form_submissions":
            return FormSubmissions(client, self._push)
        if name.endswith(HISTORY):
            return PropertyHistory(client, name, config.history.get(name.removesuffix(HISTORY), ()))
        return HubSpotPull(client, name)

    def missing_rights(self, object_name: str, ops: Collection[WriteOp]) -> list[str]:
        """By the scopes of the private app."""
        scopes = self._client.scopes() if ops else None
        wanted = write_scopes(object_name)
        if scopes is None or scopes & wanted:
            return []
        return [
            f"the private app lacks the scope {min(wanted)}, so it may not write {object_name}: a "
            "super admin adds it to the app"
        ]

    def cost(self, created: Mapping[str, int], fields: Mapping[str, int]) -> list[str]:
        return cost(created, fields)

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


def write_scopes(object_name: str) -> frozenset[str]:
    """The scopes of which one lets records of this object be written ("Scopes")."""
    if object_name == "tickets":
        return frozenset({"tickets"})
    if object_name in ("contacts", "companies", "deals", "lists"):
        within = object_name if object_name == "lists" else f"objects.{object_name}"
        return frozenset({f"crm.{within}.write"})
    if object_name in ("notes", "tasks", "calls", "emails", "meetings"):
        return frozenset({"crm.objects.contacts.write"})
    return frozenset({"crm.objects.custom.write"})
