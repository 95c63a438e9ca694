"""Touched profiles from their last values and the news: what did not move is not read again.

Of a profile whose identifiers stayed, a count or sum now is the one of the last build, with the
events that came and without those that left its window. Only what cannot be had so is computed
from all rows of the profiles in question, by `compute.computed` like everything in a full build.
"""

from __future__ import annotations

from dataclasses import replace

import narwhals as nw
import polars as pl

from cdp_assets.lake import OpenTable
from cdp_assets.profiles.aggregates import Clock, carries
from cdp_assets.profiles.aggregates import carried as carried_values
from cdp_assets.profiles.compute import computed, live_profiles
from cdp_assets.profiles.inputs import Inputs
from cdp_assets.profiles.model import Model, Origin
from cdp_assets.profiles.sources import RecordObject
from cdp_assets.profiles.touched import EventNews, Touched

KEY = "profile_id"


def carried(
    inputs: Inputs,
    model: Model,
    objects: list[RecordObject],
    clock: Clock,
    last: Clock,
    news: Touched,
    out: OpenTable,
) -> pl.DataFrame:
    """The survivors and aggregates of the touched profiles that live: what `computed` gives.

    last: the clock of the last build. out: its profiles. All events that it had read have to be
    there still.
    """
    names = [s.name for s in model.survivors]
    names += [m.name for found in model.measures.values() for m in found]
    touched = live_profiles(inputs, model.entity).join(news.profiles.lazy(), on=KEY, how="semi")
    before = out.scan().select(KEY, *(pl.col(n).cast(model.kinds[n].polars) for n in names))
    known = before.join(news.profiles.lazy(), on=KEY, how="semi").collect()
    frame = touched.collect().join(known, on=KEY, how="left")
    ids, fresh = frame.select(KEY), frame.select(KEY).join(known, on=KEY, how="anti")

    def again(part: Model, which: pl.DataFrame) -> None:
        nonlocal frame
        which = which.unique().join(ids, on=KEY, how="semi")
        if not which.is_empty():
            frame = _patched(frame, computed(inputs, part, objects, clock, which))

    if model.survivors:
        again(replace(model, measures={}), pl.concat([news.respoken, fresh]))
    for origin, measures in model.measures.items():
        part = replace(model, survivors=[], measures={origin: measures})
        moves = news.events.get(origin)
        if moves is None:
            again(part, ids)
            continue
        frame = _patched(frame, _added(frame, part, origin, moves, clock, last))
        others = [m for m in measures if not carries(m)]
        which = pl.concat([fresh, news.moved])
        if which.is_empty():
            part = replace(part, measures={origin: others})
        if others:
            which = pl.concat([which, moves.came.select(KEY)])
        if any(m.within for m in others):
            which = pl.concat([which, moves.crossed.select(KEY)])
        again(part, which)
    return frame


def _added(
    frame: pl.DataFrame, model: Model, origin: Origin, moves: EventNews, clock: Clock, last: Clock
) -> pl.DataFrame:
    """The measures that are carried on, of the profiles whose events moved."""
    measures = [m for m in model.measures[origin] if carries(m)]
    met = pl.concat([moves.came.select(KEY), moves.crossed.select(KEY)]).unique()
    old = frame.join(met, on=KEY, how="semi").select(KEY, *(m.name for m in measures))
    if not measures or old.is_empty():
        return frame.select(KEY).clear()
    frames = (nw.from_native(part.lazy()) for part in (old, moves.came, moves.crossed))
    found: pl.LazyFrame = nw.to_native(
        carried_values(*frames, measures=measures, clock=clock, last=last)
    )
    return found.collect(engine="streaming")


def _patched(frame: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """`frame` with the values of `found` for its profiles and columns, nulls too."""
    return frame.update(found, on=KEY, how="left", include_nulls=True)
