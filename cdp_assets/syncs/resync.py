"""A full resync: every record that was told before is read, and told again where it differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from cdp_assets.connectors.base import Description, Destination
from cdp_assets.lake import Lake
from cdp_assets.store import Store
from cdp_assets.syncs import check, mapping, policies, state
from cdp_assets.syncs.check import SyncError
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import record_id
from cdp_assets.syncs.tables import last

_CHUNK = 2_000


def resync(
    lake: Lake,
    store: Store,
    name: str,
    config: SyncConfig,
    destination: Destination,
    description: Description | None,
    *,
    entity: str,
) -> tuple[int, int]:
    """Read what the sync told before, and let the next plan tell again what differs.

    Returns how many records were read, and how many of them show something else than they were
    told in a field that is told `always`. Fields under other policies are the people's once told.
    Writes nothing to the destination: the plan, its brakes and its approval come after. A record
    that does not show is left to the next pull. Raises SyncError for a list, or a sync of entries.
    """
    if config.list_ is not None or config.rows == "entered":
        raise SyncError(
            f"sync {name}: a resync is for syncs that keep records up to date; a list says "
            "`others: remove`, and what is made once an entry is never told again"
        )
    with lake.step(f"syncs/{name}"):
        paused = check.paused_fields(config, description, state.told_fields(lake, name))
        told = check.require(config, description, paused)
        state.fold(lake, store, name)
        fields = [n for n, f in told.fields.items() if f.write == "always" and not f.sought]
        kept = state.remembered(lake, name, entity).collect()
        fields = [n for n in fields if last(n) in kept.columns]
        there = kept.filter(pl.col("told_at").is_not_null() & pl.col("removed_at").is_null())
        read, differing = 0, []
        for object_name in config.objects:
            mine = there.filter(pl.col("object") == object_name).sort("record")
            for chunk in mine.iter_slices(_CHUNK):
                ids = [record_id(record) for record in chunk["record"]]
                shown = destination.read(object_name, ids, fields)
                read += len(shown)
                differing += list(_differing(destination, object_name, chunk, shown, fields))
        state.mark(lake, name, differing)
        return read, len(differing)


def _differing(
    destination: Destination,
    object_name: str,
    chunk: pl.DataFrame,
    shown: dict[str, dict[str, Any]],
    fields: list[str],
) -> Iterator[str]:
    for row in chunk.iter_rows(named=True):
        current = shown.get(record_id(row["record"]))
        if current is None:
            continue
        for name in fields:
            told = row[last(name)]
            if told is None:
                continue
            present = mapping.present(destination, object_name, name, current.get(name))
            empty = mapping.present(destination, object_name, name, None)
            if (
                present != empty
                if told == ""
                else not policies.ours(destination, object_name, name, told, present)
            ):
                yield row["record"]
                break
