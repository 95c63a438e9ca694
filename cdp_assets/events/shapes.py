"""Which members an event's properties have and of which types, for whole columns at once.

Senders are programs: millions of events have a few dozen shapes. What is asked of the shape is
asked once of each.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

Ints = np.ndarray[Any, np.dtype[Any]]
_SEED: Final = np.uint64(secrets.randbits(64))
"""Nobody who sends events can know which of two shapes would be taken for one."""
LARGEST = 1 << 30
"""Bytes of payload that are looked at together."""
TYPES_OF_TRAITS = ("identify", "group")
"""Calls that say what they say in `traits`, the others in `properties`."""


@dataclass(frozen=True)
class Shapes:
    """Of each payload its object's shape.

    hashes: equal where two objects have the same members of the same types (0: absent or null).
    opens, stops: where the object stands in `data`, 0 and 0 where it is absent or null. odd: rows
    of which nothing of this is sure. exponents: a number is written with one. no_object: it is
    neither object nor null. members: how many names it holds, inner ones included.
    """

    data: Ints
    hashes: Ints
    opens: Ints
    stops: Ints
    odd: Ints
    exponents: Ints
    no_object: Ints
    members: Ints

    def text(self, row: int) -> bytes:
        """The object of a row; b"" where there is none."""
        return self.data[self.opens[row] : self.stops[row]].tobytes()


def shapes_of(payload: pl.Series, types: pl.Series) -> Shapes:
    """The shapes of the `properties` of these payloads (JSON objects), or of the `traits` of those
    whose type says it all there. At most LARGEST bytes."""
    from cdp_assets.events import _shaping as kernel

    rows = len(payload)
    array: Any = payload.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    _, where, content = array.buffers()
    offsets = np.frombuffer(where, dtype=np.int64)[array.offset : array.offset + rows + 1]
    data = np.frombuffer(content or b"", dtype=np.uint8)
    wanted = types.is_in(TYPES_OF_TRAITS).fill_null(False).to_numpy().astype(np.uint8)
    hashes = np.zeros(rows, dtype=np.uint64)
    opens, stops = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    marks, members = np.zeros(rows, dtype=np.uint8), np.zeros(rows, dtype=np.int64)
    levels = kernel.LEVELS
    kernel.shapes(
        data, offsets[:-1], offsets[1:], wanted, _SEED, hashes, opens, stops, marks, members,
        np.zeros(levels, dtype=np.uint64), np.zeros(levels, dtype=np.uint64),
        np.zeros((levels, kernel.DISTINCT), dtype=np.uint64), np.zeros(levels, dtype=np.int64),
        np.zeros(levels, dtype=np.uint8),
    )  # fmt: skip
    return Shapes(
        data,
        hashes,
        opens,
        stops,
        marks & kernel.ODD != 0,
        marks & kernel.EXPONENTS != 0,
        marks & kernel.NO_OBJECT != 0,
        members,
    )


def member_texts(shapes: Shapes, rows: Ints, names: Sequence[str]) -> tuple[list[pl.Series], Ints]:
    """Of these rows each named member as its JSON text (null where absent), in the order of
    `names`; and which rows have a name with an escape, so that this may be wrong of them."""
    from cdp_assets.events import _shaping as kernel

    texts = [name.encode() for name in names]
    places = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    joined = np.frombuffer(b"".join(texts) or b"\0", dtype=np.uint8)
    kinds = np.zeros((len(names), len(rows)), dtype=np.uint8)
    views = np.zeros((len(names), len(rows), 4), dtype=np.uint32)
    odd = np.zeros(len(rows), dtype=np.uint8)
    kernel.members(
        shapes.data, shapes.opens[rows], shapes.stops[rows], places, joined, kinds, views, odd
    )
    return [_texts(shapes.data, views[i], kinds[i] != 0) for i in range(len(names))], odd != 0


def _texts(data: Ints, views: Ints, valid: Ints) -> pl.Series:
    """Stretches of `data` as a column that lies over it."""
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    buffers = [bits, pa.py_buffer(views), pa.py_buffer(data)]
    return pl.Series(pa.Array.from_buffers(pa.string_view(), len(valid), buffers))
