# mypy: ignore-errors
# (compiled by numba, whose types mypy does not know)
"""Many bytes at a time, for the kernels that read JSON text.

numba keeps compiled kernels by their own file alone: a change here asks for one there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types, uint64
from numba.extending import intrinsic

compiled = njit(cache=True, nogil=True, _nrt=False)
"""How these kernels are compiled: without counting references. They make no array, and counting
those they are given, at each call inside of them, took more than half of their time."""

SPAN = 32
"""How many bytes `alike` looks at."""
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


@intrinsic
def alike(typing_context: Any, data: Any, at: Any, mask: Any, byte: Any) -> Any:
    """Which of the SPAN bytes from `at` on equal `byte` once masked: a bit for each, the first one
    lowest. A load and two or three instructions on most processors."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        many = ir.VectorType(ir.IntType(8), SPAN)
        loaded = builder.load(builder.bitcast(place, many.as_pointer()))
        loaded.align = 1
        none = ir.Constant(many, ir.Undefined)
        first = ir.Constant(ir.VectorType(ir.IntType(32), SPAN), [0] * SPAN)

        def everywhere(number: Any) -> Any:
            one = builder.trunc(number, ir.IntType(8))
            one = builder.insert_element(none, one, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, none, first)

        masked = builder.and_(loaded, everywhere(args[2]))
        equal = builder.icmp_unsigned("==", masked, everywhere(args[3]))
        return builder.zext(builder.bitcast(equal, ir.IntType(SPAN)), ir.IntType(64))

    return types.uint64(data, at, types.int64, types.int64), generate


@intrinsic
def lowest(typing_context: Any, word: Any) -> Any:
    """The number of zero bits below the lowest one that is set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@compiled
def has_byte(word: Any, byte: Any) -> Any:
    """Not 0 where one of the word's bytes equals `byte`; bits above the first hit may be wrong."""
    x = word ^ (uint64(byte) * ONES)
    return (x - ONES) & ~x & HIGHS
