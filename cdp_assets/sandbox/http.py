"""Requests and replies as plain values, so that the stand-ins know nothing of any web server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(frozen=True)
class Request:
    """One request. query: decoded parameters. headers: by lower-case name. url: scheme and host
    by which the caller reached us."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    url: str = ""


@dataclass
class Reply:
    """One answer. body: anything JSON can say, bytes as they are, None for no content. rows: how
    many records it carries or changed, for the journal."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    content_type: str = "application/json;charset=UTF-8"

    def encoded(self) -> bytes:
        """The body as bytes."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        return msgspec.json.encode(self.body)
