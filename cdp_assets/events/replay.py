"""Quarantined lines judged again, after a fix of the code or the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from cdp_assets.events.catalogue import prepare, recover
from cdp_assets.events.config import EventFilesSpec, LandedConfig
from cdp_assets.events.ingest import STEP, IngestResult, Writer, quarantine_step
from cdp_assets.events.landed import chosen
from cdp_assets.events.lines import Lines
from cdp_assets.events.stream import as_chunk, decoded, origin_of
from cdp_assets.events.typed import TraitSpec, TypedSpec, typed_specs
from cdp_assets.events.values import fold
from cdp_assets.events.versions import Versions, seed_of_segment
from cdp_assets.lake import Lake
from cdp_assets.raw import quarantine
from cdp_assets.raw.files import FoundFile
from cdp_assets.raw.tables import FILES
from cdp_assets.settings import crash_point

_UNREADABLE = ("too_long", "ragged", "open_quote")
"""Reasons of rows whose kept bytes are no event: their file has to be read again."""


@dataclass(frozen=True)
class ReplayResult:
    """What became of the open rows of quarantine that were looked at.

    read + split = stored + duplicates + refused + dropped (see `IngestResult`); skipped rows
    hold no whole line: read their file again (an ingest with the days it holds) after changing it
    or the configuration; or they lie behind what a disk damaged in their segment.
    """

    read: int
    stored: int
    duplicates: int
    refused: int
    skipped: int
    dropped: int = 0
    split: int = 0


def replay(
    lake: Lake,
    sources: Sequence[EventFilesSpec],
    properties: Mapping[str, Mapping[str, pl.DataType | type[pl.DataType]]],
    value_fields: Iterable[str],
    now: datetime,
    *,
    reason: str | None = None,
) -> ReplayResult:
    """Judge the open lines of these sources again (of one `reason`, where given) and store those
    that are events now, as if they had been read with their file: same origin, row number, minted
    id and first_seen. Rows that are stored or known are closed; the others stay open. Killed and
    run again, it stores nothing twice. Raises as `ingest`.
    """
    specs, traits = typed_specs(properties), TraitSpec(value_fields)
    result, skipped = IngestResult(), 0
    with lake.step(STEP):
        recover(lake)
        prepare(lake, specs.values(), traits)
        writer = Writer(lake, specs, now, result)
        for spec in sources:
            rows = _open_rows(lake, spec, reason)
            whole = rows.filter(~pl.col("reason").is_in(_UNREADABLE))
            for (origin,), group in whole.group_by("origin", maintain_order=True):
                lines = _lines(lake, spec, str(origin), group)
                if lines is None:
                    continue
                group = group.filter(pl.col("position").is_in(list(lines.numbers or ())))
                closed = _replay_origin(
                    lake, spec, str(origin), group, lines, specs, traits, writer
                )
                crash_point("replay:before-close")
                quarantine.mark_replayed(lake, closed)
                skipped -= len(group)
            skipped += len(rows)
        fold(lake)
    return ReplayResult(
        result.read, result.stored, result.duplicates, result.quarantined, skipped,
        result.dropped, result.split,
    )  # fmt: skip


def _open_rows(lake: Lake, spec: EventFilesSpec, reason: str | None) -> pl.DataFrame:
    """The open rows of a source; of the landing log those of every source in its segments."""
    if not isinstance(spec.config, LandedConfig):
        return quarantine.open_rows(lake, step=quarantine_step(spec.name), reason=reason)
    segments = lake.open(FILES).scan().filter(pl.col("source") == spec.name).select("sha256")
    known = segments.unique().collect()["sha256"]
    rows = quarantine.open_rows(lake, reason=reason)
    return rows.filter(pl.col("origin").is_in(known.implode()))


def _lines(lake: Lake, spec: EventFilesSpec, origin: str, group: pl.DataFrame) -> Lines | None:
    """The lines of these rows as they were first read, those of a damaged segment as far as it can
    be read; None where there is none of them."""
    positions = group["position"].to_list()
    if not isinstance(spec.config, LandedConfig):
        data = b"".join(line.replace(b"\n", b" ") + b"\n" for line in group["payload"].to_list())
        return Lines(positions[0], data, numbers=positions)
    file = _file(lake, spec.name, origin)
    if file is None:
        return None
    try:
        lines = chosen(file.path, positions)
    except OSError:
        return None
    return lines if len(lines) else None


def _replay_origin(
    lake: Lake,
    spec: EventFilesSpec,
    origin: str,
    group: pl.DataFrame,
    lines: Lines,
    specs: Mapping[str, TypedSpec],
    traits: TraitSpec,
    writer: Writer,
) -> pl.DataFrame:
    """Write what is an event now; step, origin, position of the rows that can be closed."""
    file = _file(lake, spec.name, origin)
    first_seen = file.first_seen if file else group["first_seen"][0]
    minted = None
    if file and isinstance(spec.config, LandedConfig):
        minted = seed_of_segment(file.path)
    elif file and Path(file.path).exists():
        minted = Versions(lake, spec.name).first(file)
    blocks = decoded(lines, origin_of(spec, origin, first_seen, minted), specs, traits)
    writer.write(as_chunk([(spec.name, origin, block) for block in blocks], []))
    again = {r.position for block in blocks for r in block.refused}
    return group.select("step", "origin", "position").filter(~pl.col("position").is_in(list(again)))


def _file(lake: Lake, source: str, sha256: str) -> FoundFile | None:
    """The file of these bytes as it was first noted."""
    rows = (
        lake.open(FILES)
        .scan()
        .filter((pl.col("source") == source) & (pl.col("sha256") == sha256))
        .sort("first_seen", "path")
        .select("source", "path", "size", "mtime_ns", "sha256", "first_seen")
        .head(1)
        .collect()
    )
    return FoundFile(*rows.row(0)) if len(rows) else None
