"""Rows of CSV, JSONL and Parquet files: read alike, made into events or records."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Raw

from cdp_assets.events.config import ENVELOPE_FIELDS, FilesConfig
from cdp_assets.events.decode import Lines
from cdp_assets.events.lines import read_lines
from cdp_assets.raw.files import UnreadableFile, open_bytes
from cdp_assets.raw.quarantine import Refusal

BLOCK_ROWS = 10_000
QUOTED_LINES = 50
"""A quoted field that runs over more lines than this is taken for a quote left open."""
_SEPARATORS = (",", ";", "\t", "|")
_object = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode

Row = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a file, from row (of text: line) `first`; None stands for a blank line,
    the second line of a quoted field, or a row that is in `refused`."""

    first: int
    rows: Sequence[Row | None]
    refused: Sequence[Refusal] = ()


def read_rows(path: str, config: FilesConfig) -> Iterator[Rows]:
    """All rows of a file, each column → value; a CSV's empty cells are left out. A row that
    cannot be read is refused alone.

    Raises UnreadableFile for a file without the columns that the configuration names, for a
    damaged one, and for one that is not of its format.
    """
    kind = config.format or _format(path)
    if kind == "parquet":
        yield from _parquet(path, config)
        return
    with open_bytes(path, encoding=config.encoding) as stream:
        blocks = read_lines(stream)
        yield from _json(blocks) if kind == "jsonl" else _csv(path, blocks, config)


def event_lines(path: str, config: FilesConfig) -> Iterator[Lines]:
    """The rows of a file as lines of events: `fields` fill the envelope and name properties,
    every other column is a property under its own name."""
    make = _event_maker(config)
    for block in read_rows(path, config):
        lines: list[str | bytes] = ["" if row is None else make(row) for row in block.rows]
        yield Lines(block.first, lines, block.refused)


def _event_maker(config: FilesConfig) -> Callable[[Row], str]:
    envelope = {f: c for f, c in config.fields.items() if f in ENVELOPE_FIELDS}
    named = {c: f for f, c in config.fields.items() if f not in ENVELOPE_FIELDS}
    used = set(envelope.values())

    def make(row: Row) -> str:
        event: Row = {"type": "track", "event": config.event}
        for field, column in envelope.items():
            if column in row:
                event[field] = row[column]
        event["properties"] = {
            named.get(column, column): value
            for column, value in row.items()
            if column not in used or column in named
        }
        return _encode(event).decode()

    return make


def row_payload(row: Row) -> str:
    """A row as the JSON object that raw keeps."""
    return _encode(row).decode()


def _format(path: str) -> str:
    suffixes = [s.lower() for s in Path(path).suffixes]
    if ".parquet" in suffixes:
        return "parquet"
    return "jsonl" if {".jsonl", ".ndjson", ".json"} & set(suffixes) else "csv"


def _json(blocks: Iterable[Lines]) -> Iterator[Rows]:
    for block in blocks:
        rows: list[Row | None] = []
        refused = list(block.refused)
        for position, line in enumerate(block.lines, block.first):
            row = None
            if line and not line.isspace():
                try:
                    row = dict(_object.decode(line.decode() if isinstance(line, bytes) else line))
                except UnicodeDecodeError as error:
                    refused.append(_refusal(position, "invalid_utf8", f"byte {error.start}", line))
                except (msgspec.DecodeError, RecursionError) as error:
                    refused.append(_refusal(position, "not_json", str(error), line))
            rows.append(row)
        yield Rows(block.first, rows, refused)


