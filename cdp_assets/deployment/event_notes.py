"""What of tracking plans and features does nothing as it stands but may be meant so."""

from __future__ import annotations

from collections.abc import Iterator

from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.plans import plan_named, plans
from cdp_assets.deployment.seen import any_events, events_seen, unseen
from cdp_assets.deployment.yaml_source import KeyPath
from cdp_assets.events.features import FeaturesConfig
from cdp_assets.lake import Lake
from cdp_assets.profiles.errors import nearest

Said = Iterator[tuple[KeyPath, str]]


def plan_notes(deployment: Deployment, name: str) -> Said:
    """A plan that judges nothing."""
    if not any(plan_named(item) == name for item in deployment.declared.values()):
        yield (), f"no source says `tracking_plan: {name}`: the plan judges nothing"


def feature_notes(deployment: Deployment, config: FeaturesConfig, lake: Lake) -> Said:
    """Events of features that nobody ever sent, once there are events."""
    named = {
        ("features", feature, "events", i): event
        for feature, said in config.features.items()
        for i, event in enumerate(said.events)
    }
    if not named or not any_events(lake):
        return
    planned = {event for plan in plans(deployment).values() for event in plan.event_rules}
    missing = unseen(lake, deployment, named.values()) - planned
    known = {*planned, *events_seen(lake)} if missing else planned
    for path, event in named.items():
        if event in missing:
            yield path, f"no event `{event}` was ever seen{nearest(event, known)}"
