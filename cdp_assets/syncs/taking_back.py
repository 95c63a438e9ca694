"""What of a run's rows can be taken back, judged by what the records show now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from cdp_assets.connectors.base import Destination, ListDestination, ObjectMapping, Refused
from cdp_assets.store import Store, ledger
from cdp_assets.syncs import mapping
from cdp_assets.syncs.lists import LIST, notes
from cdp_assets.syncs.model import Change, ref

CHUNK = 2_000
SETTLING = timedelta(minutes=1)
"""A new record's own automation may change it so long after it was made; what changes it later is
somebody's doing."""
THERE, GONE = "(there)", "(deleted)"
ON, OFF = "(on the list)", "(not on the list)"
Row = tuple[str, str, str | None, str | None, str, str]
"""record, field, now, back, op (`undo` or `left`), why: see `undo.SCHEMA`."""


@dataclass(frozen=True)
class Found:
    """What becomes of a run's rows. changes: of those that are written."""

    rows: list[Row]
    changes: list[Change]


def left(entry: ledger.Entry, why: str, field: str = "") -> Row:
    """A row that stays as it is."""
    return (entry.target, field, None, None, "left", why)


def unwritten(entry: ledger.Entry) -> str | None:
    """Why there is nothing to take back of a row; None where there is."""
    if entry.outcome is None:
        return "no answer came yet; the sync's next run finds out what became of it"
    return None if entry.outcome == "ok" else "it was never written"


def later(store: Store, mine: Sequence[ledger.Entry]) -> list[ledger.Entry]:
    """What was sent to records of one object after these rows, by other runs."""
    ids = {entry.id for entry in mine}
    found = ledger.since(store, mine[0].source, mine[0].object, mine[0].id)
    return [e for e in found if e.id not in ids and e.outcome in ("ok", None)]


# Records that the run created ----------------------------------------------------------------


def creations(
    store: Store,
    destination: Destination,
    object_name: str,
    entries: Sequence[ledger.Entry],
    group: Sequence[ledger.Entry],
) -> Found:
    """Deletes what the run created, where it shows what the run told it and was changed by nobody
    since. entries: rows that created records. group: all of the run's rows of the object."""
    since = {entry.record_id: entry.sync for entry in later(store, group)}
    told: dict[str, dict[str, str | None]] = defaultdict(dict)
    mine = {entry.record_id for entry in entries}
    for entry in group:
        if entry.record_id in mine and entry.outcome == "ok":
            told[str(entry.record_id)] |= entry.fields
    found = Found([], [])
    stamps = _stamps(destination, object_name)
    for at in range(0, len(entries), CHUNK):
        chunk = entries[at : at + CHUNK]
        names = {f for e in chunk for f in told[str(e.record_id)]} | set(stamps)
        shown = destination.read(object_name, [str(e.record_id) for e in chunk], sorted(names))
        for entry in chunk:
            record = str(entry.record_id)
            current = shown.get(record)
            why = _changed(destination, object_name, current, told[record], stamps)
            if entry.record_id in since:
                why = f"told again since, by {since[entry.record_id]}"
            if why is not None:
                found.rows.append(left(entry, f"the run created it; {why}"))
                continue
            done = "the run created it, and nobody changed it since"
            found.rows.append((entry.target, "", THERE, GONE, "undo", done))
            found.changes.append(_whole(entry, "delete", done))
    return found


def _stamps(destination: Destination, object_name: str) -> tuple[str, ...]:
    """The fields that say when a record was created and last changed; none where they are not
    known."""
    reads = getattr(destination, "mapping", None)
    known: ObjectMapping | None = reads(object_name) if reads is not None else None
    columns = known.columns if known is not None else {}
    both = [columns[name] for name in ("created_at", "changed_at") if name in columns]
    return tuple(both) if len(both) == 2 else ()


