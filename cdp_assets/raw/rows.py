"""Rows of CSV, JSONL and Parquet files, by batches, as JSON payloads; what is no row is refused
with its number. Nothing is inferred: of a CSV file every value is text."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, cast

import msgspec
import polars as pl

from cdp_assets.raw.files import UnreadableFile, open_bytes
from cdp_assets.raw.quarantine import Refusal

Format = Literal["json", "csv", "parquet"]
BATCH = 20_000
LONGEST_ROW = 16 * 1024 * 1024
_KEPT = 4_096
_HEADER_BYTES = 1 << 16
_SEPARATORS = {"\t": "a tab", ";": ";", "|": "|", ",": "a comma"}
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class RowBatch:
    """Rows of one file, in their order.

    rows: row_number Int64 (from 1; of a CSV file the header is not counted), payload String (one
    JSON object). refused: rows that are none.
    """

    rows: pl.DataFrame
    refused: tuple[Refusal, ...] = ()


@dataclass
class _Building:
    numbers: list[int] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    size: int = 0

    def add(self, number: int, payload: bytes) -> None:
        self.numbers.append(number)
        self.payloads.append(payload)
        self.size += len(payload)

    @property
    def full(self) -> bool:
        return len(self.numbers) + len(self.refused) >= BATCH or self.size >= 32 << 20

    def take(self) -> RowBatch:
        payload = pl.Series("payload", self.payloads, dtype=pl.Binary).cast(pl.String)
        numbers = pl.Series("row_number", self.numbers, dtype=pl.Int64)
        batch = RowBatch(pl.DataFrame([numbers, payload]), tuple(self.refused))
        self.numbers, self.payloads, self.refused, self.size = [], [], [], 0
        return batch


def file_format(path: str) -> Format:
    """What a file is, by its name without `.gz`. Raises UnreadableFile for any other."""
    name = path.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson", ".json")):
        return "json"
    if name.endswith((".csv", ".tsv", ".txt")):
        return "csv"
    if name.endswith((".parquet", ".pq")):
        return "parquet"
    raise UnreadableFile(path, "is neither .csv, .tsv, .txt, .jsonl nor .parquet (plain or .gz)")


def read_rows(
    path: str, *, delimiter: str | None = None, encoding: str | None = None
) -> Iterator[RowBatch]:
    """The rows of a file.

    delimiter: of a CSV file; by default found from the header (`separator_of`). A single space
    stands for any run of blanks. encoding: where it is not UTF-8 or UTF-16 with its mark. An empty
    cell of a CSV file is null. Raises UnreadableFile for a file that is not what its name says,
    cut off, or whose header shows another delimiter than the one given.
    """
    kind = file_format(path)
    if kind == "parquet":
        yield from _parquet_rows(path)
        return
    with open_bytes(path, encoding=encoding) as stream:
        if kind == "json":
            yield from _json_rows(stream)
        else:
            found = delimiter or separator_of(path, encoding=encoding) or ","
            yield from _csv_rows(path, stream, found)


def separator_of(path: str, *, encoding: str | None = None) -> str | None:
    """What separates the columns of a CSV file, by its header: the most frequent of tab, semicolon,
    bar and comma outside quotes (a tab, if there is one, where the file's name ends in .tsv); a
    blank where only blanks stand between its words. None for files that are not CSV."""
    if file_format(path) != "csv":
        return None
    with open_bytes(path, encoding=encoding) as stream:
        start = stream.read(_HEADER_BYTES).lstrip(b"\r\n")
    header = re.split(rb"[\r\n]", start, maxsplit=1)[0]
    text = _QUOTED.sub("", header.decode(errors="replace"))
    if "\t" in text and path.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    best = max(_SEPARATORS, key=text.count)
    if best in text:
        return best
    return " " if " " in text.strip() else ","


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Lines without their ends, numbered from 1; of one that is too long its first bytes and
    True. Memory is bounded by LONGEST_ROW."""
    buffered = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 20)
    number = 0
    while line := buffered.readline(LONGEST_ROW):
        number += 1
        if len(line) < LONGEST_ROW or line.endswith(b"\n"):
            yield number, line.rstrip(b"\r\n"), False
            continue
        head = line[:_KEPT]
        while (more := buffered.readline(LONGEST_ROW)) and not more.endswith(b"\n"):
            pass
        yield number, head, True


def _json_rows(stream: BinaryIO) -> Iterator[RowBatch]:
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    build = _Building()
    for number, line, cut in _lines(stream):
        if not line.strip():
            continue
        if cut:
            detail = f"longer than {LONGEST_ROW} bytes; its first {_KEPT} are kept"
            build.refused.append(Refusal(number, "too_long", detail, line))
        else:
            try:
                line.decode("utf-8")
                decode(line)
            except UnicodeDecodeError as error:
                detail = f"byte {error.start + 1} is not UTF-8; declare the file's encoding"
                build.refused.append(Refusal(number, "not_utf8", detail, line))
            except msgspec.ValidationError:
                build.refused.append(Refusal(number, "not_an_object", "no JSON object", line))
            except msgspec.DecodeError as error:
                place = str(error).rpartition("(")[2].rstrip(")")
                detail = f"no JSON ({place})" if "byte" in place else "no JSON"
                build.refused.append(Refusal(number, "not_json", detail, line))
            else:
                build.add(number, line)
        if build.full:
            yield build.take()
    yield build.take()


