"""The log after a crash: what was acknowledged is there, what was torn is cut, and nothing else."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from cdp_assets.landing import (
    LogWriter,
    Overloaded,
    Request,
    damaged,
    is_whole,
    read,
    recover,
    sealed,
)
from cdp_assets.landing.frames import HEAD, MAGIC, START, content, framed
from cdp_assets.landing.segments import OPEN, create

REQUEST = Request("web", "2026-01-01T00:00:00.000000Z", "track")
SEED = b"12345678"


def bodies(folder: Path) -> list[bytes]:
    return [frame.body for path in sealed(folder) for frame in read(path)]


def segment(wanted: list[bytes]) -> tuple[bytes, list[int]]:
    """A segment's bytes and the offset after each of its frames."""
    data, ends = MAGIC + SEED, []
    for body in wanted:
        data += framed(SEED, len(data), content(REQUEST, body))
        ends.append(len(data))
    return data, ends


def left_open(folder: Path, data: bytes) -> Path:
    path = folder / f"left{OPEN}"
    path.write_bytes(data)
    return path


def append_all(log: LogWriter, wanted: list[bytes]) -> list[OSError | None]:
    found: list[OSError | None] = []
    ready = threading.Event()

    def done(trouble: OSError | None) -> None:
        found.append(trouble)
        if len(found) == len(wanted):
            ready.set()

    for body in wanted:
        log.append(content(REQUEST, body), done)
    assert ready.wait(20)
    return found


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, seal_bytes=10_000)
    wanted = [b'{"n":%d}' % n for n in range(1_000)]
    assert append_all(log, wanted) == [None] * 1_000
    log.close()
    assert bodies(tmp_path) == wanted
    assert all(is_whole(path) for path in sealed(tmp_path))


def test_a_tail_torn_at_any_byte_is_cut(tmp_path: Path) -> None:
    wanted = [b'{"n":%d,"text":"%b"}' % (n, b"x" * n) for n in range(8)]
    data, ends = segment(wanted)
    for cut in range(len(data) + 1):
        folder = tmp_path / str(cut)
        folder.mkdir()
        left_open(folder, data[:cut])
        recover(folder)
        assert bodies(folder) == wanted[: sum(end <= cut for end in ends)]
        assert not damaged(folder)
        assert not list(folder.glob(f"*{OPEN}"))


def test_zeros_behind_the_last_frame_are_no_frames(tmp_path: Path) -> None:
    data, _ = segment([b"{}", b'{"a":1}'])
    left_open(tmp_path, data + bytes(4096))
    recover(tmp_path)
    assert bodies(tmp_path) == [b"{}", b'{"a":1}']


def test_frames_of_another_place_or_segment_are_none(tmp_path: Path) -> None:
    data, ends = segment([b"{}", b'{"a":1}'])
    other = framed(b"87654321", ends[-1], content(REQUEST, b"{}"))
    moved = data[START : ends[0]]
    for extra in (other, moved):
        path = left_open(tmp_path, data + extra)
        recover(tmp_path)
        assert bodies(tmp_path) == [b"{}", b'{"a":1}']
        path.with_suffix(".segment").unlink()


def test_a_damaged_middle_is_kept_aside_and_told(tmp_path: Path) -> None:
    data, ends = segment([b'{"n":%d}' % n for n in range(5)])
    hurt = bytearray(data)
    hurt[ends[1] + 20] ^= 0xFF
    left_open(tmp_path, bytes(hurt))
    (found,) = recover(tmp_path)
    assert bodies(tmp_path) == [b'{"n":0}', b'{"n":1}']
    assert found.damaged is not None
    assert found.damaged.read_bytes() == bytes(hurt)
    assert damaged(tmp_path) == [found.damaged]


@pytest.mark.parametrize("place", [0, 5, 8, 15])
@pytest.mark.parametrize("frames", [1, 3])
def test_a_hurt_beginning_loses_nothing(tmp_path: Path, place: int, frames: int) -> None:
    """Magic or seed: no frame can be checked any more, yet all were acknowledged."""
    data, _ = segment([b'{"n":%d}' % n for n in range(frames)])
    hurt = bytearray(data)
    hurt[place] ^= 0xFF
    left_open(tmp_path, bytes(hurt))
    (found,) = recover(tmp_path)
    assert found.path is None
    assert [path.read_bytes() for path in damaged(tmp_path)] == [hurt]