def _changed(
    destination: Destination,
    object_name: str,
    current: Mapping[str, Any] | None,
    told: Mapping[str, str | None],
    stamps: Sequence[str],
) -> str | None:
    """Why a record is no more as it was made; None where it is."""
    if current is None:
        return "it is gone there"
    for field, value in sorted(told.items()):
        if mapping.present(destination, object_name, field, current.get(field)) != value:
            return f"{field} was changed there since"
    if len(stamps) < 2:
        return None
    made, changed = (_moment(current.get(name)) for name in stamps)
    if made is None or changed is None or changed - made > SETTLING:
        return "it was changed there since"
    return None


def _moment(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def _whole(entry: ledger.Entry, op: str, why: str) -> Change:
    return Change(
        profile_id=entry.profile_id,
        object=entry.object,
        record_id=entry.record_id,
        op=cast(Any, op),
        sent={},
        told={},
        asked={},
        old={},
        why={"": why},
        digest=mapping.digest("undo", op, {}),
    )


# Records that the run deleted ----------------------------------------------------------------


def deletions(destination: Destination, object_name: str, entries: Sequence[ledger.Entry]) -> Found:
    """Takes what the run deleted out of the bin, where the system can do that."""
    able = getattr(destination, "restorable", None)
    if able is None or not able(object_name):
        name = type(destination).__name__
        why = f"{name} restores no deleted {object_name} by its API: take it out of the bin there"
        return Found([left(entry, f"cannot be taken back: {why}") for entry in entries], [])
    found = Found([], [])
    there = destination.read(object_name, [str(e.record_id) for e in entries], [])
    for entry in entries:
        if entry.record_id in there:
            found.rows.append(left(entry, "it is there again already"))
            continue
        done = "the run deleted it"
        found.rows.append((entry.target, "", GONE, THERE, "undo", done))
        found.changes.append(_whole(entry, "restore", done))
    return found


# Members of lists ----------------------------------------------------------------------------


def members(
    store: Store, destination: Destination, object_name: str, entries: Sequence[ledger.Entry]
) -> Found:
    """Takes off a list whom the run put on it, and puts on it whom the run took off."""
    lists = cast(ListDestination, destination)
    since = {(e.record_id, e.key_value): e.sync for e in later(store, entries)}
    found = Found([], [])
    for list_id, group in _by_list(entries):
        try:
            on = {member for page in lists.list_members(list_id) for member in page}
        except Refused:
            found.rows.extend(left(entry, "the list is gone there", "list") for entry in group)
            continue
        for entry in group:
            add = entry.op == "add"
            there = entry.record_id in on
            other = since.get((entry.record_id, entry.key_value))
            if other is not None:
                found.rows.append(left(entry, f"told again since, by {other}", "list"))
            elif there is not add:
                moved = "taken off it" if add else "put on it again"
                found.rows.append(left(entry, f"{moved} since", "list"))
            else:
                now, back = (ON, OFF) if add else (OFF, ON)
                done = "the run put it on the list" if add else "the run took it off the list"
                target = ref(entry.source, object_name, entry.record_id)
                found.rows.append((target, "list", now, back, "undo", done))
                found.changes.append(_member(entry, "remove" if add else "add", done))
    return found


def _by_list(entries: Sequence[ledger.Entry]) -> Iterator[tuple[str, list[ledger.Entry]]]:
    lists: dict[str, list[ledger.Entry]] = defaultdict(list)
    for entry in entries:
        lists[entry.key_value or ""].append(entry)
    yield from sorted(lists.items())


def _member(entry: ledger.Entry, op: str, why: str) -> Change:
    return Change(
        profile_id=entry.profile_id,
        object=entry.object,
        record_id=entry.record_id,
        op=cast(Any, op),
        key_field=LIST,
        key_value=entry.key_value,
        sent={},
        told={},
        asked={},
        old={},
        why={"list": why},
        notes=notes(cast(Any, op), entry.key_value),
        digest=mapping.digest("undo", op, {LIST: entry.key_value}),
    )
