"""One hash for one version of a record, however its source spelt it.

Two payloads have the same hash where they hold the same values under the same names: the order of
members, white space, escapes, `1500`, `1500.0` and `1.5e3`, and the spellings of UTC in a moment
(`Z`, `+0000`, `+00:00`) make no difference; null, an empty text and an absent member do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa


def payload_hash(payload: pl.Series, volatile: Sequence[str] = ()) -> pl.Series:
    """Hashes of JSON payloads.

    payload: String, valid JSON, no nulls. volatile: top-level members left out of the hash.
    Returns `payload_hash` String: 32 hexadecimal digits.
    """
    if payload.len() == 0:
        return pl.Series("payload_hash", [], dtype=pl.String)
    # Imported here: numba takes half a second, and a pull without news needs none of it.
    from cdp_assets.raw._hashing import hash_rows, hash_text

    array = payload.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    array = array.cast(pa.large_string())
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)
    offsets = offsets[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", dtype=np.uint8)
    skipped = np.array([hash_text(name) for name in volatile], dtype=np.uint64).reshape(-1, 2)
    digits = hash_rows(data, offsets, skipped)
    ends = pa.array(np.arange(len(array) + 1, dtype=np.int64) * 32).buffers()[1]
    text = pa.LargeStringArray.from_buffers(len(array), ends, pa.py_buffer(digits))
    return pl.Series("payload_hash", text)
