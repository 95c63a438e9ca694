"""One line of an event file: Segment's own JSON shape, read as senders really write it.

`judge` is the one judge of a line. The usual line passes a typed decoder; a line that it
refuses is read again field by field, since people send ids as numbers, titles as numbers and
contexts as text, and is either brought into the same shape or refused with a reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

TYPES: Final = frozenset({"track", "identify", "page", "screen", "group", "alias"})
MAX_DEPTH: Final = 64
MAX_ID: Final = 512
"""Characters of an id or an event name; a longer one is refused whole, a cut one would merge
strangers."""

Text = str | None
Loose = str | int | None

MAX_MEMBERS: Final = 10_000
"""Members of all objects of an event together; beyond it a property's names are somebody's ids."""
CROWDED: Final = 5 * MAX_MEMBERS
"""Bytes below which an event cannot hold so many."""

NO_RAW: Final = Raw(b"")


class Page(msgspec.Struct, gc=False):
    """`context.page`, or what a page call says of itself in its properties."""

    url: Text = None
    path: Text = None
    title: Text = None
    referrer: Text = None


class Campaign(msgspec.Struct, gc=False):
    """`context.campaign`."""

    source: Text = None
    medium: Text = None
    name: Text = None


class Context(msgspec.Struct, gc=False, rename="camel"):
    """`context`, as far as columns are made of it."""

    page: Page | None = None
    campaign: Campaign | None = None
    ip: Text = None
    user_agent: Text = None
    group_id: Loose = None
    traits: Raw = NO_RAW


class Event(msgspec.Struct, gc=False, rename="camel"):
    """One event as sent. Ids and times are still what the sender wrote."""

    type: str = ""
    event: Text = None
    name: Text = None
    message_id: Loose = None
    anonymous_id: Loose = None
    user_id: Loose = None
    group_id: Loose = None
    previous_id: Loose = None
    original_timestamp: Loose = None
    timestamp: Loose = None
    sent_at: Loose = None
    received_at: Loose = None
    context: Context | None = None
    properties: Raw = NO_RAW
    traits: Raw = NO_RAW


class OddEvent(Event, gc=False):
    """An event that only the careful reading understood, with what it noticed."""

    flags: tuple[str, ...] = ()


class Nothing(msgspec.Struct, gc=False):
    """Any object, of which nothing is kept."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a line is no event. `detail` never holds a value of the line."""

    reason: str
    detail: str


class Blank(msgspec.Struct, frozen=True):
    """A line of white space: not counted, not refused."""


BLANK: Final = Blank()

_typed: Final = msgspec.json.Decoder(Event)
_object: Final = msgspec.json.Decoder(dict[str, Raw])
_any: Final = msgspec.json.Decoder(Any)
_page: Final = msgspec.json.Decoder(Page)
decode_event: Final = _typed.decode
decode_lines: Final = _typed.decode_lines
skip_lines: Final = msgspec.json.Decoder(Nothing).decode_lines
"""Reads lines of objects for no more than whether they are JSON."""

_BIG_EXPONENT: Final = re.compile(r"[:,\[\s]-?[0-9]+(\.[0-9]+)?[eE]\+?[0-9]{3}")
BIG_EXPONENT_PATTERN: Final = _BIG_EXPONENT.pattern
"""Numbers that may overflow a double: skipping decoders pass them, so such a line is looked at
again as a whole."""

_SIGNS: Final = bytes(
    48 if 48 <= sign < 58 else 101 if sign in b"eE" else 43 if sign == 43 else 32
    for sign in range(256)
)
"""Every digit as 0, E as e: long exponents can then be sought as plain text, in a tenth of the time
that a pattern takes."""

MAX_DIGITS: Final = 1_000
"""Digits of a number: Python refuses to read those of more than 4,300, and others do sooner."""
LONG_NUMBER_PATTERN: Final = f"[0-9]{{{MAX_DIGITS + 1}}}"
_LONG_RUN: Final = b"0" * (MAX_DIGITS + 1)
_LONG_NUMBER: Final = re.compile(rf"[:,\[\s]-?{LONG_NUMBER_PATTERN}")
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)

_CHARACTERS: Final = ("event", "name", "messageId", "anonymousId", "userId", "groupId",
                      "previousId")  # fmt: skip
