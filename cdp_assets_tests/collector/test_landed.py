"""From a request to rows of `events`: each event once, with what its request says of it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.events import EVENTS, EventFilesSpec, accounts, ingest
from cdp_assets.events.config import LANDED, LandedConfig
from cdp_assets.events.landed import parts
from cdp_assets.events.model import TYPES, Refusal, judge
from cdp_assets.events.replay import replay
from cdp_assets.lake import Lake
from cdp_assets.landing import LogWriter, Request
from cdp_assets.landing.frames import START, content
from cdp_assets.raw.tables import QUARANTINE
from cdp_assets_tests.collector.serving import KEY, serving

RECEIVED = "2026-03-01T12:00:00.000000Z"
NOW = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def land(folder: Path, *pairs: tuple[Request, bytes]) -> None:
    log = LogWriter(folder)
    left = threading.Semaphore(0)
    for request, body in pairs:
        log.append(content(request, body), lambda trouble: left.release())
    for _ in pairs:
        assert left.acquire(timeout=20)
    log.close()


def spec(folder: Path, **purposes: str) -> EventFilesSpec:
    return EventFilesSpec(LANDED, LandedConfig(f"{folder}/*.segment", purposes))


def read_in(
    tmp_path: Path, *pairs: tuple[Request, bytes], **purposes: str
) -> tuple[Any, pl.DataFrame]:
    """Land these, ingest them, and give the result and the rows in order."""
    land(tmp_path / "landing", *pairs)
    lake = Lake(tmp_path / "lake")
    result = ingest(lake, [spec(tmp_path / "landing", **purposes)], {}, (), NOW)
    return result, lake.open(EVENTS).scan().sort("row_number").collect()


def request(call: str = "batch", **more: Any) -> Request:
    return msgspec.structs.replace(Request("web", RECEIVED, call), **more)


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 2]), st.booleans())
@settings(max_examples=100)
def test_a_batch_is_its_elements_however_it_is_written(
    batch: list[Any], indent: int | None, first: bool
) -> None:
    """Also where a bare NaN or an infinity keeps any decoder from reading it as a whole."""
    around = {"sentAt": RECEIVED, "writeKey": "k}]"}
    whole = {"batch": batch, **around} if first else {**around, "batch": batch}
    found = parts("batch", json.dumps(whole, indent=indent).encode())
    assert [json.dumps(json.loads(line)) for line in found.lines] == [json.dumps(e) for e in batch]
    if batch or "NaN" not in json.dumps(batch):
        assert found.sent == RECEIVED


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_no_bytes_crash_it(body: bytes) -> None:
    for call in ("batch", "track"):
        assert all(b"\n" not in line for line in parts(call, body).lines)


def test_a_torn_batch_gives_up_only_its_last(tmp_path: Path) -> None:
    events = [{"type": "track", "event": "E", "userId": "u", "messageId": str(n)} for n in range(3)]
    body = json.dumps({"batch": events}).encode()[:-25]
    result, rows = read_in(tmp_path, (request(), body))
    assert rows["message_id"].to_list() == ["0", "1"]
    assert (result.read, result.stored, result.quarantined) == (3, 2, 1)


def test_what_a_request_says_of_its_events(tmp_path: Path) -> None:
    sent = {
        "type": "track",
        "event": "E",
        "userId": "u",
        "messageId": "m",
        "receivedAt": "1999-01-01",
        "timestamp": "2026-03-01T11:00:00Z",
        "context": {"ip": "10.9.9.9"},
    }
    body = json.dumps({"batch": [sent], "sentAt": "2026-03-01T11:30:00Z"}).encode()
    browser = request(ip="203.0.113.7", agent="Firefox", gpc=True)
    server = request(source="backend", ip="203.0.113.8", agent="python", server=True)
    _, rows = read_in(tmp_path, (browser, body), (server, body), web="analytics")
    web, backend = rows.sort("source", descending=True).iter_rows(named=True)
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert web["received_at"] == backend["received_at"] == moment, "the collector's own clock"
    assert web["sent_at"] == datetime(2026, 3, 1, 11, 30, tzinfo=UTC)
    assert web["timestamp"] == datetime(2026, 3, 1, 11, 30, tzinfo=UTC), "corrected by 30 minutes"
    assert (web["ip"], backend["ip"]) == ("203.0.113.7", "10.9.9.9"), "a browser's word is none"
    assert (web["user_agent"], backend["user_agent"]) == ("Firefox", None)
    assert (web["purpose"], backend["purpose"]) == ("analytics", None)
    assert "gpc" in web["flags"]
    assert "gpc" not in backend["flags"]
    assert json.loads(web["payload"]) == sent


def test_the_address_says_the_type_and_the_batch_the_context(tmp_path: Path) -> None:
    bare = {"event": "E", "userId": 7}
    batch = {
        "batch": [{"type": "page", "userId": "u", "context": {"page": {"url": "https://a/"}}}],
        "context": {"userAgent": "A", "page": {"url": "https://b/"}},
    }
    _, rows = read_in(
        tmp_path,
        (request("track"), json.dumps(bare).encode()),
        (request(), json.dumps(batch).encode()),
    )
    assert rows["type"].to_list() == ["track", "page"]
    assert rows["user_id"].to_list() == ["7", "u"]
    assert rows["page_url"].to_list() == [None, "https://a/"]
    assert rows["user_agent"].to_list() == [None, "A"]


def test_beside_a_bare_nan_a_batch_keeps_what_it_says_of_all(tmp_path: Path) -> None:
    good = {"type": "track", "event": "E", "userId": "u", "context": None}
    odd = {**good, "properties": {"x": float("nan")}}
    batch = {"batch": [good, odd], "sentAt": 1_700_000_000.5,
             "context": {"userAgent": "A"}, "integrations": {"All": False}}  # fmt: skip
    _, rows = read_in(tmp_path, (request(), json.dumps(batch).encode()))
    assert rows["user_agent"].to_list() == ["A"]
    assert json.loads(rows["payload"][0])["integrations"] == {"All": False}
    assert rows["sent_at"][0] == datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)


def test_ids_minted_at_landing_stay_and_resends_are_known(tmp_path: Path) -> None:
    """Two equal clicks without an id are two; a retry bears its id, with another sentAt."""
    click = json.dumps({"event": "Click", "anonymousId": "a"}).encode()
    named = {"type": "track", "event": "E", "anonymousId": "a", "messageId": "m1",
             "timestamp": "2026-03-01T11:00:00Z"}  # fmt: skip
    first = json.dumps({"batch": [named], "sentAt": "2026-03-01T11:00:01Z"}).encode()
    again = json.dumps({"batch": [named], "sentAt": "2026-03-01T11:50:01Z"}).encode()
    result, rows = read_in(
        tmp_path, *((request("track"), click),) * 2, (request(), first), (request(), again)
    )
    assert (result.stored, result.duplicates) == (3, 1)
    before = rows["message_id"].to_list()
    lake = Lake(tmp_path / "lake")
    day = NOW.date()
    repeated = ingest(lake, [spec(tmp_path / "landing")], {}, (), NOW, days=(day, day))
    assert (repeated.stored, repeated.duplicates) == (0, 4)
    assert lake.open(EVENTS).scan().sort("row_number").collect()["message_id"].to_list() == before


def test_the_poison_list_in_one_batch_of_a_thousand(tmp_path: Path) -> None:
    good = [
        json.dumps({"type": "track", "event": "E", "userId": "u", "messageId": str(n)})
        for n in range(981)
    ]
    start = '{"type":"track","event":"E","userId":"u","properties":'
    deep = start + "[" * 90 + "1" + "]" * 90 + "}"
    poison = [
        start + '{"x":NaN}}', start + '{"x":Infinity}}', start + '{"x":1e400}}',
        start + '{"x":"\\ud800"}}', start + '{"x":tru}}', deep, "[]", "null", "17", '"text"',
        '{"type":"track","userId":"u"}', '{"type":"track","event":"E"}',
        '{"type":"sing","userId":"u"}',
        '{"userId":"u"}', '{"type":"track","event":"E","userId":{"a":1}}',
        '{"type":"track","event":"E","userId":"' + "u" * 600 + '"}',
        start + '{"x":"' + "x" * 1_100_000 + '"}}',
        start + json.dumps({f"key{n}": n for n in range(10_001)}) + "}",
        start + '{"x":' + "1" * 5_000 + "}}",
    ]  # fmt: skip
    mixed = good + poison
    random.Random(3).shuffle(mixed)
    body = ('{"sentAt":"2026-03-01T12:00:00Z","batch":[' + ",".join(mixed) + "]}").encode()
    result, rows = read_in(tmp_path, (request(), body))
    assert sorted(rows["message_id"], key=int) == [str(n) for n in range(981)]
    assert (result.read, result.quarantined) == (1_000, 19)
    kept = Lake(tmp_path / "lake").open(QUARANTINE).scan().collect()
    assert set(kept["step"]) == {"events/web"}
    assert kept["reason"].null_count() == 0
    reasons = "not_json too_deep not_an_object no_id too_long no_event_name unknown_type no_type"
    assert set(kept["reason"]) >= {*reasons.split(), "id_not_text", "too_many_members"}


def test_every_event_is_accounted_for_by_source_and_hour(tmp_path: Path) -> None:
    def batch(*ids: str) -> bytes:
        events = [{"type": "track", "event": "E", "userId": "u", "messageId": i,
                   "timestamp": RECEIVED} for i in ids]  # fmt: skip
        return json.dumps({"batch": [*events, {"type": "track", "userId": "u"}]}).encode()

    later = "2026-03-01T13:59:59.999999Z"
    result, _ = read_in(
        tmp_path,
        (request(), batch("1", "2")),
        (request(), batch("2", "3")),
        (request(received=later), batch("4")),
        (request(source="app"), batch("1")),
    )
    rows = {(r["source"], r["hour"].hour): tuple(r[c] for c in accounts.COUNTS)
            for r in result.landed.iter_rows(named=True)}  # fmt: skip
    assert rows == {("app", 12): (2, 1, 0, 1, 0), ("web", 12): (6, 3, 1, 2, 0),
                    ("web", 13): (2, 1, 0, 1, 0)}  # fmt: skip
    assert result.accounted


def test_a_line_that_our_own_code_fails_on_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = import_module("cdp_assets.events.stream")
    real = room.decode_block

    def mistaken(lines: Any, *rest: Any) -> Any:
        if b"boom" in lines.data:
            raise ZeroDivisionError("with a value of the line")
        return real(lines, *rest)

    monkeypatch.setattr(room, "decode_block", mistaken)
    bodies = [
        json.dumps({"event": "boom" if n in (3, 40) else "E", "userId": "u", "messageId": str(n)})
        for n in range(50)
    ]
    result, rows = read_in(tmp_path, *((request("track"), body.encode()) for body in bodies))
    assert {int(i) for i in rows["message_id"]} == {*range(50)} - {3, 40}
    assert result.accounted
    lake = Lake(tmp_path / "lake")
    stubborn = replay(lake, [spec(tmp_path / "landing")], {}, (), NOW)
    assert (stubborn.stored, stubborn.refused) == (0, 2), "nor does it stop a replay"
    kept = Lake(tmp_path / "lake").open(QUARANTINE).scan().sort("position").collect()
    assert kept["position"].to_list() == [4, 41]
    assert set(kept["reason"]) == {"not_understood"}
    assert "value" not in kept["detail"][0]
    assert [line.decode() for line in kept["payload"]] == [
        json.dumps({"type": "track", **json.loads(bodies[n])}, separators=(",", ":"))
        for n in (3, 40)
    ]


def test_a_fault_that_is_no_lines_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = import_module("cdp_assets.events.stream")

    def broken(*arguments: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(room, "decode_block", broken)
    body = json.dumps({"event": "E", "userId": "u"}).encode()
    with pytest.raises(ZeroDivisionError):
        read_in(tmp_path, *((request("track"), body),) * 200)


def test_a_line_that_is_lost_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = import_module("cdp_assets.events.decode")
    real = room._table

    def careless(frame: pl.DataFrame, *rest: Any) -> pl.DataFrame:
        return real(frame, *rest).head(-1)  # type: ignore[no-any-return]

    monkeypatch.setattr(room, "_table", careless)
    body = json.dumps({"event": "E", "userId": "u"}).encode()
    result, _ = read_in(tmp_path, *((request("track"), body),) * 3)
    assert result.landed["left_out"].to_list() == [1]
    assert not result.accounted


def test_what_was_refused_is_replayed_with_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = import_module("cdp_assets.events.decode")
    real: Callable[[str | bytes], Any] = judge
    monkeypatch.setattr(room, "judge", lambda line: Refusal("strict", "a fault of ours"))
    odd = {"type": "track", "event": "E", "userId": 5, "context": "text"}
    body = json.dumps({"batch": [odd, odd], "sentAt": "2026-03-01T11:59:00Z"}).encode()
    result, rows = read_in(tmp_path, (request(ip="203.0.113.7"), body))
    assert (result.quarantined, len(rows)) == (2, 0)
    monkeypatch.setattr(room, "judge", real)
    lake = Lake(tmp_path / "lake")
    for stored in (2, 0):
        done = replay(lake, [spec(tmp_path / "landing")], {}, (), NOW)
        assert (done.stored, done.refused, done.skipped) == (stored, 0, 0)
    rows = lake.open(EVENTS).scan().collect()
    assert set(rows["ip"]) == {"203.0.113.7"}
    assert set(rows["received_at"]) == {datetime(2026, 3, 1, 12, tzinfo=UTC)}
    assert set(rows["source"]) == {"web"}
    assert rows["message_id"].n_unique() == 2


def test_one_damaged_segment_stops_no_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = import_module("cdp_assets.events.decode")
    monkeypatch.setattr(room, "judge", lambda line: Refusal("strict", "a fault of ours"))
    body = json.dumps({"event": "E", "userId": 5, "context": "text"}).encode()
    for _ in range(3):
        land(tmp_path / "landing", *((request("track"), body),) * 3)
    lake = Lake(tmp_path / "lake")
    assert ingest(lake, [spec(tmp_path / "landing")], {}, (), NOW).quarantined == 9
    monkeypatch.undo()
    last, lost, _ = sorted((tmp_path / "landing").glob("*.segment"))
    for path, at in ((last, -10), (lost, START + 10)):
        data = bytearray(path.read_bytes())
        data[at] ^= 0xFF
        path.write_bytes(data)
    done = replay(lake, [spec(tmp_path / "landing")], {}, (), NOW)
    assert (done.read, done.stored, done.skipped) == (5, 5, 4)
    data = bytearray(last.read_bytes())
    data[-10] ^= 0xFF
    last.write_bytes(data)
    done = replay(lake, [spec(tmp_path / "landing")], {}, (), NOW)
    assert (done.stored, done.duplicates, done.skipped) == (1, 0, 3)


def test_a_segment_damaged_later_is_told_and_its_sound_part_read_and_restored(
    tmp_path: Path,
) -> None:
    body = json.dumps({"event": "E", "userId": "u"}).encode()
    land(tmp_path / "landing", *((request("track"), body),) * 5)
    (path,) = (tmp_path / "landing").glob("*.segment")
    sound = path.read_bytes()
    data = bytearray(sound)
    data[-10] ^= 0xFF
    path.write_bytes(data)
    lake = Lake(tmp_path / "lake")
    result = ingest(lake, [spec(tmp_path / "landing")], {}, (), NOW)
    assert (result.stored, result.failed) == (4, 1)
    assert "damaged" in str(result.notes[0].reason)
    path.write_bytes(sound)
    result = ingest(lake, [spec(tmp_path / "landing")], {}, (), NOW)
    assert (result.stored, result.duplicates, result.failed) == (1, 4, 0)
    assert lake.open(EVENTS).scan().collect()["message_id"].n_unique() == 5


@given(st.data())
@settings(max_examples=5)
def test_any_order_and_batches_of_segments_give_the_tables_of_one_read(data: st.DataObject) -> None:
    """Live, late, backfilled or rebuilt from the log: the same rows."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        numbers = data.draw(st.lists(st.integers(0, 8), min_size=1, max_size=8))
        for place, number in enumerate(numbers):
            body = {"event": "E", "anonymousId": f"a{number % 3}", "messageId": f"m{number}",
                    "timestamp": f"2026-02-{number + 1:02}T10:00:00Z"}  # fmt: skip
            when = f"2026-03-01T12:00:{place:02}.000000Z"
            pair = (request("track", received=when), json.dumps(body).encode())
            land(root / "all", pair)
        whole = Lake(root / "whole")
        ingest(whole, [spec(root / "all")], {}, (), NOW)
        bits = Lake(root / "bits")
        for path in data.draw(st.permutations(sorted((root / "all").glob("*.segment")))):
            (root / "some").mkdir(exist_ok=True)
            shutil.copy2(path, root / "some")
            if data.draw(st.booleans()):
                ingest(bits, [spec(root / "some")], {}, (), NOW)
        ingest(bits, [spec(root / "some")], {}, (), NOW)
        first, second = (
            lake.open(EVENTS).scan().select("message_id", "visitor", "original_at", "event_day")
            .sort("message_id", "visitor").collect()
            for lake in (whole, bits)
        )  # fmt: skip
        assert first.equals(second)
        assert len(first) == len(set(numbers))


