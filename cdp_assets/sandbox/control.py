"""The tests' hand on the stand-ins: a journal of requests and faults that come on demand."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Action = Literal[
    "status", "stall", "commit_then_stall", "commit_then_reset", "truncate", "reset", "closed"
]  # fmt: skip

_JOURNAL = 200_000
_POST = re.compile(rb'"method": ?"POST"')


@dataclass
class Entry:
    """One request as the journal keeps it.

    at: when it was answered, seconds since 1970, with what callers let pass without waiting.
    seconds: how long it took. rows: records it carried. retry_after: what the answer said in the
    header of this name. body: a hash of what was sent; empty without a body. posts: whether it
    holds requests of its own, a POST among them.
    """

    number: int
    at: float
    method: str
    path: str
    query: str
    status: int
    seconds: float
    rows: int
    fault: str | None = None
    retry_after: str | None = None
    body: str = ""
    posts: bool = False


class Journal:
    """The requests to both stand-ins, oldest first; the oldest fall out past 200,000."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_JOURNAL)
        self._count = 0
        self.waited = 0.0
        """Seconds that callers let pass without waiting."""
        self.begun = 0
        """How many times it was begun anew."""

    def add(
        self, begun: int, method: str, path: str, query: str, status: int, seconds: float,
        rows: int, fault: str | None, retry_after: str | None = None, body: bytes = b"",
    ) -> None:  # fmt: skip
        """Keep one request. begun: as it was when the request came; one from before the journal
        was cleared, answered late, is none of the present ones."""
        if begun != self.begun:
            return
        self._count += 1
        at = time.time() + self.waited
        sent = hashlib.sha256(body).hexdigest()[:16] if body else ""
        self._entries.append(
            Entry(
                self._count, at, method, path, query, status, seconds, rows, fault, retry_after,
                sent, _POST.search(body) is not None,
            )
        )  # fmt: skip

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self._count = 0
        self.begun += 1

    def body(self, after: int = 0) -> dict[str, Any]:
        """What `GET /_sandbox/journal` answers."""
        entries = [asdict(entry) for entry in self._entries if entry.number > after]
        return {"count": self._count, "requests": entries}


@dataclass
class Fault:
    """One scripted fault.

    match: regular expression searched in the path. method: only this one. after: matching
    requests that pass first. times: how many are hit then. action:
      status             answer `status` with `headers` and `body`; nothing is done
      stall              wait `seconds`, then answer as ever
      commit_then_stall  do what was asked, wait `seconds`, then answer: a client has given up
      commit_then_reset  do what was asked, then cut the connection
      reset              cut the connection; nothing is done
      truncate           answer half of the body
      closed             from the first request that it meets on, answer `status` for `seconds`,
                         with a Retry-After that names the end; nothing is done
    """

    match: str
    method: str | None = None
    after: int = 0
    times: int = 1
    action: Action = "status"
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float = 60.0
    hits: int = 0
    until: float | None = None

    def closed(self, now: float) -> float:
        """Seconds for which it stays closed."""
        if self.until is None:
            self.until = now + self.seconds
        left = max(self.until - now, 0.0)
        self.headers["Retry-After"] = str(math.ceil(left))
        return left

    def fits(self, method: str, path: str) -> bool:
        """Whether it concerns this request at all."""
        return (self.method is None or self.method.upper() == method) and bool(
            re.search(self.match, path)
        )


class Faults:
    """The faults that wait for their requests."""

    def __init__(self) -> None:
        self.waiting: list[Fault] = []

    def add(self, scripts: list[dict[str, Any]]) -> None:
        """Queue faults; TypeError or re.error for one that cannot be read."""
        faults = [Fault(**script) for script in scripts]
        for fault in faults:
            re.compile(fault.match)
        self.waiting += faults

    def next(self, method: str, path: str, now: float = 0.0) -> Fault | None:
        """The fault that this request meets, counted down. now: seconds since 1970."""
        hit: Fault | None = None
        for fault in self.waiting:
            if not fault.fits(method, path):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if hit is None and fault.action == "closed":
                if fault.closed(now) <= 0:
                    fault.times = 0
                    continue
                hit = fault
                fault.hits += 1
            elif hit is None:
                hit = fault
                fault.times -= 1
                fault.hits += 1
        self.waiting = [fault for fault in self.waiting if fault.times > 0]
        return hit
