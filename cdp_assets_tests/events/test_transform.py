from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.events import IngestResult, ingest
from cdp_assets.events.config import EventFilesConfig, EventFilesSpec
from cdp_assets.events.decode import Origin, decode_block
from cdp_assets.events.landed import HEADS, LandedLines
from cdp_assets.events.lines import Lines
from cdp_assets.events.plan.config import TrackingPlanConfig
from cdp_assets.events.plan.rules import Plan
from cdp_assets.events.replay import replay
from cdp_assets.events.transform import Transform, TransformError, _python, load_transform, restored
from cdp_assets.events.transform_cases import differences, read_cases
from cdp_assets.events.typed import TraitSpec
from cdp_assets.lake import Lake
from cdp_assets.raw.quarantine import Refusal
from cdp_assets_tests.events.world import (
    NO_WAIT,
    NOW,
    event,
    line,
    rows_source,
    table,
    write,
)

BY_PROPERTY = """
def transform(event):
    said = event.get("properties") or {}
    match said.get("do"):
        case "drop":
            return None
        case "fail":
            return said["secret" + str(said["value"])]
        case "odd":
            return "text"
        case "split":
            return [{**event, "properties": {"part": n}} for n in range(said["parts"])]
        case "spoil":
            return [event, {**event, "type": "nonsense"}, {**event, "type": "nonsense"}]
    event["properties"] = {**said, "seen": True}
    return event
"""


def transform(folder: Path, text: str = BY_PROPERTY, name: str = "transform.py") -> Transform:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    return load_transform(file)


def source(
    folder: Path, of: Transform | None, plans: Mapping[str, Plan] | None = None
) -> EventFilesSpec:
    config = EventFilesConfig(path=f"{folder}/*.jsonl*")
    return EventFilesSpec("app", config, plans or {}, {"app": of} if of else {})


def run(lake: Lake, spec: EventFilesSpec, **said: Any) -> IngestResult:
    result = ingest(lake, [spec], {}, (), NOW, settle=NO_WAIT, **said)
    assert result.read + result.split == (
        result.stored + result.duplicates + result.quarantined + result.suppressed + result.dropped
    )
    return result


def doing(number: int, what: str, **said: Any) -> dict[str, Any]:
    return event(number, properties={"do": what, **said})


def stored(lake: Lake) -> pl.DataFrame:
    return table(lake, "events").sort("row_number", "message_id")


def test_what_is_stored_is_what_the_transformation_made(lake: Lake, tmp_path: Path) -> None:
    of = transform(tmp_path / "defs")
    write(tmp_path / "in", "a.jsonl", [line(event(1)), line(event(2))])
    assert run(lake, source(tmp_path / "in", of)).stored == 2
    rows = stored(lake)
    assert [json.loads(p)["properties"]["seen"] for p in rows["payload"]] == [True, True]
    assert rows["flags"].to_list() == [[f"transform:{of.version}"]] * 2
    assert len(of.version) == 8


def test_a_line_is_dropped_split_or_refused_and_every_one_is_counted(
    lake: Lake, tmp_path: Path
) -> None:
    lines = [
        doing(1, "keep"), doing(2, "drop"), doing(3, "split", parts=3),
        doing(4, "fail", value="x@y"), doing(5, "odd"),
        doing(6, "split", parts=0), doing(7, "spoil"),
    ]  # fmt: skip
    write(tmp_path / "in", "a.jsonl", [*map(line, lines), b"no json", b""])
    result = run(lake, source(tmp_path / "in", transform(tmp_path / "defs")))
    assert (result.read, result.stored, result.split) == (8, 5, 3)
    assert (result.quarantined, result.discarded) == (4, {"app": 2})
    assert stored(lake)["message_id"].to_list() == ["m1", "m3", "m3:2", "m3:3", "m7"]
    waiting = table(lake, "raw/quarantine").sort("position")
    assert waiting["reason"].to_list() == [
        "transform_failed", "transform_failed", "unknown_type", "not_json",
    ]  # fmt: skip
    assert waiting["detail"][0] == "transform.py: KeyError at line 8"
    # what waits is the line as sent, not what became of it
    assert [json.loads(p) for p in waiting["payload"][:3]] == [lines[3], lines[4], lines[6]]