def test_of_two_copies_without_a_time_the_one_read_first_stays(tmp_path: Path) -> None:
    body = json.dumps({"event": "E", "userId": "u", "messageId": "m"}).encode()
    for day in (1, 2):
        when = f"2026-03-0{day}T12:00:00.000000Z"
        land(tmp_path / "all", (request("track", received=when), body))
    segments = sorted((tmp_path / "all").glob("*.segment"))
    for day, order in ((1, segments), (2, segments[::-1])):
        lake, some = Lake(tmp_path / f"lake{day}"), tmp_path / f"some{day}"
        some.mkdir()
        for path in order:
            shutil.copy2(path, some)
            ingest(lake, [spec(some)], {}, (), NOW)
        rows = lake.open(EVENTS).scan().collect()
        assert rows["received_at"].dt.day().to_list() == [day]
    whole = Lake(tmp_path / "whole")
    ingest(whole, [spec(tmp_path / "all")], {}, (), NOW)
    assert whole.open(EVENTS).scan().collect()["received_at"].dt.day().to_list() == [1]


def published() -> list[dict[str, Any]]:
    folder = os.environ.get("CDP_SPECS")
    if not folder:
        pytest.skip("CDP_SPECS names no folder of published specs and recordings")
    text = Path(folder, "segment", "segment_docs_examples.json").read_text()
    found = [item["payload"] for item in json.loads(text)]
    events = [p for p in found if isinstance(p, dict) and p.get("type") in TYPES]
    return [p for p in events if p.get("userId") or p.get("anonymousId")]


