"""The tracking plans of a deployment: read with the files they name, checked, and which source is
judged by which."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.yaml_source import KeyPath
from cdp_assets.events.model import Event, Refusal
from cdp_assets.events.plan.config import EventRule, TrackingPlanConfig
from cdp_assets.events.plan.judge import BLOCKED, blocker
from cdp_assets.events.plan.rules import Plan, PlanError, events_of_file
from cdp_assets.events.plan.tables import column_types
from cdp_assets.events.tables import typed_keys
from cdp_assets.profiles.errors import nearest

Said = Iterator[tuple[KeyPath, str]]


def plan_named(item: Declared) -> str | None:
    """The tracking plan that a source names."""
    found = getattr(item.config, "tracking_plan", None)
    return found if isinstance(found, str) else None


@lru_cache(maxsize=8)
def plans(deployment: Deployment) -> Mapping[str, Plan]:
    """name → plan. Raises PlanError, ValueError or OSError where a file of one cannot be used;
    `check_plan` says so with its line."""
    found = {}
    for name, item in deployment.declared.items():
        if isinstance(item.config, TrackingPlanConfig):
            files = dict(_files(item.config))
            folder = item.source.file.parent
            schemas = {file: json.loads((folder / file).read_bytes()) for file in files.values()}
            found[name] = Plan(name, item.config, schemas)
    return found


def plans_of_sources(deployment: Deployment) -> dict[str, Plan]:
    """source → the plan that its events are judged by, of those that name one."""
    known = plans(deployment)
    named = {name: plan_named(item) or "" for name, item in deployment.declared.items()}
    return {name: known[plan] for name, plan in named.items() if plan in known}


def blockers(
    deployment: Deployment, actions: Collection[str] = BLOCKED
) -> dict[str, Callable[[Event, bytes], Refusal | None]]:
    """source → its plan's word on an event, of those whose plan blocks anything (or does what
    else `actions` name). Where a plan
    cannot be used nothing is blocked: what came is judged when it is ingested. So are the events
    of a source with a transformation, whose plan is about what that makes of them."""
    found: dict[str, Callable[[Event, bytes], Refusal | None]] = {}
    try:
        named = {
            source: (plan, plan.rules)
            for source, plan in plans_of_sources(deployment).items()
            if getattr(deployment.declared[source].config, "transform", None) is None
        }
    except (ValueError, OSError):
        return found
    for source, (plan, _) in named.items():
        rules = plan.rules.values()
        said = {plan.config.unplanned_events, *(r.violations for r in rules)}
        if not (said | {r.unplanned for r in rules}).isdisjoint(actions):
            found[source] = blocker(plan, actions)
    return found


def planned_properties(deployment: Deployment) -> dict[str, dict[str, pl.DataType]]:
    """event → property → type of its column, of the plans that give their events tables."""
    found: dict[str, dict[str, pl.DataType]] = {}
    for plan in plans(deployment).values():
        if plan.config.tables:
            for event in plan.event_rules:
                types = column_types(plan.rules["track", event].schema)
                for name, dtype in types.items():
                    found.setdefault(event, {}).setdefault(name, dtype)
                found.setdefault(event, {})
    return found


def with_planned(
    properties: Mapping[str, Mapping[str, pl.DataType]], deployment: Deployment
) -> dict[str, Mapping[str, pl.DataType]]:
    """The properties that traits read, with those that plans name: of one that both do, the trait
    says what its column is."""
    planned = planned_properties(deployment)
    return {
        event: {**planned.get(event, {}), **properties.get(event, {})}
        for event in sorted({*planned, *properties})
    }


def _files(config: TrackingPlanConfig) -> Iterator[tuple[KeyPath, str]]:
    if config.schema_ is not None:
        yield ("schema",), config.schema_
    for path, rule in _rules(config):
        if rule.schema_ is not None:
            yield (*path, "schema"), rule.schema_


def _rules(config: TrackingPlanConfig) -> Iterator[tuple[KeyPath, EventRule]]:
    for event, rule in config.events.items():
        yield ("events", event), rule
    for kind in ("identify", "group", "page", "screen"):
        if (rule := getattr(config, kind)) is not None:
            yield (kind,), rule


def check_plan(declared: Declared, config: TrackingPlanConfig) -> Said:
    """Every mistake of a plan that its model does not know."""
    folder = declared.source.file.parent
    read: dict[str, Any] = {}
    broken = False
    for path, file in _files(config):
        found = _read(folder, file)
        if isinstance(found, str):
            broken = True
            yield path, found
        else:
            read[file] = found[0]
    if broken:
        return
    names = list(config.events)
    try:
        if config.schema_ is not None:
            names += [n for n in events_of_file(read[config.schema_]) if n not in config.events]
            yield from _usable(Plan(declared.name, _only(config, schema=config.schema_), read),
                               ("schema",), config.schema_)  # fmt: skip
    except PlanError as error:
        yield ("schema",), f"{config.schema_}: {error}"
    for path, rule in _rules(config):
        alone = _only(config, events={"E": rule})
        at: KeyPath = (*path, "schema") if rule.schema_ is not None else path
        yield from _usable(Plan(declared.name, alone, read), at, rule.schema_)
    if config.tables:
        for event in names:
            try:
                typed_keys([event])
            except ValueError as error:
                where: KeyPath = ("events", event) if event in config.events else ("schema",)
                yield where, f"{error}, or say `tables: false`"


def _only(config: TrackingPlanConfig, **said: Any) -> TrackingPlanConfig:
    nothing = {"events": {}, "schema_": None} | dict.fromkeys(
        ("identify", "group", "page", "screen")
    )
    if "schema" in said:
        said["schema_"] = said.pop("schema")
    return config.model_copy(update=nothing | said)


def _usable(plan: Plan, path: KeyPath, file: str | None) -> Said:
    try:
        _ = plan.rules
    except PlanError as error:
        yield path, f"{file}: {error}" if file else str(error)


def _read(folder: Path, name: str) -> tuple[Any] | str:
    """A file's JSON, or what is wrong with it."""
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        return f"{name}: name a file inside the definition's own folder"
    if not file.is_file():
        others = sorted(other.name for other in folder.glob("*.json"))
        return f"there is no file {name} beside this one{nearest(name, others)}"
    try:
        return (json.loads(file.read_bytes()),)
    except (ValueError, RecursionError) as error:
        at = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        return f"{name} is no JSON{at}"


def check_named(deployment: Deployment, declared: Declared) -> Said:
    """A plan that a source names and that is none."""
    name = plan_named(declared)
    known = deployment.of(TrackingPlanConfig)
    if name is not None and name not in known:
        yield ("tracking_plan",), f"no tracking plan `{name}` in defs/{nearest(name, known)}"


def pii_classes(deployment: Deployment) -> dict[tuple[str, str, str], str]:
    """(type, event, property) → the class of personal data that a plan says it is; members of
    objects by `a.b`."""
    found: dict[tuple[str, str, str], str] = {}
    for plan in plans(deployment).values():
        for (kind, event), rule in plan.rules.items():
            for name, said in _classes(rule.schema, ""):
                found[kind, event, name] = said
    return found


def _classes(schema: Any, prefix: str) -> Iterator[tuple[str, str]]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    for name, part in (properties or {}).items():
        if isinstance(part, Mapping):
            if isinstance(part.get("pii"), str):
                yield f"{prefix}{name}", part["pii"]
            yield from _classes(part, f"{prefix}{name}.")


def schema_text(plan: Plan, event: str) -> str:
    """The JSON Schema that an event of a plan is judged by."""
    return json.dumps(plan.rules["track", event].schema, indent=2, ensure_ascii=False)
