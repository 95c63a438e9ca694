"""Profiles without a known record: sought in the destination by key, then by a matching field."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from cdp_assets.connectors.base import Destination
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.mapping import KEY, MATCH
from cdp_assets.syncs.model import ref

_CHUNK = 1000
Owners = Callable[[Sequence[str]], Mapping[str, int]]


@dataclass
class Sought:
    """records: profile → (object, record id, rule). errors: profile → (object, why)."""

    records: dict[int, tuple[str, str, str]] = field(default_factory=dict)
    errors: dict[int, tuple[str, str]] = field(default_factory=dict)


def seek(
    seekers: pl.DataFrame, config: SyncConfig, destination: Destination, owners: Owners
) -> Sought:
    """Look for the records of profiles that have none.

    seekers: profile_id Int64, key, match String.
    owners: which profile has each of these records, by identity or by this sync's own state.

    A key that several records have, or that is another profile's record, is an error, and so is
    a match by several records: never a guess. A match never takes another profile's record.
    """
    found = Sought()
    for rule, column in ((config.key_rule, KEY), (config.match_rule, MATCH)):
        if rule is None:
            continue
        open_ = {
            int(p): str(v)
            for p, v in seekers.select("profile_id", column).drop_nulls().iter_rows()
            if p not in found.records and p not in found.errors
        }
        for object_name in config.objects:
            _by_field(found, open_, config, object_name, rule[0], column, destination, owners)
    _refuse_shared(found)
    return found


def _by_field(
    found: Sought,
    open_: dict[int, str],
    config: SyncConfig,
    object_name: str,
    field_name: str,
    column: str,
    destination: Destination,
    owners: Owners,
) -> None:
    hits: dict[str, list[str]] = {}
    for chunk in _chunks(sorted(set(open_.values()))):
        for value, records in destination.find(object_name, field_name, chunk, []).items():
            hits[value] = sorted({str(record["id"]) for record in records})
    names = {i: ref(config.source, object_name, i) for ids in hits.values() for i in ids}
    owned = owners(sorted(names.values()))
    for profile_id, value in list(open_.items()):
        ids = hits.get(value, [])
        mine = [i for i in ids if owned.get(names[i], profile_id) == profile_id]
        if not ids or (not mine and column == MATCH and config.creates is None):
            continue
        del open_[profile_id]
        if len(ids) > 1:
            why = f"{len(ids)} records have this {field_name}"
            found.errors[profile_id] = (object_name, f"{why}: make it unique there")
        elif not mine:
            why = f"the record with this {field_name} belongs to another profile"
            found.errors[profile_id] = (object_name, why)
        else:
            found.records[profile_id] = (object_name, ids[0], field_name)


def _refuse_shared(found: Sought) -> None:
    """One record for two profiles is for neither."""
    takers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for profile_id, (object_name, record, _) in found.records.items():
        takers[object_name, record].append(profile_id)
    for profiles in takers.values():
        if len(profiles) > 1:
            for profile_id in profiles:
                object_name, _, rule = found.records.pop(profile_id)
                why = f"{len(profiles)} profiles find the same record by {rule}"
                found.errors[profile_id] = (object_name, why)


def doubled(values: Mapping[int, str | None], *, fold: bool) -> set[int]:
    """Profiles whose value another profile has too; compared without case where `fold`."""
    folded = {p: v.casefold() if fold else v for p, v in values.items() if v is not None}
    counts = Counter(folded.values())
    return {p for p, v in folded.items() if counts[v] > 1}


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(values), _CHUNK):
        yield values[at : at + _CHUNK]
