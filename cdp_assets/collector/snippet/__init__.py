"""The snippet: first-party JavaScript for web pages, built from `src/` into one versioned file.

`npm ci && node build.mjs` in this folder builds it; the built file and `manifest.json` are
committed, so that neither running nor installing the platform needs node.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

# The methods that a page may call before the file has come; the file makes the calls then.
_STUB = (
    '!function(w){var c=w.cdp=w.cdp||[];c.load||"load track page identify group alias reset '
    'consent flush setAnonymousId ready".split(" ").forEach(function(m){c[m]=function(){'
    "var a=[m].concat([].slice.call(arguments));a.t=Date.now();c.push(a);return c}})}(window);"
)


@dataclass(frozen=True, slots=True)
class Build:
    """The built file: its name (with the version), its SRI hash and its sizes in bytes."""

    version: str
    file: str
    integrity: str
    bytes: int
    gzip_bytes: int
    sources_sha256: str
    built_with: str


@cache
def build() -> Build:
    """What `manifest.json` says of the committed file."""
    return Build(**json.loads((files(__name__) / "manifest.json").read_text()))


@cache
def script() -> bytes:
    """The built file, as it is served."""
    return (files(__name__) / build().file).read_bytes()


def tag(write_key: str, host: str, options: Mapping[str, Any] | None = None) -> str:
    """The HTML for a page's head: the queue that keeps early calls, and the file by its hash.

    write_key: the public key of the source. host: the collector's origin, no slash at the end.
    options: what `cdp.load()` takes besides (docs/snippet.md), as JSON. Raises ValueError for a
    host without its scheme, which a page would take for a path of its own.
    """
    if not host.startswith(("https://", "http://")):
        raise ValueError(
            f"{host!r} is no origin: scheme and host, as in https://events.example.com"
        )
    built = build()
    # "</" would end the script element, whatever string it stands in.
    given = json.dumps({"host": host, **(options or {})}).replace("</", "<\\/")
    key = json.dumps(write_key).replace("</", "<\\/")
    source = html.escape(f"{host}/{built.file}")
    return (
        f"<script>{_STUB}cdp.load({key},{given});</script>\n"
        f'<script async src="{source}" integrity="{built.integrity}" crossorigin="anonymous">'
        "</script>"
    )
