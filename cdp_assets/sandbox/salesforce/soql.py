"""SOQL as a tree: what a query says, before any schema or row is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cdp_assets.sandbox.salesforce.errors import SalesforceError

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>'(?:\\.|[^'\\])*')
  | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
  | (?P<date>\d{4}-\d\d-\d\d)
  | (?P<number>[+-]?\d+(?:\.\d+)?)
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*(?::\d+)?)
  | (?P<op><=|>=|!=|<>|=|<|>|\(|\)|,)
  )""",
    re.VERBOSE,
)
_AGGREGATES = {"count", "count_distinct", "min", "max", "sum", "avg"}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class Token:
    """kind: string, datetime, date, number, word, op or end. at: its first character."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class Selected:
    """One item of SELECT: a path, or an aggregate over one."""

    path: str
    aggregate: str | None = None
    alias: str | None = None
    at: int = 0


@dataclass(frozen=True)
class Comparison:
    """`path operator value`; value is a Token or, for IN and NOT IN, a list of them."""

    path: str
    operator: str
    value: Any
    at: int


@dataclass(frozen=True)
class Junction:
    """AND, OR or NOT over conditions."""

    kind: str
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Order:
    """One key of ORDER BY."""

    path: str
    descending: bool = False
    nulls_last: bool = False
    at: int = 0


@dataclass
class Query:
    """One SELECT."""

    text: str
    selected: list[Selected]
    object_name: str
    object_at: int
    where: Comparison | Junction | None = None
    group: list[str] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0


def position(text: str, at: int) -> str:
    """Where in the query something is wrong, as Salesforce points at it."""
    row = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1)
    around = text[max(0, at - 60) : at + 40]
    pad = " " * min(at, 60)
    return f"\n{around}\n{pad}^\nERROR at Row:{row}:Column:{column + 1}\n"


def parse(text: str) -> Query:
    """The tree of a query.

    Raises SalesforceError MALFORMED_QUERY for anything outside the supported language.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[Token] = list(self._tokens())
        self.place = 0

    def _tokens(self) -> Iterator[Token]:
        at = 0
        end = len(self.text.rstrip())
        while at < end:
            found = _TOKEN.match(self.text, at)
            if found is None or found.lastgroup is None:
                while self.text[at].isspace():
                    at += 1
                raise self.wrong(Token("op", self.text[at], at))
            yield Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup))
            at = found.end()
        yield Token("end", "<EOF>", end)

    def wrong(self, token: Token) -> SalesforceError:
        return SalesforceError(
            400,
            "MALFORMED_QUERY",
            f"{position(self.text, token.at)}unexpected token: '{token.text}'",
        )

    @property
    def next(self) -> Token:
        return self.tokens[self.place]

    def take(self) -> Token:
        token = self.tokens[self.place]
        self.place += 1
        return token

    def word_is(self, *words: str) -> bool:
        return self.next.kind == "word" and self.next.text.lower() in words

    def maybe(self, word: str) -> bool:
        if self.word_is(word) or (self.next.kind == "op" and self.next.text == word):
            self.place += 1
            return True
        return False

    def expect(self, word: str) -> Token:
        if not (self.word_is(word) or (self.next.kind == "op" and self.next.text == word)):
            raise self.wrong(self.next)
        return self.take()

    def name(self) -> Token:
        if self.next.kind != "word":
            raise self.wrong(self.next)
        return self.take()

    def query(self) -> Query:
        self.expect("select")
        selected = [self.selected()]
        while self.maybe(","):
            selected.append(self.selected())
        self.expect("from")
        name = self.name()
        query = Query(self.text, selected, name.text, name.at)
        if self.maybe("where"):
            query.where = self.disjunction()
        self.maybe_all("with", "security_enforced")
        if self.maybe("group"):
            self.expect("by")
            query.group.append(self.name().text)
            while self.maybe(","):
                query.group.append(self.name().text)
        if self.maybe("order"):
            self.expect("by")
            query.order.append(self.order())
            while self.maybe(","):
                query.order.append(self.order())
        if self.maybe("limit"):
            query.limit = self.whole_number()
        if self.maybe("offset"):
            query.offset = self.whole_number()
            if query.offset > 2000:
                raise SalesforceError(
                    400, "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"
                )
        for mode in ("view", "reference", "update"):
            self.maybe_all("for", mode)
        self.maybe_all("all", "rows")
        if self.next.kind != "end":
            raise self.wrong(self.next)
        return query

    def maybe_all(self, *words: str) -> None:
        if all(
            self.tokens[min(self.place + i, len(self.tokens) - 1)].text.lower() == word
            for i, word in enumerate(words)
        ):
            self.place += len(words)

    def whole_number(self) -> int:
        if self.next.kind != "number" or not self.next.text.isdigit():
            raise self.wrong(self.next)
        return int(self.take().text)

    def selected(self) -> Selected:
        first = self.name()
        if self.next.text != "(" or self.next.kind != "op":
            return Selected(first.text, at=first.at)
        function = first.text.lower()
        self.take()
        path = "" if self.next.text == ")" else self.name().text
        self.expect(")")
        if function == "fields":
            return Selected(f"FIELDS({path.upper()})", at=first.at)
        if function not in _AGGREGATES or (not path and function != "count"):
            raise self.wrong(first)
        alias = self.take().text if self.next.kind == "word" and not self.word_is("from") else None
        return Selected(path, function, alias, first.at)

    def order(self) -> Order:
        name = self.name()
        descending = self.maybe("desc")
        if not descending:
            self.maybe("asc")
        nulls_last = descending
        if self.maybe("nulls"):
            nulls_last = self.maybe("last")
            if not nulls_last:
                self.expect("first")
        return Order(name.text, descending, nulls_last, name.at)

    def disjunction(self) -> Comparison | Junction:
        parts = [self.condition()]
        kinds = set()
        while self.word_is("and", "or"):
            kinds.add(self.take().text.lower())
            if len(kinds) > 1:  # SOQL wants parentheses where AND meets OR
                raise self.wrong(self.tokens[self.place - 1])
            parts.append(self.condition())
        return parts[0] if len(parts) == 1 else Junction(kinds.pop(), tuple(parts))

    def condition(self) -> Comparison | Junction:
        if self.maybe("not"):
            return Junction("not", (self.condition(),))
        if self.maybe("("):
            inner = self.disjunction()
            self.expect(")")
            return inner
        name = self.name()
        operator = self.take()
        text = operator.text.lower()
        if text == "not":
            self.expect("in")
            return Comparison(name.text, "not in", self.values(), name.at)
        if text == "in":
            return Comparison(name.text, "in", self.values(), name.at)
        if text in ("includes", "excludes"):
            return Comparison(name.text, text, self.values(), name.at)
        if text == "like" or (
            operator.kind == "op" and text in ("=", "!=", "<>", "<", "<=", ">", ">=")
        ):
            return Comparison(name.text, "!=" if text == "<>" else text, self.value(), name.at)
        raise self.wrong(operator)

    def values(self) -> list[Token]:
        self.expect("(")
        values = [self.value()]
        while self.maybe(","):
            values.append(self.value())
        self.expect(")")
        return values

    def value(self) -> Token:
        token = self.take()
        if token.kind in ("end", "op"):
            raise self.wrong(token)
        if token.kind == "string":
            text = re.sub(
                r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), token.text[1:-1], flags=re.DOTALL
            )
            return Token("string", text, token.at)
        return token
