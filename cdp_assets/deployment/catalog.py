"""What a deployment's declarations come to: objects and the fields kept of them, tables, and which
asset reads which."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache

import polars as pl

from cdp_assets.audiences.build import named as audiences_named
from cdp_assets.connectors.base import ObjectMapping
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.systems import Connector, system_of
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.plans import with_planned
from cdp_assets.events import typed_keys, typed_specs
from cdp_assets.events.tables import DECIMAL
from cdp_assets.identity.config import IdentityConfig
from cdp_assets.identity.rules import needed_fields
from cdp_assets.lake import Table
from cdp_assets.profiles.catalogue import trait_docs
from cdp_assets.profiles.config import LatestTrait, PreferTrait, SelectTrait, SqlTrait
from cdp_assets.profiles.errors import ExpressionError, TraitError
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import VISITS, compile_traits, origin
from cdp_assets.profiles.needs import needs
from cdp_assets.profiles.sources import as_objects
from cdp_assets.profiles.sql import table_name, tables_named
from cdp_assets.profiles.tables import profiles_table
from cdp_assets.raw.tables import raw_table
from cdp_assets.records import ObjectSpec
from cdp_assets.records.bridges import with_other_sides
from cdp_assets.syncs.config import ENTERED_AT, ENTRY, SyncConfig
from cdp_assets.syncs.inputs import sync_names


@dataclass(frozen=True)
class Catalog:
    """The objects, event properties and identify traits that a deployment keeps in columns.

    specs: every object that is pulled as an entity, with the fields kept over time.
    properties: event → property → column type. told: `events.traits.NAME` kept over time.
    """

    specs: tuple[ObjectSpec, ...] = ()
    properties: Mapping[str, Mapping[str, pl.DataType]] = field(default_factory=dict)
    told: frozenset[str] = frozenset()


def connector(deployment: Deployment, name: str, options: HttpOptions | None = None) -> Connector:
    """The client of the outside system declared as `name`. No request is made."""
    config = deployment.crms[name]
    return system_of(config).connect(name, config, options=options)


@lru_cache(maxsize=8)
def catalog(deployment: Deployment) -> Catalog:
    """Compute the catalogue. Raises ExpressionError or TraitError where a trait is wrong."""
    bare = bare_specs(deployment)
    wanted = needs(list(deployment.traits.values()), bare)
    fields = {name: set(columns) for name, columns in wanted.fields.items()}
    told = set(wanted.told)
    for (source, object_name), columns in needed_fields(identity_of(deployment)).items():
        if source == "events":
            told |= {f"events.{object_name}.{column}" for column in columns}
        else:
            fields.setdefault(f"{source}.{object_name}", set()).update(columns)
    specs = tuple(
        replace(spec, value_fields=tuple(sorted(fields.get(spec.name, ())))) for spec in bare
    )
    properties = _with_engagement(wanted.properties, deployment)
    return Catalog(specs, with_planned(properties, deployment), frozenset(told))


def _with_engagement(
    properties: Mapping[str, Mapping[str, pl.DataType]], deployment: Deployment
) -> dict[str, Mapping[str, pl.DataType]]:
    """The properties that traits read, and the one by which pages tell engaged time."""
    found = dict(properties)
    if deployment.sessions is not None and deployment.sessions.engagement is not None:
        event, name = deployment.sessions.engagement
        found[event] = {name: DECIMAL, **found.get(event, {})}
    return found


@lru_cache(maxsize=8)
def bare_specs(deployment: Deployment) -> tuple[ObjectSpec, ...]:
    """Every object that is pulled as an entity, before it is known which fields are kept."""
    specs = []
    for name, config in deployment.crms.items():
        client = connector(deployment, name)
        for object_name in config.object_configs:
            mapping = client.mapping(object_name)
            if mapping is not None:
                specs.append(ObjectSpec(name, object_name, mapping))
    for name, files in deployment.record_files.items():
        assert files.as_ is not None
        mapping = ObjectMapping(entity=files.as_, columns=dict(files.fields))
        specs.append(ObjectSpec(name, files.as_, mapping))
    return with_other_sides(specs)


def identity_of(deployment: Deployment) -> IdentityConfig:
    """The declared identity; without one, records alone are profiles."""
    return deployment.identity or IdentityConfig.model_validate({})


def raw_keys(deployment: Deployment) -> dict[str, list[str]]:
    """entity → the raw tables that its records come from."""
    found: dict[str, list[str]] = {}
    for spec in catalog(deployment).specs:
        found.setdefault(spec.entity, []).append(raw_table(spec.source, spec.object).key)
    return dict(sorted(found.items()))


def reconciliation_keys(deployment: Deployment) -> list[str]:
    """The assets that compare all keys of a system with those stored, and mend raw tables."""
    crms = deployment.crms.items()
    return [f"crm/{name}/reconciliation" for name, config in crms if config.reconcile != "never"]


def typed_event_tables(deployment: Deployment) -> dict[str, Table]:
    """event → its typed table."""
    specs = typed_specs(catalog(deployment).properties)
    return {event: spec.table for event, spec in specs.items()}


def profile_table(deployment: Deployment, entity: str) -> Table | None:
    """The table of an entity's profiles; None where a SQL trait's type is known only after the
    first build."""
    traits = deployment.traits
    if any(isinstance(t, SqlTrait) and t.type is None for t in traits[entity].traits.values()):
        return None
    objects = {item.entity: item for item in as_objects(catalog(deployment).specs)}
    stored = compile_traits(traits[entity], traits, objects).stored
    return profiles_table(entity, stored, docs=trait_docs(traits[entity]))


def trait_kinds(deployment: Deployment, entity: str) -> dict[str, Kind] | None:
    """What a condition over an entity may name, with its type, by what is declared; None where its
    traits are missing or do not compile (`cdp check` says so at their own place)."""
    traits = deployment.traits
    if entity not in traits:
        return None
    objects = {item.entity: item for item in as_objects(bare_specs(deployment))}
    try:
        found = {
            "profile_id": Kind.INTEGER,
            **compile_traits(traits[entity], traits, objects).kinds,
        }
        if entity == "person" and "account" in traits:
            account = compile_traits(traits["account"], traits, objects).kinds
            found |= {f"account.{name}": kind for name, kind in account.items()}
            found["account.profile_id"] = Kind.INTEGER
    except (ExpressionError, TraitError):
        return None
    return found


def trait_inputs(deployment: Deployment, entity: str) -> list[str]:
    """Keys of the assets that an entity's profiles are built from.

    Raises TraitError where profiles that they are built from are built from them.
    """
    found = _trait_inputs(deployment, entity)
    reached, waiting = set(found), list(found)
    while waiting:
        other = waiting.pop().removeprefix("profiles/")
        for key in _trait_inputs(deployment, other) if other in deployment.traits else ():
            if key == f"profiles/{entity}":
                raise TraitError(
                    f"profiles of {entity} are built from those of {other}, which are built from "
                    f"{entity}: one of the two must not read the other"
                )
            if key not in reached:
                reached.add(key)
                waiting.append(key)
    return sorted(found)


def _trait_inputs(deployment: Deployment, entity: str) -> set[str]:
    found: set[str] = set()
    if deployment.identity is not None:
        found.add("identity/graph")
    for sources in trait_columns(deployment, entity).values():
        found |= {asset for asset, _ in sources}
    assets = _sql_assets(deployment)
    for text in sql_texts(deployment, entity).values():
        found |= {assets[name] for name in tables_named(text) & assets.keys()}
    return found - {f"profiles/{entity}"}


def sql_texts(deployment: Deployment, entity: str) -> dict[str, str]:
    """Trait → the text of its SQL file, of those of an entity's traits that have one."""
    folder, traits = deployment.traits_folder(entity), deployment.traits[entity].traits
    files = {
        name: folder / trait.sql for name, trait in traits.items() if isinstance(trait, SqlTrait)
    }
    return {name: file.read_text("utf-8") for name, file in files.items() if file.is_file()}


