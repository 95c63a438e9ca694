"""Salesforce's REST API: sign-in, describe, queries, and what its answers mean."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from cdp_assets.connectors.base import (
    NotAuthorised,
    ObjectInfo,
    Refused,
    WrongObject,
)
from cdp_assets.connectors.config import require_url
from cdp_assets.connectors.http import HttpOptions, HttpSession, Reply, decode_json
from cdp_assets.connectors.policy import PlainPolicy
from cdp_assets.connectors.salesforce import signin
from cdp_assets.connectors.salesforce.config import SalesforceConfig
from cdp_assets.connectors.salesforce.describe import (
    SalesforceField,
    SalesforceName,
    SalesforceObject,
    SalesforceObjects,
    object_info,
)
from cdp_assets.connectors.salesforce.policy import SalesforcePolicy
from cdp_assets.connectors.tokens import RenewedToken
from cdp_assets.connectors.usage import DailyUsage

T = TypeVar("T")
LONGEST_URL = 12_000
"""Characters of a request line that Salesforce (16,384) and what stands before it let through."""
_NAME = re.compile(r"[A-Za-z]\w*")


class QueryPage(msgspec.Struct, Generic[T]):
    """One page of a query's answer."""

    records: list[T]
    done: bool = True
    nextRecordsUrl: str | None = None  # noqa: N815 - the API's own name
    totalSize: int = 0  # noqa: N815


