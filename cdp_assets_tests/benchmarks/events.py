"""Event files to table `events` and a typed table: events a second."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from cdp_assets_tests.benchmarks.base import Clock, Run, Verdict, alone

MARK = 200_000
EVENTS = 1_000_000
DAYS = 3
NAMES = ("Order Completed", "Report Exported", "Signed Out", "Product Viewed")
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0"
START = datetime(2026, 1, 1, tzinfo=UTC)


def sample(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Events in order of time: tracks (a quarter of them orders), pages, identifies."""
    dice = random.Random(seed)
    step = timedelta(days=DAYS) / count
    for n in range(count):
        at = START + n * step
        person = dice.randrange(max(count // 20, 1))
        kind = dice.choices(("track", "page", "identify"), (60, 35, 5))[0]
        path = f"/pages/{dice.randrange(300)}"
        event: dict[str, Any] = {
            "type": kind,
            "messageId": f"{dice.getrandbits(128):032x}",
            "anonymousId": f"device-{person * 2_654_435_761 % 2**32:08x}-{person}",
            "originalTimestamp": _text(at),
            "sentAt": _text(at + timedelta(seconds=1)),
            "receivedAt": _text(at + timedelta(seconds=2)),
            "context": {
                "ip": f"10.{person % 256}.{person // 256 % 256}.7",
                "userAgent": AGENT,
                "page": {"url": f"https://app.example.com{path}", "path": path},
            },
        }
        if person % 3:
            event["userId"] = f"u{person}"
        if kind == "track":
            event["event"] = NAMES[dice.randrange(len(NAMES))]
            event["properties"] = {
                "revenue": round(dice.random() * 300, 2), "currency": "EUR", "sku": f"s{n % 977}",
            }  # fmt: skip
        elif kind == "identify":
            event["traits"] = {"email": f"p{person}@example.org", "plan": "pro"}
        yield event


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


def write(folder: Path, count: int, files: int = 4) -> int:
    """The sample as files of lines; their bytes in all."""
    folder.mkdir()
    encode = msgspec.json.encode
    made = sample(count)
    for n in range(files):
        with open(folder / f"{n}.jsonl", "wb") as out:
            share = count // files + (n < count % files)
            for _ in range(share):
                out.write(encode(next(made)) + b"\n")
    return sum(path.stat().st_size for path in folder.iterdir())


def ours(clock: Clock, folder: str, count: int) -> int:
    """The product's own ingest into an empty lake: bytes on disk."""
    import polars as pl

    # Imports and the kernel's loading are a process's cost, not an event's.
    from cdp_assets.events import EventFilesConfig, EventFilesSpec, ingest
    from cdp_assets.events.tables import DECIMAL
    from cdp_assets.lake import Lake

    properties = {"Order Completed": {"revenue": DECIMAL, "currency": pl.String()}}
    source = EventFilesSpec("app", EventFilesConfig(path=f"{folder}/files/*.jsonl"))
    warm = EventFilesSpec("app", EventFilesConfig(path=f"{folder}/few/*.jsonl"))

    def read(spec: EventFilesSpec, lake: str) -> int:
        return ingest(
            Lake(Path(folder) / lake), [spec], properties, {"events.traits.email"},
            START + timedelta(days=9), settle=timedelta(0),
        ).stored  # fmt: skip

    read(warm, "warm")
    with clock:
        stored = read(source, "lake")
    assert stored == count, (stored, count)
    return sum(p.stat().st_size for p in (Path(folder) / "lake").rglob("*.parquet"))


def measure(count: int = EVENTS) -> tuple[Run, int]:
    """The run, and the bytes it read."""
    with tempfile.TemporaryDirectory() as folder:
        size = write(Path(folder) / "files", count)
        write(Path(folder) / "few", 100, files=1)
        return alone(ours, folder, count), size


def run(size: float = 1.0) -> list[Verdict]:
    """One million events, or that part of it."""
    count = int(EVENTS * size)
    done, size = measure(count)
    rate = count / done.seconds
    return [
        Verdict(
            "event files to typed Delta",
            f"{MARK:,} events/s",
            f"{rate:,.0f} events/s; {count:,} events of {size // count} bytes in "
            f"{done.said()}, "
            f"{done.value / 2**20:.0f} MB in the lake, peak {done.peak_mb:,.0f} MB",
            rate >= MARK,
        )
    ]
