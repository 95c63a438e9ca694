"""A sync's plan, from the tables to the kept plan: a lake with so many profiles, their records, the
graph and the state of a sync that has told all of them, of which 1 % then change.
"""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from pathlib import Path

import polars as pl

from cdp_assets.identity import GRAPH
from cdp_assets.lake import Lake
from cdp_assets.records.tables import entity_table
from cdp_assets.store import Store, letters
from cdp_assets.syncs import inputs, plan, sought_table, state_table
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import Inputs
from cdp_assets.syncs.state import remembered
from cdp_assets_tests.benchmarks.base import Clock, Verdict, alone
from cdp_assets_tests.syncs.world import DESCRIPTION, NOW, Crm, config

PEOPLE = 1_000_000
MARK = 3.0
SYNC = config(
    fields={"Revenue__c": "revenue", "Orders__c": "orders", "Title": "title"},
    stop_if={"changed": "20%"},
)


class Answering(Crm):
    """A destination that answers each reading at once."""

    def read(self, object_name, ids, fields):  # type: ignore[no-untyped-def]
        self.calls += 1
        return {i: {"Revenue__c": 1.0, "Orders__c": 1, "Title": "x"} for i in ids}


def build(lake: Lake, people: int) -> pl.DataFrame:
    rows = pl.DataFrame({"profile_id": pl.int_range(people, eager=True)}).with_columns(
        record="crm.Contact:003" + pl.col("profile_id").cast(pl.String).str.zfill(15),
        revenue=(pl.col("profile_id") % 9973).cast(pl.Decimal(38, 9)),
        orders=pl.col("profile_id") % 17,
        title="Title " + (pl.col("profile_id") % 50).cast(pl.String),
        email="email:p" + pl.col("profile_id").cast(pl.String) + "@example.com",
    )
    ids = pl.concat(
        [
            rows.select("profile_id", identifier="record", type=pl.lit("crm.Contact")),
            rows.select("profile_id", identifier="email", type=pl.lit("email")),
        ]
    )
    lake.open(GRAPH).merge(
        ids.select(pl.lit("person").alias("entity"), "identifier", "profile_id", "type")
    )
    table = entity_table("person")
    records = rows.select(
        pl.lit("crm").alias("source"),
        pl.lit("Contact").alias("object"),
        pl.col("record").str.slice(12).alias("record_id"),
        "record",
        created_at=pl.lit(NOW, dtype=pl.Datetime("us", "UTC")),
        deleted=pl.lit(value=False),
    )
    missing = [pl.lit(None, dtype=t).alias(n) for n, t in table.schema.items() if n not in records]
    lake.open(table).merge(records.with_columns(missing).select(list(table.schema)))
    lake.open(state_table("s")).merge(
        rows.select(
            "record",
            pl.lit("Contact").alias("object"),
            "profile_id",
            told_at=pl.lit(NOW, dtype=pl.Datetime("us", "UTC")),
            checked_at=pl.lit(None, dtype=pl.Datetime("us", "UTC")),
            last_Revenue__c=pl.col("revenue").cast(pl.Int64).cast(pl.String),
            last_Orders__c=pl.col("orders").cast(pl.String),
            last_Title="title",
        )
    )
    changed = pl.col("profile_id") % 100 == 0
    return rows.select(
        "profile_id",
        "title",
        "orders",
        revenue=pl.when(changed).then(pl.col("revenue") + 1).otherwise("revenue"),
    )


def plans(clock: Clock, people: int, rounds: int = 3) -> list[float]:
    """Seconds of each plan over `people` profiles."""
    with tempfile.TemporaryDirectory() as folder:
        lake, store = Lake(Path(folder) / "lake"), Store(f"sqlite:///{folder}/store.db")
        store.migrate()
        file = Path(folder) / "profiles.parquet"
        build(lake, people).write_parquet(file)

        def gather(
            lake: Lake, store: Store, name: str, config: SyncConfig, entity: str, now: object
        ) -> Inputs:
            return Inputs(
                profiles=pl.scan_parquet(file).select("profile_id", "revenue", "orders", "title"),
                links=inputs.links(lake, "crm", entity),
                redirects=inputs.followed(pl.DataFrame(schema={"old": pl.Int64, "new": pl.Int64})),
                state=remembered(lake, name, entity),
                sought=lake.open(sought_table(name)).scan().drop("_seq"),
                letters=letters.frame(store, name, entity=entity, states=("open", "released")),
            )

        took = []
        for turn in range(rounds):
            at = NOW + timedelta(hours=turn)
            begun = time.perf_counter()
            with clock:
                made = plan(
                    lake,
                    store,
                    "s",
                    SYNC,
                    Answering(),
                    DESCRIPTION,
                    at,
                    entity="person",
                    gather=gather,
                )
            took.append(time.perf_counter() - begun)
            assert made.rows_planned == people // 100
        return took


def run(size: float = 1.0) -> list[Verdict]:
    """One million profiles, or that part of it."""
    people = int(PEOPLE * size)
    done = alone(plans, people)
    took = sorted(done.value)
    return [
        Verdict(
            f"plan over {people:,} profiles, 1 % changed",
            f"{MARK:g} s",
            f"{took[len(took) // 2]:.2f} s (of {len(took)} plans, {took[0]:.2f} to "
            f"{took[-1]:.2f}; {done.processor / len(took):.2f} s of processor each), peak "
            f"{done.peak_mb / 1024:.1f} GB with filling the lake",
            took[len(took) // 2] <= MARK,
        )
    ]
