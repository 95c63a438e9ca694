"""Both stand-ins over a day's change: what was followed step by step is what a first pull sees."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.base import Source
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.raw.payload import payload_hash
from cdp_assets.raw.tables import raw_table
from cdp_assets_tests.connectors.stand_in import sandbox

START = datetime(2015, 1, 1, tzinfo=UTC)
OBJECTS = {
    "salesforce": ["Account", "Contact", "Lead", "Opportunity", "Task", "Subscription__c"],
    "hubspot": ["contacts", "companies", "deals", "tickets"],
}


def latest(lake: Lake, source: str, name: str) -> list[tuple[Any, ...]]:
    """Each record's last word. Of a deletion not the payload: a list of deletions shows less. Nor
    associations: one that changes alone moves no cursor, and comes with its record's next change.
    """
    rows = lake.open(raw_table(source, name)).scan().sort("_seq", "extracted_at").collect()
    rows = rows.with_columns(payload_hash(rows["payload"], ("attributes", "url", "associations")))
    last = rows.group_by("record_id", maintain_order=True).last().sort("record_id")
    gone = pl.col("op") != "upsert"
    return last.select(
        "record_id", "op", "merged_into", pl.when(~gone).then(pl.col("payload_hash"))
    ).rows()


@pytest.mark.parametrize("people", [300])
def test_followed_step_by_step_is_what_a_first_pull_sees(tmp_path: Path, people: int) -> None:
    followed, fresh = Lake(tmp_path / "followed"), Lake(tmp_path / "fresh")
    with sandbox(tmp_path / "world", people) as stand_in:
        sources: list[Source] = [stand_in.salesforce(), stand_in.hubspot()]

        def pull(lake: Lake, now: datetime) -> dict[str, ingest.PullResult]:
            return {
                f"{source.name}.{name}": ingest.pull_live(lake, source, name, START, now, "run")
                for source in sources
                for name in OBJECTS[source.name]
            }

        first = pull(followed, datetime.now(UTC))
        for _ in range(3):
            stand_in.control("POST", "next-day")
            second = pull(followed, datetime.now(UTC))
        now = datetime.now(UTC)
        again = pull(followed, now)
        pull(fresh, now)
    assert all(r.new == 0 for r in again.values())
    assert sum(r.new for r in second.values()) < sum(r.new for r in first.values()) / 5
    seen = set()
    for source in sources:
        for name in OBJECTS[source.name]:
            one, other = latest(followed, source.name, name), latest(fresh, source.name, name)
            seen |= {(source.name, op) for _, op, _, _ in one}
            # What was gone before a first pull may show no more there, or as a merge alone.
            assert [r for r in one if r[1] == "upsert"] == [r for r in other if r[1] == "upsert"]
            assert {r for r in other if r[1] != "upsert"} <= set(one)
    assert {(s, op) for s in OBJECTS for op in ("upsert", "delete", "merge")} == seen
