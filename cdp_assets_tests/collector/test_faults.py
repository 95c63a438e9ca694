"""A disk that is full, broken or slow, and more than can be written: refused with a word when to
come again, nothing acknowledged that is not there, and all well when it is over."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import uvicorn

from cdp_assets.collector import bodies
from cdp_assets.collector.app import Collector
from cdp_assets.collector.http import BoundedHttp
from cdp_assets.collector.keys import Key, KeyRing
from cdp_assets.collector.pages import Pages
from cdp_assets.collector.verdicts import Verdicts
from cdp_assets.landing import LogWriter, read, recover, sealed

EVENT = {"type": "track", "event": "E", "userId": "u", "writeKey": "publickey1"}


@contextlib.contextmanager
def served(folder: Path, **limits: float) -> Iterator[str]:
    """A collector in this process, so that its disk can be broken."""
    log = LogWriter(folder, **limits)  # type: ignore[arg-type]
    ring = KeyRing({"publickey1": Key("web")})
    app = Collector(log, lambda: ring, Verdicts(), Pages())
    config = uvicorn.Config(
        app, port=0, log_level="critical", lifespan="on", ws="none", http=BoundedHttp
    )
    server = uvicorn.Server(config)
    line = socket.socket()
    line.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([line],))
    thread.start()
    url = f"http://127.0.0.1:{line.getsockname()[1]}"
    try:
        for _ in range(200):
            with contextlib.suppress(requests.RequestException):
                requests.get(f"{url}/health", timeout=5)
                break
            time.sleep(0.02)
        yield url
    finally:
        server.should_exit = True
        thread.join(20)


def send(url: str, number: int, fill: int = 0) -> requests.Response:
    event = {**EVENT, "messageId": str(number), "properties": {"x": "x" * fill}}
    return requests.post(f"{url}/v1/t", json=event, timeout=20)


def landed(folder: Path) -> list[int]:
    recover(folder)
    bodies_ = [json.loads(frame.body) for path in sealed(folder) for frame in read(path)]
    return sorted(int(body["messageId"]) for body in bodies_)


def refuses(answer: requests.Response) -> bool:
    """Whether a client is told to come again, in a form that each SDK reads."""
    assert answer.status_code == 503
    assert 0 < int(answer.headers["Retry-After"]) <= 300
    return {"code", "message"} <= set(answer.json())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_and_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = os.fdatasync

    def broken(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with served(tmp_path) as url:
        assert send(url, 1).status_code == 200
        monkeypatch.setattr(os, "fdatasync", broken)
        assert refuses(send(url, 2))
        assert refuses(send(url, 3))
        monkeypatch.setattr(os, "fdatasync", real)
        assert send(url, 4).status_code == 200
    assert landed(tmp_path) == [1, 4]


def test_no_new_segment_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, seal_bytes=10) as url:
        assert send(url, 1).status_code == 200
        time.sleep(0.2)
        folder = tmp_path.rename(tmp_path.with_name("away"))
        assert refuses(send(url, 2))
        folder.rename(tmp_path)
        assert send(url, 3).status_code == 200
    assert landed(tmp_path) == [1, 3]


def test_a_disk_that_hangs_keeps_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    real = os.fdatasync
    with served(tmp_path, stuck_seconds=0.3) as url:
        assert send(url, 1).status_code == 200
        monkeypatch.setattr(os, "fdatasync", lambda d: (gate.wait(60), real(d))[1])
        assert refuses(send(url, 2)), "the one that waited when it began"
        assert refuses(send(url, 3)), "and the next at once"
        assert requests.get(f"{url}/health", timeout=5).status_code == 200
        gate.set()
        monkeypatch.setattr(os, "fdatasync", real)
        assert _soon(lambda: send(url, 4).status_code == 200)
    # the second was refused and is there all the same: a client that sends again is a duplicate
    assert set(landed(tmp_path)) >= {1, 4}


def _soon(true: Callable[[], bool]) -> bool:
    for _ in range(100):
        if true():
            return True
        time.sleep(0.05)
    return False


def test_more_than_can_be_written_is_refused_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda d: (time.sleep(0.05), real(d))[1])
    answers: dict[int, int] = {}
    lock = threading.Lock()

    def many(first: int) -> None:
        for number in range(first, first + 20):
            answer = send(url, number, fill=40_000)
            assert answer.status_code == 200 or refuses(answer)
            with lock:
                answers[number] = answer.status_code

    with served(tmp_path, waiting_bytes=200_000) as url:
        threads = [threading.Thread(target=many, args=(1_000 * n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    acked = sorted(number for number, status in answers.items() if status == 200)
    assert len(answers) == 16 * 20
    assert landed(tmp_path) == acked
    assert 0 < len(acked) < len(answers)


def test_a_worker_whose_thread_has_ended_makes_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr("cdp_assets.collector.app.os.kill", lambda pid, sign: told.append(sign))
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)

    def broken(descriptor: int) -> None:
        raise RuntimeError("a fault of ours")

    with served(tmp_path) as url:
        assert send(url, 1).status_code == 200
        monkeypatch.setattr(os, "fdatasync", broken)
        assert refuses(send(url, 2)), "who waited is told"
        assert told == [signal.SIGTERM]
        assert refuses(send(url, 3))
    (left,) = tmp_path.glob("*.open")  # sealed by whoever starts next, once this process is gone
    assert json.loads(next(read(left)).body)["messageId"] == "1"


@pytest.mark.parametrize("beginning", [b"", b"{"])
def test_a_body_that_drips_or_never_comes_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr("cdp_assets.collector.app.BODY_SECONDS", 0.3)
    with served(tmp_path) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(b"POST /v1/t HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
            line.sendall(beginning)
            assert b" 408 " in line.recv(4096)
        assert send(url, 1).status_code == 200


@pytest.mark.parametrize("first", [b"", b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"])
def test_a_head_that_never_ends_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr("cdp_assets.collector.http.HEAD_SECONDS", 0.3)
    with served(tmp_path) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(first)
            if first:
                assert b" 200 " in line.recv(4096)
            line.sendall(b"POST /v1/t HTTP/1.1\r\nHost: h\r\nX-Half")
            assert line.recv(4096) == b""
        with (
            socket.create_connection((host, int(port)), timeout=10) as line,
            contextlib.suppress(ConnectionError),
        ):
            line.sendall(b"GET /health HTTP/1.1\r\nX-Long: ")
            for _ in range(1_000):
                line.sendall(b"x" * 100_000)
            pytest.fail("a head of 100 MB was taken")
        assert send(url, 1).status_code == 200


def test_too_many_bodies_at_once_are_told_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies.Intake.__init__, "__defaults__", (10_000,))
    with served(tmp_path) as url:
        host, port = url.removeprefix("http://").split(":")
        head = b"POST /v1/t HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(head + b"x" * 9_000)
            time.sleep(0.2)
            with socket.create_connection((host, int(port)), timeout=10) as second:
                second.sendall(head + b"x" * 9_000)
                assert b" 503 " in second.recv(4096)
        assert _soon(lambda: send(url, 1).status_code == 200)


def test_a_mistake_of_ours_is_json_and_to_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*arguments: object) -> None:
        raise ValueError("with a value in it")

    with served(tmp_path) as url:
        monkeypatch.setattr(Verdicts, "of", mistaken)
        assert refuses(send(url, 1))


CROWDED_CONTEXT = b'{"writeKey":"publickey1","context":{"a":"' + b"x" * 10_000 + b'"},"batch":[{}'


@pytest.mark.parametrize(
    ("head", "bit", "times", "status"),
    [
        (b'{"writeKey":"publickey1","batch":[', b'\\"', 400_000, 200),
        (CROWDED_CONTEXT, b",{}", 5_000, 413),
        (b'{"writeKey":"publickey1","batch":[{}', b",{}", 300_000, 413),
        (b'{"writeKey":"publickey1","batch":[[', b"[", 400_000, 200),
    ],
)  # fmt: skip
def test_crafted_bodies_hold_nobody(
    tmp_path: Path, head: bytes, bit: bytes, times: int, status: int
) -> None:
    body = head + bit * times + (b"]}" if status == 413 else b"")
    with served(tmp_path) as url:
        answer = requests.post(f"{url}/v1/b", data=body, timeout=10)
        assert answer.status_code in (status, 400)
        assert len(answer.content) < 200_000
        assert requests.get(f"{url}/health", timeout=1).status_code == 200
