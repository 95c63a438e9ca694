"""One record for each entry into an audience: a task, a note, a ticket; made once for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from cdp_assets.connectors.base import Description, Destination, ObjectInfo
from cdp_assets.store import ledger
from cdp_assets.syncs import decide, planner
from cdp_assets.syncs.config import ENTRY, SyncConfig
from cdp_assets.syncs.mapping import wanted
from cdp_assets.syncs.model import Inputs, Obstacle, Plan

_SKEW = timedelta(minutes=5)
"""How far the destination's clock may be behind ours."""


def activity_plan(
    name: str,
    config: SyncConfig,
    inputs: Inputs,
    destination: Destination,
    description: Description | None,
    now: datetime,
    obstacles: Sequence[Obstacle] = (),
) -> Plan:
    """What the sync `name` would create: a record for each entry that has none yet.

    An entry whose profile has no record of the first entity in `link` waits. Nothing is looked
    for in the destination: what was made stands in the state, by its entry.
    """
    assert config.creates is not None
    objects = description.objects if description else {}
    told = inputs.state.filter(pl.col("entry").is_not_null())
    entries = inputs.profiles.select("profile_id", "entry")
    rows = wanted(inputs.profiles, config).join(entries, on="profile_id").collect()
    profiles = rows.height
    rows = rows.join(told.select("entry").collect(), on="entry", how="anti")
    links = decide.linked(inputs, config.link)
    if config.link:
        needed = config.link if config.unlinked == "wait" else config.link[:1]
        has = {p for p, found in links.items() if found.keys() >= set(needed)}
        waiting = rows.filter(~pl.col("profile_id").is_in(has))
    else:
        waiting = rows.clear()
    rows = rows.join(waiting, on="profile_id", how="anti")
    builder = decide.Builder(config, destination, objects, inputs)
    builder.errors(obstacles)
    extras = {
        p: decide.Extra(
            links=tuple(links.get(p, {}).values()),
            entry=entry,
            marker=marker(config, objects.get(config.creates)),
        )
        for p, entry in rows.select("profile_id", "entry").iter_rows()
    }
    unkeyed = planner.unkeyed(rows, config, objects)
    builder.creates(config.creates, rows, unkeyed, extras)
    return planner.finished(
        name,
        config,
        builder,
        now,
        profiles=profiles,
        told=int(told.select(pl.len()).collect().item()),
        without_record=waiting.height,
        standing=inputs.timeless and rows.is_empty(),
    )


def marker(config: SyncConfig, info: ObjectInfo | None) -> str | None:
    """The field by whose text a created record can be found again; None where there is none. One
    that names the entry is no other record's, so it goes before the others."""
    ordered = sorted(config.fields.items(), key=lambda item: ENTRY not in item[1].columns)
    for name, told in ordered:
        found = info.fields.get(name) if info else None
        searchable = found is None or (found.filterable and found.type in decide.SEARCHABLE)
        if told.columns and not told.sought and searchable:
            return name
    return None


@dataclass(frozen=True)
class _Shape:
    """Fields of an object that say when a record was made, and what it belongs to."""

    created: str | None
    links: tuple[str, ...]


def entry_answers(
    destination: Destination,
    object_name: str,
    key_field: str,
    entries: Sequence[ledger.Entry],
    known: Collection[str],
) -> list[ledger.Answer]:
    """What became of records of entries that got no answer.

    Found by the text of one field; a record counts that was made since the intent, is linked as
    asked (where the object's own fields show that) and is none of the sync's others (known: their
    ids). Of several rows that look alike each takes one; where there are fewer records than rows
    nobody can tell whose they are, so these are `unknown`, for a person to look at.
    """
    shape = _shape(destination, object_name)
    fields = [f for f in (shape.created, *shape.links) if f is not None]
    values = sorted({entry.key_value for entry in entries if entry.key_value is not None})
    found = destination.find(object_name, key_field, values, fields)
    alike: dict[tuple[str, str], list[ledger.Entry]] = defaultdict(list)
    for entry in entries:
        links = (entry.asked.get("linked") or "") if shape.links else ""
        alike[entry.key_value or "", links].append(entry)
    taken = set(known)
    answers: list[ledger.Answer] = []
    for (value, links), group in sorted(alike.items()):
        since = min(entry.intent_at for entry in group) - _SKEW
        ids = {link.partition(":")[2] for link in links.split()}
        mine = [
            str(record["id"])
            for record in found.get(value, [])
            if str(record["id"]) not in taken and _ours(record, shape, since, ids)
        ]
        if mine and len(mine) < len(group):
            answers += [unknown(entry) for entry in group]
            continue
        records = sorted(mine)[: len(group)]
        taken |= set(records)
        for at, entry in enumerate(group):
            if not records:
                answers.append(ledger.Answer(id=entry.id, outcome="lost"))
            else:
                answers.append(
                    ledger.Answer(id=entry.id, outcome="ok", record_id=records[at], created=True)
                )
    return answers


def unknown(entry: ledger.Entry) -> ledger.Answer:
    """The answer for a creation of which nobody can tell whether it happened."""
    return ledger.Answer(
        id=entry.id,
        outcome="unknown",
        error_class="data",
        code="UNKNOWN_OUTCOME",
        message="It is not known whether the record was created, and there is neither a key nor a "
        "match to find it by. Look there; if it is not there, replay this letter.",
    )


def _shape(destination: Destination, object_name: str) -> _Shape:
    mapping = getattr(destination, "mapping", None)
    found = mapping(object_name) if mapping is not None else None
    if found is None:
        return _Shape(None, ())
    fields = [r.field for r in found.relations if r.kind != "owner"]
    return _Shape(found.columns.get("created_at"), tuple(dict.fromkeys(fields)))


def _ours(record: Mapping[str, Any], shape: _Shape, since: datetime, ids: set[str]) -> bool:
    made = _moment(record.get(shape.created)) if shape.created else None
    if made is not None and made < since:
        return False
    return not shape.links or ids <= {str(record.get(field)) for field in shape.links}


def _moment(shown: Any) -> datetime | None:
    if isinstance(shown, datetime):
        return shown
    try:
        found = datetime.fromisoformat(str(shown).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else None