_TIMES: Final = ("originalTimestamp", "timestamp", "sentAt", "receivedAt")


def judge(line: str | bytes) -> Event | Refusal | Blank:
    """The event that `line` holds, else why it holds none. Raises nothing for any input.

    Refused are: bytes that are no UTF-8, what is no JSON object (bare NaN, lone surrogates,
    raw control characters, a byte order mark inside the file), nesting deeper than 64,
    numbers beyond a double, more than 10,000 members, an unknown or missing `type`, neither user
    nor device, a track call without a name, ids and names longer than 512 characters.
    """
    try:
        text, data = (line.decode(), line) if isinstance(line, bytes) else (line, line.encode())
    except UnicodeDecodeError as error:
        return Refusal("invalid_utf8", f"byte {error.start}")
    except UnicodeEncodeError:
        return Refusal("not_json", "a lone surrogate")
    if not text or text.isspace():
        return BLANK
    if too_deep(text):
        return Refusal("too_deep", f"nested deeper than {MAX_DEPTH}")
    signs = data.translate(_SIGNS)
    if _LONG_RUN in signs and _LONG_NUMBER.search(_STRING.sub('""', text)):
        return Refusal("number_out_of_range", f"a number of more than {MAX_DIGITS} digits")
    if _exponents(signs) and _BIG_EXPONENT.search(text):
        refusal = _whole(text)
        if refusal:
            return refusal
    try:
        event = _typed.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        found = _careful(text)
        if isinstance(found, Refusal):
            return found
        event = found
    if len(data) > CROWDED and data.count(b":") > MAX_MEMBERS and _members(text) > MAX_MEMBERS:
        return Refusal("too_many_members", f"more than {MAX_MEMBERS} members")
    return settle(event) or event


def _members(text: str) -> int:
    """How many members the objects in a JSON text have, all together."""
    count, left = 0, [_any.decode(text)]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            count += len(value)
            left += value.values()
        elif isinstance(value, list):
            left += value
    return count


def judge_each(lines: Sequence[bytes], whole: bytes) -> list[Event | Refusal | Blank]:
    """As `judge`, of each line of a body, faster: what can be ruled out of the body as a whole is
    not sought in each of its lines."""
    signs = whole.translate(_SIGNS)
    if not whole.isascii() or _exponents(signs) or _LONG_RUN in signs:
        return [judge(line) for line in lines]
    found: list[Event | Refusal | Blank] = []
    for line in lines:
        if len(line) <= CROWDED and line.count(b"{") + line.count(b"[") <= MAX_DEPTH:
            try:
                event = _typed.decode(line)
            except (msgspec.DecodeError, RecursionError, UnicodeError):
                found.append(judge(line))
            else:
                found.append(settle(event) or event)
        else:
            found.append(judge(line))
    return found


def _exponents(signs: bytes) -> bool:
    """Whether a number may have an exponent of three digits; of a text as `_SIGNS`."""
    return b"0e000" in signs or b"0e+000" in signs


def settle(event: Event) -> Refusal | None:
    """Bring ids to text in place (blank and null mean none); why the event is refused, if it is.

    A number as an id equals its digits as text. `type` is taken in lower case.
    """
    if event.message_id is not None:
        event.message_id = str(event.message_id).strip() or None
    if event.anonymous_id is not None:
        event.anonymous_id = str(event.anonymous_id).strip() or None
    if event.user_id is not None:
        event.user_id = str(event.user_id).strip() or None
    if event.group_id is not None:
        event.group_id = str(event.group_id).strip() or None
    if event.type not in TYPES:
        event.type = event.type.strip().lower()
        if event.type not in TYPES:
            return Refusal("unknown_type" if event.type else "no_type", _one_of(TYPES))
    if event.group_id is None and event.context is not None and event.context.group_id:
        event.group_id = str(event.context.group_id).strip() or None
    if event.user_id is None and event.anonymous_id is None:
        if event.type == "group" and event.group_id:
            return None
        return Refusal("no_id", "neither userId nor anonymousId")
    if event.type == "track":
        event.event = event.event.strip() if event.event else None
        if not event.event:
            return Refusal("no_event_name", "a track call without the name of its event")
        if len(event.event) > MAX_ID:
            return Refusal("name_too_long", f"event is longer than {MAX_ID} characters")
    for name in ("anonymous_id", "user_id", "group_id"):
        if len(getattr(event, name) or "") > MAX_ID:
            return Refusal("id_too_long", f"{name} is longer than {MAX_ID} characters")
    return None


