"""Operators and functions of expressions; `nodes` holds the leaves and the rules of types."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from operator import and_, or_
from typing import Any

import narwhals as nw
from sqlglot import exp

from cdp_assets.profiles.days import epoch_seconds, floored
from cdp_assets.profiles.errors import nearest
from cdp_assets.profiles.kinds import Kind, constant
from cdp_assets.profiles.nodes import (
    HANDLERS,
    LONGEST,
    Moment,
    Scope,
    Typed,
    as_kind,
    as_number,
    boolean,
    chain,
    check,
    joined,
    member_column,
    moment,
    number,
    text,
    unify,
    whole,
)


def _logical(node: exp.And | exp.Or, scope: Scope) -> Typed:
    links = chain(node, type(node))
    builds = [
        boolean(part, scope).build for part in (links[0].this, *(n.expression for n in links))
    ]
    join = and_ if isinstance(node, exp.And) else or_
    return Typed(Kind.BOOLEAN, lambda m: joined([build(m) for build in builds], join))


def _not(node: exp.Not, scope: Scope) -> Typed:
    inner = boolean(node.this, scope).build
    return Typed(Kind.BOOLEAN, lambda m: ~inner(m))


Compare = Callable[[nw.Expr, nw.Expr], nw.Expr]
COMPARISONS: dict[type[exp.Expr], Compare] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
}


def _comparison(node: exp.Binary, scope: Scope) -> Typed:
    for side in (node.left, node.right):
        if isinstance(side, exp.Null):
            raise scope.error(node, "nothing equals null; write `is null` or `is not null`")
    _, (left, right) = unify([node.left, node.right], scope)
    compare, a, b = COMPARISONS[type(node)], left.build, right.build
    return Typed(Kind.BOOLEAN, lambda m: compare(a(m), b(m)))


def _is(node: exp.Is, scope: Scope) -> Typed:
    if isinstance(node.expression, exp.Null):
        inner = check(node.this, scope).build
        return Typed(Kind.BOOLEAN, lambda m: inner(m).is_null())
    if isinstance(node.expression, exp.Boolean):
        inner, wanted = boolean(node.this, scope).build, bool(node.expression.this)
        return Typed(Kind.BOOLEAN, lambda m: (inner(m) == nw.lit(wanted)).fill_null(value=False))
    raise scope.error(node, "`is` is followed by null, true or false")


def _in(node: exp.In, scope: Scope) -> Typed:
    if not node.expressions:
        raise scope.error(node, "`in` is followed by a list in brackets: in ('a', 'b')")
    _, (item, *options) = unify([node.this, *node.expressions], scope)
    if not all(option.is_literal for option in options):
        raise scope.error(node, "the list after `in` holds literals only")
    builds = [option.build for option in options if option.value is not None]
    one = item.build
    return Typed(
        Kind.BOOLEAN,
        lambda m: joined([one(m) == build(m) for build in builds], or_),
    )


def _between(node: exp.Between, scope: Scope) -> Typed:
    _, (item, low, high) = unify([node.this, node.args["low"], node.args["high"]], scope)
    one, least, most = item.build, low.build, high.build
    return Typed(Kind.BOOLEAN, lambda m: (one(m) >= least(m)) & (one(m) <= most(m)))


def like_regex(pattern: str, *, ignore_case: bool) -> str:
    """A LIKE pattern (`%` any text, `_` one character) as an anchored regular expression."""
    signs = {"%": ".*", "_": "."}
    body = "".join(signs.get(sign) or re.escape(sign) for sign in pattern)
    return f"(?s{'i' if ignore_case else ''})^{body}$"


def _like(node: exp.Like | exp.ILike, scope: Scope) -> Typed:
    pattern = node.expression
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        raise scope.error(node, "the pattern after `like` is a text in quotes")
    regex = like_regex(pattern.name, ignore_case=isinstance(node, exp.ILike))
    item = text(node.this, scope).build
    return Typed(Kind.BOOLEAN, lambda m: item(m).str.contains(regex))


def _arithmetic(node: exp.Binary, scope: Scope) -> Typed:
    links = chain(node, TERMS)
    if len(links) > LONGEST:
        raise scope.error(node, f"more than {LONGEST} operators in one reckoning: part it")
    result = check(links[0].this, scope)
    for link in links:
        result = _reckoned(link, scope, result, check(link.expression, scope))
    return result


def _reckoned(node: exp.Expr, scope: Scope, left: Typed, right: Typed) -> Typed:
    """One operator of arithmetic over what its sides came to."""
    if left.span is not None or right.span is not None:
        return _shifted(node, scope, left, right)
    left, right = as_number(node.this, scope, left), as_number(node.expression, scope, right)
    divides = isinstance(node, exp.Div)
    kinds = {left.kind, right.kind}
    if divides or Kind.FLOAT in kinds:
        kind = Kind.FLOAT
    else:
        kind = Kind.DECIMAL if Kind.DECIMAL in kinds else Kind.INTEGER
    if isinstance(node, exp.Mod) and kind is not Kind.INTEGER:
        raise scope.error(node, "% needs whole numbers on both sides")
    a, b = _number_as(left, kind), _number_as(right, kind)
    if divides or isinstance(node, exp.Mod):
        zero = 0.0 if divides else 0

        def divisor(m: Moment) -> nw.Expr:
            return nw.when(b(m) != nw.lit(zero)).then(b(m))

        if divides:
            return Typed(kind, lambda m: a(m) / divisor(m))
        return Typed(kind, lambda m: a(m) % divisor(m))
    apply = ARITHMETIC[type(node)]
    return Typed(kind, lambda m: apply(a(m), b(m)).cast(kind.narwhals))


ARITHMETIC: dict[type[exp.Expr], Compare] = {
    exp.Add: lambda a, b: a + b,
    exp.Sub: lambda a, b: a - b,
    exp.Mul: lambda a, b: a * b,
}


TERMS = (*ARITHMETIC, exp.Div, exp.Mod)


def _number_as(item: Typed, kind: Kind) -> Callable[[Moment], nw.Expr]:
    if item.is_literal:
        return lambda _: constant(kind, float(item.value) if kind is Kind.FLOAT else item.value)
    if item.kind is kind:
        return item.build
    return lambda m: item.build(m).cast(kind.narwhals)


def _shifted(node: exp.Expr, scope: Scope, left: Typed, right: Typed) -> Typed:
    """A moment with an interval added or taken away."""
    if right.span is None or not isinstance(node, exp.Add | exp.Sub):
        raise scope.error(node, "an interval stands after + or -")
    base = as_kind(node.this, scope, left, Kind.TIMESTAMP).build
    length = right.span if isinstance(node, exp.Add) else -right.span
    seconds = int(length / timedelta(seconds=1))
    return Typed(Kind.TIMESTAMP, lambda m: base(m).dt.offset_by(f"{seconds}s"))


def _neg(node: exp.Neg, scope: Scope) -> Typed:
    item = number(node.this, scope)
    if item.is_literal and item.value is not None:
        value = -item.value
        return Typed(item.kind, lambda _: constant(item.kind, value), value, is_literal=True)
    return Typed(item.kind, lambda m: constant(item.kind, 0) - item.build(m))


def _case(node: exp.Case, scope: Scope) -> Typed:
    arms: list[exp.If] = node.args["ifs"]
    if len(arms) > LONGEST:
        raise scope.error(node, f"more than {LONGEST} arms of a case: let a SQL file join a table")
    tested = node.args.get("this")
    tests = [
        _comparison(exp.EQ(this=tested.copy(), expression=arm.this), scope)
        if tested is not None
        else boolean(arm.this, scope)
        for arm in arms
    ]
    default = node.args.get("default") or exp.Null()
    kind, results = unify([*(arm.args["true"] for arm in arms), default], scope)
    last = results[-1].build

    def build(m: Moment) -> nw.Expr:
        value = last(m)
        for test, result in reversed(list(zip(tests, results, strict=False))):
            value = nw.when(test.build(m)).then(result.build(m)).otherwise(value)
        return value

    return Typed(kind, build)


def _if(node: exp.If, scope: Scope) -> Typed:
    otherwise = node.args.get("false") or exp.Null()
    test = boolean(node.this, scope).build
    kind, (yes, no) = unify([node.args["true"], otherwise], scope)
    return Typed(kind, lambda m: nw.when(test(m)).then(yes.build(m)).otherwise(no.build(m)))


def _coalesce(node: exp.Coalesce, scope: Scope) -> Typed:
    kind, items = unify([node.this, *node.expressions], scope)
    return Typed(kind, lambda m: nw.coalesce(*(item.build(m) for item in items)))


def _nullif(node: exp.Nullif, scope: Scope) -> Typed:
    kind, (left, right) = unify([node.this, node.expression], scope)
    a, b = left.build, right.build
    return Typed(kind, lambda m: nw.when((a(m) != b(m)) | b(m).is_null()).then(a(m)))


def _extreme(node: exp.Greatest | exp.Least, scope: Scope) -> Typed:
    kind, items = unify([node.this, *node.expressions], scope)
    pick = nw.max_horizontal if isinstance(node, exp.Greatest) else nw.min_horizontal
    return Typed(kind, lambda m: pick(*(item.build(m) for item in items)))


def _text_function(apply: Callable[[nw.Expr], nw.Expr], kind: Kind = Kind.STRING) -> Any:
    def handler(node: exp.Func, scope: Scope) -> Typed:
        inner = text(node.this, scope).build
        return Typed(kind, lambda m: apply(inner(m)).cast(kind.narwhals))

    return handler


def _substring(node: exp.Substring, scope: Scope) -> Typed:
    inner = text(node.this, scope).build
    start = whole(node.args["start"], scope)
    length = whole(node.args["length"], scope) if node.args.get("length") else None
    if start < 1:
        raise scope.error(node, "positions in a text count from 1")
    return Typed(Kind.STRING, lambda m: inner(m).str.slice(start - 1, length))


def _left(node: exp.Left, scope: Scope) -> Typed:
    inner, length = text(node.this, scope).build, whole(node.expression, scope)
    return Typed(Kind.STRING, lambda m: inner(m).str.slice(0, length))


def _concat(node: exp.Concat | exp.DPipe, scope: Scope) -> Typed:
    parts = list(node.flatten()) if isinstance(node, exp.DPipe) else node.expressions
    builds = [text(part, scope).build for part in parts]
    return Typed(Kind.STRING, lambda m: nw.concat_str(*(build(m) for build in builds)))


def _round(node: exp.Round, scope: Scope) -> Typed:
    item = number(node.this, scope)
    digits = whole(node.args["decimals"], scope) if node.args.get("decimals") else 0
    if item.kind is Kind.INTEGER:
        return item
    return Typed(item.kind, lambda m: item.build(m).round(digits).cast(item.kind.narwhals))


def _whole_part(node: exp.Floor | exp.Ceil, scope: Scope) -> Typed:
    item = number(node.this, scope)
    if item.kind is Kind.INTEGER:
        return item
    up = isinstance(node, exp.Ceil)

    def build(m: Moment) -> nw.Expr:
        value = item.build(m).cast(nw.Float64)
        return (value.ceil() if up else value.floor()).cast(nw.Int64)

    return Typed(Kind.INTEGER, build)


def _abs(node: exp.Abs, scope: Scope) -> Typed:
    item = number(node.this, scope)
    return Typed(item.kind, lambda m: item.build(m).abs().cast(item.kind.narwhals))


def _now(node: exp.Expr, scope: Scope) -> Typed:
    scope.uses_now = True
    return Typed(Kind.TIMESTAMP, lambda m: nw.lit(m.now))


def _days_apart(node: exp.Anonymous, scope: Scope) -> Typed:
    """days_since(x): whole 24-hour days from x to now; days_between(x, y): from x to y."""
    arguments = node.expressions
    since = node.name.lower() == "days_since"
    if len(arguments) != (1 if since else 2):
        raise scope.error(
            node, "write days_since(moment)" if since else "write days_between(from, to)"
        )
    start = moment(arguments[0], scope).build
    if since:
        scope.uses_now = True

        def end(m: Moment) -> nw.Expr:
            return nw.lit(int(m.now.timestamp()))

    else:
        until = moment(arguments[1], scope).build

        def end(m: Moment) -> nw.Expr:
            return epoch_seconds(until(m))

    return Typed(Kind.INTEGER, lambda m: floored(end(m) - epoch_seconds(start(m)), 86400))


def _in_audience(node: exp.Anonymous, scope: Scope) -> Typed:
    arguments = node.expressions
    if len(arguments) != 1 or not (
        isinstance(arguments[0], exp.Literal) and arguments[0].is_string
    ):
        raise scope.error(node, "write in_audience('name')")
    name = arguments[0].name
    if name == scope.itself:
        raise scope.error(
            node, f"{name!r} is this audience itself: its condition cannot ask for it"
        )
    if scope.audiences is None:
        raise scope.error(node, "in_audience may stand only in audiences and in a sync's where")
    if "*" not in scope.audiences and name not in scope.audiences:
        raise scope.error(node, f"no audience {name!r}{nearest(name, scope.audiences)}")
    scope.members.add(name)
    return Typed(Kind.BOOLEAN, lambda _: nw.col(member_column(name)).fill_null(value=False))


NAMED: dict[str, Callable[[exp.Anonymous, Scope], Typed]] = {
    "now": _now,
    "days_since": _days_apart,
    "days_between": _days_apart,
    "in_audience": _in_audience,
}
BUILT_IN = (
    "abs", "ceil", "coalesce", "concat", "floor", "greatest", "if", "least", "left", "length",
    "lower", "nullif", "round", "substr", "trim", "upper",
)  # fmt: skip


def _named(node: exp.Anonymous, scope: Scope) -> Typed:
    handler = NAMED.get(node.name.lower())
    if handler is None:
        known = (*NAMED, *BUILT_IN)
        raise scope.error(node, f"unknown function {node.name}{nearest(node.name, known)}")
    return handler(node, scope)


_OPERATORS: dict[type[Any], Any] = {
    exp.And: _logical,
    exp.Or: _logical,
    exp.Not: _not,
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Like: _like,
    exp.ILike: _like,
    exp.Neg: _neg,
    exp.Case: _case,
    exp.If: _if,
    exp.Coalesce: _coalesce,
    exp.Nullif: _nullif,
    exp.Greatest: _extreme,
    exp.Least: _extreme,
    exp.Lower: _text_function(lambda e: e.str.to_lowercase()),
    exp.Upper: _text_function(lambda e: e.str.to_uppercase()),
    exp.Trim: _text_function(lambda e: e.str.strip_chars(" ")),
    exp.Length: _text_function(lambda e: e.str.len_chars(), Kind.INTEGER),
    exp.Substring: _substring,
    exp.Left: _left,
    exp.Concat: _concat,
    exp.DPipe: _concat,
    exp.Round: _round,
    exp.Floor: _whole_part,
    exp.Ceil: _whole_part,
    exp.Abs: _abs,
    exp.CurrentTimestamp: _now,
    exp.Anonymous: _named,
    **dict.fromkeys(COMPARISONS, _comparison),
    **dict.fromkeys(TERMS, _arithmetic),
}
HANDLERS.update(_OPERATORS)
