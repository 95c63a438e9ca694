"""The outside systems there are, one entry each: what configures them, and who talks to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from cdp_assets.connectors import hubspot, salesforce, sugarcrm, zendesk
from cdp_assets.connectors.base import Destination, ObjectMapping, Source
from cdp_assets.connectors.config import CrmConfig
from cdp_assets.connectors.hubspot.mapping import MAPPINGS as HUBSPOT
from cdp_assets.connectors.salesforce.mapping import MAPPINGS as SALESFORCE
from cdp_assets.connectors.sugarcrm.mapping import MAPPINGS as SUGARCRM
from cdp_assets.connectors.zendesk.mapping import MAPPINGS as ZENDESK


class Connector(Source, Destination, Protocol):
    """The client of a system that is read from and written to; most are a `crm.Crm`."""

    system: ClassVar[str]

    @property
    def calls(self) -> int:
        """Requests sent so far."""

    def names(self) -> tuple[str, ...]:
        """The names of all objects there are; empty where the system has no list of them."""


@dataclass(frozen=True)
class System:
    """One outside system.

    config: what its component may say. connect: its client, from a name, that configuration and
    `options` of HTTP. mappings: the objects that read as entities without further words. people:
    its object of people, and a text field of theirs that a first sync can write.
    """

    config: type[CrmConfig]
    connect: Callable[..., Connector]
    mappings: Mapping[str, ObjectMapping]
    people: tuple[str, str]


SYSTEMS: Mapping[str, System] = {
    "Salesforce": System(
        salesforce.SalesforceConfig, salesforce.Salesforce, SALESFORCE, ("Contact", "Title")
    ),
    "HubSpot": System(hubspot.HubSpotConfig, hubspot.HubSpot, HUBSPOT, ("contacts", "jobtitle")),
    "Zendesk": System(zendesk.ZendeskConfig, zendesk.Zendesk, ZENDESK, ("users", "details")),
    "SugarCRM": System(sugarcrm.SugarCRMConfig, sugarcrm.SugarCRM, SUGARCRM, ("Contacts", "title")),
}
"""Component class → its system."""


_OWN: dict[type[CrmConfig], System] = {}


def add_system(system: System) -> None:
    """Make a system of somebody's own known, by its configuration's class."""
    _OWN[system.config] = system


def system_of(config: CrmConfig) -> System:
    """The system whose configuration this is."""
    known = [*SYSTEMS.values(), *_OWN.values()]
    return next(system for system in known if isinstance(config, system.config))
