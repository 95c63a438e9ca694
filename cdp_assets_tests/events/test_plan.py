from __future__ import annotations

import json
import pickle
import re
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cdp_assets.events import IngestResult, ingest
from cdp_assets.events.config import EventFilesConfig, EventFilesSpec
from cdp_assets.events.decode import Origin, decode_block
from cdp_assets.events.lines import Lines
from cdp_assets.events.plan import patterns
from cdp_assets.events.plan.config import TrackingPlanConfig
from cdp_assets.events.plan.infer import infer
from cdp_assets.events.plan.judge import judge_event
from cdp_assets.events.plan.rules import Plan, PlanError, Rule, formats, safe_name, validator
from cdp_assets.events.plan.schema import DIALECT, schema_of
from cdp_assets.events.plan.tables import column_types
from cdp_assets.events.properties import properties_of
from cdp_assets.events.replay import replay
from cdp_assets.events.tables import EVENTS, TS, typed_columns
from cdp_assets.events.typed import TraitSpec
from cdp_assets.lake import Lake
from cdp_assets_tests.events.world import NO_WAIT, NOW, content, event, line, table, write

EXPORTED = {
    "format": {"type": "string", "enum": ["csv", "pdf"], "required": True},
    "rows": "integer",
    "recipient": {"type": "string", "pii": "email"},
}


def plan(name: str = "product", schemas: Mapping[str, Any] | None = None, **said: Any) -> Plan:
    said.setdefault("events", {"Report Exported": {"properties": EXPORTED}})
    return Plan(name, TrackingPlanConfig.model_validate(said), schemas or {})


def exported(number: int, **properties: Any) -> dict[str, Any]:
    return event(number, event="Report Exported", properties=properties)


def planned(folder: Path, of: Plan | None, name: str = "app") -> EventFilesSpec:
    plans = {name: of} if of else {}
    return EventFilesSpec(name, EventFilesConfig(path=f"{folder}/*.jsonl*"), plans)


def run(lake: Lake, source: EventFilesSpec) -> IngestResult:
    result = ingest(lake, [source], {}, (), NOW, settle=NO_WAIT)
    assert result.read == (result.stored + result.duplicates + result.quarantined + result.dropped)
    return result


def quarantined(lake: Lake) -> list[tuple[str, str]]:
    return table(lake, "raw/quarantine").sort("position").select("reason", "detail").rows()


PATTERNS = (
    "^a",
    "b$",
    r"\d{2,3}",
    r"^(\w+ )*$",
    "^[^@ ]+@[^@ ]+$",
    "(?!b)a",
    r"(a|b)+1",
    "^(?i:A)",
)
GOOD = exported(1, format="csv", rows=3)
BAD = exported(2, format="doc", rows="three")


@pytest.mark.parametrize(
    ("policy", "stored", "waiting", "dropped"),
    [("allow", 2, 0, 0), ("flag", 2, 0, 0), ("drop", 1, 0, 1), ("quarantine", 1, 1, 0),
     ("block", 1, 1, 0)],
)  # fmt: skip
def test_what_becomes_of_an_event_that_breaks_its_plan(
    lake: Lake, tmp_path: Path, policy: str, stored: int, waiting: int, dropped: int
) -> None:
    write(tmp_path / "in", "a.jsonl", [line(GOOD), line(BAD)])
    result = run(lake, planned(tmp_path / "in", plan(violations=policy, version=3)))
    assert (result.stored, result.quarantined, result.dropped) == (stored, waiting, dropped)
    flags = {row["message_id"]: row["flags"] for row in table(lake, "events").to_dicts()}
    assert flags["m1"] == []
    if policy == "flag":
        assert flags["m2"] == ["violation:enum:format", "violation:type:rows", "plan:product@3"]
    if policy == "allow":
        assert flags["m2"] == []
    if waiting:
        said = "Report Exported breaks product@3: enum:format, type:rows"
        assert quarantined(lake) == [("violation:enum", said)]
    assert judge_event(plan(violations=policy), line(BAD)).action == policy


