"""The closed list of SQL nodes that an expression may hold, each with its types and its meaning.

Anything not in `HANDLERS` is refused, so no text of a configuration is ever executed: a node
becomes a Narwhals expression here or nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import narwhals as nw
from sqlglot import exp

from cdp_assets.profiles.errors import ExpressionError, nearest
from cdp_assets.profiles.kinds import Kind, a, constant, day_length, literal

LONGEST = 100
"""Arms of a case, and operators of a chain that no regrouping makes less deep."""


@dataclass(frozen=True)
class Moment:
    """What an expression is evaluated against besides its frame."""

    now: datetime


Build = Callable[[Moment], nw.Expr]


@dataclass
class Typed:
    """A checked node: its kind, how to build it, and what is known of it before running.

    value: a literal not yet bound to a kind. column: the untyped column whose reading is still
    open. span: a length of time, which exists only added to or taken from a moment.
    """

    kind: Kind
    build: Build
    value: Any = None
    is_literal: bool = False
    column: str | None = None
    span: timedelta | None = None


@dataclass
class Scope:
    """What the names of an expression may mean, and what it was found to need.

    columns: known columns and their kinds. open: any further name is an untyped column.
    audiences: names that `in_audience` accepts. itself: the audience that is being defined.
    """

    text: str
    columns: Mapping[str, Kind]
    open: bool = False
    audiences: frozenset[str] | None = None
    itself: str | None = None
    used: dict[str, Kind] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    uses_now: bool = False

    def error(self, node: exp.Expr, message: str) -> ExpressionError:
        line, column = position(self.text, node)
        return ExpressionError(message, self.text, line, column)

    def read(self, node: exp.Expr, name: str, kind: Kind) -> None:
        """Note that the untyped column `name` is read as `kind`; one reading per expression."""
        before = self.used.get(name, Kind.UNTYPED)
        if before not in (Kind.UNTYPED, kind):
            if before.numeric and kind.numeric:
                kind = Kind.DECIMAL
            else:
                raise self.error(
                    node, f"{name} is used as {before.value} and as {kind.value}; cast one of them"
                )
        self.used[name] = kind


E_ = TypeVar("E_", bound=exp.Expr)


def position(text: str, node: exp.Expr) -> tuple[int, int]:
    """Line and column (from 1) at which `node` begins, as far as the parser kept it."""
    starts = [n.meta["start"] for n in node.walk() if "start" in n.meta]
    if not starts:
        parent = node.parent
        starts = [n.meta["start"] for n in parent.walk() if "start" in n.meta] if parent else []
    return place(text, min(starts, default=0))


def place(text: str, offset: int) -> tuple[int, int]:
    """Line and column (from 1) of the character at `offset`."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def member_column(name: str) -> str:
    """The Boolean column that says whether a profile is in the audience `name`."""
    return f"in_audience:{name}"


def check(node: exp.Expr, scope: Scope) -> Typed:
    """The typed form of `node`. Raises ExpressionError for what is not in the list."""
    handler = HANDLERS.get(type(node))
    if handler is None:
        what = node.sql_name().lower() if isinstance(node, exp.Func) else node.key
        what = node.name if isinstance(node, exp.Anonymous) else what
        raise scope.error(node, f"{what} is not supported in expressions")
    return handler(node, scope)


def as_kind(node: exp.Expr, scope: Scope, item: Typed, kind: Kind) -> Typed:
    """`item` as `kind` where that loses nothing; raises where it would."""
    if item.span is not None:
        raise scope.error(node, "an interval can only be added to or taken from a moment")
    if item.is_literal:
        if item.value is None:
            return Typed(kind, lambda _: constant(kind, None), is_literal=True)
        if isinstance(item.value, bool) != (kind is Kind.BOOLEAN) and not isinstance(
            item.value, str
        ):
            raise scope.error(node, f"{a(kind)} is wanted here, not {item.value}")
        if kind is Kind.STRING and not isinstance(item.value, str):
            raise scope.error(node, f"text is wanted here; write '{item.value}' in quotes")
        if kind.numeric and isinstance(item.value, str):
            raise scope.error(node, "a number is wanted here, not text in quotes")
        try:
            value = literal(kind, item.value)
        except ValueError as error:
            raise scope.error(node, f"this does not read as {a(kind)}") from error
        return Typed(kind, lambda _: constant(kind, value), value=value, is_literal=True)
    if item.kind is Kind.UNTYPED:
        if item.column is not None:
            scope.read(node, item.column, kind)
        return Typed(kind, item.build)
    if item.kind is kind:
        return item
    widens = item.kind.numeric and kind.numeric and kind is not Kind.INTEGER
    if widens or (item.kind is Kind.DATE and kind is Kind.TIMESTAMP):
        build = item.build
        return Typed(kind, lambda m: build(m).cast(kind.narwhals))
    raise scope.error(node, f"{a(kind)} is wanted here, not {a(item.kind)}")


