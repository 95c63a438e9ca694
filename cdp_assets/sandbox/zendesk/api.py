"""The Support API of the stand-in account: which path does what."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.tables import Row, Tables
from cdp_assets.sandbox.zendesk.asking import body_of, ids_of, items_of, one_of, paged, url_of
from cdp_assets.sandbox.zendesk.errors import ZendeskError, invalid, not_found
from cdp_assets.sandbox.zendesk.exports import Exports
from cdp_assets.sandbox.zendesk.jobs import LARGEST, Jobs
from cdp_assets.sandbox.zendesk.limits import Limits
from cdp_assets.sandbox.zendesk.records import Records, bad_request
from cdp_assets.sandbox.zendesk.schema import KINDS, TICKETS, USERS, Kind, put_field
from cdp_assets.sandbox.zendesk.search import Search
from cdp_assets.sandbox.zendesk.tickets_api import TicketsApi, audit_shown

Handler = Callable[[Request, re.Match[str]], Reply]
_TOKEN_LIFE = 7200


class ZendeskApi:
    """Answers requests. `handle` is a plain function of a request, safe to call one at a time.

    email, token: of the agent who calls. client_id, client_secret: of the OAuth client that may
    ask for a bearer token.
    """

    def __init__(
        self, tables: Tables, clock: Clock, email: str, token: str, client_id: str = "",
        client_secret: str = "",
    ) -> None:  # fmt: skip
        self.tables = tables
        self.clock = clock
        self.email, self.token = email, token
        self.role = "admin"
        self.client = (client_id, client_secret)
        self.records = Records(tables, clock)
        self.exports = Exports(self.records)
        self.jobs = Jobs(self.records, clock)
        self.search = Search(self.records)
        self.limits = Limits(clock)
        self._tokens: dict[str, float] = {}
        kind, key = r"(?P<kind>users|organizations|tickets)", r"(?P<key>\d+)"
        field = r"(?P<one>user|organization|ticket)_fields"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(pattern), handler)
            for method, pattern, handler in (
                ("GET", r"/incremental/(?P<kind>tickets|users)/cursor", self._cursor),
                ("GET", f"/incremental/(?P<kind>{_exported()})", self._time),
                ("GET", r"/job_statuses/(?P<key>\w+)", self._job),
                ("GET", r"/search", self._search),
                ("GET", r"/search/count", self._count),
                ("GET", r"/search/export", self._export),
                *TicketsApi(self.records).routes(),
                ("GET", f"/{field}", self._fields),
                ("POST", f"/{field}", self._add_field),
                ("GET", r"/users/me", self._me),
                ("GET", r"/users/search", self._users),
                ("GET", r"/organizations/search", self._organizations),
                ("GET", f"/{kind}/show_many", self._show_many),
                ("GET", f"/{kind}/count", self._count_all),
                ("POST", f"/{kind}/(?P<verb>create_many|create_or_update_many)", self._many),
                ("POST", r"/(?P<kind>users|organizations)/create_or_update", self._upsert),
                ("PUT", f"/{kind}/update_many", self._update_many),
                ("DELETE", f"/{kind}/destroy_many", self._destroy_many),
                ("GET", f"/{kind}", self._list),
                ("POST", f"/{kind}", self._create),
                ("GET", f"/{kind}/{key}", self._get),
                ("PUT", f"/{kind}/{key}", self._update),
                ("DELETE", f"/{kind}/{key}", self._delete),
                ("GET", f"/users/{key}/identities", self._identities),
                ("GET", f"/{kind}/{key}/tags", self._tags),
                ("POST", f"/{kind}/{key}/tags", self._tags),
                ("PUT", f"/{kind}/{key}/tags", self._tags),
                ("DELETE", f"/{kind}/{key}/tags", self._tags),
            )
        ]

    def handle(self, request: Request) -> Reply:
        """The answer to one request; changes are on disk when it returns."""
        path = urllib.parse.unquote(request.path).removesuffix("/").removesuffix(".json")
        try:
            if path == "/oauth/tokens" and request.method == "POST":
                return self._sign_in(body_of(request))
            request = replace(request, path=path.removeprefix("/api/v2"))
            self._authorise(request)
            export = request.path.startswith("/incremental/")
            reply = self.limits.refuse(export=export) or self._route(request)
        except ZendeskError as error:
            reply = Reply(error.status, error.body())
        except ValueError:
            reply = Reply(400, bad_request("Invalid parameter").body())
        self.tables.commit()
        reply.headers = self.limits.headers() | reply.headers
        return reply

    def touch(self, name: str, key: str) -> None:
        """A change by the system itself, which only exports notice."""
        self.records.touch(KINDS[name], str(key))
        self.tables.commit()

    def limit(self, asked: Mapping[str, Any]) -> None:
        """Limits and delays that a test asks for; the others stay. A rate of null is none."""
        self.limits.forget()
        for name in ("per_minute", "exports"):
            setattr(self.limits, name, asked.get(name, getattr(self.limits, name)))
        self.role = str(asked.get("role", "admin"))
        self.jobs.imports = bool(asked.get("imports", self.jobs.imports))
        self.jobs.polls = int(asked.get("polls", self.jobs.polls))
        if "generated_lag_seconds" in asked:
            self.records.lag = timedelta(seconds=float(asked["generated_lag_seconds"]))
        if "search_lag_seconds" in asked:
            self.search.lag = timedelta(seconds=float(asked["search_lag_seconds"]))

    def expire(self) -> int:
        """End all OAuth tokens; returns how many there were."""
        count = len(self._tokens)
        self._tokens.clear()
        return count

    def _sign_in(self, body: Row) -> Reply:
        given = (str(body.get("client_id")), str(body.get("client_secret")))
        if body.get("grant_type") != "client_credentials" or given != self.client:
            return Reply(401, {"error": "invalid_client", "error_description": "No such client"})
        token = secrets.token_hex(32)
        self._tokens[token] = self.clock.now().timestamp() + _TOKEN_LIFE
        return Reply(
            body={"access_token": token, "token_type": "bearer", "scope": "read write",
                  "expires_in": _TOKEN_LIFE}
        )  # fmt: skip

    def _authorise(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if self._tokens.get(given.strip(), 0.0) > self.clock.now().timestamp():
                return
            raise ZendeskError(
                401, "invalid_token", "The access token provided is expired, revoked, malformed "
                "or invalid for other reasons."
            )  # fmt: skip
        try:
            name, _, secret = base64.b64decode(given).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            name, secret = "", ""
        wanted = f"{self.email}/token"
        if name.lower() != wanted.lower() or not secrets.compare_digest(secret, self.token):
            raise ZendeskError(401, "Couldn't authenticate you")

    def _route(self, request: Request) -> Reply:
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None and method == request.method:
                return handler(request, match)
        raise ZendeskError(404, "InvalidEndpoint", "Not found")

    # ----- exports, searches, jobs

    def _cursor(self, request: Request, match: re.Match[str]) -> Reply:
        body = self.exports.by_cursor(match["kind"], request.query, url_of(request))
        return Reply(body=body, rows=len(body[match["kind"]]))

    def _time(self, request: Request, match: re.Match[str]) -> Reply:
        body = self.exports.by_time(match["kind"], request.query, url_of(request))
        return Reply(body=body, rows=len(body[match["kind"]]))

    def _search(self, request: Request, match: re.Match[str]) -> Reply:
        body = self.search.page(request.query, url_of(request))
        return Reply(body=body, rows=len(body["results"]))

    def _count(self, request: Request, match: re.Match[str]) -> Reply:
        return Reply(body={"count": len(self.search.find(request.query.get("query", "")))})

    def _export(self, request: Request, match: re.Match[str]) -> Reply:
        body = self.search.export(request.query, url_of(request))
        return Reply(body=body, rows=len(body["results"]))

    def _users(self, request: Request, match: re.Match[str]) -> Reply:
        if "external_id" in request.query:
            rows = self._by(USERS, "external_id", request.query["external_id"])
        else:
            rows = [row for _, row in self.search.find(request.query.get("query", ""), USERS)]
        return self._page(request, USERS, rows)

    def _organizations(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS["organizations"]
        names = [name for name in ("external_id", "name") if name in request.query]
        if len(names) != 1:
            raise bad_request("external_id or name, but not both")
        return self._page(request, kind, self._by(kind, names[0], request.query[names[0]]))

    def _by(self, kind: Kind, field: str, value: str) -> list[Row]:
        key = self.records.find(kind, field, value)
        return [self.records.live(kind, key)] if key else []

    def _job(self, request: Request, match: re.Match[str]) -> Reply:
        return self.jobs.status(match["key"])

    # ----- records

    def _list(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS[match["kind"]]
        rows = [row for _, row in self.records.all(kind)]
        if role := request.query.get("role"):
            rows = [row for row in rows if row.get("role") == role]
        return self._page(request, kind, rows)

    def _page(self, request: Request, kind: Kind, rows: list[Row]) -> Reply:
        shown = [self.records.shown(kind, row) for row in rows]
        return paged(request, kind.name, shown)

    def _count_all(self, request: Request, match: re.Match[str]) -> Reply:
        count = sum(1 for _ in self.records.all(KINDS[match["kind"]]))
        return Reply(body={"count": {"value": count, "refreshed_at": self.records.now()}})

    def _get(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS[match["kind"]]
        row = self.tables[kind.table].get(match["key"])
        if row is None or (row.get("_deleted") and kind is not USERS):
            raise not_found()
        return Reply(body={kind.one: self._shown(request, kind, row)}, rows=1)

    def _shown(self, request: Request, kind: Kind, row: Row) -> Row:
        url = f"{request.url}/api/v2/{kind.name}/{row['id']}.json"
        return self.records.shown(kind, row) | {"url": url}

    def _show_many(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS[match["kind"]]
        field = "external_ids" if "external_ids" in request.query else "ids"
        given = [part for part in request.query.get(field, "").split(",") if part]
        if len(given) > LARGEST:
            raise ZendeskError(400, "TooManyValues", f"A maximum of {LARGEST} can be given")
        if field == "ids":
            keys: list[str | None] = list(given)
        else:
            keys = [self.records.find(kind, "external_id", value) for value in given]
        found = [self.tables[kind.table].get(key) for key in keys if key]
        rows = [row for row in found if row is not None and not row.get("_deleted")]
        body = {
            kind.name: [self._shown(request, kind, row) for row in rows],
            "next_page": None, "previous_page": None, "count": len(rows),
        }  # fmt: skip
        return Reply(body=body, rows=len(rows))

    def _create(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS[match["kind"]]
        key = self.records.create(kind, one_of(request, kind.one))
        return self._made(request, kind, key, 201)

    def _upsert(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS[match["kind"]]
        key, created = self.jobs.upsert(kind, one_of(request, kind.one))
        return self._made(request, kind, key, 201 if created else 200)

    def _made(self, request: Request, kind: Kind, key: str, status: int) -> Reply:
        shown = self._shown(request, kind, self.records.live(kind, key))
        reply = Reply(status, {kind.one: shown}, {"Location": shown["url"]}, rows=1)
        if kind is TICKETS:
            audit = list(self.records.events.of(key))[-1]
            reply.body["audit"] = audit_shown(audit)
        return reply

    def _update(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS[match["kind"]]
        self.records.update(kind, match["key"], one_of(request, kind.one))
        return self._made(request, kind, match["key"], 200)

    def _delete(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS[match["kind"]]
        self.records.delete(kind, match["key"])
        if kind is not USERS:
            return Reply(204, rows=1)
        row = self.tables[kind.table].rows[match["key"]]
        return Reply(body={"user": self._shown(request, kind, row)}, rows=1)

    def _many(self, request: Request, match: re.Match[str]) -> Reply:
        kind, items = KINDS[match["kind"]], items_of(request, match["kind"])
        if match["verb"] == "create_many":
            return self.jobs.create(kind, items, request.url)
        if kind is not USERS:
            raise ZendeskError(404, "InvalidEndpoint", "Not found")
        return self.jobs.create_or_update(kind, items, request.url)

    def _update_many(self, request: Request, match: re.Match[str]) -> Reply:
        kind = KINDS[match["kind"]]
        ids = ids_of(request)
        if ids:
            change = one_of(request, kind.one)
            items = [change | {"id": int(i)} for i in ids]
        else:
            items = items_of(request, kind.name)
        return self.jobs.update(kind, items, request.url)

    def _destroy_many(self, request: Request, match: re.Match[str]) -> Reply:
        return self.jobs.delete(KINDS[match["kind"]], ids_of(request), request.url)

    def _tags(self, request: Request, match: re.Match[str]) -> Reply:
        kind, key = KINDS[match["kind"]], match["key"]
        if request.method == "GET":
            return Reply(body={"tags": self.records.live(kind, key)["tags"]})
        tags = body_of(request).get("tags")
        if not isinstance(tags, list):
            raise bad_request("tags: an array was expected")
        kept = self.records.tag(kind, key, tags, request.method)
        if request.method == "DELETE":
            return Reply(204, rows=1)
        return Reply(201 if request.method == "POST" else 200, {"tags": kept}, rows=1)

    # ----- what hangs on records

    def _me(self, request: Request, match: re.Match[str]) -> Reply:
        user = dict(USERS.blank) | {
            "id": 1, "name": "Sandbox", "email": self.email, "role": self.role,
            "created_at": self.records.now(), "updated_at": self.records.now(),
        }  # fmt: skip
        return Reply(body={"user": user})

    def _identities(self, request: Request, match: re.Match[str]) -> Reply:
        row = self.records.live(USERS, match["key"])
        found = [
            {
                "id": row["id"] * 10 + place, "user_id": row["id"], "type": "email",
                "value": email, "primary": place == 0, "verified": True,
                "created_at": row["created_at"], "updated_at": row["updated_at"],
            }
            for place, email in enumerate(row.get("_emails", []))
        ]  # fmt: skip
        return paged(request, "identities", found)

    def _fields(self, request: Request, match: re.Match[str]) -> Reply:
        rows = self.tables[f"zendesk.{match['one']}_fields"].rows
        found = [rows[key] for key in sorted(rows, key=int)]
        return paged(request, f"{match['one']}_fields", found)

    def _add_field(self, request: Request, match: re.Match[str]) -> Reply:
        name, one = f"{match['one']}_field", match["one"]
        key = one_of(request, name).get("key")
        if one != "ticket" and self.tables[f"zendesk.{one}_fields"].find("key", key):
            raise invalid("key", "DuplicateValue", f"Key: {key} has already been taken")
        row = put_field(self.tables, match["one"], one_of(request, name), self.records.now())
        return Reply(201, {name: row}, rows=1)


def _exported() -> str:
    return "|".join([*KINDS, "ticket_events"])
