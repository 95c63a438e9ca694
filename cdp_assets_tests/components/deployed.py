"""A small deployment that runs in this process, on a real Dagster instance, beside stand-ins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cdp_assets.components.base import platform
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.settings import Settings
from cdp_assets.up import prepare_home
from cdp_assets_tests.sandbox.running import Running, running

SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAYS = 5
"""Days of history that are pulled."""


@dataclass
class Deployed:
    """Definitions, the instance they run on, and the stand-ins they talk to."""

    home: Path
    world: Running
    defs: dg.Definitions
    folder: Path
    instance: dg.DagsterInstance

    @property
    def here(self) -> Platform:
        """The rooms, at this moment."""
        return platform(load_deployment(self.folder))

    def launch(
        self,
        *keys: str,
        days: tuple[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """One run of these assets (all, where none is named), for a range of days where given."""
        job = self.defs.resolve_implicit_global_asset_job_def()
        tags = {}
        if days:
            tags = {
                "dagster/asset_partition_range_start": days[0],
                "dagster/asset_partition_range_end": days[1],
            }
        return job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(key.split("/")) for key in keys or self.keys],
            tags=tags,
            raise_on_error=False,
            run_config={**SILENT, **(config or {})},
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """Every asset that can be run."""
        graph = self.defs.resolve_asset_graph()
        return tuple(
            key.to_user_string()
            for key in graph.executable_asset_keys
            if key.path[0] not in ("lake",)
        )

    def sensor(self, name: str) -> dg.RunRequest | dg.SkipReason:
        """One tick of a sensor."""
        context = dg.build_sensor_context(instance=self.instance, definitions=self.defs)
        return self.defs.get_sensor_def(name)(context)  # type: ignore[return-value]

    def counts(self, key: str) -> dict[str, Any]:
        """Metadata of the latest materialisation."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey(key.split("/")))
        assert event is not None
        assert event.asset_materialization is not None
        return {k: v.value for k, v in event.asset_materialization.metadata.items()}

    def today(self) -> str:
        """Today's day, as a partition."""
        return datetime.now(UTC).date().isoformat()

    def first_day(self) -> str:
        """The first partition."""
        return os.environ["CDP_START"]

    def drop_events(self, name: str, lines: Sequence[Any]) -> None:
        """A new event file: events as maps, texts as they are."""
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        part = self.home / f"{name}.part"
        part.write_text("\n".join(texts) + "\n", "utf-8")
        old = datetime.now(UTC).timestamp() - 3600
        os.utime(part, (old, old))
        part.replace(Path(os.environ["EVENTS_DIR"]) / name)


def variables(world: Running) -> dict[str, str]:
    """The environment of a deployment that talks to these stand-ins."""
    salesforce, hubspot = world.system("salesforce"), world.system("hubspot")
    start = datetime.now(UTC).date() - timedelta(days=DAYS)
    return {
        "SALESFORCE_URL": salesforce["url"],
        "SALESFORCE_CLIENT_ID": salesforce["client_id"],
        "SALESFORCE_CLIENT_SECRET": salesforce["client_secret"],
        "HUBSPOT_URL": hubspot["url"],
        "HUBSPOT_TOKEN": hubspot["token"],
        "EVENTS_DIR": world.system("events")["path"],
        "CDP_START": start.isoformat(),
    }


@contextmanager
def deployed(home: Path, load: Any, folder: Path, people: int = 40) -> Iterator[Deployed]:
    """A fresh home with a world of its own that ended yesterday.

    load: () → definitions, called when the environment stands. folder: their defs/.
    """
    end = datetime.now(UTC).date() - timedelta(days=1)
    arguments = ("--people", str(people), "--seed", "5", "--end", end.isoformat())
    with running(home / "sandbox", *arguments) as world, pytest.MonkeyPatch.context() as patch:
        for name in ("CDP_NOW", "CDP_DEFS", "CDP_STORE_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("CDP_HOME", str(home))
        for name, value in {**variables(world), **prepare_home(Settings())}.items():
            patch.setenv(name, value)
        with dg.DagsterInstance.get() as instance:
            yield Deployed(home, world, load(), folder, instance)
