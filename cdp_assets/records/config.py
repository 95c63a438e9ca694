"""What `records` is told of each object that connectors pull."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cdp_assets.connectors.base import ObjectMapping


@dataclass(frozen=True)
class OtherSide:
    """An object of another system that a bridge keeps like this one (`base.Bridge`).

    name: `source.Object`. fields: its field → this object's. ours: whether this object's records
    hold the other's ids, else the other way round.
    """

    name: str
    fields: tuple[tuple[str, str], ...]
    ours: bool


@dataclass(frozen=True)
class ObjectSpec:
    """One object of one source, and which of its fields are kept over time.

    value_fields: fields that configuration names (traits, audiences, identity); the fields that
        the mapping declares as identifiers are kept besides.
    other_sides: see `bridges.with_other_sides`.
    """

    source: str
    object: str
    mapping: ObjectMapping
    value_fields: tuple[str, ...] = ()
    other_sides: tuple[OtherSide, ...] = ()

    @property
    def entity(self) -> str:
        """The entity its records are."""
        return self.mapping.entity

    @property
    def name(self) -> str:
        """`source.Object`, how configuration and record refs call it."""
        return f"{self.source}.{self.object}"

    @property
    def kept_fields(self) -> tuple[str, ...]:
        """Fields whose values go to records/values, in order of name."""
        named = {field for fields in self.mapping.identifiers.values() for field in fields}
        return tuple(sorted({*self.value_fields, *named}))

    @property
    def read_fields(self) -> tuple[str, ...]:
        """Every field that is decoded from the payload, in order of name."""
        used = {*self.kept_fields, *self.mapping.columns.values()}
        used |= {relation.field for relation in self.mapping.relations}
        used |= {bridge.field for bridge in self.mapping.bridges}
        return tuple(sorted(used - {self.mapping.id_field}))

    def rules(self) -> int:
        """A number that changes where records of this object must be read anew from raw."""
        text = repr((RULES_VERSION, self.mapping, self.kept_fields, self.other_sides))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


RULES_VERSION = 2
"""Raised where the code of this room gives other rows for the same raw records."""
