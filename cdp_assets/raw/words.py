# mypy: ignore-errors
# (compiled by numba, whose types mypy does not know)
"""Bytes eight at a time, for the kernels that read JSON text.

numba keeps compiled kernels by their own file alone: a change here asks for one there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types, uint64
from numba.extending import intrinsic

ONES = np.uint64(0x0101010101010101)
HIGHS = np.uint64(0x8080808080808080)


@intrinsic
def word_at(typing_context: Any, data: Any, at: Any) -> Any:
    """The eight bytes of `data` from `at` on as one number, in one (unaligned) load."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        place = builder.bitcast(place, ir.IntType(64).as_pointer())
        loaded = builder.load(place)
        loaded.align = 1
        return loaded

    return types.uint64(data, at), generate


@njit(cache=True, nogil=True, inline="always")
def has_byte(word: Any, byte: Any) -> Any:
    """Not 0 where one of the word's bytes equals `byte`; bits above the first hit may be wrong."""
    x = word ^ (uint64(byte) * ONES)
    return (x - ONES) & ~x & HIGHS
