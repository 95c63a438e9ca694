"""Pages of Bulk API 2.0 query results as rows: the same records that REST gives, in JSON."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from cdp_assets.connectors.base import Unavailable
from cdp_assets.connectors.frames import moments, page_rows, payloads
from cdp_assets.connectors.salesforce.describe import SalesforceField

_KINDS: Mapping[str, int] = {
    **dict.fromkeys(
        ("id", "string", "textarea", "encryptedstring", "combobox", "picklist", "multipicklist",
         "reference", "email", "phone", "url", "date", "datetime", "time"), 0,
    ),
    **dict.fromkeys(("int", "long", "double", "currency", "percent"), 1),
    "boolean": 2,
}  # fmt: skip
_KEPT = ("Id", None, "IsDeleted", "MasterRecordId")


def fits(fields: Sequence[SalesforceField]) -> bool:
    """Whether a table of texts says all that REST says of these fields: of a type not named here
    (`anyType` of field history) it does not."""
    return all(field.type in _KINDS for field in fields)


class BulkRows:
    """Reads the pages of one query's results.

    fields: the columns as they were selected. cursor: the field that becomes `cursor_at`.
    """

    def __init__(self, source: str, fields: Sequence[SalesforceField], cursor: str | None) -> None:
        self._source = source
        self._names = [field.name for field in fields]
        self._cursor = cursor
        self._kinds = np.array([_KINDS[field.type] for field in fields], dtype=np.int64)
        begins = ["{" if at == 0 else "," for at in range(len(fields))]
        texts = [f'{b}"{name}":'.encode() for b, name in zip(begins, self._names, strict=True)]
        # What follows the names is read, and never shown (see SLACK in `_csv`).
        self._texts = np.frombuffer(b"".join(texts) + bytes(8), dtype=np.uint8)
        self._ends = np.cumsum([len(text) for text in texts])
        kept = [cursor if name is None else name for name in _KEPT]
        self._keep = np.array(
            [kept.index(name) if name in kept else -1 for name in self._names], dtype=np.int64
        )

    def read(self, body: bytes) -> pl.DataFrame:
        """The page's frame (see `Page`).

        Raises msgspec.DecodeError where the body is no such table, as an HTML page of a proxy is;
        Unavailable where it is one that cannot be read to its end.
        """
        head, found, _ = body.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
        if not found or self._header(head) != self._names:
            raise msgspec.DecodeError("other columns than were asked for")
        rows, out, row_ends, kept, kept_ends = self._converted(body)
        payload = payloads(self._source, _texts(out, row_ends, rows))
        ids, cursors, deleted, masters = (
            _texts(kept[line], kept_ends[line], rows).cast(pl.String) for line in range(len(_KEPT))
        )
        if self._cursor is None:
            moment = pl.Series("cursor_at", [None] * rows, dtype=pl.Datetime("us", "UTC"))
        else:
            moment = _moments(kept[1], kept_ends[1], rows, cursors)
        frame = page_rows(ids, moment, "upsert", None, payload)
        gone = deleted == "true"
        if not gone.any():
            return frame
        merged = gone & (masters != "")
        return frame.with_columns(
            op=pl.when(merged)
            .then(pl.lit("merge"))
            .when(gone)
            .then(pl.lit("delete"))
            .otherwise(pl.lit("upsert")),
            merged_into=pl.when(merged).then(masters),
        )

    def _header(self, line: bytes) -> list[str]:
        try:
            return next(csv.reader([line.decode("ascii").rstrip("\r")]), [])
        except (UnicodeDecodeError, csv.Error):
            return []

    def _converted(self, body: bytes) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        # Imported here: numba takes half a second, and a pull of a small window needs none of it.
        from cdp_assets.connectors.salesforce._csv import GOOD, REASONS, SLACK, convert

        data = np.frombuffer(body, dtype=np.uint8)
        start = body.index(b"\n") + 1
        most = body.count(b"\n") + 1
        # As much as there can be at all, which costs no memory before it is written to: six bytes
        # for one that is escaped, names, `null` for each cell, and a bracket.
        longest = 6 * len(data)
        size = longest + most * (int(self._ends[-1]) + 4 * len(self._names) + 1) + SLACK
        out = np.empty(size, dtype=np.uint8)
        row_ends = np.zeros(most + 1, dtype=np.int64)
        kept = np.empty((len(_KEPT), longest), dtype=np.uint8)
        kept_ends = np.zeros((len(_KEPT), most + 1), dtype=np.int64)
        state, rows = convert(
            data, start, self._kinds, self._texts, self._ends, self._keep,
            out, row_ends, kept, kept_ends,
        )  # fmt: skip
        if state != GOOD:
            raise Unavailable(
                f"{self._source}: a page of Bulk results cannot be read: {REASONS[state]}, after "
                f"{rows} rows. Nothing of it was taken; a later run asks again."
            )
        return rows, out, row_ends, kept, kept_ends


def _texts(data: np.ndarray, ends: np.ndarray, rows: int) -> pl.Series:
    """Texts that lie one after the other, as bytes: nobody has looked yet whether they are."""
    array = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), rows, [None, pa.py_buffer(ends), pa.py_buffer(data)]
    )
    return pl.Series(pl.from_arrow(array))


def _moments(data: np.ndarray, ends: np.ndarray, rows: int, texts: pl.Series) -> pl.Series:
    """The stamps as moments; `2026-01-31T09:00:00.000Z`, which is how Bulk writes them, fast."""
    size = 24
    if rows == 0 or ends[rows] != size * rows or (np.diff(ends[: rows + 1]) != size).any():
        return moments(texts)
    plain = data[: size * rows].reshape(rows, size)
    if (plain[:, -1] != ord("Z")).any():
        return moments(texts)
    try:
        found = np.ascontiguousarray(plain[:, :-1]).view("S23").ravel().astype("datetime64[us]")
    except ValueError:
        return moments(texts)
    return pl.Series("cursor_at", found).dt.replace_time_zone("UTC")
