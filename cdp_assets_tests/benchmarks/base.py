"""What every benchmark shares: a process of its own for each measurement, and a verdict."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """One mark: what it asks, what was measured, whether it is met.

    met: None where nothing could be measured, or where the figure is told beside without a mark.
    """

    name: str
    mark: str
    measured: str
    met: bool | None = None

    def line(self) -> str:
        """One line of the report."""
        word = {True: "met", False: "MISSED", None: "-"}[self.met]
        return f"{word:7} {self.name}: {self.measured}" + (
            f" (mark: {self.mark})" * bool(self.mark)
        )


@dataclass(frozen=True)
class Run:
    """One measured call: what it returned, its wall and processor seconds (its children's too),
    and the peak memory of its process in MB."""

    value: Any
    seconds: float
    processor: float
    peak_mb: float

    def said(self) -> str:
        """Its seconds, and those that processors spent: the fairer figure on a busy machine."""
        return f"{self.seconds:.2f} s ({self.processor:.2f} s of processor)"


class Clock:
    """Seconds of the part of a call that counts: `with clock:`. Without it the whole call does."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.processor = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()
        self._used = _used()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun
        self.processor += _used() - self._used


def _used() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def alone(call: Callable[..., Any], *arguments: Any) -> Run:
    """`call(clock, *arguments)` in a fresh process, so that its peak memory is its own.

    Raises RuntimeError where it failed.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(send, call, arguments))
    process.start()
    send.close()
    try:
        return Run(*receive.recv())
    except EOFError:
        raise RuntimeError(f"{call.__name__} ended without a result") from None
    finally:
        process.join()


def _child(send: Connection, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    clock = Clock()
    value = call(clock, *arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    send.send((value, clock.seconds, clock.processor, peak))


def serve_http(
    port: Connection, answer: Callable[[str, str, bytes], bytes], delay: float = 0.0
) -> None:
    """The least server there can be, on a port of 127.0.0.1 that is sent through `port`.

    answer: method, path with its query, body → the bytes of a 200. delay: seconds before each.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.split(b"\r\n")
            method, path = (part.decode() for part in lines[0].split(b" ")[:2])
            length = next(
                (int(x.split(b":")[1]) for x in lines if x.lower().startswith(b"content-length")), 0
            )
            said = answer(method, path, await reader.readexactly(length))
            if delay:
                await asyncio.sleep(delay)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                + str(len(said)).encode() + b"\r\n\r\n" + said
            )  # fmt: skip
            await writer.drain()

    async def safely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(safely, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()

    asyncio.run(run())


def machine() -> str:
    """The machine and how busy it was before the run."""
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    with open("/proc/meminfo") as info:
        kilobytes = int(info.readline().split()[1])
    return f"{len(os.sched_getaffinity(0))} cores, {kilobytes >> 20} GiB, load before: {load}"
