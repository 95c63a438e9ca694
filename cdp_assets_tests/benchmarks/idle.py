"""A scheduled run of the whole deployment with nothing to do, beside empty assets.

The repository's own deployment over the stand-in CRMs, after the first runs and their syncs; one
launch of everything, in this process, as the demo does.
"""

from __future__ import annotations

import logging
import os
import statistics
import subprocess
import tempfile
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

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


def _launched(count: int) -> float:
    """Seconds of one run of so many empty assets."""
    job = _empty(count).resolve_implicit_global_asset_job_def()
    begun = time.perf_counter()
    with dg.DagsterInstance.get() as instance:
        done = job.execute_in_process(
            instance=instance,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    assert done.success
    return time.perf_counter() - begun


def launches(clock: Clock, folder: str, people: int) -> dict[str, float]:
    """Median seconds of a run without news, of one empty asset, of as many as the run has."""
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
        ours, one, many = [], [], []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            done = runs.everything()
            ours.append(time.perf_counter() - begun)
            assert done.rows_written() + done.total("new", "raw/") == 0, done.counts
            one.append(_launched(1))
            many.append(_launched(len(runs.keys)))
    return {
        "ours": statistics.median(ours),
        "one": statistics.median(one),
        "many": statistics.median(many),
        "assets": len(runs.keys),
        **{f"stage {name}": seconds for name, seconds in done.seconds.items()},
    }


def run(size: float = 1.0) -> list[Verdict]:
    """A world of 300 people, whatever the size."""
    with tempfile.TemporaryDirectory() as folder:
        done = alone(launches, folder, PEOPLE)
    found = done.value
    beyond = found["ours"] - found["one"]
    stages = ", ".join(
        f"{name.removeprefix('stage ')} {seconds:.2f}"
        for name, seconds in found.items()
        if name.startswith("stage ")
    )
    return [
        Verdict(
            f"a run of all {found['assets']} assets with nothing to do",
            f"{MARK:g} s beyond an empty asset",
            f"{found['ours']:.2f} s; one empty asset {found['one']:.2f} s, "
            f"{found['assets']} of them {found['many']:.2f} s: {beyond:.2f} s beyond one, "
            f"{found['ours'] - found['many']:.2f} s beyond as many ({stages}); peak "
            f"{done.peak_mb:,.0f} MB",
            beyond <= MARK,
        )
    ]
