"""Sends a plan: intent before each call, outcome after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol, cast

from cdp_assets.connectors.base import (
    ConnectorError,
    Destination,
    RowChange,
    RowOutcome,
    UnknownOutcome,
    WriteOp,
)
from cdp_assets.connectors.text import text
from cdp_assets.settings import crash_point
from cdp_assets.store import Store, ledger
from cdp_assets.store.ledger import Answer, Intent
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import Change, Plan
from cdp_assets.syncs.tables import last, settled

_SILENT_CALLS = 2


@dataclass
class Sent:
    """What became of the rows sent. unknown: no answer came; the next run reads them back.
    error: why the sending ended early, raised once everything known is kept."""

    written: int = 0
    created: int = 0
    failed: int = 0
    unknown: int = 0
    message: str = ""
    error: ConnectorError | None = None


class Writer(Protocol):
    """How the rows of a plan reach the destination."""

    def size(self, object_name: str) -> int:
        """How many rows one call may carry."""

    def ready(self, batch: Sequence[Change]) -> list[Change]:
        """The rows as they are announced, right before they are sent."""

    def write(self, batch: Sequence[Change]) -> list[RowOutcome]:
        """Send one batch, all of one op; see `Destination.write`."""


@dataclass(frozen=True)
class Records:
    """Rows that write records. stamps: field → what is set in it with each row."""

    destination: Destination
    stamps: Mapping[str, Any] = field(default_factory=dict)

    def size(self, object_name: str) -> int:
        return self.destination.batch_size(object_name)

    def ready(self, batch: Sequence[Change]) -> list[Change]:
        if not self.stamps or batch[0].op == "delete":
            return list(batch)
        return [self._stamped(change) for change in batch]

    def _stamped(self, change: Change) -> Change:
        normal = self.destination.normalise
        new = change.record_id is None
        set_ = {
            name: normal(change.object, name, value)
            for name, (value, late) in self.stamps.items()
            if new or not late
        }
        told = {name: text(value) for name, value in set_.items()}
        return replace(change, sent={**change.sent, **set_}, told={**change.told, **told})

    def write(self, batch: Sequence[Change]) -> list[RowOutcome]:
        rows = [_row(at, change) for at, change in enumerate(batch)]
        return self.destination.write(batch[0].object, rows)


def send(
    store: Store,
    destination: Destination,
    config: SyncConfig,
    plan: Plan,
    run_id: str,
    now: datetime,
    *,
    entity: str,
    writer: Writer | None = None,
    limit: int | None = None,
) -> Sent:
    """Write the plan's changes, batch by batch; rows that were refused before go last. entity:
    whose profiles they are. writer: how, if they are no records of the destination. limit: no
    more rows than this.

    A call without answer leaves its rows open, to be read back by the next run. After two such
    calls in a row, after any other failure of a whole call, and when more rows were refused than
    `stop_if.failed` allows, the rest is not sent.
    """
    done = Sent()
    silent = 0
    writer = writer or records(destination, config, plan.sync, run_id, now)
    if limit is not None and limit < len(plan.changes):
        done.message = (
            f"Only {limit} of {len(plan.changes)} rows were sent, as asked; the next run goes on."
        )
    for planned in batches(plan.changes, writer, limit):
        batch = writer.ready(planned)
        intents = [_intent(change, config, entity) for change in batch]
        ids = ledger.announce(store, plan.sync, plan.hash, run_id, intents, now)
        crash_point("apply:after-intent")
        try:
            outcomes = writer.write(batch)
        except ConnectorError as error:
            done.unknown += len(batch)
            silent += 1
            if not isinstance(error, UnknownOutcome) or silent == _SILENT_CALLS:
                done.error = error
                return done
            continue
        silent = 0
        crash_point("apply:after-call")
        entries = ledger.announced(plan.sync, plan.hash, ids, intents, now)
        ledger.answer(store, entries, _answers(ids, outcomes, done), now)
        crash_point("apply:after-outcome")
        done.unknown += len(batch) - len(outcomes)
        if _too_many(config, done.failed, len(plan.changes)):
            done.message = (
                f"Stopped after {done.failed} of {len(plan.changes)} rows were refused; "
                f"stop_if.failed is {config.stop_if.failed}. The refused rows are in the dead "
                "letters; the rest is planned again by the next run."
            )
            return done
    return done


def calls_needed(plan: Plan, destination: Destination, config: SyncConfig) -> int:
    """How many calls the plan's changes take, if none has to be repeated."""
    if config.list_ is None:
        calls = getattr(destination, "calls_for", lambda op, rows: 1)
        rows = batches(plan.changes, Records(destination))
        return sum(calls(batch[0].op, len(batch)) for batch in rows)
    size = max(int(getattr(destination, "members_batch", 1)), 1)
    each = int(getattr(destination, "calls_a_member", 0))
    changed = [plan.count(op) for op in ("add", "remove")]
    of_batch = getattr(destination, "calls_for_members", None)
    if of_batch is not None:
        calls_of = [_by_batches(count, size) for count in changed]
        calls = [of_batch(count, 0) for count in calls_of[0]]
        calls += [of_batch(0, count) for count in calls_of[1]]
        return plan.count("create") + sum(map(int, calls))
    batches_of = sum(-(-count // size) for count in changed)
    return plan.count("create") + (each * sum(changed) if each else batches_of)


def _by_batches(count: int, size: int) -> list[int]:
    return [min(size, count - at) for at in range(0, count, size)]


def records(
    destination: Destination, config: SyncConfig, sync: str, run_id: str, now: datetime
) -> Records:
    """How the rows of a sync that writes records are sent."""
    known = {"told_at": now, "run_id": run_id, "sync": sync}
    return Records(
        destination,
        {n: (known[s], config.write_policy(n) == "on_create") for n, s in config.stamps.items()},
    )


def batches(
    changes: Sequence[Change], writer: Writer, limit: int | None = None
) -> Iterator[list[Change]]:
    """The changes by what one call can carry."""

    def kind(change: Change) -> tuple[bool, bool, str, str, str]:
        # What is made goes first: a list before its members.
        later = change.op != "create"
        return (change.tried, later, change.op, change.object, change.key_field or "")

    ordered = sorted(changes, key=lambda c: (*kind(c), c.record_id or "", c.profile_id))[:limit]
    for (_, _, _, object_name, _), group in groupby(ordered, key=kind):
        rows = list(group)
        size = max(writer.size(object_name), 1)
        for at in range(0, len(rows), size):
            yield rows[at : at + size]


def _intent(change: Change, config: SyncConfig, entity: str) -> Intent:
    asked: dict[str, str | None] = dict(change.notes)
    for name, said in change.asked.items():
        column = settled(name, config.write_policy(name))
        if column != last(name) or name not in change.told or change.told[name] != said:
            asked[column] = said
    return Intent(
        entity=entity,
        profile_id=change.profile_id,
        source=config.source,
        object=change.object,
        record_id=change.record_id,
        op=change.op,
        key_field=change.key_field,
        key_value=change.key_value,
        fields=change.told,
        asked=asked,
        # A field that the plan did not read (a stamp) has none: an undo leaves it alone.
        before={n: change.old[n] for n in change.told if n in change.old},
        digest=change.digest,
    )


def _row(row: int, change: Change) -> RowChange:
    keyed = change.op == "upsert"
    return RowChange(
        row=row,
        op=cast(WriteOp, change.op),
        fields=change.sent,
        record_id=change.record_id,
        key_field=change.key_field if keyed else None,
        key_value=change.key_value if keyed else None,
        links=change.links,
    )


def _answers(ids: Sequence[int], outcomes: Sequence[RowOutcome], done: Sent) -> list[Answer]:
    answers = []
    for outcome in outcomes:
        if outcome.ok:
            done.written += 1
            done.created += outcome.created
        else:
            done.failed += 1
        answers.append(
            Answer(
                id=ids[outcome.row],
                outcome="ok" if outcome.ok else "failed",
                record_id=outcome.record_id,
                created=outcome.created,
                error_class=None if outcome.ok else outcome.error_class or "data",
                code=outcome.code,
                message=outcome.message,
            )
        )
    return answers


def _too_many(config: SyncConfig, failed: int, planned: int) -> bool:
    limit = config.stop_if.failed
    if limit is None or failed == 0:
        return False
    if limit.share is not None and failed <= 1:
        return False
    return not limit.allows(failed, planned)
