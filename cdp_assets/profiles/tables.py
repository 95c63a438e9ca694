"""The tables of this room."""

from __future__ import annotations

import polars as pl

from cdp_assets.lake import Table
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import Model

TS = pl.Datetime("us", "UTC")

CHANGES = Table(
    key="profiles/changes",
    description="Every change of a stored trait; an entity's first build writes none, nor does "
    "the first build of a trait.",
    schema={
        "entity": pl.String(),
        "profile_id": pl.Int64(),
        "trait": pl.String(),
        "old": pl.String(),
        "new": pl.String(),
        "run": pl.String(),
        "at": TS,
    },
    personal=("profile_id", "old", "new"),
    column_docs={
        "old": "Value before, as text; null where there was none.",
        "new": "Value since, as text; null where there is none.",
        "run": "Run that built it.",
        "at": "The build's now.",
    },
)

TRAITS = Table(
    key="profiles/traits",
    description="What each trait means, by the rules that profiles were built by: those of an "
    "entity's last build are the catalogue that readers of its profiles use, and the source of the "
    "traits that are computed on reading.",
    schema={
        "entity": pl.String(),
        "rules": pl.Int64(),
        "trait": pl.String(),
        "position": pl.Int64(),
        "kind": pl.String(),
        "form": pl.String(),
        "definition": pl.String(),
        "read_time": pl.Boolean(),
        "description": pl.String(),
        "owner": pl.String(),
    },
    primary_key=("entity", "rules", "trait"),
    column_docs={
        "rules": "As in profiles/builds.",
        "kind": "string, integer, decimal, float, boolean, timestamp or date.",
        "form": "prefer, latest, select, expr or sql.",
        "definition": "The trait as configured, as JSON.",
        "read_time": "Whether it is computed on reading (now(), account.*) and has no column.",
    },
)

BUILDS = Table(
    key="profiles/builds",
    description="Each build of an entity's profiles: its now and its rules. A build is done once "
    "the entity's table holds its number as the watermark `build`.",
    schema={
        "entity": pl.String(),
        "build": pl.Int64(),
        "now": TS,
        "rules": pl.Int64(),
        "full": pl.Boolean(),
        "run": pl.String(),
        "timezone": pl.String(),
        "objects": pl.String(),
        "events": pl.String(),
    },
    primary_key=("entity", "build"),
    column_docs={
        "now": "The time that the build took as now.",
        "rules": "A number that changes when a definition or the time zone does.",
        "full": "Whether all profiles were computed, not only those with news.",
        "timezone": "The zone whose days `within` counted.",
        "objects": "The objects that a `select` could read, as JSON.",
        "events": "How many rows of each table of events it had read, as JSON: where they are "
        "others later, values are not carried on from it.",
    },
)


def profiles(model: Model, docs: dict[str, str] | None = None) -> Table:
    """The wide table of an entity: profile_id and one typed column a stored trait."""
    named = [s.name for s in model.survivors]
    return profiles_table(model.entity, model.stored, tuple(named), docs)


def profiles_table(
    entity: str,
    stored: dict[str, Kind],
    personal: tuple[str, ...] = (),
    docs: dict[str, str] | None = None,
) -> Table:
    """The wide table of `entity` by the kinds of its stored traits."""
    schema: dict[str, pl.DataType] = {"profile_id": pl.Int64()}
    schema |= {name: kind.polars for name, kind in stored.items()}
    return Table(
        key=f"profiles/{entity}",
        description=f"One row a profile of {entity}, one typed column a trait.",
        schema=schema,
        primary_key=("profile_id",),
        personal=("profile_id", *personal),
        column_docs={
            "profile_id": "Stays the same while the identifiers behind it grow; see identity/graph."
        }
        | (docs or {}),
        evolves=True,
    )
