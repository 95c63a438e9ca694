"""A plan that says nothing says it again for as long as nothing moves that it was made from."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec
import polars as pl

from cdp_assets.lake import Lake, OpenTable, Table
from cdp_assets.store import Store, ledger, plans
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import Plan
from cdp_assets.syncs.tables import plan_table


class Basis(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan was made from. entity: whose profiles. stood: table → where it stood. paused:
    fields that were gone in the destination."""

    entity: str
    stood: dict[str, str]
    paused: list[str] = []


_read = msgspec.json.Decoder(Basis)


class Noting(Lake):
    """A lake that notes which tables are opened, and where each stood before it was read."""

    def __init__(self, lake: Lake) -> None:
        # The same lake, its locks and handles too.
        self.__dict__.update(lake.__dict__)
        self.stood: dict[str, str] = {}

    def open(self, table: Table) -> OpenTable:
        found = super().open(table)
        if table.key not in self.stood:
            self.stood[table.key] = _place(found)
        return found


def basis(noted: Noting, plan: Plan, entity: str) -> str | None:
    """What to keep beside a plan; None where it may be another one next time, though no table has
    moved: it says something, or it asked the destination, or the time decides.

    noted: the lake that all of the plan was read from.
    """
    said = any(obstacle.op not in ("left", "paused") for obstacle in plan.obstacles)
    if not plan.standing or plan.changes or said:
        return None
    made = Basis(entity=entity, stood=noted.stood, paused=sorted(plan.paused))
    return msgspec.json.encode(made).decode()


def unmoved(
    lake: Lake,
    store: Store,
    name: str,
    config: SyncConfig,
    entity: str,
    paused: Collection[str],
    now: datetime,
) -> Plan | None:
    """The sync's current plan, which says nothing, if it would be made again; None where that is
    not known without making it.

    The ledger has been folded into the state. Of counts the plan has none: who wants to show them
    makes it.
    """
    head = plans.current(store, name)
    if head is None or head.config != config.fingerprint or head.creates or head.updates:
        return None
    kept = plans.basis(store, name)
    if kept is None or ledger.pending(store, name):
        return None
    try:
        found = _read.decode(kept)
    except msgspec.ValidationError:
        # Noted by another version of this code.
        return None
    if found.entity != entity or found.paused != sorted(paused):
        return None
    if any(_now(lake, k) != was for k, was in found.stood.items()):
        return None
    nothing = pl.DataFrame(schema=plan_table(name).schema)
    return Plan(
        sync=name, hash=head.hash, config=head.config, made_at=now, rows=nothing,
        changes=(), obstacles=(), standing=True,
    )  # fmt: skip


def _now(lake: Lake, key: str) -> str:
    return _place(lake.open(Table(key=key, schema={"any": pl.Int64()})))


def _place(table: OpenTable) -> str:
    """A table made anew begins its `_seq` anew, so its id is part of where it stands."""
    return f"{table.origin()}@{table.seq()}"
