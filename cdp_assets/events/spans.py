"""Where the members of event lines stand, as columns that lie over the lines' own bytes.

Making a Python string of each value and a column of those takes most of the time of reading
events. A string without escapes is its own bytes: a column can point at them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from cdp_assets.events.lines import Lines
from cdp_assets.events.model import MAX_DEPTH, MAX_ID
from cdp_assets.events.times import FIRST_YEAR, LAST_YEAR, TS

TOP, CONTEXT, PAGE, CAMPAIGN, PROPERTIES, TRAITS, CONTEXT_TRAITS = range(7)
ENVELOPE: Final[Mapping[str, tuple[int, str]]] = {
    "type": (TOP, "type"),
    "event": (TOP, "event"),
    "message_id": (TOP, "messageId"),
    "anonymous_id": (TOP, "anonymousId"),
    "user_id": (TOP, "userId"),
    "group_id": (TOP, "groupId"),
    "context_group_id": (CONTEXT, "groupId"),
    "original_text": (TOP, "originalTimestamp"),
    "timestamp_text": (TOP, "timestamp"),
    "sent_text": (TOP, "sentAt"),
    "received_text": (TOP, "receivedAt"),
    "page_url": (PAGE, "url"),
    "page_path": (PAGE, "path"),
    "page_title": (PAGE, "title"),
    "referrer": (PAGE, "referrer"),
    "campaign_source": (CAMPAIGN, "source"),
    "campaign_medium": (CAMPAIGN, "medium"),
    "campaign_name": (CAMPAIGN, "name"),
    "ip": (CONTEXT, "ip"),
    "user_agent": (CONTEXT, "userAgent"),
}
"""Column → the object and the member that it is read from."""

TIMES: Final = ("original_text", "timestamp_text", "sent_text", "received_text")

_NESTED = {
    (TOP, "context"): CONTEXT, (TOP, "properties"): PROPERTIES, (TOP, "traits"): TRAITS,
    (CONTEXT, "page"): PAGE, (CONTEXT, "campaign"): CAMPAIGN, (CONTEXT, "traits"): CONTEXT_TRAITS,
}  # fmt: skip
_OBJECTS = ((TOP, "context"), (CONTEXT, "page"), (CONTEXT, "campaign"))
_UNUSED = ((TOP, "name"), (TOP, "previousId"))
"""Members that make no column, and must be text all the same."""
_IDS = ("event", "message_id", "anonymous_id", "user_id", "group_id", "context_group_id")
_FEW = 4096
Places = np.ndarray[Any, np.dtype[Any]]


class Fields:
    """Which members are looked for: the envelope's, and named ones of properties and traits."""

    def __init__(self, properties: Sequence[str] = (), traits: Sequence[str] = ()) -> None:
        # Imported here: numba takes half a second, and a run without files needs none of it.
        from cdp_assets.events import _scanning as kernel

        leaves = {*ENVELOPE.values(), *_UNUSED}
        wanted = {*leaves, *_NESTED}
        wanted |= {(PROPERTIES, name) for name in properties}
        wanted |= {(group, name) for name in traits for group in (TRAITS, CONTEXT_TRAITS)}
        ordered = sorted(wanted)
        self.at = {key: n for n, key in enumerate(ordered)}
        names = [name.encode() for _, name in ordered]
        groups = [group for group, _ in ordered]
        ids = {ENVELOPE[name] for name in _IDS}
        self.first = np.searchsorted(groups, np.arange(8)).astype(np.int64)
        self.places = np.cumsum([0, *map(len, names)]).astype(np.int64)
        self.names = np.frombuffer(b"".join(names), dtype=np.uint8)
        self.heads = np.array([int.from_bytes(n[:8], "little") for n in names], dtype=np.uint64)
        roles = dict.fromkeys(leaves, kernel.LEAF) | dict.fromkeys(_OBJECTS, kernel.OBJECT)
        roles[ENVELOPE["type"]] = kernel.NAME
        self.roles = np.array([roles.get(key, kernel.FREE) for key in ordered], dtype=np.int64)
        self.child = np.array([_NESTED.get(key, -1) for key in ordered], dtype=np.int64)
        self.edges = np.array([key in ids for key in ordered], dtype=np.bool_)


