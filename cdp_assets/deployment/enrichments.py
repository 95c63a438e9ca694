"""What is added to events as they are ingested: by source, with the libraries there are."""

from __future__ import annotations

from collections.abc import Iterator

from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.yaml_source import ConfigurationError, KeyPath
from cdp_assets.events.enrich import EnrichError, Enrichments, Kind
from cdp_assets.settings import Settings


def enrich_named(item: Declared) -> list[Kind]:
    """What a source asks for."""
    return list(getattr(item.config, "enrich", ()))


def enrichments_of(deployment: Deployment, settings: Settings) -> Enrichments:
    """What is added to the events of every source. Raises ConfigurationError where a library or
    the database is missing: a bot must not pass for a person because a package is not installed."""
    kinds = {name: asked for name, item in deployment.declared.items()
             if (asked := enrich_named(item))}  # fmt: skip
    found = Enrichments(kinds, settings.geo_database)
    problems = [
        deployment.declared[name].problem(path, text)
        for name in kinds
        for path, text in check_enrich(deployment.declared[name], settings)
    ]
    if problems:
        raise ConfigurationError(problems)
    return found


def check_enrich(declared: Declared, settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """What a source asks for and cannot have."""
    known = Enrichments(database=settings.geo_database)
    for place, kind in enumerate(enrich_named(declared)):
        try:
            known.version(kind)
        except EnrichError as error:
            yield ("enrich", place), str(error)
