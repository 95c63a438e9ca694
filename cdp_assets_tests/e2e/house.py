"""A whole deployment beside a sandbox of its own: what the tests of this folder run.

The sandbox serves in a process of its own and its clock stands where the test put it; the
platform's clock is `CDP_NOW`. Nothing here goes through Dagster: `Platform` is what Dagster's
assets and the command line both call.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import text

from cdp_assets import report as _report  # noqa: F401 (for the fork server)
from cdp_assets.cli import main
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.platform import Platform
from cdp_assets.identity import GRAPH
from cdp_assets.lake import Lake
from cdp_assets.lake.lake import LocalTable
from cdp_assets.sandbox.tables import Tables
from cdp_assets.sandbox.world.truth import Score, Truth
from cdp_assets.settings import Settings
from cdp_assets.store import Store
from cdp_assets_tests.sandbox.running import Running, running

DEFS = Path(__file__).parents[2] / "cdp_assets" / "defs"
END = date(2026, 6, 14)
FIRST = datetime(2026, 6, 15, 8, tzinfo=UTC)
"""When the first run begins; the made-up history ends the day before."""
STEPS = ("pull", "ingest", "records", "resolve", "build", "audiences", "plan", "approve", "apply")
OFTEN = ("_seq", "run_id", "run")
"""Columns in which two runs of the same work may differ."""

CREATING = """
type: cdp_assets.Sync
attributes:
  from: person
  where: email is not null
  to: hubspot.contacts
  mode: upsert
  match: [linked, {email: email}]
  create: hubspot.contacts
  fields:
    email: {trait: email, write: on_create}
    revenue_90d: revenue_90d
    orders: orders
    jobtitle: {trait: title, write: if_empty}
  approve: first
  stop_if: {changed: 90%, created: 2000, failed: 1%}
"""
"""The demo's sync to HubSpot, made to create contacts too."""


@dataclass
class House:
    """A deployment in `home` whose stand-ins answer as `variables` say."""

    home: Path
    variables: Mapping[str, str]
    defs: Path = DEFS
    now: datetime = FIRST
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to work in this house."""
        return {
            **self.variables,
            "CDP_HOME": str(self.home),
            "CDP_DEFS": str(self.defs),
            "CDP_NOW": self.now.isoformat(),
            "CDP_START": (END - timedelta(days=100)).isoformat(),
            **self.more,
        }

    def at(self, now: datetime, **more: str) -> House:
        """The same house at another moment, with more variables."""
        return House(self.home, self.variables, self.defs, now, {**self.more, **more})

    def elsewhere(self, home: Path) -> House:
        """The same deployment in another home."""
        return House(home, self.variables, self.defs, self.now, self.more)

    @contextmanager
    def open(self) -> Iterator[Platform]:
        """The rooms, with this house's variables in the environment."""
        with environment(self.environment):
            here = Platform(Settings(), load_deployment(self.defs).require_valid())
            yield here
            here.store.engine.dispose()

    def run(self, *steps: str) -> dict[str, Any]:
        """Do the named steps, by default all of them; what each brought."""
        with self.open() as here:
            return work(here, steps or STEPS)

    def spawn(self, *steps: str, crash_at: str = "") -> Spawned:
        """The same in a process of its own, killed where `crash_at` says."""
        variables = {**self.environment, "CDP_CRASH_AT": crash_at}
        process = _CONTEXT.Process(target=_spawned, args=(variables, steps or STEPS), daemon=True)
        process.start()
        return Spawned(process)

    def cdp(self, *arguments: str, **more: str) -> Said:
        """One `cdp` command, in a process of its own."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            variables = {**self.environment, **more}
            process = _CONTEXT.Process(target=_command, args=(variables, arguments, out, err))
            process.start()
            process.join(300)
            if process.exitcode is None:
                process.kill()
            code = -9 if process.exitcode is None else process.exitcode
            return Said(code, out.read_text("utf-8"), err.read_text("utf-8"))

    def command(self, *arguments: str) -> Said:
        """The same through the installed command, imports and all."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("cdp")), *arguments],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    @property
    def lake(self) -> Lake:
        """Its tables."""
        return Lake(self.home / "lake")

    def table(self, key: str) -> pl.DataFrame:
        """The live rows of one table, read without our own code."""
        rows = pl.read_delta(LocalTable(self.home / "lake" / f"{key}.delta"))
        if "deleted_at" in rows.columns:
            rows = rows.filter(pl.col("deleted_at").is_null()).drop("deleted_at")
        return rows

    def score(self, world: Path) -> Score:
        """Identity against the truth of the sandbox in `world`."""
        graph = self.table(GRAPH.key).filter(pl.col("entity") == "person")
        predicted = {
            tuple(identifier.split(":", 1)): profile
            for identifier, profile in graph.select("identifier", "profile_id").iter_rows()
        }
        return Truth.load(world).score(predicted)  # type: ignore[arg-type]


class Said(NamedTuple):
    """What a command said."""

    returncode: int
    stdout: str
    stderr: str


class Spawned:
    """A process that works in a house."""

    def __init__(self, process: Any) -> None:
        self.process = process

    def wait(self, seconds: float = 120) -> int | None:
        """Its exit code, negative for a signal; None where it still runs."""
        self.process.join(seconds)
        return self.process.exitcode  # type: ignore[no-any-return]

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.join()