def test_a_tail_made_to_look_like_many_frames_is_soon_done_with(tmp_path: Path) -> None:
    """Each place claims all that follows: to check them all takes the square of their number."""
    head = HEAD.size + len(b'{"source":')
    number = 120_000
    claims = b"".join(
        HEAD.pack((number - n) * head - HEAD.size, 1) + b'{"source":' for n in range(number)
    )
    data = MAGIC + SEED + HEAD.pack(len(claims) + 10, 1) + claims
    left_open(tmp_path, data)
    began = time.process_time()
    (found,) = recover(tmp_path)
    assert time.process_time() - began < 5  # 100 s and more, were each checked
    assert found.damaged is not None, "who knows: kept aside, not cut"


def test_a_segment_that_is_sealed_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer renames it after the folder was listed, or after it was opened here."""
    data, _ = segment([b"{}"])
    path = left_open(tmp_path, data)
    final = path.with_suffix(".segment")
    listed = Path.glob

    def stale(folder: Path, pattern: str) -> list[Path]:
        found = list(listed(folder, pattern))
        if path.exists():
            path.rename(final)
        return found

    monkeypatch.setattr(Path, "glob", stale)
    assert recover(tmp_path) == []
    final.rename(path)
    monkeypatch.setattr(Path, "glob", listed)
    real = fcntl.flock

    def late(file: int, operation: int) -> None:
        if operation & fcntl.LOCK_NB:
            path.rename(final)
            left_open(tmp_path, b"")  # even if another of this name stands there by now
        real(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    assert recover(tmp_path) == []
    assert final.read_bytes() == data


def test_a_segment_that_is_removed_before_it_is_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that starts may take it for one whose writer is gone."""
    real = fcntl.flock

    def late(file: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        recover(tmp_path)
        real(file, operation)

    log = LogWriter(tmp_path)
    monkeypatch.setattr(fcntl, "flock", late)
    assert append_all(log, [b"{}"]) == [None]
    log.close()
    assert bodies(tmp_path) == [b"{}"]


def test_a_segment_whose_writer_lives_is_left_alone(tmp_path: Path) -> None:
    descriptor, _, path = create(tmp_path)
    assert recover(tmp_path) == []
    os.close(descriptor)
    (found,) = recover(tmp_path)
    assert found.path is None
    assert not path.exists()


def test_after_a_failed_sync_nothing_of_the_group_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter(tmp_path)
    assert append_all(log, [b'"before"']) == [None]
    real = os.fdatasync
    calls: list[int] = []

    def broken(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    (trouble,) = append_all(log, [b'"lost"'])
    assert isinstance(trouble, OSError)
    assert len(calls) == 1, "a sync that failed is not tried again on the same file"
    monkeypatch.setattr(os, "fdatasync", real)
    assert append_all(log, [b'"after"']) == [None]
    log.close()
    assert bodies(tmp_path) == [b'"before"', b'"after"']
    assert len(sealed(tmp_path)) == 2


def test_a_full_disk_refuses_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogWriter(tmp_path)
    assert append_all(log, [b'"before"']) == [None]
    real = os.pwrite

    def full(descriptor: int, data: bytes, offset: int) -> int:
        if offset > START + 60:
            real(descriptor, bytes(data)[:5], offset)  # some bytes still fit
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    (trouble,) = append_all(log, [b'"lost"'])
    assert trouble is not None
    assert trouble.errno == errno.ENOSPC
    monkeypatch.setattr(os, "pwrite", real)
    assert append_all(log, [b'"after"']) == [None]
    log.close()
    assert bodies(tmp_path) == [b'"before"', b'"after"']


def test_more_than_may_wait_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda d: (gate.wait(20), real(d))[1])
    log = LogWriter(tmp_path, waiting_bytes=1_000)
    kept = 0
    with contextlib.suppress(Overloaded):
        while kept < 1_000:
            log.append(content(REQUEST, b"x" * 100), lambda trouble: None)
            kept += 1
    assert 0 < kept < 20
    gate.set()
    log.close()
    assert len(bodies(tmp_path)) == kept


def test_a_write_that_hangs_refuses_what_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda d: (gate.wait(20), real(d))[1])
    moment = [0.0]
    log = LogWriter(tmp_path, clock=lambda: moment[0], stuck_seconds=5)
    landed = threading.Event()
    log.append(content(REQUEST, b"{}"), lambda trouble: landed.set())
    while not list(tmp_path.glob(f"*{OPEN}")):
        pass
    moment[0] = 6.0
    with pytest.raises(OSError):
        log.append(content(REQUEST, b"{}"), lambda trouble: None)
    gate.set()
    assert landed.wait(20)
    log.close()


def test_an_old_segment_is_sealed_without_another_request(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, seal_seconds=0.05)
    append_all(log, [b"{}"])
    for _ in range(200):
        if sealed(tmp_path):
            break
        threading.Event().wait(0.02)
    assert bodies(tmp_path) == [b"{}"]
    log.close()