def _sql_assets(deployment: Deployment) -> dict[str, str]:
    """Table name in SQL files → the asset that holds the table."""
    keys = ["events", *typed_keys(catalog(deployment).properties).values()]
    keys += [f"records/{name}" for name in ("values", "relation", *raw_keys(deployment))]
    keys += [f"profiles/{entity}" for entity in deployment.traits]
    if deployment.sessions is not None:
        keys += [table.key for table in VISITS.values()]
    return {"events_values": "events"} | {table_name(key): key for key in keys}


def trait_columns(deployment: Deployment, entity: str) -> dict[str, list[tuple[str, str]]]:
    """Trait → the (asset, column) pairs that it is computed from."""
    traits = deployment.traits[entity].traits
    keys = typed_keys(catalog(deployment).properties)
    objects = {item.entity: item for item in as_objects(catalog(deployment).specs)}
    texts = sql_texts(deployment, entity)
    found: dict[str, list[tuple[str, str]]] = {}
    for name, trait in traits.items():
        if isinstance(trait, PreferTrait):
            found[name] = [_field_column(ref) for ref in trait.prefer]
        elif isinstance(trait, LatestTrait):
            found[name] = [_field_column(ref) for ref in trait.latest]
        elif isinstance(trait, SelectTrait):
            found[name] = [_from_column(trait.from_, trait.select, entity, keys, objects)]
        else:
            text = texts.get(name, "") if isinstance(trait, SqlTrait) else trait.expr
            found[name] = [
                (f"profiles/{entity}", other) for other in traits if other != name and other in text
            ]
    return {name: sorted(set(sources)) for name, sources in found.items() if sources}


