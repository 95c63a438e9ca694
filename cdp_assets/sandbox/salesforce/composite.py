"""composite and composite/batch: several requests in one."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from typing import Any

import msgspec

from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.salesforce.errors import SalesforceError
from cdp_assets.sandbox.tables import Row

_REFERENCE = re.compile(r"@\{(\w+)\.([\w.]+)\}")


class Composite:
    """Runs each part through `handle`, the API itself."""

    def __init__(self, handle: Callable[[Request], Reply]) -> None:
        self.handle = handle

    def composite(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`POST /composite`: up to 25 requests, later ones may name results of earlier ones."""
        parts = _parts(request, "compositeRequest", 25)
        done: dict[str, Any] = {}
        answers = []
        for part in parts:
            reply = self._part(request, part, done)
            done[str(part.get("referenceId"))] = reply.body
            answers.append(
                {
                    "body": reply.body,
                    "httpHeaders": reply.headers,
                    "httpStatusCode": reply.status,
                    "referenceId": part.get("referenceId"),
                }
            )
        return Reply(body={"compositeResponse": answers}, rows=len(answers))

    def batch(self, request: Request, version: str, match: re.Match[str]) -> Reply:
        """`POST /composite/batch`: up to 25 independent requests."""
        parts = _parts(request, "batchRequests", 25)
        replies = [
            self._part(
                request,
                {
                    "method": part.get("method"),
                    "url": "/services/data/" + str(part.get("url", "")).lstrip("/"),
                    "body": part.get("richInput"),
                },
                {},
            )
            for part in parts
        ]
        return Reply(
            body={
                "hasErrors": any(reply.status >= 400 for reply in replies),
                "results": [{"statusCode": r.status, "result": r.body} for r in replies],
            },
            rows=len(replies),
        )

    def _part(self, request: Request, part: Row, done: dict[str, Any]) -> Reply:
        def value(match: re.Match[str]) -> str:
            found = done.get(match[1])
            for step in match[2].split("."):
                found = found.get(step) if isinstance(found, dict) else None
            return "" if found is None else str(found)

        url = _REFERENCE.sub(value, str(part.get("url", "")))
        path, _, query = url.partition("?")
        body = part.get("body")
        text = _REFERENCE.sub(value, msgspec.json.encode(body).decode()) if body else ""
        # composite urls come both encoded and not, so a plus may be one or a space
        parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        return self.handle(
            Request(
                str(part.get("method", "GET")).upper(),
                path,
                parameters,
                request.headers,
                text.encode(),
                request.url,
            )
        )


def _parts(request: Request, name: str, most: int) -> list[Row]:
    try:
        body: Any = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise SalesforceError(400, "JSON_PARSER_ERROR", str(error)) from None
    parts = body.get(name) if isinstance(body, dict) else None
    if not isinstance(parts, list) or not all(isinstance(p, dict) for p in parts):
        raise SalesforceError(400, "JSON_PARSER_ERROR", f"{name}: an array was expected")
    if len(parts) > most:
        raise SalesforceError(400, "LIMIT_EXCEEDED", f"{name}: at most {most} requests")
    return parts
