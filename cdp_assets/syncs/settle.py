"""Rows whose fate is unknown: sent, or about to be, when the run was killed or no answer came."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from cdp_assets.connectors.base import Destination
from cdp_assets.store import Store, ledger
from cdp_assets.syncs import mapping
from cdp_assets.syncs.activities import entry_answers, unknown
from cdp_assets.syncs.lists import LIST, list_answers
from cdp_assets.syncs.model import FOREIGN
from cdp_assets.syncs.seek import Owners

_CHUNK = 1_000


def settle(
    store: Store,
    destination: Destination,
    name: str,
    owners: Owners,
    now: datetime,
    *,
    entity: str,
    without: Collection[str] = (),
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Read back every row without outcome and write down what became of it; how many there were.

    An update took effect if the record shows what was sent, a deletion if it is gone; an upsert or
    create, if a record with its key (or its matching field) is there and shows it. Else it is
    `lost` and planned anew. A create that left no mark to find it by is `unknown`: it is never
    repeated by itself.

    owners: which profile of `entity` has each of these records; another profile's record was not
        made by us. Of a row from when the sync wrote another entity, no record that a profile of
        this one has.
    without: fields that the destination has no more, so they cannot be read back.
    A destination whose search is behind its writes says by how many seconds in `find_lag`.
    """
    entries = [_less(entry, without) for entry in ledger.pending(store, name)]
    groups: dict[tuple[str, str, str], list[ledger.Entry]] = defaultdict(list)
    for entry in entries:
        field = "" if entry.op in ("update", "delete", "restore") else entry.key_field or ""
        groups[entry.object, entry.op, field].append(entry)
    lag = float(getattr(destination, "find_lag", 0.0))
    if lag and any(entry.op in ("create", "add", "remove") for entry in entries):
        sleep(lag)
    for (object_name, op, key_field), group in sorted(groups.items()):
        for at in range(0, len(group), _CHUNK):
            chunk = group[at : at + _CHUNK]
            if key_field == LIST or op in ("add", "remove"):
                answers = list_answers(destination, chunk)
            elif op == "update":
                answers = _updates(destination, object_name, chunk)
            elif op in ("delete", "restore"):
                answers = _deletions(destination, object_name, chunk, op == "delete")
            elif not key_field:
                answers = [unknown(entry) for entry in chunk]
            elif op == "create" and chunk[0].asked.get("entry") is not None:
                known = ledger.recorded(store, name)
                answers = entry_answers(destination, object_name, key_field, chunk, known)
            else:
                answers = _keyed(destination, object_name, key_field, chunk, owners, entity)
            ledger.answer(store, chunk, answers, now)
    return len(entries)


def _less(entry: ledger.Entry, without: Collection[str]) -> ledger.Entry:
    if not without:
        return entry
    return replace(entry, fields={f: t for f, t in entry.fields.items() if f not in without})


def _updates(
    destination: Destination, object_name: str, entries: Sequence[ledger.Entry]
) -> list[ledger.Answer]:
    fields = sorted({field for entry in entries for field in entry.fields})
    ids = sorted({entry.record_id for entry in entries if entry.record_id})
    shown = destination.read(object_name, ids, fields)
    answers = []
    for entry in entries:
        current = shown.get(entry.record_id or "")
        done = current is not None and _shows(destination, object_name, entry, current)
        answers.append(ledger.Answer(id=entry.id, outcome="ok" if done else "lost"))
    return answers


def _deletions(
    destination: Destination, object_name: str, entries: Sequence[ledger.Entry], gone: bool
) -> list[ledger.Answer]:
    ids = sorted({entry.record_id for entry in entries if entry.record_id})
    there = destination.read(object_name, ids, [])
    return [
        ledger.Answer(id=e.id, outcome="lost" if (e.record_id in there) is gone else "ok")
        for e in entries
    ]


def _keyed(
    destination: Destination,
    object_name: str,
    key_field: str,
    entries: Sequence[ledger.Entry],
    owners: Owners,
    entity: str,
) -> list[ledger.Answer]:
    values = sorted({entry.key_value for entry in entries if entry.key_value is not None})
    fields = sorted({field for entry in entries for field in entry.fields})
    found = destination.find(object_name, key_field, values, fields)
    answers: list[ledger.Answer] = []
    for entry in entries:
        prefix = f"{entry.source}.{entry.object}:"
        records = found.get(entry.key_value or "", [])
        taken = owners([prefix + str(record["id"]) for record in records])
        whose = entry.profile_id if entry.entity in (entity, "") else FOREIGN
        mine = [r for r in records if taken.get(prefix + str(r["id"]), whose) == whose]
        if len(mine) == 1 and _shows(destination, object_name, entry, mine[0]):
            made = ledger.Answer(
                id=entry.id, outcome="ok", record_id=str(mine[0]["id"]), created=True
            )
            answers.append(made)
        else:
            answers.append(ledger.Answer(id=entry.id, outcome="lost"))
    return answers


def _shows(
    destination: Destination, object_name: str, entry: ledger.Entry, current: Mapping[str, Any]
) -> bool:
    return all(
        mapping.present(destination, object_name, field, current.get(field)) == told
        for field, told in entry.fields.items()
    )
