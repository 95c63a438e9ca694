"""Rows whose fate is unknown: sent, or about to be, when the run was killed or no answer came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cdp_assets.connectors.base import Destination
from cdp_assets.store import Store, ledger
from cdp_assets.syncs import mapping
from cdp_assets.syncs.seek import Owners

_CHUNK = 1_000


def settle(
    store: Store, destination: Destination, name: str, owners: Owners, now: datetime
) -> list[ledger.Entry]:
    """Read back every row without outcome and write down what became of it.

    An update took effect if the record shows what was sent; an upsert or create, if a record with
    its key (or its matching field) is there. Else it is `lost` and planned anew. A create that
    left no mark to find it by is `unknown`: it is never repeated by itself.

    owners: which profile has each of these records; a record known already was not made by us.
    Returns rows that stay open, since the destination's search is behind its writes.
    """
    entries = ledger.pending(store, name)
    groups: dict[tuple[str, str, str | None], list[ledger.Entry]] = defaultdict(list)
    for entry in entries:
        if entry.op == "update":
            groups[entry.object, "update", None].append(entry)
        else:
            groups[entry.object, entry.op, entry.key_field].append(entry)
    waiting: list[ledger.Entry] = []
    for (object_name, op, key_field), group in sorted(groups.items(), key=lambda g: str(g[0])):
        for at in range(0, len(group), _CHUNK):
            chunk = group[at : at + _CHUNK]
            if op == "update":
                answers = _updates(destination, object_name, chunk)
            elif key_field is None:
                answers = [_unknown(entry) for entry in chunk]
            else:
                lag = timedelta(seconds=getattr(destination, "find_lag", 0))
                answers, late = _keyed(
                    destination, object_name, key_field, chunk, owners, now - lag
                )
                waiting += late
            ledger.answer(store, chunk, answers, now)
    return waiting


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


def _keyed(
    destination: Destination,
    object_name: str,
    key_field: str,
    entries: Sequence[ledger.Entry],
    owners: Owners,
    settled_before: datetime,
) -> tuple[list[ledger.Answer], list[ledger.Entry]]:
    values = sorted({entry.key_value for entry in entries if entry.key_value is not None})
    fields = sorted({field for entry in entries for field in entry.fields})
    found = destination.find(object_name, key_field, values, fields)
    answers: list[ledger.Answer] = []
    late: list[ledger.Entry] = []
    for entry in entries:
        prefix = f"{entry.source}.{entry.object}:"
        records = found.get(entry.key_value or "", [])
        taken = owners([prefix + str(record["id"]) for record in records])
        mine = [
            record
            for record in records
            if taken.get(prefix + str(record["id"]), entry.profile_id) == entry.profile_id
        ]
        if len(mine) == 1 and _shows(destination, object_name, entry, mine[0]):
            made = ledger.Answer(
                id=entry.id, outcome="ok", record_id=str(mine[0]["id"]), created=True
            )
            answers.append(made)
        elif not records and entry.op == "create" and entry.intent_at > settled_before:
            late.append(entry)
        else:
            answers.append(ledger.Answer(id=entry.id, outcome="lost"))
    return answers, late


def _shows(
    destination: Destination, object_name: str, entry: ledger.Entry, current: Mapping[str, Any]
) -> bool:
    return all(
        mapping.present(destination, object_name, field, current.get(field)) == told
        for field, told in entry.fields.items()
    )


def _unknown(entry: ledger.Entry) -> ledger.Answer:
    return ledger.Answer(
        id=entry.id,
        outcome="unknown",
        error_class="data",
        code="UNKNOWN_OUTCOME",
        message="It is not known whether the record was created, and there is neither a key nor a "
        "match to find it by. Look there; if it is not there, replay this letter.",
    )
