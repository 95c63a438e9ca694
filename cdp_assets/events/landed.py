"""Requests of the landing log as lines of events, with what is known of each from its request."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl
from msgspec import Raw

from cdp_assets.events.lines import BLOCK, EXCERPT, LINE_LIMIT, Lines
from cdp_assets.events.model import NO_RAW
from cdp_assets.events.tables import TS
from cdp_assets.landing import Frame, Request, read
from cdp_assets.raw.files import UnreadableFile
from cdp_assets.raw.quarantine import Refusal

BATCH: Final = "batch"
HEADS: Final = {
    "source": pl.String(), "received": TS, "sent": pl.String(), "ip": pl.String(),
    "agent": pl.String(), "referer": pl.String(), "server": pl.Boolean(), "gpc": pl.Boolean(),
}  # fmt: skip
"""What a request says of its events, a column each; see `landing.Request`; sent: the batch's."""


class Envelope(msgspec.Struct, gc=False, rename="camel"):
    """The body of a request: a batch, or one event, of which the same members count."""

    batch: list[Raw] | None = None
    write_key: str | None = None
    sent_at: Raw = NO_RAW
    context: Raw = NO_RAW
    integrations: Raw = NO_RAW
    type: str | None = None


decode_envelope: Final = msgspec.json.Decoder(Envelope).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
# possessive, so that no body makes it look twice at a byte; a string may be cut off at the end
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[{}\[\],]', re.DOTALL)
_COLON = re.compile(rb"\s*:\s*")
_NOTHING = (b"", b"null")
SHARED_LIMIT = 16 << 20
"""Bytes that a batch's context and integrations may become in its events together."""


class Parts(msgspec.Struct, frozen=True, gc=False):
    """A request's events, each as the bytes of one line, and the batch's `sentAt`. excess: its
    context is so large that its events are left without it."""

    lines: list[bytes]
    sent: str | None = None
    excess: bool = False


