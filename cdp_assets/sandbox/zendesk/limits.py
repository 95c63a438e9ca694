"""How many requests a minute the stand-in account bears."""

from __future__ import annotations

import math
from collections import deque

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply

_MINUTE = 60.0


class Limits:
    """per_minute: requests in any minute. exports: of incremental exports. None for no limit."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.per_minute: int | None = None
        self.exports: int | None = None
        self.forget()

    def forget(self) -> None:
        """Begin to count anew."""
        self._all: deque[float] = deque()
        self._exports: deque[float] = deque()

    def refuse(self, *, export: bool) -> Reply | None:
        """The 429 of a request that comes too soon; None for one that may pass."""
        now = self.clock.now().timestamp()
        wait = _wait(self._all, now, self.per_minute)
        told = "Number of allowed API requests per minute exceeded"
        if not wait and export:
            wait = _wait(self._exports, now, self.exports)
            told = "Number of allowed incremental export API requests per minute exceeded"
        if wait:
            body = {"error": "APIRateLimitExceeded", "description": told}
            return Reply(429, body, {"Retry-After": str(math.ceil(wait))})
        self._all.append(now)
        if export:
            self._exports.append(now)
        return None

    def headers(self) -> dict[str, str]:
        """What answers say of the allowance."""
        most = self.per_minute or 700
        left = max(0, most - len(self._all))
        return {"X-Rate-Limit": str(most), "X-Rate-Limit-Remaining": str(left)}


def _wait(times: deque[float], now: float, most: int | None) -> float:
    while times and times[0] <= now - _MINUTE:
        times.popleft()
    if most is None or len(times) < most:
        return 0.0
    return times[0] + _MINUTE - now
