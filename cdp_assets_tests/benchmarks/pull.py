"""A CRM pull beside the least that any program must do: get, decode, write.

Each way runs in a process of its own against a server of pre-rendered pages in its own process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cdp_assets_tests.benchmarks.base import Clock, Run, Verdict, alone, serve_http

PAGE = 2_000
START = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = [
    *[(f"Text_{i}__c", "string") for i in range(12)],
    *[(f"Number_{i}__c", "double") for i in range(6)],
    *[(f"Flag_{i}__c", "boolean") for i in range(4)],
    *[(f"When_{i}__c", "datetime") for i in range(3)],
]


def render(page: int, records: int) -> bytes:
    """One page of the query's answer; records of about 1 KB."""
    rows = []
    for k in range(page * PAGE, min((page + 1) * PAGE, records)):
        rows.append(
            {
                "attributes": {
                    "type": "Contact",
                    "url": f"/services/data/v62.0/sobjects/Contact/{k}",
                },
                "Id": f"003{k:012d}AAA",
                "SystemModstamp": f"{(START + timedelta(seconds=k)):%Y-%m-%dT%H:%M:%S}.000+0000",
                "IsDeleted": False,
                "MasterRecordId": None,
                **{f"Text_{i}__c": f"some text of record {k} in {i}" for i in range(12)},
                **{f"Number_{i}__c": k * 1.5 + i for i in range(6)},
                **{f"Flag_{i}__c": (k + i) % 2 == 0 for i in range(4)},
                **{
                    f"When_{i}__c": "2026-03-04T05:06:07.000+0000" if k % 3 else None
                    for i in range(3)
                },
            }
        )
    last = (page + 1) * PAGE >= records
    body: dict[str, Any] = {"totalSize": records, "done": last, "records": rows}
    if not last:
        body["nextRecordsUrl"] = f"/services/data/v62.0/query/{page + 1}"
    return json.dumps(body, separators=(",", ":")).encode()


def describe() -> bytes:
    fields = [
        {"name": "Id", "type": "id"},
        {"name": "SystemModstamp", "type": "datetime"},
        {"name": "IsDeleted", "type": "boolean"},
        {"name": "MasterRecordId", "type": "reference"},
        *[{"name": name, "type": kind} for name, kind in FIELDS],
    ]
    return json.dumps({"name": "Contact", "queryable": True, "fields": fields}).encode()


