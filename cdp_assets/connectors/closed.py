"""Until when a system asked to be left alone, kept for all processes of this deployment."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path


class ClosedUntil:
    """The moment that a system's last `Retry-After` names.

    folder: where a file a system lies, so that a run which begins meanwhile waits as well. Without
    one only this object's own is kept. Safe to use from several threads.
    """

    def __init__(
        self,
        source: str,
        folder: Path | None,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._file = folder / f"{source}.closed" if folder is not None else None
        self._now, self._monotonic = now, monotonic
        self._lock = threading.Lock()
        self._until = monotonic()

    def close(self, seconds: float) -> None:
        """Nobody may ask for so long."""
        with self._lock:
            until = self._monotonic() + seconds
            if until <= self._until:
                return
            self._until = until
            if self._file is None:
                return
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = self._file.with_suffix(f".{os.getpid()}.part")
            part.write_text(f"{self._now().timestamp() + seconds:.3f}")
            part.replace(self._file)

    def left(self) -> float:
        """Seconds until the system may be asked again."""
        mine = self._until - self._monotonic()
        return max(mine, self._told(), 0.0)

    def _told(self) -> float:
        """What another process was told. A file that cannot be read says nothing."""
        if self._file is None:
            return 0.0
        with suppress(OSError, ValueError):
            until = float(self._file.read_text())
            left = until - self._now().astimezone(UTC).timestamp()
            if left > 0:
                return left
            self._file.unlink()
        return 0.0
