"""What a running collector knows of its deployment, read again every few seconds.

What cannot be read leaves what was known before: no event is refused for a mistake in a definition
or for a database that is away.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from cdp_assets.collector.config import EventSourceConfig
from cdp_assets.collector.keys import KeyRing, key_ring, parse_quick_keys
from cdp_assets.collector.verdicts import Verdicts
from cdp_assets.deployment.declarations import Deployment, find_defs, load_deployment
from cdp_assets.deployment.plans import blockers
from cdp_assets.deployment.rooms import open_store
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.settings import Settings
from cdp_assets.store import Store, keys

WATCH_SECONDS = 5.0
"""How soon a key that was made or revoked counts, and a tracking plan that was changed."""
REMEMBERED = "event-sources.json"
"""In the home: the sources as they were last without a mistake, for a collector that starts while
there is one."""
_SENDING = {"write_key", "origins", "ip", "rate"}

logger = logging.getLogger(__name__)


class Live:
    """The keys and verdicts of one worker.

    ring: None until the keys could be read once. verdicts: those of the last definitions without a
    mistake; without any, nothing is said to be blocked, and what came is judged when it is
    ingested.
    """

    def __init__(self, settings: Settings, seconds: float = WATCH_SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self._read_as: object = None
        self._told: dict[str, str] = {}
        self._store: Store | None = None
        self.ring: KeyRing | None = None
        self.verdicts = Verdicts()
        self.read()
        threading.Thread(target=self._run, name="live", daemon=True).start()

    def read(self) -> None:
        """Read everything again; what cannot be read is told once. Raises nothing."""
        self._try("keys", self._read_ring)
        self._try("definitions", self._read_plans)

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds)
            self.read()

    def _try(self, what: str, read: Callable[[], None]) -> None:
        try:
            read()
        except Exception as error:  # noqa: BLE001 - nothing may end the thread that reads
            if self._told.get(what) != str(error):
                logger.warning("the %s cannot be read, the last good ones hold: %s", what, error)
            self._told[what] = str(error)
        else:
            self._told.pop(what, None)

    def _read_ring(self) -> None:
        self._store = self._store or open_store(self._settings)
        self.ring = ring(self._settings, self._store)

    def _read_plans(self) -> None:
        deployment = load_deployment(find_defs(self._settings)).require_valid()
        now = deployment, _schemas(deployment.folder)
        if now != self._read_as:
            # a copy, for which the files that plans name are read anew
            self.verdicts.use(blockers(replace(deployment)))
            self._read_as = now


def ring(settings: Settings, store: Store) -> KeyRing:
    """The keys that are good now. Raises ConfigurationError, StoreError."""
    try:
        quick = parse_quick_keys(settings.write_keys or "")
    except ValueError as error:
        raise ConfigurationError.plain(f"CDP_WRITE_KEYS: {error}") from None
    now = settings.clock()
    secret = [(key.source, key.digest) for key in keys.every(store) if key.good_at(now)]
    return key_ring(sources(settings), quick, secret)


def sources(settings: Settings) -> Mapping[str, EventSourceConfig]:
    """The event sources: those of defs/ that can be read, and in place of one with a mistake what
    it said before. Raises nothing."""
    try:
        deployment = load_deployment(find_defs(settings))
    except (ConfigurationError, OSError):
        return _remembered(settings.home)
    good = {
        name: config
        for name, config in deployment.event_sources.items()
        if not deployment.declared[name].unset
    }
    hurt = _hurt(deployment)
    before = {name: config for name, config in _remembered(settings.home).items() if name in hurt}
    found = {**before, **good}
    _remember(settings.home, found)
    return found


def mistakes(settings: Settings) -> list[str]:
    """What is wrong with the definitions, a line each. Raises ConfigurationError where they leave
    no source whose events could be taken."""
    try:
        deployment = load_deployment(find_defs(settings))
    except ConfigurationError:
        if not _remembered(settings.home):
            raise
        return [f"there is no folder of definitions at {find_defs(settings)}"]
    if _hurt(deployment) and not sources(settings):
        deployment.require_valid()
        for item in deployment.declared.values():
            item.require_set()
    said = [problem.short() for problem in deployment.problems]
    for name in deployment.event_sources:
        unset = deployment.declared[name].unset
        said += [f"{name}: set the environment variable {variable}" for variable in unset]
    return said


def _hurt(deployment: Deployment) -> set[str]:
    """Names of the folders with mistakes, and of those with variables that are not set."""
    return {problem.file.parent.name for problem in deployment.problems} | {
        name for name, item in deployment.declared.items() if item.unset
    }


def _schemas(folder: Path) -> tuple[object, ...]:
    """What changes when a file changes that a tracking plan may name."""
    found = []
    for file in sorted(folder.glob("**/*.json")):
        stat = file.stat()
        found.append((file, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _remembered(home: Path) -> dict[str, EventSourceConfig]:
    try:
        found = json.loads((home / REMEMBERED).read_bytes())
        return {name: EventSourceConfig.model_validate(said) for name, said in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _remember(home: Path, found: Mapping[str, EventSourceConfig]) -> None:
    """Keep what of the sources decides who may send; none of it is secret."""
    said = {name: c.model_dump(mode="json", include=_SENDING) for name, c in found.items()}
    text = json.dumps(said, indent=1)
    file = home / REMEMBERED
    with contextlib.suppress(OSError):  # a full disk is no reason to refuse keys
        if not file.exists() or file.read_text("utf-8") != text:
            part = file.with_suffix(f".{os.getpid()}.part")
            part.write_text(text, "utf-8")
            os.replace(part, file)
