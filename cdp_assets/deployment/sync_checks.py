"""What of `cdp check` touches one sync: asked before a person plans, approves or replays it."""

from __future__ import annotations

from contextlib import suppress

from cdp_assets.audiences.build import named
from cdp_assets.deployment.checks import check_declared
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.profiles.config import TraitsConfig
from cdp_assets.profiles.errors import ExpressionError
from cdp_assets.settings import Settings
from cdp_assets.syncs.inputs import sync_names


def require_sync(deployment: Deployment, name: str, settings: Settings) -> None:
    """Raise ConfigurationError with every mistake in the sync, the system that it writes to, the
    audiences that it names (and those that they name), and the traits; or where there is no such
    sync."""
    deployment.sync(name)
    problems = [
        problem
        for declared in _touching(deployment, name)
        for problem in check_declared(deployment, declared, settings)
    ]
    if problems:
        raise ConfigurationError(problems)


def _touching(deployment: Deployment, name: str) -> list[Declared]:
    config = deployment.syncs[name]
    names = {name, config.source}
    waiting: set[str] = {config.audience} if config.audience else set()
    # A condition that cannot be read is told by the check of whom it belongs to, with its place.
    with suppress(ExpressionError):
        waiting |= sync_names(config).audiences
    while waiting:
        audience = waiting.pop()
        if audience in names or audience not in deployment.audiences:
            continue
        names.add(audience)
        with suppress(ExpressionError):
            waiting |= named(deployment.audiences[audience])
    # Traits of all entities compile together: where one is wrong, no name of a trait can be judged.
    return [
        declared
        for declared in deployment.declared.values()
        if declared.name in names or isinstance(declared.config, TraitsConfig)
    ]
