"""The way back from what a run told: to what was there before, where nobody changed it since."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import polars as pl

from cdp_assets.connectors.base import Destination, Restorer, RowOutcome
from cdp_assets.lake import Lake
from cdp_assets.store import Store, ledger, pauses, plans
from cdp_assets.syncs import guard, mapping, send, state
from cdp_assets.syncs.approval import ApprovalError
from cdp_assets.syncs.check import SyncError
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.lists import LIST, ListWriter
from cdp_assets.syncs.model import Change, Plan, ref
from cdp_assets.syncs.taking_back import (
    CHUNK,
    Found,
    Row,
    creations,
    deletions,
    later,
    left,
    members,
    unwritten,
)

SCHEMA = {
    "record": pl.String(),
    "field": pl.String(),
    "now": pl.String(),
    "back": pl.String(),
    "op": pl.String(),
    "why": pl.String(),
}
"""A row a field; an empty field stands for the whole record, `list` for being on one. op: `undo`,
or `left` for what stays as it is, and why."""


@dataclass(frozen=True, kw_only=True)
class Undo:
    """What undoing a run would write. rows: see SCHEMA. hash: of what would be written."""

    sync: str
    run: str
    hash: str
    rows: pl.DataFrame
    changes: tuple[Change, ...]

    @property
    def left(self) -> int:
        """Fields that stay as they are."""
        return self.rows.filter(pl.col("op") == "left").height


@dataclass(frozen=True)
class _Told:
    """One field of one record: what the run told it, over what, and after which ledger row."""

    entry: ledger.Entry
    before: str | None
    told: str | None
    kept: bool


def find_run(store: Store, beginning: str, sync: str | None = None) -> tuple[str, str]:
    """(run id, sync) of the one run that is meant. Raises SyncError where none or several are."""
    if not beginning.strip():
        raise SyncError("Say which run: its id stands in Dagster's list of runs.")
    found = [(r, s) for r, s in ledger.runs(store, beginning.strip()) if sync in (None, s)]
    if not found:
        raise SyncError(
            f"No run that wrote anything begins with {beginning[:40]}. A run's id stands in "
            "Dagster's list of runs."
        )
    if len({run for run, _ in found}) > 1:
        raise SyncError(f"Several runs begin with {beginning[:40]}; give more of the id.")
    if len(found) > 1:
        names = ", ".join(name for _, name in found)
        raise SyncError(f"That run wrote for several syncs ({names}); say which: --sync NAME")
    return found[0]


def plan_undo(store: Store, destination: Destination, name: str, run_id: str) -> Undo:
    """What would bring the outside system back to what it showed before this run.

    A field goes back only if the record still shows what the run told it and nothing told it
    anything since. A record that the run created is deleted if nobody changed it since, one that
    it deleted is restored where the system can, and members of a list are taken off it, or put on
    it again. All else is listed as left, with why. Reads the destination, writes nothing.
    """
    by_object: dict[tuple[str, str], list[ledger.Entry]] = defaultdict(list)
    for entry in ledger.of_run(store, name, run_id):
        by_object[entry.source, entry.object].append(entry)
    rows: list[Row] = []
    changes: list[Change] = []
    for (_, object_name), group in sorted(by_object.items()):
        for found in _of_object(store, destination, object_name, group):
            rows += found.rows
            changes += found.changes
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("op", "record", "field")
    return Undo(
        sync=name, run=run_id, hash=_hash(name, run_id, frame), rows=frame, changes=tuple(changes)
    )


def _of_object(
    store: Store, destination: Destination, object_name: str, group: Sequence[ledger.Entry]
) -> Iterator[Found]:
    """What becomes of a run's rows of one object, by what they did."""
    made, deleted, put, told = [], [], [], []
    for entry in group:
        if (reason := unwritten(entry)) is not None:
            yield Found([left(entry, reason)], [])
        elif entry.op in ("add", "remove"):
            put.append(entry)
        elif entry.key_field == LIST:
            yield Found([left(entry, "a list is not deleted: its members leave it")], [])
        elif entry.created:
            made.append(entry)
        elif entry.op == "delete":
            deleted.append(entry)
        elif entry.op == "update":
            told.append(entry)
        else:
            yield Found([left(entry, f"an {entry.op} cannot be taken back")], [])
    if made:
        yield creations(store, destination, object_name, made, group)
    if deleted:
        yield deletions(destination, object_name, deleted)
    if put:
        yield members(store, destination, object_name, put)
    ours = {entry.record_id for entry in made}
    if told := [entry for entry in told if entry.record_id not in ours]:
        yield _fields(store, destination, object_name, told, group)


def _fields(
    store: Store,
    destination: Destination,
    object_name: str,
    told: Sequence[ledger.Entry],
    group: Sequence[ledger.Entry],
) -> Found:
    """Fields of records that were there before, back to what they showed."""
    since = {
        (entry.record_id or "", field): entry.sync
        for entry in later(store, group)
        for field in entry.fields
    }
    found = Found([], [])
    back = _by_record(told)
    ids = sorted(back)
    for at in range(0, len(ids), CHUNK):
        chunk = ids[at : at + CHUNK]
        names = sorted({field for record in chunk for field in back[record]})
        shown = destination.read(object_name, chunk, names)
        for record in chunk:
            judged = _Judged(destination, object_name, shown.get(record), since)
            found.rows.extend(judged.rows(record, back[record]))
            if (change := judged.change(record, back[record])) is not None:
                found.changes.append(change)
    return found


