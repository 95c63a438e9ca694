"""The rooms wired for one deployment: what Dagster's assets and the command line both call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import Any

import msgspec

from cdp_assets import audiences, events, identity, profiles, records, syncs
from cdp_assets.connectors.base import Description
from cdp_assets.connectors.systems import Connector
from cdp_assets.deployment.catalog import (
    Catalog,
    catalog,
    connector,
    identity_of,
    sync_entity,
)
from cdp_assets.deployment.declarations import Deployment
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.events import EventFilesSpec
from cdp_assets.events.replay import ReplayResult, replay
from cdp_assets.identity.rules import entity_rules
from cdp_assets.lake import Lake, fsck, maintenance
from cdp_assets.profiles.errors import nearest
from cdp_assets.raw import files, ingest, windows
from cdp_assets.raw.reconcile import Reconciled, reconcile
from cdp_assets.raw.records import FilesResult, records_from_files
from cdp_assets.settings import Settings
from cdp_assets.store import Store, pauses, plans
from cdp_assets.store.pauses import Pause
from cdp_assets.syncs.send import Sent, calls_needed


class Platform:
    """One deployment's rooms, with the settings of the moment. Cheap to make; nothing is opened
    before it is used."""

    def __init__(self, settings: Settings, deployment: Deployment) -> None:
        self.settings = settings
        self.deployment = deployment
        self._connectors: dict[str, Connector] = {}

    @cached_property
    def lake(self) -> Lake:
        """The lake under CDP_HOME."""
        return Lake(self.settings.lake)

    @cached_property
    def store(self) -> Store:
        """The operational database, its schema brought up to date."""
        self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(self.settings.database_url)
        store.migrate()
        return store

    @cached_property
    def now(self) -> datetime:
        """The moment that everything done through this object takes as now."""
        return self.settings.clock()

    @property
    def catalog(self) -> Catalog:
        """Objects, event properties and identify traits that this deployment keeps."""
        return catalog(self.deployment)

    @property
    def entities(self) -> list[str]:
        """Every entity that has profiles."""
        resolved = entity_rules(identity_of(self.deployment), self.catalog.specs)
        return list(dict.fromkeys([*resolved, *self.deployment.traits]))

    def connector(self, name: str) -> Connector:
        """The client of an outside system. Raises ConfigurationError where `name` is not declared
        or waits for an environment variable."""
        declared = self.deployment.declared.get(name)
        if declared is None or name not in self.deployment.crms:
            known = ", ".join(self.deployment.crms) or "none"
            near = nearest(name, self.deployment.crms)
            raise ConfigurationError.plain(
                f"no outside system `{name}` in defs/{near}; there are: {known}"
            )
        declared.require_set()
        if name not in self._connectors:
            self._connectors[name] = connector(self.deployment, name)
        return self._connectors[name]

    # sources

    def describe(self, name: str) -> Description:
        """Ask a system for its objects and fields, and keep the answer under CDP_HOME."""
        client = self.connector(name)
        wanted, names = list(self.deployment.crms[name].object_configs), client.names()
        for i, object_name in enumerate(wanted):
            if names and object_name not in names:
                message = f"{name} has no object `{object_name}`, or does not show it to this user"
                raise ConfigurationError(
                    [
                        self.deployment.declared[name].problem(
                            ("objects", i), message + nearest(object_name, names)
                        )
                    ]
                )
        description = msgspec.structs.replace(client.describe(wanted), names=names)
        description.save(self.settings.descriptions)
        return description

    def description(self, name: str) -> Description | None:
        """The kept description of a system."""
        return Description.load(self.settings.descriptions, name)

    def start(self, name: str) -> datetime:
        """From when on a system is pulled."""
        configured = self.deployment.crms[name].start
        floor = self.settings.start
        day = max(configured, floor) if floor else configured
        return datetime.combine(day, time.min, self.now.tzinfo)

    def pull(
        self,
        name: str,
        object_name: str,
        start: datetime | None,
        end: datetime | None,
        run_id: str,
    ) -> ingest.PullResult:
        """Pull one object: the range [start, end) of days as one window, else from its cursor to
        now. A range that reaches now is live (see `raw.ingest.pull_range`)."""
        client = self.connector(name)
        first = self.start(name)
        common: dict[str, Any] = {
            "now": self.now,
            "run_id": run_id,
            "descriptions": self.settings.descriptions,
        }
        if start is None or end is None:
            return ingest.pull_live(self.lake, client, object_name, first, **common)
        return ingest.pull_range(self.lake, client, object_name, first, start, end, **common)

    def reconcile(self, name: str, run_id: str) -> list[Reconciled]:
        """Compare all keys of a system's objects with those stored, and mend what differs."""
        client, config = self.connector(name), self.deployment.crms[name]
        return [
            reconcile(
                self.lake,
                client,
                object_name,
                self.start(name),
                self.now,
                run_id,
                share=config.reconcile_limit,
                reread=config.reread,
            )
            for object_name in config.object_configs
        ]

    def lag(self, name: str, object_name: str) -> timedelta:
        """How far what is stored of an object is behind now, without a gap."""
        return self.now - windows.cursor(self.lake, name, object_name, self.start(name))

    def budget(self, name: str) -> tuple[int, int] | None:
        """Requests of the day's allowance (used, allowed) as the system told last, where it
        tells."""
        found: tuple[int, int] | None = getattr(self.connector(name), "budget", None)
        return found

    def cursors(self, name: str) -> list[tuple[str, date]]:
        """Each object of a system with the day its live cursor stands on."""
        first = self.start(name)
        return [
            (object_name, windows.cursor(self.lake, name, object_name, first).date())
            for object_name in self.deployment.crms[name].object_configs
        ]

    def objects_with_news(self, name: str) -> list[tuple[str, date]]:
        """The objects of a system that hold a record newer than stored, with their cursor's day."""
        client, first = self.connector(name), self.start(name)
        return [
            (object_name, day)
            for object_name, day in self.cursors(name)
            if ingest.has_news(self.lake, client, object_name, first)
        ]

    def new_files(self, name: str) -> bool:
        """Whether a source of files has one that was not read before."""
        found: Mapping[str, Any] = {
            **self.deployment.event_files,
            **self.deployment.record_files,
        }
        self.deployment.declared[name].require_set()
        return files.has_new(self.lake, name, found[name].path)

    def ingest(self, days: tuple[str, str] | None, run_id: str) -> events.IngestResult:
        """New event files, and for `days` (first and last) the files that hold them."""
        for name in self.deployment.event_files:
            self.deployment.declared[name].require_set()
        span = tuple(date.fromisoformat(day) for day in days) if days else None
        return events.ingest(
            self.lake,
            self._event_sources,
            self.catalog.properties,
            self.catalog.told,
            self.now,
            run_id,
            days=(span[0], span[1]) if span else None,
        )

    @property
    def _event_sources(self) -> list[EventFilesSpec]:
        return [EventFilesSpec(n, c) for n, c in self.deployment.event_files.items()]

    def ingest_record_files(self, name: str, run_id: str) -> FilesResult:
        """New files of rows that are records."""
        self.deployment.declared[name].require_set()
        config = self.deployment.record_files[name]
        assert config.as_ is not None
        return records_from_files(
            self.lake,
            name,
            config.path,
            config.as_,
            config.key,
            self.now,
            run_id,
            delimiter=config.separator,
            encoding=config.encoding,
        )

    # from records to audiences

    def build_records(self) -> records.BuildResult:
        """Records, relations and values up to raw and to the ledger of what was told."""
        return records.build(self.lake, self.catalog.specs, self.store.told, self.now)

    def keep_named(self) -> None:
        """Events and records hold what configuration names: whoever reads a property or field
        named a moment ago would else take it for null, and a sync would write that."""
        events.decode(self.lake, self.catalog.properties, self.catalog.told)
        if records.outstanding(self.lake, self.catalog.specs):
            self.build_records()

    def resolve(self) -> identity.ResolveResult:
        """Identity up to records and events."""
        self.keep_named()
        config = identity_of(self.deployment)
        return identity.resolve(self.lake, config, self.catalog.specs, self.now)

    def profiles_over_limits(self) -> int:
        """How many times a profile holds more identifiers of a type than its limit: 0, if all is
        well."""
        return identity.over_limits(self.lake, identity_of(self.deployment))

    def build_profiles(self, entity: str, run_id: str = "") -> profiles.BuildResult:
        """Profiles of an entity up to their inputs and to now."""
        self.keep_named()
        return profiles.build(
            self.lake,
            self.deployment.traits[entity],
            now=self.now,
            timezone=self.settings.timezone,
            specs=self.catalog.specs,
            others=self.deployment.traits,
            folder=self.deployment.traits_folder(entity),
            run=run_id,
        )

    def build_audience(self, name: str) -> audiences.AudienceResult:
        """An audience's membership up to the profiles."""
        return audiences.build(self.lake, name, self.deployment.audiences[name], self.now)

    # syncs

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
        rows = [("calls", f"{calls_needed(plan, client, config):,}")]
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

    def replay_events(self) -> ReplayResult:
        """Judge the open lines of quarantine again."""
        return replay(
            self.lake,
            self._event_sources,
            self.catalog.properties,
            self.catalog.told,
            self.now,
        )

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

    # care

    def fsck(
        self, repair: bool = False, drop_lost_files: bool = False, deep: bool = False
    ) -> list[fsck.Finding]:
        """What is wrong with the lake; with `repair`, what is left after mending the safe part.

        drop_lost_files: also take lost data files out of their tables. deep: decode every file.
        """
        findings = fsck.check(self.lake, deep=deep)
        if repair:
            mended = fsck.repair(self.lake, findings, drop_lost_files=drop_lost_files)
            findings = [finding for finding in findings if finding not in mended]
        return findings

    def maintain(self) -> dict[str, int]:
        """Compact and vacuum the lake."""
        upkeep = maintenance.maintain(self.lake)
        return {
            "tables": len(upkeep),
            "files_joined": sum(item.compacted for item in upkeep),
            "files_removed": sum(item.vacuumed + item.swept for item in upkeep),
            "bytes": sum(item.bytes for item in upkeep),
        }
