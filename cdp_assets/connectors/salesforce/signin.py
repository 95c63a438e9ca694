"""Signing in to Salesforce: client credentials, JWT bearer, or a refresh token.

Rules: "OAuth 2.0 Client Credentials Flow", "OAuth 2.0 JWT Bearer Flow" and "OAuth 2.0 Refresh Token
Flow" in Salesforce's help.
"""

from __future__ import annotations

import base64
from datetime import datetime
from urllib.parse import urlencode, urlsplit

import msgspec

from cdp_assets.connectors.base import ConnectorError
from cdp_assets.connectors.config import require_secret
from cdp_assets.connectors.salesforce.config import SalesforceConfig

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE = 180
"""Seconds that an assertion holds; more than some minutes are refused."""
_LOGIN = "https://login.salesforce.com"
_TEST = "https://test.salesforce.com"


def form(source: str, config: SalesforceConfig, now: datetime) -> bytes:
    """The body of the token request, by what the configuration holds: a private key, else a refresh
    token, else a client secret.

    Raises ConnectorError that names what is missing.
    """
    client_id = require_secret(source, "client_id", config.client_id)
    if config.private_key is not None:
        assertion = _assertion(source, config, client_id, now)
        return urlencode({"grant_type": JWT_GRANT, "assertion": assertion}).encode()
    asked = {"client_id": client_id}
    if config.refresh_token is not None:
        token = require_secret(source, "refresh_token", config.refresh_token)
        asked |= {"grant_type": "refresh_token", "refresh_token": token}
        if config.client_secret.get_secret_value():
            asked["client_secret"] = config.client_secret.get_secret_value().strip()
    else:
        secret = require_secret(source, "client_secret", config.client_secret)
        asked |= {"grant_type": "client_credentials", "client_secret": secret}
    return urlencode(asked).encode()


def advice(config: SalesforceConfig) -> str:
    """What to look at where the sign-in is refused."""
    if config.private_key is not None:
        return (
            "check `client_id`, `username` and `private_key`, that the connected app holds the "
            "key's certificate, and that an administrator approved the app for this user; of a "
            f"sandbox org set `login_url: {_TEST}`."
        )
    if config.refresh_token is not None:
        return (
            "check `client_id` and `refresh_token`; a revoked or rotated token has to be replaced."
        )
    return (
        "check `client_id` and `client_secret`, and that the connected app allows the client "
        "credentials flow."
    )


def audience(config: SalesforceConfig) -> str:
    """Whom an assertion is meant for: the login host, that of sandbox orgs being another one."""
    if config.login_url:
        return config.login_url.rstrip("/")
    host = urlsplit(config.url).hostname or ""
    return _TEST if ".sandbox." in host else _LOGIN


def _assertion(source: str, config: SalesforceConfig, client_id: str, now: datetime) -> str:
    """A JWT (RFC 7519) signed by RS256."""
    assert config.private_key is not None
    claims = {
        "iss": client_id, "sub": config.username, "aud": audience(config),
        "exp": int(now.timestamp()) + _LIFE,
    }  # fmt: skip
    text = f"{_part({'alg': 'RS256', 'typ': 'JWT'})}.{_part(claims)}"
    pem = require_secret(source, "private_key", config.private_key)
    return f"{text}.{_encoded(_signature(source, pem, text.encode()))}"


def _signature(source: str, pem: str, text: bytes) -> bytes:
    try:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise ConnectorError(
            f"{source}: `private_key` needs the package cryptography. Not retried. Install it: "
            "pip install 'cdp-assets[jwt]'."
        ) from None
    try:
        # In an environment variable a key often has its line breaks as two characters.
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ConnectorError(
            f"{source}: its `private_key` is no RSA key in PEM form without a password. Not "
            "retried. Set the environment variable that holds it to the text of the .pem file."
        )
    return key.sign(text, PKCS1v15(), SHA256())


def _part(value: object) -> str:
    return _encoded(msgspec.json.encode(value))


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