ORDER = (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)


def common(nodes: list[exp.Expr], scope: Scope, items: list[Typed]) -> Kind:
    """The kind in which these items compare; literals and untyped columns adapt to the rest."""
    firm = [i.kind for i in items if not i.is_literal and i.kind is not Kind.UNTYPED]
    soft = [i for i in items if i.is_literal and i.value is not None]
    if firm:
        numeric = [k for k in firm if k.numeric]
        if len(numeric) == len(firm):
            wanted = max(numeric, key=ORDER.index)
            if wanted is Kind.INTEGER and any(i.kind is Kind.DECIMAL for i in soft):
                return Kind.DECIMAL
            return wanted
        if set(firm) == {Kind.DATE, Kind.TIMESTAMP}:
            return Kind.TIMESTAMP
        return firm[0]
    if not soft:
        return Kind.STRING
    kinds = {i.kind for i in soft}
    if kinds <= {Kind.INTEGER, Kind.DECIMAL}:
        untyped = any(i.kind is Kind.UNTYPED for i in items)
        return Kind.DECIMAL if untyped or Kind.DECIMAL in kinds else Kind.INTEGER
    if len(kinds) > 1:
        raise scope.error(nodes[0], "these values are of different types")
    return soft[0].kind


def unify(nodes: list[exp.Expr], scope: Scope) -> tuple[Kind, list[Typed]]:
    """The operands in their common kind."""
    items = [check(n, scope) for n in nodes]
    kind = common(nodes, scope, items)
    return kind, [as_kind(n, scope, i, kind) for n, i in zip(nodes, items, strict=True)]


def boolean(node: exp.Expr, scope: Scope) -> Typed:
    return as_kind(node, scope, check(node, scope), Kind.BOOLEAN)


def text(node: exp.Expr, scope: Scope) -> Typed:
    return as_kind(node, scope, check(node, scope), Kind.STRING)


def moment(node: exp.Expr, scope: Scope) -> Typed:
    return as_kind(node, scope, check(node, scope), Kind.TIMESTAMP)


def number(node: exp.Expr, scope: Scope) -> Typed:
    """A number; an untyped column is read as a decimal."""
    return as_number(node, scope, check(node, scope))


def as_number(node: exp.Expr, scope: Scope, item: Typed) -> Typed:
    """`item`, which `node` came to, as a number."""
    if item.kind is Kind.UNTYPED:
        return as_kind(node, scope, item, Kind.DECIMAL)
    if item.kind.numeric and not (item.is_literal and item.value is None):
        return as_kind(node, scope, item, item.kind)
    return as_kind(node, scope, item, Kind.DECIMAL)


def chain(node: exp.Expr, kinds: type[exp.Expr] | tuple[type[exp.Expr], ...]) -> list[exp.Expr]:
    """The nodes of `a or b or c …` from the innermost, which holds a and b, to `node`. The parser
    nests them to the left, one level an operator, which calls to calls would run out of stack on.
    """
    found = [node]
    while isinstance(found[-1].this, kinds):
        found.append(found[-1].this)
    return found[::-1]


