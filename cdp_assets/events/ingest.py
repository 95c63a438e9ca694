"""Event files into the lake: every line stored once, known as a duplicate, or in quarantine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import polars as pl

from cdp_assets.events import accounts
from cdp_assets.events.catalogue import outstanding, prepare, recover
from cdp_assets.events.config import EventFilesSpec, LandedConfig
from cdp_assets.events.dedup import Seen
from cdp_assets.events.stream import CHUNK_ROWS, Chunk, ahead, chunks
from cdp_assets.events.tables import BATCH, ENVELOPE, EVENTS, OBSERVATIONS, by_people
from cdp_assets.events.typed import TraitSpec, TypedSpec, typed_specs
from cdp_assets.events.values import fold, observe
from cdp_assets.events.versions import Versions, seed_of_segment
from cdp_assets.lake import Lake
from cdp_assets.raw import quarantine
from cdp_assets.raw.files import SETTLE, FileNote, FoundFile, find, holding, note
from cdp_assets.settings import crash_point

STEP = "events"


def quarantine_step(source: str) -> str:
    """The name under which raw/quarantine keeps what this room refused of a source."""
    return f"events/{source}"


@dataclass
class IngestResult:
    """What an ingest did, in lines and files.

    read + split = stored + duplicates + quarantined + suppressed + dropped. split: how many more
    events transformations made than they took lines. dropped_events: event → how many its tracking
    plan says not to keep. discarded: source → lines that its transformation dropped.
    reused_id: how many of the stored ones bear the message id and visitor of another event (looked
    for in the days touched). by_day: UTC day of each event that was read → how many of them are
    new. decoded: keys of the tables
    that the configuration now means otherwise, decoded anew from stored payloads. unread_times:
    stored events of which a time could not be read, so that another was taken; untimed: those
    without any time of their own; beside: `event.property` → values that its column cannot hold,
    kept beside as text. notes: what became of each file, those passed over included; growing and
    missing: files still being written, or asked for again and gone. landed: what became of the
    events that came by the collector, by source and hour (`accounts.SCHEMA`).
    """

    read: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    suppressed: int = 0
    dropped_events: dict[str, int] = field(default_factory=dict)
    discarded: dict[str, int] = field(default_factory=dict)
    split: int = 0
    reused_id: int = 0
    by_day: dict[date, int] = field(default_factory=dict)
    by_event: dict[str, int] = field(default_factory=dict)
    values: int = 0
    decoded: list[str] = field(default_factory=list)
    unread_times: int = 0
    untimed: int = 0
    beside: dict[str, int] = field(default_factory=dict)
    notes: list[FileNote] = field(default_factory=list)
    growing: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    landed: pl.DataFrame = field(default_factory=lambda: accounts.total([]))

    @property
    def accounted(self) -> bool:
        """Whether everything read is accounted for, as a whole and of the collector's events by
        each line's own fate."""
        left_out = int(self.landed["left_out"].sum())
        outcome = self.stored + self.duplicates + self.quarantined + self.suppressed + self.dropped
        return self.read + self.split == outcome and left_out <= self.dropped

    @property
    def dropped(self) -> int:
        """What a tracking plan or a transformation says not to keep."""
        return sum(self.dropped_events.values()) + sum(self.discarded.values())

    @property
    def files(self) -> int:
        """Files that were read to their end."""
        return self._count("ingested") + self._count("empty")

    @property
    def same_bytes(self) -> int:
        """Files passed over because their bytes were read under another name."""
        return self._count("same_bytes")

    @property
    def failed(self) -> int:
        """Files that could not be read to their end."""
        return self._count("failed")

    def _count(self, state: str) -> int:
        return sum(n.state == state for n in self.notes)


def ingest(
    lake: Lake,
    sources: Sequence[EventFilesSpec],
    properties: Mapping[str, Mapping[str, pl.DataType | type[pl.DataType]]],
    value_fields: Iterable[str],
    now: datetime,
    run_id: str = "",
    days: tuple[date, date] | None = None,
    *,
    settle: timedelta = SETTLE,
    chunk_rows: int = CHUNK_ROWS,
) -> IngestResult:
    """Read the new files of these sources; with `days`, also read again the files that hold one
    of these days (first and last included).

    properties: event → property → type of its column in `events/<event>`. value_fields:
    `events.traits.NAME`. A property, event or trait named for the first time is decoded from the
    stored payloads before anything is read.

    Rule 2 of the design: typed tables, observations and quarantine are committed before table
    `events`, whose commit records how far they belong to it; files are noted last, and reading
    one again adds nothing. Killed at any point and run again, the tables are the same.

    Raises ValueError for names that cannot be kept (before anything is written), LakeError.
    """
    specs = typed_specs(properties)
    traits = TraitSpec(value_fields)
    result = IngestResult()
    with lake.step(STEP):
        recover(lake)
        result.decoded = prepare(lake, specs.values(), traits)
        fold(lake)
        files = _files(lake, sources, now, days, settle, result)
        writer = Writer(lake, specs, now, result)
        for chunk in ahead(chunks(files, specs, traits, chunk_rows)):
            writer.write(chunk)
        folded = fold(lake)
        if folded is not None:
            result.values = folded.inserted + folded.updated
    return result


