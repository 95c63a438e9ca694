"""One hash for one version, however it is spelt."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.raw.payload import payload_hash

names = st.text(max_size=12)
moments = st.datetimes().map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%S.000") + "+0000")
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    moments,
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)
records = st.dictionaries(names, values, max_size=6)


def hashes(*payloads: str, volatile: tuple[str, ...] = ()) -> list[str]:
    return payload_hash(pl.Series(list(payloads)), volatile).to_list()


def canonical(value: Any) -> Any:
    """The oracle: what two payloads must share to be one version."""
    if isinstance(value, dict):
        return ("object", tuple(sorted((k, canonical(v)) for k, v in value.items())))
    if isinstance(value, list):
        return ("array", tuple(canonical(v) for v in value))
    if isinstance(value, bool) or value is None:
        return ("word", str(value))
    if isinstance(value, int | float):
        number = Decimal(repr(value)).normalize()
        return ("number", "0" if number == 0 else str(number))
    for zone in ("+0000", "+00:00"):
        if len(value) >= 24 and value[4] == "-" and value[10] == "T" and value.endswith(zone):
            return ("text", value.removesuffix(zone) + "Z")
    return ("text", value)


def spelt(value: Any, rng: random.Random) -> str:
    """The same value in other words: order, blanks, escapes, number forms, zones."""
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        blank = " " * rng.randrange(2)
        pairs = [f"{text(k, rng)}{blank}:{blank}{spelt(v, rng)}" for k, v in items]
        return "{" + f"{blank},\n".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + " ,".join(spelt(v, rng) for v in value) + "]"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        number = Decimal(repr(value))
        return rng.choice([format(number, "f"), format(number, "e"), json.dumps(value)])
    if canonical(value) != ("text", value):
        return json.dumps(rng.choice([value, canonical(value)[1]]))
    return text(value, rng)


def text(value: str, rng: random.Random) -> str:
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


@settings(max_examples=60, deadline=None)
@given(records, st.integers(0, 1 << 30))
def test_spelling_makes_no_difference(record: dict[str, Any], seed: int) -> None:
    rng = random.Random(seed)
    one, other = hashes(json.dumps(record), spelt(record, rng))
    assert one == other


@settings(max_examples=60, deadline=None)
@given(st.lists(records, min_size=2, max_size=8))
def test_equal_hash_means_equal_values(several: list[dict[str, Any]]) -> None:
    found = hashes(*[json.dumps(r) for r in several])
    for record, digits in zip(several, found, strict=True):
        for other, others in zip(several, found, strict=True):
            assert (digits == others) == (canonical(record) == canonical(other))


def test_null_empty_absent_and_zero_are_four() -> None:
    forms = ["{}", '{"a":null}', '{"a":""}', '{"a":0}', '{"a":"0"}', '{"a":false}', '{"a":[]}',
             '{"a":{}}', '{"a":"null"}', '{"A":null}', '{"a":{"a":null}}', '{"a":[null]}',
             '{"a":-1}', '{"a":1}', '{"a":10}', '{"a":1e-1}']  # fmt: skip
    assert len(set(hashes(*forms))) == len(forms)


def test_the_order_of_an_array_counts_and_values_do_not_swap_names() -> None:
    assert len(set(hashes('{"a":[1,2]}', '{"a":[2,1]}', '{"a":1,"b":2}', '{"a":2,"b":1}'))) == 4


def test_volatile_members_are_left_out_at_the_top_only() -> None:
    one, other = hashes('{"url":1,"a":2}', '{"a":2}', volatile=("url", "attributes"))
    assert one == other
    one, other = hashes('{"b":{"url":1}}', '{"b":{}}', volatile=("url",))
    assert one != other


def test_the_hash_is_the_same_for_ever() -> None:
    # It is stored: a change of the kernel would make every record of every lake look new.
    payload = (
        '{"Id":"003A","n":1500.0,"t":"2024-01-01T00:00:00.000+0000","x":[null,true,"\\u00e9"]}'
    )
    assert hashes(payload) == ["43bf58ac5aaf35924a04a1221cb7e979"]


def test_deep_nesting_neither_fails_nor_is_mixed_up() -> None:
    def nested(inner: str, depth: int = 500) -> str:
        return '{"a":' * depth + inner + "}" * depth

    one, other, again = hashes(nested('"x]"'), nested('"y\\""'), nested('"x]"'))
    assert one == again != other


def test_row_borders_hold() -> None:
    long = json.dumps({f"k{i}": "v" * i for i in range(60)})
    alone = hashes(long)[0]
    assert hashes("{}", long, '{"a":1}', long)[1::2] == [alone, alone]
    series = pl.Series(["{}", long, long]).slice(1, 1)
    assert payload_hash(series).to_list() == [alone]
