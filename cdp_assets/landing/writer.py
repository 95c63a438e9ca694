"""One process's writer of the log: what waits is written and synced together, then acknowledged."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cdp_assets.landing.frames import START, framed
from cdp_assets.landing.segments import create, seal

SEAL_BYTES = 64 << 20
SEAL_SECONDS = 10.0
WAITING_BYTES = 64 << 20
STUCK_SECONDS = 10.0

Deliver = Callable[[Sequence[Any], OSError | None], None]
"""Called in the writer's thread with the tickets of a group: None when it is durable, else why it
is not."""


def call_each(tickets: Sequence[Any], trouble: OSError | None) -> None:
    """The plain way to deliver: each ticket is a function, called with the trouble or None."""
    for ticket in tickets:
        ticket(trouble)


class Overloaded(Exception):
    """More waits to be written than the writer keeps in memory; nothing of this was kept."""


class Unwritable(OSError):
    """The disk did not take it in time, or refuses to."""


class LogWriter:
    """Appends to segments of its own in `folder`, in a thread of its own.

    Of a group that could not be synced nothing counts: a sync is never tried again on the same
    file, since the kernel may have dropped what it could not write. The segment is closed behind
    its last durable frame, and the next group begins a new one.

    seal_bytes, seal_seconds: a segment is sealed when it is larger or older. waiting_bytes: what
    may wait at most. stuck_seconds: how long a group may take before more is refused. deliver: how
    the tickets of a group are told of it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seal_bytes: int = SEAL_BYTES,
        seal_seconds: float = SEAL_SECONDS,
        waiting_bytes: int = WAITING_BYTES,
        stuck_seconds: float = STUCK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        deliver: Deliver = call_each,
    ) -> None:
        self._folder = folder
        self.deliver = deliver
        self._seal_bytes = seal_bytes
        self._seal_seconds = seal_seconds
        self._waiting_bytes = waiting_bytes
        self._stuck_seconds = stuck_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._idle = False
        self._waiting: list[tuple[bytes, Any]] = []
        self._bytes = 0
        self._writing_since: float | None = None
        self._closing = False
        self._segment: _Segment | None = None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread = threading.Thread(target=self._run, name="landing-log", daemon=True)
        self._thread.start()

    def append(self, content: bytes, ticket: Any) -> None:
        """Keep `content` (see `frames.content`), and deliver `ticket` when it is durable or is not.

        Raises Overloaded where too much waits, Unwritable where a write hangs; the ticket is then
        never delivered.
        """
        with self._lock:
            if not self.alive:
                raise Unwritable("the thread that writes has ended; the process must be replaced")
            if self.stuck:
                raise Unwritable("the disk has not answered in time; later requests may pass")
            if self._bytes + len(content) > self._waiting_bytes:
                raise Overloaded
            self._waiting.append((content, ticket))
            self._bytes += len(content)
            if self._idle:
                self._wake.notify()

    def close(self) -> None:
        """Write what waits, seal the segment and stop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether its thread runs. A fault of ours may end it; nothing is then written any more."""
        return self._thread.is_alive()

    @property
    def stuck(self) -> bool:
        """Whether a write has taken longer than it may."""
        since = self._writing_since
        return since is not None and self._clock() - since > self._stuck_seconds

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._waiting and not self._closing:
                    self._idle = True
                    self._wake.wait(self._segment.seconds_left() if self._segment else None)
                    self._idle = False
                group, self._waiting = self._waiting, []
                self._bytes = 0
                closing = self._closing
                self._writing_since = self._clock() if group else None
            if group:
                self._commit(group)
            self._writing_since = None
            if self._segment is not None and (
                (closing and not group) or self._segment.full(self._seal_bytes)
            ):
                self._let_go()
            if closing and not group:
                return

    def _commit(self, group: Sequence[tuple[bytes, Any]]) -> None:
        trouble: OSError | None = None
        try:
            if self._segment is None:
                self._segment = _Segment(self._folder, self._seal_seconds, self._clock)
            self._segment.write([content for content, _ in group])
        except OSError as error:
            trouble = error
            self._let_go()
        self.deliver([ticket for _, ticket in group], trouble)

    def _let_go(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()


class _Segment:
    """The segment that is written to."""

    def __init__(self, folder: Path, seconds: float, clock: Callable[[], float]) -> None:
        self._descriptor, self._seed, self._path = create(folder)
        self._end = START
        self._clock = clock
        self._until = clock() + seconds

    def write(self, contents: Sequence[bytes]) -> None:
        """Append frames and make them durable. Raises OSError; then none of them counts."""
        frames: list[bytes] = []
        offset = self._end
        for content in contents:
            frame = framed(self._seed, offset, content)
            frames.append(frame)
            offset += len(frame)
        data = memoryview(b"".join(frames))
        done = 0
        while done < len(data):
            done += os.pwrite(self._descriptor, data[done:], self._end + done)
        os.fdatasync(self._descriptor)
        self._end = offset

    def seconds_left(self) -> float:
        return max(self._until - self._clock(), 0.0)

    def full(self, size: int) -> bool:
        return self._end >= size or self._clock() >= self._until

    def close(self) -> None:
        # what cannot be sealed keeps its open name: the next start cuts and seals it
        with contextlib.suppress(OSError):
            seal(self._descriptor, self._path, self._end)
        os.close(self._descriptor)
