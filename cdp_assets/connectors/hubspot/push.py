"""Writing records to HubSpot: batches of a hundred, one outcome a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from cdp_assets.connectors.base import ConnectorError, RowChange, RowOutcome
from cdp_assets.connectors.crm import asked_for, distinct, halved
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.hubspot.answers import Paging, mark
from cdp_assets.connectors.hubspot.client import HubSpotClient, Property
from cdp_assets.connectors.hubspot.forms import normalised, shown
from cdp_assets.connectors.hubspot.links import Links
from cdp_assets.connectors.hubspot.outcomes import RowError, failed, named, refused_alone
from cdp_assets.connectors.hubspot.paths import OBJECTS

BATCH = 100
_STAGE = "lifecyclestage"
_MORE_EMAILS = "hs_additional_emails"
_SEARCH_VALUES = 100
_SEARCH_PAGE = 200
_MOMENTS = frozenset({"date", "datetime"})
_SPLIT = frozenset({400, 404, 409})
"""Statuses by which one row's mistake refuses the whole batch."""


class _Record(msgspec.Struct):
    id: str
    properties: dict[str, Any] = {}
    objectWriteTraceId: str | None = None  # noqa: N815 - the API's own name
    new: bool | None = None


class _Answer(msgspec.Struct):
    results: list[_Record] = []
    errors: list[RowError] = []


class _Found(msgspec.Struct):
    results: list[_Record] = []
    total: int = 0
    paging: Paging | None = None


