"""Segments as files of a folder: open ones, sealed ones, and what a crash left behind."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cdp_assets.landing.frames import (
    MAGIC,
    SEED_BYTES,
    START,
    Frame,
    another_frame,
    end_of_frames,
    frames,
    looks_like_a_frame,
    seed_of,
)

OPEN, SEALED, DAMAGED = ".open", ".segment", ".damaged"
_LOCK = "recover.lock"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recovered:
    """What `recover` did with a segment that its writer left open.

    path: where it is now, None where it held nothing. cut: bytes of a torn tail that were cut off
    (never acknowledged). damaged: what comes after `path`'s name is lost in the middle of it; the
    whole file is kept under that name, and its sound beginning is sealed as `path`.
    """

    path: Path | None
    cut: int = 0
    damaged: Path | None = None


def new_name() -> str:
    """A segment's name: they sort by the time at which they were opened."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{secrets.token_hex(4)}"


def create(folder: Path) -> tuple[int, bytes, Path]:
    """A new open segment: its descriptor (locked while its writer lives), seed and path.

    Raises OSError.
    """
    descriptor, path = _locked_file(folder)
    try:
        seed = secrets.token_bytes(SEED_BYTES)
        os.write(descriptor, MAGIC + seed)
        os.fsync(descriptor)
        sync_folder(folder)
    except OSError:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    return descriptor, seed, path


def _locked_file(folder: Path) -> tuple[int, Path]:
    """A new file of an open segment, locked. Before it is, `recover` in another process may take
    it for one whose writer is gone, and remove it: then another is made. Raises OSError."""
    while True:
        path = folder / (new_name() + OPEN)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, path):
                return descriptor, path
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def seal(descriptor: int, path: Path, end: int) -> Path | None:
    """Close a segment at `end` and give it its final name; one without frames is removed.

    Raises OSError; the file then keeps its open name, and `recover` will see to it.
    """
    if end <= START:
        path.unlink(missing_ok=True)
        return None
    os.ftruncate(descriptor, end)
    os.fsync(descriptor)
    final = path.with_suffix(SEALED)
    os.rename(path, final)
    sync_folder(path.parent)
    return final


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sealed(folder: Path) -> list[Path]:
    """The closed segments, oldest first."""
    return sorted(folder.glob(f"*{SEALED}"))


def damaged(folder: Path) -> list[Path]:
    """Segments that a fault of the disk damaged in their middle, kept for whoever mends them."""
    return sorted(folder.glob(f"*{DAMAGED}"))


def read(path: Path, offset: int = START) -> Iterator[Frame]:
    """The frames of a segment from `offset` on; of an open one those that are whole by now.

    Raises OSError.
    """
    with _mapped(path) as data:
        seed = seed_of(data)
        if seed is not None:
            yield from frames(data, seed, offset)


def is_whole(path: Path) -> bool:
    """Whether a sealed segment is frames from its beginning to its end. Raises OSError."""
    with _mapped(path) as data:
        seed = seed_of(data)
        return seed is not None and end_of_frames(data, seed) == len(data)


def recover(folder: Path) -> list[Recovered]:
    """Seal the segments whose writers are gone, each cut behind its last whole frame.

    A frame that is not whole was never acknowledged, unless whole ones follow it: then the disk
    lost what it had confirmed; so it did where the beginning is hurt, without which no frame can be
    checked. Such a file is kept aside whole (`.damaged`). Raises OSError.
    """
    found: list[Recovered] = []
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in sorted(folder.glob(f"*{OPEN}")):
            with _left_open(path) as descriptor:
                if descriptor is not None:
                    found.append(_recover(descriptor, path))
    return found


@contextlib.contextmanager
def _left_open(path: Path) -> Iterator[int | None]:
    """A locked descriptor of a segment whose writer is gone; None where it lives, or has sealed
    the segment since the folder was listed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        same = _is_at(descriptor, path)  # it may have been sealed before it was locked
    except BlockingIOError:
        same = False
    try:
        yield descriptor if same else None
    finally:
        os.close(descriptor)


def _recover(descriptor: int, path: Path) -> Recovered:
    with _mapped(path) as data:
        size = len(data)
        seed = seed_of(data)
        end = end_of_frames(data, seed) if seed is not None else 0
        broken = False
        if end <= START:  # nothing can be read: is its beginning hurt, or the first frame torn?
            broken = size > START and (seed is None or looks_like_a_frame(data))
        broken = broken or (seed is not None and end < size and another_frame(data, seed, end + 1))
        whole = bytes(data) if broken else b""
    kept = None
    if broken:
        kept = path.with_suffix(DAMAGED)
        part = kept.with_suffix(".part")
        part.write_bytes(whole)
        with open(part, "rb") as copy:
            os.fsync(copy.fileno())
        os.rename(part, kept)
        sync_folder(path.parent)
        logger.error("%s is damaged behind byte %d, and kept aside: restore it", kept, end)
    return Recovered(seal(descriptor, path, end), size - end, kept)


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[memoryview]:
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            yield memoryview(b"")
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            try:
                yield view
            finally:
                view.release()
