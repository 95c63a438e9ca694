"""Syncs of one deployment: planned, approved, applied, paused, taken back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cdp_assets import syncs
from cdp_assets.connectors.base import Description
from cdp_assets.deployment.catalog import (
    sync_entity,
)
from cdp_assets.deployment.rooms import Rooms
from cdp_assets.store import pauses, plans
from cdp_assets.store.pauses import Pause
from cdp_assets.syncs.send import Sent, calls_needed


class Syncing(Rooms):
    """What is done with the deployment's syncs."""

    def plan(self, name: str, *, anew: bool = True) -> syncs.Plan:
        """What a sync would write now; kept, so that it can be approved and applied. anew: see
        `syncs.plan`."""
        config = self.deployment.sync(name)
        client = self.connector(config.source)
        return syncs.plan(
            self.lake,
            self.store,
            name,
            config,
            client,
            self._described(config.source),
            self.now,
            entity=sync_entity(self.deployment, config),
            anew=anew,
        )

    def price(self, name: str, plan: syncs.Plan) -> list[tuple[str, str]]:
        """What applying a plan takes of the destination, as (name, text) rows: calls, and what
        its creations may cost there."""
        config = self.deployment.sync(name)
        client: Any = self.connector(config.source)
        rows = [("calls that write", f"{calls_needed(plan, client, config):,}")]
        fields = Counter(f for change in plan.changes for f in change.told)
        new = (c for c in plan.changes if c.op in ("create", "upsert") and c.record_id is None)
        made = Counter(change.object for change in new)
        cost = getattr(client, "cost", None)
        if cost is not None:
            rows += [("cost", text) for text in cost(made, fields)]
        return rows

    def bridged_fields(self, name: str) -> list[str]:
        """Fields that a sync writes and HubSpot's own connector for Salesforce writes too."""
        config = self.deployment.sync(name)
        specs = {spec.name: spec for spec in self.catalog.specs}
        kept = {
            (target.partition(".")[2], ours)
            for target in config.targets
            if target in specs
            for side in specs[target].other_sides
            for _, ours in side.fields
        }
        return sorted(f"{item}.{field}" for item, field in kept if field in config.fields)

    def _described(self, source: str) -> Description:
        return self.description(source) or self.describe(source)

    def replay_sync(self, name: str) -> int:
        """Let the next plan of a sync try refused rows again; how many."""
        self.deployment.sync(name)
        return syncs.replay(self.store, name)

    def syncs_of_plan(self, plan: str) -> list[str]:
        """The syncs that have made a plan whose hash begins so."""
        return sorted({head.sync for head in plans.find(self.store, plan.strip().lower())})

    def waiting_plans(self) -> list[plans.PlanHead]:
        """The current plans that wait for somebody's yes, oldest first."""
        return syncs.waiting(self.store, self.deployment.syncs)

    def approve(self, plan: str, who: str) -> str:
        """Approve a plan by its hash or its beginning; returns the sync's name."""
        return syncs.approve(self.store, plan, who, self.now).sync

    def resync(self, name: str) -> tuple[int, int]:
        """Read all records that a sync told before, so that its next plan tells again what
        differs; how many were read, and how many differ."""
        config = self.deployment.sync(name)
        return syncs.resync(
            self.lake,
            self.store,
            name,
            config,
            self.connector(config.source),
            self._described(config.source),
            entity=sync_entity(self.deployment, config),
        )

    def apply(
        self, name: str, run_id: str, approve: str | None = None, limit: int | None = None
    ) -> syncs.ApplyResult:
        """Apply a sync's plan if it may be: approved where it has to be, and the world unmoved.
        limit: of its rows no more than this."""
        config = self.deployment.sync(name)
        if approve:
            syncs.approve(self.store, approve, f"run {run_id[:8]}", self.now, sync=name)
        client = self.connector(config.source)
        return syncs.apply(
            self.lake,
            self.store,
            name,
            config,
            client,
            self._described(config.source),
            self.now,
            run_id,
            env=self.settings.env,
            url=self.deployment.crms[config.source].url,
            entity=sync_entity(self.deployment, config),
            limit=limit,
        )

    def pause(self, name: str | None, who: str, why: str) -> None:
        """Let a sync (all of them for None) write nothing until it is resumed."""
        if name is not None:
            self.deployment.sync(name)
        pauses.pause(self.store, name or pauses.ALL, who, why, self.now)

    def resume(self, name: str | None) -> bool:
        """Lift the pause of a sync (for None the one of all); whether there was one."""
        if name is not None and name not in {p.sync for p in pauses.pauses(self.store)}:
            self.deployment.sync(name)
        return pauses.resume(self.store, name or pauses.ALL)

    def pauses(self) -> list[Pause]:
        """What is paused, by whom and why."""
        return pauses.pauses(self.store)

    def undo(self, run: str, sync: str | None = None) -> syncs.Undo:
        """What would bring back the records that a run wrote. Writes nothing."""
        run_id, name = syncs.find_run(self.store, run, sync)
        client = self.connector(self.deployment.sync(name).source)
        return syncs.plan_undo(self.store, client, name, run_id)

    def apply_undo(
        self, run: str, approve: str, who: str, sync: str | None = None
    ) -> tuple[syncs.Undo, Sent]:
        """Undo a run by the plan whose hash begins with `approve`, and pause its sync."""
        run_id, name = syncs.find_run(self.store, run, sync)
        config = self.deployment.sync(name)
        client = self.connector(config.source)
        return syncs.apply_undo(
            self.lake,
            self.store,
            client,
            name,
            config,
            run_id,
            approve,
            who,
            self.now,
            env=self.settings.env,
            url=self.deployment.crms[config.source].url,
            entity=sync_entity(self.deployment, config),
        )
