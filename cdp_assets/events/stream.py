"""Files into chunks of decoded events, a thread ahead of the one that writes them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeVar

import polars as pl

from cdp_assets.events import accounts
from cdp_assets.events.config import EventFilesSpec, FilesConfig, LandedConfig
from cdp_assets.events.decode import Block, Origin, decode_block
from cdp_assets.events.landed import LandedLines, landed_lines
from cdp_assets.events.lines import Lines, read_lines
from cdp_assets.events.rows import event_lines
from cdp_assets.events.tables import EVENTS
from cdp_assets.events.typed import TraitSpec, TypedSpec
from cdp_assets.raw.files import FileNote, FoundFile, UnreadableFile, open_bytes
from cdp_assets.raw.quarantine import Refusal

CHUNK_ROWS = 250_000
CHUNK_BYTES = 160 << 20
DECODERS = 2
"""Threads that decode blocks of one file; the writer's own work fills the cores beside them."""
MOST_FAULTS = 100
"""Lines of a block that may make the decoder fail before it is no line's fault."""
T = TypeVar("T")


@dataclass
class Chunk:
    """What is committed at once.

    events: the columns of table `events` and `row`, unique in the chunk. typed, observations:
    as in `Block`, by the same rows. refused: (source, origin) → its refused lines.
    finished: notes of the files that end in this chunk. dropped, discarded, split: as in `Block`.
    accounts: of landed lines, by source and hour; landed: the segments that they are of.
    """

    events: pl.DataFrame
    typed: dict[str, pl.DataFrame]
    observations: pl.DataFrame
    refused: dict[tuple[str, str], list[Refusal]]
    lines: int
    finished: list[FileNote]
    dropped: dict[str, int] = field(default_factory=dict)
    discarded: dict[str, int] = field(default_factory=dict)
    split: int = 0
    accounts: list[pl.DataFrame] = field(default_factory=list)
    landed: list[str] = field(default_factory=list)


@dataclass
class _Progress:
    """Of one file: what its note will say."""

    lines: int = 0
    days: set[date] = field(default_factory=set)


def chunks(
    files: Sequence[tuple[EventFilesSpec, FoundFile, str]],
    specs: Mapping[str, TypedSpec],
    traits: TraitSpec,
    rows: int = CHUNK_ROWS,
    size: int = CHUNK_BYTES,
) -> Iterator[Chunk]:
    """All events of these files (each with what ids are minted from), in order, in
    chunks of about `rows` or `size` bytes, whichever comes first; a file that cannot be read to
    its end is noted as failed, and the next goes on."""
    # most of a block is decoded without the interpreter's lock
    with ThreadPoolExecutor(DECODERS, thread_name_prefix="events-decoder") as pool:
        yield from _chunks(files, specs, traits, rows, size, pool)


def _chunks(
    files: Sequence[tuple[EventFilesSpec, FoundFile, str]],
    specs: Mapping[str, TypedSpec],
    traits: TraitSpec,
    rows: int,
    size: int,
    pool: ThreadPoolExecutor,
) -> Iterator[Chunk]:
    gathered: list[tuple[str, str, Block]] = []
    finished: list[FileNote] = []
    waiting = weight = 0
    for spec, file, minted in files:
        progress = _Progress()
        try:
            for block in _blocks(spec, file, minted, specs, traits, pool):
                progress.lines += block.lines
                progress.days |= {*block.events["event_day"].unique().to_list(), *block.days}
                gathered.append((spec.name, file.sha256, block))
                waiting += max(block.lines, 1)
                weight += block.size
                if waiting >= rows or weight >= size:
                    yield as_chunk(gathered, finished)
                    gathered, finished, waiting, weight = [], [], 0, 0
        except UnreadableFile as error:
            finished.append(FileNote(file, "failed", progress.lines, reason=error.reason))
            continue
        state = "ingested" if progress.lines else "empty"
        reason = None if progress.lines else "holds no line"
        days = tuple(sorted(progress.days))
        finished.append(FileNote(file, state, progress.lines, days, reason))  # type: ignore[arg-type]
    if gathered or finished:
        yield as_chunk(gathered, finished)


def _blocks(
    spec: EventFilesSpec,
    file: FoundFile,
    minted: str,
    specs: Mapping[str, TypedSpec],
    traits: TraitSpec,
    pool: ThreadPoolExecutor,
) -> Iterator[Block]:
    """The blocks of a file in its order, some of them decoded at once. Raises UnreadableFile
    after those that could be read."""
    origin = origin_of(spec, file.sha256, file.first_seen, minted)
    ahead: deque[Future[list[Block]]] = deque()
    trouble: UnreadableFile | None = None
    read = _lines(file, spec)
    while True:
        try:
            lines = next(read)
        except StopIteration:
            break
        except UnreadableFile as error:
            trouble = error
            break
        ahead.append(pool.submit(decoded, lines, origin, specs, traits))
        if len(ahead) > DECODERS:
            yield from ahead.popleft().result()
    while ahead:
        yield from ahead.popleft().result()
    if trouble is not None:
        raise trouble


