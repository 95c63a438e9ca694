"""Former values of properties, each a row of its own (`contacts_history` and the like)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property

import msgspec
import polars as pl

from cdp_assets.connectors.base import Page
from cdp_assets.connectors.frames import moments, page_rows, payloads
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.paths import OBJECTS
from cdp_assets.connectors.hubspot.pull import HubSpotPull
from cdp_assets.connectors.hubspot.special import HISTORY, extended, no_keys

_BATCH = 50


class _Former(msgspec.Struct):
    timestamp: str


class _Record(msgspec.Struct, rename="camel"):
    id: str
    properties_with_history: dict[str, list[msgspec.Raw]] = {}


class _Answer(msgspec.Struct):
    results: list[_Record] = []


class PropertyHistory:
    """The values that an object's properties had. HubSpot keeps the last 20 (45 for contacts) of
    each: what is older than those is gone."""

    def __init__(self, client: HubSpotClient, name: str, properties: Sequence[str]) -> None:
        """properties: those that are read; all that can be filled in where it names none."""
        self._client = client
        self._name = name
        self._object = name.removesuffix(HISTORY)
        self._records = HubSpotPull(client, self._object)
        self._given = properties

    @cached_property
    def _properties(self) -> list[str]:
        if self._given:
            return [self._client.property(self._object, name).name for name in self._given]
        found = self._client.properties(self._object)
        return sorted(name for name, one in found.items() if one.writeable)

    def pages(self, start: datetime, end: datetime) -> Iterator[Page]:
        """Values that were set in [start, end): of all records that changed since `start`, for
        one that changed again after `end` was changed then as well."""
        for ids in self._records.changed_since(start):
            for at in range(0, len(ids), _BATCH):
                yield from self._of(ids[at : at + _BATCH], start, end)

    def news(self, after: datetime) -> bool:
        """Whether a record of the object changed."""
        return self._records.news(after)

    def keys(self) -> Iterator[pl.DataFrame]:
        """None: what happened stays so."""
        raise no_keys(self._client, self._name)

    def _of(self, ids: Sequence[str], start: datetime, end: datetime) -> Iterator[Page]:
        body = {
            "properties": [],
            "propertiesWithHistory": self._properties,
            "inputs": [{"id": i} for i in ids],
        }
        answer = self._client.post(
            f"{OBJECTS}/{self._object}/batch/read",
            body,
            what=f"pull of {self._name}",
            decode=msgspec.json.Decoder(_Answer).decode,
        ).body
        former = msgspec.json.Decoder(_Former).decode
        keys: list[str] = []
        texts: list[str] = []
        bodies: list[bytes] = []
        for record in answer.results:
            for name, values in record.properties_with_history.items():
                for raw in values:
                    at = former(raw).timestamp
                    keys.append(f"{record.id}.{name}.{at}")
                    texts.append(at)
                    bodies.append(extended(raw, {"recordId": record.id, "property": name}))
        times = moments(texts)
        inside = times.is_between(start, end, closed="left").to_list()
        kept = [place for place, yes in enumerate(inside) if yes]
        if kept:
            payload = payloads(self._client.name, [bodies[k] for k in kept])
            cursor = times.gather(kept)
            yield Page(page_rows([keys[k] for k in kept], cursor, "upsert", None, payload))
