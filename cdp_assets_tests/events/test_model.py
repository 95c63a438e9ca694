from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.events.decode import Block, Origin, decode_block
from cdp_assets.events.lines import Lines
from cdp_assets.events.model import BLANK, Event, OddEvent, Refusal, judge
from cdp_assets.events.typed import TraitSpec, typed_specs
from cdp_assets_tests.events.world import PROPERTIES, VALUES, event, line

POISON: list[tuple[str, bytes, str]] = [
    ("not json", b"{bad", "not_json"),
    ("trailing", line(event(1)) + b" x", "not_json"),
    ("two on a line", line(event(1)) + line(event(2)), "not_json"),
    ("NaN", b'{"type":"track","event":"a","userId":"1","properties":{"x":NaN}}', "not_json"),
    ("Infinity", b'{"type":"page","userId":"1","x":Infinity}', "not_json"),
    ("lone surrogate", rb'{"type":"page","userId":"1","x":"\ud800abcdefgh"}', "not_json"),
    ("lone low surrogate", rb'{"type":"page","userId":"1","x":"\udc00abcdefgh"}', "not_json"),
    ("invalid utf-8", b'{"type":"page","userId":"1","x":"\xff\xfe"}', "invalid_utf8"),
    ("raw NUL", b'{"type":"page","userId":"1","x":"a\x00b"}', "not_json"),
    ("byte order mark inside", b"\xef\xbb\xbf" + line(event(1)), "not_json"),
    ("1e400", b'{"type":"page","userId":"1","x":[1, 1e400]}', "number_out_of_range"),
    ("deep", b'{"type":"page","userId":"1","x":' + b"[" * 65 + b"]" * 65 + b"}", "too_deep"),
    ("very deep", b'{"type":"page","userId":"1","x":' + b"[" * 90_000 + b"]" * 90_000 + b"}",
     "too_deep"),
    ("array", b"[1, 2]", "not_an_object"),
    ("text", b'"hello"', "not_an_object"),
    ("no type", line(event(1, type=None)), "no_type"),
    ("unknown type", line(event(1, type="delete")), "unknown_type"),
    ("nobody", line(event(1, anonymousId=None)), "no_id"),
    ("blank ids", line(event(1, anonymousId=" ", userId="")), "no_id"),
    ("id an object", line(event(1, userId={"a": 1})), "id_not_text"),
    ("id too long", line(event(1, userId="x" * 513)), "id_too_long"),
    ("no event", line(event(1, event=None)), "no_event_name"),
    ("event an object", line(event(1, event={"a": 1})), "no_event_name"),
    ("event too long", line(event(1, event="x" * 513)), "name_too_long"),
]  # fmt: skip

ODD: list[tuple[bytes, dict[str, Any]]] = [
    (line(event(1, userId=42)), {"user_id": "42"}),
    (b'{"type":"page","userId":12345678901234567890123456789}',
     {"user_id": "12345678901234567890123456789"}),
    (b'{"type":"page","userId":1.50}', {"user_id": "1.50"}),
    (line(event(1, userId="  7 ")), {"user_id": "7"}),
    (line(event(1, type="Track")), {"type": "track"}),
    (line(event(1, event=404)), {"event": "404"}),
    (line(event(1, event=" Order Completed ")), {"event": "Order Completed"}),
    (line(event(1, messageId=17)), {"message_id": "17"}),
    (line(event(1, context="x")), {"context.ip": None}),
    (line(event(1, context={"page": {"title": 5}, "ip": "::1"})), {"context.ip": "::1"}),
    (line(event(1, context={"groupId": "g"})), {"group_id": "g"}),
    (line(event(1, properties="x")), {"user_id": None}),
    (b'{"type":"group","groupId":"g"}', {"group_id": "g"}),
    (rb'{"type":"page","userId":"a\u0000b"}', {"user_id": "a\0b"}),
    (rb'{"type":"page","userId":"1","x":"\ud83d\ude00"}', {"user_id": "1"}),
    (b'{"type":"page","userId":"1","x":' + b"[" * 60 + b"]" * 60 + b"}", {"user_id": "1"}),
    (b'{"type":"page","userId":"' + b"[" * 90 + b'"}', {"user_id": "[" * 90}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), [(t, r) for _, t, r in POISON],
                         ids=[n for n, _, _ in POISON])  # fmt: skip
def test_poison_is_refused_with_a_reason_and_no_value(text: bytes, reason: str) -> None:
    found = judge(text)
    assert isinstance(found, Refusal)
    assert found.reason == reason
    assert "hello" not in found.detail


@pytest.mark.parametrize(("text", "expected"), ODD)
def test_odd_lines_are_events(text: bytes, expected: dict[str, Any]) -> None:
    found = judge(text)
    assert isinstance(found, Event)
    for path, value in expected.items():
        holder: Any = found
        for name in path.split("."):
            holder = getattr(holder, name)
        assert holder == value


def test_a_context_that_is_none_is_said() -> None:
    found = judge(line(event(1, context="x")))
    assert isinstance(found, OddEvent)
    assert found.flags == ("not_an_object:context",)


