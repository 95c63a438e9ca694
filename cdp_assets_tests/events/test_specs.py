"""Payloads that others published: all accounted for (`CDP_SPECS` names their folder)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cdp_assets.lake import Lake
from cdp_assets.raw.tables import QUARANTINE
from cdp_assets_tests.events.world import run, source, table, write

SPECS = Path(os.environ.get("CDP_SPECS", "/nonexistent")) / "segment"
pytestmark = pytest.mark.skipif(not SPECS.is_dir(), reason="CDP_SPECS names no folder of specs")


def reasons(lake: Lake) -> dict[str, int]:
    kept = lake.open(QUARANTINE).scan().collect()
    return dict(kept["reason"].value_counts().rows())


def test_every_odd_event_of_rudderstack_is_stored_or_refused_with_a_reason(
    lake: Lake, tmp_path: Path
) -> None:
    wrapped = (SPECS / "rudder_events.ndjson").read_text().splitlines()
    events = [json.loads(text)["message"] for text in wrapped]
    write(tmp_path / "in", "a.jsonl", [json.dumps(e).encode() for e in events])
    result = run(lake, source(tmp_path / "in"))
    assert result.read == len(events) == 405
    nobody = sum(not e.get("userId") and not e.get("anonymousId") for e in events)
    named = [e for e in events if e.get("userId") or e.get("anonymousId")]
    nameless = [
        e for e in named
        if e["type"] == "track" and not (isinstance(e.get("event"), str | int) and e["event"])
    ]  # fmt: skip
    found = reasons(lake)
    grouped = sum(
        e["type"] == "group" and bool(e.get("groupId")) and e not in named for e in events
    )
    assert found == {"no_id": nobody - grouped, "no_event_name": len(nameless)}
    stored = table(lake, "events")
    assert stored["timestamp"].null_count() == 0
    assert "432" in set(stored["user_id"].drop_nulls())  # sent as a number
    kept = [e for e in named if e not in nameless]
    keys = {
        (e.get("messageId") or id(e), e.get("anonymousId") or str(e.get("userId")),
         e.get("originalTimestamp") or e.get("timestamp"))
        for e in kept
    }  # fmt: skip
    assert result.stored == len(keys) + grouped
    assert result.duplicates == len(kept) - len(keys)


def test_what_segment_documents_as_an_event_is_one(lake: Lake, tmp_path: Path) -> None:
    examples = json.loads((SPECS / "segment_docs_examples.json").read_text())
    payloads = [example["payload"] for example in examples]
    write(tmp_path / "in", "a.jsonl", [json.dumps(p).encode() for p in payloads])
    result = run(lake, source(tmp_path / "in"))
    assert result.read == len(payloads)
    typed = [p for p in payloads if isinstance(p, dict) and p.get("type")]
    assert result.stored + result.duplicates >= len(typed) - reasons(lake).get("no_id", 0)


def test_jitsu_events_are_read(lake: Lake, tmp_path: Path) -> None:
    page = json.loads((SPECS / "jitsu_page.json").read_text())
    write(tmp_path / "in", "a.jsonl", [json.dumps(page).encode()])
    run(lake, source(tmp_path / "in"))
    row = table(lake, "events").row(0, named=True)
    assert (row["page_title"], row["campaign_name"]) == ("Example page event", "example")
    assert row["ip"] == page["context"]["ip"]
