"""Records by id, by external id, and by searches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from cdp_assets.connectors.base import FieldInfo
from cdp_assets.connectors.crm import asked_for
from cdp_assets.connectors.zendesk.client import ZendeskClient
from cdp_assets.connectors.zendesk.fields import CUSTOM, WRITTEN
from cdp_assets.connectors.zendesk.forms import normalised, shown

_MANY = 100
_QUERY = 1_500
"""Characters of a search: it stands in the address."""
_Record = dict[str, Any]


class Finding:
    """Reads of one account."""

    def __init__(self, client: ZendeskClient) -> None:
        self._client = client
        self._decode = msgspec.json.Decoder(_Record).decode

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """See `Destination.read`. A deleted user is still shown by its id, as not active."""
        infos = [self._client.field(name, field) for field in fields]
        return {
            str(record["id"]): {info.name: shown(info, record) for info in infos}
            for record in self._many(name, "ids", ids)
        }

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        """See `Destination.find`. External ids are looked up, all else is searched for; whatever
        a search finds counts only where the field says so."""
        key = self._client.field(name, field_name)
        infos = [self._client.field(name, field) for field in fields]
        asked, literals = asked_for(key, values, normalised)
        found: dict[str, list[dict[str, Any]]] = {}
        for record in self._records(name, key, literals):
            row = {"id": str(record["id"]), **{i.name: shown(i, record) for i in infos}}
            for text in self._texts(name, key, record, asked.keys()):
                for value in asked.get(text, ()):
                    found.setdefault(value, []).append(row)
        return found

    def _records(self, name: str, key: FieldInfo, values: Sequence[str]) -> Iterator[_Record]:
        if key.name == "id":
            yield from self._many(name, "ids", values)
            return
        if key.name == "external_id" and name != "tickets":
            # A comma parts the values of one request, so one that holds a comma is asked alone.
            yield from self._many(name, "external_ids", [v for v in values if "," not in v])
            for value in (v for v in values if "," in v):
                path, what, asked = f"/{name}/search.json", f"read of {name}", {key.name: value}
                answer = self._client.get(path, what=what, params=asked, decode=self._decode)
                yield from answer[name]
            return
        seen: set[int] = set()
        one = WRITTEN.get(name, name)
        for query in _queries(_word(name, key), values):
            params = {"query": query, "filter[type]": one, "page[size]": "100"}
            what = f"search of {name}"
            for page in self._client.pages("/search/export.json", "results", params, what=what):
                for record in map(self._decode, page):
                    if record["id"] not in seen and record.get("active", True) is not False:
                        seen.add(record["id"])
                        yield record

    def _texts(self, name: str, key: FieldInfo, record: _Record, asked: Any) -> set[str]:
        """What the record answers to. A user found by an address that is not its first one
        answers to its further ones."""
        own = str(shown(key, record)).casefold()
        if own in asked or name != "users" or key.name != "email":
            return {own}
        path, what = f"/users/{record['id']}/identities.json", "identities of a user"
        found = {own}
        for page in self._client.listed(path, "identities", what=what):
            for identity in map(self._decode, page):
                if identity.get("type") == "email":
                    found.add(str(identity.get("value")).casefold())
        return found

    def _many(self, name: str, by: str, values: Sequence[str]) -> Iterator[_Record]:
        for at in range(0, len(values), _MANY):
            params = {by: ",".join(values[at : at + _MANY])}
            path, what = f"/{name}/show_many.json", f"read of {name}"
            answer = self._client.get(path, what=what, params=params, decode=self._decode)
            for record in answer[name]:
                if record.get("active", True) is not False and record.get("status") != "deleted":
                    yield record


def _word(name: str, key: FieldInfo) -> str:
    """What a search calls a field ("Zendesk Support search reference")."""
    if not key.name.startswith(CUSTOM):
        return key.name
    own = key.name.removeprefix(CUSTOM)
    return f"custom_field_{own}" if name == "tickets" else own


def _queries(word: str, values: Sequence[str]) -> Iterator[str]:
    """Searches for a few values each: several of one word are alternatives."""
    terms: list[str] = []
    for value in values:
        term = f'{word}:"{value.replace(chr(34), " ")}"'
        if terms and len(" ".join([*terms, term])) > _QUERY:
            yield " ".join(terms)
            terms = []
        terms.append(term)
    if terms:
        yield " ".join(terms)
