"""Zendesk's Support API: requests, fields, and what its answers mean."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from cdp_assets.connectors.base import ConnectorError, FieldInfo, ObjectInfo, WrongObject
from cdp_assets.connectors.config import require_secret, require_url
from cdp_assets.connectors.http import HttpOptions, HttpSession, Reply, decode_json
from cdp_assets.connectors.policy import PlainPolicy
from cdp_assets.connectors.rate import RateBudget
from cdp_assets.connectors.tokens import Auth, RenewedToken, StaticToken
from cdp_assets.connectors.zendesk.config import ZendeskConfig
from cdp_assets.connectors.zendesk.fields import STANDARD, WRITTEN, AddedField, object_info

T = TypeVar("T")
API = "/api/v2"
_LIST_PAGE = 100
_UNTOLD_WAIT = 60.0


class _Detail(msgspec.Struct):
    error: str = ""
    description: str = ""


class _Error(msgspec.Struct):
    error: Any = ""
    description: str = ""
    details: dict[str, list[_Detail]] = {}


class ZendeskPolicy(PlainPolicy):
    """Zendesk's errors and limits ("Rate limits"): a 429 says in Retry-After how long to wait; one
    that does not is of a limit by the minute."""

    def wait(self, status: int, headers: Mapping[str, str], body: bytes) -> float | None:
        return _UNTOLD_WAIT if status == 429 else None

    def codes(self, body: bytes) -> tuple[tuple[str, ...], str]:
        found = read_error(body)
        return found if any(found) else super().codes(body)


def read_error(body: bytes) -> tuple[tuple[str, ...], str]:
    """Codes and text of a refusal; the error is a name, or an object with a title."""
    try:
        error = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return (), ""
    named = error.error
    if isinstance(named, Mapping):
        name, said = str(named.get("title", "")), str(named.get("message", ""))
    else:
        name, said = str(named or ""), ""
    details = [d for found in error.details.values() for d in found]
    codes = dict.fromkeys(c for c in (name, *(d.error for d in details)) if c)
    said = " ".join(t for t in (said, error.description, *(d.description for d in details)) if t)
    return tuple(codes), said


class ApiToken:
    """An agent's API token ("Security and authentication": EMAIL/token as the user's name)."""

    def __init__(self, email: str, token: str) -> None:
        pair = f"{email.removesuffix('/token')}/token:{token}"
        self._header = f"Basic {base64.b64encode(pair.encode()).decode()}"

    def token(self) -> str:
        return self._header

    def renew(self, stale: str) -> bool:
        return False


class _Access(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class ZendeskClient:
    """Requests to one account."""

    def __init__(self, name: str, config: ZendeskConfig, options: HttpOptions | None) -> None:
        self.name = name
        self.config = config
        self.options = options or HttpOptions()
        self._fields: dict[str, ObjectInfo] = {}
        self._http: HttpSession | None = None
        self._lock = threading.Lock()
        clock, sleep = self.options.monotonic, self.options.sleep
        # 40 % at once and 60 % over the minute stay within the limit of any minute.
        most, exports = config.requests_per_minute, config.exports_per_minute
        self._rate = RateBudget(most * 0.6 / 60, max(int(most * 0.4), 1), clock, sleep)
        self._exports = RateBudget(exports * 0.6 / 60, max(int(exports * 0.4), 1), clock, sleep)
        # "Export Search Results": a hundred a minute for the account.
        self._searches = RateBudget(1.0, 40, clock, sleep)

    def __repr__(self) -> str:
        return f"ZendeskClient({self.name!r})"

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._http.calls if self._http is not None else 0

    @property
    def http(self) -> HttpSession:
        """The session, made when first needed: a wrong address is no reason not to load."""
        with self._lock:
            if self._http is None:
                self._http = HttpSession(
                    self.name,
                    require_url(self.name, self.config.url),
                    auth=self._auth(),
                    policy=ZendeskPolicy(),
                    rate=self._rate,
                    options=self.options,
                )
            return self._http

    def _auth(self) -> Auth:
        config = self.config
        if config.token is not None:
            return ApiToken(config.email, require_secret(self.name, "token", config.token))
        if config.oauth_token is not None:
            return StaticToken(require_secret(self.name, "oauth_token", config.oauth_token))
        assert config.client_secret is not None
        secret = require_secret(self.name, "client_secret", config.client_secret)

        def fetch() -> tuple[str, float | None]:
            asked = {
                "grant_type": "client_credentials", "client_id": config.client_id,
                "client_secret": secret, "scope": config.scope,
            }  # fmt: skip
            found = self.http.request(
                "POST", "/oauth/tokens", what="sign-in", body=msgspec.json.encode(asked),
                decode=msgspec.json.Decoder(_Access).decode, repeatable=True, signed=False,
            ).body  # fmt: skip
            return found.access_token, found.expires_in

        return RenewedToken(fetch, self.options.monotonic)

    def get(
        self, path: str, *, what: str, params: Mapping[str, str] | None = None,
        decode: Callable[[bytes], T] = decode_json,
    ) -> T:  # fmt: skip
        """The answer to a GET."""
        rates = {"incremental": self._exports, "search": self._searches}
        rate = rates.get(path.split("/")[1])
        return self.http.request(
            "GET", API + path, what=what, params=params, decode=decode, rate=rate
        ).body

    def send(
        self, method: str, path: str, value: Any, *, what: str, repeatable: bool,
        params: Mapping[str, str] | None = None, decode: Callable[[bytes], T] = decode_json,
        accept: Collection[int] = (),
    ) -> Reply[T]:  # fmt: skip
        """The answer to a write. repeatable: it does the same when sent twice."""
        body = None if value is None else msgspec.json.encode(value)
        return self.http.request(
            method, API + path, what=what, params=params, body=body, decode=decode,
            repeatable=repeatable, accept=accept,
        )  # fmt: skip

    def listed(self, path: str, name: str, *, what: str) -> Iterator[list[msgspec.Raw]]:
        """A list by cursor, page by page (`page[size]`: pages by number end at 10,000)."""
        yield from self.pages(path, name, {"page[size]": str(_LIST_PAGE)}, what=what)

    def pages(
        self, path: str, name: str, params: Mapping[str, str], *, what: str
    ) -> Iterator[list[msgspec.Raw]]:
        """Pages of a list or an export of a search, led by `meta.after_cursor`."""
        answer = msgspec.defstruct(
            "Answer",
            [("rows", list[msgspec.Raw]), ("meta", _Meta, msgspec.field(default_factory=_Meta))],
            rename={"rows": name},
        )
        decode = msgspec.json.Decoder(answer).decode
        after: str | None = None
        while True:
            asked = {**params, **({"page[after]": after} if after is not None else {})}
            found: Any = self.get(path, what=what, params=asked, decode=decode)
            yield found.rows
            if not found.meta.has_more:
                return
            if found.meta.after_cursor in (None, after):
                raise circle(self.name, what)
            after = found.meta.after_cursor

    def require(self, name: str) -> None:
        """Raise WrongObject where Zendesk has no such object."""
        if name not in STANDARD:
            raise WrongObject(
                f"{self.name}: there is no object `{name[:80]}`; there are "
                f"{', '.join(STANDARD)}. Not retried. Correct `objects`."
            )

    def object(self, name: str) -> ObjectInfo:
        """An object and its fields; asked for once."""
        if name not in self._fields:
            self.require(name)
            added: list[AddedField] = []
            if name in WRITTEN:
                key, decode = f"{WRITTEN[name]}_fields", msgspec.json.Decoder(AddedField).decode
                for page in self.listed(f"/{key}.json", key, what=f"describe of {name}"):
                    added += [decode(raw) for raw in page]
            self._fields[name] = object_info(name, added)
        return self._fields[name]

    def field(self, name: str, field_name: str) -> FieldInfo:
        """One field; WrongObject names it where the account has none such."""
        found = self.object(name).fields.get(field_name)
        if found is None:
            raise WrongObject(
                f"{self.name}: {name} has no field `{field_name[:80]}`. Not retried. Correct the "
                "sync's `fields`, `key` or `match`; a field that the account added is called "
                "`custom_` and its key."
            )
        return found

    def forget(self, name: str) -> None:
        """Ask for an object's fields anew when they are needed next."""
        self._fields.pop(name, None)

    def describe(self, names: Sequence[str]) -> dict[str, ObjectInfo]:
        """Name → what the account says of it, asked anew."""
        for name in names:
            self.forget(name)
        return {name: self.object(name) for name in names}


class _Meta(msgspec.Struct):
    has_more: bool = False
    after_cursor: str | None = None


def circle(source: str, what: str) -> ConnectorError:
    """The error of a list whose pages lead back to themselves."""
    return ConnectorError(
        f"{source}: {what}: the system gave the same page mark twice, so its pages go in a "
        "circle. Nothing more was taken. Not retried. Report it to the system's makers."
    )
