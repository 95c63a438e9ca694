"""The CRM API of the stand-in account: which path does what."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.hubspot.associations_api import AssociationsApi
from cdp_assets.sandbox.hubspot.batch import Batches
from cdp_assets.sandbox.hubspot.errors import HubSpotError, not_found
from cdp_assets.sandbox.hubspot.limits import Limits
from cdp_assets.sandbox.hubspot.lists_api import ListsApi
from cdp_assets.sandbox.hubspot.marketing import Marketing
from cdp_assets.sandbox.hubspot.oauth import OAuth
from cdp_assets.sandbox.hubspot.objects import Records
from cdp_assets.sandbox.hubspot.properties import Properties
from cdp_assets.sandbox.hubspot.schema import ObjectType
from cdp_assets.sandbox.hubspot.schemas_api import SchemasApi
from cdp_assets.sandbox.hubspot.search import Search
from cdp_assets.sandbox.tables import Row, Tables

_LONGEST_ADDRESS = 16_000
_LARGEST_PAGE = 100
_LARGEST_PAGE_OF_HISTORY = 50
PATHS = ("/crm", "/email/public", "/marketing/v3", "/form-integrations", "/oauth/v1", "/oauth/v2",
         "/oauth/2026")  # fmt: skip
"""What the paths of the stand-in begin with."""
TOKEN_INFO = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105 (an address)
_SIGN_IN = re.compile(r"/oauth/(v1|2026-03)/token")
Handler = Callable[[Request, re.Match[str]], Reply]


class HubSpotApi:
    """Answers requests. `handle` is a plain function of a request, safe to call one at a time."""

    def __init__(self, tables: Tables, clock: Clock, token: str) -> None:
        self.tables = tables
        self.oauth = OAuth(clock, token)
        self.marketing = Marketing(tables)
        self.records = Records(tables, clock)
        self.search = Search(self.records)
        self.limits = Limits(clock)
        self.batches = Batches(self.records)
        self.properties = Properties(self.records.schema)
        associations = AssociationsApi(self.records)
        kind, key = r"(?P<kind>[\w-]+)", r"(?P<key>[^/]+)"
        base = f"/crm/v[34]/objects/{kind}"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(pattern + "/?"), handler)
            for method, pattern, handler in (
                ("GET", base, self._list),
                ("POST", base, self._create),
                ("POST", f"{base}/search", self._search),
                ("POST", f"{base}/merge", self._merge),
                ("POST", f"{base}/batch/(?P<verb>\\w+)", self._batch),
                ("GET", f"{base}/{key}", self._get),
                ("PATCH", f"{base}/{key}", self._update),
                ("DELETE", f"{base}/{key}", self._archive),
                ("GET", f"/crm/v3/properties/{kind}", self._properties),
                ("POST", f"/crm/v3/properties/{kind}", self._add_property),
                ("GET", f"/crm/v3/properties/{kind}/groups", self._groups),
                ("GET", f"/crm/v3/properties/{kind}/{key}", self._property),
                ("PATCH", f"/crm/v3/properties/{kind}/{key}", self._change_property),
                ("DELETE", f"/crm/v3/properties/{kind}/{key}", self._remove_property),
                ("GET", "/crm/v3/owners", self._owners),
                ("GET", f"/crm/v3/owners/{key}", self._owner),
                ("POST", f"/crm/v3/properties/{kind}/groups", self._add_group),
                ("GET", f"/crm/v3/properties/{kind}/groups/{key}", self._group),
                ("POST", TOKEN_INFO, lambda request, match: self.oauth.told(request)),
                *associations.routes(),
                *ListsApi(self.records).routes(),
                *SchemasApi(self.records).routes(),
                *self.marketing.routes(),
            )
        ]

    def handle(self, request: Request) -> Reply:
        """The answer to one request; changes are on disk when it returns."""
        request = replace(request, path=urllib.parse.unquote(request.path))
        if _SIGN_IN.fullmatch(request.path):
            return self.oauth.token(request)
        searching = request.path.rstrip("/").endswith("/search")
        try:
            if len(request.path) + sum(len(v) for v in request.query.values()) > _LONGEST_ADDRESS:
                return Reply(
                    414, b"<html>414 Request-URI Too Large</html>", content_type="text/html"
                )
            self._authorise(request)
            refused = self.limits.refuse(search=searching)
            reply = refused if refused is not None else self._route(request)
        except HubSpotError as error:
            reply = Reply(error.status, error.body())
        self.tables.commit()
        reply.headers |= self.limits.headers(search=searching)
        return reply

    def _authorise(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise HubSpotError(
                401,
                "INVALID_AUTHENTICATION",
                "Authentication credentials not found. This API supports OAuth 2.0 "
                "authentication and you can find more details at "
                "https://developers.hubspot.com/docs/methods/auth/oauth-overview",
            )
        if not self.oauth.valid(token.strip()):
            raise HubSpotError(
                401, "INVALID_AUTHENTICATION", "The OAuth token used to make this call is invalid."
            )

    def _route(self, request: Request) -> Reply:
        wrong_method = False
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match is None:
                continue
            if method == request.method:
                return handler(request, match)
            wrong_method = True
        if wrong_method:
            raise HubSpotError(405, "METHOD_NOT_ALLOWED", "HTTP 405 Method Not Allowed")
        raise not_found()

    def _kind(self, match: re.Match[str]) -> ObjectType:
        return self.records.schema.type(match["kind"])

    # ----- records

    def _list(self, request: Request, match: re.Match[str]) -> Reply:
        kind = self._kind(match)
        history = bool(_names(request, "propertiesWithHistory"))
        most = _LARGEST_PAGE_OF_HISTORY if history else _LARGEST_PAGE
        limit = self.records.rows.most(_limit(request, most=most))
        archived = request.query.get("archived", "").lower() == "true"
        after = request.query.get("after", "0")
        if not after.isdigit():
            raise HubSpotError(400, "VALIDATION_ERROR", "after: not a paging token")
        rows = self.records.table(kind).rows
        keys = sorted(
            number
            for key, row in rows.items()
            if bool(row.get("_archived")) is archived
            and not row.get("_merged_into")
            and (number := int(key)) >= int(after)
        )
        page = [str(number) for number in keys[:limit]]
        body: Row = {"results": [self._shown(request, kind, key) for key in page]}
        if len(keys) > limit:
            after = str(keys[limit])
            link = f"{request.url}{request.path}?limit={limit}&after={after}"
            body["paging"] = {"next": {"after": after, "link": link}}
        return Reply(body=body, rows=len(page))

    def _get(self, request: Request, match: re.Match[str]) -> Reply:
        kind = self._kind(match)
        if request.query.get("archived", "").lower() == "true":
            row = self.records.table(kind).get(match["key"])
            if row is None or not row.get("_archived") or row.get("_merged_into"):
                raise not_found()
            key = match["key"]
        else:
            key = self.records.find(kind, match["key"], request.query.get("idProperty"))
        return Reply(body=self._shown(request, kind, key), rows=1)

    def _shown(self, request: Request, kind: ObjectType, key: str) -> Row:
        history = _names(request, "propertiesWithHistory")
        shown = self.records.shown(kind, key, _names(request, "properties"), history)
        others = [self.records.schema.type(n) for n in _names(request, "associations")]
        if others:
            found = self.records.associations.shown(kind, key, others)
            if found:
                shown["associations"] = found
        return shown

    def _create(self, request: Request, match: re.Match[str]) -> Reply:
        kind, body = self._kind(match), _body(request)
        key = self.records.create(kind, _properties(body), body.get("associations") or ())
        return Reply(201, self.records.shown(kind, key, list(_properties(body))), rows=1)

    def _update(self, request: Request, match: re.Match[str]) -> Reply:
        kind, given = self._kind(match), _properties(_body(request))
        key = self.records.find(kind, match["key"], request.query.get("idProperty"))
        self.records.update(kind, key, given)
        return Reply(200, self.records.shown(kind, key, list(given)), rows=1)

    def _archive(self, request: Request, match: re.Match[str]) -> Reply:
        self.records.archive(self._kind(match), match["key"])
        return Reply(204, rows=1)

    def _merge(self, request: Request, match: re.Match[str]) -> Reply:
        kind, body = self._kind(match), _body(request)
        pair = str(body.get("primaryObjectId")), str(body.get("objectIdToMerge"))
        key = self.records.merge(kind, *pair)
        return Reply(200, self.records.shown(kind, key, ()), rows=1)

    def _search(self, request: Request, match: re.Match[str]) -> Reply:
        answer = self.search.run(self._kind(match), _body(request))
        return Reply(body=answer, rows=len(answer["results"]))

    def _batch(self, request: Request, match: re.Match[str]) -> Reply:
        verb = self.batches.verbs.get(match["verb"])
        if verb is None:
            raise not_found()
        return verb(self._kind(match), _body(request))

    # ----- properties, owners

    def _properties(self, request: Request, match: re.Match[str]) -> Reply:
        return self.properties.listed(self._kind(match))

    def _property(self, request: Request, match: re.Match[str]) -> Reply:
        return self.properties.one(self._kind(match), match["key"])

    def _groups(self, request: Request, match: re.Match[str]) -> Reply:
        return self.properties.groups(self._kind(match))

    def _group(self, request: Request, match: re.Match[str]) -> Reply:
        return self.properties.group(self._kind(match), match["key"])

    def _add_group(self, request: Request, match: re.Match[str]) -> Reply:
        return self.properties.add_group(self._kind(match), _body(request))

    def _add_property(self, request: Request, match: re.Match[str]) -> Reply:
        return self.properties.create(self._kind(match), _body(request))

    def _change_property(self, request: Request, match: re.Match[str]) -> Reply:
        return self.properties.update(self._kind(match), match["key"], _body(request))

    def _remove_property(self, request: Request, match: re.Match[str]) -> Reply:
        return self.properties.archive(self._kind(match), match["key"])

    def _owners(self, request: Request, match: re.Match[str]) -> Reply:
        archived = request.query.get("archived", "").lower() == "true"
        email = request.query.get("email")
        after = int(request.query.get("after") or 0)
        rows = sorted(self.tables["hubspot.owners"].rows.items(), key=lambda kv: int(kv[0]))
        found = [
            _owner(key, row)
            for key, row in rows
            if int(key) > after
            and bool(row.get("_archived")) is archived
            and email in (None, "", row["email"])
        ]
        limit = _limit(request, default=100, most=500)
        body: Row = {"results": found[:limit]}
        if len(found) > limit:
            body["paging"] = {"next": {"after": found[limit - 1]["id"]}}
        return Reply(body=body, rows=len(body["results"]))

    def archive_owner(self, key: str) -> None:
        """Take a person's access, as the account's administrator does. No date moves."""
        row = self.tables["hubspot.owners"].rows[key]
        self.tables.put("hubspot.owners", key, row | {"_archived": True})
        self.tables.commit()

    def _owner(self, request: Request, match: re.Match[str]) -> Reply:
        row = self.tables["hubspot.owners"].get(match["key"])
        archived = request.query.get("archived", "").lower() == "true"
        if row is None or bool(row.get("_archived")) is not archived:
            raise not_found()
        return Reply(body=_owner(match["key"], row))


def _owner(key: str, row: Row) -> Row:
    return {
        "id": key,
        "type": "PERSON",
        "email": row["email"],
        "firstName": row["firstName"],
        "lastName": row["lastName"],
        "userId": row["userId"],
        "userIdIncludingInactive": row["userId"],
        "createdAt": row["_created"],
        "updatedAt": row["_updated"],
        "archived": bool(row.get("_archived")),
    }


def _body(request: Request) -> Row:
    try:
        body: Any = msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise HubSpotError(400, "VALIDATION_ERROR", f"Invalid input JSON: {error}") from None
    if not isinstance(body, dict):
        raise HubSpotError(400, "VALIDATION_ERROR", "Invalid input JSON: an object was expected")
    return body


def _properties(body: Row) -> Row:
    properties = body.get("properties") or {}
    if not isinstance(properties, dict):
        raise HubSpotError(400, "VALIDATION_ERROR", "Invalid input JSON: properties")
    return properties


def _names(request: Request, parameter: str) -> list[str]:
    return [n.strip() for n in request.query.get(parameter, "").split(",") if n.strip()]


def _limit(request: Request, default: int = 10, most: int = _LARGEST_PAGE) -> int:
    text = request.query.get("limit") or str(default)
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise HubSpotError(400, "VALIDATION_ERROR", f"limit must be between 1 and {most}")
    return int(text)