def serve(records: int, port: Any) -> None:
    """The least server there can be: bytes made before, sent as they are."""
    pages = [render(p, records) for p in range(-(-records // PAGE))]
    fixed = {
        "/services/oauth2/token": b'{"access_token":"t"}',
        "/services/data/v62.0/sobjects/Contact/describe": describe(),
    }

    def answer(_method: str, path: str, _body: bytes) -> bytes:
        path = path.split("?")[0]
        body = fixed.get(path)
        if body is None:
            tail = path.rsplit("/", 1)[1]
            body = pages[int(tail)] if tail.isdigit() else pages[0]
        return body

    serve_http(port, answer)


def ours(url: str, folder: Path) -> int:
    """The product's own pull."""
    from cdp_assets.connectors.salesforce import Salesforce, SalesforceConfig
    from cdp_assets.lake import Lake
    from cdp_assets.raw import ingest

    config = SalesforceConfig(
        url=url, client_id="id", client_secret="secret", objects=["Contact"], bulk_above=0
    )
    source = Salesforce("salesforce", config)
    end = START + timedelta(days=365)
    return ingest.pull_live(Lake(folder), source, "Contact", START, end, "run").new


def _bare(url: str, folder: Path, frame: Callable[[list[Any]], Any]) -> int:
    import orjson
    import polars as pl
    import requests
    from deltalake import write_deltalake

    session = requests.Session()
    path: str | None = "/services/data/v62.0/queryAll"
    kept: list[Any] = []
    total = 0

    def flush() -> None:
        nonlocal kept, total
        write_deltalake(folder / "t", pl.concat(kept).to_arrow(), mode="append")
        total += sum(f.height for f in kept)
        kept = []

    while path:
        body = orjson.loads(session.get(url + path, timeout=60).content)
        kept.append(frame(body["records"]))
        if len(kept) == 10:
            flush()
        path = body.get("nextRecordsUrl")
    if kept:
        flush()
    return total


def bare_columns(url: str, folder: Path) -> int:
    """requests, orjson, a column a field, chunked writes."""
    import polars as pl

    schema: dict[str, Any] = {"Id": pl.String, "SystemModstamp": pl.String, "IsDeleted": pl.Boolean}
    types = {
        "string": pl.String,
        "double": pl.Float64,
        "boolean": pl.Boolean,
        "datetime": pl.String,
    }
    schema |= {name: types[kind] for name, kind in FIELDS}
    return _bare(url, folder, lambda rows: pl.DataFrame(rows, schema=schema))


def bare_payload(url: str, folder: Path) -> int:
    """requests, orjson, id, stamp and the record as text, chunked writes."""
    import orjson
    import polars as pl

    return _bare(
        url,
        folder,
        lambda rows: pl.DataFrame(
            {
                "Id": [r["Id"] for r in rows],
                "at": [r["SystemModstamp"] for r in rows],
                "payload": [orjson.dumps(r).decode() for r in rows],
            }
        ),
    )


def dlt_rest_api(url: str, folder: Path) -> int:
    """dlt's rest_api source to Parquet files, by the interpreter that CDP_BENCH_DLT names."""
    command = [os.environ["CDP_BENCH_DLT"], str(Path(__file__).parent / "dlt_pull.py"), url]
    done = subprocess.run([*command, str(folder)], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


WAYS = {"ours": ours, "bare_payload": bare_payload, "bare_columns": bare_columns}


def pulled(clock: Clock, name: str, url: str, records: int) -> None:
    """One way, timed."""
    # Imports and the kernel's loading are a process's cost, not a record's.
    import deltalake  # noqa: F401
    import orjson  # noqa: F401
    import polars as pl

    if name == "ours":
        from cdp_assets.connectors import salesforce  # noqa: F401
        from cdp_assets.raw import ingest  # noqa: F401
        from cdp_assets.raw.payload import payload_hash

        payload_hash(pl.Series(["{}"]))
    with tempfile.TemporaryDirectory() as folder, clock:
        rows = (WAYS | {"dlt": dlt_rest_api})[name](url, Path(folder) / "lake")
    assert rows == records, (rows, records)


def measure(records: int, ways: Sequence[str]) -> dict[str, Run]:
    """Way → its run."""
    context = multiprocessing.get_context("spawn")
    ours_end, theirs = context.Pipe()
    server = context.Process(target=serve, args=(records, theirs), daemon=True)
    server.start()
    theirs.close()  # else a server that dies would be waited for
    try:
        url = f"http://127.0.0.1:{ours_end.recv()}"
        return {name: alone(pulled, name, url, records) for name in ways}
    finally:
        server.terminate()


def run(size: float = 1.0) -> list[Verdict]:
    """200,000 records beside the bare ways; memory at 100,000 and at a million."""
    records = int(200_000 * size)
    ways = [*WAYS, *(["dlt"] if "CDP_BENCH_DLT" in os.environ else [])]
    found = measure(records, ways)
    rate = {name: records / done.seconds for name, done in found.items()}
    bare = max(value for name, value in rate.items() if name.startswith("bare"))
    beside = ", ".join(
        f"{name} {rate[name]:,.0f}/s ({found[name].processor:.2f} s of processor, peak "
        f"{found[name].peak_mb:,.0f} MB)"
        for name in WAYS
    )
    dlt = f"{rate['dlt']:,.0f} records/s" if "dlt" in rate else "not measured (set CDP_BENCH_DLT)"
    few, many = int(100_000 * size), int(1_000_000 * size)
    small = measure(few, ["ours"])["ours"].peak_mb
    large = measure(many, ["ours"])["ours"].peak_mb
    return [
        Verdict(
            f"CRM pull of {records:,} records of 1.1 KB",
            "2/3 of the faster bare way",
            f"{rate['ours'] / bare:.2f} of it: {beside}",
            rate["ours"] >= bare * 2 / 3,
        ),
        Verdict("the same by dlt's rest_api source to Parquet", "", dlt),
        Verdict(
            f"memory of a pull of {few:,} and of {many:,} records",
            "flat, and below 400 MB",
            f"{small:,.0f} MB and {large:,.0f} MB",
            large <= small * 1.25 and large < 400,
        ),
    ]
