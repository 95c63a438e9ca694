"""What `cdp check` says besides mistakes: what could not be checked, and what does nothing as it
stands but may be meant so."""

from __future__ import annotations

from collections.abc import Iterator

from cdp_assets.connectors.base import Description
from cdp_assets.connectors.systems import system_of
from cdp_assets.deployment.catalog import bare_specs, catalog, connector, raw_keys
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.event_notes import feature_notes, plan_notes
from cdp_assets.deployment.seen import any_events, held, properties_seen, unseen
from cdp_assets.deployment.selections import selected_events
from cdp_assets.deployment.source_checks import check_url, url_of_environment
from cdp_assets.deployment.yaml_source import KeyPath, Problem
from cdp_assets.events.features import FeaturesConfig
from cdp_assets.events.plan.config import TrackingPlanConfig
from cdp_assets.identity.config import IdentityConfig
from cdp_assets.identity.rules import EVENT_COLUMNS, EVENT_TRAITS, entity_rules
from cdp_assets.lake import Lake
from cdp_assets.profiles.config import LatestTrait, PreferTrait, TraitsConfig
from cdp_assets.profiles.errors import nearest
from cdp_assets.settings import Settings
from cdp_assets.syncs.check import check_fields, paused_fields
from cdp_assets.syncs.config import FieldConfig, SyncConfig
from cdp_assets.syncs.state import told_fields

Said = Iterator[tuple[KeyPath, str]]


def unset_variables(deployment: Deployment) -> list[Problem]:
    """The environment variables that defs/ names and that are not set: what needs them stops with
    the same words when it runs."""
    return [
        declared.problem(path, f"the environment variable {variable} is not set")
        for declared in deployment.declared.values()
        for variable, path in declared.unset.items()
    ]


def undescribed(deployment: Deployment, settings: Settings) -> list[Problem]:
    """Systems, and objects of systems, whose fields could not be checked."""
    found = []
    for name, config in deployment.crms.items():
        declared = deployment.declared[name]
        described = Description.load(settings.descriptions, name)
        cure = f"not described yet: fields not checked; run `cdp describe {name}`"
        known = described.objects if described else {}
        missing = [(i, o) for i, o in enumerate(config.object_configs) if o not in known]
        if described is None:
            found.append(declared.problem((), f"{name}: {cure}"))
            missing = [(i, o) for i, o in missing if connector(deployment, name).mapping(o) is None]
        mapped = system_of(config).mappings
        for i, object_name in missing:
            near = nearest(object_name, {*known, *mapped} - {object_name})
            place = ("objects",) if "all" in config.objects else ("objects", i)
            found.append(declared.problem(place, f"{name}.{object_name} is {cure}{near}"))
    return found


def notes(deployment: Deployment, settings: Settings) -> list[Problem]:
    """All notes on a deployment without mistakes, except variables that are not set."""
    lake = Lake(settings.lake)
    found = [item.source.problem(("type",), item.message) for item in deployment.foreign]
    found += undescribed(deployment, settings)
    for declared in deployment.declared.values():
        config = declared.config
        if declared.name in deployment.crms and url_of_environment(declared):
            found += _problems(declared, check_url(deployment, declared))
        elif isinstance(config, IdentityConfig):
            found += _problems(declared, _identity(deployment, config, lake))
            found += _problems(declared, _gone(deployment, settings, _identifying(config)))
        elif isinstance(config, TraitsConfig):
            found += _problems(declared, _traits(deployment, config, lake))
            found += _problems(declared, _gone(deployment, settings, _taken(config)))
        elif isinstance(config, SyncConfig):
            found += _problems(declared, _sync(declared, settings, config))
        elif isinstance(config, TrackingPlanConfig):
            found += _problems(declared, plan_notes(deployment, declared.name))
        elif isinstance(config, FeaturesConfig):
            found += _problems(declared, feature_notes(deployment, config, lake))
    found += _overwritten(deployment)
    if deployment.identity is None and (raw_keys(deployment) or deployment.traits):
        found.append(
            Problem(
                deployment.folder,
                0,
                "nothing here says `type: cdp_assets.Identity`: without it there are no records, "
                "no identity and so no one to build profiles of; "
                "`dg scaffold defs cdp_assets.Identity identity` begins one",
            )
        )
    return found


def _sync(declared: Declared, settings: Settings, config: SyncConfig) -> Said:
    """What the destination has no more of what a sync has told before."""
    described = Description.load(settings.descriptions, config.source)
    told = told_fields(Lake(settings.lake), declared.name)
    for field, why in paused_fields(config, described, told).items():
        yield ("fields", field), why
    for path, why in check_fields(config, described, paused=config.fields):
        if told and path[0] in ("key", "match"):
            yield path, f"the sync stands still: {why}"


