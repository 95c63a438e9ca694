"""One row a profile: traits from the values of records and the events of people.

`build` keeps profiles/<entity> equal to its inputs, `evaluated` is how others read it, `explain`
says where a value comes from, `needs` which fields and properties configuration names.
"""

from cdp_assets.profiles.build import BuildResult, build
from cdp_assets.profiles.config import TraitsConfig
from cdp_assets.profiles.errors import ExpressionError, TraitError
from cdp_assets.profiles.explain import ProfileWhy, TraitWhy, explain
from cdp_assets.profiles.needs import Needs, needs
from cdp_assets.profiles.read import columns, evaluated
from cdp_assets.profiles.timeline import timeline

__all__ = [
    "BuildResult",
    "ExpressionError",
    "Needs",
    "ProfileWhy",
    "TraitError",
    "TraitWhy",
    "TraitsConfig",
    "build",
    "columns",
    "evaluated",
    "explain",
    "needs",
    "timeline",
]
