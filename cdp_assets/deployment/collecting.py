"""The collector wired for one deployment: its log, its keys, and the processes that serve it."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping

import uvicorn
from uvicorn.supervisors import Multiprocess

from cdp_assets.collector.addresses import Network
from cdp_assets.collector.app import Collector
from cdp_assets.collector.config import EventSourceConfig
from cdp_assets.collector.keys import KeyRing, key_ring, parse_quick_keys
from cdp_assets.collector.pages import Pages
from cdp_assets.collector.verdicts import Verdicts
from cdp_assets.deployment.declarations import find_defs, load_deployment
from cdp_assets.deployment.plans import blockers
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.landing import LogWriter, recover
from cdp_assets.settings import Settings, load_home_env
from cdp_assets.store import Store, StoreError, keys

WATCH_SECONDS = 5.0
"""How soon a key that was made or revoked counts."""
READY_SECONDS = 60.0
SWITCH_SECONDS = 0.0005
"""How long the thread that writes may wait for the interpreter behind the one that takes requests:
by default ten times that, which all who wait for an answer would feel."""


def collector_app() -> Collector:
    """The application of one worker process, as the environment says."""
    os.umask(0o077)
    sys.setswitchinterval(SWITCH_SECONDS)
    _end_with_parent()
    load_home_env(Settings().home)
    settings = Settings()
    watch = KeyWatch(settings)
    recover(settings.landing)
    log = LogWriter(settings.landing, seal_seconds=settings.seal_seconds)
    said = verdicts(settings)
    return Collector(log, lambda: watch.ring, said, Pages(), trusted_networks(settings))


def serve(
    settings: Settings, host: str, port: int, workers: int, announce: Callable[[str], None]
) -> int:
    """Serve until told to stop. `announce` is called once, with the address, when requests are
    taken. A worker that dies is replaced. Raises ConfigurationError, StoreError."""
    ring(settings)  # whatever is wrong with the keys is told here, not by each worker
    trusted_networks(settings)
    recover(settings.landing)
    config = uvicorn.Config(
        "cdp_assets.deployment.collecting:collector_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
        backlog=4096,
    )
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise ConfigurationError.plain(
            f"port {port} of {host} cannot be served: is it taken? Choose another by --port"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    supervisor = Multiprocess(config, sockets=[socket])
    waiting = threading.Thread(
        target=_announce_when_ready,
        args=(f"http://{shown}:{socket.getsockname()[1]}", announce),
        daemon=True,
    )
    waiting.start()
    supervisor.run()
    recover(settings.landing)
    return 0


def ring(settings: Settings) -> KeyRing:
    """The keys that are good now. Raises ConfigurationError, StoreError."""
    sources = declared_sources(settings)
    try:
        quick = parse_quick_keys(settings.write_keys or "")
    except ValueError as error:
        raise ConfigurationError.plain(f"CDP_WRITE_KEYS: {error}") from None
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.database_url)
    store.migrate()
    now = settings.clock()
    secret = [(key.source, key.digest) for key in keys.every(store) if key.good_at(now)]
    return key_ring(sources, quick, secret)


def verdicts(settings: Settings) -> Verdicts:
    """What is known of events at once, the tracking plans' word among it. Raises
    ConfigurationError."""
    deployment = load_deployment(find_defs(settings)).require_valid()
    return Verdicts(blockers(deployment))


def declared_sources(settings: Settings) -> Mapping[str, EventSourceConfig]:
    """The event sources of defs/. Raises ConfigurationError."""
    deployment = load_deployment(find_defs(settings)).require_valid()
    for name in deployment.event_sources:
        deployment.declared[name].require_set()
    return deployment.event_sources


def trusted_networks(settings: Settings) -> list[Network]:
    """CDP_TRUSTED_PROXIES as networks. Raises ConfigurationError."""
    parts = filter(None, (part.strip() for part in (settings.trusted_proxies or "").split(",")))
    try:
        return [ipaddress.ip_network(part, strict=False) for part in parts]
    except ValueError as error:
        raise ConfigurationError.plain(f"CDP_TRUSTED_PROXIES: {error}") from None


class KeyWatch:
    """The ring of one worker, read again every few seconds; while that fails the last one holds,
    so that no event is refused for a database that is away."""

    def __init__(self, settings: Settings, seconds: float = WATCH_SECONDS) -> None:
        self._settings = settings
        self._seconds = seconds
        self.ring: KeyRing | None = None
        self._read()
        threading.Thread(target=self._run, name="keys", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(self._seconds)
            self._read()

    def _read(self) -> None:
        with contextlib.suppress(ConfigurationError, StoreError, OSError):
            self.ring = ring(self._settings)


def _announce_when_ready(url: str, announce: Callable[[str], None]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310 - our own address
                announce(url)
                return
        except OSError:
            time.sleep(0.1)


def _end_with_parent() -> None:
    """A worker whose supervisor was killed ends too, and seals its segment."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
