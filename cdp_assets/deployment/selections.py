"""What the traits of a deployment select from, where it is no object of a source."""

from __future__ import annotations

from collections.abc import Iterator

from cdp_assets.deployment.catalog import bare_specs
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.yaml_source import KeyPath
from cdp_assets.profiles.config import SelectTrait, TraitsConfig
from cdp_assets.profiles.model import VISITS


def selected_events(deployment: Deployment, config: TraitsConfig) -> dict[str, str]:
    """Trait → the event that it selects from."""
    others = {"events", *VISITS, *deployment.traits}
    others |= {spec.entity for spec in bare_specs(deployment)}
    return {
        name: trait.from_
        for name, trait in config.traits.items()
        if isinstance(trait, SelectTrait) and "." not in trait.from_ and trait.from_ not in others
    }


def visits_missing(deployment: Deployment, config: TraitsConfig) -> Iterator[tuple[KeyPath, str]]:
    """Traits that read sessions or page views where nothing makes them."""
    for name, trait in config.traits.items():
        if isinstance(trait, SelectTrait) and trait.from_ in VISITS and not deployment.sessions:
            begin = "`dg scaffold defs cdp_assets.Sessions sessions` begins them"
            yield ("traits", name, "from"), f"no sessions are declared in defs/: {begin}"
