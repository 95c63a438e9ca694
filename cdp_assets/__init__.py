"""A customer data platform made of Dagster assets, on storage you own.

The components that a `defs.yaml` can name are reached here (`type: cdp_assets.Salesforce`); they
are imported when asked for, so that `import cdp_assets.lake` does not import Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_COMPONENTS = {
    "Audience": "cdp_assets.components.audience",
    "EventFiles": "cdp_assets.components.event_files",
    "EventSource": "cdp_assets.components.event_source",
    "Features": "cdp_assets.components.features",
    "Files": "cdp_assets.components.files",
    "HubSpot": "cdp_assets.components.crm",
    "Identity": "cdp_assets.components.identity",
    "Salesforce": "cdp_assets.components.crm",
    "Sessions": "cdp_assets.components.sessions",
    "SugarCRM": "cdp_assets.components.crm",
    "Sync": "cdp_assets.components.sync",
    "TrackingPlan": "cdp_assets.components.tracking_plan",
    "Traits": "cdp_assets.components.traits",
    "Zendesk": "cdp_assets.components.crm",
}

__all__ = list(_COMPONENTS)


def __getattr__(name: str) -> Any:
    if name in _COMPONENTS:
        return getattr(import_module(_COMPONENTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_COMPONENTS])
