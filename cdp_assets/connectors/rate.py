"""How fast requests may leave."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime


class RateBudget:
    """A token bucket: at most `rate` requests a second on average, `burst` at once; shared by all
    threads of a session."""

    def __init__(
        self,
        rate: float,
        burst: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._burst = rate, float(burst)
        self._monotonic, self._sleep = monotonic, sleep
        self._lock = threading.Lock()
        self._tokens, self._at = self._burst, monotonic()

    def take(self) -> float:
        """Wait for one request's turn; returns the seconds waited."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            # The place in the queue is taken under the lock, the waiting is done outside it.
            self._tokens -= 1.0
            wait = max(-self._tokens / self._rate, 0.0)
        if wait > 0:
            self._sleep(wait)
        return wait


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for, in either of its forms; None without one."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return max((at - now).total_seconds(), 0.0)
