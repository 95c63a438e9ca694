"""`cdp fields create`: the fields that a sync writes and its system does not have yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cdp_assets.connectors.base import FieldInfo, FieldType
from cdp_assets.connectors.salesforce.package import metadata_package
from cdp_assets.deployment.catalog import sync_entity, trait_kinds
from cdp_assets.deployment.platform import Platform
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.profiles.kinds import Kind
from cdp_assets.syncs import may_write, refusal
from cdp_assets.syncs.config import FieldConfig

_TYPES: Mapping[Kind, FieldType] = {
    Kind.STRING: "string",
    Kind.UNTYPED: "string",
    Kind.INTEGER: "integer",
    Kind.DECIMAL: "decimal",
    Kind.FLOAT: "decimal",
    Kind.BOOLEAN: "boolean",
    Kind.TIMESTAMP: "datetime",
    Kind.DATE: "date",
}
_LITERALS: Mapping[type, FieldType] = {bool: "boolean", int: "integer", float: "decimal"}
_LENGTH = 255


@dataclass(frozen=True)
class Missing:
    """A field that a sync names and an object does not have."""

    object: str
    info: FieldInfo


@dataclass(frozen=True)
class Made:
    """What was done: fields made through the API, or a package for the administrator."""

    made: tuple[Missing, ...] = ()
    package: bytes | None = None


def missing_fields(here: Platform, name: str) -> list[Missing]:
    """The fields of a sync that its system, described anew, does not have, with the types that
    their traits ask for.

    Raises ConfigurationError where there is no such sync, or traits do not compile.
    """
    config = here.deployment.sync(name)
    kinds = trait_kinds(here.deployment, sync_entity(here.deployment, config))
    if kinds is None:
        raise ConfigurationError.plain(f"the traits that {name} reads are not right: cdp check")
    described = here.describe(config.source)
    found = []
    for object_name in config.objects:
        info = described.objects.get(object_name)
        if info is None:
            continue
        # A key is compared as text there, whatever its trait is.
        wanted: dict[str, FieldType] = dict.fromkeys(config.key, "string")
        wanted |= {field: _type(told, kinds) for field, told in config.fields.items()}
        for field, kind in wanted.items():
            if field not in info.fields:
                key = field in config.key
                made = FieldInfo(
                    name=field,
                    type=kind,
                    label=field.removesuffix("__c").replace("_", " "),
                    length=_LENGTH,
                    unique=key,
                    external_id=key,
                )
                found.append(Missing(object_name, made))
    return found


def make_fields(here: Platform, name: str) -> Made:
    """Make what is missing where the system's API can (HubSpot), else write a package that an
    administrator deploys (Salesforce).

    Raises ConfigurationError for a system that takes neither and where CDP_ENV lets nothing be
    written there, and what the connector raises.
    """
    found = missing_fields(here, name)
    if not found:
        return Made()
    source = here.deployment.sync(name).source
    client = here.connector(source)
    if hasattr(client, "create_field"):
        if not may_write(here.settings.env, here.deployment.crms[source].url):
            raise ConfigurationError.plain(refusal(here.settings.env, source))
        for item in found:
            client.create_field(item.object, item.info)
        here.describe(source)
        return Made(tuple(found))
    if client.system == "salesforce":
        by_object: dict[str, list[FieldInfo]] = {}
        for item in found:
            by_object.setdefault(item.object, []).append(item.info)
        return Made(tuple(found), metadata_package(by_object))
    names = ", ".join(f"{item.object}.{item.info.name} ({item.info.type})" for item in found)
    raise ConfigurationError.plain(f"{source}: have its administrator make {names}")


def _type(told: FieldConfig, kinds: Mapping[str, Kind]) -> FieldType:
    if told.trait is not None:
        if told.trait.startswith("audiences."):
            return "boolean"
        return _TYPES[kinds.get(told.trait, Kind.STRING)]
    return _LITERALS.get(type(told.value), "string")
