"""What `cdp tail` and its page show while events arrive."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cdp_assets.collector import tail
from cdp_assets.collector.tail import Seen, follow, plain
from cdp_assets.collector.verdicts import Verdicts
from cdp_assets.deployment.collecting import verdicts
from cdp_assets.landing import Frame, LogWriter, Request, read
from cdp_assets.landing.frames import START, content
from cdp_assets.settings import Settings
from cdp_assets_tests.collector.serving import write_defs

WHEN = "2026-01-01T10:20:30.123456Z"


def put(log: LogWriter, source: str, call: str, body: object, ascii_only: bool = True) -> None:
    landed = threading.Event()
    request = Request(source, WHEN, call)
    log.append(
        content(request, json.dumps(body, ensure_ascii=ascii_only).encode()),
        lambda trouble: landed.set(),
    )
    assert landed.wait(20)


def take(stream: Iterator[Seen | None], wanted: int) -> list[Seen]:
    found: list[Seen] = []
    for _ in range(50):
        event = next(stream)
        if event is not None:
            found.append(event)
        if len(found) == wanted:
            break
    return found


def test_events_are_shown_as_they_arrive_with_their_verdicts(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, seal_bytes=400)
    good = {"type": "track", "event": "E", "userId": "u1"}
    put(log, "web", "track", good)
    put(log, "web", "track", {**good, "userId": "u2"})
    stream = follow(tmp_path, Verdicts(), last=1, sleep=lambda seconds: None)
    assert [event.who for event in take(stream, 1)] == ["u2"]
    put(log, "web", "batch", {"batch": [good, {"type": "page"}]})
    put(log, "app", "page", {"anonymousId": "a", "name": "Home"})
    log.close()
    web, refused, app = take(stream, 3)
    assert (web.name, web.verdict) == ("E", "ok")
    assert refused.verdict.startswith("no_id")
    assert app.line() == "10:20:30.123  app  page Home  a  ok"
    assert take(stream, 1) == [], "none of them again, though the segment was sealed meanwhile"


def test_only_one_source(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    for source in ("web", "app"):
        put(log, source, "page", {"anonymousId": source})
    log.close()
    stream = follow(tmp_path, Verdicts(), "app", last=10, sleep=lambda seconds: None)
    assert [event.source for event in take(stream, 2)] == ["app"]


def test_old_segments_are_not_read_and_read_ones_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        log = LogWriter(tmp_path)
        put(log, "web", "page", {"anonymousId": f"a{number}"})
        log.close()
    opened: list[Path] = []

    def counted(path: Path, offset: int = START) -> Iterator[Frame]:
        opened.append(path)
        return read(path, offset)

    monkeypatch.setattr(tail, "read", counted)
    stream = follow(tmp_path, Verdicts(), last=2, sleep=lambda seconds: None)
    assert [event.who for event in take(stream, 2)] == ["a18", "a19"]
    assert take(stream, 1) == []
    assert len(opened) == 2
    log = LogWriter(tmp_path)
    put(log, "web", "page", {"anonymousId": "new"})
    log.close()
    assert [event.who for event in take(stream, 2)] == ["new"]
    assert len(opened) == 3


def test_all_that_came_before_is_never_held(tmp_path: Path) -> None:
    log = LogWriter(tmp_path)
    for number in range(60):
        put(log, "web", "page", {"anonymousId": str(number), "x": "x" * 500_000})
    tracemalloc.start()
    try:
        (event,) = take(follow(tmp_path, Verdicts(), last=1, sleep=lambda seconds: None), 1)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
        log.close()
    assert event.who == "59"


@pytest.mark.parametrize("sign", ["\x1b", "\x9b", "\n", "\r", "\u202e", "\u2066", "\u2028", "\x7f"])
def test_what_was_sent_steers_no_terminal(tmp_path: Path, sign: str) -> None:
    log = LogWriter(tmp_path / "landing")
    name = f"A{sign}[31mB"
    put(log, "web", "page", {"anonymousId": name, "name": name, "x": name}, ascii_only=False)
    log.close()
    (event,) = take(follow(tmp_path / "landing", Verdicts(), last=1), 1)
    escape = json.dumps(sign)[1:-1]
    assert sign not in event.line()
    assert event.line().count(f"A{escape}[31mB") == 2
    assert sign not in plain(event.payload)
    assert json.loads(plain(event.payload))["x"] == name, "and is read as before"


def test_what_the_plan_will_put_aside_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = """type: cdp_assets.TrackingPlan
attributes:
  violations: quarantine
  events: {E: {properties: {n: {type: integer, required: true}}}}
"""
    source = (
        "type: cdp_assets.EventSource\nattributes: {write_key: one-key-1, tracking_plan: product}\n"
    )
    defs = write_defs(tmp_path / "defs", {"product": plan, "web": source})
    monkeypatch.setenv("CDP_DEFS", str(defs))
    monkeypatch.setenv("CDP_HOME", str(tmp_path / "home"))
    settings = Settings()
    log = LogWriter(settings.landing)
    for properties in ({"n": 1}, {"n": "x"}):
        body = {"type": "track", "event": "E", "userId": "u", "properties": properties}
        put(log, "web", "track", body)
    log.close()
    stream = follow(settings.landing, verdicts(settings), last=10, sleep=lambda seconds: None)
    fine, broken = take(stream, 2)
    assert fine.verdict == "ok"
    assert broken.verdict.startswith("violation:")


def test_the_page_is_for_this_machine_alone(tmp_path: Path) -> None:
    home, defs = tmp_path / "home", tmp_path / "defs"
    defs.mkdir()
    log = LogWriter(home / "landing")
    put(log, "web", "page", {"anonymousId": "<b>a1"})
    log.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cdp_assets.cli", "tail", "--page", "--port", str(port)]
    environment = {"CDP_HOME": str(home), "CDP_DEFS": str(defs), "PATH": ""}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(requests.ConnectionError):
                    page = requests.get(url)
                    break
                time.sleep(0.1)
            assert page.status_code == 200
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]
            for path in ("/", "/events", "/page.js"):
                for host in ("evil.example", f"127.0.0.1.evil.example:{port}"):
                    assert requests.get(url + path, headers={"Host": host}).status_code == 403
            with requests.get(f"{url}/events", stream=True) as stream:
                first = next(line for line in stream.iter_lines() if line.startswith(b"data: "))
            assert json.loads(first.removeprefix(b"data: "))["who"] == "<b>a1"
        finally:
            process.kill()


def test_the_command_prints_what_is_there(tmp_path: Path) -> None:
    home, defs = tmp_path / "home", tmp_path / "defs"
    defs.mkdir()
    log = LogWriter(home / "landing")
    put(log, "web", "page", {"anonymousId": "a1"})
    log.close()
    command = [sys.executable, "-m", "cdp_assets.cli", "tail", "--payload"]
    environment = {"CDP_HOME": str(home), "CDP_DEFS": str(defs), "PATH": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.terminate()
    assert lines[0].split() == ["10:20:30.123", "web", "page", "a1", "ok"]
    assert json.loads(lines[1]) == {"type": "page", "anonymousId": "a1"}