def test_blank_lines_are_neither_events_nor_refused() -> None:
    assert judge(b"  \t ") is BLANK


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**25), 10**25), st.floats(allow_nan=False),
    st.text(max_size=8), st.just(""), st.just({"a": [1]}),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=5,
)  # fmt: skip
FIELDS = ("type", "event", "messageId", "anonymousId", "userId", "groupId", "originalTimestamp",
          "timestamp", "sentAt", "receivedAt", "context", "properties", "traits",
          "name")  # fmt: skip
contexts = st.fixed_dictionaries(
    {},
    optional={
        "page": st.fixed_dictionaries({}, optional={"url": scalars, "title": st.text()}) | scalars,
        "campaign": st.fixed_dictionaries({}, optional={"source": scalars}) | scalars,
        "ip": scalars,
        "groupId": scalars,
        "traits": st.fixed_dictionaries({}, optional={"email": scalars}) | scalars,
    },
)


@st.composite
def wire_lines(draw: st.DrawFn) -> bytes:
    """What may stand in a line: good events, ones with any field replaced, poison, blanks."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.sampled_from([text for _, text, _ in POISON if len(text) < 5_000]))
    if kind == 1:
        return draw(st.sampled_from([b"", b"  ", b"\t"]))
    if kind == 2:
        return draw(st.sampled_from([text for text, _ in ODD]))
    made = event(draw(st.integers(0, 50)))
    made["type"] = draw(st.sampled_from(["track", "identify", "page", "group", "screen"]))
    if made["type"] == "identify":
        made["traits"] = {"email": draw(scalars), "plan": "pro"}
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        made[name] = draw(contexts if name == "context" else anything)
    return json.dumps(made, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def decoded(first: int, lines: list[bytes]) -> Block:
    origin = Origin("app", "f" * 64, datetime(2026, 3, 1, tzinfo=UTC), "analytics")
    block = Lines(first, b"".join(text + b"\n" for text in lines))
    return decode_block(block, origin, typed_specs(PROPERTIES), TraitSpec(VALUES))


def rows_of(blocks: list[Block]) -> tuple[Any, ...]:
    """What blocks hold, by line number."""
    events, typed, told, refused = [], [], [], []
    for block in blocks:
        numbers = block.events.select("row", "row_number")
        events += block.events.drop("row").rows()
        for name, frame in block.typed.items():
            joined = numbers.join(frame, on="row", how="inner").drop("row")
            typed += [(name, row) for row in joined.rows()]
        told += numbers.join(block.observations, on="row", how="inner").drop("row").rows()
        refused += [(r.position, r.reason, r.payload) for r in block.refused]
    return events, sorted(typed, key=repr), sorted(told, key=repr), refused


@settings(deadline=None, max_examples=40)
@given(st.lists(wire_lines(), min_size=1, max_size=12))
def test_lines_read_together_as_each_alone(lines: list[bytes]) -> None:
    together = decoded(1, lines)
    alone = [decoded(number, [text]) for number, text in enumerate(lines, 1)]
    assert rows_of([together]) == rows_of(alone)
    assert together.lines == sum(block.lines for block in alone)
    assert together.lines == len(together.events) + len(together.refused)


@settings(deadline=None, max_examples=40)
@given(st.lists(wire_lines(), min_size=1, max_size=12))
def test_the_columnar_reading_agrees_with_the_judge(lines: list[bytes]) -> None:
    block = decoded(1, lines)
    rows = {row["row_number"]: row for row in block.events.iter_rows(named=True)}
    refused = {r.position: r for r in block.refused}
    for number, text in enumerate(lines, 1):
        found = judge(text)
        if isinstance(found, Refusal):
            assert refused[number].reason == found.reason
        elif isinstance(found, Event):
            row = rows[number]
            assert row["user_id"] == found.user_id
            assert row["anonymous_id"] == found.anonymous_id
            assert row["group_id"] == found.group_id
            assert row["type"] == found.type
            assert row["message_id"] == (found.message_id or f"{'f' * 64}:{number}")
            assert row["payload"] == text.decode()
            assert row["visitor"] == (found.anonymous_id or found.user_id or "")
        else:
            assert number not in rows
            assert number not in refused


def test_two_halves_that_only_together_are_one_object_are_refused() -> None:
    halves = [b'{"type":"page","userId":"1","x":{}', b',"y":{"a":"bbbbbbbbb"}}']
    double = b'{"type":"page","userId":"1"}{"type":"page","userId":"2"}'
    block = decoded(1, [*halves, double, line(event(1))])
    assert [r.position for r in block.refused] == [1, 2, 3]
    assert block.events["row_number"].to_list() == [4]


def test_a_page_call_without_context_tells_its_page_in_its_properties() -> None:
    text = b'{"type":"page","userId":"1","properties":{"url":"http://x/","title":"X"}}'
    row = decoded(1, [text]).events.row(0, named=True)
    assert (row["page_url"], row["page_title"]) == ("http://x/", "X")
    assert row["event"] is None


def test_frames_have_the_declared_columns() -> None:
    assert decoded(1, [b""]).events.schema == decoded(1, [line(event(1))]).events.schema
    assert isinstance(decoded(1, [b""]).observations, pl.DataFrame)
