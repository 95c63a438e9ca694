"""Expressions of traits, audiences and filters: SQL text in, a checked Narwhals expression out.

    parse("orders >= 3 and last_seen > now() - interval '30 days'", Context(columns=...))

The text is parsed by sqlglot into the closed list of nodes in `nodes` and `operators`; whatever is
not in it is an error with its line and column. Types are checked before anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import narwhals as nw
import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import ParseError, TokenError

from cdp_assets.profiles import operators
from cdp_assets.profiles.errors import ExpressionError, nearest
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.nodes import Build, Moment, Scope, Typed, as_kind, check, place, position

DEEPEST = 20
"""Levels of brackets (and of `case`) that an expression may have."""
_TOO_DEEP = "nested too deeply: make a part of it a trait of its own"
_CHAINS = (exp.And, exp.Or, exp.DPipe, operators.TERMS)
_OPENING = (TokenType.L_PAREN, TokenType.CASE)
_CLOSING = (TokenType.R_PAREN, TokenType.END)

Aggregate = Literal[
    "count", "count_distinct", "sum", "avg", "min", "max", "first", "last", "most_frequent"
]


@dataclass(frozen=True)
class Context:
    """What the names in an expression may mean.

    columns: known columns, dotted ones too (`account.plan`), and their kinds.
    open: any other name is an untyped column (a property of an event, a field of a record).
    audiences: names that in_audience accepts (`*` among them: any); None where it may not stand.
    itself: the audience whose condition it is.
    """

    columns: Mapping[str, Kind] = field(default_factory=dict)
    open: bool = False
    audiences: frozenset[str] | None = None
    itself: str | None = None


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    text: as written. kind: type of its value. columns: the columns it reads, untyped ones with
    the kind in which it reads them (UNTYPED where any does). audiences: names given to
    in_audience. uses_now: its value depends on the time of reading.
    """

    text: str
    kind: Kind
    columns: Mapping[str, Kind]
    audiences: frozenset[str]
    uses_now: bool
    _build: Build = field(repr=False)

    def to_narwhals(self, now: datetime) -> nw.Expr:
        """This expression over a frame that has `columns` in their kinds, and for each audience
        a Boolean column `nodes.member_column(name)`. `now` is aware and in UTC."""
        return self._build(Moment(now))


@dataclass(frozen=True)
class Selection:
    """A checked aggregate: `function` over `value` (None for `count(*)`), of type `kind`."""

    text: str
    function: Aggregate
    value: Expression | None
    kind: Kind


def parse(text: str, context: Context, *, want: Kind | None = None) -> Expression:
    """The expression that `text` says.

    want: the kind its value must have (BOOLEAN for a `where`); an untyped value is read so.
    Raises ExpressionError with line, column and, for an unknown name, the nearest known one.
    """
    scope = _scope(text, context)
    with _within_depth(text):
        tree = _tree(text)
        typed = check(tree, scope)
        if want is not None:
            typed = as_kind(tree, scope, typed, want)
        elif typed.span is not None:
            raise scope.error(tree, "an interval alone is no value")
        return _expression(text, scope, typed)


def parse_select(text: str, context: Context, *, want: Kind | None = None) -> Selection:
    """The aggregate that `text` says, such as `sum(revenue)`.

    want: the declared type of the result, in which an untyped argument of min, max, first, last
    and most_frequent is read. Raises ExpressionError.
    """
    scope = _scope(text, context)
    with _within_depth(text):
        return _selection(text, scope, want)


def _selection(text: str, scope: Scope, want: Kind | None) -> Selection:
    tree = _tree(text)
    function, argument = _aggregate(tree, scope)
    if argument is None:
        return Selection(text, function, None, Kind.INTEGER)
    typed = check(argument, scope)
    if function in ("count", "count_distinct"):
        kind = Kind.INTEGER
    elif function in ("sum", "avg"):
        typed = _number(argument, scope, typed)
        kind = typed.kind
        if function == "avg":
            kind = Kind.FLOAT if kind is Kind.FLOAT else Kind.DECIMAL
            typed = as_kind(argument, scope, typed, kind)
    else:
        typed = _ordered(argument, scope, typed, function, want)
        kind = Kind.STRING if typed.kind is Kind.UNTYPED else typed.kind
    return Selection(text, function, _expression(text, scope, typed), kind)


@contextmanager
def _within_depth(text: str) -> Iterator[None]:
    """What nests without brackets (`not not …`) runs out of stack where it is too deep."""
    try:
        yield
    except RecursionError:
        raise ExpressionError(_TOO_DEEP, text) from None


