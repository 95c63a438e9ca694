# mypy: ignore-errors
# (compiled by numba, whose types mypy does not know)
"""The kernel of `payload_hash`: one pass over the bytes of a JSON text, no values made.

Two lanes of FNV-1a with different primes, each value closed by a 64-bit mixer. Members of an object
are added up, so that their order does not count; elements of an array are chained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from cdp_assets.raw.words import compiled, has_byte, word_at

_P1 = np.uint64(0x100000001B3)
_P2 = np.uint64(0x9E3779B97F4A7C15)
_S1 = np.uint64(0xCBF29CE484222325)
_S2 = np.uint64(0x84222325CBF29CE5)
_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_DEPTH = 64

_NUMBER, _TRUE, _FALSE, _NULL, _OBJECT, _ARRAY, _DEEP = 2, 3, 4, 5, 6, 7, 8


@compiled
def _mix(value: Any) -> Any:
    value = uint64(value)
    value ^= value >> uint64(33)
    value *= _M1
    value ^= value >> uint64(33)
    value *= _M2
    value ^= value >> uint64(33)
    return value


@compiled
def _hex(byte: Any) -> Any:
    if byte <= 57:
        return byte - 48
    return (byte | 32) - 87


@compiled
def _unit(data: Any, at: Any) -> Any:
    """The code unit of the four hexadecimal digits at `at`."""
    unit = 0
    for k in range(4):
        unit = unit * 16 + _hex(np.int64(data[at + k]))
    return unit


@compiled
def _feed(a: Any, b: Any, word: Any) -> Any:
    a = (a ^ word) * _P1
    a ^= a >> uint64(32)
    b = (b ^ word) * _P2
    b ^= b >> uint64(29)
    return a, b


@compiled
def _zone(data: Any, start: Any, stop: Any) -> Any:
    """Length of the zone of a moment in UTC that is not spelt `Z`; 0 for any other text."""
    size = stop - start
    if size < 24 or data[start + 10] != 84 or data[start + 4] != 45 or data[stop - 1] != 48:
        return 0
    if data[stop - 2] != 48 or data[stop - 4] != 48:
        return 0
    if data[stop - 5] == 43 and data[stop - 3] == 48:
        return 5
    if data[stop - 6] == 43 and data[stop - 5] == 48 and data[stop - 3] == 58:
        return 6
    return 0


@compiled
def _text(data: Any, at: Any, end: Any) -> Any:
    """Hash the JSON string whose first character is at `at`; returns lanes and the place after
    its closing quote. Eight bytes of its UTF-8 at a time, the rest and the length last."""
    a = _S1
    b = _S2
    start = at
    limit = data.shape[0] - 8
    while at <= limit:
        word = word_at(data, at)
        if has_byte(word, 34) | has_byte(word, 92):
            break
        a, b = _feed(a, b, word)
        at += 8
    tail = at
    while at < end and data[at] != 34 and data[at] != 92:
        at += 1
    rest = uint64(0)
    size = at - start
    if at >= end or data[at] == 34:
        zone = _zone(data, start, at)
        if zone == 0:
            for k in range(at - tail):
                rest |= uint64(data[tail + k]) << uint64(8 * k)
            a, b = _feed(a, b, rest)
            a, b = _feed(a, b, uint64(size))
            return _mix(a), _mix(b), at + 1
        # A moment in UTC has three spellings of its zone; `Z` stands for all. Begun again, since
        # the words above already hold a part of the zone.
        a = _S1
        b = _S2
        stop = at - zone
        full = start + ((stop - start) & ~7)
        for k in range(start, full, 8):
            a, b = _feed(a, b, word_at(data, k))
        for k in range(stop - full):
            rest |= uint64(data[full + k]) << uint64(8 * k)
        rest |= uint64(90) << uint64(8 * (stop - full))
        size = stop - start + 1
        if (size & 7) == 0:
            a, b = _feed(a, b, rest)
            rest = uint64(0)
        a, b = _feed(a, b, rest)
        a, b = _feed(a, b, uint64(size))
        return _mix(a), _mix(b), at + 1
    at = tail
    size = tail - start
    filled = 0
    while at < end and data[at] != 34:
        code = np.int64(data[at])
        at += 1
        count = 1
        lead = code
        if code == 92:
            mark = np.int64(data[at])
            at += 1
            code = mark
            if mark == 117:
                code = _unit(data, at)
                at += 4
                if 0xD800 <= code < 0xDC00 and at + 6 <= end and data[at] == 92:
                    code = 0x10000 + ((code - 0xD800) << 10) + (_unit(data, at + 2) - 0xDC00)
                    at += 6
            elif mark == 110:
                code = 10
            elif mark == 116:
                code = 9
            elif mark == 114:
                code = 13
            elif mark == 98:
                code = 8
            elif mark == 102:
                code = 12
            # As UTF-8, which is how the same character stands where it is not escaped.
            lead = code
            if code >= 0x10000:
                count = 4
                lead = 0xF0 | (code >> 18)
            elif code >= 0x800:
                count = 3
                lead = 0xE0 | (code >> 12)
            elif code >= 0x80:
                count = 2
                lead = 0xC0 | (code >> 6)
        for k in range(count - 1, -1, -1):
            byte = lead if k == count - 1 else 0x80 | ((code >> (6 * k)) & 0x3F)
            rest |= uint64(byte) << uint64(8 * filled)
            filled += 1
            size += 1
            if filled == 8:
                a, b = _feed(a, b, rest)
                rest = uint64(0)
                filled = 0
    a, b = _feed(a, b, rest)
    a, b = _feed(a, b, uint64(size))
    return _mix(a), _mix(b), at + 1


@compiled
def _number(data: Any, at: Any, end: Any) -> Any:
    """Hash a number by its digits without leading and trailing zeros, and its exponent."""
    a = (_S1 ^ uint64(_NUMBER)) * _P1
    b = (_S2 ^ uint64(_NUMBER)) * _P2
    negative = False
    if data[at] == 45:
        negative = True
        at += 1
    exponent = np.int64(0)
    zeros = np.int64(0)
    any_digit = False
    fraction = False
    while at < end:
        byte = data[at]
        if 48 <= byte <= 57:
            if fraction:
                exponent -= 1
            if byte == 48:
                if any_digit:
                    zeros += 1
            else:
                for _ in range(zeros):
                    a = (a ^ uint64(48)) * _P1
                    b = (b ^ uint64(48)) * _P2
                zeros = 0
                any_digit = True
                a = (a ^ uint64(byte)) * _P1
                b = (b ^ uint64(byte)) * _P2
        elif byte == 46:
            fraction = True
        elif byte == 101 or byte == 69:
            at += 1
            down = False
            if data[at] == 43 or data[at] == 45:
                down = data[at] == 45
                at += 1
            power = np.int64(0)
            while at < end and 48 <= data[at] <= 57:
                if power < 1_000_000_000:
                    power = power * 10 + np.int64(data[at] - 48)
                at += 1
            exponent += -power if down else power
            break
        else:
            break
        at += 1
    if any_digit:
        exponent += zeros
        sign = uint64(45) if negative else uint64(43)
        a = (a ^ sign) * _P1
        b = (b ^ sign) * _P2
        a = (a ^ uint64(exponent)) * _P1
        b = (b ^ uint64(exponent)) * _P2
    return _mix(a), _mix(b), at


@compiled
def _blank(data: Any, at: Any, end: Any) -> Any:
    while at < end:
        byte = data[at]
        if byte != 32 and byte != 10 and byte != 13 and byte != 9:
            break
        at += 1
    return at


@compiled
def _deep(data: Any, at: Any, end: Any) -> Any:
    """Hash the bytes of a value that lies too deep to be told apart; returns its end too."""
    a = (_S1 ^ uint64(_DEEP)) * _P1
    b = (_S2 ^ uint64(_DEEP)) * _P2
    depth = 0
    quoted = False
    while at < end:
        byte = data[at]
        a = (a ^ uint64(byte)) * _P1
        b = (b ^ uint64(byte)) * _P2
        at += 1
        if quoted:
            if byte == 92:
                a = (a ^ uint64(data[at])) * _P1
                b = (b ^ uint64(data[at])) * _P2
                at += 1
            elif byte == 34:
                quoted = False
        elif byte == 34:
            quoted = True
        elif byte == 123 or byte == 91:
            depth += 1
        elif byte == 125 or byte == 93:
            depth -= 1
            if depth == 0:
                break
    return _mix(a), _mix(b), at


@compiled
def _row(data: Any, at: Any, end: Any, skipped: Any, kinds: Any, sums: Any, keys: Any) -> Any:
    """Hash one JSON text. kinds, sums, keys: one place a level, reused from row to row."""
    depth = -1
    a = uint64(0)
    b = uint64(0)
    while True:
        at = _blank(data, at, end)
        if at >= end:
            return a, b
        byte = data[at]
        done = False
        if depth >= 0 and byte == 44:
            at += 1
            continue
        if byte == 125 or byte == 93:
            tag = uint64(_OBJECT) if kinds[depth] == 1 else uint64(_ARRAY)
            a = _mix((sums[depth, 0] ^ tag) * _P1)
            b = _mix((sums[depth, 1] ^ tag) * _P2)
            depth -= 1
            at += 1
            done = True
        elif depth >= 0 and kinds[depth] == 1 and byte == 34 and keys[depth, 2] == 0:
            a, b, at = _text(data, at + 1, end)
            keys[depth, 0] = a
            keys[depth, 1] = b
            keys[depth, 2] = 1
            at = _blank(data, at, end) + 1
            continue
        elif byte == 123 or byte == 91:
            if depth + 1 == _DEPTH:
                a, b, at = _deep(data, at, end)
                done = True
            else:
                depth += 1
                kinds[depth] = 1 if byte == 123 else 0
                sums[depth, 0] = 0
                sums[depth, 1] = 0
                keys[depth, 2] = 0
                at += 1
                continue
        elif byte == 34:
            a, b, at = _text(data, at + 1, end)
            done = True
        elif byte == 116:
            a, b, at, done = _mix(uint64(_TRUE)), _mix(_S2 ^ uint64(_TRUE)), at + 4, True
        elif byte == 102:
            a, b, at, done = _mix(uint64(_FALSE)), _mix(_S2 ^ uint64(_FALSE)), at + 5, True
        elif byte == 110:
            a, b, at, done = _mix(uint64(_NULL)), _mix(_S2 ^ uint64(_NULL)), at + 4, True
        else:
            a, b, at = _number(data, at, end)
            done = True
        if not done or depth < 0:
            return a, b
        if kinds[depth] == 1:
            left_out = False
            if depth == 0:
                for k in range(skipped.shape[0]):
                    if skipped[k, 0] == keys[0, 0] and skipped[k, 1] == keys[0, 1]:
                        left_out = True
            if not left_out:
                sums[depth, 0] += _mix(keys[depth, 0] * _P2 + a)
                sums[depth, 1] += _mix(keys[depth, 1] * _P1 + b)
            keys[depth, 2] = 0
        else:
            sums[depth, 0] = _mix((sums[depth, 0] + _S1) * _P1 + a)
            sums[depth, 1] = _mix((sums[depth, 1] + _S2) * _P2 + b)


@compiled
def _hash_rows(
    data: Any, offsets: Any, skipped: Any, kinds: Any, sums: Any, keys: Any, digits: Any
) -> None:
    for row in range(offsets.shape[0] - 1):
        a, b = _row(data, offsets[row], offsets[row + 1], skipped, kinds, sums, keys)
        for k in range(16):
            shift = uint64(60 - 4 * k)
            high = (a >> shift) & uint64(15)
            low = (b >> shift) & uint64(15)
            digits[row, k] = high + uint64(48) if high < 10 else high + uint64(87)
            digits[row, 16 + k] = low + uint64(48) if low < 10 else low + uint64(87)


def hash_rows(
    data: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any], skipped: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Hash each of the JSON texts `data[offsets[i]:offsets[i + 1]]`; 32 ASCII digits a row."""
    digits = np.empty((len(offsets) - 1, 32), dtype=np.uint8)
    kinds = np.zeros(_DEPTH, dtype=np.uint8)
    sums = np.zeros((_DEPTH, 2), dtype=np.uint64)
    keys = np.zeros((_DEPTH, 3), dtype=np.uint64)
    _hash_rows(data, offsets, skipped, kinds, sums, keys, digits)
    return digits


def hash_text(name: str) -> tuple[int, int]:
    """The two lanes of a member's name, as `skipped` takes them."""
    data = np.frombuffer(name.encode() + b'"', dtype=np.uint8)
    a, b, _ = _text(data, 0, len(data))
    return int(a), int(b)
