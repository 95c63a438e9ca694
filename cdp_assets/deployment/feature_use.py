"""The feature map of a deployment, and who uses what."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.plans import plans
from cdp_assets.deployment.rooms import Rooms
from cdp_assets.events.features import (
    FEATURES,
    FeatureMap,
    FeaturesConfig,
    Use,
    feature_map,
    in_figures,
)
from cdp_assets.identity import attribute


def features_of(deployment: Deployment) -> FeaturesConfig | None:
    """The features that are declared; None where none are, nor planned."""
    declared = deployment.of(FeaturesConfig).values()
    if not declared and not planned_features(deployment):
        return None
    features = {name: said for one in declared for name, said in one.features.items()}
    after = min((one.unused_after for one in declared), default=90)
    return FeaturesConfig(features=features, unused_after=after)


def planned_features(deployment: Deployment) -> list[tuple[str, str]]:
    """(event, feature) that tracking plans name."""
    return [
        (event, rule.feature)
        for plan in plans(deployment).values()
        for event, rule in plan.event_rules.items()
        if rule.feature is not None
    ]


def map_of(deployment: Deployment) -> FeatureMap:
    """Which events and pages are uses of which features."""
    return feature_map(features_of(deployment) or FeaturesConfig(), planned_features(deployment))


def owned_uses(here: Rooms) -> pl.LazyFrame:
    """Table events/features with `profile_id` (null while nobody is known) and `person`: the
    profile, else the device or user, as text. A device that changed hands within a day counts with
    whoever had it at the day's last use."""
    rows = here.lake.open(FEATURES).scan().drop("_seq")
    ids = [pl.col(c).replace("", None) for c in ("user_id", "anonymous_id")]
    owned = attribute(here.lake, rows.with_columns(*ids, timestamp="last_at")).drop("timestamp")
    return owned.with_columns(
        pl.coalesce(
            pl.lit("profile:") + pl.col("profile_id").cast(pl.String),
            pl.lit("user:") + pl.col("user_id"),
            pl.lit("device:") + pl.col("anonymous_id"),
        ).alias("person")
    )


def feature_use(here: Rooms, days: int, today: date) -> list[Use]:
    """Each feature in figures over the last days, today included."""
    since = today - timedelta(days=days - 1)
    return in_figures(owned_uses(here).collect(), map_of(here.deployment).names, since)