def apply_undo(
    lake: Lake,
    store: Store,
    destination: Destination,
    name: str,
    config: SyncConfig,
    run_id: str,
    approve: str,
    who: str,
    now: datetime,
    *,
    env: str,
    url: str,
    entity: str,
) -> tuple[Undo, send.Sent]:
    """Undo a run, if the plan whose hash begins with `approve` is still what would be done.

    The sync is paused first: else its next run would tell everything again. What is written
    stands in the ledger like any other row, so it does not come back as news.

    Raises ApprovalError where the plan is another one by now, SyncError outside production, and
    the connector's error after all that was acknowledged is kept.
    """
    with lake.step(f"syncs/{name}"):
        found = plan_undo(store, destination, name, run_id)
        if len(approve) < 8 or not found.hash.startswith(approve.strip().lower()):
            raise ApprovalError(
                f"What undoing run {run_id[:8]} would write is plan {found.hash[:12]} now, not "
                f"{approve[:12]}. Look at it again: cdp undo {run_id[:8]}"
            )
        if not guard.may_write(env, url):
            raise SyncError(guard.refusal(env, config.source))
        pauses.pause(store, name, who, f"run {run_id[:8]} was undone", now)
        head = plans.PlanHead(
            sync=name,
            hash=found.hash,
            config=f"undo {run_id}"[:64],
            made_at=now,
            creates=0,
            updates=len(found.changes),
            fields=found.rows.height - found.left,
            errors=found.left,
            stopped=None,
        )
        plans.approve(store, head, who, now)
        plan = Plan(
            sync=name,
            hash=found.hash,
            config=head.config,
            made_at=now,
            rows=pl.DataFrame(),
            changes=found.changes,
            obstacles=(),
        )
        on_list = any(change.op in ("add", "remove") for change in found.changes)
        writer = ListWriter(destination, config, plan) if on_list else _Back(destination)
        undoing = f"undo-{run_id}"[:64]
        sent = send.send(
            store, destination, config, plan, undoing, now, entity=entity, writer=writer
        )
        state.fold(lake, store, name)
        if sent.error is not None:
            raise sent.error
        return found, sent


@dataclass(frozen=True)
class _Back(send.Records):
    """Writes records, and takes them out of the bin."""

    def write(self, batch: Sequence[Change]) -> list[RowOutcome]:
        if batch[0].op != "restore":
            return super().write(batch)
        ids = [change.record_id or "" for change in batch]
        return cast(Restorer, self.destination).restore(batch[0].object, ids)


def _by_record(entries: Iterable[ledger.Entry]) -> dict[str, dict[str, _Told]]:
    """record id → field → what the run told it; of several rows the first's before counts."""
    found: dict[str, dict[str, _Told]] = defaultdict(dict)
    for entry in entries:
        mine = found[entry.record_id or ""]
        for field, told in entry.fields.items():
            first = mine.get(field)
            before = first.before if first else entry.before.get(field)
            kept = first.kept if first else field in entry.before
            mine[field] = _Told(entry, before, told, kept)
    return found


@dataclass(frozen=True)
class _Judged:
    """A record as it is now, against what a run told it."""

    destination: Destination
    object_name: str
    current: Mapping[str, Any] | None
    later: Mapping[tuple[str, str], str]

    def rows(self, record: str, told: Mapping[str, _Told]) -> list[Row]:
        found: list[Row] = []
        for field, item in sorted(told.items()):
            why = self._left(record, field, item)
            target = ref(item.entry.source, self.object_name, record)
            op = "undo" if why is None else "left"
            back = item.before if why is None else None
            found.append((target, field, self._now(field), back, op, why or "as before the run"))
        return found

    def change(self, record: str, told: Mapping[str, _Told]) -> Change | None:
        back = {f: i.before for f, i in sorted(told.items()) if self._left(record, f, i) is None}
        if not back:
            return None
        entry = next(iter(told.values())).entry
        normal = self.destination.normalise
        return Change(
            profile_id=entry.profile_id,
            object=self.object_name,
            record_id=record,
            op="update",
            sent={f: normal(self.object_name, f, was) for f, was in back.items()},
            told=back,
            asked={},
            old={f: told[f].told for f in back},
            why=dict.fromkeys(back, "as before the run"),
            digest=mapping.digest("undo", "update", back),
        )

    def _now(self, field: str) -> str | None:
        if self.current is None:
            return None
        return mapping.present(self.destination, self.object_name, field, self.current.get(field))

    def _left(self, record: str, field: str, item: _Told) -> str | None:
        if self.current is None:
            return "the record is gone there"
        if (other := self.later.get((record, field))) is not None:
            return f"told again since, by {other}"
        if self._now(field) != item.told:
            return "changed there since"
        if not item.kept:
            return "what was there before was not kept"
        return None


def _hash(name: str, run_id: str, rows: pl.DataFrame) -> str:
    writes = rows.filter(pl.col("op") == "undo").select("record", "field", "now", "back")
    said = hashlib.sha256(f"undo\n{name}\n{run_id}\n".encode())
    said.update(writes.write_ndjson().encode())
    return said.hexdigest()
