"""How many requests this deployment has sent to a system today, counted by all its processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path


class DailyUsage:
    """Requests of the present day (UTC) to one system.

    folder: where a file a system and day lies, a byte a request: appending one is atomic, so that
    every step of every run counts in it. Without one only this object's own are counted.
    """

    def __init__(
        self,
        source: str,
        folder: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source, self._folder, self._now = source, folder, now
        self._lock = threading.Lock()
        self._day = ""
        self._file: int | None = None
        self._own = 0

    def add(self) -> None:
        """Count one request."""
        with self._lock:
            self._turn()
            self._own += 1
            if self._file is not None:
                os.write(self._file, b".")

    @property
    def total(self) -> int:
        """Requests so far today."""
        with self._lock:
            self._turn()
            return self._own if self._file is None else os.fstat(self._file).st_size

    def _turn(self) -> None:
        """Go on to the file of the present day."""
        day = f"{self._now().astimezone(UTC):%Y-%m-%d}"
        if day == self._day:
            return
        self._day, self._own = day, 0
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mine = self._folder / f"{self._source}.{day}"
        for old in self._folder.glob(f"{self._source}.????-??-??"):
            if old.name < mine.name:
                with suppress(OSError):
                    old.unlink()
        self._file = os.open(mine, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)