def test_an_event_has_its_own_policy_and_so_have_the_unplanned(lake: Lake, tmp_path: Path) -> None:
    of = plan(
        violations="flag",
        unplanned_events="quarantine",
        events={
            "Report Exported": {"properties": EXPORTED, "violations": "quarantine"},
            "Signed In": {"properties": {"method": "string"}, "unplanned_properties": "drop"},
            "Opened": {"properties": {"at": "datetime"}},
        },
    )
    lines = [
        BAD,
        event(3, event="Reprot Exported"),
        event(4, event="Signed In", properties={"method": "sso", "colour": 1}),
        event(5, event="Opened", properties={"at": "yesterday"}),
        event(6, type="page", event=None, properties={"anything": 1}),
    ]
    write(tmp_path / "in", "a.jsonl", [line(one) for one in lines])
    result = run(lake, planned(tmp_path / "in", of))
    assert (result.stored, result.quarantined) == (2, 2)
    assert result.dropped_events == {"Signed In": 1}
    assert [reason for reason, _ in quarantined(lake)] == [
        "violation:enum", "violation:unplanned_event",
    ]  # fmt: skip
    flags = table(lake, "events").sort("message_id")["flags"].to_list()
    assert flags == [["violation:format:at", "plan:product"], []]


def test_replay_after_the_fix_stores_each_event_once(lake: Lake, tmp_path: Path) -> None:
    write(tmp_path / "in", "a.jsonl", [line(GOOD), line(BAD), line(exported(3, format="xls"))])
    run(lake, planned(tmp_path / "in", plan(violations="quarantine")))
    mended = plan(
        violations="quarantine",
        events={"Report Exported": {"properties": {"format": {"enum": ["csv", "doc"]}}}},
    )
    source = planned(tmp_path / "in", mended)
    done = replay(lake, [source], {}, (), NOW)
    assert (done.read, done.stored, done.refused) == (2, 1, 1)
    again = replay(lake, [source], {}, (), NOW)
    assert (again.read, again.stored, again.refused) == (1, 0, 1)
    assert sorted(table(lake, "events")["message_id"]) == ["m1", "m2"]
    # as if the plan had been right from the first
    other = Lake(tmp_path / "other", clock=lambda: NOW)
    run(other, source)
    assert content(other) == content(lake)


def test_a_rule_that_came_later_asks_for_nothing_of_what_is_stored(
    lake: Lake, tmp_path: Path
) -> None:
    write(tmp_path / "in", "a.jsonl", [line(BAD)])
    run(lake, planned(tmp_path / "in", None))
    write(tmp_path / "in", "b.jsonl", [line(BAD), line(GOOD)])
    result = run(lake, planned(tmp_path / "in", plan(violations="quarantine")))
    assert (result.stored, result.quarantined) == (1, 1)
    done = replay(lake, [planned(tmp_path / "in", plan(violations="flag"))], {}, (), NOW)
    assert (done.stored, done.duplicates) == (0, 1)
    assert len(table(lake, "events")) == 2


