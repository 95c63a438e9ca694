"""A scheduled run of the whole deployment with nothing to do, beside empty assets, and beside the
same assets, checks, pools and partitions with empty bodies: what Dagster takes for such a graph.

The repository's own deployment over the stand-in CRMs, after the first runs and their syncs; one
launch of everything, in this process, as the demo does.
"""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg

from cdp_assets_tests.benchmarks.base import Clock, Verdict, alone

MARK = 2.0
PEOPLE = 300
ROUNDS = 3


def _empty(count: int) -> dg.Definitions:
    def make(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"empty_{number}")
        def empty() -> None:
            return None

        return empty

    return dg.Definitions(assets=[make(n) for n in range(count)])


def hollow(defs: dg.Definitions) -> dg.Definitions:
    """The same graph without its work: specs, checks and pools as they are, empty bodies."""
    found = {id(a): a for a in defs.get_repository_def().assets_defs_by_key.values()}
    return dg.Definitions(
        assets=[part for assets in found.values() for part in _parts(assets)],
        executor=dg.in_process_executor,
        resources={"io_manager": dg.mem_io_manager},
    )


def _parts(assets: dg.AssetsDefinition) -> Iterable[dg.AssetsDefinition | dg.AssetSpec]:
    return [_hollow(assets)] if assets.is_executable else assets.specs


def _hollow(assets: dg.AssetsDefinition) -> dg.AssetsDefinition:
    specs, checks = list(assets.specs), list(assets.check_specs)

    @dg.multi_asset(
        name=assets.op.name,
        specs=specs,
        check_specs=checks,
        pool=assets.op.pool,
        backfill_policy=assets.backfill_policy,
    )
    def nothing() -> Iterator[Any]:
        for spec in specs:
            yield dg.MaterializeResult(asset_key=spec.key, metadata={"rows": 0})
            for check in checks:
                if check.asset_key == spec.key:
                    yield dg.AssetCheckResult(
                        passed=True, asset_key=check.asset_key, check_name=check.name
                    )

    return nothing


Spent = tuple[float, float]


def _timed(call: Callable[[], Any]) -> tuple[Spent, Any]:
    """Seconds of a call, by the clock and of this process's processor time; what it returned."""
    begun, used = time.perf_counter(), time.process_time()
    value = call()
    return (time.perf_counter() - begun, time.process_time() - used), value


def _launch(count: int) -> None:
    """One run of so many empty assets."""
    job = _empty(count).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance:
        done = job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    assert done.success


def launches(clock: Clock, folder: str, people: int) -> dict[str, Any]:
    """Median seconds of a run without news, of its graph with empty bodies, of one empty asset, of
    as many as the run has."""
    os.environ["CDP_HOME"] = folder
    warnings.simplefilter("ignore")  # Dagster's own, of features in preview
    from cdp_assets import demo
    from cdp_assets.settings import Settings
    from cdp_assets.up import prepare_home, process_group, read_announcements, sandbox_command

    settings = Settings()
    environment = prepare_home(settings)
    end = datetime.now(UTC).date() - timedelta(days=1)
    command = [*sandbox_command(Path(folder) / "sandbox", people, 1, 0), "--end", end.isoformat()]
    with process_group(command, stdout=subprocess.PIPE, env=environment) as stand_ins:
        said = read_announcements(stand_ins, 3)
        demo._keep_environment(settings, said, people, 1, end)
        from cdp_assets.demo_runs import Runs

        runs = Runs(Settings())
        runs.everything()
        runs.approve_and_apply()
        runs.everything()
        runs.everything()
        logging.getLogger("dagster").setLevel(logging.ERROR)
        twin = Runs(Settings(), hollow(runs.definitions))
        twin.everything()
        found: dict[str, list[Spent]] = {"ours": [], "hollow": [], "one": [], "many": []}
        for _ in range(ROUNDS):
            spent, done = _timed(runs.everything)
            assert done.rows_written() + done.total("new", "raw/") == 0, done.counts
            found["ours"].append(spent)
            found["hollow"].append(_timed(twin.everything)[0])
            found["one"].append(_timed(lambda: _launch(1))[0])
            found["many"].append(_timed(lambda: _launch(len(runs.keys)))[0])
    return {
        "assets": len(runs.keys),
        "stages": done.seconds,
        **{name: sorted(spent)[ROUNDS // 2] for name, spent in found.items()},
    }


def run(size: float = 1.0) -> list[Verdict]:
    """A world of 300 people, whatever the size."""
    with tempfile.TemporaryDirectory() as folder:
        done = alone(launches, folder, PEOPLE)
    found = done.value
    (ours, ours_used), (same, same_used), (one, one_used), (many, many_used) = (
        found[name] for name in ("ours", "hollow", "one", "many")
    )
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in found["stages"].items())
    return [
        Verdict(
            f"a run of all {found['assets']} assets with nothing to do",
            f"{MARK:g} s beyond an empty asset",
            f"{ours:.2f} s ({ours_used:.2f} s of processor); one empty asset {one:.2f} s "
            f"({one_used:.2f}), {found['assets']} of them {many:.2f} s ({many_used:.2f}): "
            f"{ours - one:.2f} s beyond one, {ours - many:.2f} s beyond as many; the same graph "
            f"with empty bodies {same:.2f} s ({same_used:.2f}): our work {ours - same:.2f} s; "
            f"steps: {stages}; "
            f"peak {done.peak_mb:,.0f} MB",
            ours - one <= MARK,
        )
    ]
