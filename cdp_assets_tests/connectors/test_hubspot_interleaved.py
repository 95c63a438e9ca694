"""However changes, pulls, backfills and faults follow each other, raw ends as HubSpot stands."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp_assets.connectors.base import ConnectorError, RowChange
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.raw.tables import raw_table
from cdp_assets_tests.connectors.stand_in import StandIn, quick, sandbox
from cdp_assets_tests.connectors.test_hubspot_pull import create

BEGIN = datetime(2027, 1, 1, tzinfo=UTC)
_runs = itertools.count()
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["create", "update", "archive", "merge", "pull", "backfill", "broken pull", "twice"]
        ),
        st.integers(0, 5),
        st.sampled_from([1, 40, 400, 3_000]),
    ),
    min_size=4,
    max_size=14,
)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A sandbox of its own: what happens here lies in the future of the others."""
    with sandbox(tmp_path_factory.mktemp("sandbox"), people=30) as stand_in:
        yield stand_in


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, lag=st.sampled_from([0, 20, 100]), page=st.sampled_from([7, 10_000]))
def test_raw_ends_as_hubspot_stands(
    apart: StandIn, steps: list[tuple[str, int, int]], lag: int, page: int
) -> None:
    stand_in = apart
    stand_in.quiet()
    stand_in.control("POST", "limits", {"hubspot_search_lag_seconds": lag})
    number = next(_runs)
    first = BEGIN + timedelta(days=3 * number)  # each example in days of its own
    now, ids = first, list[str]()
    source = stand_in.hubspot(quick(attempts=1), search_limit=page)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))

        def pull(start: datetime | None = None, end: datetime | None = None) -> None:
            if start is None or end is None:
                ingest.pull_live(lake, source, "contacts", first, now, "run")
            else:
                ingest.pull_range(lake, source, "contacts", first, start, end, now, "run")

        for place, (step, which, seconds) in enumerate(steps):
            now += timedelta(seconds=seconds)
            stand_in.control("POST", "clock", {"now": now.isoformat()})
            chosen = ids[which % len(ids)] if ids else None
            if step == "create" or chosen is None:
                ids += create(source, 3, f"mix{number}-{place}-")
            elif step == "update":
                change = {"city": f"City {place}"}
                source.write("contacts", [RowChange(1, "update", change, record_id=chosen)])
            elif step == "archive":
                ids.remove(chosen)
                source.write("contacts", [RowChange(1, "delete", {}, record_id=chosen)])
            elif step == "merge" and len(ids) > 1:
                ids.remove(chosen)
                body = {"primaryObjectId": ids[0], "objectIdToMerge": chosen}
                source._client.post("/crm/v3/objects/contacts/merge", body, what="merge")
            elif step == "broken pull":
                stand_in.faults({"match": "/crm/", "status": 500, "after": which, "times": 1})
                with suppress(ConnectorError):
                    pull()
                stand_in.control("DELETE", "faults")
            elif step == "backfill":
                pull(first, now - timedelta(seconds=1))
            else:
                pull()
                if step == "twice":
                    pull()
        now += timedelta(minutes=10)
        stand_in.control("POST", "clock", {"now": now.isoformat()})
        pull()
        rows = lake.open(raw_table("hubspot", "contacts")).scan().collect()
        keyed = rows.group_by("record_id", "cursor_at", "op", "payload_hash").len()
        assert keyed["len"].max() == 1 or not keyed.height, "no row is kept twice"
        last = (
            rows.with_columns(at=pl.coalesce("cursor_at", "extracted_at"))
            .sort("at", "extracted_at", pl.col("op") != "upsert")
            .group_by("record_id")
            .last()
        )
        said = {
            row["record_id"]: (row["op"], json.loads(row["payload"])["properties"].get("city"))
            for row in last.filter(op="upsert").iter_rows(named=True)
        }
        shown = source.read("contacts", ids, ["city"])
        assert said == {key: ("upsert", row["city"]) for key, row in shown.items()}
        assert set(said) == set(ids)
