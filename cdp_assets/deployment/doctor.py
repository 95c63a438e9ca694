"""`cdp doctor`: what keeps this deployment from running well, and what to do about it."""

from __future__ import annotations

import os
import platform as machine
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Literal

from cdp_assets.connectors.base import ConnectorError, Description, WriteOp
from cdp_assets.connectors.http import HttpOptions, HttpSession
from cdp_assets.deployment.alerts import ways
from cdp_assets.deployment.checks import check_deployment
from cdp_assets.deployment.errors import SAFE_ERRORS
from cdp_assets.deployment.notes import unset_variables
from cdp_assets.deployment.platform import Platform
from cdp_assets.lake import fsck
from cdp_assets.landing import damaged, sealed
from cdp_assets.raw.health import lost, schema_changes
from cdp_assets.store import letters
from cdp_assets.syncs import SyncConfig, check_fields, may_write

Level = Literal["ok", "look", "broken"]
SKEW = timedelta(seconds=60)
"""A clock that is further off makes cursors miss what was changed meanwhile."""
LITTLE, TOO_LITTLE = 10 * 2**30, 1 * 2**30
"""Bytes free: below the first it is told, below the second nothing can be relied on."""
_BUDGET = 0.8
_QUICK = HttpOptions(attempts=1, connect_timeout=5, read_timeout=15)
_SHOWN = ("dagster", "polars", "deltalake", "sqlalchemy", "requests")


@dataclass(frozen=True)
class Finding:
    """One thing looked at. do: what to do, empty where all is well."""

    level: Level
    what: str
    do: str = ""


def examine(here: Platform) -> Iterator[Finding]:
    """Everything that can be looked at from here, one after the other. Writes nothing outside
    CDP_HOME; asks each outside system for its description and the time."""
    checks: tuple[Callable[[Platform], Iterator[Finding]], ...] = (
        _versions, _home, _definitions, _store, _lake, _landing, _systems, _syncs, _alerts,
    )  # fmt: skip
    for check in checks:
        try:
            yield from check(here)
        except SAFE_ERRORS as error:
            yield Finding("broken", str(error), "see the message")


def _versions(here: Platform) -> Iterator[Finding]:
    found = ", ".join(f"{name} {version(name)}" for name in _SHOWN)
    yield Finding("ok", f"Python {machine.python_version()}, {found}")


def _home(here: Platform) -> Iterator[Finding]:
    home = here.settings.home
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=home) as probe:
            probe.write(b"x")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        yield Finding(
            "broken",
            f"CDP_HOME ({home}) cannot be written ({type(error).__name__})",
            "give this user the right to write there, or set CDP_HOME to another folder",
        )
        return
    if home.stat().st_mode & 0o077:
        yield Finding(
            "look",
            f"CDP_HOME ({home}) can be read by other users of this machine",
            f"chmod 700 {home}",
        )
    free = shutil.disk_usage(home).free
    level: Level = "ok" if free > LITTLE else "look" if free > TOO_LITTLE else "broken"
    cure = "" if level == "ok" else "make room, run `cdp maintain`, or move CDP_HOME"
    yield Finding(level, f"{free / 2**30:,.1f} GiB free in CDP_HOME ({home})", cure)


def _definitions(here: Platform) -> Iterator[Finding]:
    mistakes = check_deployment(here.deployment, here.settings)
    if mistakes:
        yield Finding("broken", f"{len(mistakes)} mistakes in defs/", "cdp check names them")
    for problem in unset_variables(here.deployment):
        yield Finding("look", problem.short(), "set it where Dagster and `cdp` run")
    if not mistakes:
        yield Finding("ok", f"{len(here.deployment.declared)} definitions without mistakes")


def _store(here: Platform) -> Iterator[Finding]:
    kind = "SQLite" if here.store.sqlite else "PostgreSQL"
    yield Finding("ok", f"operational database ({kind}) answers and is up to date")
    for pause in here.pauses():
        what = "all syncs are" if pause.of_all else f"sync {pause.sync} is"
        yield Finding("look", f"{what} paused since {pause.since}", pause.cure)
    for head in here.waiting_plans():
        yield Finding(
            "look",
            f"plan {head.hash[:12]} of {head.sync} waits for approval",
            f"cdp plan {head.sync}, then cdp approve {head.hash[:12]}",
        )
    waiting = letters.frame(here.store)
    for (name,), rows in sorted(waiting.group_by("sync")):
        yield Finding(
            "look",
            f"{rows.height:,} rows of {name} were refused",
            f"cdp letters says why; when it is mended: cdp replay {name}",
        )


