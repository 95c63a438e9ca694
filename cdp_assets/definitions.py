"""The one Dagster entry point: loads defs/, binds what all of it shares."""

from __future__ import annotations

import logging
import warnings
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg

from cdp_assets.components.alerts import alerts
from cdp_assets.components.base import valid_deployment
from cdp_assets.components.maintenance import maintenance
from cdp_assets.deployment.notes import undescribed
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.settings import Settings, load_home_env


class NoValues(dg.IOManager):
    """Refuses to keep an asset's return value: tables are written by the lake, and Dagster's own
    default would pickle rows of personal data beside its logs."""

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if obj is not None:
            raise TypeError("assets return counts; rows go through the lake")

    def load_input(self, context: dg.InputContext) -> Any:
        raise TypeError("assets read their inputs from the lake")


AUTOMATION = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Starts each step after what it reads has changed. Switch it on together with "
    "the sensors and schedules of the sources.",
)

FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=49), warn_window=timedelta(hours=25)
)
"""A schedule pulls once a day, so a window shorter than 25 h would warn each night."""


NOT_FOLLOWED = ("sources", "maintenance")
"""Groups that nobody materialises to keep them fresh."""


def shared(defs: dg.Definitions) -> dg.Definitions:
    """`defs` with what every deployment needs: executor, IO manager, automation, freshness."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=dg.PreviewWarning)
        fresh = defs.map_asset_specs(
            func=lambda spec: (
                spec
                if spec.group_name in NOT_FOLLOWED
                else dg.apply_freshness_policy(spec, FRESHNESS, overwrite_existing=False)
            )
        )
    return dg.Definitions.merge(
        fresh,
        dg.Definitions(
            executor=dg.in_process_executor,
            resources={"io_manager": NoValues()},
            sensors=[AUTOMATION],
        ),
    )


def load(project: Path | None = None) -> dg.Definitions:
    """The definitions of the dg project that `project` lies in, by default this package's own,
    with what every deployment shares and the variables of `$CDP_HOME/env`.

    A project of one's own has in its definitions.py: `defs = load(Path(__file__).parent)`.
    Raises ConfigurationError with every mistake, before Dagster would stop at the first, and where
    CDP_DEFS names a folder that Dagster would pass over in favour of the package's own.
    """
    load_home_env(Settings().home)
    if project is None:
        own = import_module("cdp_assets.defs")
        named = Settings().defs
        if named and named.resolve() != (Path(__file__).parent / "defs").resolve():
            raise ConfigurationError.plain(
                f"CDP_DEFS names {named}, but what is loaded here is the package's own defs/. Load "
                "the dg project that the folder lies in (README, `Your own Salesforce`: `load` in "
                "its definitions.py), or take CDP_DEFS away."
            )
        tree = dg.ComponentTree.from_module(own, Path(__file__).parent.parent)
    else:
        tree = dg.ComponentTree.for_project(project)
    deployment = valid_deployment(tree.defs_module_path)
    for note in undescribed(deployment, Settings()):
        logging.getLogger(__name__).warning(note.short())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=dg.PreviewWarning)
        warnings.simplefilter("ignore", category=dg.BetaWarning)
        found = tree.build_defs()
    return shared(dg.Definitions.merge(found, maintenance(deployment), alerts()))


@dg.definitions
def defs() -> dg.Definitions:
    return load()