def _csv_rows(path: str, stream: BinaryIO, delimiter: str) -> Iterator[RowBatch]:
    # Undecodable bytes come through as lone surrogates: the row is refused, none is altered.
    text = io.TextIOWrapper(
        io.BufferedReader(cast(io.RawIOBase, stream), 1 << 20),
        encoding="utf-8",
        errors="surrogateescape",
        newline="",
    )
    csv.field_size_limit(min(LONGEST_ROW, sys.maxsize))
    blank = delimiter == " "
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=blank, strict=not blank)
    header = _header(path, reader, delimiter)
    width = len(header)
    encode = msgspec.json.Encoder().encode
    build = _Building()
    number = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UnreadableFile(
                path,
                f"row {number + 1} is no CSV ({_csv_trouble(error)}): a quote that is never "
                f"closed, or a separator other than {delimiter!r}. Nothing of the file was taken",
            ) from None
        if cells is None:
            break
        if blank:
            cells = [cell for cell in cells if cell]
        if not cells:
            continue
        number += 1
        if len(cells) != width:
            detail = f"{len(cells)} values where the header has {width} columns"
            build.refused.append(Refusal(number, "columns", detail, _raw(cells, delimiter)))
        else:
            try:
                values = [cell or None for cell in cells]
                build.add(number, encode(dict(zip(header, values, strict=True))))
            except UnicodeEncodeError:
                detail = "holds bytes that are not UTF-8; declare the file's `encoding`"
                build.refused.append(Refusal(number, "not_utf8", detail, _raw(cells, delimiter)))
        if build.full:
            yield build.take()
    yield build.take()


def _header(path: str, reader: Iterator[list[str]], delimiter: str) -> list[str]:
    try:
        cells = next(reader, None)
    except csv.Error as error:
        raise UnreadableFile(path, f"its header is no CSV ({_csv_trouble(error)})") from None
    if not cells:
        raise UnreadableFile(path, "is empty: it has no header")
    names = [cell.strip() for cell in cells]
    if delimiter == " ":
        names = [name for name in names if name]
    if len(names) == 1 and (seen := [sign for sign in _SEPARATORS if sign in names[0]]):
        shown = _SEPARATORS[seen[0]]
        raise UnreadableFile(
            path,
            f"its header is one column when split by {delimiter!r}; is it separated by {shown}? "
            "Correct `separator`, or leave it out",
        )
    if "" in names:
        raise UnreadableFile(path, f"column {names.index('') + 1} has no name in the header")
    first: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        if name in first:
            # told by their places: without a header the names are a customer's values
            raise UnreadableFile(
                path, f"columns {first[name]} and {place} have one name in the header"
            )
        first[name] = place
    return names


def _csv_trouble(error: csv.Error) -> str:
    text = str(error)
    return "a value longer than 16 MB" if "limit" in text else "a quote out of place"


def _raw(cells: list[str], delimiter: str) -> bytes:
    """A refused row's values as one line; the reader does not keep the bytes."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow(cells)
    return out.getvalue().encode("utf-8", "surrogateescape")


def _parquet_rows(path: str) -> Iterator[RowBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        first = 1
        for batch in file.iter_batches(batch_size=BATCH):
            frame = cast(pl.DataFrame, pl.from_arrow(batch))
            yield _parquet_batch(path, frame, first)
            first += frame.height
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, EOFError) as error:
        kind = type(error).__name__
        raise UnreadableFile(path, f"is no Parquet file that can be read ({kind})") from None


def _parquet_batch(path: str, frame: pl.DataFrame, first: int) -> RowBatch:
    floats = [name for name, kind in frame.schema.items() if kind.is_float()]
    numbered = frame.with_row_index("\0row", offset=first)
    endless = numbered.select(
        pl.any_horizontal([pl.col(f).is_infinite() for f in floats] or [pl.lit(value=False)])
        .fill_null(value=False)
        .alias("x")
    ).to_series()
    if endless.len() != frame.height:
        endless = pl.repeat(value=False, n=frame.height, eager=True)
    refused = [
        Refusal(int(number), "infinite", "holds an infinite number, which JSON cannot say", b"")
        for number in numbered.filter(endless)["\0row"]
    ]
    kept = numbered.filter(~endless)
    # NaN is how data frames without nulls write a missing number.
    values = kept.drop("\0row").with_columns(pl.col(floats).fill_nan(None))
    values = values.with_columns(
        pl.col(pl.Decimal).cast(pl.String), pl.col(pl.Binary).bin.encode("base64")
    )
    try:
        payload = values.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    except pl.exceptions.PolarsError:
        raise UnreadableFile(path, "has a column whose type cannot be written as JSON") from None
    numbers = kept["\0row"].cast(pl.Int64).alias("row_number")
    return RowBatch(pl.DataFrame([numbers, payload.alias("payload")]), tuple(refused))
