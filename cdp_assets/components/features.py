"""Features of a product as a component: which are used, by whom, and which are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from cdp_assets.components.base import CdpComponent, platform, scaffold_attributes
from cdp_assets.components.dagster_assets import (
    AFTER_UPSTREAM,
    SINGLE_FILE,
    asset_spec,
    counts,
    rules_version,
    safe_errors,
)
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.feature_use import feature_use, features_of, map_of
from cdp_assets.events.features import FEATURES, FeaturesConfig, Use, build_features

DAYS = 30
"""Days over which the asset's own table of figures is taken."""


class _FeaturesParams(BaseModel):
    feature: str = Field("reporting", description="Name of a first feature")


class _FeaturesScaffolder(dg.Scaffolder[_FeaturesParams]):
    @classmethod
    def get_scaffold_params(cls) -> type[_FeaturesParams]:
        return _FeaturesParams

    def scaffold(self, request: dg.ScaffoldRequest[_FeaturesParams]) -> None:
        name = request.params.feature
        scaffold_attributes(request, {"features": {name: {"pages": [f"/{name}/**"]}}})


@dg.scaffold_with(_FeaturesScaffolder)
class Features(CdpComponent):
    """Which events and pages are uses of which product features."""

    config_model = FeaturesConfig
    config: Any

    def definitions(self, declared: Declared, deployment: Deployment) -> dg.Definitions:
        first = next(iter(deployment.of(FeaturesConfig)))
        return dg.Definitions() if first != declared.name else features_definitions(deployment)


def features_definitions(deployment: Deployment) -> dg.Definitions:
    """The asset `events/features`, which all declarations of features share."""
    config = features_of(deployment) or FeaturesConfig()
    found_by = map_of(deployment)
    spec = asset_spec(
        FEATURES.key,
        group="events",
        description=f"{FEATURES.description} {len(found_by.names)} features are declared.",
        table=FEATURES,
        deps=["events"],
        automation=AFTER_UPSTREAM,
        column_deps={
            "feature": [("events", "event"), ("events", "page_path")],
            "day": [("events", "timestamp")],
        },
        code_version=rules_version(found_by.digest),
    )
    check = dg.AssetCheckSpec(
        "in_use",
        asset=spec.key,
        description="A warning where a declared feature was not used for "
        f"{config.unused_after} days: a candidate to drop, or its events are missing.",
    )

    @dg.multi_asset(name="build_feature_use", specs=[spec], check_specs=[check], pool=SINGLE_FILE)
    @safe_errors
    def build(context: dg.AssetExecutionContext) -> Iterator[Any]:
        del context
        here = platform(deployment)
        changed = build_features(here.lake, found_by)
        uses = feature_use(here, DAYS, here.now.date())
        declared = [use for use in uses if use.feature in found_by.names]
        idle = [u for u in declared if u.idle(here.now.date(), config.unused_after)]
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata=counts(rows_changed=changed, features=len(uses), unused=len(idle))
            | _table(uses),
            check_results=[
                dg.AssetCheckResult(
                    check_name=check.name,
                    passed=not idle,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=", ".join(u.feature for u in idle[:10]) or None,
                    metadata=counts(unused=len(idle)),
                )
            ],
        )

    return dg.Definitions(assets=[build])


def _table(uses: list[Use]) -> dict[str, Any]:
    if not uses:
        return {}
    rows = [
        dg.TableRecord(
            {
                "feature": use.feature,
                "people": use.people,
                "uses": use.uses,
                "days": use.days,
                "last": use.last.date().isoformat() if use.last else "never",
            }
        )
        for use in uses[:100]
    ]
    return {f"last_{DAYS}_days": dg.MetadataValue.table(rows)}
