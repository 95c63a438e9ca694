"""A sync of many changed rows to HubSpot: how few calls, and how much work of our own a row; beside
a bare loop that sends the same calls, and beside drt-core to the same server.

The server answers at once (or after a delay), in a process of its own, and counts what it gets.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from cdp_assets_tests.benchmarks.base import Clock, Run, Verdict, alone, serve_http

ROWS = 100_000
SLOW_ROWS = 10_000
DRT_ROWS = 2_000
BATCH = 100
WORK = 50.0
DELAY = 0.2
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROPERTIES = ("email", "orders", "revenue_90d", "jobtitle")


def serve(port: Any, delay: float) -> None:
    """HubSpot's batch read and update, and one contact's upsert, without a database behind them."""
    counts: dict[str, int] = {}
    fields = [
        {"name": n, "type": "number" if n in ("orders", "revenue_90d") else "string", "label": n,
         "fieldType": "text", "groupName": "g", "description": ""}
        for n in PROPERTIES
    ]  # fmt: skip

    def answer(method: str, path: str, body: bytes) -> Any:
        name = path.split("?")[0]
        if name == "/_count":
            return counts
        counts[f"{method} {name}"] = counts.get(f"{method} {name}", 0) + 1
        if name.endswith("/contacts") and "properties" in name:
            return {"results": fields}
        if name.endswith(("/batch/read", "/batch/update")):
            inputs = json.loads(body)["inputs"]
            results = [
                {"id": item["id"], "properties": item.get("properties", {}), "archived": False,
                 "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z"}
                for item in inputs
            ]  # fmt: skip
            return {"status": "COMPLETE", "results": results}
        return {"id": "1", "properties": {}, "results": []}

    serve_http(port, lambda *asked: json.dumps(answer(*asked)).encode(), delay)


def pushed(clock: Clock, url: str, rows: int) -> int:
    """Plan and apply a sync in which every record has changed since it was told."""
    from cdp_assets.connectors.hubspot import HubSpot, HubSpotConfig
    from cdp_assets.lake import Lake
    from cdp_assets.store import Store, letters
    from cdp_assets.syncs import SyncConfig, apply, sought_table, state_table
    from cdp_assets.syncs.model import Inputs
    from cdp_assets.syncs.state import remembered

    config = HubSpotConfig(url=url, token="t", objects=["contacts"], requests_per_10s=10**6)  # type: ignore[arg-type]
    client = HubSpot("hubspot", config)
    sync = SyncConfig.model_validate(
        {
            "from": "person",
            "to": "hubspot.contacts",
            "match": ["linked"],
            "fields": {"orders": "orders", "revenue_90d": "revenue", "jobtitle": "title"},
            "approve": "never",
        }
    )
    ids = pl.DataFrame({"profile_id": pl.int_range(1, rows + 1, eager=True)})
    record = "hubspot.contacts:" + (pl.col("profile_id") + 10**6).cast(pl.String)
    profiles = ids.with_columns(
        orders=pl.col("profile_id") % 17,
        revenue=(pl.col("profile_id") % 9973).cast(pl.Decimal(38, 9)),
        title="Title " + (pl.col("profile_id") % 50).cast(pl.String),
    )
    links = ids.select(
        "profile_id", record=record, object=pl.lit("contacts"), live=True, dead=False, age=0
    ).cast({"age": pl.Int64})
    with tempfile.TemporaryDirectory() as folder:
        lake, store = Lake(Path(folder) / "lake"), Store(f"sqlite:///{folder}/store.db")
        store.migrate()
        told = ids.select(
            record=record, object=pl.lit("contacts"), entity=pl.lit("person"),
            profile_id="profile_id", told_at=pl.lit(NOW).cast(pl.Datetime("us", "UTC")),
            checked_at=pl.lit(None, dtype=pl.Datetime("us", "UTC")),
            **{f"last_{f}": pl.lit("old") for f in ("orders", "revenue_90d", "jobtitle")},
        )  # fmt: skip
        lake.open(state_table("s")).merge(told)

        def gather(lake: Any, store: Any, name: str, *_: Any) -> Inputs:
            return Inputs(
                profiles=profiles.lazy(),
                links=links.lazy(),
                redirects=pl.LazyFrame(schema={"old": pl.Int64, "new": pl.Int64}),
                state=remembered(lake, name, "person"),
                sought=lake.open(sought_table(name)).scan().drop("_seq"),
                letters=letters.frame(store, name, entity="person"),
                pulled=frozenset(["contacts"]),
            )

        description = client.describe(["contacts"])
        with clock:
            done = apply(
                lake, store, "s", sync, client, description, NOW, "run", url=url, entity="person",
                gather=gather,
            )  # fmt: skip
        store.close()
    assert (done.written, done.message) == (rows, ""), done
    return done.written


def bare(clock: Clock, url: str, rows: int) -> int:
    """The same readings and writes by requests and the standard library's JSON, nothing kept."""
    import requests

    session = requests.Session()
    with clock:
        for action in ("read", "update"):
            for at in range(0, rows, BATCH):
                inputs = [
                    {"id": str(10**6 + n), "properties": {"orders": str(n % 17)}}
                    for n in range(at, min(at + BATCH, rows))
                ]
                body = json.dumps({"inputs": inputs, "properties": list(PROPERTIES)})
                reply = session.post(
                    f"{url}/crm/v3/objects/contacts/batch/{action}", data=body, timeout=60
                )
                assert len(reply.json()["results"]) == len(inputs)
    return rows


