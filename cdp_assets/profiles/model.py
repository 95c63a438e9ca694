"""Traits compiled: every expression parsed and typed, every trait in an order that can be built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from cdp_assets.events.tables import DECIMAL, EVENTS, typed_table
from cdp_assets.lake import Table
from cdp_assets.profiles.aggregates import Measure
from cdp_assets.profiles.config import (
    ExprTrait,
    LatestTrait,
    PreferTrait,
    SelectTrait,
    SqlTrait,
    Trait,
    TraitsConfig,
)
from cdp_assets.profiles.errors import ExpressionError, TraitError, nearest
from cdp_assets.profiles.expressions import Context, Expression, parse, parse_select
from cdp_assets.profiles.kinds import Kind, kind_of
from cdp_assets.sessions.tables import PAGE_VIEWS, SESSIONS

RESOLVED = ("person", "account")
"""Entities whose profiles identity makes of many records; every other record is its own."""


def _plain_columns(table: Table) -> dict[str, Kind]:
    hidden = ("payload", "flags", "_seq", "deleted_at")
    return {n: kind_of(t) for n, t in table.stored().items() if n not in hidden}


EVENTS_COLUMNS: Mapping[str, Kind] = _plain_columns(EVENTS)
"""What `from: events` may name."""

EVENT_COLUMNS: Mapping[str, Kind] = _plain_columns(typed_table("", "events/x", {}))
"""What `from: <event>` may name besides the event's properties."""


VISITS: Mapping[str, Table] = {"sessions": SESSIONS, "page_views": PAGE_VIEWS}
"""What `from: sessions` and `from: page_views` read."""

VISITS_COLUMNS: Mapping[str, Mapping[str, Kind]] = {
    name: _plain_columns(table) | {"timestamp": Kind.TIMESTAMP} for name, table in VISITS.items()
}
"""What they may name; `timestamp` of a session is when it started."""

HAPPEN = ("events", "event", "visits")
"""Kinds of origins whose rows happen at a time, on a device or to a user."""


@dataclass(frozen=True)
class Origin:
    """Where a `select` reads: all events, one event, sessions or page views, the records of an
    object or an entity, or the profiles of another entity. `name` is as written after `from`."""

    kind: Literal["events", "event", "visits", "records", "profiles"]
    name: str


@dataclass(frozen=True)
class Survivor:
    """A `prefer` or `latest` trait: its fields, and whether their order decides."""

    name: str
    kind: Kind
    fields: tuple[str, ...]
    ranked: bool

    def rank(self, ref: str) -> int:
        return self.fields.index(ref) if self.ranked else 0


@dataclass(frozen=True)
class SqlFile:
    """A trait that a SQL file computes."""

    name: str
    file: str
    kind: Kind | None