def test_names_that_hold_somebody_are_not_told(lake: Lake, tmp_path: Path) -> None:
    said = exported(1, format="csv", **{"jane@example.com": 1, "4917012345678": 2, "colour": 3})
    write(tmp_path / "in", "a.jsonl", [line(said)])
    run(lake, planned(tmp_path / "in", plan(unplanned_properties="quarantine")))
    assert quarantined(lake) == [
        (
            "violation:unplanned",
            "Report Exported breaks product: unplanned:(odd name), unplanned:colour",
        )
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([1.0, 1.5, 1e300, 1e-7, 12.0])
    | st.sampled_from(["csv", "pdf", "", "a", "é\u0000\"", "2026-06-30", "2026-06-30T10:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "b", "é", 'q"']), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
objects = st.dictionaries(st.sampled_from(["format", "rows", "when", "list", "x", "é"]), values)
RULES: dict[str, Any] = {
    "format": {"type": "string", "enum": ["csv", "pdf", "é"], "required": True},
    "rows": {"type": "integer", "minimum": -5, "maximum": 10},
    "when": "datetime",
    "list": {"type": "array", "items": {"type": "object", "properties": {"a": "number"}}},
    "é": {"type": "string", "min_length": 1, "pattern": "^[a-z]+$"},
}


@settings(deadline=None, max_examples=30)
@given(st.lists(objects | values, min_size=1, max_size=12), st.booleans())
def test_a_block_and_one_alone_are_judged_as_json_schema_says(
    said: list[Any], escaped: bool
) -> None:
    of = plan(violations="quarantine", events={"E": {"properties": RULES}})
    schema = schema_of(of.config.events["E"])
    oracle = Draft202012Validator(schema, format_checker=formats)
    events = [event(n, event="E", properties=one) for n, one in enumerate(said)]
    texts = [json.dumps(one, ensure_ascii=escaped) for one in events]
    # a null object says nothing, as none does
    wrong = [
        n for n, one in enumerate(events) if not oracle.is_valid(one.get("properties") or {})
        or one.get("properties", {}) in (False, 0, "", [])
    ]  # fmt: skip
    lines = Lines(0, "".join(f"{text}\n" for text in texts).encode())
    block = decode_block(lines, Origin("app", "f" * 64, NOW, plans={"app": of}), {}, TraitSpec(()))
    assert [refused.position for refused in block.refused] == wrong
    alone = [judge_event(of, text.encode()) for text in texts]
    assert [n for n, verdict in enumerate(alone) if verdict.action != "allow"] == wrong
    told = {r.position: r.detail.partition(": ")[2] for r in block.refused}
    assert told == {n: ", ".join(v.violations) for n, v in enumerate(alone) if v.violations}


def test_what_json_schema_can_say_more_is_judged_whole() -> None:
    schema = {
        "properties": {"plan": {"type": "string"}, "seats": {"type": "integer"}},
        "if": {"properties": {"plan": {"const": "team"}}, "required": ["plan"]},
        "then": {"required": ["seats"]},
    }
    of = plan(
        violations="quarantine", schemas={"s.json": schema}, events={"E": {"schema": "s.json"}}
    )
    assert of.rules["track", "E"].whole
    said = [{"plan": "team"}, {"plan": "solo"}, {"plan": "team", "seats": 3}, {"seats": 1e0}]
    texts = [event(n, event="E", properties=one) for n, one in enumerate(said)]
    lines = Lines(0, b"".join(line(text) + b"\n" for text in texts))
    block = decode_block(lines, Origin("app", "f" * 64, NOW, plans={"app": of}), {}, TraitSpec(()))
    assert [r.position for r in block.refused] == [0]


def test_a_plan_of_a_file_and_segments_own() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    ours = {"events": {"E": inner}}
    segments = {"rules": [
        {"key": "E", "type": "TRACK", "version": 1,
         "jsonSchema": {"type": "object", "properties": {"properties": inner}}},
        {"type": "IDENTIFY", "version": 1, "jsonSchema": {}},
    ]}  # fmt: skip
    for file in (ours, segments):
        of = plan(schemas={"p.json": file}, schema="p.json", events={}, violations="block")
        assert judge_event(of, event(1, event="E", properties={})).violations == ("missing:n",)
        assert judge_event(of, event(1, event="E", properties={"n": 1})).action == "allow"
    with pytest.raises(PlanError, match="it is no plan"):
        _ = plan(schemas={"p.json": {"rules": 1}}, schema="p.json", events={}).rules


def test_a_schema_fetches_nothing_and_leads_nowhere_is_said() -> None:
    for ref in ("https://example.invalid/x.json", "#/$defs/none"):
        with pytest.raises(PlanError, match="refers to"):
            Rule({"$ref": ref}, "flag", "allow")
    with pytest.raises(PlanError, match="no JSON Schema: at type"):
        Rule({"type": "strin"}, "flag", "allow")


def test_digits_survive_the_plan() -> None:
    of = plan(
        events={"E": {"properties": {"id": {"type": "integer", "minimum": 2**53 + 1}}}},
        violations="quarantine",
    )
    for number, action in ((2**53, "quarantine"), (2**53 + 1, "allow"), (10**40, "allow")):
        text = line(event(1, event="E", properties={"id": number}))
        assert judge_event(of, text).action == action
        block = decode_block(
            Lines(0, text + b"\n"), Origin("app", "f", NOW, plans={"app": of}), {}, TraitSpec(())
        )
        assert bool(block.refused) == (action == "quarantine")
        assert isinstance(block.events, pl.DataFrame)


def test_what_was_dropped_comes_in_with_its_day_once_the_plan_allows_it(
    lake: Lake, tmp_path: Path
) -> None:
    write(tmp_path / "in", "a.jsonl", [line(BAD)])
    dropped = run(lake, planned(tmp_path / "in", plan(violations="drop")))
    assert (dropped.stored, dropped.dropped) == (0, 1)
    day = date(2026, 1, 1)
    source = planned(tmp_path / "in", plan(violations="flag"))
    result = ingest(lake, [source], {}, (), NOW, days=(day, day), settle=NO_WAIT)
    assert (result.read, result.stored) == (1, 1)


def test_planned_names_that_clash_are_columns_of_their_own(lake: Lake, tmp_path: Path) -> None:
    said = {"user_id": "u", "orderId": 1, "OrderID": "x", "order id": 2**60, "timestamp": "t"}
    names = {
        "user_id": "string", "orderId": "integer", "OrderID": "string", "order id": "integer",
        "timestamp": "string",
    }  # fmt: skip
    of = plan(events={"E": {"properties": names}})
    properties = {"E": column_types(of.rules["track", "E"].schema)}
    write(tmp_path / "in", "a.jsonl", [line(event(1, event="E", properties=said))])
    ingest(lake, [planned(tmp_path / "in", of)], properties, (), NOW, settle=NO_WAIT)
    (row,) = table(lake, "events/e").to_dicts()
    assert row["user_id"] is None  # the event's own
    columns = typed_columns(names)
    assert {name: row[column] for name, column in columns.items()} == said


NAMES = st.sampled_from(["a", "b", "é"])
leaves = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "number", "boolean", "object", "array"])
        | st.lists(st.sampled_from(["string", "integer", "null"]), min_size=1, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "minimum": st.sampled_from([0, 1.5]),
        "maxLength": st.integers(0, 3),
        "pattern": st.sampled_from(["^a", "c", r"\d", "x$"]),
        "minItems": st.just(1),
        "uniqueItems": st.just(True),
        "pii": st.just("email"),
    },
)
schemas = st.recursive(
    st.booleans() | leaves,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.just("object"),
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(st.just("^a"), inner, max_size=1),
            "propertyNames": st.just({"maxLength": 1}),
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "maxProperties": st.just(2),
            "dependentRequired": st.just({"a": ["b"]}),
        },
    ),
    max_leaves=6,
)
said_of = st.lists(st.dictionaries(st.sampled_from(["a", "b", "é", "c1"]), values), min_size=1)


