"""Events as they arrive, each with its verdict: what `cdp tail` and its page show."""

from __future__ import annotations

import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cdp_assets.collector.verdicts import Verdicts
from cdp_assets.events.landed import parts
from cdp_assets.events.model import Event, judge
from cdp_assets.landing import SEALED, read
from cdp_assets.landing.frames import START, Frame
from cdp_assets.landing.segments import OPEN

POLL_SECONDS = 0.25
_DONE = -1
"""The place of a sealed segment of which all is read: it is not opened again."""
_STEERING = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Controls of terminals, ends of lines, signs that change the direction of writing, and signs that
nobody sees; not what joins letters and emoji."""


@dataclass(frozen=True)
class Seen:
    """One event as it arrived.

    verdict: `ok`, or the reason for which it will be in quarantine, with its detail. payload: as
    sent, without line breaks.
    """

    received: str
    source: str
    type: str
    name: str
    who: str
    verdict: str
    payload: str

    def line(self) -> str:
        """One line for a terminal."""
        name = f" {self.name}" if self.name else ""
        return plain(
            f"{self.received[11:23]}  {self.source}  {self.type}{name}  {self.who}  {self.verdict}"
        )


def plain(text: str) -> str:
    """A text in which nothing steers a terminal or turns what stands beside it around: such
    characters are shown as JSON escapes."""
    return _STEERING.sub(lambda found: json.dumps(found[0])[1:-1], text)


def follow(
    folder: Path,
    verdicts: Verdicts,
    source: str | None = None,
    last: int = 0,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Seen | None]:
    """The events that land from now on, and before them the `last` ones that are there; None
    whenever there is nothing new, after a short wait. source: of this source alone."""
    places: dict[str, int] = {}
    for frame in _latest(folder, places, source, last):
        yield from _events(frame, verdicts)
    while True:
        found = False
        for frame in _new(folder, places, source):
            found = True
            yield from _events(frame, verdicts)
        if not found:
            sleep(POLL_SECONDS)
            yield None


def _latest(folder: Path, places: dict[str, int], source: str | None, last: int) -> list[Frame]:
    """The last frames that are there, in the order in which they came; the places of all segments
    become known, and no more than those frames are held. Sealed ones are read, the newest first,
    only until there are enough."""
    found: list[Frame] = []
    enough = 0
    for path in sorted(_segments(folder, places), key=_age, reverse=True):
        if path.suffix == SEALED and enough >= last:
            places[path.stem] = _DONE
            continue
        kept = deque(_beyond(path, places, source), maxlen=last)
        enough += len(kept)
        found = [*kept, *found]
    found.sort(key=lambda frame: frame.request.received)
    return found[len(found) - min(last, len(found)) :]


def _new(folder: Path, places: dict[str, int], source: str | None) -> Iterator[Frame]:
    """Frames beyond the places known."""
    for path in sorted(_segments(folder, places), key=_age):
        yield from _beyond(path, places, source)


def _segments(folder: Path, places: Mapping[str, int]) -> list[Path]:
    """The segments that are not read to their end."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [
        folder / name
        for name in names
        if name.endswith((OPEN, SEALED)) and places.get(name.partition(".")[0]) != _DONE
    ]


def _age(path: Path) -> str:
    return path.stem


def _beyond(path: Path, places: dict[str, int], source: str | None) -> Iterator[Frame]:
    """Frames of a segment beyond its place, which it keeps when it is sealed."""
    for now in (path, path.with_suffix(SEALED)):  # it may be sealed just now
        try:
            for frame in read(now, places.get(path.stem, START)):
                places[path.stem] = frame.end
                if source is None or frame.request.source == source:
                    yield frame
        except FileNotFoundError:
            continue
        if now.suffix == SEALED:
            places[path.stem] = _DONE
        return


def _events(frame: Frame, verdicts: Verdicts) -> Iterator[Seen]:
    request = frame.request
    rejected = {
        item.index: f"{item.reason}: {item.detail}"
        for item in verdicts.of(request.source, request.call, frame.body, None).rejected
    }
    for index, line in enumerate(parts(request.call, frame.body).lines):
        event = judge(line)
        known = event if isinstance(event, Event) else Event()
        yield Seen(
            received=request.received,
            source=request.source,
            type=known.type or request.call,
            name=str(known.event or known.name or ""),
            who=str(known.user_id or known.anonymous_id or "-"),
            verdict=rejected.get(index, "ok"),
            payload=line.decode("utf-8", "replace"),
        )
