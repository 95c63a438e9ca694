"""Transformations: what a source's own file makes of a line before it is judged.

A Python file defines `transform(event: dict) -> dict | list[dict] | None`; a SQL file is one
`select` over the table `events`, whose one row's column `event` is the line's JSON, and returns a
row with such a column for each event it makes. Nothing but the line goes in, so that a line means
the same live, in a backfill and in a replay.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from cdp_assets.events.landed import LandedLines
from cdp_assets.events.lines import LINE_LIMIT, Lines
from cdp_assets.events.model import BLANK, judge
from cdp_assets.events.model import Refusal as Unread
from cdp_assets.raw.quarantine import Refusal

FAILED: Final = "transform_failed"
FLAG: Final = "transform:"
MOST_PARTS: Final = 1_000
"""Events that one line may become."""

Made = Sequence[Mapping[str, Any] | bytes]
"""The events that a line became, as objects or JSON text."""


class TransformError(Exception):
    """A file that is no transformation. line: where in it, from 1; 0 where no line is to blame."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class LineFailed(Exception):
    """A line that a transformation could not take; its text says why without the line's data."""


class NoObject(Exception):
    """A line that does not decode as a JSON object, which no transformation sees."""


def _exact(text: str) -> float | Decimal:
    number = float(text)
    return number if Decimal(repr(number)) == Decimal(text) else Decimal(text)


_read: Final = msgspec.json.Decoder(dict[str, Any], float_hook=_exact).decode
_write: Final = msgspec.json.Encoder(decimal_format="number").encode


def _object(line: bytes) -> dict[str, Any]:
    try:
        return _read(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise NoObject from error


@dataclass(frozen=True)
class Transform:
    """A transformation as it stands in its file; see `load_transform`.

    version: the first 8 hex digits of the SHA-256 of the file. run: a line's JSON → the events it
    becomes, none where it is to be dropped; raises NoObject, LineFailed.
    """

    file: str
    version: str
    run: Callable[[bytes], Made] = field(compare=False, repr=False)

    @cached_property
    def flag(self) -> str:
        """What each event that went through it bears in `flags`."""
        return f"{FLAG}{self.version}"


def load_transform(file: Path) -> Transform:
    """The transformation in a `.py` or `.sql` file; loaded anew where the file has changed. Raises
    TransformError, with the line of the file."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TransformError(f"{file.name} cannot be read ({type(error).__name__})") from error
    return _load(file, content)


@lru_cache(maxsize=64)
def _load(file: Path, content: bytes) -> Transform:
    version = hashlib.sha256(content).hexdigest()[:8]
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise TransformError(f"{file.name} is not UTF-8") from error
    if file.suffix == ".py":
        return Transform(file.name, version, _python(file, text))
    if file.suffix == ".sql":
        return Transform(file.name, version, _sql(file.name, text))
    raise TransformError(f"{file.name}: name a .py or a .sql file")


def _python(file: Path, text: str) -> Callable[[bytes], Made]:
    module = ModuleType(f"cdp_transform_{file.parent.name}_{file.stem}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses look their own module up
    try:
        exec(compile(text, str(file), "exec"), module.__dict__)  # noqa: S102 - the deployment's own code
    except SyntaxError as error:
        raise TransformError(f"{file.name}: {error.msg}", error.lineno or 0) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever their code raises
        said = f"{type(error).__name__}: {error}"
        raise TransformError(
            f"{file.name} fails when loaded: {said}", _line_in(error, file)
        ) from None
    function = module.__dict__.get("transform")
    if not callable(function):
        raise TransformError(f"{file.name} defines no function `transform(event)`", 1)

    def run(line: bytes) -> Made:
        event = _object(line)
        try:
            found = function(event)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever their code raises
            at = _line_in(error, file)
            where = f" at line {at}" if at else ""
            raise LineFailed(f"{file.name}: {type(error).__name__}{where}") from None
        if found is None:
            return ()
        made = found if isinstance(found, list) else [found]
        for event in made:
            if not isinstance(event, dict):
                kind = type(event).__name__
                raise LineFailed(
                    f"{file.name}: returned {kind}, not a dict, a list of them or None"
                )
        return made

    return run


def _line_in(error: BaseException, file: Path) -> int:
    """The last line of this file that an error came through; 0 where none is known."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 0 for f in reversed(frames) if f.filename == str(file)), 0)


_READING: Final = frozenset({
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
})  # fmt: skip


def _sql(name: str, text: str) -> Callable[[bytes], Made]:
    own = threading.local()  # a connection belongs to the thread that opened it

    def connection() -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(own, "connection", None)
        if found is None:
            found = own.connection = _connection()
        return found

    try:
        probe = _connection()
        columns = probe.execute(text).description or ()
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise TransformError(f"{name}: {error}") from None
    if [column[0] for column in columns] != ["event"]:
        told = ", ".join(column[0] for column in columns) or "nothing"
        raise TransformError(f"{name} returns {told}; it has to return one column named `event`")

    def run(line: bytes) -> Made:
        _object(line)
        here = connection()
        try:
            here.execute("update events set event = ?", (line.decode(),))
            rows = here.execute(text).fetchmany(MOST_PARTS + 1)
        except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError) as error:
            raise LineFailed(f"{name}: {type(error).__name__}") from None
        if any(not isinstance(event, str | None) for (event,) in rows):
            raise LineFailed(f"{name}: `event` is not JSON text")
        return [event.encode() for (event,) in rows if event is not None]

    return run


def _connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("create table events (event text)")
    connection.execute("insert into events values ('{}')")
    connection.create_function("sha256", 1, _sha256, deterministic=True)
    for table in (
        "json_each",
        "json_tree",
    ):  # made at their first use, which would be refused below
        connection.execute(f"select * from {table}('[]')")  # noqa: S608 - names of ours
    connection.set_authorizer(_may)
    return connection


