"""Events as they arrive, each with its verdict: what `cdp tail` and its page show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cdp_assets.collector.verdicts import Verdicts
from cdp_assets.events.landed import parts
from cdp_assets.events.model import Event, judge
from cdp_assets.landing import SEALED, read
from cdp_assets.landing.frames import START, Frame
from cdp_assets.landing.segments import OPEN

POLL_SECONDS = 0.25


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
        return (
            f"{self.received[11:23]}  {self.source}  {self.type}{name}  {self.who}  {self.verdict}"
        )


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
    earlier = list(_new(folder, places, source))
    for frame in earlier[len(earlier) - min(last, len(earlier)) :]:
        yield from _events(frame, verdicts)
    while True:
        found = False
        for frame in _new(folder, places, source):
            found = True
            yield from _events(frame, verdicts)
        if not found:
            sleep(POLL_SECONDS)
            yield None


def _new(folder: Path, places: dict[str, int], source: str | None) -> Iterator[Frame]:
    """Frames beyond the places known; a segment keeps its place when it is sealed."""
    paths = [path for path in folder.glob("*") if path.suffix in (OPEN, SEALED)]
    for path in sorted(paths, key=lambda path: path.stem):
        try:
            for frame in read(path, places.get(path.stem, START)):
                places[path.stem] = frame.end
                if source is None or frame.request.source == source:
                    yield frame
        except FileNotFoundError:
            continue  # it was sealed meanwhile, and is found under its other name


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
