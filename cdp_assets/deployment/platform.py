"""The rooms wired for one deployment: what Dagster's assets and the command line both call."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from cdp_assets import audiences, events, identity, profiles, records, sessions
from cdp_assets.deployment.catalog import (
    identity_of,
)
from cdp_assets.deployment.enrichments import enrichments_of
from cdp_assets.deployment.plans import plans_of_sources
from cdp_assets.deployment.syncing import Syncing
from cdp_assets.deployment.transforms import transforms_of_sources
from cdp_assets.events import EventFilesSpec
from cdp_assets.events.config import LANDED, LandedConfig
from cdp_assets.events.replay import ReplayResult, replay
from cdp_assets.lake import fsck, maintenance
from cdp_assets.landing import SEALED
from cdp_assets.raw import files, ingest, windows
from cdp_assets.raw.reconcile import Reconciled, reconcile
from cdp_assets.raw.records import FilesResult, records_from_files


class Platform(Syncing):
    """One deployment's rooms and all that is done with them."""

    # sources

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
        purposes = {name: config.purpose for name, config in self.deployment.event_sources.items()}
        judged_by = (
            plans_of_sources(self.deployment),
            transforms_of_sources(self.deployment),
            enrichments_of(self.deployment, self.settings),
        )
        return [
            *(EventFilesSpec(n, c, *judged_by) for n, c in self.deployment.event_files.items()),
            EventFilesSpec(LANDED, LandedConfig(self._segments, purposes), *judged_by),
        ]

    @property
    def event_versions(self) -> dict[str, str]:
        """What makes of lines what is stored: `transform SOURCE` → version of its file, `enrich
        KIND` → library or database with its version. Raises ConfigurationError."""
        transforms = transforms_of_sources(self.deployment)
        added = enrichments_of(self.deployment, self.settings).versions
        return {
            **{f"transform {name}": transform.version for name, transform in transforms.items()},
            **{f"enrich {kind}": version for kind, version in added.items()},
        }

    @property
    def _segments(self) -> str:
        return f"{glob.escape(str(self.settings.landing))}/*{SEALED}"

    def new_segments(self) -> bool:
        """Whether the collector has closed a segment that was not ingested."""
        return files.has_new(self.lake, LANDED, self._segments)

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

    def replay_events(self) -> ReplayResult:
        """Judge the open lines of quarantine again."""
        return replay(
            self.lake,
            self._event_sources,
            self.catalog.properties,
            self.catalog.told,
            self.now,
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

    def build_sessions(self) -> sessions.SessionsResult:
        """Sessions and page views up to events."""
        self.keep_named()
        return sessions.build(self.lake, self._sessions, timezone=self.settings.timezone)

    def account_sessions(self) -> sessions.Account:
        """Events against the sessions made of them."""
        return sessions.account(self.lake, self._sessions)

    @property
    def _sessions(self) -> sessions.SessionsConfig:
        return self.deployment.sessions or sessions.SessionsConfig()

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
