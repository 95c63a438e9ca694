from __future__ import annotations

import json
from pathlib import Path

import yaml

from cdp_assets.events.model import Event, judge
from cdp_assets.events.plan.config import TrackingPlanConfig
from cdp_assets.events.plan.infer import infer
from cdp_assets.events.plan.judge import blocker
from cdp_assets.events.plan.rules import Plan
from cdp_assets.events.plan.trial import trial
from cdp_assets.events.waiting import masked, waiting
from cdp_assets.lake import Lake
from cdp_assets_tests.events.test_plan import BAD, GOOD, plan, planned
from cdp_assets_tests.events.test_plan import run as run_planned
from cdp_assets_tests.events.world import event, line, run, source, write


def seen(n: int) -> bytes:
    said = {
        "format": ("csv", "pdf")[n % 2],
        "rows": n,
        "recipient": f"person{n}@example.com",
        "call": f"+49 170 12345{n:02}",
        "at": f"2026-01-{n % 28 + 1:02}T10:00:00Z",
        "first_name": ("Ada", "Max")[n % 2],
        "price": 1.5 if n % 2 else 2,
        "mixed": n if n % 2 else "a",
        "where": {"city": f"c{n}", "lat": 1.5} if n % 2 else None,
        f"{n}@x.example": 1,
    }
    if n % 3 == 0:
        said["note"] = f"text {n}"
    return line(event(n, event="Report Exported", messageId=f"m{n}", properties=said))


def test_a_plan_is_drafted_that_what_was_seen_meets(lake: Lake, tmp_path: Path) -> None:
    who = event(1, type="identify", event=None, messageId="i1", properties=None,
                traits={"email": "ada@example.com", "plan": "pro"})  # fmt: skip
    write(tmp_path / "in", "a.jsonl", [*(seen(n) for n in range(40)), line(who)])
    run(lake, source(tmp_path / "in"))
    drafted = yaml.safe_load(infer(lake))
    assert drafted["type"] == "cdp_assets.TrackingPlan"
    said = drafted["attributes"]["events"]["Report Exported"]["properties"]
    assert said == {
        "at": {"type": "datetime", "required": True},
        "call": {"type": "string", "required": True, "pii": "phone"},
        "first_name": {"type": "string", "required": True},
        "format": {"type": "string", "required": True, "enum": ["csv", "pdf"]},
        "mixed": {"required": True},
        "note": "string",
        "price": {"type": "number", "required": True},
        "recipient": {"type": "string", "required": True, "pii": "email"},
        "rows": {"type": "integer", "required": True},
        "where": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "required": True},
                "lat": {"type": "number", "required": True},
            },
        },
    }
    assert drafted["attributes"]["identify"]["properties"]["email"]["pii"] == "email"
    assert "@x.example" not in infer(lake)
    config = TrackingPlanConfig.model_validate(drafted["attributes"])
    looked, found = trial(lake, Plan("product", config), ["app"])
    assert (looked, dict(found)) == (41, {})
    strict = plan(events={"Report Exported": {"properties": {"format": {"enum": ["csv"]}}}})
    looked, found = trial(lake, strict, ["app"])
    assert dict(found) == {("Report Exported", "enum:format", "flag"): 20}


def test_what_waits_is_counted_and_shows_nobody(lake: Lake, tmp_path: Path) -> None:
    said = {"recipient": "ada@example.com", "ada@example.com": [{"n": 5}]}
    worse = event(3, event="Report Exported", userId="ada@example.com", properties=said)
    lines = [line(GOOD), line(BAD), line({**BAD, "messageId": "m9"}), line(worse), b"{ada"]
    write(tmp_path / "in", "a.jsonl", lines)
    run_planned(lake, planned(tmp_path / "in", plan(violations="quarantine")))
    rows = waiting(lake)
    assert rows.select("reason", "rows").rows() == [
        ("violation:enum", 2), ("not_json", 1), ("violation:missing", 1),
    ]  # fmt: skip
    assert waiting(lake, "other").is_empty()
    text = str(rows.to_dicts())
    assert "ada" not in text
    example = json.loads(rows.filter(reason="violation:missing")["example"][0])
    assert example["properties"] == {"recipient": "…", "(odd name)": [{"n": 0}]}


def test_a_masked_line_is_small() -> None:
    assert masked(b"\xff") == "(no JSON: 1 bytes)"
    assert masked(b"[" * 5000) == "(no JSON: 5000 bytes)"
    assert len(masked(json.dumps({f"name{'x' * i}": i for i in range(60)}).encode())) <= 1000


def test_the_collector_is_told_what_is_blocked() -> None:
    word = blocker(plan(violations="block", unplanned_events="quarantine"))

    def told(content: dict[str, object]) -> str | None:
        found = judge(line(content))
        assert isinstance(found, Event)
        refused = word(found, line(content))
        return refused and refused.detail

    assert told(GOOD) is None
    assert told(BAD) == "Report Exported breaks product: enum:format, type:rows"
    assert told(event(1, event="Unheard Of")) is None  # quarantined, and nobody is told
    assert told(event(1, type="page", event=None)) is None
