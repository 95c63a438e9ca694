"""SugarCRM's REST API: requests, modules and their fields, and what its answers mean."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from cdp_assets.connectors.base import FieldInfo, ObjectInfo, Refused, WrongObject
from cdp_assets.connectors.config import require_secret, require_url
from cdp_assets.connectors.http import HttpOptions, HttpSession, Reply, decode_json
from cdp_assets.connectors.paging import pages_ahead
from cdp_assets.connectors.policy import PlainPolicy
from cdp_assets.connectors.sugarcrm.auth import Session, SugarAuth
from cdp_assets.connectors.sugarcrm.config import SugarCRMConfig
from cdp_assets.connectors.sugarcrm.fields import Definition, module_info, with_options

T = TypeVar("T")
_MODULE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")


class _Error(msgspec.Struct):
    error: str = ""
    error_message: str = ""


class SugarPolicy(PlainPolicy):
    """SugarCRM's errors: a name and a text."""

    def codes(self, body: bytes) -> tuple[tuple[str, ...], str]:
        try:
            error = msgspec.json.decode(body, type=_Error)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return super().codes(body)
        return ((error.error,) if error.error else ()), error.error_message


class _Module(msgspec.Struct):
    fields: dict[str, Any] = {}


class _Metadata(msgspec.Struct):
    modules: dict[str, _Module] = {}
    full_module_list: dict[str, str] = {}


class Answer(msgspec.Struct):
    """The answer to one request of a bulk. `contents` is anything, a list for an empty object."""

    status: int = 0
    contents: Any = None


class Call(msgspec.Struct):
    """One request of a bulk; `data` is JSON text."""

    url: str
    method: str
    data: str | None = None


class _Listed(msgspec.Struct):
    records: list[msgspec.Raw] = []
    next_offset: int = -1


