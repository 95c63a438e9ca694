"""Audiences: who meets a condition over traits, since when, and who left."""

from cdp_assets.audiences.build import AudienceResult, build, named, order
from cdp_assets.audiences.config import AudienceConfig
from cdp_assets.audiences.read import audience_table, members, with_memberships

__all__ = [
    "AudienceConfig",
    "AudienceResult",
    "audience_table",
    "build",
    "members",
    "named",
    "order",
    "with_memberships",
]
