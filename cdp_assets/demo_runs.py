"""The demo's runs: the deployment launched through Dagster, and what each run counted."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import polars as pl
from sqlalchemy import Engine, event

from cdp_assets.components.base import platform
from cdp_assets.components.dagster_assets import range_tags
from cdp_assets.definitions import load
from cdp_assets.deployment.declarations import Deployment, find_defs, load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.identity import GRAPH
from cdp_assets.report import brief, people_to_show
from cdp_assets.sandbox.world.truth import Truth
from cdp_assets.settings import Settings
from cdp_assets.store import plans
from cdp_assets.up import StartError

STAGES = {
    "pull": "pull", "ingest": "ingest", "build_records": "records", "resolve": "identity",
    "build_sessions": "sessions", "build_profiles": "profiles", "build_audience": "audiences",
    "plan": "plans", "apply": "syncs",
}  # fmt: skip


@dataclass
class Outcome:
    """What one launch did: asset key → the counts of its materialisation; seconds by stage."""

    counts: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def total(self, name: str, assets: str = "") -> int:
        """The sum of one count over the assets whose key begins with `assets`."""
        found = (c.get(name) or 0 for key, c in self.counts.items() if key.startswith(assets))
        return int(sum(found))

    def figures(self) -> dict[str, Any]:
        """What the first run read."""
        events = self.counts["events"]
        return {
            "events_in": events["read"],
            "events_stored": events["stored"],
            "duplicates": events["duplicates"],
            "quarantined": events["quarantined"],
            "crm_records": self.total("new", "raw/"),
        }

    def sync_figures(self) -> dict[str, Any]:
        """What the syncs wrote."""
        return {
            "sync_rows_written": self.rows_written(),
            "sync_api_calls": self.total("api_calls", "syncs/"),
        }

    def rows_written(self) -> int:
        """Records written to outside systems."""
        return self.total("written", "syncs/")

    def summary(self) -> str:
        """The run in a few words."""
        return (
            f"{self.total('new', 'raw/'):,} new record versions (our own writes coming back among "
            f"them) and {self.total('stored', 'events'):,} new events read, "
            f"{self.rows_written():,} records written"
        )


class Progress:
    """Tells each stage of a run as soon as its last step has ended."""

    def __init__(self, steps: Iterable[str], tell: Callable[[str], None]) -> None:
        """steps: the names of all steps of the run."""
        self._waiting = Counter(stage_of(step) for step in steps)
        self._seconds: dict[str, float] = {}
        self._began: dict[str, float] = {}
        self._tell = tell

    def __call__(self, entry: dg.EventLogEntry) -> None:
        """Take in one event of the run."""
        kind, step = entry.dagster_event_type, entry.step_key
        if step is None:
            return
        if kind == dg.DagsterEventType.STEP_START:
            self._began[step] = entry.timestamp
        elif kind == dg.DagsterEventType.STEP_SUCCESS and step in self._began:
            stage = stage_of(step)
            seconds = entry.timestamp - self._began[step]
            self._seconds[stage] = self._seconds.get(stage, 0) + seconds
            self._waiting[stage] -= 1
            if not self._waiting[stage]:
                self._tell(f"  {stage} {self._seconds[stage]:.1f} s")


def stage_of(step: str) -> str:
    """The stage of the demo that a step belongs to."""
    return next((stage for start, stage in STAGES.items() if step.startswith(start)), "other")


def lighten_history(dagster_home: Path) -> None:
    """Let Dagster's own databases in this process commit without waiting for the disk.

    A first run writes two thousand events, each a commit; in WAL mode `synchronous=NORMAL` keeps
    the databases whole and can lose the last events in a power cut. The lake and the store are
    not touched by this.
    """

    @event.listens_for(Engine, "connect")
    def _connected(connection: Any, record: Any) -> None:
        if not hasattr(connection, "execute"):
            return
        for _, _, file in connection.execute("PRAGMA database_list").fetchall():
            if file and Path(file).is_relative_to(dagster_home.resolve()):
                connection.execute("PRAGMA synchronous=NORMAL")


class Runs:
    """Launches of one deployment."""

    def __init__(
        self,
        settings: Settings,
        definitions: dg.Definitions | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """definitions: by default those of this package's own defs/. tell: is given a line as
        soon as a stage of a run has ended."""
        self.tell = tell
        self.settings = settings
        lighten_history(settings.home / "dagster")
        self.deployment: Deployment = load_deployment(find_defs(settings)).require_valid()
        # a first run has described nothing yet: no word of that between the demo's own lines
        logging.getLogger("cdp_assets.definitions").setLevel(logging.ERROR)
        self.definitions = definitions or load()
        self.job = self.definitions.resolve_implicit_global_asset_job_def()
        graph = self.definitions.resolve_asset_graph()
        self.keys = [
            key
            for key in graph.materializable_asset_keys
            if key.path[:1] != ["lake"] and graph.get(key).is_executable
        ]

    @property
    def here(self) -> Platform:
        """The rooms, at the present moment."""
        return platform(self.deployment)

    def everything(self) -> Outcome:
        """One run over all assets; CRMs from where each stands to today."""
        here = self.here
        days = [day for name in self.deployment.crms for _, day in here.cursors(name)]
        today = here.now.date()
        return self.launch(self.keys, min([*days, today]), today)

    def approve_and_apply(self) -> Outcome:
        """Approve each plan that waits, and apply it."""
        here = self.here
        for name in self.deployment.syncs:
            head = plans.current(here.store, name)
            if head is not None and head.creates + head.updates:
                command = [sys.executable, "-m", "cdp_assets.cli", "approve", head.hash]
                subprocess.run([*command, "--who", "demo", "--quiet"], check=True)  # noqa: S603
        keys = [key for key in self.keys if key.path[0] == "syncs"]
        return self.launch(keys)

    def launch(
        self, keys: Iterable[dg.AssetKey], first: date | None = None, last: date | None = None
    ) -> Outcome:
        """Run these assets in one launch, for the days from `first` to `last` where given.
        Raises StartError where a step failed."""
        tags = {}
        if first is not None and last is not None:
            tags = range_tags(first, last)
        logging.getLogger("dagster").setLevel(logging.ERROR)
        selected, run_id = list(keys), str(uuid4())
        graph = self.definitions.resolve_asset_graph()
        steps = {graph.get(key).assets_def.op.name for key in selected}
        with dg.DagsterInstance.get() as instance:
            instance.add_event_listener(run_id, Progress(steps, self.tell))
            result = self.job.execute_in_process(
                instance=instance,
                run_id=run_id,
                asset_selection=selected,
                tags=tags,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            if not result.success:
                raise StartError("\n".join(_failures(result)))
            outcome = Outcome(seconds=_seconds(instance, result.run_id))
        for item in result.get_asset_materialization_events():
            metadata = item.materialization.metadata
            if item.asset_key is not None and metadata:
                key = "/".join(item.asset_key.path)
                found = {name: value.value for name, value in metadata.items()}
                if len(found) > len(outcome.counts.get(key, {})):
                    outcome.counts[key] = found
        return outcome

    def figures(self) -> dict[str, Any]:
        """Profiles measured against the sandbox's truth."""
        here = self.here
        people = (
            here.lake.open(GRAPH)
            .scan()
            .filter(pl.col("entity") == "person")
            .select("identifier", "profile_id")
            .collect()
        )
        predicted = {}
        for identifier, profile in people.iter_rows():
            kind, _, key = identifier.partition(":")
            predicted[kind, key] = profile
        score = Truth.load(self.settings.home / "sandbox").score(predicted)
        return {
            "profiles": people["profile_id"].n_unique(),
            "true_persons": score.true_persons,
            "identity_pair_precision": round(score.precision, 6),
            "identity_pair_recall": round(score.recall, 6),
            "recall_reachable": round(score.recall_reachable, 6),
            "wrong_merges": score.wrong_merges,
        }

    def people_worth_a_look(self) -> list[str]:
        """Three profiles with something to see: many sources, a refused link, a late device."""
        here = self.here
        return [brief(here, "person", profile) for profile in people_to_show(here, 3)]


def _failures(result: Any) -> Iterable[str]:
    for item in result.all_events:
        if item.is_step_failure:
            error = item.step_failure_data.error
            failure = item.step_failure_data.user_failure_data
            text = failure.description if failure else (error.message if error else "failed")
            yield f"{item.step_key}: {text}"


def _seconds(instance: dg.DagsterInstance, run_id: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for stat in instance.get_run_step_stats(run_id):
        stage = stage_of(stat.step_key)
        if stat.start_time and stat.end_time:
            found[stage] = round(found.get(stage, 0) + stat.end_time - stat.start_time, 2)
    return found