def parts(call: str, body: bytes, envelope: Envelope | None = None) -> Parts:
    """The events of a body. `call`: `batch`, or the type of its one event, from its address.
    envelope: the body decoded, where it has been already.

    A body that is no JSON as a whole, for one bare NaN say, is split by its brackets, so that
    each event is judged alone; one that is no batch at all is one line, which `judge` refuses.
    Raises nothing for any content.
    """
    try:
        envelope = envelope or decode_envelope(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _torn(body)
    if envelope.batch is None:
        return Parts([_line(body if envelope.type else _typed(body, call))])
    return _batch([bytes(raw) for raw in envelope.batch], envelope)


def _batch(lines: list[bytes], envelope: Envelope) -> Parts:
    shared = {
        name: raw
        for name, raw in (("context", envelope.context), ("integrations", envelope.integrations))
        if bytes(raw) not in _NOTHING
    }
    excess = sum(len(bytes(raw)) for raw in shared.values()) * len(lines) > SHARED_LIMIT
    if shared and not excess:
        lines = [_with(line, shared) for line in lines]
    return Parts([_line(line) for line in lines], _scalar(envelope.sent_at), excess)


def _scalar(raw: Raw) -> str | None:
    """A text or a number as text; None for anything else."""
    text = bytes(raw)
    try:
        if text.startswith(b'"'):
            return str(msgspec.json.decode(text))
        return text.decode("ascii") if text[:1].isdigit() else None
    except (msgspec.DecodeError, UnicodeError):
        return None


def _line(event: bytes) -> bytes:
    # outside of strings a line break is a blank, and inside of one JSON forbids it
    return event.replace(b"\n", b" ").strip() if b"\n" in event else event.strip()


def _typed(body: bytes, call: str) -> bytes:
    """An event whose address says its type, with it."""
    if call == BATCH:
        return body
    try:
        members = {name: raw for name, raw in _members(body).items() if name != "type"}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body
    return _encode({"type": call, **members})


def _with(line: bytes, shared: dict[str, Raw]) -> bytes:
    """An event with its batch's context and integrations, its own members first."""
    try:
        members: dict[str, Any] = dict(_members(line))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return line
    for name, raw in shared.items():
        own = members.get(name)
        try:
            if own is None or bytes(own) == b"null":
                members[name] = raw
            else:
                members[name] = Raw(_encode({**_members(raw), **_members(own)}))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue  # its own is no object, and stays as it is
    return _encode(members)


def _torn(body: bytes) -> Parts:
    """The events of a body that is no JSON as a whole, told apart by brackets and quotes alone."""
    places = _top_members(body)
    batch = body[slice(*places.get(b'"batch"', (0, 0)))].lstrip()
    if not batch.startswith(b"["):
        return Parts([_line(body)])

    def member(name: bytes) -> Raw:
        found = body[slice(*places.get(name, (0, 0)))].strip()
        try:
            msgspec.json.decode(found, type=Raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return NO_RAW
        return Raw(found)

    around = Envelope(
        sent_at=member(b'"sentAt"'),
        context=member(b'"context"'),
        integrations=member(b'"integrations"'),
    )
    return _batch(_elements(batch), around)


def _top_members(body: bytes) -> dict[bytes, tuple[int, int]]:
    """Where the values of the outermost object stand, by their names in quotes."""
    found: dict[bytes, tuple[int, int]] = {}
    depth, begun, end = 0, 0, len(body)
    name: bytes | None = None
    for token in _TOKEN.finditer(body):
        sign = token[0]
        if sign in (b"{", b"["):
            depth += 1
        elif sign in (b"}", b"]"):
            depth -= 1
            if depth <= 0:
                end = token.start()
                break
        elif sign == b",":
            if depth == 1 and name is not None:
                found[name], name = (begun, token.start()), None
        elif depth == 1 and name is None and (colon := _COLON.match(body, token.end())):
            name, begun = sign, colon.end()
    if name is not None:
        found[name] = (begun, end)
    return found


def _elements(batch: bytes) -> list[bytes]:
    """The elements of a list, the last one as far as it goes."""
    elements: list[bytes] = []
    depth, start = 0, len(batch)
    for token in _TOKEN.finditer(batch):
        sign = token[0]
        if sign in (b"{", b"["):
            depth += 1
            start = token.end() if depth == 1 else start
        elif sign in (b"}", b"]"):
            depth -= 1
            if not depth:
                elements.append(batch[start : token.start()])
                start = len(batch)
                break
        elif sign == b"," and depth == 1:
            elements.append(batch[start : token.start()])
            start = token.end()
    elements.append(batch[start:])
    return [element for element in elements if element.strip()]


class LandedLines(Lines):
    """Lines with the heads of their requests: a row of HEADS each."""

    def __init__(
        self,
        first: int,
        data: bytes,
        heads: pl.DataFrame,
        refused: Sequence[Refusal] = (),
        numbers: Sequence[int] | None = None,
    ) -> None:
        super().__init__(first, data, refused, numbers)
        self.heads = heads

    def part(self, first: int, last: int) -> LandedLines:
        """The rows [first, last) as lines of their own."""
        start, data, refused, numbers = self._slice(first, last)
        return LandedLines(start, data, self.heads[first:last], refused, numbers)

    def source(self, number: int) -> str:
        """The source of the line with this number."""
        return str(self.heads["source"][self.row(number)])


@dataclass
class _Gathering:
    """Lines of some requests, until they are a block."""

    lines: list[bytes] = field(default_factory=list)
    requests: list[tuple[Request, str | None]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    size: int = 0

    def add(self, frame: Frame, first: int) -> int:
        found = parts(frame.request.call, frame.body)
        for index, line in enumerate(found.lines):
            if len(line) > LINE_LIMIT:
                self.refused.append(_too_long(first + index, line))
                found.lines[index] = b""
        self.lines += found.lines
        self.requests.append((frame.request, found.sent))
        self.counts.append(len(found.lines))
        self.size += len(frame.body)
        return len(found.lines)

    def block(self, first: int) -> LandedLines:
        rows = [
            (r.source, r.received, sent, r.ip, r.agent, r.referer, r.server, r.gpc)
            for r, sent in self.requests
        ]
        heads = pl.DataFrame(rows, schema={**HEADS, "received": pl.String()}, orient="row")
        heads = heads.with_columns(
            pl.col("received").str.to_datetime(
                "%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC"
            )
        )
        which = pl.Series(range(len(rows)), dtype=pl.UInt32)
        if self.counts.count(1) != len(rows):
            counts = pl.Series(self.counts, dtype=pl.UInt32)
            which = pl.select(pl.lit(which).repeat_by(pl.lit(counts)).explode()).to_series()
            which = which.drop_nulls()
        data = b"\n".join(self.lines) + b"\n"
        return LandedLines(first, data, heads[which], self.refused)


def landed_lines(path: str, block: int = BLOCK) -> Iterator[LandedLines]:
    """The events of a sealed segment, numbered from 1, in blocks of about `block` bytes.

    Raises UnreadableFile where its frames do not reach its end, after those before.
    """
    first, gathering, end = 1, _Gathering(), 0
    number = first
    for frame in read(Path(path)):
        number += gathering.add(frame, number)
        end = frame.end
        if gathering.size >= block:
            if gathering.lines:
                yield gathering.block(first)
            first, gathering = number, _Gathering()
    if gathering.lines:
        yield gathering.block(first)
    size = Path(path).stat().st_size
    if end != size:
        raise UnreadableFile(
            path,
            f"is damaged at byte {end} of {size}: a frame's checksum is wrong. What stands before "
            "is read. Put the file there again from a backup, and touch it where its size and time "
            "are those of the damaged one",
        )


def chosen(path: str, numbers: Sequence[int]) -> LandedLines:
    """The events with these numbers of a sealed segment, as far as it can be read. Raises
    OSError."""
    wanted, found = set(numbers), list[int]()
    lines: list[bytes] = []
    heads: list[pl.DataFrame] = []
    blocks = landed_lines(path)
    with contextlib.suppress(UnreadableFile):  # what stands before the damage is sound
        while len(found) < len(wanted) and (block := next(blocks, None)) is not None:
            rows = [row for row in range(len(block)) if block.number(row) in wanted]
            if rows:
                found += [block.number(row) for row in rows]
                whole = block.data.split(b"\n")
                lines += [whole[row] for row in rows]
                heads.append(block.heads[rows])
    frame = pl.concat(heads) if heads else pl.DataFrame(schema=HEADS)
    data = b"".join(line + b"\n" for line in lines)
    return LandedLines(found[0] if found else 1, data, frame, numbers=found)


def _too_long(number: int, line: bytes) -> Refusal:
    return Refusal(number, "too_long", f"{len(line)} bytes in one event", line[:EXCERPT])


def with_heads(frame: pl.DataFrame, heads: pl.DataFrame) -> pl.DataFrame:
    """Decoded events with what their requests say of them: adds `source` and sets the times and
    addresses.

    frame: columns as `decode` makes them, before times are corrected. heads: its rows' HEADS.

    received is the collector's own clock, whatever the sender claims; sent is the batch's, else
    the event's own (the SDKs take it out of the events). `context.ip` is believed from a server
    key only: of a browser the address that the request came from counts.
    """
    own_agent = pl.when(~heads["server"]).then(heads["agent"])
    return frame.with_columns(
        heads["source"],
        pl.lit(None, pl.String).alias("received_text"),
        heads["received"].alias("received_text_read"),
        pl.coalesce(heads["sent"], "sent_text").alias("sent_text"),
        *(
            [pl.when(heads["sent"].is_null()).then("sent_text_read").alias("sent_text_read")]
            if "sent_text_read" in frame.columns
            else []
        ),
        pl.when(heads["server"]).then("ip").otherwise(heads["ip"]).alias("ip"),
        pl.coalesce("user_agent", own_agent).alias("user_agent"),
        pl.coalesce("page_url", heads["referer"]).alias("page_url"),
        pl.when(heads["gpc"])
        .then(pl.concat_list("flags", pl.lit(["gpc"])))
        .otherwise("flags")
        .alias("flags"),
    )  # fmt: skip