@settings(deadline=None, max_examples=30)
@given(schemas, said_of)
def test_any_json_schema_is_judged_as_its_reference_does(
    schema: Any, said: list[dict[str, Any]]
) -> None:
    of = plan(violations="block", schemas={"s.json": schema}, events={"E": {"schema": "s.json"}})
    oracle = Draft202012Validator(schema, format_checker=formats)
    lines = [line(event(n, event="E", properties=one)) for n, one in enumerate(said)]
    block = decode_block(
        Lines(0, b"".join(text + b"\n" for text in lines)),
        Origin("app", "f" * 64, NOW, plans={"app": of}), {}, TraitSpec(()),
    )  # fmt: skip
    wrong = [n for n, one in enumerate(said) if not oracle.is_valid(one)]
    assert [refused.position for refused in block.refused] == wrong
    alone = [judge_event(of, text).action for text in lines]
    assert [n for n, action in enumerate(alone) if action == "block"] == wrong


def test_no_answer_about_a_long_text_is_remembered() -> None:
    of = plan(events={"E": {"properties": {"s": {"enum": ["a"]}, "n": "integer"}}})
    rule = of.rules["track", "E"]
    for n in range(300):
        text = f"{n}" + "x" * 20_000
        assert rule.judge(json.dumps({"s": text, "n": 1}).encode()) == ("enum:s",)
        assert rule.judge(json.dumps({"n": 1, text: 1}).encode()) == ()
        assert safe_name(text) == "(odd name)"
    assert len(pickle.dumps([rule._by_letters, rule.watched["s"]._known])) < 10_000
    assert rule._by_letters
    assert rule.judge(b'{"s":"b"}') == ("enum:s",)
    assert len(rule.watched["s"]._known) >= 1


