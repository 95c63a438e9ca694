"""The event files: lines of several days put together, some of them twice, late or broken.

Older history lies in weekly files, the last seven days and every later day in daily ones. A file
appears whole (written beside, then renamed) and is never changed afterwards.
"""

from __future__ import annotations

import gzip
import os
import random
from datetime import date, timedelta
from pathlib import Path

from cdp_assets.sandbox.world.journeys import Line, Seen, day_lines
from cdp_assets.sandbox.world.people import HISTORY_DAYS, Population

TWICE_SAME_DAY, TWICE_NEXT_DAY, BROKEN = 0.006, 0.004, 0.002


class EventFiles:
    """Writes the event files of a world into `folder`.

    first: date of day number 0. parts: day number → share of that day that had passed when its
    events were made; whole days where it is absent.
    """

    def __init__(
        self, population: Population, folder: Path, first: date, parts: dict[int, float]
    ) -> None:
        self.population = population
        self.folder = folder
        self.first = first
        self.parts = parts

    def write_history(self, seen: Seen) -> None:
        """Files of days 0 to HISTORY_DAYS."""
        daily_from = HISTORY_DAYS - 6
        week: list[list[bytes]] = []
        before: list[Line] = []
        for day in range(HISTORY_DAYS + 1):
            lines, before = self._day(day, before, seen)
            week.append(lines)
            if day < daily_from and len(week) < 7 and day != daily_from - 1:
                continue
            self._write(day - len(week) + 1, day, [line for part in week for line in part])
            week = []
        self._copy_one()

    def write_day(self, day: int, seen: Seen) -> None:
        """Files of one later day."""
        before = self._lines(day - 1, Seen())
        lines, _ = self._day(day, before, seen)
        self._write(day, day, lines)

    def date_of(self, day: int) -> date:
        """The date of a day number."""
        return self.first + timedelta(days=day)

    def _lines(self, day: int, seen: Seen) -> list[Line]:
        part = self.parts.get(day, 1.0)
        return day_lines(self.population, day, self.date_of(day), part=part, seen=seen)

    def _day(self, day: int, before: list[Line], seen: Seen) -> tuple[list[bytes], list[Line]]:
        rng = random.Random(f"{self.population.seed}:files:{day}")
        lines = self._lines(day, seen)
        lines.sort(key=lambda line: line.at)
        out = [f"{line.source} {line.text}".encode() for line in lines]
        again = rng.sample(out, round(TWICE_SAME_DAY * len(out)))
        late_again = [
            f"{line.source} {line.text}".encode()
            for line in rng.sample(before, round(TWICE_NEXT_DAY * len(before)))
        ]
        count = int(BROKEN * len(lines) + rng.random())
        wrong = [_break(line, rng) for line in rng.sample(lines, count)]
        return out + again + late_again + wrong, lines

    def _write(self, first: int, last: int, lines: list[bytes]) -> None:
        name = self.date_of(first).isoformat()
        if last != first:
            name += f"_{self.date_of(last).isoformat()}"
        for source in ("web", "ios", "server"):
            mark = f"{source} ".encode()
            body = b"".join(line[len(mark) :] + b"\n" for line in lines if line.startswith(mark))
            if source == "ios":
                self._put(f"{name}.{source}.jsonl.gz", gzip.compress(body, 4, mtime=0))
            else:
                self._put(f"{name}.{source}.jsonl", body)

    def _copy_one(self) -> None:
        """One file that was delivered a second time under another name."""
        name = f"{self.date_of(HISTORY_DAYS - 2).isoformat()}.server"
        self._put(f"{name}-copy.jsonl", (self.folder / f"{name}.jsonl").read_bytes())

    def _put(self, name: str, body: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{name}.part"
        part.write_bytes(body)
        os.replace(part, self.folder / name)


def _break(line: Line, rng: random.Random) -> bytes:
    """A line that no reader can take as an event, made from a good one."""
    text = line.text.replace('"messageId":"', f'"messageId":"x{rng.getrandbits(32):08x}')
    kind = rng.randrange(6)
    if kind == 0:
        raw = text[: rng.randrange(20, len(text) - 1)].encode()
    elif kind == 1:
        raw = _without_ids(text).encode()
    elif kind == 2:
        raw = (text[:-1] + ',"score":NaN}').encode()
    elif kind == 3:
        raw = text.encode()[:60] + b"\xff\xfe" + text.encode()[60:]
    elif kind == 4:
        raw = f"[{text}]".encode()
    else:
        raw = (text[:-1] + ',"note":"\\ud800"}').encode()
    return f"{line.source} ".encode() + raw


def _without_ids(text: str) -> str:
    start = text.index('"context"')
    return "{" + text[start : text.rindex(',"userId"')] + "}"
