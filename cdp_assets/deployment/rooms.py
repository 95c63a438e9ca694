"""What everything done for one deployment needs: its tables, its store, its outside systems."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property

import msgspec

from cdp_assets.connectors.base import Description
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.systems import Connector
from cdp_assets.deployment.catalog import (
    Catalog,
    catalog,
    connector,
    identity_of,
)
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.identity.rules import entity_rules
from cdp_assets.lake import Lake
from cdp_assets.profiles.errors import nearest
from cdp_assets.settings import Settings
from cdp_assets.store import Store


def open_store(settings: Settings) -> Store:
    """The operational database, its schema brought up to date. Raises StoreError, OSError."""
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.database_url)
    store.migrate()
    return store


class Rooms:
    """One deployment's rooms, with the settings of the moment. Cheap to make; nothing is opened
    before it is used."""

    def __init__(self, settings: Settings, deployment: Deployment) -> None:
        self.settings = settings
        self.deployment = deployment
        self._connectors: dict[str, Connector] = {}

    @cached_property
    def lake(self) -> Lake:
        """The lake under CDP_HOME."""
        return Lake(self.settings.lake)

    @cached_property
    def store(self) -> Store:
        """The operational database, its schema brought up to date."""
        return open_store(self.settings)

    @cached_property
    def now(self) -> datetime:
        """The moment that everything done through this object takes as now."""
        return self.settings.clock()

    @property
    def catalog(self) -> Catalog:
        """Objects, event properties and identify traits that this deployment keeps."""
        return catalog(self.deployment)

    @property
    def entities(self) -> list[str]:
        """Every entity that has profiles."""
        resolved = entity_rules(identity_of(self.deployment), self.catalog.specs)
        return list(dict.fromkeys([*resolved, *self.deployment.traits]))

    def connector(self, name: str) -> Connector:
        """The client of an outside system. Raises ConfigurationError where `name` is not declared
        or waits for an environment variable."""
        declared = self.deployment.declared.get(name)
        if declared is None or name not in self.deployment.crms:
            known = ", ".join(self.deployment.crms) or "none"
            near = nearest(name, self.deployment.crms)
            raise ConfigurationError.plain(
                f"no outside system `{name}` in defs/{near}; there are: {known}"
            )
        declared.require_set()
        if name not in self._connectors:
            self._connectors[name] = connector(
                self.deployment, name, HttpOptions(usage=self.settings.home / "usage")
            )
        return self._connectors[name]

    def describe(self, name: str) -> Description:
        """Ask a system for its objects and fields, and keep the answer under CDP_HOME."""
        client = self.connector(name)
        config, names = self.deployment.crms[name], client.names()
        told = getattr(client, "streams", None)
        whole = "all" in config.objects and told is not None
        streams: tuple[str, ...] = told() if told is not None and whole else ()
        if streams:
            # What `objects: all` stands for, before each of them is asked for.
            Description(
                source=name, system=client.system, taken_at=self.settings.clock(), objects={},
                names=names, streams=streams,
            ).save(self.settings.descriptions)  # fmt: skip
        wanted = list(config.object_configs)
        for i, object_name in enumerate(wanted):
            if names and object_name not in names:
                message = f"{name} has no object `{object_name}`, or does not show it to this user"
                raise ConfigurationError(
                    [
                        self.deployment.declared[name].problem(
                            ("objects",) if whole else ("objects", i),
                            message + nearest(object_name, names),
                        )
                    ]
                )
        description = msgspec.structs.replace(client.describe(wanted), names=names)
        description.save(self.settings.descriptions)
        return description

    def description(self, name: str) -> Description | None:
        """The kept description of a system."""
        return Description.load(self.settings.descriptions, name)
