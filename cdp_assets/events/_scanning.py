# mypy: ignore-errors
# (compiled by numba, whose types mypy does not know)
"""The kernel of `spans`: one pass over a block of JSON lines, which finds where named members of
some objects stand. It makes no value and judges nothing: what is JSON, the decoder says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from cdp_assets.raw.words import SPAN, alike, compiled, lowest, word_at

ABSENT, NULL, TEXT, ESCAPED, OTHER, NESTED = 0, 1, 2, 3, 4, 5
ODD, EDGE, DEEP, LARGE = 1, 2, 4, 8
FREE, LEAF, NAME, OBJECT = 0, 1, 2, 3

_LOW = np.uint64(0xFFFFFFFF)
LEVELS = 8


@compiled
def _closing(data: Any, at: Any, end: Any) -> Any:
    """Where the string whose first character is at `at` closes (`end` where it does not), and
    whether it holds an escape."""
    escaped = False
    limit = data.shape[0] - SPAN
    while at < end:
        if at <= limit:
            hits = alike(data, at, 255, 34) | alike(data, at, 255, 92)
            if hits == 0:
                at += SPAN
                continue
            at += lowest(hits)
            if at >= end:
                break
        elif data[at] != 34 and data[at] != 92:
            at += 1
            continue
        if data[at] == 34:
            return at, escaped
        escaped = True
        at += 2
    return end, escaped


@compiled
def _after(data: Any, at: Any, end: Any, level: Any, most: Any) -> Any:
    """The place after the object or array that opens at `at`, and whether it lies deeper than
    `most` where it opens at depth `level`."""
    depth = 0
    deep = False
    while at < end:
        byte = data[at]
        if byte == 34:
            at, _ = _closing(data, at + 1, end)
        elif byte == 123 or byte == 91:
            depth += 1
            deep = deep or level + depth > most
        elif byte == 125 or byte == 93:
            depth -= 1
            if depth == 0:
                return at + 1, deep
        at += 1
    return end, deep


@compiled
def _blank(byte: Any) -> Any:
    return byte == 32 or byte == 9 or byte == 13 or byte == 10


@compiled
def _first(data: Any, start: Any, size: Any) -> Any:
    """The first eight of `size` bytes as one number; zeros where there are fewer."""
    if size <= 0:
        return uint64(0)
    if start + 8 <= data.shape[0]:
        word = word_at(data, start)
        if size < 8:
            word &= (uint64(1) << uint64(8 * size)) - uint64(1)
        return word
    word = uint64(0)
    for k in range(min(size, 8)):
        word |= uint64(data[start + k]) << uint64(8 * k)
    return word


@compiled
def _show(views: Any, field: Any, row: Any, data: Any, start: Any, stop: Any) -> None:
    """An Arrow view of these bytes: inside itself up to twelve, else their beginning and place."""
    size = stop - start
    views[field, row, 0] = size
    word = _first(data, start, size)
    views[field, row, 1] = np.uint32(word & _LOW)
    if size > 12:
        views[field, row, 2] = 0
        views[field, row, 3] = start
    else:
        views[field, row, 2] = np.uint32(word >> uint64(32))
        views[field, row, 3] = np.uint32(_first(data, start + 8, size - 8) & _LOW)


@compiled
def _forget(kinds: Any, row: Any, group: Any, first: Any, child: Any) -> None:
    """Of two members of one name the last counts, with nothing of what the first one held."""
    for field in range(first[group], first[group + 1]):
        if kinds[field, row] != ABSENT and child[field] >= 0:
            for inner in range(first[child[field]], first[child[field] + 1]):
                kinds[inner, row] = ABSENT
        kinds[field, row] = ABSENT


@compiled
def _same(
    data: Any, start: Any, size: Any, head: Any, field: Any, places: Any, names: Any, heads: Any
) -> Any:
    if heads[field] != head or places[field + 1] - places[field] != size:
        return False
    for k in range(8, size):  # noqa: SIM110 - numba compiles no generator
        if data[start + k] != names[places[field] + k]:
            return False
    return True


@compiled
def _field(
    data: Any, start: Any, size: Any, head: Any, group: Any, first: Any, places: Any, names: Any,
    heads: Any,
) -> Any:  # fmt: skip
    for field in range(first[group], first[group + 1]):
        if _same(data, start, size, head, field, places, names, heads):
            return field
    return -1


@compiled
def scan(
    data: Any, starts: Any, ends: Any, first: Any, places: Any, names: Any, heads: Any, child: Any,
    roles: Any, edges: Any, most: Any, longest: Any, kinds: Any, views: Any, marks: Any,
    levels: Any, guess: Any,
) -> None:  # fmt: skip
    """Fill kinds [field, row], views [field, row, 4] and marks [row].

    data: the block; each line from starts to ends is one object. first: group → its first field,
    and one more. places: field → where its name begins in `names`, and one more; heads: its first
    eight bytes. child: field → the group that its object's members belong to, or -1. roles: what a
    field must be: FREE anything, LEAF text without escape or null, NAME such text, OBJECT an
    object or null; where it is not, and where a line is none of this or a name holds an escape,
    the row is ODD and means nothing. edges: fields of which outer blanks and more than `longest`
    bytes are marked EDGE. most: the depth from which a line is DEEP. levels [3, LEVELS] and
    guess [fields + 1], all -1: room to work in.
    """
    group_of, field_of, start_of = levels[0], levels[1], levels[2]
    for row in range(starts.shape[0]):
        at = starts[row] + 1
        end = ends[row]
        level = 0
        group = 0
        last = places.shape[0] - 1
        closed = False
        while at < end:
            byte = data[at]
            if byte == 44 or _blank(byte):
                at += 1
                continue
            if byte == 125:
                at += 1
                if level == 0:
                    closed = True
                    break
                _show(views, field_of[level], row, data, start_of[level], at)
                kinds[field_of[level], row] = NESTED
                level -= 1
                group = group_of[level]
                continue
            if byte != 34:
                break
            start = at + 1
            stop, escaped = _closing(data, start, end)
            if escaped or stop >= end:
                break
            at = stop + 1
            while at < end and (data[at] == 58 or _blank(data[at])):
                at += 1
            if at >= end:
                break
            size = stop - start
            head = _first(data, start, size)
            # one sender writes members in one order: what followed the last one follows it again
            field = guess[last]
            if field < first[group] or field >= first[group + 1] or not _same(
                data, start, size, head, field, places, names, heads
            ):  # fmt: skip
                field = _field(data, start, size, head, group, first, places, names, heads)
                guess[last] = field
            if field >= 0:
                last = field
            if field >= 0 and child[field] >= 0 and kinds[field, row] != ABSENT:
                _forget(kinds, row, child[field], first, child)
            byte = data[at]
            start = at
            if byte == 34:
                stop, escaped = _closing(data, at + 1, end)
                at = stop + 1
                if field >= 0:
                    if roles[field] == OBJECT or (escaped and roles[field] != FREE):
                        marks[row] |= ODD
                    if escaped:
                        kinds[field, row] = ESCAPED
                        _show(views, field, row, data, start, at)
                    else:
                        kinds[field, row] = TEXT
                        _show(views, field, row, data, start + 1, stop)
                        if edges[field] and stop > start + 1:
                            left = data[start + 1]
                            right = data[stop - 1]
                            if (
                                left <= 32 or left >= 127 or right <= 32 or right >= 127
                                or stop - start - 1 > longest
                            ):  # fmt: skip
                                marks[row] |= EDGE
            elif byte == 123 and field >= 0 and child[field] >= 0 and level + 1 < LEVELS:
                level += 1
                kinds[field, row] = NESTED
                group = child[field]
                group_of[level] = group
                field_of[level] = field
                start_of[level] = at
                at += 1
            elif byte == 123 or byte == 91:
                at, deep = _after(data, at, end, level + 1, most)
                if deep:
                    marks[row] |= DEEP
                if field >= 0:
                    if roles[field] != FREE:
                        marks[row] |= ODD
                    kinds[field, row] = NESTED
                    _show(views, field, row, data, start, at)
            else:
                while at < end and data[at] != 44 and data[at] != 125 and not _blank(data[at]):
                    at += 1
                if field >= 0:
                    if roles[field] == NAME or (byte != 110 and roles[field] != FREE):
                        marks[row] |= ODD
                    if byte == 110:
                        kinds[field, row] = NULL
                    else:
                        kinds[field, row] = OTHER
                        _show(views, field, row, data, start, at)
        if not closed or at != end:
            marks[row] |= ODD


@compiled
def _digit(byte: Any) -> Any:
    return byte >= 48 and byte <= 57


@compiled
def _large(data: Any, at: Any, size: Any) -> Any:
    """Whether the e at `at` ends a number's mantissa and begins an exponent of three digits."""
    after = at + 1
    if after < size and data[after] == 43:
        after += 1
    if after + 2 >= size:
        return False
    if not (_digit(data[after]) and _digit(data[after + 1]) and _digit(data[after + 2])):
        return False
    at -= 1
    while at >= 0 and (_digit(data[at]) or data[at] == 46):
        at -= 1
    if at >= 0 and data[at] == 45:
        at -= 1
    if at < 0:
        return False
    byte = data[at]
    return byte == 58 or byte == 44 or byte == 91 or byte <= 32 or byte >= 127


