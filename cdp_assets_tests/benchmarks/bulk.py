"""Bulk API 2.0 results to rows beside polars' own reading of the same bytes.

Each way runs in a process of its own over pages that were rendered before.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

from cdp_assets_tests.benchmarks.base import Clock, Run, Verdict, alone
from cdp_assets_tests.benchmarks.pull import FIELDS

PAGE = 25_000
START = datetime(2026, 1, 1, tzinfo=UTC)
LEAD = [("Id", "id"), ("SystemModstamp", "datetime"), ("IsDeleted", "boolean"),
        ("MasterRecordId", "reference")]  # fmt: skip


def page(rows: int) -> bytes:
    """One page of results as the org writes it; records of about 800 bytes."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow([name for name, _ in (*LEAD, *FIELDS)])
    for k in range(rows):
        stamp = f"{(START + timedelta(seconds=k)):%Y-%m-%dT%H:%M:%S}.000Z"
        texts = [f"some text of record {k} in {i}" for i in range(11)]
        long = 'two\nlines, "quoted"' if k % 50 == 0 else f"some text of record {k}"
        writer.writerow(
            [f"003{k:012d}AAA", stamp, "false", "", *texts, long,
             *[str(k * 1.5 + i) for i in range(6)],
             *["true" if (k + i) % 2 == 0 else "false" for i in range(4)],
             *["2026-03-04T05:06:07.000Z" if k % 3 else "" for _ in range(3)]]
        )  # fmt: skip
    return out.getvalue().encode()


def read(clock: Clock, way: str, pages: int, rows: int) -> int:
    """Read a page so many times; returns its bytes."""
    import polars as pl

    from cdp_assets.connectors.salesforce.bulk_rows import BulkRows
    from cdp_assets.connectors.salesforce.describe import SalesforceField

    body = page(rows)
    fields = [SalesforceField(name=name, type=kind) for name, kind in (*LEAD, *FIELDS)]
    reader = BulkRows("bench", fields, "SystemModstamp")
    ways = {
        "ours": reader.read,
        "polars": lambda data: pl.read_csv(data),
        "polars as texts": lambda data: pl.read_csv(data, infer_schema=False),
    }
    call = ways[way]
    # The kernel's loading is a process's cost, not a record's.
    assert call(page(100)).height == 100
    with clock:
        for _ in range(pages):
            assert call(body).height == rows
    return len(body)


def run(size: float = 1.0) -> list[Verdict]:
    """200,000 records; memory at 100,000 and at a million."""
    pages = max(int(8 * size), 1)
    found: dict[str, Run] = {
        way: alone(read, way, pages, PAGE) for way in ("ours", "polars", "polars as texts")
    }
    total = found["ours"].value * pages / 1e6
    rate = {way: total / done.seconds for way, done in found.items()}
    beside = ", ".join(
        f"{way} {rate[way]:,.0f} MB/s ({done.processor:.2f} s of processor)"
        for way, done in found.items()
    )
    best = max(rate["polars"], rate["polars as texts"])
    small, large = (alone(read, "ours", max(int(n * size), 1), PAGE).peak_mb for n in (4, 40))
    return [
        Verdict(
            f"Bulk results to rows, {pages * PAGE:,} records in {total:,.0f} MB of CSV",
            "half of polars' read_csv of the same bytes",
            f"{rate['ours'] / best:.2f} of it: {beside}",
            rate["ours"] >= best / 2,
        ),
        Verdict(
            f"memory of reading {int(4 * size) * PAGE:,} and {int(40 * size) * PAGE:,} records",
            "flat",
            f"{small:,.0f} MB and {large:,.0f} MB",
            large <= small * 1.25,
        ),
    ]
