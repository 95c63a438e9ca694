"""An entity's identity as configured, worked out: ranks, limits, where identifiers stand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from cdp_assets.identity import normalise
from cdp_assets.identity.config import EntityIdentity, IdentityConfig
from cdp_assets.identity.tables import RULES
from cdp_assets.lake import Lake
from cdp_assets.records import ObjectSpec

VERSION = 1
"""Raised where the code of this room resolves the same links otherwise."""

EVENT_COLUMNS = {
    "events.userId": "user_id",
    "events.anonymousId": "anonymous_id",
    "events.groupId": "group_id",
}
EVENT_TRAITS = "events.traits."

_DEFAULT_EVENTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "person": {
        "user_id": ("events.userId",),
        "anonymous_id": ("events.anonymousId",),
        "email": ("events.traits.email",),
        "phone": ("events.traits.phone",),
    },
    "account": {},
}
"""What events declare of identifiers, where configuration leaves `from` out."""

NO_PROFILES = frozenset({"opportunity", "ticket", "activity", "product", "user"})
"""Entities whose records are no profiles unless configuration says how."""


@dataclass(frozen=True)
class TypeRules:
    """One type of identifier of one entity. rank: 1 is the strongest; limit: 0 for none."""

    name: str
    rank: int
    limit: int
    weak: bool
    sources: tuple[str, ...]
    block: tuple[str, ...]
    region: str | None

    def spell(self, values: pl.Series) -> pl.Series:
        """`name:value` of each value; null for what is no identifier."""
        spelt = normalise.normalise(values, self.name, block=self.block, region=self.region)
        return (self.name + ":") + spelt

    def spelling(self, values: pl.Expr) -> pl.Expr:
        """Values in this type's spelling, without prefix (`normalise.spelling`)."""
        return normalise.spelling(values, self.name, self.region)

    @property
    def event_column(self) -> str | None:
        """The column of events that holds it."""
        return next((EVENT_COLUMNS[s] for s in self.sources if s in EVENT_COLUMNS), None)


@dataclass(frozen=True)
class EntityRules:
    """All rules of one entity. specs: the objects whose records are its identifiers."""

    entity: str
    types: tuple[TypeRules, ...]
    specs: tuple[ObjectSpec, ...]
    logout: tuple[str, ...]

    @property
    def digest(self) -> int:
        """A number that changes where links or their resolution do."""
        records = sorted(spec.name for spec in self.specs)
        text = repr((VERSION, normalise.VERSION, self.entity, self.types, records, self.logout))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")

    def of_event_column(self, column: str) -> TypeRules | None:
        """The type that a column of events holds."""
        return next((t for t in self.types if t.event_column == column), None)

    @property
    def fields(self) -> Mapping[str, TypeRules]:
        """Field ref (`salesforce.Contact.Email`, `events.traits.email`) → type."""
        return {s: t for t in self.types for s in t.sources if s not in EVENT_COLUMNS}

    def rows(self) -> pl.DataFrame:
        """These rules as rows of identity/rules."""
        found = [
            (self.entity, t.name, t.rank, t.limit, t.weak, list(t.sources), t.event_column,
             t.region, list(t.block), list(self.logout), self.digest)
            for t in self.types
        ]  # fmt: skip
        if not found:
            found = [(self.entity, "record", 0, 0, False, [], None, None, [], [], self.digest)]
        return pl.DataFrame(found, schema=dict(RULES.schema), orient="row")


def entity_rules(config: IdentityConfig, specs: Sequence[ObjectSpec]) -> dict[str, EntityRules]:
    """The rules of every entity that has profiles: those that configuration names, and each
    custom one (`as:`), whose records are profiles of their own."""
    named = config.entities
    own = {s.entity for s in specs} - NO_PROFILES - set(named)
    return {
        entity: _rules(
            entity,
            named.get(entity, EntityIdentity()),
            tuple(sorted((s for s in specs if s.entity == entity), key=lambda s: s.name)),
        )
        for entity in [*named, *sorted(own)]
    }


def _rules(entity: str, config: EntityIdentity, specs: tuple[ObjectSpec, ...]) -> EntityRules:
    types = []
    for rank, (name, wanted) in enumerate(config.identifiers.items(), start=1):
        if wanted.from_ is not None:
            sources = tuple(wanted.from_)
        else:
            declared = [
                f"{spec.name}.{field}"
                for spec in specs
                for field in spec.mapping.identifiers.get(name, ())
            ]
            sources = (*_DEFAULT_EVENTS.get(entity, {}).get(name, ()), *declared)
        types.append(
            TypeRules(
                name=name,
                rank=rank,
                limit=wanted.limit or 0,
                weak=name == "anonymous_id" or "events.anonymousId" in sources,
                sources=tuple(dict.fromkeys(sources)),
                block=tuple(wanted.block),
                region=wanted.region,
            )
        )
    return EntityRules(entity, tuple(types), specs, tuple(config.logout))


def declared_types(entity: str, specs: Sequence[ObjectSpec]) -> set[str]:
    """The types that events and connectors declare fields of, without configuration."""
    found = set(_DEFAULT_EVENTS.get(entity, {}))
    return found.union(*(spec.mapping.identifiers for spec in specs if spec.entity == entity))


def needed_fields(config: IdentityConfig) -> dict[tuple[str, str], set[str]]:
    """Fields that identity names explicitly: (source, object) → fields, to be kept by `records`
    and, under ("events", "traits"), by `events`."""
    found: dict[tuple[str, str], set[str]] = {}
    for entity, identity in config.entities.items():
        for name, wanted in identity.identifiers.items():
            refs = wanted.from_ or _DEFAULT_EVENTS.get(entity, {}).get(name, ())
            for ref in refs:
                if ref in EVENT_COLUMNS:
                    continue
                source, _, rest = ref.partition(".")
                object_name, _, field = rest.partition(".")
                found.setdefault((source, object_name), set()).add(field)
    return found


class EventId(NamedTuple):
    """The type of identifier that a column of events holds, and what its spelling depends on."""

    name: str
    region: str | None

    def spelling(self, ids: pl.Expr) -> pl.Expr:
        """Ids as their type spells them, without prefix (`normalise.spelling`)."""
        return normalise.spelling(ids, self.name, self.region)


def event_ids(lake: Lake, entity: str) -> dict[str, EventId]:
    """Column of events → type, by the rules of the last resolution."""
    rows = stored_rules(lake, entity).drop_nulls("event_column")
    found = rows.select("event_column", "type", "region").iter_rows()
    return {column: EventId(name, region) for column, name, region in found}


def stored_rules(lake: Lake, entity: str) -> pl.DataFrame:
    """The rules that the graph of an entity was last resolved by, strongest first."""
    rows = lake.open(RULES).scan().filter(pl.col("entity") == entity)
    return rows.sort("rank").collect()


def last_rules(lake: Lake, entity: str) -> EntityRules:
    """The rules that the graph was last resolved by, without the objects' specifications."""
    rows = stored_rules(lake, entity).filter(pl.col("rank") > 0)
    types = tuple(
        TypeRules(
            name=row["type"],
            rank=row["rank"],
            limit=row["limit"],
            weak=row["weak"],
            sources=tuple(row["sources"]),
            block=tuple(row["block"]),
            region=row["region"],
        )
        for row in rows.iter_rows(named=True)
    )
    logout = tuple(rows["logout"][0]) if rows.height else ()
    return EntityRules(entity, types, (), logout)
