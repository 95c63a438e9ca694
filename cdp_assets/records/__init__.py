"""CRM objects as common entities, how they relate, and the values of their fields over time."""

from cdp_assets.records.build import BuildResult, build
from cdp_assets.records.config import ObjectSpec
from cdp_assets.records.read import current, outstanding
from cdp_assets.records.tables import RELATION, TOLD, VALUES, entity_table

__all__ = [
    "RELATION",
    "TOLD",
    "VALUES",
    "BuildResult",
    "ObjectSpec",
    "build",
    "current",
    "entity_table",
    "outstanding",
]