def _csv(path: str, blocks: Iterator[Lines], config: FilesConfig) -> Iterator[Rows]:
    numbered = _Numbered(blocks)
    header = numbered.next_line()
    if header is None:
        return
    separator = config.separator or _separator(header)
    if config.columns is None:
        columns = _fields(header, separator) or []
    else:
        columns = list(config.columns)
        numbered.push(header)
    columns = [c.strip() for c in columns]
    _check_columns(path, columns, header, separator, config)
    width = len(columns)
    first = numbered.position + 1
    rows: list[Row | None] = []
    while True:
        line = numbered.next_line(blank=True)
        if line is None:
            break
        if line.strip():
            start = numbered.position
            fields = _fields(line, separator)
            taken: list[str] = []
            while fields is None and len(taken) < QUOTED_LINES:
                more = numbered.next_line(blank=True)
                if more is None:
                    break
                taken.append(more)
                fields = _fields("\n".join([line, *taken]), separator)
            if fields is None:
                numbered.push(*taken)
                numbered.refuse(start, "open_quote", "a quote that does not close", line)
                rows.append(None)
            elif len(fields) != width:
                detail = f"{len(fields)} fields where the header has {width}"
                numbered.refuse(start, "ragged", detail, line)
                rows += [None] * (1 + len(taken))
            else:
                rows.append({c: f for c, f in zip(columns, fields, strict=True) if f != ""})
                rows += [None] * len(taken)
        else:
            rows.append(None)
        if len(rows) >= BLOCK_ROWS:
            yield Rows(first, rows, numbered.take_refused())
            first, rows = first + len(rows), []
    rest = numbered.take_refused()
    if rows or rest:
        yield Rows(first, rows, rest)


class _Numbered:
    """Lines of text with their numbers; a line that is no UTF-8 is refused and comes as blank."""

    def __init__(self, blocks: Iterator[Lines]) -> None:
        self.position = 0
        self._refused: list[Refusal] = []
        self._lines: Iterator[str] = chain.from_iterable(map(self._text, blocks))

    def _text(self, block: Lines) -> Iterator[str]:
        self._refused += block.refused
        for position, line in enumerate(block.lines, block.first):
            if isinstance(line, str):
                yield line
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                self.refuse(position, "invalid_utf8", f"byte {error.start}", line)
                text = ""
            yield text

    def next_line(self, *, blank: bool = False) -> str | None:
        """The next line; with `blank`, blank ones too. None at the end."""
        for line in self._lines:
            self.position += 1
            if blank or line.strip():
                return line
        return None

    def push(self, *lines: str) -> None:
        """Give lines back, to come next."""
        self.position -= len(lines)
        self._lines = chain(lines, self._lines)

    def refuse(self, position: int, reason: str, detail: str, line: str | bytes) -> None:
        """Note a line that is no row."""
        self._refused.append(_refusal(position, reason, detail, line))

    def take_refused(self) -> list[Refusal]:
        """What was refused since the last time."""
        taken, self._refused = self._refused, []
        return taken


def _refusal(position: int, reason: str, detail: str, line: str | bytes) -> Refusal:
    return Refusal(position, reason, detail, line if isinstance(line, bytes) else line.encode())


def _fields(line: str, separator: str) -> list[str] | None:
    """The fields of a line; None where a quote is left open."""
    if separator == " ":
        return line.split()
    if '"' not in line:
        return line.split(separator)
    try:
        found = list(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return None
    return found[0] if len(found) == 1 else None


def _separator(header: str) -> str:
    counts = {s: header.count(s) for s in _SEPARATORS}
    best = max(counts, key=lambda s: counts[s])
    if counts[best]:
        return best
    return " " if " " in header.strip() else ","


def _check_columns(
    path: str, columns: Sequence[str], header: str, separator: str, config: FilesConfig
) -> None:
    # names from the file are left out of the text: without a header they are a row's values
    if len(set(columns)) != len(columns):
        raise UnreadableFile(path, "names a column twice in its header; give them as `columns`")
    wanted = [*config.fields.values(), *([config.key] if config.key else [])]
    absent = sorted(set(wanted) - set(columns))
    if not absent:
        return
    other = _separator(header)
    hint = ""
    if other != separator:
        count = len(_fields(header, other) or [])
        hint = f"; with separator {other!r} it would have {count}"
    raise UnreadableFile(
        path,
        f"has no column {', '.join(absent)}: with separator {separator!r} its first line has "
        f"{len(columns)} columns{hint}. Correct `separator`, `columns` or `fields`",
    )


def _parquet(path: str, config: FilesConfig) -> Iterator[Rows]:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        _check_columns(path, names, "", ",", config)
        first = 1
        for batch in file.iter_batches(batch_size=BLOCK_ROWS):
            rows: list[Row | None] = [
                {k: _plain(v) for k, v in row.items() if v is not None} for row in batch.to_pylist()
            ]
            yield Rows(first, rows)
            first += len(rows)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(
            path, f"is no whole Parquet file ({type(error).__name__}). Put it there again"
        ) from None


def _plain(value: Any) -> Any:
    """A value that JSON can hold without loss: no double is NaN or infinite there."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