def _lake(here: Platform) -> Iterator[Finding]:
    findings = fsck.check(here.lake)
    for item in findings:
        level: Level = "broken" if item.grave else "look"
        yield Finding(level, f"table {item.key}: {item.kind}", item.advice)
    if not findings:
        yield Finding("ok", f"{len(here.lake.keys())} tables, all whole")


def _landing(here: Platform) -> Iterator[Finding]:
    folder = here.settings.landing
    if not folder.is_dir():
        return
    for path in damaged(folder):
        yield Finding(
            "broken",
            f"{path} was damaged in its middle while the collector wrote it",
            "what stands before is in use; look for the fault of the disk, and keep the file",
        )
    yield Finding("ok", f"the collector's log holds {len(sealed(folder)):,} closed segments")
    if here.new_segments():
        yield Finding(
            "look",
            "the collector has closed segments that were not ingested",
            "turn the sensor collector_segments on, or materialise `events`",
        )


def _systems(here: Platform) -> Iterator[Finding]:
    for name, config in here.deployment.crms.items():
        if here.deployment.declared[name].unset:
            continue
        before = here.description(name)
        known = before.objects if before else {}
        try:
            found = here.describe(name)
        except SAFE_ERRORS as error:
            yield Finding("broken", f"{name}: no description: {error}", "see the message")
            continue
        fields = sum(len(item.fields) for item in found.objects.values())
        yield Finding(
            "ok", f"{name}: signed in; {len(found.objects)} objects with {fields:,} fields"
        )
        for item, info in found.objects.items():
            # What the next pull would have told: the description it compares with is now this one.
            for change in lost(schema_changes(known.get(item), info)):
                yield Finding("look", f"{name}.{item}: {change}", "cdp check tells who reads it")
        budget = here.budget(name)
        if budget is not None:
            used, allowed = budget
            level: Level = "look" if used > _BUDGET * allowed else "ok"
            cure = (
                "raise the allowance, pull less often, or lower api_budget" if level != "ok" else ""
            )
            yield Finding(level, f"{name}: {used:,} of {allowed:,} requests used today", cure)
        yield from _clock(name, config.url)


def _clock(name: str, url: str) -> Iterator[Finding]:
    session = HttpSession(name, url, options=_QUICK)
    try:
        reply = session.request(
            "GET", "/", what="its clock", signed=False, decode=bytes, accept=range(300, 500)
        )
        off = abs(datetime.now(UTC) - parsedate_to_datetime(reply.headers["Date"]))
    except (ConnectorError, KeyError, TypeError, ValueError):
        return  # it does not tell the time, or not in which zone
    if off > SKEW:
        yield Finding(
            "broken",
            f"{name}: its clock and this machine's are {off.total_seconds():,.0f} s apart",
            "set this machine's clock (NTP): what changes meanwhile is pulled late",
        )


def _syncs(here: Platform) -> Iterator[Finding]:
    for name, config in here.deployment.syncs.items():
        system = here.deployment.crms[config.source]
        described = Description.load(here.settings.descriptions, config.source)
        for path, text in check_fields(config, described, pulled=system.object_configs):
            place = ".".join(map(str, path))
            yield Finding("broken", f"sync {name}: {place}: {text}", f"mend defs/{name}, or there")
        yield from _rights(here, name, config)
        if not may_write(here.settings.env, system.url):
            yield Finding(
                "look",
                f"sync {name} only plans: CDP_ENV is {here.settings.env}",
                "set CDP_ENV=production where it may write",
            )


def _rights(here: Platform, name: str, config: SyncConfig) -> Iterator[Finding]:
    """What a sync would be refused, by what the system says of its user."""
    if here.deployment.declared[config.source].unset or config.list_ is not None:
        return
    ask = getattr(here.connector(config.source), "missing_rights", None)
    if ask is None:
        return
    ops: set[WriteOp] = set() if config.mode == "insert" else {"update"}
    for target, object_name in zip(config.targets, config.objects, strict=True):
        own = ops | (
            {"create"} if target == config.creates or object_name == config.creates else set()
        )
        own |= {"delete"} if config.deletes else set()
        try:
            missing = ask(object_name, own)
        except SAFE_ERRORS:
            continue  # told of the system itself
        for text in missing:
            what, _, cure = text.partition(": ")
            yield Finding("broken", f"sync {name}: {config.source}: {what}", cure)


def _alerts(here: Platform) -> Iterator[Finding]:
    if not ways(here.settings):
        yield Finding(
            "look",
            "nobody is told when a run fails",
            "set CDP_ALERT_WEBHOOK, or CDP_ALERT_EMAIL and CDP_SMTP_URL",
        )
