"""Signing in to SugarCRM: by password, then by refresh token, one for all streams."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import msgspec

from cdp_assets.connectors.base import NotAuthorised, NotPermitted, Refused

_MARGIN = 60.0


class Session(msgspec.Struct):
    """What a sign-in gives."""

    access_token: str
    expires_in: float | None = None
    refresh_token: str | None = None


class SugarAuth:
    """The present token. However many streams meet its end, one signs in anew.

    sign_in: what is sent to get a session → the session; raises Refused or NotAuthorised.
    password: what a sign-in by password sends.
    """

    def __init__(
        self,
        source: str,
        platform: str,
        sign_in: Callable[[Mapping[str, str]], Session],
        password: Mapping[str, str],
        monotonic: Callable[[], float],
    ) -> None:
        self._source = source
        self._platform = platform
        self._sign_in = sign_in
        self._password = password
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._until: float | None = None

    def token(self) -> str:
        with self._lock:
            ended = self._until is not None and self._monotonic() >= self._until
            if self._session is None or ended:
                return self._replace()
            return self._session.access_token

    def renew(self, stale: str) -> bool:
        with self._lock:
            if self._session is None or self._session.access_token == stale:
                self._replace()
            return True

    def _replace(self) -> str:
        session = self._refreshed() or self._by_password()
        self._session = session
        life = session.expires_in
        self._until = None if life is None else self._monotonic() + max(life - _MARGIN, life / 2)
        return session.access_token

    def _refreshed(self) -> Session | None:
        """A session by the refresh token; None where it is no longer good, as after another
        sign-in on our platform."""
        if self._session is None or not self._session.refresh_token:
            return None
        asked = {"grant_type": "refresh_token", "refresh_token": self._session.refresh_token}
        try:
            return self._sign_in(asked)
        except (Refused, NotAuthorised, NotPermitted):
            return None

    def _by_password(self) -> Session:
        try:
            return self._sign_in(self._password)
        except (Refused, NotPermitted) as refused:
            status, named = getattr(refused, "status", 403), getattr(refused, "codes", ())
            codes = ", ".join(named) or f"HTTP {status}"
            raise NotAuthorised(
                f"{self._source}: sign-in on the platform `{self._platform}` is refused ({codes}). "
                "Not retried. Check `username`, `password`, `client_id` and `client_secret`, and "
                "that an admin registered the platform (Admin → Configure API Platforms)."
            ) from None
