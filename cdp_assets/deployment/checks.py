"""Every name in defs/ that can be misspelt, checked against what exists: file, line, nearest name.

What is no mistake for certain is a note (`notes.py`). An outside system that was never described
yet is not checked here; its first pull or plan describes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from cdp_assets.audiences.config import AudienceConfig
from cdp_assets.connectors.base import Description
from cdp_assets.deployment.catalog import audience_circle, bare_specs, connector, trait_kinds
from cdp_assets.deployment.declarations import Declared, Deployment
from cdp_assets.deployment.seen import any_events, events_seen, held, unseen
from cdp_assets.deployment.selections import selected_events, visits_missing
from cdp_assets.deployment.source_checks import check_source
from cdp_assets.deployment.yaml_source import KeyPath, Problem
from cdp_assets.identity.config import IdentifierConfig, IdentityConfig
from cdp_assets.identity.normalise import LISTS
from cdp_assets.identity.rules import EVENT_COLUMNS, declared_types, entity_rules
from cdp_assets.lake import Lake
from cdp_assets.profiles.config import LatestTrait, PreferTrait, SelectTrait, SqlTrait, TraitsConfig
from cdp_assets.profiles.errors import ExpressionError, TraitError, nearest
from cdp_assets.profiles.expressions import Context, parse
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.needs import needs
from cdp_assets.settings import Settings
from cdp_assets.syncs.check import check_created, check_fields, paused_fields
from cdp_assets.syncs.config import ENTERED_AT, ENTRY, SyncConfig
from cdp_assets.syncs.state import told_fields

Found = Iterator[tuple[KeyPath, str | ExpressionError]]


def check_deployment(deployment: Deployment, settings: Settings) -> list[Problem]:
    """Every mistake of a deployment. While a file cannot be read, names are not checked: what it
    declares would be reported as missing wherever it is used."""
    if deployment.problems:
        return list(deployment.problems)
    return [
        problem
        for declared in deployment.declared.values()
        for problem in check_declared(deployment, declared, settings)
    ]


def check_declared(deployment: Deployment, declared: Declared, settings: Settings) -> list[Problem]:
    """Every mistake in the names of one declaration."""
    problems = []
    for path, found in _Check(deployment, declared, settings).run():
        if isinstance(found, ExpressionError):
            problems.append(_in_expression(declared, path, found))
        else:
            problems.append(declared.problem(path, found))
    return problems


def _in_expression(declared: Declared, path: KeyPath, error: ExpressionError) -> Problem:
    """A mistake inside an expression: the caret goes to its own place where the text is written
    plainly in one line, else the message shows the expression."""
    whole = declared.problem(path, "")
    lines = declared.source.file.read_text("utf-8").splitlines()
    begin = lines[whole.line - 1][whole.column - 1 :] if whole.line <= len(lines) else ""
    quoted = begin[:1] in ("'", '"')
    name = ".".join(str(part) for part in path)
    if error.line == 1 and begin[quoted:].startswith(error.text.splitlines()[0]):
        return declared.problem(path, f"{name}: {error.reason}", into=error.column - 1 + quoted)
    return declared.problem(path, f"{name}: {error}")


class _Check:
    def __init__(self, deployment: Deployment, declared: Declared, settings: Settings) -> None:
        self.deployment = deployment
        self.declared = declared
        self.settings = settings

    def run(self) -> Found:
        config = self.declared.config
        if isinstance(config, IdentityConfig):
            yield from self._identity(config)
        elif isinstance(config, TraitsConfig):
            yield from self._traits(config)
        elif isinstance(config, AudienceConfig):
            yield from self._audience(config)
        elif isinstance(config, SyncConfig):
            yield from self._sync(config)
        else:
            yield from check_source(self.deployment, self.declared, self.settings)

    def _description(self, source: str) -> Description | None:
        return Description.load(self.settings.descriptions, source)

    def _identity(self, config: IdentityConfig) -> Found:
        for entity, own in config.entities.items():
            if unknown := self._unknown_entity(entity, config):
                yield (entity,), unknown
                continue
            for kind, identifier in own.identifiers.items():
                path: KeyPath = (entity, "identifiers", kind, "from")
                for i, ref in enumerate(identifier.from_ or ()):
                    yield from self._field((*path, i), ref)
                yield from self._blocked((entity, "identifiers", kind), kind, identifier)
            logouts: dict[KeyPath, str] = {
                (entity, "logout", i): name for i, name in enumerate(own.logout)
            }
            yield from self._events(logouts)
        yield from self._unfed(config)

    def _unknown_entity(self, entity: str, config: IdentityConfig) -> str | None:
        """What is wrong with an entity that no records are of. One that events alone tell of is
        none, as long as it is spelt like no other."""
        specs = bare_specs(self.deployment)
        known = {"person", "account", *(spec.entity for spec in specs)}
        if entity in known:
            return None
        near = nearest(entity, known)
        fed = (ref for i in config.entities[entity].identifiers.values() for ref in i.from_ or ())
        if not near and any(ref.startswith("events.") for ref in fed):
            return None
        return f"no records are of an entity `{entity}`{near or '; `as:` makes an object one'}"

    def _blocked(self, path: KeyPath, kind: str, identifier: IdentifierConfig) -> Found:
        """Names of lists are told from values by their looks: a word that no value of the type
        can be, or one much like a list's name."""
        for i, value in enumerate(identifier.block):
            sign = {"email": "@", "domain": "."}.get(kind)
            word = re.fullmatch(r"[A-Za-z][A-Za-z_]*", value) is not None
            if value in LISTS or not word:
                continue
            near = nearest(value, LISTS)
            if sign or near:
                hint = near or f"; there are {', '.join(LISTS)}"
                yield (*path, "block", i), f"no list of values `{value}`{hint}"

    def _unfed(self, config: IdentityConfig) -> Found:
        """A type that no field feeds and that is spelt much like one that some do."""
        specs = bare_specs(self.deployment)
        for entity, rules in entity_rules(config, specs).items():
            for kind in rules.types:
                if not kind.sources and (near := nearest(kind.name, declared_types(entity, specs))):
                    yield (entity, "identifiers", kind.name), f"no field feeds `{kind.name}`{near}"

    def _field(self, path: KeyPath, ref: str) -> Found:
        """Whether `source.Object.Field` or `events.…` names something."""
        source, _, rest = ref.partition(".")
        if source == "events":
            if ref not in EVENT_COLUMNS and not rest.startswith("traits."):
                message = f"{ref} is no field of events; write events.traits.NAME"
                yield path, f"{message}{nearest(ref, EVENT_COLUMNS)}"
            return
        object_name, _, column = rest.partition(".")
        if files := self.deployment.record_files.get(source):
            if object_name != files.as_ or not column:
                yield path, f"{ref} names no column: write {source}.{files.as_}.COLUMN"
            return
        known = {*self.deployment.crms, *self.deployment.record_files, "events"}
        if missing := self._not_pulled(source, object_name, known):
            yield path, missing
            return
        described = self._description(source)
        info = described.objects.get(object_name) if described else None
        if not column:
            yield path, f"{ref} is an object: name a field of it, as in {ref}.FIELD"
            return
        if info is not None and column not in info.fields and not held(self.settings, ref):
            message = f"{source}.{object_name} has no field {column}"
            yield path, f"{message}{nearest(column, info.fields)}"

    def _traits(self, config: TraitsConfig) -> Found:
        for name, trait in config.traits.items():
            path: KeyPath = ("traits", name)
            if isinstance(trait, PreferTrait | LatestTrait):
                form = "prefer" if isinstance(trait, PreferTrait) else "latest"
                refs = trait.prefer if isinstance(trait, PreferTrait) else trait.latest
                for i, ref in enumerate(refs):
                    yield from self._field((*path, form, i), ref)
            if isinstance(trait, SelectTrait) and _is_object(trait.from_):
                yield from self._object((*path, "from"), trait.from_)
            if isinstance(trait, SqlTrait):
                file = self.declared.source.file.parent / trait.sql
                if not file.is_file():
                    yield (*path, "sql"), f"there is no file {trait.sql} beside this one"
        yield from visits_missing(self.deployment, config)
        yield from self._compiled(config)

    def _object(self, path: KeyPath, ref: str) -> Found:
        source, _, object_name = ref.partition(".")
        if missing := self._not_pulled(source, object_name, self.deployment.crms):
            yield path, missing

    def _not_pulled(self, source: str, object_name: str, known: Iterable[str]) -> str | None:
        """What is wrong with an object of a CRM; None where it is pulled."""
        if source not in self.deployment.crms:
            return f"no source `{source}` in defs/{nearest(source, known)}"
        objects = self.deployment.crms[source].object_configs
        if object_name not in objects:
            text = f"{source} does not pull `{object_name}`"
            if self._exists(source, object_name):
                return f"{text}: add it to `objects` in {self._where(source)}"
            return f"{text}{nearest(object_name, objects)}"
        return None

    def _where(self, source: str) -> str:
        return "/".join(self.deployment.declared[source].source.file.parts[-2:])

    def _exists(self, source: str, object_name: str) -> bool:
        """Whether the system has such an object, pulled or not, as far as is known."""
        described = self._description(source)
        known = {*described.names, *described.objects} if described else set()
        mapped = connector(self.deployment, source).mapping(object_name) is not None
        return object_name in known or mapped

    def _compiled(self, config: TraitsConfig) -> Found:
        specs = bare_specs(self.deployment)
        try:
            wanted = needs(list(self.deployment.traits.values()), specs)
        except (ExpressionError, TraitError) as error:
            yield from self._not_compiled(config, error)
            return
        for entity, name, origin in wanted.unknown:
            if entity == config.entity and not _is_object(origin):
                yield ("traits", name, "from"), f"nothing is pulled as `{origin}`"
        yield from self._event_names(config)

    def _not_compiled(self, config: TraitsConfig, error: ExpressionError | TraitError) -> Found:
        """The traits of all entities compile together; a mistake is told where its trait is."""
        entity, _, name = str(getattr(error, "trait", None) or _trait_named(error)).rpartition(".")
        if entity not in ("", config.entity):
            return
        trait = config.traits.get(name)
        if trait is None:
            if not any(name in other.traits for other in self.deployment.traits.values()):
                yield ("traits",), str(error)
            return
        path: KeyPath = ("traits", name)
        if isinstance(error, ExpressionError):
            texts = {key: getattr(trait, key, None) for key in ("expr", "select", "where")}
            key = next((key for key, text in texts.items() if text == error.text), None)
            yield (*path, key) if key else path, error
        else:
            yield path, str(error)

    def _event_names(self, config: TraitsConfig) -> Found:
        named = selected_events(self.deployment, config)
        yield from self._events({("traits", name, "from"): event for name, event in named.items()})

    def _events(self, named: Mapping[KeyPath, str]) -> Found:
        """Events are known once some were ingested; a name that was never seen but resembles one
        that was is taken for a slip."""
        lake = Lake(self.settings.lake)
        if not named or not any_events(lake):
            return
        missing = unseen(lake, self.deployment, named.values())
        seen = events_seen(lake) if missing else frozenset()
        for path, event in named.items():
            if event in missing and (near := nearest(event, seen)):
                yield path, f"no event `{event}` was ever seen{near}"

    def _columns(self, entity: str) -> dict[str, Kind] | None:
        return trait_kinds(self.deployment, entity)

    def _entity(self, path: KeyPath, entity: str) -> Found:
        if entity not in self.deployment.traits:
            known = self.deployment.traits
            yield path, f"no traits of `{entity}` are declared{nearest(entity, known)}"

    def _condition(self, path: KeyPath, text: str, entity: str) -> Found:
        columns = self._columns(entity)
        if columns is None:
            return
        itself = self.declared.name if self.declared.kind == "Audience" else None
        context = Context(columns, audiences=frozenset(self._audiences(entity)), itself=itself)
        try:
            parse(text, context, want=Kind.BOOLEAN)
        except ExpressionError as error:
            yield path, error

    def _audience(self, config: AudienceConfig) -> Found:
        yield from self._entity(("entity",), config.entity)
        yield from self._condition(("where",), config.where, config.entity)
        if way := audience_circle(self.deployment, self.declared.name):
            names = " and ".join(f"`{name}`" for name in way)
            yield ("where",), f"where: by way of {names} it asks for itself"

    def _sync(self, config: SyncConfig) -> Found:
        audience = config.audience
        entity = config.from_
        if audience is not None:
            found = self.deployment.audiences.get(audience)
            if found is None:
                known = self.deployment.audiences
                yield ("from",), f"no audience `{audience}` in defs/{nearest(audience, known)}"
                return
            entity = found.entity
        yield from self._entity(("from",), entity)
        if config.where:
            yield from self._condition(("where",), config.where, entity)
        yield from self._sync_columns(config, entity)
        yield from self._sync_targets(config, entity)

    def _audiences(self, entity: str) -> set[str]:
        """The audiences of an entity: profile ids of another mean nothing here."""
        found = self.deployment.audiences.items()
        return {name for name, config in found if config.entity == entity}

    def _sync_columns(self, config: SyncConfig, entity: str) -> Found:
        columns = self._columns(entity)
        if columns is None:
            return
        identity = self.deployment.identity
        own = identity.entities.get(entity) if identity else None
        known = {*columns, *(own.identifiers if own else ())}
        known |= {f"audiences.{name}" for name in self._audiences(entity)}
        if config.rows == "entered":
            known |= {ENTRY, ENTERED_AT}
        used: list[tuple[KeyPath, str]] = [
            (("fields", field), column)
            for field, told in config.fields.items()
            for column in told.columns
        ]
        used += [(("key", field), column) for field, column in config.key.items()]
        for i, rule in enumerate(config.match):
            if isinstance(rule, Mapping):
                used += [(("match", i, field), column) for field, column in rule.items()]
        for path, column in used:
            if column not in known:
                yield path, f"{entity} has no trait `{column}`{nearest(column, known)}"

    def _sync_targets(self, config: SyncConfig, entity: str) -> Found:
        if config.source not in self.deployment.crms:
            known = self.deployment.crms
            yield ("to",), f"no system `{config.source}` in defs/{nearest(config.source, known)}"
            return
        if config.list_ is not None:
            yield from self._members(config)
            return
        entities = {spec.entity for spec in bare_specs(self.deployment)}
        for i, linked in enumerate(config.link):
            if linked not in entities:
                hint = nearest(linked, entities)
                yield ("link", i), f"no records of `{linked}` are pulled{hint}"
        users = [s for s in bare_specs(self.deployment) if s.entity == "user"]
        for field, told in config.fields.items():
            if told.owner and config.source not in {spec.source for spec in users}:
                what = f"{config.source} pulls no users: add them to `objects` in "
                yield ("fields", field, "owner"), what + self._where(config.source)
        described = self._description(config.source)
        pulled = self.deployment.crms[config.source].object_configs
        for i, name in enumerate(config.objects):
            path: KeyPath = ("to",) if isinstance(config.to, str) else ("to", i)
            # Only objects that are pulled are described, and a plan needs the description.
            if missing := self._not_pulled(config.source, name, self.deployment.crms):
                if described is None or name not in described.objects:
                    yield path, missing
                elif config.creates != name and not (config.key_rule or config.match_rule):
                    yield path, f"{missing}; without it no record is `linked`, so none is found"
        named = {*pulled, *config.objects}
        there = told_fields(Lake(self.settings.lake), self.declared.name)
        paused = paused_fields(config, described, there)
        kinds = self._columns(entity)
        for path, text in check_fields(config, described, kinds, pulled=named, paused=paused):
            # What a running sync finds records by may be hidden there at any time: that stops
            # this sync with the same words, and not the whole deployment.
            if not (there and path[0] in ("key", "match")):
                yield path, text
        if self.deployment.identity is not None:
            rules = entity_rules(self.deployment.identity, bare_specs(self.deployment))
            found = rules[entity].fields if entity in rules else ()
            yield from check_created(config, pulled, found)

    def _members(self, config: SyncConfig) -> Found:
        """Members of a list are records that identity holds, so their object has to be pulled."""
        for i, name in enumerate(config.members):
            source, _, object_name = name.partition(".")
            if missing := self._not_pulled(source, object_name, self.deployment.crms):
                yield ("members", i), missing


def _is_object(origin: str) -> bool:
    """Whether a `from` is written like an object of a source (`salesforce.Opportunity`)."""
    return "." in origin and " " not in origin


def _trait_named(error: Exception) -> str:
    """The trait that a message begins with (`trait NAME: …`), empty where it names none."""
    first, _, rest = str(error).partition(" ")
    return rest.partition(":")[0] if first == "trait" and ":" in rest else ""
