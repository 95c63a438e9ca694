"""`cdp serve` in processes of its own, as it runs in earnest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cdp_assets.landing import Frame, read, recover, sealed
from cdp_assets.settings import Settings

KEY = "publickey1"
DEFS = """\
type: cdp_assets.EventSource
attributes:
  write_key: publickey1
  origins: ["https://shop.example", "https://*.shop.example"]
"""


@dataclass
class Served:
    """A running collector: where it is, its home, and the process that watches its workers."""

    url: str
    home: Path
    process: subprocess.Popen[str]
    defs: Path

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        listed = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        # the first child of a spawning parent may be the tracker of its resources
        return [
            int(pid)
            for pid in listed.stdout.split()
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes().decode()
        ]

    def stop(self) -> None:
        """Stop as an operator does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def frames(self) -> list[Frame]:
        """What landed; the collector must have stopped."""
        recover(self.landing)
        return [frame for path in sealed(self.landing) for frame in read(path)]


def write_defs(folder: Path, sources: Mapping[str, str]) -> Path:
    """A folder of definitions with these texts."""
    for name, text in sources.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "defs.yaml").write_text(text)
    return folder


@contextmanager
def serving(
    home: Path,
    sources: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """Serve these definitions (`web` with KEY by default) until the end of the block."""
    defs = write_defs(home.parent / f"{home.name}-defs", sources or {"web": DEFS})
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CDP_")},
        "CDP_HOME": str(home),
        "CDP_DEFS": str(defs),
        **(variables or {}),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "cdp_assets.cli", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the collector ended before it took requests"
        yield Served(json.loads(line)["url"], home, process, defs)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def platform_of(home: Path, defs: Path):  # type: ignore[no-untyped-def]
    """The deployment whose collector served here."""
    from cdp_assets.deployment.declarations import load_deployment
    from cdp_assets.deployment.platform import Platform

    return Platform(Settings(home=home, defs=defs), load_deployment(defs).require_valid())