def joined(parts: Sequence[nw.Expr], join: Callable[[nw.Expr, nw.Expr], nw.Expr]) -> nw.Expr:
    """`parts` joined by an associative operator, as few levels deep as can be."""
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [*(join(a, b) for a, b in pairs), *parts[len(parts) // 2 * 2 :]]
    return parts[0]


def whole(node: exp.Expr, scope: Scope) -> int:
    """A whole number written in place."""
    if isinstance(node, exp.Literal) and not node.is_string and re.fullmatch(r"\d+", node.name):
        return int(node.name)
    raise scope.error(node, "a whole number must stand here")


# --- leaves ---------------------------------------------------------------------------------


def _literal(node: exp.Literal, scope: Scope) -> Typed:
    if node.is_string:
        return Typed(Kind.STRING, lambda _: nw.lit(node.name), node.name, is_literal=True)
    kind = Kind.INTEGER if re.fullmatch(r"\d{1,18}", node.name) else Kind.DECIMAL
    value = literal(kind, node.name)
    return Typed(kind, lambda _: constant(kind, value), value, is_literal=True)


def _boolean(node: exp.Boolean, scope: Scope) -> Typed:
    value = bool(node.this)
    return Typed(Kind.BOOLEAN, lambda _: nw.lit(value), value, is_literal=True)


def _null(node: exp.Null, scope: Scope) -> Typed:
    return Typed(Kind.STRING, lambda _: constant(Kind.STRING, None), None, is_literal=True)


def column_name(node: exp.Expr) -> str:
    """`a.b.c` of a column or dotted path, as written."""
    if isinstance(node, exp.Column):
        return ".".join(part.name for part in node.parts)
    if isinstance(node, exp.Dot):
        return ".".join(column_name(part) for part in node.flatten())
    return node.name


def _column(node: exp.Column, scope: Scope) -> Typed:
    name = column_name(node)
    kind = scope.columns.get(name)
    if kind is None and not scope.open:
        raise scope.error(node, f"unknown name {name}{nearest(name, scope.columns)}")
    if kind in (None, Kind.UNTYPED):
        scope.used.setdefault(name, Kind.UNTYPED)
        return Typed(Kind.UNTYPED, lambda _: nw.col(name), column=name)
    assert kind is not None
    scope.used[name] = kind
    return Typed(kind, lambda _: nw.col(name))


def _paren(node: exp.Paren, scope: Scope) -> Typed:
    return check(node.this, scope)


def _cast(node: exp.Cast, scope: Scope) -> Typed:
    names = {
        exp.DataType.Type.TEXT: Kind.STRING,
        exp.DataType.Type.VARCHAR: Kind.STRING,
        exp.DataType.Type.INT: Kind.INTEGER,
        exp.DataType.Type.BIGINT: Kind.INTEGER,
        exp.DataType.Type.DECIMAL: Kind.DECIMAL,
        exp.DataType.Type.DOUBLE: Kind.FLOAT,
        exp.DataType.Type.FLOAT: Kind.FLOAT,
        exp.DataType.Type.BOOLEAN: Kind.BOOLEAN,
        exp.DataType.Type.TIMESTAMP: Kind.TIMESTAMP,
        exp.DataType.Type.TIMESTAMPTZ: Kind.TIMESTAMP,
        exp.DataType.Type.DATE: Kind.DATE,
    }
    kind = names.get(node.to.this)
    if kind is None:
        raise scope.error(node, f"no type {node.to.sql().lower()} to cast to")
    item = check(node.this, scope)
    if item.kind is Kind.UNTYPED or item.is_literal:
        return as_kind(node.this, scope, item, kind)
    possible = (
        item.kind is kind
        or (item.kind.numeric and (kind.numeric or kind is Kind.STRING))
        or (item.kind is Kind.TIMESTAMP and kind is Kind.DATE)
        or (item.kind is Kind.DATE and kind is Kind.TIMESTAMP)
        or (item.kind is Kind.BOOLEAN and kind in (Kind.INTEGER, Kind.STRING))
    )
    if not possible:
        raise scope.error(node, f"{a(item.kind)} cannot be cast to {a(kind)}")
    build = item.build
    if item.kind is Kind.TIMESTAMP and kind is Kind.DATE:
        return Typed(kind, lambda m: build(m).dt.date())
    return Typed(kind, lambda m: build(m).cast(kind.narwhals))


HANDLERS: dict[type[exp.Expr], Callable[[Any, Scope], Typed]] = {
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Null: _null,
    exp.Column: _column,
    exp.Dot: _column,
    exp.Paren: _paren,
    exp.Cast: _cast,
}


def span(node: exp.Interval, scope: Scope) -> Typed:
    """`interval '30 days'`: a fixed length of time."""
    try:
        unit = day_length(node.unit.name if node.unit else "")
        amount = int(node.this.name)
    except (ValueError, AttributeError) as error:
        raise scope.error(node, f"an interval looks like interval '30 days' ({error})") from error
    return Typed(Kind.STRING, lambda _: nw.lit(""), span=unit * amount)


HANDLERS[exp.Interval] = span
