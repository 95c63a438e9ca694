"""profiles/traits: what the traits of the last finished build mean, for readers of the profiles."""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl
from pydantic import TypeAdapter

from cdp_assets.lake import Lake
from cdp_assets.profiles import tables
from cdp_assets.profiles.builds import last_build
from cdp_assets.profiles.config import FORMS, Trait, TraitsConfig
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.model import Model

_TRAIT: TypeAdapter[Trait] = TypeAdapter(Trait)


def trait_docs(traits: TraitsConfig) -> dict[str, str]:
    """Trait → its description, or its rule where it has none."""
    return {name: trait.description or rule(trait) for name, trait in traits.traits.items()}


def rule(trait: Trait) -> str:
    """A trait's rule in one line, as written."""
    body = trait.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"description", "owner", "type"}
    )
    if "within" in body:
        body["within"] = f"{body['within']}d"
    return ", ".join(
        f"{key}: {', '.join(value) if isinstance(value, list) else value}"
        for key, value in body.items()
    )


def save_traits(lake: Lake, model: Model, traits: TraitsConfig, rules: int = 0) -> None:
    """Make the catalogue's rows of this entity by these rules exactly the traits of `model`.

    rules: those of the build that is under way, with whose end they become the entity's traits; 0
    without builds.
    """
    late = {name for name, _ in model.read_time}
    rows = [
        {
            "entity": model.entity,
            "rules": rules,
            "trait": name,
            "position": position,
            "kind": model.kinds[name].value,
            "form": next(form for form in FORMS if form in type(trait).model_fields),
            "definition": json.dumps(
                trait.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True
            ),
            "read_time": name in late,
            "description": trait.description,
            "owner": trait.owner,
        }
        for position, (name, trait) in enumerate(traits.traits.items())
    ]
    lake.open(tables.TRAITS).replace(
        pl.DataFrame(rows, schema=tables.TRAITS.schema),
        scope=pl.DataFrame({"entity": [model.entity], "rules": [rules]}),
    )


def saved_traits(lake: Lake) -> dict[str, TraitsConfig]:
    """Entity → its traits as last built."""
    found: dict[str, dict[str, Trait]] = {}
    for row in _catalogue(lake).iter_rows(named=True):
        body = json.loads(row["definition"])
        if "within" in body:
            body["within"] = f"{body['within']}d"
        found.setdefault(row["entity"], {})[row["trait"]] = _TRAIT.validate_python(body)
    return {entity: TraitsConfig(entity=entity, traits=traits) for entity, traits in found.items()}


def saved_kinds(lake: Lake) -> Mapping[str, dict[str, Kind]]:
    """Entity → trait → kind, as last built."""
    found: dict[str, dict[str, Kind]] = {}
    for row in _catalogue(lake).iter_rows(named=True):
        found.setdefault(row["entity"], {})[row["trait"]] = Kind(row["kind"])
    return found


def saved_columns(lake: Lake, entity: str) -> dict[str, Kind]:
    """The stored traits of `entity` and their kinds, as last built."""
    rows = _catalogue(lake).filter((pl.col("entity") == entity) & ~pl.col("read_time"))
    return {row["trait"]: Kind(row["kind"]) for row in rows.iter_rows(named=True)}


def _catalogue(lake: Lake) -> pl.DataFrame:
    rows = lake.open(tables.TRAITS).scan().collect()
    built = {entity: last_build(lake, entity).rules for entity in rows["entity"].unique()}
    current = pl.DataFrame({"entity": list(built), "rules": list(built.values())}, _BUILT)
    return rows.join(current, on=["entity", "rules"], how="semi").sort("entity", "position")


_BUILT = {"entity": pl.String, "rules": pl.Int64}
