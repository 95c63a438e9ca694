"""The collector wired for one deployment: its log, its keys, and the processes that serve it."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Callable

import uvicorn
from uvicorn.supervisors import Multiprocess

from cdp_assets.collector.addresses import Network
from cdp_assets.collector.app import Collector
from cdp_assets.collector.http import BoundedHttp
from cdp_assets.collector.pages import Pages
from cdp_assets.collector.verdicts import Verdicts
from cdp_assets.deployment.declarations import find_defs, load_deployment
from cdp_assets.deployment.live import Live, mistakes, ring
from cdp_assets.deployment.plans import blockers
from cdp_assets.deployment.rooms import open_store
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.events.plan.judge import KEPT_OUT
from cdp_assets.landing import LogWriter, recover
from cdp_assets.settings import Settings, load_home_env

READY_SECONDS = 60.0
SWITCH_SECONDS = 0.0005
"""How long the thread that writes may wait for the interpreter behind the one that takes requests:
by default ten times that, which all who wait for an answer would feel."""

logger = logging.getLogger(__name__)


def collector_app() -> Collector:
    """The application of one worker process, as the environment says."""
    os.umask(0o077)
    sys.setswitchinterval(SWITCH_SECONDS)
    _end_with_parent()
    load_home_env(Settings().home)
    settings = Settings()
    live = Live(settings)
    recover(settings.landing)
    log = LogWriter(settings.landing, seal_seconds=settings.seal_seconds)
    trusted = trusted_networks(settings)
    return Collector(log, lambda: live.ring, live.verdicts, Pages(), trusted)


def serve(
    settings: Settings, host: str, port: int, workers: int, announce: Callable[[str], None]
) -> int:
    """Serve until told to stop. `announce` is called once, with the address, when requests are
    taken. A worker that dies is replaced. A mistake in the definitions is told, and stops no source
    that can be read. Raises ConfigurationError, StoreError."""
    for mistake in mistakes(settings):
        logger.warning("%s", mistake)
    ring(
        settings, open_store(settings)
    )  # whatever is wrong with the keys is told here, not by each worker
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
        http=BoundedHttp,
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


def verdicts(settings: Settings) -> Verdicts:
    """What is known of events at once, for who watches them arrive: what a tracking plan will drop
    or put aside too. Raises ConfigurationError."""
    deployment = load_deployment(find_defs(settings)).require_valid()
    return Verdicts(blockers(deployment, KEPT_OUT))


def trusted_networks(settings: Settings) -> list[Network]:
    """CDP_TRUSTED_PROXIES as networks. Raises ConfigurationError."""
    parts = filter(None, (part.strip() for part in (settings.trusted_proxies or "").split(",")))
    try:
        return [ipaddress.ip_network(part, strict=False) for part in parts]
    except ValueError as error:
        raise ConfigurationError.plain(f"CDP_TRUSTED_PROXIES: {error}") from None


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