@pytest.mark.parametrize("form", ["short", "schema", "items"])
@pytest.mark.parametrize("pattern", [r"^(\w+\s?)*$", r"^(a|aa)+$", r"\w+$", r"\s*\s*\s*$"])
def test_no_text_keeps_a_pattern_busy(pattern: str, form: str) -> None:
    rule: dict[str, Any] = {"type": "string", "pattern": pattern}
    if form == "items":
        rule = {"type": "array", "items": rule}
    of = plan(events={"E": {"properties": {"s": rule}}})
    if form == "schema":
        schema = {"$schema": DIALECT, "properties": {"s": rule}}
        of = plan(events={"E": {"schema": "a.json"}}, schemas={"a.json": schema})
    text = "a" * 30 + " " * 30 + "a" * 200_000 + "!"
    said = [text] if form == "items" else text
    start = time.monotonic()
    codes = of.rules["track", "E"].judge(json.dumps({"s": said}).encode())
    assert time.monotonic() - start < 2
    assert codes == (() if pattern.startswith("\\s") else ("pattern:s",))


def test_patterns_that_only_backtracking_reads_are_bounded_or_refused() -> None:
    of = plan(events={"E": {"properties": {"s": {"pattern": "^(?!x)a"}}}}).rules["track", "E"]
    assert of.judge(b'{"s":"ab"}') == ()
    assert of.judge(json.dumps({"s": "a" * 10_000}).encode()) == ("pattern:s",)
    for wrong in (r"^(?=x)(\w+)*$", r"(a+)+\1", "("):
        with pytest.raises(ValueError, match=r"minutes|no regular|not a .regex"):
            plan(events={"E": {"properties": {"s": {"pattern": wrong}}}})
        with pytest.raises(PlanError, match=r"minutes|no regular|not a .regex"):
            validator({"items": {"pattern": wrong}})
    with pytest.raises(PlanError, match="minutes"):
        validator({"patternProperties": {"^(a+)+$": True}})
    names = {"patternProperties": {"a+b": False}}
    rule = Rule(names, "flag", "flag")
    start = time.monotonic()
    assert rule.judge(json.dumps({"a" * 200_000: 1}).encode()) == ("unplanned:(odd name)",)
    assert time.monotonic() - start < 2


@given(st.sampled_from(PATTERNS), st.text("ab1 .@\n", max_size=90), st.booleans())
def test_patterns_match_as_they_do_in_python(pattern: str, text: str, lengthen: bool) -> None:
    text = text.rstrip("\n") + "a" * 70 * lengthen
    assert patterns.matches(pattern, text) is (re.search(pattern, text) is not None)


def test_numbers_longer_than_python_reads_stop_nothing(lake: Lake, tmp_path: Path) -> None:
    huge = b"9" * 5_000
    rule = {"type": "integer", "minimum": 0, "maximum": 10}
    of = plan(events={"E": {"properties": {"n": rule}}}).rules["track", "E"]
    assert of.judge(b'{"n":' + huge + b"}") == ("maximum:n",)
    assert of.judge(b'{"n":-' + huge + b"}") == ("minimum:n",)
    assert of.judge(b'{"o":{"n":-' + huge + b"}}") == ()
    of = Rule({"properties": {"n": {"multipleOf": 0.5}}}, "flag", "flag")
    assert of.judge(b'{"n":' + huge + b"}") == ("multipleOf:n",)
    payload = b'{"type":"track","event":"E","userId":"u","properties":{"n":' + huge + b"}}"
    seen = {"source": "app", "type": "track", "event": "E", "payload": payload.decode()}
    rows = properties_of(
        pl.DataFrame({**seen, "timestamp": [NOW]}, schema_overrides={"timestamp": TS})
    )
    assert dict(rows.select("property", "kind").iter_rows()) == {"": "object", "n": "integer"}
    write(tmp_path / "in", "a.jsonl", [line(event(1, event="E", properties={"n": 1}))])
    run(lake, planned(tmp_path / "in", None))
    # stored before such numbers were refused
    one = lake.open(EVENTS).scan().drop("_seq").collect()
    changed = one.with_columns(pl.lit(payload.decode()).alias("payload"), message_id=pl.lit("old"))
    lake.open(EVENTS).append(changed.select(*EVENTS.schema))
    assert "n: {type: integer, required: true}" in infer(lake)