def _identifying(config: IdentityConfig) -> Iterator[tuple[KeyPath, str]]:
    for entity, own in config.entities.items():
        for kind, identifier in own.identifiers.items():
            for i, ref in enumerate(identifier.from_ or ()):
                yield (entity, "identifiers", kind, "from", i), ref


def _taken(config: TraitsConfig) -> Iterator[tuple[KeyPath, str]]:
    for name, trait in config.traits.items():
        if isinstance(trait, PreferTrait | LatestTrait):
            form = "prefer" if isinstance(trait, PreferTrait) else "latest"
            for i, ref in enumerate(trait.prefer if form == "prefer" else trait.latest):  # type: ignore[union-attr]
                yield ("traits", name, form, i), ref


def _gone(deployment: Deployment, settings: Settings, named: Iterator[tuple[KeyPath, str]]) -> Said:
    """Fields that records had and their system has no more: nothing comes from them, while the
    rest goes on. Those that never were there are mistakes, told as such."""
    for path, ref in named:
        source, _, rest = ref.partition(".")
        object_name, _, column = rest.partition(".")
        if source not in deployment.crms or not column:
            continue
        described = Description.load(settings.descriptions, source)
        info = described.objects.get(object_name) if described else None
        if info is not None and column not in info.fields and held(settings, ref):
            near = nearest(column, info.fields)
            what = f"{source}.{object_name} has no field {column} any more{near}"
            yield path, f"paused: {what}; nothing comes from it, the rest goes on"


def _problems(declared: Declared, said: Said) -> list[Problem]:
    return [declared.problem(path, message) for path, message in said]


def _overwritten(deployment: Deployment) -> list[Problem]:
    """Fields that two syncs write over whatever stands there: the value of each is to the other
    a change made by somebody else. Said at the later of the two, since their people may be apart.
    """
    found = []
    first: dict[tuple[str, str], tuple[str, FieldConfig]] = {}
    for name, config in deployment.syncs.items():
        if config.mode == "insert":
            continue
        for column, told in config.fields.items():
            for target in config.targets if told.write == "always" else ():
                other, before = first.setdefault((target, column.casefold()), (name, told))
                if before != told:
                    message = (
                        f"`{other}` writes {target}.{column} too: where both tell, they overwrite "
                        "each other for ever; write: if_empty or on_create in one ends it"
                    )
                    found.append(deployment.declared[name].problem(("fields", column), message))
    return found


def _identity(deployment: Deployment, config: IdentityConfig, lake: Lake) -> Said:
    for entity, rules in entity_rules(config, bare_specs(deployment)).items():
        for kind in rules.types:
            path: KeyPath = (entity, "identifiers", kind.name)
            fed = [s for s in kind.sources if deployment.has_events or not _of_events(s)]
            if not kind.sources:
                yield path, f"no field feeds `{kind.name}`: name its fields with `from`"
            elif not fed:
                yield path, f"`{kind.name}` comes from events alone, and no source of them is here"
        if entity in config.entities and any_events(lake):
            missing = unseen(lake, deployment, rules.logout)
            for i, event in enumerate(rules.logout):
                if event in missing:
                    yield (entity, "logout", i), f"no event `{event}` was ever seen"


def _of_events(source: str) -> bool:
    return source in EVENT_COLUMNS or source.startswith(EVENT_TRAITS)


def _traits(deployment: Deployment, config: TraitsConfig, lake: Lake) -> Said:
    if not any_events(lake):
        return
    named = selected_events(deployment, config)
    missing = unseen(lake, deployment, named.values())
    read = catalog(deployment).properties
    for event in sorted(set(named.values())):
        traits = [name for name, other in named.items() if other == event]
        if event in missing:
            for name in traits:
                yield ("traits", name, "from"), f"no event `{event}` was ever seen"
            continue
        seen = properties_seen(lake, event) if read.get(event) else frozenset()
        for column in sorted(set(read.get(event, {})) - seen):
            name = next((name for name in traits if column in _words(config, name)), traits[0])
            message = f"no `{event}` that was looked at has a property `{column}`"
            yield ("traits", name), message + nearest(column, seen)


def _words(config: TraitsConfig, name: str) -> str:
    trait = config.traits[name]
    return f"{getattr(trait, 'select', '')} {getattr(trait, 'where', '') or ''}"
