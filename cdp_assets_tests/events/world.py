"""Event files for tests, and what the lake says after reading them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from cdp_assets.events import EventFilesConfig, EventFilesSpec, IngestResult, ingest
from cdp_assets.events.config import FilesConfig
from cdp_assets.lake import Lake

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_WAIT = timedelta(0)
DECIMAL = pl.Decimal(28, 9)
PROPERTIES: Mapping[str, Mapping[str, pl.DataType]] = {
    "Order Completed": {"revenue": DECIMAL, "currency": pl.String()},
    "Signed Out": {},
}
VALUES = ("events.traits.email", "events.traits.plan")


def event(number: int, **fields: Any) -> dict[str, Any]:
    """A track call of its own: id, device and minute by `number`; `fields` overwrite, None
    leaves out."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    made: dict[str, Any] = {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m{number}",
        "anonymousId": f"d{number % 3}",
        "originalTimestamp": at.isoformat().replace("+00:00", "Z"),
        "sentAt": (at + timedelta(seconds=2)).isoformat(),
        "receivedAt": (at + timedelta(seconds=3)).isoformat(),
        "properties": {"revenue": number + 0.5, "currency": "EUR"},
    }
    made.update(fields)
    return {name: value for name, value in made.items() if value is not None}


def line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode()


def write(folder: Path, name: str, lines: Iterable[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"".join(text + b"\n" for text in lines))
    return path


def source(folder: Path, name: str = "app") -> EventFilesSpec:
    return EventFilesSpec(name, EventFilesConfig(path=f"{folder}/*.jsonl*"))


def rows_source(path: Path, name: str = "shop", **config: Any) -> EventFilesSpec:
    fields = {"userId": "customer", "timestamp": "date", "revenue": "amount"}
    made = FilesConfig(path=str(path), event="Order Completed", **{"fields": fields, **config})
    return EventFilesSpec(name, made)


def run(
    lake: Lake,
    *sources: EventFilesSpec,
    properties: Mapping[str, Mapping[str, pl.DataType]] = PROPERTIES,
    values: Iterable[str] = VALUES,
    now: datetime = NOW,
    days: tuple[date, date] | None = None,
    chunk_rows: int = 250_000,
) -> IngestResult:
    result = ingest(
        lake, sources, properties, values, now, days=days, settle=NO_WAIT, chunk_rows=chunk_rows
    )
    assert result.read == (
        result.stored + result.duplicates + result.quarantined + result.suppressed
    )
    return result


def table(lake: Lake, key: str) -> pl.DataFrame:
    """A table as an outside reader sees it, live rows only, without what counts commits."""
    frame = pl.read_delta(str(lake.path(key)))
    if "deleted_at" in frame.columns:
        frame = frame.filter(pl.col("deleted_at").is_null()).drop("deleted_at")
    return frame.drop("_seq")


def content(lake: Lake, leave_out: Sequence[str] = ()) -> dict[str, list[Any]]:
    """All of this room's tables as sorted rows; `leave_out`: columns that may differ."""
    found = {}
    for key in lake.keys():  # noqa: SIM118 - a lake is no mapping
        if key.startswith("events") and key != "events/catalogue":
            frame = table(lake, key).drop(leave_out, strict=False)
            if len(frame):
                found[key] = sorted(frame.select(sorted(frame.columns)).rows(), key=repr)
    return found