class Spans:
    """The members of one block's lines. Each line must begin with { and end with }; what of it
    is no JSON is for the decoder to say before anything here is believed."""

    def __init__(self, lines: Lines, fields: Fields) -> None:
        from cdp_assets.events import _scanning as kernel

        self._kernel = kernel
        self._fields = fields
        self._data = lines.data
        data = np.frombuffer(lines.data, dtype=np.uint8)
        rows, members = len(lines), len(fields.at)
        self._kinds: Places = np.zeros((members, rows), dtype=np.uint8)
        self._views: Places = np.zeros((members, rows, 4), dtype=np.uint32)
        self._marks: Places = np.zeros(rows, dtype=np.uint8)
        kernel.scan(
            data, lines.starts, lines.ends, fields.first, fields.places, fields.names,
            fields.heads, fields.child, fields.roles, fields.edges, MAX_DEPTH, MAX_ID,
            self._kinds, self._views, self._marks, np.zeros((3, kernel.LEVELS), dtype=np.int64),
            np.full(members + 1, -1, dtype=np.int64),
        )  # fmt: skip
        found = np.zeros(_FEW, dtype=np.int64)
        count = kernel.exponents(data, found)
        if count > _FEW:
            found = np.zeros(count, dtype=np.int64)
            kernel.exponents(data, found)
        self._marks[np.searchsorted(lines.ends, found[:count])] |= kernel.LARGE

    def slow(self) -> Places:
        """Rows whose envelope is not all plain text (an escape, a number as id, what the typed
        decoder refuses), and page calls that say of themselves what their page is."""
        kernel, at = self._kernel, self._fields.at
        slow = self._marks & kernel.ODD != 0
        no_page = self._kinds[at[CONTEXT, "page"]] != kernel.NESTED
        if no_page.any():
            kind = self.envelope("type")
            slow |= no_page & kind.is_in(["page", "screen"]).fill_null(False).to_numpy()
        rows: Places = np.flatnonzero(slow)
        return rows

    def marked(self) -> Places:
        """Whether a row's ids have outer blanks or are long, whether it nests deeply, or holds
        what may be a number beyond a double: superset of what `judge` has to look at again."""
        marked: Places = self._marks != 0
        return marked

    def envelope(self, column: str) -> pl.Series:
        """A column of ENVELOPE; null where the member is absent or no plain text."""
        field = self._fields.at[ENVELOPE[column]]
        plain = self._kinds[field] == self._kernel.TEXT
        return self._series(self._views[field], plain).alias(column)

    def moment(self, column: str) -> pl.Series:
        """A column of ENVELOPE as a time; null where it is not `YYYY-MM-DDThh:mm:ss.mmmZ`, the
        form that most senders write, or not in the years that are believed."""
        field = self._fields.at[ENVELOPE[column]]
        data = np.frombuffer(self._data, dtype=np.uint8)
        kinds = self._kinds[field]
        found: Places = np.zeros(len(kinds), dtype=np.int64)
        read: Places = np.zeros(len(kinds), dtype=np.uint8)
        self._kernel.moments(data, kinds, self._views[field], FIRST_YEAR, LAST_YEAR, found, read)
        times = pl.Series(column, found).cast(TS)
        return times if read.all() else times.set(pl.Series(read == 0), None)

    def plain(self, group: int, name: str, rows: Places) -> pl.Series:
        """A member of these rows as text; see `typed.plain`."""
        field = self._fields.at[group, name]
        return self._text(self._kinds[field][rows], self._views[field][rows])

    def told(self, name: str, rows: Places) -> tuple[Places, pl.Series]:
        """Of these rows those that tell a trait, null among them, and its text: the one in
        `traits` counts, else the one under `context.traits`."""
        own, other = self._fields.at[TRAITS, name], self._fields.at[CONTEXT_TRAITS, name]
        kinds = self._kinds[own][rows]
        views = self._views[own][rows]
        absent = kinds == self._kernel.ABSENT
        kinds = np.where(absent, self._kinds[other][rows], kinds)
        views = np.where(absent[:, None], self._views[other][rows], views)
        there = kinds != self._kernel.ABSENT
        return rows[there], self._text(kinds[there], views[there])

    def _text(self, kinds: Places, views: Places) -> pl.Series:
        text = self._series(np.ascontiguousarray(views), kinds > self._kernel.NULL)
        escaped = np.flatnonzero(kinds == self._kernel.ESCAPED)
        if len(escaped):
            texts = [msgspec.json.decode(t) for t in text.gather(escaped).to_list()]
            text = text.scatter(escaped, pl.Series(texts, dtype=pl.String))
        return text

    def _series(self, views: Places, valid: Places) -> pl.Series:
        bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        buffers = [bits, pa.py_buffer(views), pa.py_buffer(self._data)]
        return pl.Series(pa.Array.from_buffers(pa.string_view(), len(valid), buffers))
