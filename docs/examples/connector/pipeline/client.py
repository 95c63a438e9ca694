"""Pipeline's API, read and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec

from cdp_assets.connectors.base import (
    FieldInfo,
    ObjectInfo,
    ObjectMapping,
    Page,
    RowChange,
    RowOutcome,
)
from cdp_assets.connectors.config import ObjectConfig, require_secret, require_url
from cdp_assets.connectors.crm import Crm, as_number
from cdp_assets.connectors.frames import moments, page_rows, payloads
from cdp_assets.connectors.http import HttpOptions, HttpSession
from cdp_assets.connectors.paging import pages_ahead
from cdp_assets.connectors.tokens import StaticToken
from pipeline.config import PipelineConfig

MAPPINGS = {
    "contacts": ObjectMapping(
        entity="person",
        columns={"name": "name", "email": "email", "title": "title", "changed_at": "updated_at"},
        identifiers={"email": ("email",)},
        id_field="id",
    )
}
"""How Pipeline's objects read as common entities."""


class _Contact(msgspec.Struct):
    id: int
    updated_at: str
    deleted: bool = False


class _Contacts(msgspec.Struct):
    items: list[msgspec.Raw]
    next: str | None = None


class _Account:
    """Requests to one account. The address and the key are looked at when the first one is made:
    definitions load without them."""

    def __init__(self, name: str, config: PipelineConfig, options: HttpOptions) -> None:
        self._name, self._config, self._options = name, config, options

    @cached_property
    def http(self) -> HttpSession:
        key = require_secret(self._name, "key", self._config.key)
        url = require_url(self._name, self._config.url)
        return HttpSession(self._name, url, auth=StaticToken(key), options=self._options)


class PipelineClient(Crm):
    """One Pipeline account."""

    system = "pipeline"

    def __init__(
        self, name: str, config: PipelineConfig, *, options: HttpOptions | None = None
    ) -> None:
        options = options or HttpOptions()
        self._account = _Account(name, config, options)
        super().__init__(
            name,
            config,
            client=_Fields(self._account),
            push=_Push(self._account),
            map_object=_mapping,
            api_version="1",
            options=options,
        )

    def pull(self, object_name: str, start: datetime, end: datetime) -> Iterator[Page]:
        """Contacts changed in [start, end), deleted ones too: the API lists both by `updated_at`
        and id, a hundred at a time."""

        def page(after: str | None) -> tuple[Page, str | None]:
            params = {"since": start.isoformat(), "until": end.isoformat()}
            if after is not None:
                params["after"] = after
            found: _Contacts = self._account.http.request(
                "GET",
                f"/{object_name}",
                params=params,
                what=f"pull of {object_name}",
                decode=msgspec.json.Decoder(_Contacts).decode,
            ).body
            known = [msgspec.json.decode(raw, type=_Contact) for raw in found.items]
            rows = page_rows(
                [str(contact.id) for contact in known],
                moments([contact.updated_at for contact in known]),
                ["delete" if contact.deleted else "upsert" for contact in known],
                None,
                payloads(self.name, found.items),
            )
            return Page(rows), found.next

        return pages_ahead(f"pull of {object_name}", page)

    def has_news(self, object_name: str, after: datetime) -> bool:
        far = (after + timedelta(days=36_500)).isoformat()
        params = {"since": after.isoformat(), "until": far, "limit": "1"}
        found = self._account.http.request(
            "GET", f"/{object_name}", params=params, what="news"
        ).body
        return bool(found["items"])


def _mapping(config: ObjectConfig) -> ObjectMapping | None:
    return MAPPINGS.get(config.name)


class _Fields:
    """Which objects and fields there are."""

    def __init__(self, account: _Account) -> None:
        self._account = account

    @property
    def calls(self) -> int:
        return self._account.http.calls

    def describe(self, names: Sequence[str], /) -> dict[str, ObjectInfo]:
        found = {}
        for name in names:
            fields = self._account.http.request(
                "GET", f"/fields/{name}", what=f"fields of {name}"
            ).body
            infos = {f["name"]: FieldInfo(name=f["name"], type=f["type"]) for f in fields}
            found[name] = ObjectInfo(name=name, fields=infos)
        return found


class _Push:
    """Records read and written."""

    batch_size = 50

    def __init__(self, account: _Account) -> None:
        self._account = account

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        return {
            str(item["id"]): {field: item.get(field) for field in fields}
            for item in self._ask(name, "ids", ids)
        }

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for item in self._ask(name, field_name, values):
            shown = {"id": str(item["id"]), **{field: item.get(field) for field in fields}}
            found.setdefault(str(item[field_name]), []).append(shown)
        return found

    def write(self, name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        """One call for all: Pipeline answers each row, by its place."""
        rows = [{"id": c.record_id, "op": c.op, "fields": dict(c.fields)} for c in batch]
        answers = self._account.http.request(
            "POST",
            f"/{name}/batch",
            what=f"write of {name}",
            body=msgspec.json.encode({"rows": rows}),
            # Creating twice makes two; the same change twice makes one.
            repeatable=all(change.op != "create" for change in batch),
        ).body["rows"]
        return [
            RowOutcome(
                change.row,
                ok="error" not in answer,
                record_id=str(answer["id"]) if "id" in answer else change.record_id,
                created=change.op == "create" and "error" not in answer,
                error_class="gone" if answer.get("error") == "not_found" else "data",
                code=answer.get("error"),
                message="refused by Pipeline",
            )
            for change, answer in zip(batch, answers, strict=True)
        ]

    def normalise(self, name: str, field_name: str, value: Any) -> Any:
        if value is None or value == "":
            return None
        return int(as_number(value)) if field_name == "score" else str(value).strip()

    def _ask(self, name: str, field: str, values: Sequence[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for at in range(0, len(values), 50):
            params = {field: ",".join(values[at : at + 50])}
            answer = self._account.http.request(
                "GET", f"/{name}", params=params, what=f"read of {name}"
            )
            found += answer.body["items"]
        return found
