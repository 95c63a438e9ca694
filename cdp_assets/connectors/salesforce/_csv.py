# mypy: ignore-errors
# (compiled by numba, whose types mypy does not know)
"""The kernel of `bulk_rows`: CSV (RFC 4180) → JSON objects, in one pass over the bytes.

Numbers and truths are taken over digit by digit, never read and written anew, so that a value has
the text that the org gave it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types, uint64
from numba.extending import intrinsic

TEXT, NUMBER, TRUTH = 0, 1, 2
GOOD, UNCLOSED, STRAY_QUOTE, COLUMNS, NOT_A_NUMBER, NOT_A_TRUTH, TOO_MANY = range(7)
REASONS = {
    UNCLOSED: "a quoted value without its end",
    STRAY_QUOTE: "a quote where none may stand",
    COLUMNS: "a row of another number of columns",
    NOT_A_NUMBER: "a number that is none",
    NOT_A_TRUTH: "a boolean that is none",
    TOO_MANY: "more rows than lines",
}
_compiled = njit(cache=True, nogil=True, _nrt=False)
"""Without counting references: these kernels make no array."""


_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
SLACK = 8
"""Bytes behind what is read and written: words are whole."""


@intrinsic
def _word_at(typing_context: Any, data: Any, at: Any) -> Any:
    """The eight bytes of `data` from `at` on as one number, in one (unaligned) load."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        loaded = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        loaded.align = 1
        return loaded

    return types.uint64(data, at), generate


@intrinsic
def _put_word(typing_context: Any, data: Any, at: Any, word: Any) -> Any:
    """Store eight bytes from `at` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.gep(array.data, [args[1]])
        stored = builder.store(args[2], builder.bitcast(place, ir.IntType(64).as_pointer()))
        stored.align = 1
        return context.get_dummy_value()

    return types.void(data, at, types.uint64), generate


@intrinsic
def _lowest(typing_context: Any, bits: Any) -> Any:
    """Place of the lowest bit that is set."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@_compiled
def _special(word):
    """Bits of the bytes that JSON escapes or that end a quoted value; the lowest one is right."""
    quote = word ^ (_ONES * uint64(34))
    slash = word ^ (_ONES * uint64(92))
    low = (word - _ONES * uint64(32)) & ~word
    return (((quote - _ONES) & ~quote) | ((slash - _ONES) & ~slash) | low) & _HIGHS


@_compiled
def _is_number(data, at, end):
    """Whether the bytes are a number as JSON has them."""
    if at < end and data[at] == 45:
        at += 1
    if at >= end:
        return False
    if data[at] == 48:
        at += 1
    else:
        start = at
        while at < end and 48 <= data[at] <= 57:
            at += 1
        if at == start:
            return False
    if at < end and data[at] == 46:
        at += 1
        start = at
        while at < end and 48 <= data[at] <= 57:
            at += 1
        if at == start:
            return False
    if at < end and (data[at] | 32) == 101:
        at += 1
        if at < end and (data[at] == 43 or data[at] == 45):
            at += 1
        start = at
        while at < end and 48 <= data[at] <= 57:
            at += 1
        if at == start:
            return False
    return at == end


@_compiled
def _is_truth(data, at, end):
    if end - at == 4:
        return data[at] == 116 and data[at + 1] == 114 and data[at + 2] == 117
    return end - at == 5 and data[at] == 102 and data[at + 1] == 97 and data[at + 4] == 101


@_compiled
def _escaped(out, to, byte):
    """Write a byte of a text as JSON has it; returns the place after it."""
    if byte >= 32 and byte != 34 and byte != 92:
        out[to] = byte
        return to + 1
    out[to] = 92
    if byte == 34 or byte == 92:
        out[to + 1] = byte
        return to + 2
    if byte == 10:
        out[to + 1] = 110
        return to + 2
    if byte == 13:
        out[to + 1] = 114
        return to + 2
    if byte == 9:
        out[to + 1] = 116
        return to + 2
    out[to + 1] = 117
    out[to + 2] = 48
    out[to + 3] = 48
    high = byte >> 4
    low = byte & 15
    out[to + 4] = high + 48
    out[to + 5] = low + 48 if low < 10 else low + 87
    return to + 6


@_compiled
def convert(data, at, kinds, names, name_ends, keep, out, row_ends, kept, kept_ends):
    """Rows from `at` on as JSON objects in `out`.

    names and out have SLACK more bytes than are told of here.
    kinds: TEXT, NUMBER or TRUTH of each column. names: `{"Id":`, `,"Name":` … one after the other,
    ending at name_ends. keep: which line of `kept` a column's texts go to as well, -1 for none.
    row_ends, kept_ends: filled with ends, from place 1 on. Returns (GOOD or what is wrong, rows).
    """
    end = data.shape[0]
    columns = kinds.shape[0]
    to = 0
    row = 0
    while at < end:
        if row + 1 >= row_ends.shape[0]:
            return TOO_MANY, row
        for column in range(columns):
            start = name_ends[column - 1] if column else 0
            for k in range(0, name_ends[column] - start, 8):
                _put_word(out, to + k, _word_at(names, start + k))
            to += name_ends[column] - start
            kind = kinds[column]
            begin = to
            if kind == TEXT:
                out[to] = 34
                to += 1
            first = to
            if at < end and data[at] == 34:
                at += 1
                while True:
                    while at + 8 <= end:
                        word = _word_at(data, at)
                        _put_word(out, to, word)
                        found = _special(word)
                        plain = 8 if found == 0 else _lowest(found) >> 3
                        at += plain
                        to += plain
                        if found != 0:
                            break
                    if at >= end:
                        return UNCLOSED, row
                    byte = data[at]
                    at += 1
                    if byte == 34:
                        if at >= end or data[at] != 34:
                            break
                        at += 1
                    to = _escaped(out, to, byte)
            else:
                while at < end and data[at] != 44 and data[at] != 10 and data[at] != 13:
                    if data[at] == 34:
                        return STRAY_QUOTE, row
                    to = _escaped(out, to, data[at])
                    at += 1
            line = keep[column]
            if line >= 0:
                size = kept_ends[line, row]
                for k in range(first, to):
                    kept[line, size] = out[k]
                    size += 1
                kept_ends[line, row + 1] = size
            if to == first:
                to = begin
                out[to] = 110
                out[to + 1] = 117
                out[to + 2] = 108
                out[to + 3] = 108
                to += 4
            elif kind == TEXT:
                out[to] = 34
                to += 1
            elif kind == NUMBER:
                if not _is_number(out, first, to):
                    return NOT_A_NUMBER, row
            elif not _is_truth(out, first, to):
                return NOT_A_TRUTH, row
            if column + 1 < columns:
                if at >= end or data[at] != 44:
                    return COLUMNS, row
                at += 1
        if at < end and data[at] == 13:
            at += 1
        if at < end:
            if data[at] != 10:
                return COLUMNS, row
            at += 1
        out[to] = 125
        to += 1
        row += 1
        row_ends[row] = to
    return GOOD, row
