"""Records by id, by sync key, by address and by other fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from cdp_assets.connectors.base import FieldInfo, RowChange
from cdp_assets.connectors.crm import asked_for
from cdp_assets.connectors.sugarcrm.client import Call, SugarClient
from cdp_assets.connectors.sugarcrm.fields import (
    CONTACT,
    EMAIL,
    LINKED_CONTACT,
    OPT_OUT,
    PARENT,
    PARENTS,
    SYNC_KEY,
)
from cdp_assets.connectors.sugarcrm.forms import normalised, shown

_MANY = 100
_ANY_ADDRESS = "email_addresses.email_address"
_Record = dict[str, Any]


class Finding:
    """Reads of one instance."""

    def __init__(self, client: SugarClient) -> None:
        self._client = client
        self._decode = msgspec.json.Decoder(_Record).decode

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """See `Destination.read`."""
        infos = [self._client.field(name, field) for field in fields]
        return {
            str(record["id"]): {info.name: shown(info, record) for info in infos}
            for record in self._records(name, "id", ids, fields)
        }

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        """See `Destination.find`. A record answers to each of its addresses."""
        key = self._client.field(name, field_name)
        infos = [self._client.field(name, field) for field in fields]
        asked, literals = asked_for(key, values, normalised)
        found: dict[str, list[dict[str, Any]]] = {}
        by = _ANY_ADDRESS if field_name == EMAIL else field_name
        for record in self._records(name, by, literals, [*fields, field_name]):
            row = {"id": str(record["id"]), **{i.name: shown(i, record) for i in infos}}
            for text in _texts(key, record):
                for value in asked.get(text, ()):
                    found.setdefault(value, []).append(row)
        return found

    def addresses(self, name: str, group: Sequence[RowChange]) -> dict[int, list[dict[str, Any]]]:
        """Row → the present addresses of its record, where the row changes any: a list of them is
        written whole."""
        rows = [c for c in group if {EMAIL, OPT_OUT} & c.fields.keys() and c.op != "create"]
        found: dict[int, list[dict[str, Any]]] = {}
        for by, values in (
            ("id", {str(c.record_id): c.row for c in rows if c.op == "update"}),
            (SYNC_KEY, {str(c.key_value): c.row for c in rows if c.op == "upsert"}),
        ):
            for record in self._records(name, by, list(values), [by, EMAIL]):
                row = values.get(str(record.get(by)))
                if row is not None:
                    found[row] = list(record.get("email") or [])
        return found

    def _records(
        self, name: str, by: str, values: Sequence[str], fields: Sequence[str]
    ) -> Iterator[_Record]:
        wanted = {"id", *fields}
        if wanted & {EMAIL, OPT_OUT, "invalid_email"}:
            wanted.add("email")
        parents = {f"{PARENT}{module}" for module in PARENTS} & wanted
        if parents:
            wanted = wanted - parents | {"parent_type", "parent_id"}
        contacts = name in LINKED_CONTACT and CONTACT in wanted
        if contacts:
            wanted.remove(CONTACT)
        for at in range(0, len(values), _MANY):
            where: list[Mapping[str, Any]] = [{by: {"$in": list(values[at : at + _MANY])}}]
            last: str | None = None
            while True:
                more = [] if last is None else [{"id": {"$gt": last}}]
                asked = {
                    "filter": [*where, *more], "fields": ",".join(sorted(wanted)),
                    "max_num": self._client.config.page_size, "order_by": "id:asc",
                }  # fmt: skip
                answer = self._client.filter(name, asked, what=f"read of {name}")
                records = [self._decode(raw) for raw in answer.records]
                if contacts and records:
                    self._put_contacts(name, records)
                yield from records
                if answer.next_offset == -1 or not records or records[-1]["id"] == last:
                    break
                last = str(records[-1]["id"])

    def _put_contacts(self, name: str, records: Sequence[_Record]) -> None:
        """The first contact behind each record's link, in one request for all."""
        calls = [
            Call(f"/{name}/{record['id']}/link/contacts?fields=id&max_num=1", "GET")
            for record in records
        ]
        answers = self._client.bulk(calls, what=f"contacts of {name}", repeatable=True)
        for record, answer in zip(records, answers, strict=False):
            found = answer.contents if isinstance(answer.contents, Mapping) else {}
            first: _Record = next(iter(found.get("records") or ()), {})
            record[CONTACT] = first.get("id")


def _texts(key: FieldInfo, record: _Record) -> set[str]:
    texts = {str(shown(key, record)).casefold()}
    if key.name == EMAIL:
        texts |= {str(a.get("email_address")).casefold() for a in record.get("email") or []}
    return texts
