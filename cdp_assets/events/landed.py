"""Requests of the landing log as lines of events, with what is known of each from its request."""

from __future__ import annotations

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
    "source": pl.String(), "received": pl.String(), "sent": pl.String(), "ip": pl.String(),
    "agent": pl.String(), "referer": pl.String(), "server": pl.Boolean(), "gpc": pl.Boolean(),
}  # fmt: skip
"""What a request says of its events, a column each; see `landing.Request`; sent: the batch's."""


class Envelope(msgspec.Struct, gc=False, rename="camel"):
    """The body of a request: a batch, or one event, of which the same members count."""

    batch: list[Raw] | None = None
    write_key: str | None = None
    sent_at: str | int | None = None
    context: Raw = NO_RAW
    integrations: Raw = NO_RAW
    type: str | None = None


decode_envelope: Final = msgspec.json.Decoder(Envelope).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],]', re.DOTALL)
_LIST = re.compile(rb"\s*:\s*\[")
_SENT = re.compile(rb'"sentAt"\s*:\s*"([^"\\]{1,64})"')


class Parts(msgspec.Struct, frozen=True, gc=False):
    """A request's events, each as the bytes of one line, and the batch's `sentAt`."""

    lines: list[bytes]
    sent: str | None = None


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
    sent = None if envelope.sent_at is None else str(envelope.sent_at)
    shared = {
        name: raw
        for name, raw in (("context", envelope.context), ("integrations", envelope.integrations))
        if len(bytes(raw)) > len("null")
    }
    lines = [bytes(raw) for raw in envelope.batch]
    if shared:
        lines = [_with(line, shared) for line in lines]
    return Parts([_line(line) for line in lines], sent)


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
        for name, raw in shared.items():
            own = members.get(name)
            members[name] = raw if own is None else Raw(_encode({**_members(raw), **_members(own)}))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return line
    return _encode(members)


def _torn(body: bytes) -> Parts:
    found = _SENT.search(body)
    sent = found[1].decode() if found else None
    elements = _elements(body)
    if elements is None:
        return Parts([_line(body)])
    return Parts([_line(element) for element in elements], sent)


def _elements(body: bytes) -> list[bytes] | None:
    """The elements of the list `batch`, told apart by brackets and quotes alone; None where there
    is no such list."""
    depth = 0
    start = -1
    elements: list[bytes] = []
    for token in _TOKEN.finditer(body):
        text = token[0]
        if start < 0:
            depth += (text in b"{[") - (text in b"}]")
            if text == b'"batch"' and depth == 1 and (opened := _LIST.match(body, token.end())):
                start, depth = opened.end(), 1
        elif token.start() < start:
            continue  # the bracket that opened the list
        elif text in b"{[":
            depth += 1
        elif text in b"}]":
            depth -= 1
            if not depth:
                elements.append(body[start : token.start()])
                return [element for element in elements if element.strip()]
        elif text == b"," and depth == 1:
            elements.append(body[start : token.start()])
            start = token.end()
    if start < 0:
        return None
    return [element for element in (*elements, body[start:]) if element.strip()]


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

    def source(self, number: int) -> str:
        """The source of the line with this number."""
        row = number - self.first if self.numbers is None else self.numbers.index(number)
        return str(self.heads["source"][row])


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
        heads = pl.DataFrame(rows, schema=HEADS, orient="row")
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
            "is read. Put the file there again from a backup",
        )


def chosen(path: str, numbers: Sequence[int]) -> LandedLines:
    """The events with these numbers, ascending, of a sealed segment. Raises UnreadableFile."""
    wanted = set(numbers)
    lines: list[bytes] = []
    heads: list[pl.DataFrame] = []
    for block in landed_lines(path):
        rows = [row for row in range(len(block)) if block.number(row) in wanted]
        if rows:
            whole = block.data.split(b"\n")
            lines += [whole[row] for row in rows]
            heads.append(block.heads[rows])
    frame = pl.concat(heads) if heads else pl.DataFrame(schema=HEADS)
    data = b"".join(line + b"\n" for line in lines)
    return LandedLines(numbers[0], data, frame, numbers=sorted(numbers))


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
        heads["received"].alias("received_text"),
        heads["received"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC")
        .cast(TS).alias("received_text_read"),
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