class SugarClient:
    """Requests to one instance."""

    def __init__(self, name: str, config: SugarCRMConfig, options: HttpOptions | None) -> None:
        self.name = name
        self.config = config
        self.options = options or HttpOptions()
        self._modules: dict[str, ObjectInfo] = {}
        self._http: HttpSession | None = None
        self._lock = threading.Lock()
        self._listed = msgspec.json.Decoder(_Listed).decode
        self._answers = msgspec.json.Decoder(list[Answer]).decode

    def __repr__(self) -> str:
        return f"SugarClient({self.name!r})"

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._http.calls if self._http is not None else 0

    @property
    def http(self) -> HttpSession:
        """The session, made when first needed: a wrong address is no reason not to load."""
        with self._lock:
            if self._http is None:
                config = self.config
                # The key that all instances have, `sugar`, has no secret.
                secret = config.client_secret.get_secret_value()
                common = {
                    "client_id": config.client_id,
                    "client_secret": secret,
                    "platform": config.platform,
                }
                password = require_secret(self.name, "password", config.password)

                def sign_in(asked: Mapping[str, str]) -> Session:
                    return self.http.request(
                        "POST",
                        "/oauth2/token",
                        what="sign-in",
                        body=msgspec.json.encode({**common, **asked}),
                        decode=msgspec.json.Decoder(Session).decode,
                        repeatable=True,
                        signed=False,
                    ).body

                self._http = HttpSession(
                    self.name,
                    f"{require_url(self.name, config.url)}/rest/{config.api_version}",
                    auth=SugarAuth(
                        self.name,
                        config.platform,
                        sign_in,
                        {
                            "grant_type": "password",
                            "username": config.username,
                            "password": password,
                        },
                        self.options.monotonic,
                    ),
                    policy=SugarPolicy(),
                    options=self.options,
                    auth_header="OAuth-Token",
                )
            return self._http

    def get(
        self, path: str, *, what: str, params: Mapping[str, str] | None = None,
        decode: Callable[[bytes], T] = decode_json,
    ) -> T:  # fmt: skip
        """The answer to a GET."""
        return self.http.request("GET", path, what=what, params=params, decode=decode).body

    def send(
        self, method: str, path: str, value: Any, *, what: str, repeatable: bool = True,
        decode: Callable[[bytes], T] = decode_json,
    ) -> Reply[T]:  # fmt: skip
        """The answer to a write, or to a read that has a body."""
        body = None if value is None else msgspec.json.encode(value)
        return self.http.request(
            method, path, what=what, body=body, decode=decode, repeatable=repeatable
        )

    def filter(self, module: str, asked: Mapping[str, Any], *, what: str) -> _Listed:
        """A page of a list: records as they came, and -1 where it is the last."""
        self.require(module)
        return self.send("POST", f"/{module}/filter", asked, what=what, decode=self._listed).body

    def bulk(self, calls: Sequence[Call], *, what: str, repeatable: bool) -> list[Answer]:
        """Several requests as one, carried out one after the other; an answer for each."""
        version = self.config.api_version
        asked = [
            {"url": f"/{version}{c.url}", "method": c.method}
            | ({} if c.data is None else {"data": c.data})
            for c in calls
        ]
        return self.send(
            "POST", "/bulk", {"requests": asked}, what=what, repeatable=repeatable,
            decode=self._answers,
        ).body  # fmt: skip

    def linked(self, module: str, key: str, link: str, *, what: str) -> Iterator[list[msgspec.Raw]]:
        """Records at the other end of a link, page by page."""

        def fetch(offset: str | None) -> tuple[_Listed, str | None]:
            params = {"fields": "id", "max_num": str(self.config.page_size),
                      "offset": offset or "0", "order_by": "id:asc"}  # fmt: skip
            path = f"/{module}/{quote(key, safe='')}/link/{link}"
            found = self.get(path, what=what, params=params, decode=self._listed)
            return found, None if found.next_offset == -1 else str(found.next_offset)

        for page in pages_ahead(f"{self.name}: {what}", fetch):
            yield page.records

    # Modules ------------------------------------------------------------------------------------

    def require(self, module: str) -> None:
        """Raise WrongObject where this cannot be a module's name."""
        if _MODULE.fullmatch(module) is None:
            raise WrongObject(
                f"{self.name}: `{module[:80]}` cannot be the name of a module. Not retried. "
                "Correct `objects`."
            )

    def names(self) -> tuple[str, ...]:
        """The modules that this user may see."""
        params = {"type_filter": "full_module_list"}
        decode = msgspec.json.Decoder(_Metadata).decode
        found = self.get("/metadata", what="list of modules", params=params, decode=decode)
        return tuple(sorted(name for name in found.full_module_list if name[:1] != "_"))

    def closed(self, module: str) -> frozenset[str]:
        """Actions that the user's roles close in a module (`edit`, `create`, `delete` …): `/me`
        lists those that are "no"; an admin has none."""
        found: dict[str, Any] = self.get("/me", what="who is signed in")
        user = found.get("current_user") or {}
        acl = user.get("acl") if isinstance(user, dict) else None
        own = acl.get(module) if isinstance(acl, dict) else None
        rights = own if isinstance(own, dict) else {}
        return frozenset(action for action, told in rights.items() if told == "no")

    def module(self, name: str) -> ObjectInfo:
        """A module and its fields; asked for once."""
        if name not in self._modules:
            self.require(name)
            params = {"type_filter": "modules", "module_filter": name}
            decode = msgspec.json.Decoder(_Metadata).decode
            found = self.get("/metadata", what=f"describe of {name}", params=params, decode=decode)
            if name not in found.modules:
                raise WrongObject(
                    f"{self.name}: there is no module `{name[:80]}`, or this user may not see it. "
                    "Not retried. Correct `objects`, or give the user's role access to it."
                )
            definitions = {
                key: msgspec.convert(value, Definition, strict=False)
                for key, value in found.modules[name].fields.items()
                if isinstance(value, dict)
            }
            self._modules[name] = with_options(
                module_info(name, definitions), self._options(name, definitions)
            )
        return self._modules[name]

    def _options(
        self, name: str, definitions: Mapping[str, Definition]
    ) -> dict[str, tuple[str, ...]]:
        """The values of each list field. The metadata name a list; what is in it is asked for each
        field, all in one request."""
        fields = [n for n, d in definitions.items() if d.type in {"enum", "multienum", "radioenum"}]
        if not fields:
            return {}
        calls = [Call(f"/{name}/enum/{field}", "GET") for field in fields]
        try:
            answers = self.bulk(calls, what=f"lists of values of {name}", repeatable=True)
        except Refused:
            return {}
        return {
            field: tuple(str(key) for key in answer.contents if key != "")
            for field, answer in zip(fields, answers, strict=False)
            if answer.status == 200 and isinstance(answer.contents, dict)
        }

    def field(self, module: str, name: str) -> FieldInfo:
        """One field; WrongObject names it where the module has none such."""
        found = self.module(module).fields.get(name)
        if found is None:
            raise WrongObject(
                f"{self.name}: {module} has no field `{name[:80]}`, or does not show it to this "
                "user. Not retried. Correct the sync's `fields`, `key` or `match`."
            )
        return found

    def describe(self, names: Sequence[str]) -> dict[str, ObjectInfo]:
        """Name → what the instance says of it, asked anew."""
        for name in names:
            self._modules.pop(name, None)
        return {name: self.module(name) for name in names}
