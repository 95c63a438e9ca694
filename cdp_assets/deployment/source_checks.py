"""Mistakes in what a source says of itself: its address, its first day, its objects."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from cdp_assets.collector.config import EventSourceConfig
from cdp_assets.connectors.base import Description
from cdp_assets.connectors.config import url_mistake
from cdp_assets.connectors.hubspot.bridge import OTHER_SIDE
from cdp_assets.connectors.hubspot.config import BridgeConfig, HubSpotConfig
from cdp_assets.connectors.salesforce.config import SalesforceConfig
from cdp_assets.deployment.catalog import connector
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.enrichments import check_enrich
from cdp_assets.deployment.plans import check_named, check_plan
from cdp_assets.deployment.transforms import check_transform
from cdp_assets.deployment.yaml_source import KeyPath
from cdp_assets.events.plan.config import TrackingPlanConfig
from cdp_assets.profiles.errors import nearest
from cdp_assets.settings import Settings

Said = Iterator[tuple[KeyPath, str]]


def check_source(deployment: Deployment, declared: Declared, settings: Settings) -> Said:
    """Every mistake of a source of records or events."""
    start = getattr(declared.config, "start", None)
    # The clock may be set back to rebuild the past; what was a day then is no mistake.
    today = max(settings.clock(), datetime.now(UTC)).date()
    if isinstance(start, date) and start > today + timedelta(days=1):
        yield ("start",), f"start: {start} is yet to come: nothing would be read before it"
    yield from check_named(deployment, declared)
    yield from check_transform(declared)
    yield from check_enrich(declared, settings)
    if isinstance(declared.config, EventSourceConfig):
        yield from _check_key(deployment, declared, declared.config.write_key)
    if isinstance(declared.config, TrackingPlanConfig):
        yield from check_plan(declared, declared.config)
    if declared.name in deployment.crms:
        if not url_of_environment(declared):
            yield from check_url(deployment, declared)
        yield from _objects(deployment, declared.name, settings)
        if isinstance(declared.config, HubSpotConfig) and declared.config.bridge is not None:
            yield from _bridge(deployment, declared.name, declared.config.bridge, settings)


def url_of_environment(declared: Declared) -> bool:
    """Whether the address of a system is filled in from the environment."""
    return "{{" in str((declared.source.value.get("attributes") or {}).get("url", ""))


def check_url(deployment: Deployment, declared: Declared) -> Said:
    """An address to which no credentials are sent."""
    url = deployment.crms[declared.name].url
    if "{{" not in url and (wrong := url_mistake(url)):
        yield ("url",), f"url: {wrong}"


def _bridge(deployment: Deployment, name: str, bridge: BridgeConfig, settings: Settings) -> Said:
    orgs = deployment.of(SalesforceConfig)
    if bridge.source not in orgs:
        near = nearest(bridge.source, orgs)
        yield ("bridge", "source"), f"no Salesforce org `{bridge.source}` in defs/{near}"
        return
    sides = {name: Description.load(settings.descriptions, name) for name in (name, bridge.source)}
    for object_name, fields in bridge.fields.items():
        other = OTHER_SIDE.get(object_name)
        path: KeyPath = ("bridge", "fields", object_name)
        if other is None:
            yield path, f"a bridge keeps {', '.join(OTHER_SIDE)}{nearest(object_name, OTHER_SIDE)}"
            continue
        for own, theirs in fields.items():
            for side, item, field in ((name, object_name, own), (bridge.source, other, theirs)):
                known = sides[side]
                info = known.objects.get(item) if known else None
                if info is not None and field not in info.fields:
                    near = nearest(field, info.fields)
                    yield (*path, own), f"{side}.{item} has no field `{field}`{near}"


def _objects(deployment: Deployment, name: str, settings: Settings) -> Said:
    client, config = connector(deployment, name), deployment.crms[name]
    described = Description.load(settings.descriptions, name)
    first: dict[str, str] = {}
    for i, entry in enumerate(config.objects):
        object_name = entry if isinstance(entry, str) else entry.name
        twin = first.get(object_name.casefold())
        first.setdefault(object_name.casefold(), object_name)
        if twin is not None:
            before = "twice" if twin == object_name else f"already, as `{twin}`"
            yield ("objects", i), f"`{object_name}` stands here {before}"
            continue
        item = config.object_configs.get(object_name)
        if item is None:  # `all`
            continue
        if described and described.names and object_name not in described.names:
            near = nearest(object_name, described.names)
            yield ("objects", i), f"{name} has no object `{object_name}`{near}"
            continue
        info = described.objects.get(object_name) if described else None
        for own, column in item.fields.items():
            if info is not None and column not in info.fields:
                yield (
                    ("objects", i, "fields", own),
                    f"{name}.{object_name} has no field {column}{nearest(column, info.fields)}",
                )
        if client.mapping(object_name) is None and item.as_ is None and item.fields:
            yield ("objects", i), f"say with `as:` which entity the records of {object_name} are"


def _check_key(deployment: Deployment, declared: Declared, key: str | None) -> Said:
    """A write key of two sources: whose its events are would be a matter of chance."""
    if key is None or "{{" in key:
        return
    for name, config in deployment.event_sources.items():
        if name < declared.name and config.write_key == key:
            yield ("write_key",), f"write_key is that of `{name}` too: give each its own"
