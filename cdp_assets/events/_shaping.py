# mypy: ignore-errors
# (compiled by numba, whose types mypy does not know)
"""The kernel of `shapes`: one pass over JSON lines, which hashes of one object of each line which
members it has and of which types. It makes no value and judges nothing: what is JSON, the decoder
has said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from cdp_assets.events._scanning import _after, _blank, _closing, _show
from cdp_assets.raw.words import compiled, word_at

ABSENT, NULL, TEXT, ESCAPED, INTEGER, WHOLE, NUMBER, EXPONENT, BOOLEAN, OBJECT, ARRAY = range(11)
"""Kinds of a value. WHOLE: 12.0, which JSON Schema calls an integer. EXPONENT: 1e3, which may be
one."""
ODD, EXPONENTS, NO_OBJECT = 1, 2, 4
LEVELS = 70
DISTINCT = 8

_M1 = np.uint64(0xFF51AFD7ED558CCD)
_M2 = np.uint64(0xC4CEB9FE1A85EC53)
_M3 = np.uint64(0x9E3779B97F4A7C15)


@compiled
def _mix(h: Any) -> Any:
    h ^= h >> uint64(33)
    h *= _M1
    h ^= h >> uint64(33)
    h *= _M2
    return h ^ (h >> uint64(33))


@compiled
def _name(data: Any, at: Any, stop: Any, seed: Any) -> Any:
    """A hash of these bytes."""
    h = seed ^ (uint64(stop - at) * _M3)
    while at < stop:
        if at + 8 <= data.shape[0]:
            word = word_at(data, at)
            left = stop - at
            if left < 8:
                word &= (uint64(1) << uint64(8 * left)) - uint64(1)
        else:
            word = uint64(0)
            for k in range(min(stop - at, 8)):
                word |= uint64(data[at + k]) << uint64(8 * k)
        h = (h ^ word) * _M1
        h ^= h >> uint64(29)
        at += 8
    return h


@compiled
def _number(data: Any, at: Any, end: Any) -> Any:
    """The place after the number, true, false or null at `at`, and its kind."""
    byte = data[at]
    if byte == 110:
        return at + 4, NULL
    if byte == 116:
        return at + 4, BOOLEAN
    if byte == 102:
        return at + 5, BOOLEAN
    kind = INTEGER
    while at < end:
        byte = data[at]
        if byte == 46:
            kind = WHOLE
        elif byte == 69 or byte == 101:
            kind = EXPONENT
        elif kind == WHOLE and byte > 48 and byte <= 57:
            kind = NUMBER
        elif byte == 44 or byte == 125 or byte == 93 or _blank(byte):
            break
        at += 1
    return at, kind


@compiled
def _shape(data: Any, at: Any, end: Any, seed: Any, sums: Any, names: Any, seen: Any, counts: Any,
           closes: Any) -> Any:  # fmt: skip
    """(hash of the object or array that opens at `at`, the place after it, marks, how many
    members it has, those of inner objects counted)."""
    depth = -1
    marks = 0
    members = 0
    name = uint64(0)
    while at < end:
        byte = data[at]
        if byte == 44 or _blank(byte):
            at += 1
            continue
        value = uint64(0)
        if byte == 125 or byte == 93:
            value = _mix(sums[depth] ^ (seed + uint64(OBJECT if closes[depth] == 125 else ARRAY)))
            at += 1
            name = names[depth]
            depth -= 1
            if depth < 0:
                return value, at, marks, members
        else:
            name = uint64(0)
            if depth >= 0 and closes[depth] == 125:
                stop, _ = _closing(data, at + 1, end)
                name = _name(data, at + 1, stop, seed)
                members += 1
                at = stop + 1
                while at < end and (data[at] == 58 or _blank(data[at])):
                    at += 1
                if at >= end:
                    break
                byte = data[at]
            if byte == 123 or byte == 91:
                if depth + 1 >= LEVELS:
                    break
                depth += 1
                sums[depth] = uint64(0)
                counts[depth] = 0
                names[depth] = name
                closes[depth] = byte + 2
                at += 1
                continue
            kind = TEXT
            if byte == 34:
                stop, _ = _closing(data, at + 1, end)
                at = stop + 1
            else:
                at, kind = _number(data, at, end)
                if kind == EXPONENT:
                    marks |= EXPONENTS
            value = _mix(seed + uint64(kind))
        if closes[depth] == 125:
            sums[depth] += _mix(name ^ (value * _M3))
        else:
            # of an array counts which shapes its members have, not how many
            known = False
            for k in range(min(counts[depth], DISTINCT)):
                if seen[depth, k] == value:
                    known = True
                    break
            if not known:
                if counts[depth] < DISTINCT:
                    seen[depth, counts[depth]] = value
                counts[depth] += 1
                sums[depth] += value
    return uint64(0), end, marks | ODD, members


@compiled
def shapes(
    data: Any, starts: Any, ends: Any, wanted: Any, seed: Any, hashes: Any, opens: Any, stops: Any,
    marks: Any, members: Any, sums: Any, names: Any, seen: Any, counts: Any, closes: Any,
) -> None:  # fmt: skip
    """Fill hashes, opens, stops, marks, members [row] of one member of each line's object.

    wanted: 0 for its `properties`, 1 for its `traits`; of two the last one counts. opens, stops:
    where it stands, 0 and 0 where it is absent or null. NO_OBJECT: it is no object. ODD: a name
    of the line's own members holds an escape, so that this may have passed the one it sought.
    sums … closes [LEVELS]: room to work in, `seen` with DISTINCT to each.
    """
    for row in range(starts.shape[0]):
        at = starts[row]
        end = ends[row]
        while at < end and data[at] != 123:
            at += 1
        at += 1
        size = 10 if wanted[row] == 0 else 6
        while at < end and data[at] != 125:
            byte = data[at]
            if byte == 44 or _blank(byte):
                at += 1
                continue
            stop, escaped = _closing(data, at + 1, end)
            if escaped:
                marks[row] |= ODD
            start = at + 1
            sought = False
            if stop - start == size:
                if size == 10:
                    sought = (
                        data[start] == 112 and data[start + 1] == 114 and data[start + 2] == 111
                        and data[start + 3] == 112 and data[start + 4] == 101
                        and data[start + 5] == 114 and data[start + 6] == 116
                        and data[start + 7] == 105 and data[start + 8] == 101
                        and data[start + 9] == 115
                    )  # fmt: skip
                else:
                    sought = (
                        data[start] == 116 and data[start + 1] == 114 and data[start + 2] == 97
                        and data[start + 3] == 105 and data[start + 4] == 116
                        and data[start + 5] == 115
                    )  # fmt: skip
            at = stop + 1
            while at < end and (data[at] == 58 or _blank(data[at])):
                at += 1
            if at >= end:
                break
            byte = data[at]
            if sought:
                marks[row] &= ODD
                hashes[row] = 0
                opens[row] = 0
                stops[row] = 0
                members[row] = 0
                if byte == 123:
                    opens[row] = at
                    found, at, noted, count = _shape(
                        data, at, end, seed, sums, names, seen, counts, closes
                    )
                    hashes[row] = found
                    stops[row] = at
                    marks[row] |= noted
                    members[row] = count
                    continue
                if byte != 110:
                    marks[row] |= NO_OBJECT
            if byte == 34:
                stop, _ = _closing(data, at + 1, end)
                at = stop + 1
            elif byte == 123 or byte == 91:
                at, _ = _after(data, at, end, 0, 1 << 30)
            else:
                at, _ = _number(data, at, end)


@compiled
def members(
    data: Any, opens: Any, stops: Any, places: Any, names: Any, kinds: Any, views: Any, odd: Any,
) -> None:  # fmt: skip
    """Fill kinds [name, row] and views [name, row, 4] of named members of each row's object (its
    own, not those of inner ones); of two of one name the last counts. odd [row]: a name holds an
    escape.
    places: name → where it begins in `names`, and one more."""
    many = places.shape[0] - 1
    for row in range(opens.shape[0]):
        at = opens[row] + 1
        end = stops[row]
        guess = 0
        while at < end and data[at] != 125:
            byte = data[at]
            if byte == 44 or _blank(byte):
                at += 1
                continue
            stop, escaped = _closing(data, at + 1, end)
            if escaped:
                odd[row] = 1
            start = at + 1
            size = stop - start
            found = -1
            for step in range(many):
                # one sender writes members in one order: what was found last is followed by this
                at_name = guess + step
                if at_name >= many:
                    at_name -= many
                first = places[at_name]
                if places[at_name + 1] - first != size:
                    continue
                same = True
                for k in range(size):
                    if names[first + k] != data[start + k]:
                        same = False
                        break
                if same:
                    found = at_name
                    guess = at_name + 1
                    if guess >= many:
                        guess = 0
                    break
            at = stop + 1
            while at < end and (data[at] == 58 or _blank(data[at])):
                at += 1
            if at >= end:
                break
            byte = data[at]
            value = at
            if byte == 34:
                stop, escaped = _closing(data, at + 1, end)
                kind = ESCAPED if escaped else TEXT
                at = stop + 1
            elif byte == 123 or byte == 91:
                kind = OBJECT if byte == 123 else ARRAY
                at, _ = _after(data, at, end, 0, 1 << 30)
            else:
                at, kind = _number(data, at, end)
            if found >= 0:
                kinds[found, row] = kind
                _show(views, found, row, data, value, at)
