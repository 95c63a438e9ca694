"""Which events, and which properties of them, the lake has seen: what a name can be checked by."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import polars as pl

from cdp_assets.deployment.catalog import typed_event_tables
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.events import EVENTS
from cdp_assets.lake import Lake
from cdp_assets.profiles.errors import ExpressionError, TraitError
from cdp_assets.records.tables import VALUES
from cdp_assets.settings import Settings

SAMPLE = 5_000
"""Events of a name that are looked at for the properties they have."""


def held(settings: Settings, ref: str) -> bool:
    """Whether any record ever had this field (`source.Object.Field`): then it was there once, and
    what names it is no slip of the pen."""
    table = Lake(settings.lake).open(VALUES)
    if not table.exists():
        return False
    rows = table.scan().filter(pl.col("field") == ref).select("field").head(1)
    return bool(rows.collect().height)


class _Track(msgspec.Struct, gc=False):
    properties: dict[str, msgspec.Raw] = {}


_decode = msgspec.json.Decoder(_Track).decode


def any_events(lake: Lake) -> bool:
    """Whether events were ingested at all."""
    table = lake.open(EVENTS)
    return table.exists() and bool(table.scan().select("event").head(1).collect().height)


def unseen(lake: Lake, deployment: Deployment, names: Iterable[str]) -> set[str]:
    """Those of `names` of which the lake holds no event. One that is there is found in its own
    typed table or in the first files that are read; only for a missing one a column of all events
    is."""
    try:
        typed = typed_event_tables(deployment)
    except (ExpressionError, TraitError):  # told at the trait's own place
        typed = {}
    found = set()
    for name in set(names):
        table = typed.get(name)
        if table is not None and lake.open(table).scan().head(1).collect().height:
            continue
        rows = lake.open(EVENTS).scan().filter(pl.col("event") == name).select("event").head(1)
        if not rows.collect(engine="streaming").height:
            found.add(name)
    return found


def events_seen(lake: Lake) -> frozenset[str]:
    """Names of the events that the lake holds; empty before the first ingest. Reads a column of
    all events, so it is asked only for names that were not found."""
    table = lake.open(EVENTS)
    if not table.exists():
        return frozenset()
    return frozenset(table.scan().select("event").unique().collect()["event"].drop_nulls())


def properties_seen(lake: Lake, event: str) -> frozenset[str]:
    """The properties that some events of this name have (see SAMPLE); empty where it has none."""
    rows = (
        lake.open(EVENTS)
        .scan()
        .filter((pl.col("type") == "track") & (pl.col("event") == event))
        .select("payload")
        .head(SAMPLE)
        .collect(engine="streaming")
    )
    found: set[str] = set()
    for payload in rows["payload"]:
        try:
            found |= set(_decode(payload).properties)
        except msgspec.DecodeError:
            continue
    return frozenset(found)