def _check_brackets(text: str) -> None:
    """The parser calls itself some twenty times a bracket, so that their depth has a limit."""
    depth = 0
    for token in sqlglot.tokenize(text):
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth > DEEPEST:
            line, column = place(text, token.start)
            message = f"{_TOO_DEEP} ({DEEPEST} levels are the most)"
            raise ExpressionError(message, text, line, column)


def _tree(text: str) -> exp.Expr:
    if not text.strip():
        raise ExpressionError("an expression is empty", text)
    try:
        _check_brackets(text)
        trees = sqlglot.parse(text)
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        line, column = int(first.get("line") or 1), int(first.get("col") or 1)
        reason = str(first.get("description") or "it does not parse")
        if "missing for" in reason:
            reason = "something is missing here"
        raise ExpressionError(f"not an expression: {reason}", text, line, column) from None
    except TokenError:
        raise ExpressionError("not an expression: a quote or bracket is left open", text) from None
    if len(trees) != 1 or trees[0] is None:
        raise ExpressionError("exactly one expression must stand here", text)
    _check_depth(trees[0], text)
    return trees[0]


def _check_depth(tree: exp.Expr, text: str) -> None:
    """A level of the tree costs a few calls when it is checked, built and run. A chain of one
    operator is one level, however long it is."""
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > 3 * DEEPEST:
            raise ExpressionError(_TOO_DEEP, text, *position(text, node))
        for child in node.iter_expressions():
            chained = child is node.this and any(
                isinstance(node, kinds) and isinstance(child, kinds) for kinds in _CHAINS
            )
            waiting.append((child, depth + (not chained)))


def _scope(text: str, context: Context) -> Scope:
    return Scope(
        text,
        context.columns,
        open=context.open,
        audiences=context.audiences,
        itself=context.itself,
    )


def _expression(text: str, scope: Scope, typed: Typed) -> Expression:
    kind = Kind.STRING if typed.is_literal and typed.kind is Kind.UNTYPED else typed.kind
    return Expression(
        text=text,
        kind=kind,
        columns=dict(scope.used),
        audiences=frozenset(scope.members),
        uses_now=scope.uses_now,
        _build=typed.build,
    )


_FUNCTIONS: dict[type[exp.Expr], Aggregate] = {
    exp.Count: "count",
    exp.Sum: "sum",
    exp.Avg: "avg",
    exp.Min: "min",
    exp.Max: "max",
    exp.First: "first",
    exp.Last: "last",
}
_NAMES = (
    "count(*)", "count(x)", "count(distinct x)", "sum(x)", "avg(x)", "min(x)", "max(x)",
    "first(x)", "last(x)", "most_frequent(x)",
)  # fmt: skip


def _aggregate(tree: exp.Expr, scope: Scope) -> tuple[Aggregate, exp.Expr | None]:
    if isinstance(tree, exp.Anonymous) and tree.name.lower() == "most_frequent":
        if len(tree.expressions) != 1:
            raise scope.error(tree, "write most_frequent(x)")
        return "most_frequent", tree.expressions[0]
    function = _FUNCTIONS.get(type(tree))
    if function is None or tree.expressions:
        name = tree.name if isinstance(tree, exp.Anonymous) else ""
        hint = nearest(name, [n.split("(")[0] for n in _NAMES]) if name else ""
        raise scope.error(tree, f"`select` is one of {', '.join(_NAMES)}{hint}")
    argument = tree.this
    if function == "count" and isinstance(argument, exp.Star):
        return "count", None
    if isinstance(argument, exp.Distinct):
        if function != "count" or len(argument.expressions) != 1:
            raise scope.error(tree, "distinct stands only in count(distinct x)")
        return "count_distinct", argument.expressions[0]
    if argument is None or isinstance(argument, exp.Star):
        raise scope.error(tree, f"{function} needs a value: {function}(x)")
    return function, argument


def _number(node: exp.Expr, scope: Scope, typed: Typed) -> Typed:
    if typed.kind.numeric:
        return as_kind(node, scope, typed, typed.kind)
    return as_kind(node, scope, typed, Kind.DECIMAL)


def _ordered(
    node: exp.Expr, scope: Scope, typed: Typed, function: Aggregate, want: Kind | None
) -> Typed:
    """The argument of an aggregate that returns one of its values."""
    if typed.kind is not Kind.UNTYPED:
        return typed
    if want is not None:
        return as_kind(node, scope, typed, want)
    if function in ("min", "max"):
        # Text compares "9" above "10": a silent wrong answer where numbers were meant.
        raise scope.error(
            node,
            f"{function} of a value from outside needs its type: add `type: decimal` "
            "(or timestamp, date, string) to the trait",
        )
    return as_kind(node, scope, typed, Kind.STRING)
