"""`cdp demo`: the whole way, three times, on a made-up company whose truth is known."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from cdp_assets.settings import Settings
from cdp_assets.up import (
    StartError,
    free_port,
    prepare_home,
    process_group,
    read_announcements,
    sandbox_command,
    say,
)

MARK = ".demo"
FIGURES = "demo.json"
CONTENTS = (
    "lake", "store.db", "store.db-wal", "store.db-shm", "dagster", "descriptions", "sandbox",
    "sandbox.json", "env", FIGURES,
)  # fmt: skip
HISTORY_DAYS = 91
"""A day more than the made-up world has, whose first days lie before the traits' `within: 90d`.
Each day more is an event of each partitioned asset in Dagster."""


@dataclass
class Demo:
    """One demo: where it lives, what it measured."""

    settings: Settings
    people: int
    seed: int
    began: float = field(default_factory=time.monotonic)
    stage_seconds: dict[str, float] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, text: str, *, parts: bool = False) -> Iterator[None]:
        """Say what is done, and how long it took. parts: it tells its parts itself, a line each."""
        sys.stdout.write(f"{text} …{chr(10) if parts else ' '}")
        sys.stdout.flush()
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.stage_seconds[name] = round(seconds, 1)
        sys.stdout.write(f"{'  in all ' if parts else ''}{seconds:.1f} s\n")
        sys.stdout.flush()


def run(settings: Settings, people: int, seed: int) -> int:
    """Run the demo in a fresh home; returns 0 where every step succeeded."""
    if people < 10:
        raise StartError("the made-up world needs at least 10 people (--people)")
    if settings.now is not None:
        raise StartError(
            "the made-up world ends yesterday and moves on to today, so the demo cannot run at "
            "another time: unset CDP_NOW"
        )
    if settings.store_url is not None:
        raise StartError(
            "the demo begins with an empty store of its own, in CDP_HOME, and empties no other: "
            "unset CDP_STORE_URL"
        )
    _fresh_home(settings)
    demo = Demo(settings, people, seed)
    environment = prepare_home(settings)
    end = datetime.now(UTC).date() - timedelta(days=1)
    say(f"A made-up company with {people:,} people (seed {seed}), in {settings.home}")
    command = [
        *sandbox_command(settings.home / "sandbox", people, seed, 0),
        "--end",
        end.isoformat(),
    ]
    with process_group(command, stdout=subprocess.PIPE, env=environment) as stand_ins:
        with demo.stage("sandbox", "Starting stand-ins of Salesforce and HubSpot"):
            said = read_announcements(stand_ins, 3)
        _keep_environment(settings, said, people, seed, end)
        _walk(demo, said)
    _finish(demo)
    return 0


def _fresh_home(settings: Settings) -> None:
    """Empty the home of an earlier demo, whole or killed half way; refuse any other."""
    home = settings.home
    mark = home / MARK
    if home.exists() and any(home.iterdir()):
        if not mark.is_file():
            raise StartError(
                f"{home} is in use and not by a demo, so the demo will not empty it. "
                "Set CDP_HOME to another folder."
            )
        world = home / "sandbox.json"
        if world.is_file() and not free_port(json.loads(world.read_text("utf-8"))["port"]):
            raise StartError(f"`cdp up` or a demo is running on {home}: end it first.")
        say(f"Emptying {home} of the earlier demo")
        for name in CONTENTS:
            path = home / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.touch()


def _keep_environment(
    settings: Settings, said: dict[str, dict[str, str]], people: int, seed: int, end: date
) -> None:
    """Write `<home>/env` and `sandbox.json`, so that `cdp up` goes on in the same world."""
    salesforce, hubspot, events = said["salesforce"], said["hubspot"], said["events"]
    values = {
        "SALESFORCE_URL": salesforce["url"],
        "SALESFORCE_CLIENT_ID": salesforce["client_id"],
        "SALESFORCE_CLIENT_SECRET": salesforce["client_secret"],
        "HUBSPOT_URL": hubspot["url"],
        "HUBSPOT_TOKEN": hubspot["token"],
        "EVENTS_DIR": events["path"],
        "CDP_START": (end - timedelta(days=HISTORY_DAYS)).isoformat(),
    }
    lines = "".join(f"{name}={value}\n" for name, value in values.items())
    (settings.home / "env").write_text(lines, "utf-8")
    (settings.home / "env").chmod(0o600)
    port = int(salesforce["url"].rsplit(":", 1)[1].split("/")[0])
    state = {"people": people, "seed": seed, "port": port}
    (settings.home / "sandbox.json").write_text(json.dumps(state), "utf-8")
    os.environ.update(values)
    os.environ["CDP_HOME"] = str(settings.home)
    os.environ["CDP_DEFS"] = str(Path(__file__).parent / "defs")
    os.environ["DAGSTER_HOME"] = str(settings.home / "dagster")


def _walk(demo: Demo, said: dict[str, dict[str, str]]) -> None:
    with demo.stage("load", "Loading the definitions into Dagster"):
        from cdp_assets.demo_runs import Runs

        runs = Runs(Settings(), tell=say)
    with demo.stage("first_run", "First run: all there is to read", parts=True):
        first = runs.everything()
    with demo.stage("first_sync", "Approving the plans (cdp approve), applying them", parts=True):
        applied = runs.approve_and_apply()
    with demo.stage("measure", "Measuring identity against the truth"):
        demo.figures = runs.figures()
    demo.figures |= first.figures() | applied.sync_figures()
    with demo.stage("next_day", "The made-up world moves on a day"):
        answer = requests.post(
            said["salesforce"]["url"].rstrip("/") + "/_sandbox/next-day", timeout=120
        )
        answer.raise_for_status()
    with demo.stage("second_run", "Second run: only what changed", parts=True):
        second = runs.everything()
    with demo.stage("third_run", "Third run: no news", parts=True):
        third = runs.everything()
    demo.figures["second_run_rows_written"] = second.rows_written()
    demo.figures["third_run_rows_written"] = third.rows_written()
    demo.stage_seconds |= {f"first_run/{k}": v for k, v in first.seconds.items()}
    demo.figures["second_run"] = second.summary()
    demo.figures["third_run"] = third.summary()
    demo.figures["worth_a_look"] = runs.people_worth_a_look()


def _finish(demo: Demo) -> None:
    figures = demo.figures
    look = figures.pop("worth_a_look")
    second, third = figures.pop("second_run"), figures.pop("third_run")
    figures["stage_seconds"] = demo.stage_seconds
    (demo.settings.home / FIGURES).write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    say("")
    say(
        f"{figures['crm_records']:,} CRM records and {figures['events_stored']:,} events became "
        f"{figures['profiles']:,} profiles of {figures['true_persons']:,} people."
    )
    say(
        f"Of all pairs of keys that are one person's, {figures['recall_reachable']:.1%} can be "
        f"found by the identifiers they share, and {figures['identity_pair_recall']:.1%} were "
        f"joined; {figures['identity_pair_precision']:.2%} of the joined pairs are right, "
        f"{figures['wrong_merges']} profiles hold two people."
    )
    say(
        f"Events: {figures['events_in']:,} read, {figures['duplicates']:,} repeats left out, "
        f"{figures['quarantined']:,} in quarantine with their reason."
    )
    say(
        f"Syncs: {figures['sync_rows_written']:,} records written in "
        f"{figures['sync_api_calls']:,} calls."
    )
    say(f"A day later: {second}.")
    say(f"Without news: {third}.")
    say("")
    say("Three people worth a look:")
    for line in look:
        say(f"  {line}")
    say("")
    say(f"All in {time.monotonic() - demo.began:.0f} s; figures in {demo.settings.home / FIGURES}")
    say("Open the UI on it: make dev, then http://127.0.0.1:3000 (schedules and sensors are off)")
