"""`cdp up`: the UI answers, sensors and automation run in the real daemon, one signal ends all."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import requests
from playwright.sync_api import Browser

from cdp_assets.settings import Settings
from cdp_assets.up import StartError, free_port, process_group, serve
from cdp_assets_tests.components.commands import bare_environment
from cdp_assets_tests.components.deployed import variables
from cdp_assets_tests.sandbox.running import running

START = "mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) { __typename } }"
NODES = "{ assetNodes { assetKey { path } groupName } }"
RUNS = "{ runsOrError { ... on Runs { results { status assetSelection { path } tags { key value } } } } }"  # noqa: E501


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(found: Callable[[], Any], seconds: float) -> Any:
    """What `found` returns as soon as it returns something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if value := found():
                return value
        except requests.RequestException:
            pass
        time.sleep(0.5)
    raise AssertionError(f"nothing within {seconds} s")


def _ask(port: int, query: str, **names: Any) -> Any:
    reply = requests.post(
        f"http://127.0.0.1:{port}/graphql", json={"query": query, "variables": names}, timeout=60
    )
    answer = reply.json()
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


def _processes(home: Path) -> list[str]:
    """Command lines of processes that still work for this home."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            setting = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"CDP_HOME={home}\0".encode() in setting + b"\0" and int(entry.name) != os.getpid():
            found.append(command)
    return found


@contextmanager
def _up(home: Path, **more: str) -> Iterator[tuple[int, subprocess.Popen[str], Path]]:
    """`cdp up` in a home where a small demo's world lies; (port, process, what it printed)."""
    with running(home / "sandbox", "--people", "30", "--seed", "2", "--end",
                 (datetime.now(UTC).date() - timedelta(days=1)).isoformat()) as world:  # fmt: skip
        said = variables(world)
    state = {"people": 30, "seed": 2, "port": int(said["HUBSPOT_URL"].rsplit(":", 1)[1])}
    (home / "sandbox.json").write_text(json.dumps(state), "utf-8")
    (home / "env").write_text("".join(f"{k}={v}\n" for k, v in said.items()), "utf-8")
    port, log = _port(), home / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "cdp_assets.cli", "up", "--port", str(port)],
            env=bare_environment(home / "shell", CDP_HOME=str(home), **more),
            cwd=home, stdout=out, stderr=out, text=True, start_new_session=True,
        )  # fmt: skip
    try:
        yield port, process, log
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def test_a_taken_port_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_HOME", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not free_port(port)
        with pytest.raises(StartError, match=f"127.0.0.1:{port} is taken"):
            serve(Settings(), port, "cdp_assets.definitions", tmp_path)