def too_deep(text: str) -> bool:
    """Whether brackets nest deeper than 64. Counting them rules it out for nearly every line."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = deepest = 0
    inside = escaped = False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest > MAX_DEPTH


def page_of(event: Event) -> Page | None:
    """What a page call says of its page in its own properties; None where it cannot be read."""
    try:
        return _page.decode(event.properties)
    except msgspec.DecodeError:
        return None


def _one_of(names: frozenset[str]) -> str:
    return "type is one of " + ", ".join(sorted(names))


def _whole(text: str) -> Refusal | None:
    try:
        _any.decode(text)
    except msgspec.ValidationError:
        return Refusal("number_out_of_range", "a number that no double holds")
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return Refusal("not_json", _safe(error))
    return None


def _safe(error: Exception) -> str:
    # msgspec names what is wrong and the byte, never the text around it
    if not isinstance(error, msgspec.DecodeError):
        return type(error).__name__
    return str(error).removeprefix("JSON is malformed: ")


def _careful(text: str) -> Event | Refusal:
    """Read field by field what the typed decoder refused."""
    try:
        fields = _object.decode(text)
    except msgspec.ValidationError as error:
        return Refusal("not_an_object", _safe(error))
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return Refusal("not_json", _safe(error))
    flags: list[str] = []
    known: dict[str, Any] = {name: _scalar(fields, name, flags) for name in (*_CHARACTERS, *_TIMES)}
    kind = _scalar(fields, "type", flags)
    context = _context(fields.get("context"), flags)
    for name in ("anonymousId", "userId"):
        # an id that is a list or an object names nobody, and must not pass as "no id given"
        if f"not_text:{name}" in flags:
            return Refusal("id_not_text", f"{name} is neither text nor number")
    return OddEvent(
        type=kind or "",
        event=known["event"],
        name=known["name"],
        message_id=known["messageId"],
        anonymous_id=known["anonymousId"],
        user_id=known["userId"],
        group_id=known["groupId"],
        previous_id=known["previousId"],
        original_timestamp=known["originalTimestamp"],
        timestamp=known["timestamp"],
        sent_at=known["sentAt"],
        received_at=known["receivedAt"],
        context=context,
        properties=fields.get("properties", NO_RAW),
        traits=fields.get("traits", NO_RAW),
        flags=tuple(flags),
    )


def _scalar(fields: dict[str, Raw], name: str, flags: list[str], path: str = "") -> str | None:
    """The field as text: a number by its own digits; null where it is absent, null, or neither
    text nor number, which is flagged."""
    raw = fields.get(name)
    if raw is None:
        return None
    text = bytes(raw).decode()
    if text == "null":
        return None
    if text[0] == '"':
        return str(msgspec.json.decode(text))
    if text[0] in "{[tf":
        flags.append(f"not_text:{path}{name}")
        return None
    return text


def _context(raw: Raw | None, flags: list[str]) -> Context | None:
    fields = _object_of(raw, "context", flags)
    page = _object_of(fields.get("page"), "context.page", flags)
    campaign = _object_of(fields.get("campaign"), "context.campaign", flags)
    return Context(
        page=Page(**{n: _scalar(page, n, flags, "context.page.") for n in Page.__struct_fields__}),
        campaign=Campaign(
            **{
                n: _scalar(campaign, n, flags, "context.campaign.")
                for n in Campaign.__struct_fields__
            }
        ),
        ip=_scalar(fields, "ip", flags, "context."),
        user_agent=_scalar(fields, "userAgent", flags, "context."),
        group_id=_scalar(fields, "groupId", flags, "context."),
        traits=fields.get("traits", NO_RAW),
    )


def _object_of(raw: Raw | None, name: str, flags: list[str]) -> dict[str, Raw]:
    if raw is None or bytes(raw) == b"null":
        return {}
    try:
        return _object.decode(raw)
    except msgspec.DecodeError:
        flags.append(f"not_an_object:{name}")
        return {}
