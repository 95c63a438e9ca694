"""Writing records to Salesforce: which way rows go, and what is tried again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from cdp_assets.connectors.base import (
    BudgetSpent,
    ConnectorError,
    NotAuthorised,
    NotPermitted,
    Refused,
    RowChange,
    RowOutcome,
    UnknownOutcome,
    WriteOp,
    WrongObject,
)
from cdp_assets.connectors.crm import alike, distinct
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.salesforce import bulk_ingest, collections
from cdp_assets.connectors.salesforce.bulk_query import NotTaken
from cdp_assets.connectors.salesforce.client import SalesforceClient, soql_string
from cdp_assets.connectors.salesforce.collections import BATCH
from cdp_assets.connectors.salesforce.describe import SalesforceField
from cdp_assets.connectors.salesforce.forms import normalised, shown, sought
from cdp_assets.connectors.salesforce.ids import long_id
from cdp_assets.connectors.salesforce.links import linked
from cdp_assets.connectors.salesforce.outcomes import (
    DELETED,
    DUPLICATES,
    GONE,
    LOCKED,
    REFERENCE,
    refused,
)

_LONGEST_WHERE = 3_500
_LOCK_ROUNDS = 4
_SILENT_CALLS = 2
_TURNED_AWAY = (Refused, NotPermitted, NotAuthorised, BudgetSpent)


class SalesforcePush:
    """Reads and writes of records.

    One `write` is one call where it holds no more than 200 rows. With `bulk_write_above` a batch
    is larger: up to that many rows go by collections, 200 a call, and more go by one Bulk job (but
    for new records without a key).
    """

    def __init__(
        self,
        client: SalesforceClient,
        options: HttpOptions,
        *,
        bulk_above: int = 0,
        save_duplicates: bool = False,
    ) -> None:
        """bulk_above: rows that go by collections; 0: all of them."""
        self._client = client
        self._options = options
        self._bulk_above = bulk_above
        self._save_duplicates = save_duplicates
        self.batch_size = max(bulk_ingest.BATCH, bulk_above) if bulk_above else BATCH

    def calls_for(self, op: WriteOp, rows: int) -> int:
        """Calls of a `write`: of a job as many as where it is done when first asked for."""
        return bulk_ingest.CALLS if self._by_job(op, rows) else -(-rows // BATCH)

    def _by_job(self, op: WriteOp, rows: int) -> bool:
        """Whether so many rows go by a job. New records without a key never do: a job goes on when
        we are gone, and who looks in the meantime what was written would make them twice."""
        return op != "create" and 0 < self._bulk_above < rows

    def read(
        self, name: str, ids: Sequence[str], fields: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        asked = {long_id(i): i for i in ids}
        found: dict[str, dict[str, Any]] = {}
        for record in self._select(name, "Id", [soql_string(i) for i in asked], fields):
            record_id = str(record.pop("Id"))
            found[asked.get(record_id, record_id)] = self._shown(name, fields, record)
        return found

    def find(
        self, name: str, field_name: str, values: Sequence[str], fields: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        field = self._field(name, field_name)
        # Text is compared without case there, so an answer is matched to what was asked alike.
        asked: dict[str, list[str]] = {}
        literals: dict[str, str] = {}
        for value in values:
            if (form := sought(field, value)) is not None:
                asked.setdefault(form.folded, []).append(value)
                literals.setdefault(form.folded, form.literal)
        found: dict[str, list[dict[str, Any]]] = {}
        wanted = list(dict.fromkeys([*fields, field_name]))
        for record in self._select(name, field_name, literals.values(), wanted):
            row = {"id": record["Id"], **self._shown(name, fields, record)}
            here = sought(field, record.get(field_name))
            for value in asked.get(here.folded, ()) if here else ():
                found.setdefault(value, []).append(row)
        return found

    def _shown(self, name: str, fields: Sequence[str], record: Mapping[str, Any]) -> dict[str, Any]:
        """The record's values in the form that `normalise` gives, so that the two can be compared
        whatever way the org writes a moment or a number."""
        return {f: shown(self._field(name, f), record.get(f)) for f in fields}

    def _select(
        self, name: str, by: str, literals: Iterable[str], fields: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        for field in fields:
            self._field(name, field)
        columns = ",".join(dict.fromkeys(["Id", *fields]))
        for group in _groups(list(literals), _LONGEST_WHERE):
            # Names were looked up in the org's describe; literals are `_sought`'s, or quoted.
            soql = f"SELECT {columns} FROM {name} WHERE {by} IN ({','.join(group)})"  # noqa: S608
            for record in self._client.query(soql, what=f"read of {name}"):
                record.pop("attributes", None)
                yield record

    def _field(self, name: str, field_name: str) -> SalesforceField:
        field = self._client.fields(name).get(field_name)
        if field is None:
            raise WrongObject(
                f"{self._client.name}: {name} has no field `{field_name[:80]}`, or does not show "
                "it to this user. Not retried. Correct the sync's `fields`, `key` or `match`."
            )
        return field

    def write(self, name: str, batch: Sequence[RowChange]) -> list[RowOutcome]:
        """One outcome a row, but for rows whose call lost its answer. What met a row lock is tried
        again by itself, what a merge took away goes to the record that is left, once.

        Raises where nothing is known of any row."""
        outcomes: dict[int, RowOutcome] = {}
        early: dict[int, RowOutcome] = {}
        ready = self._prepared(name, batch, early)
        for group in alike(ready):
            group.sort(key=lambda change: self._parents(name, change))
            self._deliver(name, group, outcomes)
        self._unlock(name, ready, outcomes)
        self._tell_references(name, ready, outcomes)
        self._follow_merges(name, ready, outcomes)
        outcomes |= early
        return [outcomes[change.row] for change in batch if change.row in outcomes]

    def _prepared(
        self, name: str, batch: Sequence[RowChange], outcomes: dict[int, RowOutcome]
    ) -> list[RowChange]:
        """The rows that can be sent, their links as fields; the others get their outcome."""
        ready = []
        known: dict[int, str] = {}
        for change in batch:
            try:
                known[change.row] = self._key(name, change)
            except ValueError as error:
                outcomes[change.row] = refused(change, "INVALID_KEY", str(error))
        groups, doubled = distinct([c for c in batch if c.row in known], lambda c: known[c.row])
        outcomes |= doubled
        for change in (change for group in groups for change in group):
            if change.op == "create" and change.links:
                fields, missing = linked(self._client.object(name), change)
                if missing:
                    message = f"{name} has no field that points at {missing}"
                    outcomes[change.row] = refused(change, "NO_SUCH_LINK", message, "mapping")
                    continue
                change = replace(change, fields=fields)
            ready.append(change)
        return ready

    def _key(self, name: str, change: RowChange) -> str:
        """By what two rows of a batch are of one record, as the org compares it; "" of a new one
        without a key. Raises ValueError where the key cannot be of its field's type."""
        if change.op == "upsert" and change.key_field is not None:
            key = self._field(name, change.key_field)
            value = str(normalised(key, change.key_value))
            return value if key.case_sensitive else value.casefold()
        return long_id(change.record_id) if change.record_id is not None else ""

    def _deliver(
        self, name: str, group: Sequence[RowChange], outcomes: dict[int, RowOutcome]
    ) -> None:
        """Send rows of one kind the way that their number asks for."""
        rest = list(group)
        if self._by_job(rest[0].op, len(rest)) and not self._client.not_in_bulk(name):
            whole = [change for change in rest if bulk_ingest.fits(self._client, name, change)]
            done: dict[int, RowOutcome] = {}
            left: Sequence[RowChange] = ()
            try:
                if whole:
                    done, left = bulk_ingest.send(self._client, name, whole)
            except NotTaken as no:
                self._client.refused_by_bulk(name, no.reason)
                left = whole
            outcomes.update(done)
            given = {change.row for change in whole} - {change.row for change in left}
            # What the org did not come to, or took no job for: calls tell what is wrong with a row.
            rest = [change for change in rest if change.row not in given]
            if self._save_duplicates:
                # A job has no switch for it, a call has.
                rest += [c for c in whole if c.row in done and done[c.row].code == DUPLICATES]
        self._by_collections(name, rest, outcomes)

    def _by_collections(
        self, name: str, group: Sequence[RowChange], outcomes: dict[int, RowOutcome]
    ) -> None:
        """Call by call. A lost answer leaves its rows without an outcome; after two in a row, or
        any other end of a call, the rows not yet sent are to be retried."""
        silent = 0
        calls = list(bulk_ingest.parts(group, BATCH))
        for at, part in enumerate(calls):
            try:
                done = collections.send(self._client, name, part)
            except UnknownOutcome:
                silent += 1
                last = at + 1 == len(calls)
                if not outcomes and (last or silent == _SILENT_CALLS):
                    raise
                if silent == _SILENT_CALLS:
                    return _not_sent(calls[at + 1 :], outcomes)
                continue
            except ConnectorError as error:
                if not outcomes:
                    raise
                # Of a call that was turned away it is known that it did nothing.
                turned_away = isinstance(
                    error, Refused | NotPermitted | NotAuthorised | BudgetSpent
                )
                return _not_sent(calls[at if turned_away else at + 1 :], outcomes)
            silent = 0
            outcomes.update(done)
        return None

    def _unlock(
        self, name: str, batch: Sequence[RowChange], outcomes: dict[int, RowOutcome]
    ) -> None:
        """Send the rows that met a row lock again, by themselves, fewer each round."""
        size = min(max(len(batch) // 4, 1), BATCH)
        for attempt in range(_LOCK_ROUNDS):
            locked = [c for c in batch if _code(outcomes, c) == LOCKED]
            if not locked:
                return
            self._options.sleep(self._options.backoff * (attempt + 1))
            # Children of one parent lock it: they go together.
            locked.sort(key=lambda c: (self._parents(name, c), c.row))
            for part in (p for g in alike(locked) for p in bulk_ingest.parts(g, size)):
                try:
                    outcomes.update(collections.send(self._client, name, part))
                except ConnectorError:
                    # Nothing is known of these alone: they have no outcome, the rest keep theirs.
                    for change in part:
                        del outcomes[change.row]
                    return
            size = max(size // 4, 1)

    def _tell_references(
        self, name: str, batch: Sequence[RowChange], outcomes: dict[int, RowOutcome]
    ) -> None:
        """Where an error may mean the row's own record or one that it names, the record is looked
        for: if it is there, what is missing is the other."""
        doubtful = {
            long_id(c.record_id or ""): c
            for c in batch
            if c.op == "update" and _code(outcomes, c) in GONE
            and outcomes[c.row].error_class == "gone" and self._parents(name, c)
        }  # fmt: skip
        if not doubtful:
            return
        with suppress(ConnectorError):  # then it is told as it was
            for record_id in self.read(name, list(doubtful), []):
                change = doubtful[record_id]
                code = outcomes[change.row].code or ""
                outcomes[change.row] = refused(change, code, REFERENCE, "data")

    def _follow_merges(
        self, name: str, batch: Sequence[RowChange], outcomes: dict[int, RowOutcome]
    ) -> None:
        """Updates of records that were merged away go to the survivor, once; nothing is made anew.
        A survivor that has a row of its own here keeps that."""
        gone = [c for c in batch if c.op == "update" and _code(outcomes, c) == DELETED]
        if not gone or "MasterRecordId" not in self._client.fields(name):
            return
        taken = {long_id(c.record_id or "") for c in batch}
        moved = []
        for change in gone:
            survivor = self._survivor(name, long_id(change.record_id or ""))
            if survivor is not None and survivor not in taken:
                taken.add(survivor)
                moved.append(replace(change, record_id=survivor))
        for part in bulk_ingest.parts(moved, BATCH):
            try:
                outcomes.update(collections.send(self._client, name, part))
            except ConnectorError:
                for change in part:
                    del outcomes[change.row]
                return

    def _survivor(self, name: str, record_id: str) -> str | None:
        """The live record at the end of a chain of merges."""
        seen = set()
        while record_id not in seen:
            seen.add(record_id)
            # The name was looked up in the org's describe, the id is quoted.
            soql = (
                f"SELECT MasterRecordId, IsDeleted FROM {name} "  # noqa: S608
                f"WHERE Id = {soql_string(record_id)}"
            )
            rows = list(self._client.query(soql, what=f"survivor of {name}", deleted=True))
            if not rows:
                return None
            if not rows[0].get("IsDeleted"):
                return record_id
            record_id = long_id(str(rows[0].get("MasterRecordId") or ""))
            if not record_id:
                return None
        return None

    def _parents(self, name: str, change: RowChange) -> tuple[str, ...]:
        """The records that a write of this one locks as well."""
        fields = self._client.fields(name)
        return tuple(
            str(value)
            for key, value in sorted(change.fields.items())
            if isinstance(value, Mapping) or (key in fields and fields[key].type == "reference")
        )

    def normalise(self, name: str, field_name: str, value: Any) -> Any:
        """`value` as the org will show it after a write: its own number, text and date forms."""
        return normalised(self._field(name, field_name), value)


def _not_sent(calls: Sequence[Sequence[RowChange]], outcomes: dict[int, RowOutcome]) -> None:
    for change in (change for call in calls for change in call):
        message = "not sent: a call before it failed"
        outcomes[change.row] = refused(change, "NOT_SENT", message, "retry")


def _code(outcomes: Mapping[int, RowOutcome], change: RowChange) -> str | None:
    outcome = outcomes.get(change.row)
    return None if outcome is None or outcome.ok else outcome.code


def _groups(literals: Sequence[str], longest: int) -> Iterator[list[str]]:
    group: list[str] = []
    used = 0
    for literal in literals:
        if group and used + len(literal) + 1 > longest:
            yield group
            group, used = [], 0
        group.append(literal)
        used += len(literal) + 1
    if group:
        yield group