def decoded(
    lines: Lines, origin: Origin, specs: Mapping[str, TypedSpec], traits: TraitSpec
) -> list[Block]:
    """The lines as one block; where a line makes the decoder fail, as several: a fault of ours must
    not stop all that comes after it. Such a line is put into quarantine as `not_understood`.

    Raises what the decoder raises where more than a few lines do: the fault is then no line's.
    """
    faults: list[Exception] = []

    def found(part: Lines) -> list[Block]:
        try:
            block = decode_block(part, origin, specs, traits)
        except Exception as error:
            if len(part) > 1:
                middle = len(part) // 2
                return found(part.part(0, middle)) + found(part.part(middle, len(part)))
            faults.append(error)
            if len(faults) > MOST_FAULTS:
                raise
            block = _not_understood(part, error)
        if isinstance(part, LandedLines):
            block.accounts = accounts.of_block(part, block)
        return [block]

    return found(lines)


def _not_understood(line: Lines, error: Exception) -> Block:
    detail = f"{type(error).__name__} while it was decoded: a fault of this software"
    refusal = Refusal(line.number(0), "not_understood", detail, line.data.rstrip(b"\n"))
    return Block(
        events=pl.DataFrame(schema={"row": pl.Int64(), **EVENTS.schema}),
        refused=[refusal],
        lines=1,
        size=len(line.data),
        source_at=line.source if isinstance(line, LandedLines) else None,
    )


def origin_of(
    spec: EventFilesSpec, sha256: str, first_seen: datetime, minted: str | None = None
) -> Origin:
    """What holds for all lines of a file of this source."""
    config = spec.config
    if isinstance(config, LandedConfig):
        return Origin(
            spec.name, sha256, first_seen, minted=minted, purposes=config.purposes,
            plans=spec.plans, transforms=spec.transforms, enrich=spec.enrich,
        )  # fmt: skip
    date_format = config.date_format if isinstance(config, FilesConfig) else None
    return Origin(
        spec.name, sha256, first_seen, config.purpose, date_format, minted,
        plans=spec.plans, transforms=spec.transforms, enrich=spec.enrich,
    )  # fmt: skip


def _lines(file: FoundFile, spec: EventFilesSpec) -> Iterator[Lines]:
    if isinstance(spec.config, LandedConfig):
        yield from landed_lines(file.path)
    elif isinstance(spec.config, FilesConfig):
        yield from event_lines(file.path, spec.config)
    else:
        with open_bytes(file.path) as stream:
            yield from read_lines(stream)


def as_chunk(gathered: Sequence[tuple[str, str, Block]], finished: list[FileNote]) -> Chunk:
    """Blocks, each with its source and origin, as one chunk."""
    events: list[pl.DataFrame] = []
    typed: dict[str, list[pl.DataFrame]] = {}
    observations: list[pl.DataFrame] = []
    refused: dict[tuple[str, str], list[Refusal]] = {}
    dropped: dict[str, int] = {}
    discarded: dict[str, int] = {}
    lines = start = split = 0
    for source, sha256, block in gathered:
        shift = pl.col("row") + start
        events.append(block.events.with_columns(shift))
        for event, frame in block.typed.items():
            typed.setdefault(event, []).append(frame.with_columns(shift))
        if len(block.observations):
            observations.append(block.observations.with_columns(shift))
        for refusal in block.refused:
            of_source = block.source_at(refusal.position) if block.source_at else source
            refused.setdefault((of_source, sha256), []).append(refusal)
        for event, count in block.dropped.items():
            dropped[event] = dropped.get(event, 0) + count
        for of_source, count in block.discarded.items():
            discarded[of_source] = discarded.get(of_source, 0) + count
        split += block.split
        lines += block.lines
        last = events[-1]["row"].tail(1).to_list()  # rows of a block ascend
        start = last[0] + 1 if last else start
    return Chunk(
        events=pl.concat(events) if events else pl.DataFrame(),
        typed={event: pl.concat(frames) for event, frames in typed.items()},
        observations=pl.concat(observations) if observations else pl.DataFrame(),
        refused=refused,
        lines=lines,
        finished=finished,
        dropped=dropped,
        discarded=discarded,
        split=split,
        accounts=[block.accounts for _, _, block in gathered if block.accounts is not None],
        landed=sorted({sha256 for _, sha256, block in gathered if block.accounts is not None}),
    )


def ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The same items, made by a thread that stays up to `depth` of them ahead. An error of the
    maker is raised here, in its place."""
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(kind: str, item: T | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put((kind, item), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            put("error", error)

    maker = threading.Thread(target=make, name="events-decoder", daemon=True)
    maker.start()
    try:
        while True:
            kind, item = ready.get()
            if kind == "end":
                return
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        maker.join()
