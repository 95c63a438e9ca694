"""What the collector serves besides: the snippet, by version."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cdp_assets.collector.bodies import Receive

SNIPPET = Path(__file__).parent / "snippet"
_YEAR = b"public, max-age=31536000, immutable"
_HOUR = b"public, max-age=3600"


_SEGMENTS = re.compile(r"/analytics\.js/v1/[^/]+/analytics(\.min)?\.js")
"""Where the tag of Segment's analytics.js looks for its script; `[^/]+` is the write key."""


@cache
def _zipped(body: bytes) -> bytes:
    return gzip.compress(body, 9, mtime=0)


class Pages:
    """Files for browsers: `/cdp-VERSION.min.js` for good, `/cdp.js` the newest for an hour, and
    the same under the address and the global name of Segment's analytics.js."""

    def __init__(self, folder: Path = SNIPPET) -> None:
        self._files: dict[str, tuple[bytes, bytes]] = {}
        for file in sorted(folder.glob("cdp-*.min.js")):
            self._files[f"/{file.name}"] = (file.read_bytes(), _YEAR)
        newest = (folder / json.loads((folder / "manifest.json").read_text())["file"]).read_bytes()
        self._files["/cdp.js"] = (newest, _HOUR)
        self._as_segments = ((folder / "compat.js").read_bytes() + newest, _HOUR)

    async def serve(
        self,
        scope: Mapping[str, Any],
        receive: Receive,
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> bool:
        """Answer a GET or HEAD for one of the files; False where there is none at this address."""
        found = self._files.get(scope["path"])
        if found is None and _SEGMENTS.fullmatch(scope["path"]):
            found = self._as_segments
        if found is None or scope["method"] not in ("GET", "HEAD"):
            return False
        body, caching = found
        headers = []
        if b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b""):
            body = _zipped(body)
            headers.append((b"content-encoding", b"gzip"))
        headers += [
            (b"content-type", b"text/javascript; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", caching),
            (b"vary", b"Accept-Encoding"),
            (b"access-control-allow-origin", b"*"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}
        )
        return True
