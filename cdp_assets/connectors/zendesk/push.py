"""Writing records to Zendesk: jobs of a hundred rows, one outcome a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from cdp_assets.connectors.base import (
    ConnectorError,
    NotPermitted,
    Refused,
    RowChange,
    RowOutcome,
    UnknownOutcome,
    WrongObject,
)
from cdp_assets.connectors.crm import distinct, halved, unsent
from cdp_assets.connectors.zendesk.client import ZendeskClient
from cdp_assets.connectors.zendesk.fields import CUSTOM, WRITTEN
from cdp_assets.connectors.zendesk.finding import Finding
from cdp_assets.connectors.zendesk.forms import normalised
from cdp_assets.connectors.zendesk.jobs import Jobs, refused_row

BATCH = 100
_SPLIT = frozenset({400, 413, 422})
"""Statuses by which one row's mistake refuses the whole batch."""
Group = Sequence[RowChange]
Outcomes = dict[int, RowOutcome]


class ZendeskPush:
    """Reads and writes of users, organizations and tickets by batches."""

    batch_size = BATCH

    def __init__(self, client: ZendeskClient) -> None:
        self._client = client
        self._jobs = Jobs(client)
        self._finding = Finding(client)
        self._imports = True
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        return self._finding.read(name, ids, fields)

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        return self._finding.find(name, field_name, values, fields)

    def normalise(self, name: str, field_name: str, value: Any) -> Any:
        """`value` as the account will show it after a write."""
        return normalised(self._client.field(name, field_name), value)

    def write(self, name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        """One job for the batch; several where it refuses the batch whole, or where users may not
        be imported in bulk."""
        if name not in WRITTEN:
            raise WrongObject(
                f"{self._client.name}: {name[:80]} cannot be written; "
                f"{', '.join(WRITTEN)} can. Not retried. Correct the sync's object."
            )
        groups, outcomes = distinct(batch)
        for group in groups:
            outcomes |= self._group(name, group)
        return [outcomes[change.row] for change in batch if change.row in outcomes]

    def _group(self, name: str, group: Group) -> Outcomes:
        match group[0].op:
            case "delete":
                return self._parts(group, lambda part: self._destroy(name, part))
            case "update":
                return self._parts(group, lambda part: self._many(name, "PUT", "update", part))
            case "create":
                return self._create(name, group)
            case _:
                return self._upsert(name, group)

    def _create(self, name: str, group: Group) -> Outcomes:
        """A job; of users one by one where bulk imports are off ("Create Many Users")."""
        if self._imports or name != "users":
            try:
                return self._parts(group, lambda part: self._many(name, "POST", "create", part))
            except NotPermitted:
                if name != "users":
                    raise
                self._imports = False
        return self._singles(name, group, lambda change: self._single(name, change, ""))

    def _upsert(self, name: str, group: Group) -> Outcomes:
        key = group[0].key_field or ""
        if not self._client.field(name, key).external_id or name == "tickets":
            raise WrongObject(
                f"{self._client.name}: {name} cannot be upserted by `{key[:80]}`; users can by "
                "external_id and email, organizations by external_id. Not retried. Correct the "
                "sync's `key`."
            )
        if name == "users" and self._imports:
            verb = "create_or_update"
            try:
                return self._parts(group, lambda part: self._many(name, "POST", verb, part))
            except NotPermitted:
                self._imports = False
        return self._sought(name, group, key)

    def _sought(self, name: str, group: Group, key: str) -> Outcomes:
        """Where there is no bulk upsert: who is there is updated by one job, and the others are
        created: organizations by a job, users one by one."""
        there: dict[str, str] = {}
        if key == "external_id":
            values = [str(change.key_value) for change in group]
            found = self._finding.find(name, key, values, [])
            there = {value: str(rows[0]["id"]) for value, rows in found.items()}
        known: list[RowChange] = []
        new: list[RowChange] = []
        for change in group:
            (known if str(change.key_value) in there else new).append(change)
        steps: list[tuple[Group, Callable[[Group], Outcomes]]] = []
        if known:
            ids = {c.row: there[str(c.key_value)] for c in known}
            steps.append((known, lambda part: self._many(name, "PUT", "update", part, ids)))
        if new and name == "users":
            steps.append(
                (new, lambda part: self._singles(
                    name, part, lambda change: self._single(name, change, "/create_or_update")
                ))
            )  # fmt: skip
        elif new:
            steps.append((new, lambda part: self._many(name, "POST", "create", part)))
        outcomes: Outcomes = {}
        for number, (part, call) in enumerate(steps):
            try:
                outcomes |= self._parts(part, call)
            except ConnectorError as error:
                if number == 0:
                    raise
                if not isinstance(error, UnknownOutcome):
                    outcomes |= {c.row: unsent(c) for c in part}
        return outcomes

    # Calls --------------------------------------------------------------------------------------

    def _parts(self, group: Group, call: Callable[[Group], Outcomes]) -> Outcomes:
        """The group as one call; halved where the call is refused, until a row stands alone."""
        return halved(group, call, refused_row, _SPLIT)

    def _many(
        self, name: str, method: str, verb: str, part: Group,
        ids: Mapping[int, str] | None = None,
    ) -> Outcomes:  # fmt: skip
        items = [self._item(name, c, (ids or {}).get(c.row, c.record_id)) for c in part]
        what = f"{verb} of {len(part)} {name}"
        reply = self._client.send(
            method, f"/{name}/{verb}_many.json", {name: items}, what=what,
            # A create sent twice is two records; the others name the record they write.
            repeatable=verb != "create", decode=self._jobs.decode,
        )  # fmt: skip
        return self._jobs.outcomes(what, reply.body, part, ids or {})

    def _destroy(self, name: str, part: Group) -> Outcomes:
        what = f"delete of {len(part)} {name}"
        params = {"ids": ",".join(str(change.record_id) for change in part)}
        reply = self._client.send(
            "DELETE", f"/{name}/destroy_many.json", None, what=what, params=params,
            repeatable=True, decode=self._jobs.decode,
        )  # fmt: skip
        return self._jobs.outcomes(what, reply.body, part, {})

    def restore(self, name: str, ids: Sequence[str]) -> list[RowOutcome]:
        """Take deleted tickets out of the bin ("Restore Deleted Tickets in Bulk"). The answer says
        nothing of single ones, so they are read."""
        self._client.send(
            "PUT", f"/deleted_{name}/restore_many.json", None, what=f"restore of {len(ids)} {name}",
            params={"ids": ",".join(ids)}, repeatable=True, decode=lambda body: None, accept={404},
        )  # fmt: skip
        there = self.read(name, ids, [])
        return [
            RowOutcome(at, True, i)
            if i in there
            else RowOutcome(
                at, False, i, error_class="gone", code="NOT_RESTORED",
                message="it was deleted for good: Zendesk restores none but for 30 days",
            )
            for at, i in enumerate(ids)
        ]  # fmt: skip

    def _singles(
        self, name: str, group: Group, call: Callable[[RowChange], RowOutcome]
    ) -> Outcomes:
        """Rows one by one. Where one gets no answer, those after it are not sent."""
        outcomes: Outcomes = {}
        for place, change in enumerate(group):
            try:
                outcomes[change.row] = call(change)
            except Refused as refused:
                outcomes[change.row] = refused_row(change, refused)
            except ConnectorError as error:
                if not outcomes:
                    raise
                left = group[place + isinstance(error, UnknownOutcome) :]
                outcomes |= {c.row: unsent(c) for c in left}
                break
        return outcomes

    def _single(self, name: str, change: RowChange, verb: str) -> RowOutcome:
        one = WRITTEN[name]
        reply = self._client.send(
            "POST", f"/{name}{verb}.json", {one: self._item(name, change, None)},
            what=f"{change.op} of a {one}", repeatable=verb != "", decode=self._decode,
        )  # fmt: skip
        return RowOutcome(change.row, True, str(reply.body[one]["id"]), reply.status == 201)

    def _item(self, name: str, change: RowChange, record_id: str | None) -> dict[str, Any]:
        """A row as Zendesk takes it: added fields in their own place, links as references."""
        item: dict[str, Any] = {}
        custom: dict[str, Any] = {}
        for field, value in change.fields.items():
            if field.startswith(CUSTOM):
                custom[field.removeprefix(CUSTOM)] = value
            else:
                item[field] = value
        if custom and name == "tickets":
            item["custom_fields"] = [{"id": int(k), "value": v} for k, v in custom.items()]
        elif custom:
            item[f"{WRITTEN[name]}_fields"] = custom
        if change.key_field is not None and change.key_value is not None:
            item.setdefault(change.key_field, change.key_value)
        if record_id is not None:
            item["id"] = int(record_id)
            return item
        for other, linked in change.links:
            item.setdefault(_link(self._client.name, name, other), int(linked))
        if name == "users":
            # Nobody is to get a letter of welcome because we know of them.
            item["skip_verify_email"] = True
        if name == "tickets":
            # A first comment that is public is mailed to the requester.
            item["comment"] = {"body": item.pop("description", None) or "", "public": False}
        return item


def _link(source: str, name: str, other: str) -> str:
    field = {"organizations": "organization_id", "users": "requester_id"}.get(other)
    if field is None or name == "organizations" or (name == "users" and other == "users"):
        raise WrongObject(
            f"{source}: a new record of {name} cannot be linked with {other[:80]}. Not retried. "
            "Link users with organizations, and tickets with users and organizations."
        )
    return field
