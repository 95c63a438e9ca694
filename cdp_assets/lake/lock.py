"""Exclusive locks by name, across processes and threads.

A small interface, so that a lake on an object store can bring its own (a lease row, a conditional
put): `Locks.hold(name)` is all that the rest of the lake asks for.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from .files import make_folder


class Locks(Protocol):
    """A family of exclusive locks by name. A thread that holds a lock may take it again."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Wait for the lock of this name and hold it until the block ends."""


class _Held:
    def __init__(self) -> None:
        self.thread = threading.RLock()
        self.depth = 0
        self.descriptor = -1


_held: dict[str, _Held] = {}
_registry = threading.Lock()


def _after_fork() -> None:
    # A forked child shares its parent's open file descriptions: it must neither believe that it
    # holds the parent's locks nor keep them held after the parent lets go.
    global _registry
    for held in _held.values():
        if held.descriptor >= 0:
            os.close(held.descriptor)
    _held.clear()
    _registry = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class FileLocks:
    """Locks by flock(2) on files in one folder of a local disk.

    The kernel lets go of them when a process ends, however it ends. flock promises no fairness:
    hold a lock for one write, not for a loop of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        path = str(self.folder / (name.replace("/", "%") + ".lock"))
        with _registry:
            held = _held.setdefault(path, _Held())
        with held.thread:
            if held.depth == 0:
                make_folder(self.folder)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                except BaseException:
                    os.close(descriptor)
                    raise
                held.descriptor = descriptor
            held.depth += 1
            try:
                yield
            finally:
                held.depth -= 1
                if held.depth == 0:
                    os.close(held.descriptor)
                    held.descriptor = -1