class SalesforceClient:
    """Requests to one org."""

    def __init__(self, name: str, config: SalesforceConfig, options: HttpOptions | None) -> None:
        self.name = name
        self._config = config
        self._options = options or HttpOptions()
        self._policy = SalesforcePolicy(
            name, config.api_budget, DailyUsage(name, self._options.usage, self._options.now)
        )
        self._data = f"/services/data/v{config.api_version}"
        self._objects: dict[str, SalesforceObject] = {}
        self._fields: dict[str, dict[str, SalesforceField]] = {}
        self._http: HttpSession | None = None
        self._lock = threading.Lock()
        self.not_by_bulk: dict[str, str] = {}
        """Objects whose queries Bulk API 2.0 refused, and what it said."""
        self._not_in_bulk: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"SalesforceClient({self.name!r})"

    @property
    def options(self) -> HttpOptions:
        """How patient requests are."""
        return self._options

    @property
    def bulk_above(self) -> int:
        """How many records a window may hold and still be pulled by REST; 0: any number."""
        return self._config.bulk_above

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._http.calls if self._http is not None else 0

    @property
    def budget(self) -> tuple[int, int] | None:
        """The org's requests of the day (used, allowed) as its last answer told."""
        used, allowed = self._policy.used, self._policy.allowed
        return None if used is None or allowed is None else (used, allowed)

    @property
    def http(self) -> HttpSession:
        """The session, made when first needed: a wrong address is no reason not to load."""
        with self._lock:
            if self._http is None:
                self._http = HttpSession(
                    self.name,
                    require_url(self.name, self._config.url),
                    auth=RenewedToken(self._sign_in, self._options.monotonic),
                    policy=self._policy,
                    options=self._options,
                )
            return self._http

    def _login(self) -> HttpSession:
        """The session of the host that gives tokens; client credentials are for the org's own."""
        assert self._http is not None
        by_user = self._config.private_key is not None or self._config.refresh_token is not None
        if not self._config.login_url or not by_user:
            return self._http
        url = require_url(self.name, self._config.login_url)
        return HttpSession(self.name, url, policy=PlainPolicy(), options=self._options)

    def _sign_in(self) -> tuple[str, float | None]:
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        try:
            reply: Reply[dict[str, Any]] = self._login().request(
                "POST",
                "/services/oauth2/token",
                what="sign-in",
                body=signin.form(self.name, self._config, self._options.now()),
                content_type="application/x-www-form-urlencoded",
                decode=decode,
                repeatable=True,
                signed=False,
            )
        except Refused as refused:
            codes = ", ".join(self._policy.codes(refused.body)[0]) or refused.status
            raise NotAuthorised(
                f"{self.name}: sign-in was refused ({codes}). Not retried. Re-authorise: "
                f"{signin.advice(self._config)}"
            ) from None
        token = reply.body.get("access_token")
        if not isinstance(token, str) or not token:
            raise NotAuthorised(f"{self.name}: sign-in gave no access token. Re-authorise.")
        life = reply.body.get("expires_in")
        return token, float(life) if isinstance(life, int | float) else None

    def get(
        self,
        path: str,
        *,
        what: str,
        decode: Callable[[bytes], T] = decode_json,
        params: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> T:
        """The answer to GET `path` below the version's root."""
        return self.reply(path, what=what, decode=decode, params=params, accept=accept).body

    def reply(
        self,
        path: str,
        *,
        what: str,
        decode: Callable[[bytes], T],
        params: Mapping[str, str] | None = None,
        accept: str = "application/json",
    ) -> Reply[T]:
        """The answer to GET `path` with its headers. accept: the type of answer asked for."""
        return self.http.request(
            "GET",
            self._full(path),
            what=what,
            decode=decode,
            params=params,
            headers={
                "Accept": accept,
                "Sforce-Query-Options": f"batchSize={self._config.page_size}",
            },
        )

    def not_in_bulk(self, name: str) -> bool:
        """Whether Bulk API 2.0 refused to write this object before."""
        return name in self._not_in_bulk

    def refused_by_bulk(self, name: str, reason: str) -> None:
        """Keep that it did."""
        self._not_in_bulk[name] = reason

    def upload(self, path: str, data: bytes, *, what: str) -> None:
        """PUT a CSV; never twice, since a job takes one."""
        self.http.request(
            "PUT",
            self._full(path),
            what=what,
            body=data,
            content_type="text/csv; charset=UTF-8",
            decode=lambda body: None,
            repeatable=False,
        )

    def delete(self, path: str, *, what: str, params: Mapping[str, str] | None = None) -> Any:
        """The answer to DELETE `path`."""
        return self.http.request("DELETE", self._full(path), what=what, params=params).body

    def send(
        self,
        method: str,
        path: str,
        value: Any,
        *,
        what: str,
        repeatable: bool,
        decode: Callable[[bytes], T] = decode_json,
    ) -> T:
        """Send a JSON body; the answer's."""
        headers = (
            {"Sforce-Duplicate-Rule-Header": "allowSave=true"}
            if self._config.save_duplicates
            else None
        )
        return self.http.request(
            method,
            self._full(path),
            what=what,
            body=msgspec.json.encode(value),
            decode=decode,
            headers=headers,
            repeatable=repeatable,
        ).body

    def _full(self, path: str) -> str:
        return path if path.startswith("/services/") else self._data + path

    def described(self, name: str) -> bool:
        """Whether the org was asked for its description of an object already."""
        return name in self._objects

    def object(self, name: str) -> SalesforceObject:
        """The org's description of an object; asked for once."""
        if name not in self._objects:
            checked_name(self.name, name)
            try:
                found = self.get(
                    f"/sobjects/{name}/describe",
                    what=f"describe of {name}",
                    decode=msgspec.json.Decoder(SalesforceObject).decode,
                )
            except Refused as refused:
                if refused.status != 404:
                    raise
                raise WrongObject(
                    f"{self.name}: the org has no object `{name[:80]}`, or does not show it to "
                    "this user. Not retried. Correct `objects`, or give the user access to it."
                ) from None
            self._objects[name] = found
            self._fields[name] = {field.name: field for field in found.fields}
        return self._objects[name]

    def queryable(self, name: str) -> SalesforceObject:
        """The org's description of an object that can be queried; raises WrongObject of another."""
        described = self.object(name)
        if not described.queryable:
            raise WrongObject(
                f"{self.name}: {name} cannot be queried in this org. Not retried. Take it out "
                "of `objects`; the others go on."
            )
        return described

    def fields(self, name: str) -> dict[str, SalesforceField]:
        """The object's fields by name."""
        self.object(name)
        return self._fields[name]

    def describe(self, names: Sequence[str]) -> dict[str, ObjectInfo]:
        """Name → what the org says of it, asked anew."""
        for name in names:
            self._objects.pop(name, None)
        return {name: object_info(self.object(name)) for name in names}

    def listed(self) -> list[SalesforceName]:
        """All objects that the org shows to this user."""
        decode = msgspec.json.Decoder(SalesforceObjects).decode
        return self.get("/sobjects", what="list of objects", decode=decode).sobjects

    def query_page(
        self, soql: str, *, what: str, decode: Callable[[bytes], T], deleted: bool = False
    ) -> T:
        """The first page of a query; `deleted`: with deleted and archived records."""
        path = "/queryAll" if deleted else "/query"
        return self.get(path, what=what, decode=decode, params={"q": soql})

    def query(self, soql: str, *, what: str, deleted: bool = False) -> Iterator[dict[str, Any]]:
        """All rows of a small query; `deleted`: with deleted and archived records."""
        for page in self.query_pages(soql, what=what, deleted=deleted):
            yield from page

    def query_pages(
        self, soql: str, *, what: str, deleted: bool = False
    ) -> Iterator[list[dict[str, Any]]]:
        """The rows of a query, page by page."""
        decode = msgspec.json.Decoder(QueryPage[dict[str, Any]]).decode
        page = self.query_page(soql, what=what, decode=decode, deleted=deleted)
        yield page.records
        while not page.done and page.nextRecordsUrl:
            page = self.get(page.nextRecordsUrl, what=what, decode=decode)
            yield page.records


def checked_name(source: str, name: str) -> str:
    """`name` where it can be an object's; nothing else may stand in a path or a query."""
    if _NAME.fullmatch(name) is None:
        raise WrongObject(
            f"{source}: `{name[:80]}` cannot be the name of an object. Not retried. "
            "Correct `objects`."
        )
    return name


def soql_string(value: str) -> str:
    """`value` as a SOQL string literal."""
    out = []
    for char in value:
        if char in "\\'":
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif char == "\r":
            out.append("\\r")
        elif char == "\t":
            out.append("\\t")
        else:
            out.append(char)
    return "'" + "".join(out) + "'"


def soql_datetime(at: datetime) -> str:
    """A moment as a SOQL literal, in milliseconds, which is all that Salesforce keeps."""
    millis = at.microsecond // 1000
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{millis:03d}Z"