def test_a_group_ends_with_its_children() -> None:
    script = "sleep 300 & trap '' TERM; echo $!; sleep 300"
    with process_group(["bash", "-c", script], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        child = int(shell.stdout.readline())
        assert Path(f"/proc/{child}").exists()
    stat = Path(f"/proc/{child}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


@pytest.mark.slow
def test_the_pages_show_in_a_browser(tmp_path: Path, chromium: Browser) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with _up(home) as (port, _, _):
        _until(lambda: _ask(port, NODES)["assetNodes"], 180)
        page = chromium.new_page(viewport={"width": 1600, "height": 900})
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("response", lambda r: troubles.append(r.url) if r.status >= 400 else None)

        def shows(path: str, *texts: str) -> None:
            page.goto(f"http://127.0.0.1:{port}{path}")
            for text in texts:
                page.get_by_text(text).first.wait_for(timeout=60_000)

        shows("/asset-groups", "raw", "identity", "profiles", "audiences", "syncs")
        shows("/assets/profiles/person", "One row for each person")
        shows("/assets/profiles/person?view=checks", "one_row_each")
        shows("/automation", "salesforce_changes", "salesforce_daily", "app_files")
        shows("/assets/raw/salesforce/contact?view=partitions", f"{datetime.now(UTC):%Y-%m-%d}")
        assert troubles == []


LAUNCH = """mutation($asset: [String!]!) { launchPipelineExecution(executionParams: {
  selector: {pipelineName: "__ASSET_JOB", repositoryName: "__repository__",
             repositoryLocationName: "cdp", assetSelection: [{path: $asset}]},
  mode: "default", executionMetadata: {tags: [
    {key: "dagster/asset_partition_range_start", value: "DAY"},
    {key: "dagster/asset_partition_range_end", value: "DAY"}]}
}) { __typename ... on LaunchRunSuccess { run { runId } } } }"""
STATUS = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


EVENTS = """query($run: ID!) { logsForRun(runId: $run) {
  ... on EventConnection { events { ... on MessageEvent { message } } } } }"""


def _process_in_a_step(port: int, run: str) -> int | None:
    """The process of a run that has begun its step."""
    events = _ask(port, EVENTS, run=run)["logsForRun"].get("events", ())
    said = " ".join(event.get("message", "") for event in events)
    found = re.search(r"Started process for run \(pid: (\d+)\)", said)
    return int(found[1]) if found and "Started execution of step" in said else None


@pytest.mark.slow
def test_a_killed_run_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with _up(home) as (port, _, _):
        _until(lambda: _ask(port, NODES)["assetNodes"], 180)
        query = LAUNCH.replace("DAY", f"{datetime.now(UTC):%Y-%m-%d}")

        def launch() -> str:
            found = _ask(port, query, asset=["raw", "salesforce", "contact"])
            return str(found["launchPipelineExecution"]["run"]["runId"])

        def status(run: str) -> str:
            return str(_ask(port, STATUS, run=run)["runOrError"]["status"])

        stand_ins = json.loads((home / "sandbox.json").read_text())["port"]
        stall = [{"match": "query", "action": "stall", "seconds": 300}]
        requests.post(f"http://127.0.0.1:{stand_ins}/_sandbox/faults", json=stall, timeout=30)
        killed = launch()
        os.kill(_until(lambda: _process_in_a_step(port, killed), 120), signal.SIGKILL)
        again = launch()
        _until(lambda: status(killed) == "FAILURE", 120)
        _until(lambda: status(again) in ("SUCCESS", "FAILURE"), 240)
        assert status(again) == "SUCCESS"


@pytest.mark.slow
def test_up_serves_runs_and_ends(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with _up(home) as (port, process, log):
        nodes = _until(lambda: _ask(port, NODES)["assetNodes"], 180)
        groups = {node["groupName"] for node in nodes}
        assert groups == {"sources", "raw", "events", "records", "identity", "profiles",
                          "audiences", "syncs", "maintenance"}  # fmt: skip
        assert requests.get(f"http://127.0.0.1:{port}/asset-groups", timeout=60).ok

        # The CRMs have news, the files are new: sensors start runs, automation the rest.
        for name in ("app_files", "salesforce_changes", "hubspot_changes", "automation"):
            where = {"repositoryName": "__repository__", "repositoryLocationName": "cdp",
                     "sensorName": name}  # fmt: skip
            kind = _ask(port, START, s=where)["startSensor"]["__typename"]
            assert kind == "Sensor", kind
        members = home / "lake" / "audiences" / "good_customers.delta"
        _until(members.is_dir, 400)
        runs = _ask(port, RUNS)["runsOrError"]["results"]
        by_range = [
            run
            for run in runs
            if {"dagster/asset_partition_range_start", "dagster/asset_partition_range_end"}
            <= {tag["key"] for tag in run["tags"]}
        ]
        pulled = {asset["path"][1] for run in by_range for asset in run["assetSelection"]}
        assert pulled == {"salesforce", "hubspot"}
        assert len(by_range) <= 4, "one run a system, whatever the days"
        _until(lambda: all(r["status"] not in ("STARTED", "STARTING", "QUEUED")
                           for r in _ask(port, RUNS)["runsOrError"]["results"]), 300)  # fmt: skip
        failed = [r for r in _ask(port, RUNS)["runsOrError"]["results"] if r["status"] != "SUCCESS"]
        assert failed == []
        people = pl.read_delta(str(home / "lake" / "profiles" / "person.delta"))
        assert people.height > 0

        assert len(_processes(home)) > 3
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert _processes(home) == []
        state = json.loads((home / "sandbox.json").read_text())
        assert free_port(port)
        assert free_port(state["port"])
        printed = log.read_text()
        assert f"Dagster: http://127.0.0.1:{port}" in printed
        assert "Warning" not in printed
        assert "Traceback" not in printed
