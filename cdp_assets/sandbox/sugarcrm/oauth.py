"""Logins of the stand-in: by password and refresh token, one session a platform."""

from __future__ import annotations

import secrets
from typing import Any

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.sugarcrm.errors import SugarError

_LIFE, _REFRESH_LIFE = 3600, 1_209_600


class Logins:
    """A login of a platform ends the one before it on the same platform; platforms that an
    admin has not registered are refused."""

    def __init__(
        self, clock: Clock, username: str, password: str, client_id: str, client_secret: str,
        platforms: frozenset[str],
    ) -> None:  # fmt: skip
        self.clock = clock
        self.user = (username, password)
        self.client = (client_id, client_secret)
        self.platforms = platforms
        self._access: dict[str, tuple[str, float]] = {}
        self._refresh: dict[str, str] = {}

    def token(self, form: dict[str, Any]) -> Reply:
        """`POST /oauth2/token`."""
        # Every instance has the key `sugar` without a secret, and those that its admin made.
        given = (form.get("client_id"), form.get("client_secret") or "")
        if given not in (self.client, ("sugar", "")):
            raise SugarError(400, "invalid_client", "Invalid client credentials")
        platform = form.get("platform") or "base"
        if platform not in self.platforms:
            raise SugarError(400, "invalid_grant", f"The platform {platform} is not allowed")
        grant = form.get("grant_type")
        if grant == "password":
            if (form.get("username"), form.get("password")) != self.user:
                raise SugarError(
                    401, "need_login", "You must specify a valid username and password."
                )
        elif grant == "refresh_token":
            if self._refresh.get(str(form.get("refresh_token"))) != platform:
                raise SugarError(400, "invalid_grant", "Refresh token has expired")
        else:
            raise SugarError(400, "unsupported_grant_type", "Unsupported grant type")
        self._end(platform)
        access, refresh = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        self._access[access] = (platform, self.clock.now().timestamp() + _LIFE)
        self._refresh[refresh] = platform
        return Reply(
            body={
                "access_token": access, "expires_in": _LIFE, "token_type": "bearer",
                "scope": None, "refresh_token": refresh, "refresh_expires_in": _REFRESH_LIFE,
                "download_token": secrets.token_urlsafe(24),
            }
        )  # fmt: skip

    def check(self, request: Request) -> None:
        """Raise SugarError where the request carries no token that holds."""
        token = request.headers.get("oauth-token", "")
        if not token:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            token = given.strip() if scheme.lower() == "bearer" else ""
        if not token:
            raise SugarError(401, "need_login", "You need to be logged in to access this.")
        _, until = self._access.get(token, ("", 0.0))
        if until <= self.clock.now().timestamp():
            raise SugarError(401, "invalid_grant", "The access token provided is invalid.")

    def expire(self, *, refresh: bool = False) -> int:
        """End all access tokens, and with `refresh` what renews them; returns how many."""
        count = len(self._access)
        self._access.clear()
        if refresh:
            self._refresh.clear()
        return count

    def _end(self, platform: str) -> None:
        self._access = {k: v for k, v in self._access.items() if v[0] != platform}
        self._refresh = {k: v for k, v in self._refresh.items() if v != platform}