class HubSpotPush:
    """Reads and writes of records by batches."""

    batch_size = BATCH

    def __init__(self, client: HubSpotClient, options: HttpOptions) -> None:
        self._client = client
        self._options = options
        self._links = Links(client)
        self._decode = msgspec.json.Decoder(_Answer).decode
        self._decode_found = msgspec.json.Decoder(_Found).decode

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        for field in fields:
            self._client.property(name, field)
        return {
            r.id: self._shown(name, fields, r) for r in self._batch_read(name, ids, fields, None)
        }

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        key = self._client.property(name, field_name)
        asked, literals = asked_for(key, values, normalised)
        shown_in = [field_name]
        if field_name == "email" and _MORE_EMAILS in self._client.properties(name):
            # A record answers to its further addresses too.
            shown_in.append(_MORE_EMAILS)
        wanted = list(dict.fromkeys([*fields, *shown_in]))
        if key.has_unique_value or (name == "contacts" and field_name == "email"):
            records = self._batch_read(name, literals, wanted, field_name)
        else:
            records = self._search(name, key, literals, wanted)
        found: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            row = {"id": record.id, **self._shown(name, fields, record)}
            own = shown(key, record.properties.get(field_name)) or ""
            texts = [own, *(str(record.properties.get(f) or "") for f in shown_in[1:])]
            for text in _texts(texts):
                for value in asked.get(text, ()):
                    found.setdefault(value, []).append(row)
        return found

    def _shown(self, name: str, fields: Sequence[str], record: _Record) -> dict[str, Any]:
        """The record's values in the form that `normalise` gives, so that the two can be compared
        whatever way the account writes a moment or a number."""
        return {f: shown(self._client.property(name, f), record.properties.get(f)) for f in fields}

    def _batch_read(
        self, name: str, ids: Sequence[str], fields: Sequence[str], key: str | None
    ) -> Iterator[_Record]:
        for at in range(0, len(ids), BATCH):
            body: dict[str, Any] = {
                "properties": list(fields),
                "propertiesWithHistory": [],
                "inputs": [{"id": i} for i in ids[at : at + BATCH]],
            }
            if key is not None:
                body["idProperty"] = key
            path = f"{OBJECTS}/{name}/batch/read"
            what = f"read of {name}"
            yield from self._client.post(path, body, what=what, decode=self._decode).body.results

    def _search(
        self, name: str, key: Property, values: Sequence[str], fields: Sequence[str]
    ) -> Iterator[_Record]:
        for at in range(0, len(values), _SEARCH_VALUES):
            some = list(values[at : at + _SEARCH_VALUES])
            if key.type not in _MOMENTS:
                # The index holds text in lower case, and IN compares as it stands.
                some = [value.lower() for value in some]
            last = "0"
            while True:
                where = [
                    {"propertyName": key.name, "operator": "IN", "values": some},
                    {"propertyName": "hs_object_id", "operator": "GT", "value": last},
                ]
                body = {
                    "filterGroups": [{"filters": where}],
                    "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
                    "properties": list(fields),
                    "limit": _SEARCH_PAGE,
                }
                path = f"{OBJECTS}/{name}/search"
                what = f"search of {name}"
                found = self._client.post(path, body, what=what, decode=self._decode_found).body
                yield from found.results
                if not found.results or mark(found.paging) is None:
                    break
                last = str(max(int(r.id) for r in found.results))

    def write(self, name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        """One call for the batch. Where one row's mistake refuses all, the batch is halved until
        that row stands alone and the others are written."""
        groups, outcomes = distinct(batch)
        for group in groups:
            outcomes |= halved(group, lambda part: self._call(name, part), refused_alone, _SPLIT)
            outcomes |= self._not_taken(name, group, outcomes)
            outcomes |= self._links.add(name, group, outcomes)
        return [outcomes[change.row] for change in batch if change.row in outcomes]

    def _call(self, name: str, part: Sequence[RowChange]) -> dict[int, RowOutcome]:
        op = part[0].op
        what = f"{op} of {len(part)} {name}"
        if op == "delete":
            return self._archive(name, what, part)
        reply = self._client.post(
            f"{OBJECTS}/{name}/batch/{op}",
            {"inputs": [self._input(name, change) for change in part]},
            what=what,
            decode=self._decode,
            # A create sent twice is two records; the others name the record they write.
            repeatable=op != "create",
        )
        return self._outcomes(what, part, reply.body)

    def _input(self, name: str, change: RowChange) -> dict[str, Any]:
        # An empty text is what clears a property; null is refused.
        properties = {k: "" if v is None else v for k, v in change.fields.items()}
        sent: dict[str, Any] = {"properties": properties, "objectWriteTraceId": str(change.row)}
        if change.op == "update":
            sent["id"] = change.record_id
        elif change.op == "upsert":
            sent["idProperty"] = change.key_field
            sent["id"] = change.key_value
            if change.key_field is not None:
                properties.setdefault(change.key_field, change.key_value)
        elif change.key_field is not None and change.key_value is not None:
            properties.setdefault(change.key_field, change.key_value)
        if change.op == "create" and change.links:
            sent["associations"] = [
                {"to": {"id": other_id}, "types": [self._links.type(name, other)]}
                for other, other_id in change.links
            ]
        return sent

    def _not_taken(
        self, name: str, group: Sequence[RowChange], outcomes: Mapping[int, RowOutcome]
    ) -> dict[int, RowOutcome]:
        """Rows whose lifecycle stage stayed: it moves forward only, and HubSpot answers as if it
        had moved ("Set and sync lifecycle stages"). So it is read back; a call for 100 of them."""
        wanted: dict[str, tuple[RowChange, Any]] = {}
        for change in group:
            outcome, value = outcomes.get(change.row), change.fields.get(_STAGE)
            if outcome is not None and outcome.ok and not outcome.created and value is not None:
                wanted[str(outcome.record_id)] = (change, self.normalise(name, _STAGE, value))
        found: dict[str, dict[str, Any]] = {}
        with suppress(ConnectorError):  # it was written, whatever becomes of the look
            found = self.read(name, list(wanted), [_STAGE]) if wanted else {}
        return {
            change.row: RowOutcome(
                change.row, False, key, error_class="data", code="NOT_TAKEN",
                message=f"{_STAGE} stayed as it was: it moves forward only, unless it is cleared "
                "first. The row's other fields were written",
            )
            for key, (change, value) in wanted.items()
            if key in found and found[key][_STAGE] != value
        }  # fmt: skip

    def _archive(self, name: str, what: str, part: Sequence[RowChange]) -> dict[int, RowOutcome]:
        """Put records into the bin. HubSpot answers with nothing, also for records that are in it
        already. The old id of a merged record leads to its survivor, who must not go instead of
        it: so what the ids lead to is read first."""
        ids = [str(change.record_id) for change in part]
        there = {r.id for r in self._batch_read(name, ids, ["hs_object_id"], None)}
        inputs = [{"id": i} for i in dict.fromkeys(ids) if i in there]
        if inputs:
            path = f"{OBJECTS}/{name}/batch/archive"
            self._client.post(path, {"inputs": inputs}, what=what)
        return {change.row: RowOutcome(change.row, True, change.record_id) for change in part}

    def _outcomes(
        self, what: str, group: Sequence[RowChange], answer: _Answer
    ) -> dict[int, RowOutcome]:
        by_trace = {str(change.row): change for change in group}
        by_id = {change.record_id: change for change in group if change.record_id}
        by_key = {
            (change.key_value or "").casefold(): change for change in group if change.key_field
        }
        outcomes: dict[int, RowOutcome] = {}
        for record in answer.results:
            change = by_trace.get(record.objectWriteTraceId or "") or by_id.get(record.id)
            if change is None and group[0].key_field:
                key = str(record.properties.get(group[0].key_field) or "").casefold()
                change = by_key.get(key)
            if change is None and len(group) == 1:
                change = group[0]
            if change is not None:
                created = change.op == "create" or bool(record.new)
                outcomes[change.row] = RowOutcome(change.row, True, record.id, created)
        for error in answer.errors:
            for change in named(error, by_trace, by_id, by_key):
                outcomes.setdefault(change.row, failed(change, error))
        left = [change for change in group if change.row not in outcomes]
        if left and len(left) == len(group):
            raise ConnectorError(
                f"{self._client.name}: {what}: the answer names none of the rows. Not retried. "
                "Read the records before writing again."
            )
        for change in left:
            if change.op == "create":
                continue  # it may be there: whoever called has to look
            outcomes[change.row] = RowOutcome(
                change.row, False, change.record_id, error_class="retry", code="NO_RESULT",
                message="the answer does not name this row; it is read before it is sent again",
            )  # fmt: skip
        return outcomes

    def normalise(self, name: str, field_name: str, value: Any) -> Any:
        """`value` as the account will show it after a write: always text, null for nothing."""
        return normalised(self._client.property(name, field_name), value)


def _texts(texts: Sequence[str]) -> set[str]:
    """The field's value, and each of the further addresses."""
    first, *more = texts
    parts = [first, *[part for text in more for part in text.split(";")]]
    return {part.strip().casefold() for part in parts}