# A server that has imported the rooms and started no thread forks each process in milliseconds.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["cdp_assets_tests.e2e.house"])


def _command(variables: Mapping[str, str], arguments: Sequence[str], out: Path, err: Path) -> None:
    os.environ.update(variables)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.exit(main(arguments))


def _spawned(variables: Mapping[str, str], steps: Sequence[str]) -> None:
    os.environ.update(variables)
    settings = Settings()
    assert settings.defs is not None
    work(Platform(settings, load_deployment(settings.defs).require_valid()), steps)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment with these variables, until the block ends."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def work(here: Platform, steps: Sequence[str]) -> dict[str, Any]:
    """The steps of a run, as Dagster's assets do them."""
    found: dict[str, Any] = {}
    for step in steps:
        match step:
            case "pull":
                found["pull"] = {
                    (name, item): here.pull(name, item, None, None, "run")
                    for name, config in here.deployment.crms.items()
                    for item in config.object_configs
                }
            case "ingest":
                found["ingest"] = here.ingest(None, "run")
            case "records":
                found["records"] = here.build_records()
            case "resolve":
                found["resolve"] = here.resolve()
            case "build":
                found["build"] = {e: here.build_profiles(e) for e in ("person", "account")}
            case "audiences":
                found["audiences"] = {n: here.build_audience(n) for n in here.deployment.audiences}
            case "plan":
                found["plan"] = {n: here.plan(n) for n in here.deployment.syncs}
            case "approve":
                for name in here.deployment.syncs:
                    plan = here.plan(name)
                    if plan.waits and plan.changes:
                        here.approve(plan.hash, "tests")
            case "apply":
                found["apply"] = {n: here.apply(n, "run") for n in here.deployment.syncs}
            case _:
                raise ValueError(f"no step {step}")
    return found


@contextmanager
def sandbox(
    world: Path, people: int = 60, seed: int = 1, now: datetime = FIRST
) -> Iterator[Running]:
    """A sandbox whose clock stands at `now`."""
    with running(
        world, "--people", str(people), "--seed", str(seed), "--port", "0",
        "--end", END.isoformat(), "--now", now.isoformat(),
    ) as served:  # fmt: skip
        yield served


def variables(served: Running, events: Path | None = None) -> dict[str, str]:
    """What defs/ wants to know of a sandbox."""
    salesforce, hubspot = served.system("salesforce"), served.system("hubspot")
    return {
        "SALESFORCE_URL": salesforce["url"],
        "SALESFORCE_CLIENT_ID": salesforce["client_id"],
        "SALESFORCE_CLIENT_SECRET": salesforce["client_secret"],
        "HUBSPOT_URL": hubspot["url"],
        "HUBSPOT_TOKEN": hubspot["token"],
        "EVENTS_DIR": str(events or served.system("events")["path"]),
    }


def set_clock(served: Running, now: datetime) -> None:
    """Let the stand-ins' clock stand at `now`."""
    served.control("POST", "clock", {"now": now.isoformat()})


def creating_defs(folder: Path) -> Path:
    """The demo's definitions with a sync that creates records."""
    shutil.copytree(DEFS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "people_to_hubspot" / "defs.yaml").write_text(CREATING, "utf-8")
    return folder


def dump(home: Path) -> dict[str, pl.DataFrame]:
    """Every table whole, tombstones too, without what may differ from run to run."""
    found = {}
    for key in Lake(home / "lake").keys():  # noqa: SIM118 (a method of the lake)
        rows = pl.read_delta(LocalTable(home / "lake" / f"{key}.delta"))
        rows = rows.drop([name for name in OFTEN if name in rows.columns])
        plain = [name for name, kind in rows.schema.items() if not kind.is_nested()]
        found[key] = rows.sort(plain)
    return found


def different(left: Mapping[str, pl.DataFrame], right: Mapping[str, pl.DataFrame]) -> list[str]:
    """Keys of the tables that are not the same, with how many rows each side has of its own."""
    found = [f"{key}: only on one side" for key in sorted(left.keys() ^ right.keys())]
    for key in sorted(left.keys() & right.keys()):
        mine, other = left[key].select(sorted(left[key].columns)), right[key]
        if mine.columns != sorted(other.columns):
            found.append(f"{key}: other columns")
            continue
        other = other.select(mine.columns)
        if not mine.equals(other):
            on = mine.columns
            lacks = mine.join(other, on=on, how="anti", nulls_equal=True)
            adds = other.join(mine, on=on, how="anti", nulls_equal=True)
            found.append(f"{key}: {lacks.height} rows here, {adds.height} there")
    return found


def crm_rows(world: Path) -> dict[str, dict[str, Any]]:
    """Both CRMs' tables of a sandbox that was stopped."""
    tables = Tables(world / "state")
    assert tables.load()
    names = [name for name in tables if name.startswith(("salesforce.", "hubspot."))]
    return {name: dict(tables[name].rows) for name in sorted(names)}


def ledger(home: Path) -> pl.DataFrame:
    """The ledger of what was sent, oldest first."""
    store = Store(f"sqlite:///{home / 'store.db'}")
    with store.read() as connection:
        rows = connection.execute(text("select * from sync_ledger order by id")).mappings().all()
    store.engine.dispose()
    return pl.DataFrame([dict(row) for row in rows], infer_schema_length=None)
