"""Rows of CSV, JSONL and Parquet files as lines of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
from msgspec import Raw

from cdp_assets.events.config import ENVELOPE_FIELDS, FilesConfig
from cdp_assets.events.lines import Lines
from cdp_assets.raw.files import UnreadableFile
from cdp_assets.raw.rows import file_format, read_rows, separator_of

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def event_lines(path: str, config: FilesConfig) -> Iterator[Lines]:
    """The rows of a file as lines of events: `fields` fill the envelope and name properties,
    every other column is a property under its own name.

    The file is read to its end once before its first row is given out: rows without a message id
    are told apart by the file's SHA-256, so half a file, corrected, would bring them again.
    Raises UnreadableFile for a file that is not what its name says, has no column that `fields`
    names, or is cut off.
    """
    separator = config.separator or separator_of(path, encoding=config.encoding)
    for _ in read_rows(path, delimiter=separator, encoding=config.encoding):
        pass
    make = _maker(config)
    checked = file_format(path) == "json"  # there a row may lack a column
    for batch in read_rows(path, delimiter=separator, encoding=config.encoding):
        payloads = batch.rows["payload"].to_list()
        if payloads and not checked:
            _check_columns(path, set(_decode(payloads[0])), config, separator)
            checked = True
        numbers: list[int] = batch.rows["row_number"].to_list()
        data = b"".join(make(_decode(payload)) for payload in payloads)
        yield Lines(1, data, batch.refused, numbers)


def _maker(config: FilesConfig) -> Callable[[Mapping[str, Raw]], bytes]:
    envelope = {f: c for f, c in config.fields.items() if f in ENVELOPE_FIELDS}
    named = {c: f for f, c in config.fields.items() if f not in ENVELOPE_FIELDS}
    hidden = set(envelope.values()) - set(named)

    def make(row: Mapping[str, Raw]) -> bytes:
        event: dict[str, object] = {"type": "track", "event": config.event}
        event |= {field: row[column] for field, column in envelope.items() if column in row}
        event["properties"] = {
            named.get(column, column): value
            for column, value in row.items()
            if column not in hidden
        }
        # a line of a pretty-printed row is still one line
        return _encode(event).replace(b"\n", b" ") + b"\n"

    return make


def _check_columns(
    path: str, columns: set[str], config: FilesConfig, separator: str | None
) -> None:
    absent = sorted(set(config.fields.values()) - columns)
    if absent:
        # the file's own names are left out: without a header they are a customer's values
        by = f" separated by {separator!r}" if separator else ""
        raise UnreadableFile(
            path,
            f"has no column {', '.join(absent)} among its {len(columns)}{by}. Correct `fields` or "
            "`separator`",
        )