def decode(
    lake: Lake,
    properties: Mapping[str, Mapping[str, pl.DataType | type[pl.DataType]]],
    value_fields: Iterable[str],
) -> list[str]:
    """Decode from the stored payloads what configuration names otherwise than when it was decoded
    last, as `ingest` does before it reads; returns the keys of those tables.

    For whoever reads the derived tables: a property that was named since the last ingest is then
    in its column, and not null. Where nothing is to be decoded, nothing is locked or written.
    """
    specs, traits = typed_specs(properties), TraitSpec(value_fields)
    if not outstanding(lake, specs.values(), traits):
        return []
    with lake.step(STEP):
        recover(lake)
        decoded = prepare(lake, specs.values(), traits)
        fold(lake)
    return decoded


def _files(
    lake: Lake,
    sources: Sequence[EventFilesSpec],
    now: datetime,
    days: tuple[date, date] | None,
    settle: timedelta,
    result: IngestResult,
) -> list[tuple[EventFilesSpec, FoundFile, str]]:
    files: list[tuple[EventFilesSpec, FoundFile, str]] = []
    for spec in sources:
        whole = timedelta(0) if isinstance(spec.config, LandedConfig) else settle
        scan = find(lake, spec.name, spec.config.path, now, settle=whole)
        note(lake, scan.skipped)
        result.notes += scan.skipped
        result.growing += scan.growing
        found = list(scan.new)
        if days is not None:
            again = holding(lake, spec.name, *days)
            result.missing += again.missing
            found += again.new
        if isinstance(spec.config, LandedConfig):
            files += [(spec, file, seed_of_segment(file.path)) for file in found]
        elif found:
            versions = Versions(lake, spec.name)
            files += [(spec, file, versions.first(file)) for file in found]
    return files


class Writer:
    """Commits chunks, in an order that leaves no trace of one that was cut short."""

    def __init__(
        self, lake: Lake, specs: Mapping[str, TypedSpec], now: datetime, result: IngestResult
    ) -> None:
        self._lake = lake
        self._specs = specs
        self._now = now
        self._result = result
        self._events = lake.open(EVENTS)
        self._seen = Seen(self._events)

    def write(self, chunk: Chunk) -> None:
        """Quarantine, typed tables, observations, then events with the watermarks, then files."""
        result = self._result
        for (source, origin), refused in chunk.refused.items():
            rows = quarantine.frame(quarantine_step(source), origin, refused, self._now)
            quarantine.add(self._lake, rows)
            result.quarantined += len(refused)
        crash_point("ingest:after-quarantine")
        for event, count in chunk.dropped.items():
            result.dropped_events[event] = result.dropped_events.get(event, 0) + count
        for source, count in chunk.discarded.items():
            result.discarded[source] = result.discarded.get(source, 0) + count
        result.split += chunk.split
        result.read += chunk.lines
        result.landed = accounts.total([result.landed, *chunk.accounts])
        if len(chunk.events):
            self._store(chunk)
        crash_point("ingest:before-files")
        note(self._lake, chunk.finished)
        result.notes += chunk.finished
        crash_point("ingest:after-files")

    def _store(self, chunk: Chunk) -> None:
        result = self._result
        judged = self._seen.judge(chunk.events)
        new = judged.new
        result.duplicates += judged.duplicates
        if chunk.landed:
            fates = accounts.of_events(chunk.events, new, chunk.landed)
            result.landed = accounts.total([result.landed, fates])
        for day in chunk.events["event_day"].unique().to_list():
            result.by_day.setdefault(day, 0)
        if not len(new):
            return
        marks = {BATCH: self._events.watermark(BATCH) + 1}
        people = new.filter(by_people())
        for event, typed in chunk.typed.items():
            marks |= self._append_typed(self._specs[event], typed, people)
        crash_point("ingest:after-typed")
        if len(chunk.observations):
            told = observe(people, chunk.observations)
            if len(told):
                marks[OBSERVATIONS.key] = self._lake.open(OBSERVATIONS).append(told).seq
        crash_point("ingest:before-events")
        stored = self._events.append(new.drop("row"), watermarks=marks).inserted
        crash_point("ingest:after-events")
        self._seen.add(new)
        result.stored += stored
        result.suppressed += len(new) - stored
        result.reused_id += judged.reused_id
        self._count_odd(new["flags"])
        for day, count in new["event_day"].value_counts().iter_rows():
            result.by_day[day] += count

    def _count_odd(self, flags: pl.Series) -> None:
        said = flags.filter(flags.list.len() > 0)
        unread = said.list.eval(pl.element().str.starts_with("unread:")).list.any()
        self._result.unread_times += int(unread.sum())
        self._result.untimed += int(said.list.contains("no_time").sum())

    def _append_typed(
        self, spec: TypedSpec, typed: pl.DataFrame, new: pl.DataFrame
    ) -> dict[str, int]:
        rows = new.select("row", *ENVELOPE).join(
            typed, on="row", how="inner", maintain_order="left", suffix="__property"
        )
        if not len(rows):
            return {}
        counts = self._result.by_event
        counts[spec.event] = counts.get(spec.event, 0) + len(rows)
        beside = self._result.beside
        for column in rows.columns:
            if column.endswith("__str") and (kept := rows[column].count()):
                name = f"{spec.event}.{column.removesuffix('__str')}"
                beside[name] = beside.get(name, 0) + kept
        table = self._lake.open(spec.table)
        return {spec.key: table.append(rows.drop("row")).seq}
