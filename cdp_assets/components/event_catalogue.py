"""What all events have to say of themselves: properties seen, daily volumes, and a check that tells
of new, vanished and shifted events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from cdp_assets.components.base import platform
from cdp_assets.components.dagster_assets import (
    AFTER_UPSTREAM,
    SINGLE_FILE,
    after_upstream_and_midnight,
    asset_spec,
    counts,
    safe_errors,
)
from cdp_assets.components.features import features_definitions
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.feature_use import planned_features
from cdp_assets.events.features import FeaturesConfig
from cdp_assets.events.plan.rules import safe_name
from cdp_assets.events.properties import PROPERTIES, VOLUMES, build_properties, build_volumes
from cdp_assets.events.pulse import Shift, shifts
from cdp_assets.events.waiting import waiting
from cdp_assets.lake import Lake

PULSE = "pulse"
_SHOWN = 50


def event_catalogue(deployment: Deployment) -> dg.Definitions:
    """The assets `events/properties` and `events/volumes` of a deployment that has events; with
    `events/features` where plans alone say what a use of a feature is."""
    seen = asset_spec(
        PROPERTIES.key,
        group="events",
        description=PROPERTIES.description,
        table=PROPERTIES,
        deps=["events"],
        personal=False,
        automation=AFTER_UPSTREAM,
        column_deps={"property": [("events", "payload")]},
    )
    volumes = asset_spec(
        VOLUMES.key,
        group="events",
        description=VOLUMES.description,
        table=VOLUMES,
        deps=["events"],
        personal=False,
        automation=after_upstream_and_midnight(),
        column_deps={"day": [("events", "timestamp")], "event": [("events", "event")]},
    )

    @dg.multi_asset(name="build_event_properties", specs=[seen], pool=SINGLE_FILE)
    @safe_errors
    def build_seen(context: dg.AssetExecutionContext) -> Iterator[Any]:
        del context
        lake = platform(deployment).lake
        read = build_properties(lake)
        rows = lake.open(PROPERTIES).scan().select("property", "clash").collect()
        yield dg.MaterializeResult(
            asset_key=seen.key,
            metadata=counts(
                events_read=read,
                properties=rows.filter(rows["property"] != "").height,
                clashes=int(rows["clash"].sum()),
            ),
        )

    check = dg.AssetCheckSpec(
        PULSE,
        asset=volumes.key,
        description="A warning where an event is new, vanished, or had far more or fewer than on "
        "the same weekdays before.",
    )

    @dg.multi_asset(
        name="build_event_volumes", specs=[volumes], check_specs=[check], pool=SINGLE_FILE
    )
    @safe_errors
    def build_days(context: dg.AssetExecutionContext) -> Iterator[Any]:
        del context
        here = platform(deployment)
        changed = build_volumes(here.lake)
        rows = here.lake.open(VOLUMES).scan().collect()
        found = shifts(rows, here.now.date())
        kinds = {kind: sum(s.kind == kind for s in found) for kind in
                 ("new", "vanished", "more", "fewer")}  # fmt: skip
        yield dg.MaterializeResult(
            asset_key=volumes.key,
            metadata=counts(rows_changed=changed, events=rows["event"].n_unique()),
            check_results=[
                dg.AssetCheckResult(
                    check_name=PULSE,
                    passed=not found,
                    severity=dg.AssetCheckSeverity.WARN,
                    description=told(found) or None,
                    metadata=counts(**kinds) | _table(found),
                )
            ],
        )

    own = dg.Definitions(assets=[build_seen, build_days])
    if planned_features(deployment) and not deployment.of(FeaturesConfig):
        return dg.Definitions.merge(own, features_definitions(deployment))
    return own


def told(found: Sequence[Shift]) -> str:
    """The shifts in one line, the first few by name."""
    words = [f"{safe_name(shift.event)} ({shift.source}): {shift.kind}" for shift in found[:5]]
    more = [f"{len(found) - 5} more"] if len(found) > 5 else []
    return "; ".join(words + more)


def _table(found: Sequence[Shift]) -> dict[str, Any]:
    if not found:
        return {}
    rows = [
        dg.TableRecord(
            {
                "source": shift.source,
                "event": safe_name(shift.event),
                "what": shift.kind,
                "day": shift.day.isoformat(),
                "events": shift.events,
                "usual": "" if shift.usual is None else f"{shift.usual:g}",
                "last_seen": shift.last_seen.isoformat() if shift.last_seen else "",
            }
        )
        for shift in found[:_SHOWN]
    ]
    return {"shifts": dg.MetadataValue.table(rows)}


def quarantine_table(lake: Lake) -> dict[str, Any]:
    """What waits in quarantine, as metadata of the asset `events`; nothing where nothing does."""
    rows = waiting(lake).head(_SHOWN).select("source", "reason", "detail", "rows", "example")
    if rows.is_empty():
        return {}
    records = [dg.TableRecord(dict(row)) for row in rows.iter_rows(named=True)]
    return {"waiting_in_quarantine": dg.MetadataValue.table(records)}
