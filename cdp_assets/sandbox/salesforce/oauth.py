"""OAuth of the stand-in org: client credentials, refresh token, JWT bearer; tokens in memory."""

from __future__ import annotations

import base64
import binascii
import secrets
import urllib.parse
from datetime import timedelta

import msgspec

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.salesforce.ids import make_id

SESSION = timedelta(hours=2)
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
LONGEST_ASSERTION = timedelta(minutes=5)


class OAuth:
    """Gives out and checks access tokens.

    refresh_token: the one that the `refresh_token` grant takes, as if a person had logged in.
    """

    def __init__(
        self, clock: Clock, client_id: str, client_secret: str, refresh_token: str
    ) -> None:
        self.clock = clock
        self.client_id = client_id
        self.client_secret = client_secret
        self.refresh_token = refresh_token
        self.public_key: bytes | None = None
        """What the administrator uploaded for the connected app (PEM): JWTs are checked by it."""
        self.usernames: frozenset[str] = frozenset()
        """Users for whom the administrator approved the app beforehand."""
        self._tokens: dict[str, float] = {}

    def valid(self, request: Request) -> bool:
        """Whether the request carries a token that still holds."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "oauth"):
            return False
        return self._tokens.get(token.strip(), 0.0) > self.clock.now().timestamp()

    def expire(self) -> int:
        """End all sessions; returns how many there were."""
        count = len(self._tokens)
        self._tokens.clear()
        return count

    def token(self, request: Request) -> Reply:
        """`POST /services/oauth2/token`."""
        form = dict(urllib.parse.parse_qsl(request.body.decode("utf-8", "replace")))
        given_id, given_secret = _basic(request)
        client_id = form.get("client_id") or given_id
        client_secret = form.get("client_secret") or given_secret
        grant = form.get("grant_type")
        if grant == JWT_GRANT:
            problem = self._assertion(form.get("assertion", ""), request.url)
            return self._granted(request) if problem is None else _refused(*problem)
        if grant not in ("client_credentials", "refresh_token"):
            return _refused("unsupported_grant_type", "grant type not supported")
        if client_id != self.client_id:
            return _refused("invalid_client_id", "client identifier invalid")
        if not secrets.compare_digest(
            (client_secret or "").encode(), self.client_secret.encode()
        ) and (grant == "client_credentials" or client_secret):
            return _refused("invalid_client", "invalid client credentials")
        if grant == "refresh_token" and form.get("refresh_token") != self.refresh_token:
            return _refused("invalid_grant", "expired access/refresh token")
        return self._granted(request)

    def _assertion(self, text: str, url: str) -> tuple[str, str] | None:
        """What is wrong with a JWT bearer assertion; None for nothing."""
        parts = text.split(".")
        try:
            head, claims = (msgspec.json.decode(_bytes(part)) for part in parts[:2])
            signature = _bytes(parts[2])
        except (ValueError, IndexError, msgspec.DecodeError):
            return "invalid_grant", "invalid assertion"
        if head.get("alg") != "RS256" or not self._signed(parts[0] + "." + parts[1], signature):
            return "invalid_grant", "invalid assertion"
        if claims.get("iss") != self.client_id:
            return "invalid_client_id", "client identifier invalid"
        if claims.get("aud") not in (*AUDIENCES, url):
            return "invalid_grant", "audience is invalid"
        left = float(claims.get("exp", 0)) - self.clock.now().timestamp()
        if not 0 < left <= LONGEST_ASSERTION.total_seconds():
            return "invalid_grant", "assertion is expired or valid for too long"
        if claims.get("sub") not in self.usernames:
            return "invalid_grant", "user hasn't approved this consumer"
        return None

    def _signed(self, text: str, signature: bytes) -> bool:
        if self.public_key is None:
            return False
        # Imported here: a stand-in that nobody signs in to this way does without.
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        key = load_pem_public_key(self.public_key)
        assert isinstance(key, RSAPublicKey)
        try:
            key.verify(signature, text.encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True

    def _granted(self, request: Request) -> Reply:
        org = make_id("00D", 1)
        token = f"{org[:15]}!{secrets.token_urlsafe(48)}"
        now = self.clock.now()
        self._tokens[token] = (now + SESSION).timestamp()
        body = {
            "access_token": token,
            "signature": base64.b64encode(secrets.token_bytes(32)).decode(),
            "scope": "api refresh_token",
            "instance_url": request.url,
            "id": f"{request.url}/id/{org}/{make_id('005', 1)}",
            "token_type": "Bearer",
            "issued_at": str(int(now.timestamp() * 1000)),
        }
        return Reply(200, body, {"Cache-Control": "no-store"})


def _bytes(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _basic(request: Request) -> tuple[str, str]:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        name, _, secret = base64.b64decode(value).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, secret


def _refused(error: str, description: str) -> Reply:
    return Reply(400, {"error": error, "error_description": description})