def test_a_resend_and_a_second_reading_of_a_split_line_add_nothing(
    lake: Lake, tmp_path: Path
) -> None:
    spec = source(tmp_path / "in", transform(tmp_path / "defs"))
    nameless = event(2, properties={"do": "split", "parts": 2}, messageId=None)
    write(tmp_path / "in", "a.jsonl", [line(doing(1, "split", parts=2)), line(nameless)])
    assert run(lake, spec).stored == 4
    before = stored(lake)
    again = {**doing(1, "split", parts=2), "sentAt": "2026-02-01T00:00:00Z"}
    write(tmp_path / "in", "b.jsonl", [line(again)])
    result = run(lake, spec)
    assert (result.stored, result.duplicates) == (0, 2)
    days = table(lake, "events")["event_day"]
    result = run(lake, spec, days=(days.min(), days.max()))
    assert (result.stored, result.duplicates) == (0, 6)
    assert stored(lake).equals(before)


def test_ids_that_parts_bear_of_their_own_are_kept(tmp_path: Path, lake: Lake) -> None:
    text = """
def transform(event):
    return [{**event, "messageId": "a"}, {**event, "messageId": None}, {**event, "messageId": "a"}]
"""
    write(tmp_path / "in", "a.jsonl", [line(event(1))])
    run(lake, source(tmp_path / "in", transform(tmp_path / "defs", text)))
    assert stored(lake)["message_id"].to_list() == ["a", "a:3", "m1"]


def test_after_a_fix_replay_gives_what_a_first_reading_would(tmp_path: Path) -> None:
    lines = [line(doing(n, what, value=1, parts=2)) for n, what in enumerate(["fail", "keep"])]
    write(tmp_path / "in", "a.jsonl", lines)
    broken = transform(tmp_path / "broken")
    mended = transform(tmp_path / "mended", BY_PROPERTY.replace('"fail"', '"never"'))
    assert broken.version != mended.version
    first, second = Lake(tmp_path / "one"), Lake(tmp_path / "two")
    run(first, source(tmp_path / "in", broken))
    done = replay(first, [source(tmp_path / "in", mended)], {}, (), NOW)
    assert (done.read, done.stored, done.refused) == (1, 1, 0)
    run(second, source(tmp_path / "in", mended))
    ones, others = stored(first), stored(second)
    assert ones.drop("flags").equals(others.drop("flags"))
    new, old = [f"transform:{mended.version}"], [f"transform:{broken.version}"]
    assert others["flags"].to_list() == [new, new]
    assert ones["flags"].to_list() == [new, old]  # the neighbour keeps the version that made it


def test_days_of_dropped_lines_are_read_again(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jsonl", [line(doing(1, "drop"))])
    assert run(lake, source(tmp_path / "in", transform(tmp_path / "defs"))).stored == 0
    kept = transform(tmp_path / "defs", "def transform(event): return event")
    day = NOW.date().replace(month=1, day=1)
    assert run(lake, source(tmp_path / "in", kept), days=(day, day)).stored == 1


def test_the_plan_judges_what_the_transformation_made(lake: Lake, tmp_path: Path) -> None:
    events = {"Order Completed": {"properties": {"seen": {"type": "boolean", "required": True}}}}
    config = TrackingPlanConfig.model_validate({"violations": "quarantine", "events": events})
    plans = {"app": Plan("product", config, {})}
    write(tmp_path / "in", "a.jsonl", [line(event(1)), line(doing(2, "split", parts=2))])
    result = run(lake, source(tmp_path / "in", transform(tmp_path / "defs"), plans))
    assert (result.stored, result.quarantined, result.split) == (1, 1, 0)
    assert json.loads(table(lake, "raw/quarantine")["payload"][0]) == doing(2, "split", parts=2)


ACTS = st.sampled_from(["keep", "drop", "fail", "odd", "split", "spoil", "torn", "blank"])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(ACTS, st.integers(0, 4)), max_size=12))
def test_every_line_and_every_part_is_accounted_for(acts: list[tuple[str, int]]) -> None:
    of = Transform("transform.py", "0" * 8, load_text(BY_PROPERTY))
    texts = {"torn": b'{"type":', "blank": b"  "}
    lines = [
        texts.get(what) or line(doing(n, what, parts=parts, value=1))
        for n, (what, parts) in enumerate(acts)
    ]
    data = b"".join(text + b"\n" for text in lines)
    origin = Origin("app", "ab", NOW, transforms={"app": of})
    block = decode_block(Lines(1, data), origin, {}, TraitSpec(()))
    count = {what: sum(a == what for a, _ in acts) for what in ("keep", "drop", "spoil", "blank")}
    whole = [parts for what, parts in acts if what == "split"]
    assert len(block.events) == count["keep"] + count["spoil"] + sum(whole)
    assert sum(block.discarded.values()) == count["drop"] + whole.count(0)
    assert block.lines == len(acts) - count["blank"]
    assert block.lines + block.split == (
        len(block.events) + len(block.refused) + sum(block.discarded.values())
    )
    assert len({r.position for r in block.refused}) == len(block.refused)
    assert block.events["message_id"].n_unique() == len(block.events)


