"""A source in memory that keeps the promises of `Source`, and can be told to break off."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from cdp_assets.connectors.base import (
    PAGE_SCHEMA,
    Description,
    FieldInfo,
    ObjectInfo,
    ObjectMapping,
    Page,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Version:
    """One version of a record, as the source holds it."""

    id: str
    at: datetime | None
    value: object = None
    op: str = "upsert"
    merged_into: str | None = None


def page(versions: Sequence[Version]) -> Page:
    rows = [
        {
            "record_id": v.id,
            "cursor_at": v.at,
            "op": v.op,
            "merged_into": v.merged_into,
            "payload": json.dumps({"attributes": {"n": 1}, "Id": v.id, "value": v.value}),
        }
        for v in versions
    ]
    return Page(pl.DataFrame(rows, schema=dict(PAGE_SCHEMA)), volatile=("attributes",))


@dataclass
class MemorySource:
    """Holds the present version of each record."""

    name: str = "crm"
    versions: list[Version] = field(default_factory=list)
    page_size: int = 3
    break_after: int | None = None
    calls: int = 0
    fields: tuple[str, ...] = ()
    fleeting: frozenset[str] = frozenset()

    def put(self, version: Version) -> None:
        self.versions = [v for v in self.versions if v.id != version.id] + [version]

    def mapping(self, object_name: str) -> ObjectMapping | None:
        return None

    def describe(self, objects: Sequence[str]) -> Description:
        fields = {name: FieldInfo(name=name, type="string") for name in self.fields}
        found = {name: ObjectInfo(name=name, fields=fields) for name in objects if fields}
        return Description(source=self.name, system="memory", taken_at=START, objects=found)

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        found = [v for v in self.versions if v.at is None or start <= v.at < end]
        found.sort(key=lambda v: (v.at or START, v.id))
        for number, at in enumerate(range(0, len(found), self.page_size)):
            if number == self.break_after:
                raise ConnectionError("the line went dead")
            self.calls += 1
            yield page(found[at : at + self.page_size])

    def keys(self, object_name: str) -> Iterator[pl.DataFrame]:
        found = [(v.id, v.at) for v in self.versions if v.op == "upsert"]
        schema = {"record_id": pl.String, "cursor_at": pl.Datetime("us", "UTC")}
        for at in range(0, len(found), self.page_size):
            yield pl.DataFrame(found[at : at + self.page_size], schema=schema, orient="row")

    def has_news(self, object_name: str, after: datetime) -> bool:
        return any(v.at is not None and v.at >= after for v in self.versions)