def test_every_published_payload_is_stored_as_it_stands(tmp_path: Path) -> None:
    wanted = published()
    assert len(wanted) >= 40
    pairs = [(request(item["type"]), json.dumps(item).encode()) for item in wanted]
    result, rows = read_in(tmp_path, *pairs)
    assert (result.quarantined, result.read) == (0, len(wanted))
    stored = [json.loads(payload) for payload in rows["payload"]]
    assert all(item in wanted for item in stored)
    # the documentation bears one id in several of its examples
    assert len(stored) + result.duplicates == len(wanted)
    assert result.duplicates < 10


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_acknowledged_events_are_stored_once_though_workers_are_killed(
    tmp_path: Path, kills: int
) -> None:
    acked: set[str] = set()
    stop = threading.Event()

    def send(name: str, url: str) -> None:
        session, number = requests.Session(), 0
        while not stop.is_set():
            ids = [f"{name}-{number + k}" for k in range(3)]
            number += 3
            batch = [{"type": "track", "event": "E", "userId": "u", "messageId": i} for i in ids]
            while not stop.is_set():
                try:
                    answer = session.post(
                        f"{url}/v1/b", json={"batch": batch, "writeKey": KEY}, timeout=5
                    )
                except requests.RequestException:
                    time.sleep(0.05)
                    continue
                if answer.status_code == 200:
                    acked.update(ids)
                    break

    with serving(tmp_path / "home", arguments=["--workers", "2"]) as served:
        threads = [threading.Thread(target=send, args=(f"t{n}", served.url)) for n in range(4)]
        for thread in threads:
            thread.start()
        chance = random.Random(kills)
        for _ in range(kills):
            time.sleep(0.3 + chance.random())
            workers = served.workers()
            if workers:
                os.kill(chance.choice(workers), signal.SIGKILL)
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()
        served.stop()
        served.frames()
        lake = Lake(tmp_path / "lake")
        ingest(lake, [spec(served.landing)], {}, (), datetime.now(UTC))
    stored = lake.open(EVENTS).scan().collect()["message_id"].to_list()
    assert len(acked) > 50
    assert len(stored) == len(set(stored))
    assert acked <= set(stored)
