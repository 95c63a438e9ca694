"""Who may enter: a private app's token, or OAuth's access tokens, which live for half an hour."""

from __future__ import annotations

import secrets
import urllib.parse

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request

CLIENT_ID = "sandbox-hubspot-app"
CLIENT_SECRET = "sandbox-hubspot-secret"  # noqa: S105 (of a stand-in on this machine)
REFRESH_TOKEN = "sandbox-hubspot-refresh"  # noqa: S105
LIFE = 1_800


class OAuth:
    """Gives out and checks tokens. private: the private app's, which does not end."""

    def __init__(self, clock: Clock, private: str) -> None:
        self.clock = clock
        self.private = private
        self.scopes: tuple[str, ...] = (
            *(f"crm.objects.{name}.{way}" for name in ("contacts", "companies", "deals", "custom")
              for way in ("read", "write")),
            "crm.lists.read", "crm.lists.write", "tickets",
        )  # fmt: skip
        self._until: dict[str, float] = {}

    def valid(self, token: str) -> bool:
        """Whether requests with this token are let in."""
        if secrets.compare_digest(token.encode(), self.private.encode()):
            return True
        return self._until.get(token, 0.0) > self.clock.now().timestamp()

    def told(self, request: Request) -> Reply:
        """`POST /oauth/v2/private-apps/get/access-token-info`: the scopes of a private app."""
        return Reply(body={"userId": 1, "hubId": 1, "appId": 1, "scopes": list(self.scopes)})

    def expire(self) -> int:
        """End all access tokens; returns how many there were."""
        count = len(self._until)
        self._until.clear()
        return count

    def token(self, request: Request) -> Reply:
        """`POST /oauth/v1/token`."""
        form = dict(urllib.parse.parse_qsl(request.body.decode("utf-8", "replace")))
        if form.get("grant_type") != "refresh_token":
            return _refused("BAD_GRANT_TYPE", "missing or unknown grant type")
        if form.get("client_id") != CLIENT_ID:
            return _refused("BAD_CLIENT_ID", "missing or unknown client id")
        if form.get("client_secret") != CLIENT_SECRET:
            return _refused("BAD_CLIENT_SECRET", "missing or invalid client secret")
        if form.get("refresh_token") != REFRESH_TOKEN:
            return _refused("BAD_REFRESH_TOKEN", "missing or invalid refresh token")
        token = secrets.token_urlsafe(32)
        self._until[token] = self.clock.now().timestamp() + LIFE
        body = {
            "token_type": "bearer", "refresh_token": REFRESH_TOKEN, "access_token": token,
            "expires_in": LIFE,
        }  # fmt: skip
        return Reply(200, body)


def _refused(status: str, message: str) -> Reply:
    return Reply(400, {"status": status, "message": message})