def _field_column(ref: str) -> tuple[str, str]:
    return ("events", "payload") if ref.startswith("events.") else ("records/values", "value")


def _from_column(
    name: str, select: str, entity: str, keys: Mapping[str, str], objects: Mapping[str, object]
) -> tuple[str, str]:
    source = origin(name, entity, objects)
    inside = select.partition("(")[2].rstrip(")").strip()
    column = inside if inside.isidentifier() else "timestamp"
    if source.kind == "events":
        return "events", column
    if source.kind == "visits":
        return VISITS[name].key, "started_at" if column == "timestamp" else column
    if source.kind == "event":
        return keys.get(name, "events"), column
    if source.kind == "profiles":
        return f"profiles/{name}", "profile_id"
    return "records/values", "value"


def audience_inputs(deployment: Deployment, name: str) -> list[str]:
    """Keys of the assets that an audience is built from."""
    config = deployment.audiences[name]
    found = [f"profiles/{config.entity}"]
    if config.entity == "person" and "account" in deployment.traits:
        found.append("profiles/account")
    others = audiences_named(config, list(deployment.audiences))
    return [*found, *(f"audiences/{other}" for other in sorted(others))]


def audience_circle(deployment: Deployment, name: str) -> tuple[str, ...]:
    """The audiences by way of which the condition of an audience asks for itself; none, if all is
    well. Conditions that cannot be read are passed over."""
    waiting: list[tuple[str, ...]] = [(name,)]
    seen = {name}
    while waiting:
        way = waiting.pop()
        with suppress(ExpressionError):
            named = audiences_named(deployment.audiences[way[-1]])
            if name in named and len(way) > 1:
                return way[1:]
            waiting += [(*way, other) for other in named & deployment.audiences.keys() - seen]
            seen |= named
    return ()


def sync_entity(deployment: Deployment, config: SyncConfig) -> str:
    """The entity whose profiles a sync writes."""
    return deployment.audiences[config.audience].entity if config.audience else config.from_


def sync_inputs(deployment: Deployment, name: str) -> list[str]:
    """Keys of the assets that a sync's plan is made from: the profiles, audiences and accounts
    that it names anywhere, and what says which record is whose and whether it lives."""
    config = deployment.syncs[name]
    entity = sync_entity(deployment, config)
    named = sync_names(config)
    found = {f"profiles/{entity}", *(f"audiences/{audience}" for audience in named.audiences)}
    if any(column.startswith("account.") for column in named.columns):
        found.add("profiles/account")
    if deployment.identity is not None:
        found.add("identity/graph")
        kept = raw_keys(deployment)
        users = ["user"] if any(field.owner for field in config.fields.values()) else []
        read = (entity, *config.link, *users)
        found |= {f"records/{other}" for other in read if other in kept}
    return sorted(found)


def sync_columns(deployment: Deployment, name: str) -> list[tuple[str, str]]:
    """The (asset, column) pairs whose values a sync tells."""
    config = deployment.syncs[name]
    entity = sync_entity(deployment, config)
    traits = deployment.traits
    found = set()
    for used in config.columns:
        owner, _, trait = used.rpartition(".")
        owner = owner or entity
        if owner in traits and (trait in traits[owner].traits or trait == "profile_id"):
            found.add((f"profiles/{owner}", trait))
        elif owner == "audiences":
            found.add((f"audiences/{trait}", "profile_id"))
        elif config.rows == "entered" and trait in (ENTRY, ENTERED_AT):
            found.add((f"audiences/{config.audience}", ENTERED_AT))
        else:
            found.add(("identity/graph", "identifier"))
    return sorted(found)
