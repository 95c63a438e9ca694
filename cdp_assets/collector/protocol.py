"""Segment's HTTP API, as its SDKs and RudderStack's really use it: addresses, keys, bodies.

Addresses: documented ones (`/v1/track` …), the browser's short ones (`/v1/t` …), batches
(`/v1/batch`, `/v1/b` of browsers and mobile, `/v1/import` of old mobile SDKs), with or without a
slash at the end. What a client calls success is exactly 200; of every error it reads a JSON object
with `code` and `message`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

BATCH: Final = "batch"
CALLS: Final[Mapping[str, str]] = {
    "track": "track", "t": "track", "identify": "identify", "i": "identify", "page": "page",
    "p": "page", "screen": "screen", "s": "screen", "group": "group", "g": "group",
    "alias": "alias", "a": "alias", "batch": BATCH, "b": BATCH, "import": BATCH,
}  # fmt: skip
"""Last part of the address → what comes to it."""

ROUTES: Final[Mapping[str, str]] = {
    prefix + name + end: call
    for name, call in CALLS.items()
    for prefix in ("/v1/", "/beacon/v1/", "/")
    for end in ("", "/")
    if prefix != "/" or len(name) > 1
}
"""Address of a POST → what comes to it."""

PIXELS: Final[Mapping[str, str]] = {
    f"/v1/pixel/{name}{end}": name
    for name in ("track", "identify", "page", "screen", "group", "alias")
    for end in ("", "/")
}
"""Address of a GET for a picture → what it is. Segment's Pixel API: `?data=` is base64 of JSON."""

METRICS: Final = frozenset({"/v1/m", "/v1/m/"})
"""What SDKs report of themselves: answered, not kept."""

GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent picture of one dot."""

_SETTINGS = re.compile(r"(?:/v1)?/projects/([^/]+)/settings/?")
_KEY_IN_TEXT = re.compile(rb'"writeKey"\s*:\s*"([^"\\]{1,200})"')

_ESCAPED = re.compile(rb"\\u00([0-9a-fA-F]{2})")


@dataclass(frozen=True)
class Rejected:
    """An event that will not be stored: its place in the batch and why."""

    index: int
    reason: str
    detail: str


def settings_key(path: str) -> str | None:
    """The write key whose settings this address asks for; None for another address."""
    found = _SETTINGS.fullmatch(path)
    return found[1] if found else None


@lru_cache(maxsize=1024)
def key_in_header(authorization: bytes) -> str | None:
    """The key of `Basic` (as user, with or without the colon) or `Bearer`; None where there is
    none that can be read."""
    scheme, _, value = authorization.strip().partition(b" ")
    value = value.strip()
    try:
        if scheme.lower() == b"bearer":
            return value.decode("ascii") or None
        if scheme.lower() == b"basic":
            user = base64.b64decode(value + b"=" * (-len(value) % 4)).decode().partition(":")[0]
            return user.strip() or None
    except (binascii.Error, UnicodeDecodeError):
        pass
    return None


def key_in_query(query: bytes) -> str | None:
    """`?writeKey=` of an address, as beacons send it."""
    if b"writeKey" not in query:
        return None
    return parse_qs(query.decode("latin-1")).get("writeKey", [None])[0]


def key_in_text(body: bytes) -> str | None:
    """The `writeKey` in a body that is no JSON."""
    found = _KEY_IN_TEXT.search(body)
    return found[1].decode("utf-8", "replace") if found else None


def without_key(body: bytes, key: str) -> bytes:
    """A body in which a secret key is nowhere to be read: empty text where it stood, also where
    its characters were written as escapes."""
    body = body.replace(key.encode(), b"")
    if b"\\u" not in body:
        return body
    wanted = b'"%b"' % key.encode()

    def one(found: re.Match[bytes]) -> bytes:
        plain = _ESCAPED.sub(lambda char: bytes([int(char[1], 16)]), found[0])
        return b'""' if plain == wanted else found[0]

    return _sized(len(key)).sub(one, body)


@lru_cache(maxsize=64)
def _sized(length: int) -> re.Pattern[bytes]:
    """A JSON text of so many characters that stand in keys, as they are or as escapes."""
    return re.compile(rb'"(?:[\w-]|\\u00[0-9a-fA-F]{2}){%d}"' % length)


def pixel_body(query: bytes) -> bytes | None:
    """The JSON in `?data=` of a pixel's address (base64, also of the alphabet for addresses)."""
    data = parse_qs(query.decode("latin-1")).get("data", [None])[0]
    if data is None:
        return None
    # a + that nobody escaped arrives as a blank
    text = data.replace(" ", "+").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def success(rejected: list[Rejected]) -> bytes:
    """The body of a 200: all is kept; what will be in quarantine is named."""
    if not rejected:
        return b'{"success":true}'
    return msgspec.json.encode({"success": True, "rejected": rejected})


def failure(code: str, message: str) -> bytes:
    """The body of an error."""
    return msgspec.json.encode({"success": False, "code": code, "message": message})


def segment_settings(key: str, scheme: str, host: str) -> bytes:
    """What analytics.js and the mobile SDKs read before they send: to whom, and with which key.

    Segment's settings endpoint (`/v1/projects/KEY/settings`): without an entry `Segment.io` the
    browser's SDK knows no key, without `apiHost` it sends to Segment.
    """
    answer: dict[str, Any] = {
        "integrations": {
            "Segment.io": {
                "apiKey": key,
                "apiHost": f"{host}/v1",
                "protocol": scheme,
                "unbundledIntegrations": [],
                "addBundledMetadata": True,
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            }
        },
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }
    return msgspec.json.encode(answer)


def rudder_settings(key: str, source: str, scheme: str, host: str) -> bytes:
    """What RudderStack's SDKs read before they send (`/sourceConfig`): no destinations of the
    device, no statistics about itself."""
    off = {"enabled": False}
    answer: dict[str, Any] = {
        "source": {
            "id": source,
            "name": source,
            "writeKey": key,
            "enabled": True,
            "workspaceId": "cdp",
            "config": {"statsCollection": {"errors": off, "metrics": off}},
            "connections": [],
            "destinations": [],
            "dataplanes": {},
            "dataplaneUrl": f"{scheme}://{host}",
            "sourceDefinition": {"name": "Javascript", "category": None},
        },
        "updatedAt": "2024-01-01T00:00:00.000Z",
    }  # fmt: skip
    return msgspec.json.encode(answer)
