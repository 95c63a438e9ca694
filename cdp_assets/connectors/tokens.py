"""Tokens that sign requests: fixed ones, and ones that are renewed for all streams at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Auth(Protocol):
    """Gives each request its `Authorization` value."""

    def token(self) -> str:
        """The present value of the header."""

    def renew(self, stale: str) -> bool:
        """Replace `stale`; False where there is nothing to renew it with."""


class StaticToken:
    """A token that somebody else renews (a HubSpot private app's)."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def token(self) -> str:
        return self._header

    def renew(self, stale: str) -> bool:
        return False


class RenewedToken:
    """A token fetched when needed and shared: however many streams meet a 401, one fetches."""

    def __init__(
        self,
        fetch: Callable[[], tuple[str, float | None]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """fetch: returns the token and its life in seconds, None where it is not told."""
        self._fetch = fetch
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._header = ""
        self._until: float | None = None

    def _replace(self) -> str:
        token, life = self._fetch()
        self._header = f"Bearer {token}"
        # A minute's margin: side requests must not meet the expiry first.
        self._until = None if life is None else self._monotonic() + max(life - 60.0, life / 2)
        return self._header

    def token(self) -> str:
        with self._lock:
            expired = self._until is not None and self._monotonic() >= self._until
            return self._replace() if not self._header or expired else self._header

    def renew(self, stale: str) -> bool:
        with self._lock:
            if self._header == stale:
                self._replace()
            return True
