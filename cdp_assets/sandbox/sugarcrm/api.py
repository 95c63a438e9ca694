"""The REST API of the stand-in: which path does what."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.http import Reply, Request
from cdp_assets.sandbox.sugarcrm.errors import SugarError, bad_parameter, not_found
from cdp_assets.sandbox.sugarcrm.filters import comparable, compiled
from cdp_assets.sandbox.sugarcrm.oauth import Logins
from cdp_assets.sandbox.sugarcrm.records import Records
from cdp_assets.sandbox.sugarcrm.schema import MODULES, fields, metadata
from cdp_assets.sandbox.tables import Row, Tables

Handler = Callable[[Request, re.Match[str]], Reply]
_VERSION = re.compile(r"(?:/rest)?/v(1[01](?:_\d+)?)(?=/)")
_DEFAULT_PAGE, _LARGEST_PAGE = 20, 1000
PLATFORMS = frozenset({"base", "mobile", "portal", "cdp"})


class SugarApi:
    """Answers requests. `handle` is a plain function of a request, safe to call one at a time."""

    def __init__(
        self, tables: Tables, clock: Clock, username: str, password: str, client_id: str,
        client_secret: str, platforms: frozenset[str] = PLATFORMS,
    ) -> None:  # fmt: skip
        self.tables = tables
        self.records = Records(tables, clock)
        self.closed: Row = {}
        """Module → action → "no", as the user's roles close it."""
        self.logins = Logins(clock, username, password, client_id, client_secret, platforms)
        module, key = r"(?P<module>[A-Z]\w*)", r"(?P<key>[\w-]+)"
        sync = r"(?P<value>[^/]+)"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(pattern), handler)
            for method, pattern, handler in (
                ("POST", "/bulk", self._bulk),
                ("GET", "/metadata", self._metadata),
                ("GET", "/me", self._me),
                ("GET", f"/{module}/enum/(?P<field>\\w+)", self._enum),
                ("POST", f"/{module}/filter", self._list),
                ("GET", f"/{module}/filter", self._list),
                ("POST", f"/{module}/filter/count", self._count),
                ("GET", f"/{module}/sync_key/{sync}", self._by_sync_key),
                ("PATCH", f"/{module}/sync_key/{sync}", self._upsert),
                ("PUT", f"/{module}/sync_key/{sync}", self._upsert),
                ("PUT", f"/integrate/{module}/{key}/sync_key/{sync}", self._set_sync_key),
                ("PATCH", f"/integrate/{module}/{key}/sync_key/{sync}", self._set_sync_key),
                ("GET", f"/{module}", self._list),
                ("POST", f"/{module}", self._create),
                ("GET", f"/{module}/{key}", self._get),
                ("PUT", f"/{module}/{key}", self._update),
                ("DELETE", f"/{module}/{key}", self._delete),
                ("POST", f"/{module}/{key}/link", self._link),
                ("GET", f"/{module}/{key}/link/(?P<link>\\w+)", self._linked),
                ("DELETE", f"/{module}/{key}/link/(?P<link>\\w+)/(?P<other>[\\w-]+)",
                 self._unlink),
            )
        ]  # fmt: skip

    def handle(self, request: Request) -> Reply:
        """The answer to one request; changes are on disk when it returns."""
        path = request.path.removesuffix("/")
        match = _VERSION.match(path)
        try:
            if match is None:
                raise SugarError(301, "incorrect_version", "Please update your URL")
            request = replace(request, path=path[match.end() :])
            if request.path == "/oauth2/token" and request.method == "POST":
                return self.logins.token(_form(request))
            self.logins.check(request)
            reply = self._route(request)
        except SugarError as error:
            reply = Reply(error.status, error.body())
        self.tables.commit()
        return reply

    def expire(self) -> int:
        """End all access tokens; returns how many there were."""
        return self.logins.expire()

    def limit(self, asked: Mapping[str, Any]) -> None:
        """What a test asks for; the rest stays."""
        if "flags_as_text" in asked:
            self.records.flags_as_text = bool(asked["flags_as_text"])
        self.closed = dict(asked.get("closed") or {})
        if asked.get("forget_logins"):
            self.logins.expire(refresh=True)

    def _route(self, request: Request) -> Reply:
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None and method == request.method:
                return handler(request, match)
        raise SugarError(404, "no_method", "Could not find a route for this request")

    def _bulk(self, request: Request, match: re.Match[str]) -> Reply:
        """Requests one after the other; a failed one does not stop the others."""
        asked = _body(request).get("requests")
        if not isinstance(asked, list):
            raise SugarError(422, "missing_parameter", "Missing parameter: requests")
        answers: list[Row] = []
        for one in asked:
            path, _, query = f"/{one.get('url', '')}".replace("//", "/").partition("?")
            version = _VERSION.match(path)
            path = path[version.end() :] if version else path
            data = one.get("data") or ""
            text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
            inner = replace(
                request,
                method=str(one.get("method", "GET")).upper(),
                path=path,
                query=dict(urllib.parse.parse_qsl(query)),
                body=text.encode(),
            )
            mark = self.tables.mark()
            try:
                code = self.records.rows.refusal() if inner.method != "GET" else None
                if code is not None:
                    raise SugarError(503 if code == "maintenance" else 412, code, "by order")
                reply = self._route(inner)
            except SugarError as error:
                self.tables.roll_back(mark)
                reply = Reply(error.status, error.body())
            answers.append({
                "contents": reply.body, "headers": [], "status": reply.status,
                "status_text": "OK" if reply.status < 300 else "Error",
            })  # fmt: skip
        return Reply(body=answers, rows=len(answers))

    # ----- what there is

    def _metadata(self, request: Request, match: re.Match[str]) -> Reply:
        if request.query.get("type_filter") == "full_module_list":
            return Reply(body={"full_module_list": {n: n for n in MODULES} | {"_hash": "1"}})
        asked = request.query.get("module_filter", "")
        names = [n for n in asked.split(",") if n in MODULES] if asked else list(MODULES)
        return Reply(body={"modules": {name: metadata(name) for name in names}, "_hash": "1"})

    def _me(self, request: Request, match: re.Match[str]) -> Reply:
        user = {"id": "1", "user_name": self.logins.user[0], "type": "admin", "acl": self.closed}
        return Reply(body={"current_user": user})

    def _enum(self, request: Request, match: re.Match[str]) -> Reply:
        field = fields(self.records.module(match["module"])).get(match["field"], {})
        if "_options" not in field:
            raise not_found(match["module"], match["field"])
        return Reply(body={"": "", **{option: option for option in field["_options"]}})

    # ----- lists

    def _list(self, request: Request, match: re.Match[str]) -> Reply:
        module = self.records.module(match["module"])
        asked = {**request.query, **(_body(request) if request.method == "POST" else {})}
        rows = self._found(module, asked)
        return self._page(module, rows, asked)

    def _page(self, module: str, rows: list[Row], asked: Mapping[str, Any]) -> Reply:
        size = min(int(asked.get("max_num") or _DEFAULT_PAGE), _LARGEST_PAGE)
        size = self.records.rows.most(size)
        offset = int(asked.get("offset") or 0)
        page = rows[offset : offset + size] if offset >= 0 else []
        more = offset + size < len(rows)
        names = asked.get("fields")
        wanted = names.split(",") if isinstance(names, str) and names else names or None
        body = {
            "next_offset": offset + size if more else -1,
            "records": [self.records.shown(module, row, wanted) for row in page],
        }
        return Reply(body=body, rows=len(page))

    def _found(self, module: str, asked: Mapping[str, Any]) -> list[Row]:
        known = fields(module)
        test = compiled(asked.get("filter") or [], known)
        deleted = str(asked.get("deleted", "")).lower() in ("1", "true")
        rows = [row for row in self.records.all(module, deleted=deleted) if test(row)]
        order = str(asked.get("order_by") or "date_modified:desc")
        for part in reversed(order.split(",")):
            name, _, way = part.partition(":")
            if name not in known:
                raise bad_parameter(f"Can not order by {name}")
            field = known[name]
            rows.sort(
                key=lambda row, n=name, f=field: (  # type: ignore[misc]
                    (value := comparable(row.get(n), f)) is not None, value
                ),
                reverse=way.lower() == "desc",
            )  # fmt: skip
        return rows

    def _count(self, request: Request, match: re.Match[str]) -> Reply:
        module = self.records.module(match["module"])
        return Reply(body={"record_count": len(self._found(module, _body(request)))})

    # ----- records

    def _shown(self, module: str, key: str, status: int = 200) -> Reply:
        row = self.records.live(module, key)
        return Reply(status, self.records.shown(module, row), rows=1)

    def _create(self, request: Request, match: re.Match[str]) -> Reply:
        module = self.records.module(match["module"])
        return self._shown(module, self.records.create(module, _body(request)))

    def _get(self, request: Request, match: re.Match[str]) -> Reply:
        return self._shown(self.records.module(match["module"]), match["key"])

    def _update(self, request: Request, match: re.Match[str]) -> Reply:
        module = self.records.module(match["module"])
        self.records.update(module, match["key"], _body(request))
        return self._shown(module, match["key"])

    def _delete(self, request: Request, match: re.Match[str]) -> Reply:
        self.records.delete(self.records.module(match["module"]), match["key"])
        return Reply(body={"id": match["key"]}, rows=1)

    def _by_sync_key(self, request: Request, match: re.Match[str]) -> Reply:
        module = self.records.module(match["module"])
        found = self.records.by_sync_key(module, _value(match))
        if found is None:
            raise bad_parameter(f"Could not find record with sync_key in module: {module}")
        return self._shown(module, found)

    def _upsert(self, request: Request, match: re.Match[str]) -> Reply:
        """Update the record with this sync key; create it where there is none."""
        module, value = self.records.module(match["module"]), _value(match)
        found = self.records.by_sync_key(module, value)
        if found is None:
            key = self.records.create(module, _body(request), sync_key=value)
            return Reply(201, {"record": key}, rows=1)
        self.records.update(module, found, _body(request))
        return Reply(200, {"record": found}, rows=1)

    def _set_sync_key(self, request: Request, match: re.Match[str]) -> Reply:
        module = self.records.module(match["module"])
        done = self.records.set_sync_key(module, match["key"], _value(match))
        return Reply(body={"success": done}, rows=1)

    # ----- links

    def _link(self, request: Request, match: re.Match[str]) -> Reply:
        module, body = self.records.module(match["module"]), _body(request)
        link, ids = str(body.get("link_name", "")), body.get("ids")
        if not isinstance(ids, list):
            raise SugarError(422, "missing_parameter", "Missing parameter: ids")
        other = self.records.end(module, link)[0]
        self.records.link(module, match["key"], link, [str(i) for i in ids])
        return Reply(
            body={
                "record": self.records.shown(module, self.records.live(module, match["key"])),
                "related_records": [
                    self.records.shown(other, self.records.live(other, str(i))) for i in ids
                ],
            },
            rows=len(ids),
        )

    def _linked(self, request: Request, match: re.Match[str]) -> Reply:
        module = self.records.module(match["module"])
        rows = self.records.linked(module, match["key"], match["link"])
        other = self.records.end(module, match["link"])[0]
        return self._page(other, sorted(rows, key=lambda row: str(row["id"])), request.query)

    def _unlink(self, request: Request, match: re.Match[str]) -> Reply:
        module = self.records.module(match["module"])
        self.records.unlink(module, match["key"], match["link"], match["other"])
        return Reply(body={"record": {"id": match["key"]}}, rows=1)


def _value(match: re.Match[str]) -> str:
    return urllib.parse.unquote(match["value"])


def _body(request: Request) -> Row:
    try:
        body: Any = msgspec.json.decode(request.body) if request.body else {}
    except msgspec.DecodeError:
        raise SugarError(422, "invalid_parameter", "The body is no JSON") from None
    if not isinstance(body, dict):
        raise bad_parameter("an object was expected")
    return body


def _form(request: Request) -> Row:
    if "json" in request.headers.get("content-type", "") or request.body.startswith(b"{"):
        return _body(request)
    return dict(urllib.parse.parse_qsl(request.body.decode("utf-8", "replace")))
