"""Which fields of records and properties of events the configuration names: what the rooms to the
left have to keep in typed columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from cdp_assets.profiles.config import TraitsConfig
from cdp_assets.profiles.errors import TraitError
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import EVENT_COLUMNS, PROPERTY_TYPES, Model, compile_traits
from cdp_assets.profiles.observations import is_event_field
from cdp_assets.profiles.sources import as_objects, columns_of, objects_of
from cdp_assets.records.config import ObjectSpec


@dataclass(frozen=True)
class Needs:
    """What traits read.

    fields: `source.Object` → its fields, for records/values. properties: event → property →
    column type, for the typed event tables. told: fields of events/values
    (`events.traits.email`). unknown: `from` names that look like an object or entity, but that
    no connector pulls, with the trait that names them.
    """

    fields: dict[str, set[str]] = field(default_factory=dict)
    properties: dict[str, dict[str, pl.DataType]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    unknown: list[tuple[str, str, str]] = field(default_factory=list)


def needs(traits: Sequence[TraitsConfig], specs: Sequence[ObjectSpec] = ()) -> Needs:
    """Everything that the traits of a deployment read from records and events.

    specs: the objects that are pulled; their value_fields are not looked at.
    Raises ExpressionError or TraitError where a definition is wrong, TraitError too where one
    trait reads an event's property as a number and another as text.
    """
    found = Needs()
    configs = {config.entity: config for config in traits}
    objects = as_objects(specs)
    known = {item.entity: item for item in objects}
    kinds: dict[tuple[str, str], tuple[Kind, str]] = {}
    for config in traits:
        model = compile_traits(config, configs, known)
        for survivor in model.survivors:
            for ref in survivor.fields:
                if is_event_field(ref):
                    found.told.add(ref)
                else:
                    name, _, column = ref.rpartition(".")
                    found.fields.setdefault(name, set()).add(column)
        for origin, measures in model.measures.items():
            if origin.kind == "records":
                named = objects_of(origin, objects)
                if not named:
                    found.unknown.extend((model.entity, m.name, origin.name) for m in measures)
                for item in named:
                    columns = {item.columns.get(c, c) for c in columns_of(measures)}
                    found.fields.setdefault(item.name, set()).update(columns)
            elif origin.kind == "event":
                found.properties.setdefault(origin.name, {})
        _properties(model, kinds)
    for (event, name), (kind, _) in sorted(kinds.items()):
        found.properties[event][name] = PROPERTY_TYPES.get(kind, pl.String())
    return found


def _properties(model: Model, kinds: dict[tuple[str, str], tuple[Kind, str]]) -> None:
    """Note in `kinds` how each property is read; refuse one read as a number and as text."""
    for origin, measures in model.measures.items():
        if origin.kind != "event":
            continue
        for measure in measures:
            for name, kind in measure.columns.items():
                if name in EVENT_COLUMNS:
                    continue
                trait = f"{model.entity}.{measure.name}"
                before, first = kinds.get((origin.name, name), (Kind.UNTYPED, trait))
                if before is Kind.UNTYPED:
                    kinds[origin.name, name] = (kind, trait)
                elif kind is not Kind.UNTYPED and kind.numeric != before.numeric:
                    raise TraitError(
                        f"property {name} of {origin.name} is read as {before.value} by {first} "
                        f"and as {kind.value} by {trait}; one of them has to cast it"
                    )
