"""kill -9 of writers of the log, a hundred times: what was acknowledged is stored, once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cdp_assets.landing import damaged, read, recover, sealed

WRITER = """
import sys, threading, pathlib
from cdp_assets.landing import LogWriter, Request, recover
from cdp_assets.landing.frames import content
folder, first = pathlib.Path(sys.argv[1]), int(sys.argv[2])
recover(folder)
log = LogWriter(folder, seal_bytes=20_000)
request = Request("web", "2026-01-01T00:00:00.000000Z", "track")
room = threading.Semaphore(64)
lock = threading.Lock()
def acknowledged(number):
    def done(trouble):
        room.release()
        if trouble is None:
            with lock:
                sys.stdout.write(f"{number}\\n")
                sys.stdout.flush()
    return done
number = first
while True:
    room.acquire()
    log.append(content(request, b"%d %s" % (number, b"x" * (number % 700))), acknowledged(number))
    number += 1
"""


def kill_often(folder: Path, kills: int, seed: int) -> tuple[set[int], Counter[int]]:
    """Acknowledged numbers, and stored ones with how often each is stored."""
    random_ = random.Random(seed)
    acked: set[int] = set()
    for turn in range(kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(turn * 1_000_000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random_.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        lines = [first, *rest.splitlines(keepends=True)]
        acked |= {int(line) for line in lines if line.endswith("\n")}
    recover(folder)
    bodies = [frame.body for path in sealed(folder) for frame in read(path)]
    for body in bodies:
        number, _, text = body.partition(b" ")
        assert text == b"x" * (int(number) % 700)
    return acked, Counter(int(body.partition(b" ")[0]) for body in bodies)


def check(folder: Path, kills: int, seed: int) -> None:
    acked, stored = kill_often(folder, kills, seed)
    assert len(acked) >= kills
    assert acked <= set(stored)
    assert set(stored.values()) == {1}
    assert not damaged(folder)


def test_what_was_acknowledged_survives_a_hundred_kills(tmp_path: Path) -> None:
    check(tmp_path, 100, seed=7)


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_thousand_kills(tmp_path: Path) -> None:
    check(tmp_path, 1_000, seed=random.randrange(1 << 30))