@dataclass
class Model:
    """The compiled traits of one entity.

    kinds: every trait, in the order of the configuration. steps: expressions and SQL files in an
    order in which each finds what it reads. read_time: expressions that depend on the time of
    reading (or on the account), in such an order too; they are never stored.
    """

    entity: str
    kinds: dict[str, Kind] = field(default_factory=dict)
    survivors: list[Survivor] = field(default_factory=list)
    measures: dict[Origin, list[Measure]] = field(default_factory=dict)
    steps: list[tuple[str, Expression | SqlFile]] = field(default_factory=list)
    read_time: list[tuple[str, Expression]] = field(default_factory=list)
    definitions: dict[str, Trait] = field(default_factory=dict)

    @property
    def stored(self) -> dict[str, Kind]:
        """The traits that have a column in the profiles' table."""
        late = {name for name, _ in self.read_time}
        return {name: kind for name, kind in self.kinds.items() if name not in late}

    @property
    def has_sql(self) -> bool:
        """Whether a trait looks at all profiles at once."""
        return any(isinstance(step, SqlFile) for _, step in self.steps)

    @property
    def longest_window(self) -> int:
        """Days of the longest `within`; 0 where there is none."""
        measures = [m for found in self.measures.values() for m in found]
        return max((m.within or 0 for m in measures), default=0)

    def signature(self, *extra: str, folder: Path | None = None) -> int:
        """A number that changes when a definition does: 52 bits, so that it is a version."""
        parts = [self.entity, *extra]
        for name, trait in sorted(self.definitions.items()):
            body = trait.model_dump(mode="json", exclude={"description", "owner"}, by_alias=True)
            parts.append(json.dumps([name, body], sort_keys=True))
            if isinstance(trait, SqlTrait) and folder is not None:
                parts.append((folder / trait.sql).read_text())
        digest = hashlib.sha256("\n".join(parts).encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 12


def origin(name: str, own: str, records: Mapping[str, object] | None = None) -> Origin:
    """What `from: name` reads in the traits of entity `own`.

    records: entities that have records of their own (declared by connectors or with `as:`).
    """
    if name == "events":
        return Origin("events", name)
    if name in VISITS and name not in (records or {}):
        return Origin("visits", name)
    if name in RESOLVED and name != own:
        return Origin("profiles", name)
    if "." in name and " " not in name:
        return Origin("records", name)
    if name in (records or {}):
        return Origin("records", name)
    return Origin("event", name)


class _Columns(Mapping[str, Kind]):
    """The traits of an entity as columns; a look-up compiles the trait first."""

    def __init__(self, compiler: _Compiler) -> None:
        self._compiler = compiler

    def __getitem__(self, name: str) -> Kind:
        if name not in self._compiler.config.traits:
            account = self._compiler.account
            if name in account:
                return account[name]
            raise KeyError(name)
        return self._compiler.kind(name)

    def __iter__(self) -> Iterator[str]:
        yield from self._compiler.config.traits
        yield from self._compiler.account

    def __len__(self) -> int:
        return len(self._compiler.config.traits) + len(self._compiler.account)


class _Compiler:
    def __init__(
        self,
        config: TraitsConfig,
        others: Mapping[str, TraitsConfig],
        records: Mapping[str, object],
        sql_kinds: Mapping[str, Kind],
        account: Mapping[str, Kind],
    ) -> None:
        self.config = config
        self.others = others
        self.records = records
        self.sql_kinds = sql_kinds
        self.account = account
        self.model = Model(config.entity, definitions=dict(config.traits))
        self._done: dict[str, Kind] = {}
        self._stack: list[str] = []

    def run(self) -> Model:
        for name in self.config.traits:
            self.kind(name)
        self.model.kinds = {name: self._done[name] for name in self.config.traits}
        return self.model

    def kind(self, name: str) -> Kind:
        if name in self._done:
            return self._done[name]
        if name in self._stack:
            chain = " → ".join([*self._stack[self._stack.index(name) :], name])
            raise TraitError(f"traits of {self.config.entity} need each other: {chain}")
        self._stack.append(name)
        try:
            self._done[name] = self._compile(name, self.config.traits[name])
        except ExpressionError as error:
            if getattr(error, "trait", None) is None:
                error.trait = name  # type: ignore[attr-defined]
            raise
        finally:
            self._stack.pop()
        return self._done[name]

    def _compile(self, name: str, trait: Trait) -> Kind:
        declared = Kind(trait.type) if trait.type else None
        match trait:
            case PreferTrait():
                return self._survivor(name, trait.prefer, declared, ranked=True)
            case LatestTrait():
                return self._survivor(name, trait.latest, declared, ranked=False)
            case SelectTrait():
                return self._select(name, trait, declared)
            case ExprTrait():
                return self._expr(name, trait, declared)
            case SqlTrait():
                known = declared or self.sql_kinds.get(name)
                self.model.steps.append((name, SqlFile(name, trait.sql, known)))
                return known or Kind.UNTYPED

    def _survivor(self, name: str, refs: list[str], declared: Kind | None, *, ranked: bool) -> Kind:
        kind = declared or Kind.STRING
        self.model.survivors.append(Survivor(name, kind, tuple(refs), ranked))
        return kind

    def _select(self, name: str, trait: SelectTrait, declared: Kind | None) -> Kind:
        source = origin(trait.from_, self.config.entity, self.records)
        context = self._context(name, source)
        selection = parse_select(trait.select, context, want=declared)
        where = parse(trait.where, context, want=Kind.BOOLEAN) if trait.where else None
        for part in (selection.value, where):
            if part is not None and part.uses_now:
                raise TraitError(
                    f"trait {name}: now() cannot stand in a select, whose result is stored; "
                    "use `within`"
                )
        if trait.within and source.kind not in HAPPEN:
            raise TraitError(f"trait {name}: `within` counts the days of events only")
        if selection.function in ("first", "last") and source.kind not in HAPPEN:
            raise TraitError(f"trait {name}: only events have a first and a last")
        if declared not in (None, selection.kind):
            raise TraitError(
                f"trait {name}: {trait.select} is {selection.kind.value}, not "
                f"{declared.value if declared else ''}"
            )
        self.model.measures.setdefault(source, []).append(
            Measure(name, selection, where, trait.within)
        )
        return selection.kind

    def _context(self, name: str, source: Origin) -> Context:
        if source.kind == "events":
            return Context(EVENTS_COLUMNS)
        if source.kind in ("event", "visits"):
            if self.config.entity not in RESOLVED:
                known = ["events", *RESOLVED, *self.records]
                raise TraitError(
                    f"trait {name}: events belong to persons and accounts, not to "
                    f"{self.config.entity}{nearest(source.name, known)}"
                )
            if source.kind == "visits":
                return Context(VISITS_COLUMNS[source.name])
            return Context(EVENT_COLUMNS, open=True)
        if source.kind == "records":
            return Context({}, open=True)
        if source.name not in self.others:
            raise TraitError(f"trait {name}: {source.name} has no traits to select from")
        # Person and account may name each other; of the asking side names alone are wanted here.
        asking = dict.fromkeys((f"account.{n}" for n in self.config.traits), Kind.UNTYPED)
        other = _Compiler(
            self.others[source.name],
            {k: v for k, v in self.others.items() if k != self.config.entity},
            self.records,
            {},
            asking if self.config.entity == "account" else {},
        ).run()
        late = {n for n, _ in other.read_time}
        return Context({n: k for n, k in other.kinds.items() if n not in late})

    def _expr(self, name: str, trait: ExprTrait, declared: Kind | None) -> Kind:
        expression = parse(trait.expr, Context(_Columns(self)), want=declared)
        late = {n for n, _ in self.model.read_time}
        if expression.uses_now or any(c in late or c in self.account for c in expression.columns):
            self.model.read_time.append((name, expression))
        else:
            self.model.steps.append((name, expression))
        return Kind.STRING if expression.kind is Kind.UNTYPED else expression.kind


def compile_traits(
    config: TraitsConfig,
    others: Mapping[str, TraitsConfig] | None = None,
    records: Mapping[str, object] | None = None,
    *,
    sql_kinds: Mapping[str, Kind] | None = None,
) -> Model:
    """The compiled form of an entity's traits.

    others: the traits of all entities (`from: person`, `account.plan`). records: entities with
    records of their own. sql_kinds: types of SQL traits that declare none, where known; a trait
    whose type is not known is UNTYPED and read as its use demands.

    Raises ExpressionError (with the attribute `trait`) or TraitError.
    """
    others = others or {}
    account: dict[str, Kind] = {}
    if config.entity == "person" and "account" in others:
        # Only names and types are wanted here: accounts select from persons, never the reverse.
        account = {f"account.{n}": k for n, k in _declared_kinds(others["account"], others).items()}
    return _Compiler(config, others, records or {}, sql_kinds or {}, account).run()


def _declared_kinds(config: TraitsConfig, others: Mapping[str, TraitsConfig]) -> dict[str, Kind]:
    """Trait kinds of the account for use in persons' expressions; one that selects from persons
    and cannot be typed without them is UNTYPED."""
    try:
        return compile_traits(config, {k: v for k, v in others.items() if k != "account"}).kinds
    except (ExpressionError, TraitError):
        return dict.fromkeys(config.traits, Kind.UNTYPED)


PROPERTY_TYPES: Mapping[Kind, pl.DataType] = {
    Kind.DECIMAL: DECIMAL,
    Kind.INTEGER: DECIMAL,
    Kind.FLOAT: DECIMAL,
}
"""How a property is stored by the kind in which it is read; every other kind is text."""
