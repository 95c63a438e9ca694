"""Events acknowledged after fdatasync, beside a bare ASGI echo on the same machine.

The load is wrk's (Debian's package `wrk`), 64 connections from one thread, so that it takes as
little as it can of the two cores. Rates are told by the wall, and by the seconds of processor that
the worker spent: on a machine that does other work beside, only the second can be compared.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cdp_assets.landing import read, recover, sealed
from cdp_assets_tests.benchmarks.base import Verdict
from cdp_assets_tests.collector.serving import KEY, serving

ECHO = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                return
    await receive()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"16")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"success":true}'})
"""
EVENT = {
    "type": "track",
    "event": "Order Completed",
    "anonymousId": "f6ps414GyUoRLws4r4NXD1kF",
    "messageId": "ajs-next-1700000000000-0123456789abcdef",
    "timestamp": "2026-01-01T12:00:00.000Z",
    "properties": {"revenue": 12.5, "currency": "EUR", "products": [{"sku": "a-1", "quantity": 2}]},
    "context": {
        "page": {"url": "https://shop.example/checkout", "path": "/checkout", "title": "Checkout"},
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140 Safari/537.36",
        "library": {"name": "analytics.js", "version": "npm:next-1.70.0"},
    },
}


@dataclass(frozen=True)
class Load:
    """What wrk saw, and the worker's seconds of processor meanwhile."""

    requests: int
    seconds: float
    processor: float
    p99_ms: float
    errors: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def microseconds(self) -> float:
        """Processor time of the worker a request."""
        return self.processor / max(self.requests, 1) * 1e6


def run(size: float) -> Iterator[Verdict]:
    if shutil.which("wrk") is None:
        yield Verdict("collector", "", "needs wrk (Debian: apt-get install wrk)")
        return
    seconds = max(int(10 * size), 2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        single = json.dumps(EVENT).encode()
        batch = json.dumps({"batch": [EVENT] * 100, "sentAt": "2026-01-01T12:00:01.000Z"}).encode()
        with _echo(root) as (url, worker):
            bare = _load(root, url + "/v1/track", single, worker, seconds)
        with serving(root / "home") as served:
            (worker,) = served.workers()
            one = _load(root, served.url + "/v1/track", single, worker, seconds)
            hundred = _load(root, served.url + "/v1/batch", batch, worker, seconds, connections=16)
            memory, over = _overload(root, served.url, batch, worker, seconds)
            served.stop()
            landed = _landed(served.landing)
    sent = one.requests + 100 * (hundred.requests + over)
    share = bare.microseconds / one.microseconds
    yield Verdict(
        "single events, of a bare echo",
        "60 %",
        f"{one.rate:,.0f}/s of {bare.rate:,.0f}/s = {one.rate / bare.rate:.0%}; by processor "
        f"{one.microseconds:.0f} µs to {bare.microseconds:.0f} µs = {share:.0%}",
        one.rate / bare.rate >= 0.6,
    )
    yield Verdict("p99 at 64 connections", "15 ms", f"{one.p99_ms:.1f} ms", one.p99_ms < 15)
    yield Verdict(
        "batches of 100",
        "80,000 events/s a worker",
        f"{hundred.rate * 100:,.0f} events/s; {hundred.microseconds / 100:.1f} µs of processor an "
        "event",
        hundred.rate * 100 >= 80_000,
    )
    yield Verdict("memory of the overloaded worker", "500 MB", f"{memory:.0f} MB", memory < 500)
    yield Verdict(
        "acknowledged = stored",
        "",
        f"{sent:,} acknowledged, {landed:,} stored",
        # requests in flight when wrk stops are stored, and their answers not seen
        sent <= landed <= sent + 100 * (64 + 16 + 256),
    )


def _load(
    root: Path, url: str, body: bytes, worker: int, seconds: int, connections: int = 64
) -> Load:
    script = root / "post.lua"
    (root / "body").write_bytes(body)
    key = base64.b64encode(f"{KEY}:".encode()).decode()
    script.write_text(
        f"""
local file = io.open("{root / "body"}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Basic {key}"
"""
    )
    before = _processor(worker)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = _processor(worker) - before
    total = re.search(r"(\d+) requests in ([\d.]+)s", done)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done)
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", done)
    assert total is not None
    assert p99 is not None
    unit = {"us": 1e-3, "ms": 1.0, "s": 1e3}[p99[2]]
    errors = int(wrong[1]) if wrong else 0
    return Load(int(total[1]) - errors, float(total[2]), used, float(p99[1]) * unit, errors)


def _overload(root: Path, url: str, batch: bytes, worker: int, seconds: int) -> tuple[float, int]:
    """Peak memory in MB of a worker that is sent as much as 256 connections can, and how many
    batches it acknowledged."""
    load = _load(root, url + "/v1/batch", batch, worker, seconds, connections=256)
    status = Path(f"/proc/{worker}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    return int(peak[1]) / 1024, load.requests


def _landed(folder: Path) -> int:
    recover(folder)
    return sum(
        100 if frame.request.call == "batch" else 1
        for path in sealed(folder)
        for frame in read(path)
    )


def _processor(pid: int) -> float:
    """Seconds of processor that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _echo(root: Path) -> Iterator[tuple[str, int]]:
    (root / "echo_app.py").write_text(ECHO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "echo_app:app", "--port", str(port)]
    command += ["--log-level", "warning", "--no-access-log", "--no-server-header"]
    with subprocess.Popen(command, cwd=root) as process:
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
