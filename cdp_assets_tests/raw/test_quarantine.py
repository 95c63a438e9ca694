"""What could not be accepted stays until it is read again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cdp_assets.lake import Lake
from cdp_assets.raw import quarantine
from cdp_assets.raw.quarantine import Refusal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_added_once_counted_closed_and_not_opened_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    refusals = [Refusal(n, "not_json", "no JSON (byte 3)", b"\xff{") for n in (1, 2, 2)]
    rows = quarantine.frame("events", "sha", refusals, NOW)
    assert quarantine.add(lake, rows) == 2
    assert quarantine.add(lake, rows) == 0
    assert quarantine.add(lake, quarantine.frame("records", "sha", refusals[:1], NOW)) == 1
    assert quarantine.open_counts(lake).rows() == [
        ("events", "not_json", 2),
        ("records", "not_json", 1),
    ]
    waiting = quarantine.open_rows(lake, step="events", origin="sha")
    assert waiting["payload"].to_list() == [b"\xff{", b"\xff{"]
    assert quarantine.mark_replayed(lake, waiting.head(1)) == 1
    assert quarantine.mark_replayed(lake, waiting.head(1)) == 0
    assert quarantine.add(lake, rows) == 0
    assert quarantine.open_counts(lake)["rows"].sum() == 2


def test_of_a_huge_row_the_beginning_is_kept(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    rows = quarantine.frame(
        "events", "sha", [Refusal(1, "too_long", "too long", b"x" * 3_000_000)], NOW
    )
    quarantine.add(lake, rows)
    kept = quarantine.open_rows(lake)
    assert len(kept["payload"][0]) == 1_000_000
    assert "3000000 bytes" in kept["detail"][0]