def _may(action: int, first: str | None, second: str | None, *_: object) -> int:
    """Reading is all that a statement may do, and the update by which each line comes in."""
    fine = action in _READING or (action == sqlite3.SQLITE_UPDATE and first == "events")
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        fine = False
    return sqlite3.SQLITE_OK if fine else sqlite3.SQLITE_DENY


def _sha256(value: object) -> str | None:
    return None if value is None else hashlib.sha256(str(value).encode()).hexdigest()


@dataclass
class Transformed:
    """Lines after their transformations.

    lines: what is to be judged; the parts of one line bear its number. flags: of each of them,
    null where no transformation saw it. dropped: source → how many lines were dropped. gone: those
    lines. added: how many more events there are than lines that became any.
    """

    lines: Lines
    flags: list[str | None]
    dropped: dict[str, int]
    gone: Lines
    added: int


def transformed(
    lines: Lines, source: str, transforms: Mapping[str, Transform], minted: str
) -> Transformed | None:
    """The lines as the transformations of their sources make them; None where no line's source has
    one. Raises nothing for any content of the lines or any error of a transformation.

    source: whose lines they are, where they are not landed ones. minted: what ids of lines without
    one begin with. A line that no transformation can read is refused as `judge` says, or as
    `transform_failed` where that has no fault to find.
    """
    sources = [source] * len(lines)
    if isinstance(lines, LandedLines):
        sources = lines.heads["source"].to_list()
    if not transforms.keys() & set(sources):
        return None
    kept, gone = _Some(lines), _Some(lines)
    flags: list[str | None] = []
    refused = list(lines.refused)
    unread = {r.position for r in refused}
    dropped: dict[str, int] = {}
    added = 0
    for row, (line, of) in enumerate(zip(lines.data.split(b"\n"), sources, strict=False)):
        number, transform = lines.number(row), transforms.get(of)
        if not line and number in unread:
            continue
        parts, flag = [line], None
        if transform is not None:
            try:
                parts = _texts(transform, line, f"{minted}:{number}")
                flag = transform.flag
            except NoObject:
                # nothing must reach the tables around its transformation, whoever else can read it
                found = judge(line)
                if found is not BLANK:
                    said = Unread(FAILED, f"{transform.file}: a number too large for it")
                    said = found if isinstance(found, Unread) else said
                    refused.append(Refusal(number, said.reason, said.detail, line))
                    continue
            except LineFailed as error:
                refused.append(Refusal(number, FAILED, str(error), line))
                continue
        if not parts:
            gone.add(row, line)
            dropped[of] = dropped.get(of, 0) + 1
            continue
        added += len(parts) - 1
        for part in parts:
            kept.add(row, part)
            flags.append(flag)
    return Transformed(kept.lines(refused), flags, dropped, gone.lines(()), added)


class _Some:
    """Lines made of rows of a block, several of one row perhaps."""

    def __init__(self, block: Lines) -> None:
        self._block = block
        self._lines: list[bytes] = []
        self._rows: list[int] = []

    def add(self, row: int, line: bytes) -> None:
        self._lines.append(line)
        self._rows.append(row)

    def lines(self, refused: Sequence[Refusal]) -> Lines:
        block = self._block
        data = b"".join(line + b"\n" for line in self._lines)
        numbers = [block.number(row) for row in self._rows]
        if isinstance(block, LandedLines):
            return LandedLines(block.first, data, block.heads[self._rows], refused, numbers)
        return Lines(block.first, data, refused, numbers)


def _texts(transform: Transform, line: bytes, minted: str) -> list[bytes]:
    """The events that a line becomes, as lines."""
    file = transform.file
    made = transform.run(line)
    if len(made) > MOST_PARTS:
        raise LineFailed(f"{file}: made more than {MOST_PARTS} events of one line")
    try:
        if len(made) > 1:
            made = _with_ids(made, _own_id(line) or minted)
        texts = [part if isinstance(part, bytes) else _write(part) for part in made]
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise LineFailed(f"{file}: returned what is no JSON ({type(error).__name__})") from None
    texts = [text.replace(b"\n", b" ") for text in texts]
    if any(len(text) > LINE_LIMIT for text in texts):
        raise LineFailed(f"{file}: made an event of more than {LINE_LIMIT} bytes")
    return texts


def _with_ids(made: Made, own: str) -> Made:
    """Events of one line, each with an id that no other of them has: the one it bears, else the
    line's (`own`), with its number where another has that already."""
    taken: set[str] = set()
    events: list[Mapping[str, Any]] = []
    for place, part in enumerate(made, start=1):
        event = _read(part) if isinstance(part, bytes) else part
        name = str(event.get("messageId") or "").strip() or own
        if name in taken:
            name = f"{name}:{place}"
            while name in taken:
                name += "+"
        taken.add(name)
        events.append({**event, "messageId": name})
    return events


def _own_id(line: bytes) -> str:
    named = _read(line).get("messageId")
    return str(named).strip() if isinstance(named, str | int) else ""


def restored(refused: Sequence[Refusal], lines: Lines) -> list[Refusal]:
    """Refusals of transformed lines, one a line, with the line as it was sent (`lines`): what is
    kept in quarantine is what a replay transforms again."""
    unread = {r.position: r for r in lines.refused}
    found: dict[int, Refusal] = {}
    for refusal in refused:
        number = refusal.position
        if number not in unread and number not in found:
            row = lines.row(number)
            sent = lines.data[lines.starts[row] : lines.ends[row]]
            found[number] = replace(refusal, payload=sent)
    return sorted([*unread.values(), *found.values()], key=lambda r: r.position)