def drt_pushed(clock: Clock, url: str, rows: int) -> int:
    """drt-core's HubSpot destination, by the interpreter that CDP_BENCH_DRT names."""
    command = [os.environ["CDP_BENCH_DRT"], str(Path(__file__).parent / "drt_push.py"), url]
    with clock:
        subprocess.run([*command, str(rows)], check=True, capture_output=True)
    return rows


def measure(call: Any, rows: int, delay: float = 0.0) -> tuple[Run, dict[str, int]]:
    """One way against a server of its own: its run, and the server's calls by method and path."""
    import requests

    context = multiprocessing.get_context("spawn")
    ours_end, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, delay), daemon=True)
    server.start()
    theirs.close()
    try:
        url = f"http://127.0.0.1:{ours_end.recv()}"
        done = alone(call, url, rows)
        return done, requests.get(f"{url}/_count", timeout=60).json()
    finally:
        server.terminate()


def _writes(counts: dict[str, int]) -> int:
    return sum(n for path, n in counts.items() if path.endswith("/batch/update"))


def run(size: float = 1.0) -> list[Verdict]:
    """100,000 changed rows; a slow server; drt beside."""
    rows, slow_rows = int(ROWS * size), int(SLOW_ROWS * size)
    done, counts = measure(pushed, rows)
    least = -(-rows // BATCH)
    plain, _ = measure(bare, rows)
    own = (done.processor - plain.processor) / rows * 1e6
    slow, slow_counts = measure(pushed, slow_rows, DELAY)
    calls = sum(slow_counts.values())
    verdicts = [
        Verdict(
            f"push of {rows:,} changed rows, calls that write",
            f"within 1 % of {least:,}",
            f"{_writes(counts):,}, and {sum(counts.values()) - _writes(counts):,} that read first",
            _writes(counts) <= least * 1.01,
        ),
        Verdict(
            "our own work a row, beyond the bare calls",
            f"under {WORK:.0f} µs",
            f"{own:.0f} µs (ours {done.said()}, bare {plain.said()}; peak {done.peak_mb:,.0f} MB)",
            own < WORK,
        ),
        Verdict(
            f"a server of {DELAY * 1000:.0f} ms a call, {slow_rows:,} rows",
            "one call after the other, within 10 %",
            f"{calls * DELAY / slow.seconds:.2f} of {1 / DELAY:.0f} calls a second",
            calls * DELAY >= slow.seconds * 0.9,
        ),
    ]
    few = int(DRT_ROWS * size)
    if "CDP_BENCH_DRT" in os.environ:
        theirs, their_counts = measure(drt_pushed, few)
        mine, my_counts = measure(pushed, few)
        said = (
            f"{sum(their_counts.values()):,} calls in {theirs.seconds:,.1f} s; "
            f"ours {sum(my_counts.values()):,} in {mine.seconds:,.1f} s"
        )
    else:
        said = "not measured (set CDP_BENCH_DRT)"
    return [*verdicts, Verdict(f"{few:,} rows by drt-core, at its own pace", "", said)]