def load_text(text: str) -> Any:
    return _python(Path("transform.py"), text)


@pytest.mark.parametrize("name", ["transform.py", "transform.sql"])
def test_a_line_that_no_transformation_can_read_does_not_go_around_it(
    lake: Lake, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = import_module("cdp_assets.events.transform")
    real = room._read

    def less(text: bytes) -> Any:
        """As a decoder that reads less than the judge."""
        if b"odd" in text:
            raise msgspec.ValidationError("number out of range")
        return real(text)

    monkeypatch.setattr(room, "_read", less)
    text = "select event from events" if name.endswith("sql") else BY_PROPERTY
    huge = line(event(1, properties={"n": 0})).replace(b'"n": 0', b'"n": ' + b"1" * 5000)
    odd = line(event(3, properties={"odd": 1}))
    write(tmp_path / "in", "a.jsonl", [huge, line(event(2)), b" ", b"no json", odd])
    result = run(lake, source(tmp_path / "in", transform(tmp_path / "defs", text, name)))
    assert (result.read, result.stored, result.quarantined) == (4, 1, 3)
    waiting = table(lake, "raw/quarantine").sort("position").select("position", "reason", "payload")
    assert waiting.rows() == [
        (1, "number_out_of_range", huge), (4, "not_json", b"no json"), (5, "transform_failed", odd),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "number",
    ["1.10", "12345678901234567890123", "0.1234567890123456789", "1e3", "9007199254740993"],
)
def test_numbers_pass_with_all_their_digits(tmp_path: Path, number: str) -> None:
    of = transform(tmp_path, "def transform(event): return event")
    (made,) = decode_payloads(of, b'{"type":"track","event":"A","userId":"u","properties":{"n":%s}}'
                              % number.encode())  # fmt: skip
    kept = json.loads(made, parse_float=Decimal, parse_int=Decimal)["properties"]["n"]
    assert kept == Decimal(number)


def decode_payloads(of: Transform, *lines: bytes) -> list[str]:
    origin = Origin("app", "ab", NOW, transforms={"app": of})
    block = decode_block(
        Lines(1, b"".join(text + b"\n" for text in lines)), origin, {}, TraitSpec(())
    )
    assert not block.refused, block.refused
    return block.events["payload"].to_list()


SQL = """
select json_set(event, '$.properties.email', sha256(event ->> '$.properties.email')) as event
from events where event ->> '$.event' <> 'Debug'
"""


def test_sql_hashes_and_drops(lake: Lake, tmp_path: Path) -> None:
    of = transform(tmp_path / "defs", SQL, "transform.sql")
    lines = [event(1, properties={"email": "a@b.example"}), event(2, event="Debug")]
    write(tmp_path / "in", "a.jsonl", map(line, lines))
    result = run(lake, source(tmp_path / "in", of))
    assert (result.stored, result.discarded) == (1, {"app": 1})
    hashed = json.loads(stored(lake)["payload"][0])["properties"]["email"]
    assert hashed == hashlib.sha256(b"a@b.example").hexdigest()


def test_of_landed_lines_each_goes_through_its_own_source(tmp_path: Path) -> None:
    text = "def transform(event): return [event, event] if event['event'] != 'No' else 1 / 0"
    of = transform(tmp_path, text)
    sources = ["web", "app", "web", "app"]
    heads = pl.DataFrame(
        [(s, datetime(2026, 1, n, tzinfo=UTC), None, None, None, None, True, False)
         for n, s in enumerate(sources, start=1)],
        schema=HEADS, orient="row",
    )  # fmt: skip
    events = [event(1), event(2), event(3, event="No"), event(4)]
    data = b"".join(line(e) + b"\n" for e in events)
    origin = Origin("collector", "ab", NOW, transforms={"web": of})
    block = decode_block(LandedLines(7, data, heads), origin, {}, TraitSpec(()))
    rows = block.events.select("source", "message_id", "row_number", "received_at", "flags").rows()
    assert [(s, m, n, at.day, flags.count(of.flag)) for s, m, n, at, flags in rows] == [
        ("web", "m1", 7, 1, 1), ("web", "m1:2", 7, 1, 1), ("app", "m2", 8, 2, 0),
        ("app", "m4", 10, 4, 0),
    ]  # fmt: skip
    assert [(r.position, r.reason) for r in block.refused] == [(9, "transform_failed")]
    assert block.source_at is not None
    assert block.source_at(9) == "web"


def test_refusals_of_a_block_are_found_without_seeking_each_anew() -> None:
    class Numbers(list[int]):
        def index(self, *_: Any) -> int:
            raise AssertionError("a block of refusals would take the square of its lines")

    heads = pl.DataFrame(
        [(name, NOW, None, None, None, None, True, False) for name in "ab"],
        schema=HEADS, orient="row",
    )  # fmt: skip
    lines = LandedLines(4, b"{}\n[]\n", heads, numbers=Numbers([4, 9]))
    assert [lines.source(number) for number in (9, 4)] == ["b", "a"]
    refused = [Refusal(9, "odd", "", b"made"), Refusal(9, "odd", "", b"too")]
    assert [(r.position, r.payload) for r in restored(refused, lines)] == [(9, b"[]")]


def test_sql_splits(tmp_path: Path) -> None:
    text = """
    select json_set(events.event, '$.properties', json(item.value)) as event
    from events, json_each(events.event, '$.properties.products') as item
    """
    of = transform(tmp_path, text, "transform.sql")
    products = [{"sku": "a", "price": 1.5}, {"sku": "b", "price": 2}]
    made = decode_payloads(of, line(event(1, properties={"products": products})))
    assert [json.loads(text)["properties"] for text in made] == products
    assert [json.loads(text)["messageId"] for text in made] == ["m1", "m1:2"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("transform.py", "def transform(event)\n    pass", ":1: "),
        ("transform.py", "import sys\n\nraise ValueError('no')", ":3: "),
        ("transform.py", "x = 1", "defines no function"),
        ("transform.sql", "select event from things", "no such table"),
        ("transform.sql", "select 1 as x from events", "one column named `event`"),
        ("transform.sql", "delete from events", "not authorized"),
        ("transform.sql", "select load_extension('x') as event from events", "not authorized"),
        ("transform.txt", "x", "name a .py or a .sql file"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_transformation_says_where(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(TransformError) as raised:
        transform(tmp_path, text, name)
    assert said in f"{name}:{raised.value.line}: {raised.value}"


def test_cases_show_what_differs(tmp_path: Path) -> None:
    of = transform(tmp_path)
    (tmp_path / "fixtures.yaml").write_text("""
- name: kept
  in: {type: track, timestamp: 2026-01-01T00:00:00Z, properties: {rows: 1}}
  out: {type: track, timestamp: 2026-01-01T00:00:00Z, properties: {rows: 2, seen: true}}
- in: {properties: {do: drop}}
  out: null
- in: {properties: {do: odd}}
  fails: true
""")
    (tmp_path / "fixtures").mkdir()
    case = {"in": {"properties": {"do": "split", "parts": 2}}, "out": []}
    (tmp_path / "fixtures" / "split.json").write_text(json.dumps(case))
    cases = read_cases(tmp_path)
    assert [differences(of, case) for case in cases] == [
        ["properties.rows: expected 2, came 1"], [], [], ["expected 0 events, came 2"],
    ]  # fmt: skip
    assert cases[0].where == "fixtures.yaml case 1 (kept)"


def test_rows_of_a_file_go_through_it_as_the_events_they_became(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "shop.csv"
    file.write_text("customer,date,amount\nu1,2026-01-01,1.50\nu2,2026-01-02,0\nu3,2026-01-03,2\n")
    text = """
def transform(event):
    if not float(event["properties"]["revenue"]):
        return None
    return {**event, "event": "Paid", "bad": 1 / (event["userId"] != "u3")}
"""
    spec = replace(rows_source(file), transforms={"shop": transform(tmp_path / "defs", text)})
    result = run(lake, spec)
    assert (result.read, result.stored, result.dropped, result.quarantined) == (3, 1, 1, 1)
    assert stored(lake)["event"].to_list() == ["Paid"]
    mended = transform(tmp_path / "defs", text.replace(' != "u3"', ' != ""'))
    done = replay(lake, [replace(spec, transforms={"shop": mended})], {}, (), NOW)
    assert (done.read, done.stored, done.refused) == (1, 1, 0)
    assert stored(lake)["user_id"].to_list() == ["u1", "u3"]
