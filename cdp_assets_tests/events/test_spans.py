"""Columns over a block's own bytes say what the careful way, line by line, says."""

from __future__ import annotations

import json
import sys
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.events.decode import Block, Origin, decode_block
from cdp_assets.events.lines import Lines
from cdp_assets.events.spans import Fields, Spans
from cdp_assets.events.tables import DECIMAL
from cdp_assets.events.typed import TraitSpec, typed_specs
from cdp_assets_tests.events.world import NOW, event

SPECS = typed_specs({"Order Completed": {"revenue": DECIMAL, "note": pl.String()}})
TRAITS = TraitSpec(["events.traits.email", "events.traits.a-name-of-more-than-eight"])
ORIGIN = Origin("app", "0" * 64, NOW)
TEXTS = st.sampled_from(
    ["", " ", "a", "twelve bytes", "thirteen byte", "größer", " outer", "née\u00a0", "x" * 513,
     'a "quote"', "back\\slash", "{[", "1e300", ":1e300", "\x7f", "\u2028", "😀" * 4]
)  # fmt: skip
TIMES = st.sampled_from(
    ["2026-02-28T23:59:59.999Z", "2024-02-29T00:00:00.000Z", "2023-02-29T00:00:00.000Z",
     "2026-01-01T24:00:00.000Z", "2026-13-01T00:00:00.000Z", "1899-12-31T23:59:59.999Z",
     "2200-12-31T23:59:59.999Z", "1969-12-31T23:59:59.001Z", "2026-01-01T00:00:60.000Z",
     "2026-01-01T00:00:00Z", "1767225600", 1767225600, "never", None, ""]
)  # fmt: skip
SCALARS = st.one_of(st.none(), st.integers(-5, 10**6), st.booleans(), TEXTS, st.just(1e300))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2)
)
OBJECTS = st.dictionaries(
    st.sampled_from(["revenue", "note", "email", "url", "path", "a-name-of-more-than-eight"]),
    st.one_of(VALUES, st.sampled_from(["1.5", 19.99, "x"])),
    max_size=4,
)
CONTEXTS = st.dictionaries(
    st.sampled_from(["page", "campaign", "ip", "userAgent", "groupId", "traits", "library"]),
    OBJECTS | SCALARS,
    max_size=4,
)
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify", "page", "screen", "group", "Track", "odd"])},
    optional={
        "event": st.sampled_from(["Order Completed", "Order Completed ", "Ämter", 7]) | TEXTS,
        **{n: TEXTS | st.integers(0, 9) for n in ("messageId", "userId", "groupId", "name")},
        "anonymousId": st.just("d1") | SCALARS,
        **dict.fromkeys(("originalTimestamp", "timestamp", "sentAt", "receivedAt"), TIMES),
        "context": CONTEXTS | SCALARS,
        "properties": OBJECTS | VALUES,
        "traits": OBJECTS | SCALARS,
        "ty\\pe": SCALARS,
    },
)


def _said(block: Block) -> dict[str, Any]:
    rows = {
        "events": block.events, "told": block.observations.sort("row", "field"),
        **{event: frame.sort("row") for event, frame in block.typed.items() if len(frame)},
    }  # fmt: skip
    return {name: frame.rows() for name, frame in rows.items()} | {
        "refused": block.refused, "lines": block.lines,
    }  # fmt: skip


def _slowly(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> Block:
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[decode_block.__module__], "_at_once", lambda *_: None)
        return decode_block(lines, ORIGIN, SPECS, TRAITS)


def _text(parts: list[tuple[str, Any]], ascii_only: bool) -> str:
    """An object of these members; one may stand twice."""
    members = (json.dumps(k) + ": " + json.dumps(v, ensure_ascii=ascii_only) for k, v in parts)
    return "{" + " , ".join(members) + "}"


@settings(deadline=None, max_examples=80)
@given(events=st.lists(EVENTS, min_size=1, max_size=8), ascii_only=st.booleans(), data=st.data())
def test_a_block_at_once_says_what_its_lines_say_alone(
    events: list[dict[str, Any]], ascii_only: bool, data: st.DataObject
) -> None:
    texts = []
    for one in events:
        parts = data.draw(st.permutations(list(one.items())))
        again = data.draw(st.lists(st.sampled_from(parts), max_size=1))
        twice = [(key, data.draw(VALUES | OBJECTS)) for key, _ in again]
        place = data.draw(st.integers(0, len(parts)))
        texts.append(_text([*parts[:place], *twice, *parts[place:]], ascii_only))
    lines = Lines(1, "".join(text + "\n" for text in texts).encode())
    with pytest.MonkeyPatch.context() as monkeypatch:
        slow = _said(_slowly(lines, monkeypatch))
    assert _said(decode_block(lines, ORIGIN, SPECS, TRAITS)) == slow


def test_usual_lines_are_read_without_a_slow_one() -> None:
    lines = Lines(1, b"".join(json.dumps(event(n)).encode() + b"\n" for n in range(50)))
    assert lines.even
    spans = Spans(lines, Fields(["revenue"]))
    assert not len(spans.slow())
    assert not spans.marked().any()


@pytest.mark.parametrize(
    "value", ["1e300", "-1E+999", "[1,2.5e100]", '":1e999"', "[" * 70 + "]" * 70]
)
def test_what_a_skipping_decoder_may_overlook_is_marked(value: str) -> None:
    text = json.dumps(event(1))[:-1] + f', "more": {value}}}\n'
    assert Spans(Lines(1, text.encode() * 3), Fields()).marked().all()


@pytest.mark.parametrize("before", range(70))
def test_a_large_number_is_marked_wherever_it_stands(before: int) -> None:
    # the kernel looks at 32 bytes at once: a number may begin in one look and end in the next
    line = '{"a":"' + "x" * before + '","more":1e300}'
    small = line.replace("1e300", "12300")
    lines = Lines(1, f"{small}\n{line}\n{small}\n".encode())
    assert Spans(lines, Fields()).marked().tolist() == [False, True, False]


@pytest.mark.parametrize(
    "name", ["messageI", "messageId", "messageIdx", "messageXd", "userId", "userIx", "\\u0075serId"]
)
def test_a_member_is_not_taken_for_the_one_that_stood_there_before(name: str) -> None:
    usual = '{"type":"track","messageId":"m","userId":"u","event":"e"}'
    texts = [usual, *(usual.replace(f'"{n}"', f'"{name}"') for n in ("messageId", "userId")), usual]
    lines = Lines(1, "".join(text + "\n" for text in texts).encode())
    with pytest.MonkeyPatch.context() as monkeypatch:
        slow = _said(_slowly(lines, monkeypatch))
    assert _said(decode_block(lines, ORIGIN, SPECS, TRAITS)) == slow
