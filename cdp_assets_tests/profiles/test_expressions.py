"""Expressions: what they mean on each engine, and what is refused with its place."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import narwhals as nw
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_assets.profiles.errors import ExpressionError
from cdp_assets.profiles.expressions import Context, parse, parse_select
from cdp_assets.profiles.kinds import Kind, text_as
from cdp_assets.profiles.nodes import member_column
from cdp_assets_tests.engines import Engine

NOW = datetime(2024, 3, 2, tzinfo=UTC)
TS = pl.Datetime("us", "UTC")
CONTEXT = Context(
    columns={
        "n": Kind.INTEGER,
        "seen": Kind.TIMESTAMP,
        "email": Kind.STRING,
        "money": Kind.DECIMAL,
        "active": Kind.BOOLEAN,
        "born": Kind.DATE,
        "account.plan": Kind.STRING,
    },
    audiences=frozenset({"vip"}),
    itself="own",
)
ROWS = pl.DataFrame(
    {
        "i": [0, 1, 2],
        "n": [1, 5, None],
        "seen": [datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, 5, tzinfo=UTC), None],
        "email": ["a@B.c", None, "x"],
        "money": [Decimal("1.5"), Decimal(20), None],
        "active": [True, False, None],
        "born": [date(2000, 2, 29), None, date(1969, 12, 31)],
        "account.plan": ["trial", "pro", None],
        member_column("vip"): [True, None, False],
    },
    schema_overrides={"n": pl.Int64, "seen": TS, "money": pl.Decimal(38, 9)},
)
MEANINGS: list[tuple[str, list[Any]]] = [
    ("n >= 3 and seen > now() - interval '30 days'", [False, True, None]),
    ("n > 2 or active", [True, True, None]),
    ("not n in (1, 7)", [False, True, None]),
    ("n between 1 and 3", [True, False, None]),
    ("days_since(seen)", [61, 0, None]),
    ("days_between(seen, now())", [61, 0, None]),
    ("days_between(now(), seen)", [-61, -1, None]),
    ("seen >= '2024-02-01'", [False, True, None]),
    ("not in_audience('vip')", [False, True, True]),
    ("account.plan = 'trial'", [True, False, None]),
    ("account.plan is null", [False, False, True]),
    ("active is not true", [False, True, True]),
    ("case when n > 2 then 'x' when active then 'y' end", ["y", "x", None]),
    ("case n when 1 then 'one' else 'more' end", ["one", "more", "more"]),
    ("if(n > 2, n, 0)", [0, 5, 0]),
    ("coalesce(n, 0)", [1, 5, 0]),
    ("nullif(n, 1)", [None, 5, None]),
    ("greatest(n, 3)", [3, 5, 3]),
    ("money * 2 + n", [Decimal(4), Decimal(45), None]),
    ("money > 1.7", [False, True, None]),
    ("round(money * 0.9, 1)", [Decimal("1.4"), Decimal(18), None]),
    ("ceil(money) - floor(money)", [1, 0, None]),
    ("abs(n - 3)", [2, 2, None]),
    ("-n", [-1, -5, None]),
    ("n % 2", [1, 1, None]),
    ("lower(email) || '!'", ["a@b.c!", None, "x!"]),
    ("concat(upper(email), 'z')", ["A@B.Cz", None, "Xz"]),
    ("length(trim(email))", [5, None, 1]),
    ("substr(email, 1, 2)", ["a@", None, "x"]),
    ("left(email, 1)", ["a", None, "x"]),
    ("email like '%@b%'", [False, None, False]),
    ("email ilike '%@b_c'", [True, None, False]),
    ("born < '1970-01-01'", [False, None, True]),
    ("cast(n as string)", ["1", "5", None]),
    ("cast(money as int)", [1, 20, None]),
    ("cast(seen as date)", [date(2024, 1, 1), date(2024, 3, 1), None]),
]


def test_meaning(engine: Engine) -> None:
    """All in one query, so that an engine is asked once."""
    columns = []
    for n, (text, _) in enumerate(MEANINGS):
        if text.startswith("account.") and engine.name == "sail":
            # Narwhals hands a name with a dot to Spark unquoted, which reads a field of it.
            continue
        expression = parse(text, CONTEXT)
        value = expression.to_narwhals(NOW).cast(expression.kind.narwhals)
        columns.append(value.alias(f"m{n}"))
    found = engine.collect(engine.frame(ROWS).select("i", *columns)).sort("i")
    wrong = {
        text: found[f"m{n}"].to_list()
        for n, (text, expected) in enumerate(MEANINGS)
        if f"m{n}" in found.columns and found[f"m{n}"].to_list() != expected
    }
    assert wrong == {}


def test_division(engine: Engine) -> None:
    if engine.name == "sail":
        pytest.skip("Sail 0.7.2 lacks try_divide of floating numbers, which Narwhals asks for")
    value = parse("money / n", CONTEXT).to_narwhals(NOW).alias("value")
    by_zero = parse("money / (n - 1)", CONTEXT).to_narwhals(NOW).alias("zero")
    found = engine.collect(engine.frame(ROWS).select("i", value, by_zero)).sort("i")
    assert found["value"].to_list() == [1.5, 4.0, None]
    assert found["zero"].to_list() == [None, 5.0, None]


REFUSED = [
    ("ordrs > 3", "unknown name ordrs", 1, 1),
    ("n > 1 and\n  emial is null", "did you mean email", 2, 3),
    ("n = 'x'", "number is wanted", 1, 5),
    ("email + 1", "decimal is wanted", 1, 1),
    ("n = null", "is null", 1, 1),
    ("foo(n)", "unknown function foo", 1, 1),
    ("lowr(email)", "did you mean lower", 1, 1),
    ("in_audience('vpi')", "did you mean vip", 1, 1),
    ("(select 1)", "not supported", 1, 9),
    ("max(n) over ()", "not supported", 1, 1),
    ("sum(n)", "not supported", 1, 1),
    ("n >", "something is missing", 1, 3),
    ("'abc", "left open", 1, 1),
    ("n; money", "exactly one", 1, 1),
    ("", "empty", 1, 1),
    ("interval '1 day'", "interval alone", 1, 1),
    ("seen > now() - interval '1 month'", "not in month", 1, 25),
    ("active > 3", "boolean is wanted", 1, 10),
    ("n and active", "a boolean is wanted here, not an integer", 1, 1),
    ("in_audience('own')", "'own' is this audience itself", 1, 1),
    ("email like n", "pattern", 1, 1),
    ("born = '2024-13-01'", "does not read as a date", 1, 8),
    ("read_csv('/etc/passwd')", "not supported|unknown function", 1, 1),
]


@pytest.mark.parametrize(("text", "reason", "line", "column"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused_with_its_place(text: str, reason: str, line: int, column: int) -> None:
    with pytest.raises(ExpressionError, match=reason) as error:
        parse(text, CONTEXT)
    assert error.value.line == line
    if reason not in ("not in month", "something is missing"):
        assert error.value.column == column


def test_use_decides_how_a_value_from_outside_is_read() -> None:
    outside = Context({"timestamp": Kind.TIMESTAMP}, open=True)
    assert parse("price > 3 and status = 'open' and not closed", outside).columns == {
        "price": Kind.DECIMAL,
        "status": Kind.STRING,
        "closed": Kind.BOOLEAN,
    }
    with pytest.raises(ExpressionError, match="used as string and as decimal"):
        parse("x = 'a' and x > 3", outside)
    with pytest.raises(ExpressionError, match="needs its type"):
        parse_select("max(price)", outside)
    assert parse_select("max(price)", outside, want=Kind.DECIMAL).kind is Kind.DECIMAL
    assert parse_select("sum(price * quantity)", outside).kind is Kind.DECIMAL
    for text in ("sum(distinct x)", "x + 1", "cont(x)", "sum(*)", "count(x, y)"):
        with pytest.raises(ExpressionError):
            parse_select(text, outside)


def joined(word: str, *parts: str) -> str:
    return f" {word} ".join(parts)


LONG = {
    "or": (joined("or", *(f"n = {i}" for i in range(1, 1001))), [True, True, None]),
    "and": (joined("and", *(f"n <> {i}" for i in range(2, 402))), [True, False, None]),
    "both": (joined("or", *(f"n = {i} and not active" for i in range(400))), [False, True, None]),
    "in": (f"n in ({', '.join(map(str, range(5, 2005)))})", [False, True, None]),
    "sum": (joined("+", *["n"] * 100) + " = 100", [True, False, None]),
    "text": (joined("||", *["email"] * 400) + " = email", [False, None, False]),
    "case": (f"case {' '.join(f'when n = {i} then {i}' for i in range(100))} end = n",
             [True, True, None]),
    "brackets": ("(" * 20 + "n = 1" + ")" * 20, [True, False, None]),
    "functions": ("lower(" * 20 + "email" + ")" * 20 + " = 'a@b.c'", [True, None, False]),
}  # fmt: skip


@pytest.mark.parametrize("case", LONG)
def test_long_is_not_deep(case: str) -> None:
    text, expected = LONG[case]
    condition = parse(text, CONTEXT, want=Kind.BOOLEAN).to_narwhals(NOW)
    found = nw.from_native(ROWS.lazy()).select(condition.alias("found"))
    assert nw.to_native(found).collect()["found"].to_list() == expected


DEEP = {
    "brackets": ("n = 0 or " + "(" * 60 + "n = 1" + ")" * 60, 30),
    "thousands": ("(" * 9000 + "n = 1" + ")" * 9000, 21),
    "cases": ("case when n = 1 then " * 30 + "n" + " end" * 30 + " = 1", 421),
    "not": ("not " * 3000 + "active", 1),
    "minus": ("- " * 300 + "n = 1", 601),
    "equals": ("active" + " = true" * 400, 1),
}


@pytest.mark.parametrize("case", DEEP)
def test_too_deep_is_one_plain_message(case: str) -> None:
    text, column = DEEP[case]
    for read in (parse, parse_select):
        with pytest.raises(ExpressionError) as caught:
            read(text, CONTEXT)
        assert caught.value.reason.startswith("nested too deeply: make a part of it a trait")
        assert (caught.value.line, caught.value.column) == (1, column)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (joined("+", *["n"] * 102), "more than 100 operators in one reckoning: part it"),
        (f"case {'when active then 1 ' * 101}end", "more than 100 arms of a case"),
    ],
)
def test_what_no_regrouping_makes_less_deep_has_an_end(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason):
        parse(text, CONTEXT)


@given(st.text(max_size=40))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        parse(text, CONTEXT)
    except ExpressionError as error:
        place = (error.line, error.column)
    else:
        place = (1, 1)
    assert min(place) >= 1


@given(
    st.one_of(
        st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-10**15,
                    max_value=10**15).map(str),
        st.text(max_size=12),
        st.integers(-(10**25), 10**25).map(str),
    )
)  # fmt: skip
def test_text_read_as_a_number_is_that_number_or_null(text: str) -> None:
    frame = pl.DataFrame({"x": [text]})
    value = frame.select(text_as(Kind.DECIMAL, "x")).item()
    frame.select(text_as(kind, "x") for kind in (Kind.INTEGER,)).item()
    for kind in Kind:
        frame.select(text_as(kind, "x"))
    if value is not None:
        assert abs(Decimal(text) - value) <= abs(value) * Decimal("1e-15")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-02", datetime(2024, 1, 2, tzinfo=UTC)),
        ("2024-01-02T03:04:05.000+0000", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05+02:00", datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2024-01-02 03:04:05.123456", datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2024-01-02T03:04Z", datetime(2024, 1, 2, 3, 4, tzinfo=UTC)),
        ("1704164645000", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("soon", None),
    ],
)
def test_text_read_as_a_moment(text: str, moment: datetime | None) -> None:
    assert pl.DataFrame({"x": [text]}).select(text_as(Kind.TIMESTAMP, "x")).item() == moment
