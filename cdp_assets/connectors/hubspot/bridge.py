"""The properties in which HubSpot's own connector for Salesforce keeps a record's other side
("HubSpot-Salesforce integration: Salesforce properties")."""

from __future__ import annotations

from dataclasses import replace

from cdp_assets.connectors.base import Bridge, ObjectMapping
from cdp_assets.connectors.hubspot.config import BridgeConfig

_SIDES = {
    "contacts": (("Contact", "salesforcecontactid"), ("Lead", "salesforceleadid")),
    "companies": (("Account", "salesforceaccountid"),),
}

OTHER_SIDE = {name: sides[0][0] for name, sides in _SIDES.items()}
"""Object → the Salesforce object that its fields are copied to and from."""


def bridged(mapping: ObjectMapping, name: str, config: BridgeConfig | None) -> ObjectMapping:
    """The mapping with what is said of the bridge, where the object has an other side."""
    if config is None or name not in _SIDES:
        return mapping
    copies = config.fields.get(name, {})
    sides = [Bridge(config.source, other, field, copies) for other, field in _SIDES[name]]
    return replace(mapping, bridges=tuple(sides))
