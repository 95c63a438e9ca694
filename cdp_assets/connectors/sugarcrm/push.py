"""Writing records to SugarCRM: bulk requests, one outcome a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from cdp_assets.connectors.base import ErrorClass, RowChange, RowOutcome, WrongObject
from cdp_assets.connectors.crm import distinct
from cdp_assets.connectors.redaction import redact
from cdp_assets.connectors.sugarcrm.client import Answer, Call, SugarClient
from cdp_assets.connectors.sugarcrm.fields import EMAIL, OPT_OUT, SYNC_KEY
from cdp_assets.connectors.sugarcrm.finding import Finding
from cdp_assets.connectors.sugarcrm.forms import normalised, with_main

_ACTIVITIES: Mapping[str, str] = {
    "Tasks": "contact_id", "Notes": "contact_id", "Calls": "contacts", "Meetings": "contacts"
}  # fmt: skip
"""Module with a parent → how it is linked with a contact besides: a field, or a link."""
_CLASSES: Mapping[int, ErrorClass] = {
    401: "retry", 403: "permission", 404: "gone", 408: "retry", 409: "conflict", 412: "retry",
    429: "retry",
}  # fmt: skip


class SugarPush:
    """Reads and writes of records by batches."""

    def __init__(self, client: SugarClient) -> None:
        self._client = client
        self._finding = Finding(client)
        self.batch_size = client.config.bulk_size

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        return self._finding.read(name, ids, fields)

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        return self._finding.find(name, field_name, values, fields)

    def normalise(self, name: str, field_name: str, value: Any) -> Any:
        """`value` in the form in which `read` gives it after a write."""
        return normalised(self._client.field(name, field_name), value)

    def write(self, name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        """One bulk request for the batch, and a read before it where addresses are to change."""
        self._client.require(name)
        groups, outcomes = distinct(batch)
        for group in groups:
            if group[0].op == "upsert" and group[0].key_field != SYNC_KEY:
                raise WrongObject(
                    f"{self._client.name}: {name} cannot be upserted by "
                    f"`{str(group[0].key_field)[:80]}`, only by {SYNC_KEY}. Not retried. Correct "
                    "the sync's `key`."
                )
            outcomes |= self._send(name, group)
        return [outcomes[change.row] for change in batch if change.row in outcomes]

    def _send(self, name: str, group: Sequence[RowChange]) -> dict[int, RowOutcome]:
        addresses = self._finding.addresses(name, group)
        calls: list[Call] = []
        owners: list[RowChange] = []
        for change in group:
            own = self._calls(name, change, addresses)
            calls += own
            owners += [change] * len(own)
        answers = self._client.bulk(
            calls,
            what=f"{group[0].op} of {len(group)} {name}",
            # A create sent twice is two records; the others name the record they write.
            repeatable=group[0].op != "create",
        )
        outcomes: dict[int, RowOutcome] = {}
        for change, answer in zip(owners, answers, strict=False):
            before = outcomes.get(change.row)
            if before is None or before.ok:
                outcomes[change.row] = _outcome(change, answer)
        for change in owners[len(answers) :]:
            if change.op == "create":
                continue  # it may be there: whoever called has to look
            outcomes[change.row] = RowOutcome(
                change.row, False, change.record_id, error_class="retry", code="NO_RESULT",
                message="the answer leaves this row out; it is read before it is sent again",
            )  # fmt: skip
        return outcomes

    def _calls(
        self, name: str, change: RowChange, addresses: Mapping[int, Sequence[Mapping[str, Any]]]
    ) -> list[Call]:
        """The requests of a row: one, and another where a known record gets a sync key."""
        own = f"/{name}/{quote(str(change.record_id), safe='')}"
        if change.op == "delete":
            return [Call(own, "DELETE")]
        # An empty text is what clears a field.
        item = {k: "" if v is None else v for k, v in change.fields.items()}
        told = {k: change.fields[k] for k in (EMAIL, OPT_OUT) if k in change.fields}
        if told:
            for field in told:
                del item[field]
            item["email"] = with_main(addresses.get(change.row, ()), told)
        key = change.key_value if change.key_field == SYNC_KEY else item.get(SYNC_KEY)
        item.pop(SYNC_KEY, None)
        if change.op != "update":
            for other, linked in change.links:
                self._link(name, item, other, linked)
            if change.key_field is not None and key is None and change.key_value is not None:
                item.setdefault(change.key_field, change.key_value)
        if change.op == "update":
            calls = [Call(own, "PUT", _text(item))] if item or key is None else []
            if key is not None:
                # The upsert sets no key of a record that is there already: "Integrate" does.
                calls.append(Call(f"/integrate{own}/{SYNC_KEY}/{quote(str(key), safe='')}", "PUT"))
            return calls
        if key is not None:
            path = f"/{name}/{SYNC_KEY}/{quote(str(key), safe='')}"
            return [Call(path, "PATCH", _text(item))]
        return [Call(f"/{name}", "POST", _text(item))]

    def _link(self, name: str, item: dict[str, Any], other: str, linked: str) -> None:
        """Associate a new record: an activity with its parent and its contact, others with their
        account; a sale or a case with its contact by a link of its own."""
        if name in _ACTIVITIES and other == "Contacts":
            way = _ACTIVITIES[name]
            item.setdefault(way, linked if way == "contact_id" else {"add": [linked]})
            item.setdefault("parent_type", other)
            if item["parent_type"] == other:
                item.setdefault("parent_id", linked)
        elif name in _ACTIVITIES:
            item["parent_type"], item["parent_id"] = other, linked
        elif other == "Accounts":
            item.setdefault("account_id", linked)
        elif other == "Contacts":
            item.setdefault("contacts", {"add": []})["add"].append(linked)
            if name == "Cases":
                item.setdefault("primary_contact_id", linked)
        else:
            raise WrongObject(
                f"{self._client.name}: a new record of {name} cannot be linked with {other[:80]}. "
                "Not retried. Link with Accounts or Contacts; activities with any module."
            )


def _text(item: Mapping[str, Any]) -> str:
    return msgspec.json.encode(item).decode()


def _outcome(change: RowChange, answer: Answer) -> RowOutcome:
    contents = answer.contents if isinstance(answer.contents, Mapping) else {}
    if answer.status == 200 and contents.get("success") is False:
        # So is a sync key refused that another record has ("setSyncKey").
        return RowOutcome(
            change.row, False, change.record_id, error_class="conflict", code="SYNC_KEY_NOT_SET",
            message="the sync key was not set: another record of the module may have it",
        )  # fmt: skip
    if 200 <= answer.status < 300:
        found = contents.get("record", contents.get("id", change.record_id))
        key = found.get("id") if isinstance(found, Mapping) else found
        # A record that got its key is answered by `success` alone, and a new one by a 201 where
        # its key names it.
        created = answer.status == 201 or (change.op == "create" and "record" not in contents)
        return RowOutcome(change.row, True, str(key) if key else None, created)
    if change.op == "delete" and answer.status == 404:
        return RowOutcome(change.row, True, change.record_id)
    values = [*change.fields.values(), change.key_value, change.record_id]
    retried: ErrorClass = "retry" if answer.status >= 500 or answer.status == 0 else "data"
    return RowOutcome(
        change.row,
        False,
        change.record_id,
        error_class=_CLASSES.get(answer.status, retried),
        code=str(contents.get("error") or f"HTTP_{answer.status}")[:60],
        message=redact(str(contents.get("error_message") or ""), values)
        or "refused without a reason",
    )