@compiled
def exponents(data: Any, found: Any) -> Any:
    """Fill `found` with the places of such an e, in order, inside strings too; returns how many,
    which may be more than there was room for."""
    count = 0
    size = data.shape[0]
    digit_before = uint64(0)
    at = 0
    while at < size:
        if at + SPAN <= size:
            digits = alike(data, at, 0xF0, 0x30)
            near = alike(data, at, 0xDF, 69) & ((digits << uint64(1)) | digit_before)
            digit_before = digits >> uint64(SPAN - 1)
        else:
            near = (uint64(1) << uint64(size - at)) - uint64(1)
        while near != 0:
            k = at + lowest(near)
            near &= near - uint64(1)
            if data[k] | 32 == 101 and k > 0 and _digit(data[k - 1]) and _large(data, k, size):
                if count < found.shape[0]:
                    found[count] = k
                count += 1
        at += SPAN
    return count


@compiled
def _two(data: Any, at: Any) -> Any:
    """The number of two digits, below zero where they are none."""
    a = np.int64(data[at]) - 48
    b = np.int64(data[at + 1]) - 48
    if a < 0 or a > 9 or b < 0 or b > 9:
        return np.int64(-10_000)
    return a * 10 + b


@compiled
def moments(
    data: Any, kinds: Any, views: Any, early: Any, late: Any, found: Any, read: Any
) -> None:
    """Microseconds since 1970 of the texts `YYYY-MM-DDThh:mm:ss.mmmZ` from year early to late.

    read: 1 where the row's text is one, else nothing is said of it.
    """
    for row in range(kinds.shape[0]):
        if kinds[row] != TEXT or views[row, 0] != 24:
            continue
        at = np.int64(views[row, 3])
        if (
            data[at + 4] != 45 or data[at + 7] != 45 or data[at + 10] != 84 or data[at + 13] != 58
            or data[at + 16] != 58 or data[at + 19] != 46 or data[at + 23] != 90
        ):  # fmt: skip
            continue
        year = _two(data, at) * 100 + _two(data, at + 2)
        month = _two(data, at + 5)
        day = _two(data, at + 8)
        hour = _two(data, at + 11)
        minute = _two(data, at + 14)
        second = _two(data, at + 17)
        milli = _two(data, at + 20) * 10 + np.int64(data[at + 22]) - 48
        if year < early or year > late or month < 1 or month > 12 or day < 1:
            continue
        if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
            continue
        if milli < 0 or not _digit(data[at + 22]):
            continue
        length = 31
        if month == 4 or month == 6 or month == 9 or month == 11:
            length = 30
        elif month == 2:
            leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
            length = 29 if leap else 28
        if day > length:
            continue
        # days since 1970 in the Gregorian calendar, years counted from March
        y = year - 1 if month <= 2 else year
        of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
        days = 365 * y + y // 4 - y // 100 + y // 400 + of_year - 719468
        found[row] = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + milli * 1000
        read[row] = 1
