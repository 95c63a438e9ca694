"""HubSpot's CRM API: requests, properties, and what its answers mean."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from pydantic import SecretStr

from cdp_assets.connectors.base import (
    FieldInfo,
    FieldType,
    NotAuthorised,
    NotPermitted,
    ObjectInfo,
    Refused,
    WrongObject,
)
from cdp_assets.connectors.config import require_secret, require_url
from cdp_assets.connectors.http import HttpOptions, HttpSession, Reply, decode_json
from cdp_assets.connectors.hubspot.config import HubSpotConfig
from cdp_assets.connectors.hubspot.paths import PROPERTIES, SCHEMAS, TOKEN, TOKEN_INFO
from cdp_assets.connectors.hubspot.policy import HubSpotPolicy
from cdp_assets.connectors.hubspot.schemas import TYPE_IDS, Schema, Schemas
from cdp_assets.connectors.rate import RateBudget
from cdp_assets.connectors.tokens import Auth, RenewedToken, StaticToken
from cdp_assets.connectors.usage import DailyUsage

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_\-]{1,100}")


class _Option(msgspec.Struct):
    value: str = ""
    hidden: bool = False


class _Rules(msgspec.Struct):
    readOnlyValue: bool = False  # noqa: N815


class Property(msgspec.Struct, rename="camel"):
    """A property as the account describes it (what we read of it)."""

    name: str
    type: str = "string"
    field_type: str = ""
    label: str = ""
    options: list[_Option] = []
    calculated: bool = False
    has_unique_value: bool = False
    archived: bool = False
    modification_metadata: _Rules | None = None
    referenced_object_type: str | None = None

    @property
    def writeable(self) -> bool:
        """Whether people and apps may fill it."""
        rules = self.modification_metadata
        return not (self.calculated or (rules is not None and rules.readOnlyValue))

    @property
    def unique(self) -> bool:
        """Whether the account holds each value once, so that records can be named by it."""
        return self.has_unique_value or self.name == "hs_object_id"


class _Token(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class _Scopes(msgspec.Struct):
    scopes: list[str] = []


_scopes = msgspec.json.Decoder(_Scopes).decode


class _Properties(msgspec.Struct):
    results: list[Property]


class HubSpotClient:
    """Requests to one account."""

    def __init__(self, name: str, config: HubSpotConfig, options: HttpOptions | None) -> None:
        self.name = name
        self.config = config
        self._options = options or HttpOptions()
        self._properties: dict[str, dict[str, Property]] = {}
        self.policy = HubSpotPolicy(
            name, config.api_budget, DailyUsage(name, self._options.usage, self._options.now)
        )
        self._schemas: list[Schema] | None = None
        self._http: HttpSession | None = None
        self._lock = threading.Lock()
        clock, sleep = self._options.monotonic, self._options.sleep
        # 30 % at once and 7 % a second stay within the limit of any ten seconds.
        limit = config.requests_per_10s
        self._rate = RateBudget(limit * 0.07, max(int(limit * 0.3), 1), clock, sleep)
        searches = config.searches_per_second
        self._searches = RateBudget(searches, max(int(searches), 1), clock, sleep)

    def __repr__(self) -> str:
        return f"HubSpotClient({self.name!r})"

    def now(self) -> datetime:
        """The present moment."""
        return self._options.now()

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
                    policy=self.policy,
                    rate=self._rate,
                    options=self._options,
                )
            return self._http

    def scopes(self) -> frozenset[str] | None:
        """What the private app may do; None of one that signs in by OAuth, or where the account
        does not tell."""
        if self.config.token is None:
            return None
        secret = require_secret(self.name, "token", self.config.token)
        body = {"tokenKey": secret}
        try:
            found = self.post(TOKEN_INFO, body, what="the app's scopes", decode=_scopes).body
        except (Refused, NotPermitted):
            return None
        return frozenset(found.scopes) or None

    def _auth(self) -> Auth:
        """A private app's token, else access tokens that the app is given for its refresh token:
        every request asks for the present one, which is renewed before it ends."""
        if self.config.token is not None:
            return StaticToken(require_secret(self.name, "token", self.config.token))
        return RenewedToken(self._sign_in, self._options.monotonic)

    def _sign_in(self) -> tuple[str, float | None]:
        assert self._http is not None
        form = {"grant_type": "refresh_token"}
        for name in ("client_id", "client_secret", "refresh_token"):
            secret = getattr(self.config, name) or SecretStr("")
            form[name] = require_secret(self.name, name, secret)
        try:
            found = self._http.request(
                "POST",
                TOKEN,
                what="sign-in",
                body=urlencode(form).encode(),
                content_type="application/x-www-form-urlencoded",
                decode=msgspec.json.Decoder(_Token).decode,
                repeatable=True,
                signed=False,
            ).body
        except Refused as refused:
            raise NotAuthorised(
                f"{self.name}: sign-in was refused (HTTP {refused.status}). Not retried. "
                "Re-authorise: check `client_id`, `client_secret` and `refresh_token`, and that "
                "the app is still installed in the account."
            ) from None
        return found.access_token, found.expires_in

    def get(
        self,
        path: str,
        *,
        what: str,
        params: Mapping[str, str] | None = None,
        decode: Callable[[bytes], T] = decode_json,
    ) -> T:
        """The answer to a GET."""
        return self.http.request("GET", path, what=what, params=params, decode=decode).body

    def post(
        self,
        path: str,
        value: Any,
        *,
        what: str,
        repeatable: bool = True,
        decode: Callable[[bytes], T] = decode_json,
        accept: Collection[int] = (),
        method: str = "POST",
    ) -> Reply[T]:
        """The answer to a POST, or another method with a body. repeatable: it reads, or writes
        the same when sent twice."""
        return self.http.request(
            method,
            path,
            what=what,
            body=msgspec.json.encode(value),
            decode=decode,
            repeatable=repeatable,
            accept=accept,
            rate=self._searches if path.endswith("/search") else None,
        )

    def properties(self, name: str) -> dict[str, Property]:
        """The account's properties of an object; asked for once."""
        if name not in self._properties:
            if _NAME.fullmatch(name) is None:
                raise WrongObject(
                    f"{self.name}: `{name[:80]}` cannot be the name of an object. Not retried. "
                    "Correct `objects`."
                )
            decode = msgspec.json.Decoder(_Properties).decode
            try:
                found = self.get(f"{PROPERTIES}/{name}", what=f"describe of {name}", decode=decode)
            except Refused as refused:
                if refused.status not in {400, 404}:
                    raise
                raise self._no_object(name) from None
            self._properties[name] = {p.name: p for p in found.results if not p.archived}
        return self._properties[name]

    def schema(self, name: str) -> Schema | None:
        """The custom object of this name; None for HubSpot's own. Asked for once."""
        if name in TYPE_IDS:
            return None
        if self._schemas is None:
            decode = msgspec.json.Decoder(Schemas).decode
            self._schemas = self.get(SCHEMAS, what="describe of objects", decode=decode).results
        return next((found for found in self._schemas if found.answers_to(name)), None)

    def type_id(self, name: str) -> str:
        """The objectTypeId of an object."""
        if name in TYPE_IDS:
            return TYPE_IDS[name]
        found = self.schema(name)
        if found is None:
            raise self._no_object(name)
        return found.object_type_id

    def _no_object(self, name: str) -> WrongObject:
        return WrongObject(
            f"{self.name}: the account has no object `{name[:80]}`, or does not show it to "
            "this app. Not retried. Correct `objects`, or add the app's scope for it."
        )

    def forget(self, name: str) -> None:
        """Ask for the object's properties anew when they are next needed."""
        self._properties.pop(name, None)

    def property(self, name: str, property_name: str) -> Property:
        """One property; WrongObject names it where the account has none such."""
        found = self.properties(name).get(property_name)
        if found is None:
            raise WrongObject(
                f"{self.name}: {name} has no property `{property_name[:80]}`, or does not show it "
                "to this app. Not retried. Correct the sync's `fields`, `key` or `match`."
            )
        return found

    def describe(self, names: Sequence[str]) -> dict[str, ObjectInfo]:
        """Name → what the account says of it, asked anew."""
        for name in names:
            self._properties.pop(name, None)
        return {
            name: ObjectInfo(
                name=name,
                label=name,
                fields={p.name: _field(name, p) for p in self.properties(name).values()},
            )
            for name in names
        }


def _field(object_name: str, found: Property) -> FieldInfo:
    # Contacts are held by e-mail once each, though the property does not say so.
    email = object_name == "contacts" and found.name == "email"
    return FieldInfo(
        name=found.name,
        type=_field_type(found),
        label=found.label,
        createable=found.writeable,
        updateable=found.writeable,
        unique=found.unique or email,
        external_id=found.has_unique_value or email,
        calculated=found.calculated,
        options=tuple(o.value for o in found.options if o.value),
        references=(found.referenced_object_type,) if found.referenced_object_type else (),
    )


def _field_type(found: Property) -> FieldType:
    kinds: Mapping[str, FieldType] = {
        "bool": "boolean",
        "number": "decimal",
        "date": "date",
        "datetime": "datetime",
        "phone_number": "phone",
    }
    if found.field_type == "booleancheckbox":
        return "boolean"
    if found.type == "enumeration":
        return "multi_enum" if found.field_type == "checkbox" else "enum"
    if found.type == "string":
        if found.name in {"email", "work_email"} or found.name.endswith("_email"):
            return "email"
        if found.field_type == "phonenumber":
            return "phone"
        return "text" if found.field_type in {"textarea", "html"} else "string"
    return kinds.get(found.type, "other")
