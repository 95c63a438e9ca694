"""HubSpot's rate limits, each off until a test asks for it."""

from __future__ import annotations

import uuid
from collections import deque

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply


class Limits:
    """per_ten_seconds: requests in any ten seconds. search_per_second: searches in any second.
    daily: requests a day. None for no limit."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.per_ten_seconds: int | None = None
        self.search_per_second: int | None = None
        self.daily: int | None = None
        self.calls = 0
        self._recent: deque[float] = deque()
        self._searches: deque[float] = deque()

    def forget(self) -> None:
        """Begin to count anew."""
        self.calls = 0
        self._recent.clear()
        self._searches.clear()

    def refuse(self, *, search: bool) -> Reply | None:
        """The 429 of a request that comes too soon; None for one that may pass."""
        now = self.clock.now().timestamp()
        self.calls += 1
        if self.daily is not None and self.calls > self.daily:
            return _refusal("daily", "DAILY")
        if search:
            if not _pass(self._searches, now, 1.0, self.search_per_second):
                return _refusal("secondly", "SECONDLY")
            return None
        if not _pass(self._recent, now, 10.0, self.per_ten_seconds):
            return _refusal("ten_secondly_rolling", "TEN_SECONDLY_ROLLING")
        return None

    def headers(self, *, search: bool) -> dict[str, str]:
        """What answers say of the allowance; searches say nothing."""
        if search:
            return {}
        most = self.per_ten_seconds or 190
        daily = self.daily or 1_000_000
        return {
            "X-HubSpot-RateLimit-Daily": str(daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, daily - self.calls)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(most),
            "X-HubSpot-RateLimit-Remaining": str(max(0, most - len(self._recent))),
        }


def _pass(times: deque[float], now: float, span: float, most: int | None) -> bool:
    while times and times[0] <= now - span:
        times.popleft()
    if most is not None and len(times) >= most:
        return False
    times.append(now)
    return True


def _refusal(name: str, policy: str) -> Reply:
    return Reply(
        429,
        {
            "status": "error",
            "message": f"You have reached your {name} limit.",
            "errorType": "RATE_LIMIT",
            "correlationId": str(uuid.uuid4()),
            "category": "RATE_LIMITS",
            "policyName": policy,
        },
    )
