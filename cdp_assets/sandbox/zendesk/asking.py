"""What a request asks for, and lists in pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.tables import Row
from cdp_assets.sandbox.zendesk.errors import ZendeskError
from cdp_assets.sandbox.zendesk.records import bad_request
from cdp_assets.sandbox.zendesk.search import CEILING


def paged(request: Request, name: str, rows: list[Row]) -> Reply:
    """A page of a list: by cursor where `page[size]` is given, else by number, to 10,000 rows."""
    query, url = request.query, url_of(request)
    if "page[size]" in query:
        size, start = min(int(query["page[size]"]), 100), int(query.get("page[after]", 0))
        page, more = rows[start : start + size], start + size < len(rows)
        after = str(start + size) if page else None
        link = f"{url}?page[size]={size}&page[after]={after}" if more else None
        meta = {"has_more": more, "after_cursor": after, "before_cursor": None}
        body: Row = {name: page, "meta": meta, "links": {"next": link, "prev": None}}
        return Reply(body=body, rows=len(page))
    number, size = int(query.get("page", 1)), min(int(query.get("per_page", 100)), 100)
    if number * size > CEILING:
        raise ZendeskError(400, "InvalidPaginationDepth", f"Limited to {CEILING} records")
    page = rows[(number - 1) * size : number * size]
    following = f"{url}?page={number + 1}&per_page={size}"
    body = {
        name: page, "count": len(rows), "previous_page": None,
        "next_page": following if number * size < len(rows) else None,
    }  # fmt: skip
    return Reply(body=body, rows=len(page))


def url_of(request: Request) -> str:
    """The address of this list, for links to its other pages."""
    return f"{request.url}/api/v2{request.path}.json"


def ids_of(request: Request) -> list[str]:
    """The ids that a request names in its address."""
    return [part for part in request.query.get("ids", "").split(",") if part]


def body_of(request: Request) -> Row:
    """The body as an object."""
    try:
        body: Any = msgspec.json.decode(request.body) if request.body else {}
    except msgspec.DecodeError:
        raise ZendeskError(400, "InvalidJSON", "The body is no JSON") from None
    if not isinstance(body, dict):
        raise bad_request("an object was expected")
    return body


def one_of(request: Request, name: str) -> Row:
    """The object of this name in the body."""
    found = body_of(request).get(name)
    if not isinstance(found, Mapping):
        raise ZendeskError(400, "ParameterMissing", f"Parameter {name} is required")
    return dict(found)


def items_of(request: Request, name: str) -> list[Row]:
    """The list of objects of this name in the body."""
    found = body_of(request).get(name)
    if not isinstance(found, list):
        raise ZendeskError(400, "ParameterMissing", f"Parameter {name} is required")
    return [dict(item) for item in found]
