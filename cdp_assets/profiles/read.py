"""Profiles as audiences, syncs and pages see them: stored traits, those of the moment, and the
account's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl

from cdp_assets.identity import related
from cdp_assets.lake import Lake
from cdp_assets.profiles.aggregates import Clock
from cdp_assets.profiles.builds import last_build
from cdp_assets.profiles.catalogue import saved_kinds, saved_traits
from cdp_assets.profiles.changes import as_built
from cdp_assets.profiles.compute import with_expressions
from cdp_assets.profiles.errors import TraitError
from cdp_assets.profiles.inputs import open_any
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import Model, compile_traits

KEY = "profile_id"


def saved_model(lake: Lake, entity: str) -> Model:
    """The traits of `entity` as last built. Raises TraitError where it was never built."""
    configs = saved_traits(lake)
    if entity not in configs:
        raise TraitError(f"profiles/{entity} was never built: build it first")
    kinds = saved_kinds(lake)
    model = compile_traits(
        configs[entity],
        configs,
        sql_kinds=_sql_kinds(kinds.get(entity, {})),
        # Without these `from: subscription` would read as an event of that name.
        records={item.entity: item for item in last_build(lake, entity).objects},
    )
    model.kinds = dict(kinds[entity])
    return model


def _sql_kinds(kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    return {name: kind for name, kind in kinds.items() if kind is not Kind.UNTYPED}


def columns(lake: Lake, entity: str) -> dict[str, Kind]:
    """What a `where` over `entity` may name: profile_id, its traits, for a person `account.*`."""
    kinds = saved_kinds(lake)
    if entity not in kinds:
        raise TraitError(f"profiles/{entity} was never built: build it first")
    found = {KEY: Kind.INTEGER, **kinds[entity]}
    if entity == "person":
        found |= {f"account.{name}": kind for name, kind in kinds.get("account", {}).items()}
        if "account" in kinds:
            found[f"account.{KEY}"] = Kind.INTEGER
    return found


def evaluated(lake: Lake, entity: str, now: datetime) -> pl.LazyFrame:
    """Every profile of `entity` as of `now`: profile_id, all its traits, and for a person the
    traits of its account as `account.<trait>` and `account.profile_id`.

    Traits with now() are computed here. Raises TraitError where the profiles were never built.
    """
    model = saved_model(lake, entity)
    stored = open_any(lake, f"profiles/{entity}").scan()
    frame = as_built(stored, model.stored, model.stored)
    if entity == "person" and "account" in saved_traits(lake):
        accounts = evaluated(lake, "account", now)
        names = accounts.collect_schema().names()
        links = related(lake, "person", "account").select(
            pl.col("person_id").alias(KEY), pl.col("account_id").alias(f"account.{KEY}")
        )
        accounts = accounts.rename({name: f"account.{name}" for name in names})
        frame = frame.join(links, on=KEY, how="left").join(
            accounts, on=f"account.{KEY}", how="left"
        )
    return with_expressions(frame, model.read_time, Clock(now, ZoneInfo("UTC")))
