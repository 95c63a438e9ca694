"""Who may let a plan through, and what counts as a yes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from cdp_assets.store import Store, ledger, plans
from cdp_assets.syncs.config import SyncConfig
from cdp_assets.syncs.model import Plan, ref
from cdp_assets.syncs.tables import WRITES

_SHORTEST = 8
_NEW_RECORDS = ("create", "upsert")


class ApprovalError(Exception):
    """A plan cannot be approved: no such plan, not the current one, or stopped."""


def approve(
    store: Store, beginning: str, who: str, now: datetime, *, sync: str | None = None
) -> plans.PlanHead:
    """Say yes to the plan whose hash begins so (8 characters or more).

    sync: whose plan it has to be, where only one sync's is meant.

    Raises ApprovalError where there is no such plan, where the sync has a newer one, or where
    `stop_if` has stopped it: a limit is raised in the configuration, not by a yes.
    """
    text = beginning.strip().lower()
    if len(text) < _SHORTEST or not set(text) <= set("0123456789abcdef"):
        raise ApprovalError(
            f"A plan is named by its hash, at least its first {_SHORTEST} characters, as `cdp plan "
            "NAME` prints it."
        )
    found = plans.find(store, text)
    if not found:
        raise ApprovalError(f"No plan {text[:12]}. `cdp plan NAME` makes one and prints its hash.")
    if len(found) > 1:
        raise ApprovalError(f"{len(found)} plans begin with {text[:12]}; give more of the hash.")
    head = found[0]
    if sync is not None and head.sync != sync:
        raise ApprovalError(f"Plan {head.hash[:12]} is one of {head.sync}, not of {sync}.")
    current = plans.current(store, head.sync)
    if current is None or current.hash != head.hash:
        newer = current.hash[:12] if current else "none"
        raise ApprovalError(
            f"Plan {head.hash[:12]} of {head.sync} is not its current plan ({newer}): what it was "
            f"made from has moved. Look at the current one: cdp plan {head.sync}"
        )
    if head.stopped:
        cure = "Where that many are meant, raise the limit in its stop_if and plan again."
        raise ApprovalError(
            f"Plan {head.hash[:12]} of {head.sync} is stopped: {head.stopped.rstrip('.')}. "
            f"{cure if 'stop_if' in head.stopped else ''}".strip()
        )
    plans.approve(store, head, who, now)
    return head


def waits(store: Store, name: str, config: SyncConfig, digest: str) -> bool:
    """Whether a plan of this hash still waits for a yes.

    `first`: until one plan of this configuration was approved and begun; a change of what is
    written where makes the next plan a first one again. A yes lasts until its plan is applied to
    the end: one that says the same later is another plan.
    """
    if config.approve == "never":
        return False
    said = plans.approvals(store, name)
    if any(a.plan == digest and not a.used for a in said):
        return False
    if config.approve == "always":
        return True
    mine = {a.plan for a in said if a.config == config.fingerprint}
    return not any(plans.begun(store, name, plan) for plan in mine)


def waiting(store: Store, configs: Mapping[str, SyncConfig]) -> list[plans.PlanHead]:
    """The current plans of these syncs that wait for a yes, oldest first: those of the present
    configuration that would write something, are not stopped and not applied yet."""
    found = []
    for name, config in configs.items():
        head = plans.current(store, name)
        if head is None or head.config != config.fingerprint or head.stopped:
            continue
        idle = not (head.creates or head.updates) or plans.finished(store, name) == head.hash
        if not idle and waits(store, name, config, head.hash):
            found.append(head)
    return sorted(found, key=lambda head: (head.made_at, head.sync))


def resumes(store: Store, name: str, plan: Plan, kept: pl.DataFrame) -> str | None:
    """The hash of the current plan, where it was begun and `plan` is the rest of it.

    kept: the rows of `syncs/<name>/plan`. A run that was killed, or stopped half way, leaves the
    rest of its plan: every row of it stands in that plan with the same old and new value, and
    every row that is missing was sent under it. Then plan, hash and approval stand.
    """
    head = plans.current(store, name)
    if head is None or head.hash == plan.hash or head.config != plan.config:
        return None
    if plans.finished(store, name) == head.hash:
        return None
    sent = ledger.entries(store, name, plan=head.hash)
    if not sent or kept.is_empty() or (kept["plan"] != head.hash).any():
        return None
    columns = ["profile_id", "record", "op", "field", "old", "new"]
    writes = pl.col("op").is_in(WRITES)
    begun = set(kept.filter(writes).select(columns).iter_rows())
    rest = set(plan.rows.filter(writes).select(columns).iter_rows())
    if not rest <= begun:
        return None
    done = {
        (e.profile_id, ref(e.source, e.object, None if e.op in _NEW_RECORDS else e.record_id))
        for e in sent
    }
    missing = {(row[0], row[1]) for row in begun - rest}
    return head.hash if missing <= done else None
