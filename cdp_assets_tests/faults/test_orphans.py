"""Whoever started the stand-ins may be killed: they end too, and free their port and home."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from cdp_assets.up import free_port

STARTER = """
import subprocess, sys, time
from pathlib import Path
from cdp_assets.up import process_group, read_announcements, sandbox_command
with process_group(sandbox_command(Path(sys.argv[1]), 10, 1, 0), stdout=subprocess.PIPE) as served:
    print(read_announcements(served, 3)["hubspot"]["url"], flush=True)
    time.sleep(600)
"""


def test_stand_ins_end_with_a_killed_demo(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path / "world")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        port = int(starter.stdout.readline().rpartition(":")[2])
        assert not free_port(port)
        starter.kill()
    deadline = time.monotonic() + 30
    while not free_port(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert free_port(port)
