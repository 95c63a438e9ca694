"""Which identifiers are one person, or one company: links, limits, profiles and their ids."""

from cdp_assets.identity.chains import followed
from cdp_assets.identity.config import EntityIdentity, IdentifierConfig, IdentityConfig
from cdp_assets.identity.explain import Explanation, Step, explain
from cdp_assets.identity.past import members_as_of
from cdp_assets.identity.read import (
    attribute,
    follow,
    identifying_fields,
    lookup,
    members,
    over_limits,
    related,
)
from cdp_assets.identity.resolve import EntityResult, ResolveResult, resolve
from cdp_assets.identity.rules import entity_rules, needed_fields
from cdp_assets.identity.tables import CHANGES, FORMER, GRAPH, GROUPS, IDS, LINKS, LOGINS

__all__ = [
    "CHANGES",
    "FORMER",
    "GRAPH",
    "GROUPS",
    "IDS",
    "LINKS",
    "LOGINS",
    "EntityIdentity",
    "EntityResult",
    "Explanation",
    "IdentifierConfig",
    "IdentityConfig",
    "ResolveResult",
    "Step",
    "attribute",
    "entity_rules",
    "explain",
    "follow",
    "followed",
    "identifying_fields",
    "lookup",
    "members",
    "members_as_of",
    "needed_fields",
    "over_limits",
    "related",
    "resolve",
]
