"""The event files speak Segment's own words: no key that its documents do not know."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from cdp_assets_tests.sandbox.running import Running


def events(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.iterdir())[-12:]:
        raw = path.read_bytes()
        for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and not {"note", "score"} & event.keys():
                found.append(event)
    return found


def test_events_have_published_keys(sandbox: Running, specs: Path) -> None:
    published = json.loads((specs / "segment" / "segment_docs_examples.json").read_bytes())
    payloads = [one["payload"] for one in published if isinstance(one["payload"], dict)]
    lines = (specs / "segment" / "rudder_events.ndjson").read_bytes().splitlines()
    payloads += [json.loads(line)["message"] for line in lines]
    common = {key for one in payloads for key in one}
    inside = {
        key for one in payloads if isinstance(one.get("context"), dict) for key in one["context"]
    }
    ours = events(Path(sandbox.system("events")["path"]))
    assert {event["type"] for event in ours} == {"identify", "track", "page", "screen", "group"}
    for event in ours:
        assert event.keys() <= common
        assert event["context"].keys() <= inside
        assert {
            "messageId",
            "originalTimestamp",
            "sentAt",
            "receivedAt",
            "timestamp",
        } <= event.keys()
