"""`cdp up`: Dagster's UI and daemon, and the stand-in CRMs where the demo left them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cdp_assets.settings import Settings

INSTANCE = Path(__file__).parent / "instance.yaml"


WORKSPACE = """\
load_from:
  - python_module:
      module_name: {module}
      location_name: {location}
      working_directory: "{folder}"
"""


class StartError(RuntimeError):
    """A process that should serve did not start; the text says why and what to do."""


def prepare_home(settings: Settings) -> dict[str, str]:
    """Make CDP_HOME and DAGSTER_HOME; returns the environment of the processes that use them."""
    dagster_home = settings.home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings.home.chmod(0o700)
    shutil.copyfile(INSTANCE, dagster_home / "dagster.yaml")
    return {**os.environ, "CDP_HOME": str(settings.home), "DAGSTER_HOME": str(dagster_home)}


def free_port(port: int) -> bool:
    """Whether 127.0.0.1:port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextmanager
def process_group(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own that ends, with all its children, when the block does.

    Its standard input is a pipe that nobody writes to: it closes when this process is gone, even
    by kill -9.
    """
    process = subprocess.Popen(  # noqa: S603 - our own commands
        command,
        text=True,
        stdin=subprocess.PIPE,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            process.poll()
            if not _group_alive(process.pid):
                return
            time.sleep(0.05)


def _group_alive(group: int) -> bool:
    """Whether a process of the group still runs. One that has ended and that nobody waits for (a
    container without an init leaves such) counts as ended."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stats = list(Path("/proc").glob("[0-9]*/stat"))
    return not stats or any(_runs_in(stat, group) for stat in stats)


def _runs_in(stat: Path, group: int) -> bool:
    try:
        state, _, pgrp = stat.read_text("utf-8", "replace").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(pgrp) == group and state != "Z"


def sandbox_command(home: Path, people: int, seed: int, port: int) -> list[str]:
    """The command that serves the stand-in CRMs whose world is kept under `home`."""
    return [
        sys.executable, "-m", "cdp_assets.sandbox",
        "--home", str(home), "--people", str(people), "--seed", str(seed), "--port", str(port),
        "--until-eof",
    ]  # fmt: skip


def read_announcements(process: subprocess.Popen[str], count: int) -> dict[str, dict[str, str]]:
    """The JSON lines by which the stand-ins say where they serve: system → its line."""
    found: dict[str, dict[str, str]] = {}
    assert process.stdout is not None
    while len(found) < count:
        line = process.stdout.readline()
        if not line:
            raise StartError("the stand-in CRMs ended before they served; see the lines above")
        if line.startswith("{"):
            said = json.loads(line)
            found[said["system"]] = said
    return found


def serve(settings: Settings, port: int, module: str, folder: Path, location: str = "cdp") -> int:
    """Serve until Ctrl-C or SIGTERM, or until a stand-in CRM ends; then end every process that was
    started here.

    module, folder, location: the code location, from where it is imported, and its name.
    """
    if not free_port(port):
        raise StartError(f"127.0.0.1:{port} is taken: end what listens there, or give --port")
    # A shell starts background jobs with SIGINT ignored, and Python then leaves it so.
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, _interrupt)
    environment = {**prepare_home(settings), "PYTHONWARNINGS": "ignore::FutureWarning"}
    workspace = settings.home / "dagster" / "workspace.yaml"
    workspace.write_text(WORKSPACE.format(module=module, folder=folder, location=location), "utf-8")
    command = [
        sys.executable, "-m", "dagster", "dev", "-w", str(workspace),
        "-h", "127.0.0.1", "-p", str(port),
    ]  # fmt: skip
    world = settings.home / "sandbox.json"
    try:
        if world.is_file():
            said = json.loads(world.read_text("utf-8"))
            if not free_port(said["port"]):
                raise StartError(
                    f"`cdp up` or a demo is running on {settings.home}: end it first. (The "
                    f"stand-in CRMs' port {said['port']} is taken.)"
                )
            with process_group(
                sandbox_command(
                    settings.home / "sandbox", said["people"], said["seed"], said["port"]
                ),
                stdout=subprocess.PIPE,
                env=environment,
            ) as stand_ins:
                for system, line in read_announcements(stand_ins, 3).items():
                    say(f"{system}: {line.get('url') or line.get('path')}")
                return _dagster(command, environment, port, stand_ins)
        return _dagster(command, environment, port)
    except KeyboardInterrupt:
        return 0


def _dagster(
    command: list[str],
    environment: dict[str, str],
    port: int,
    stand_ins: subprocess.Popen[str] | None = None,
) -> int:
    home = environment["DAGSTER_HOME"]
    with process_group(command, env=environment, cwd=home) as dagster:
        say(f"Dagster: http://127.0.0.1:{port} (Ctrl-C ends all of it)")
        while dagster.poll() is None:
            if stand_ins is not None and stand_ins.poll() is not None:
                raise StartError(
                    f"the stand-in CRMs ended by themselves (exit code {stand_ins.returncode}), so "
                    "all was ended: start it again"
                )
            time.sleep(0.5)
        return dagster.returncode


def _interrupt(*_: object) -> None:
    # A second Ctrl-C must not keep what was started from being ended.
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    raise KeyboardInterrupt


def say(line: str) -> None:
    """One line on the screen, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
