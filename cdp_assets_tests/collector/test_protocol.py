"""Every form in which SDKs send, and what they are told, over real HTTP."""

from __future__ import annotations

import base64
import contextlib
import gzip
import ipaddress
import itertools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import requests

from cdp_assets.collector.addresses import client_address
from cdp_assets.landing import Frame
from cdp_assets_tests.collector.serving import DEFS, KEY, Served, serving

SOURCES = {
    "web": DEFS,
    "quiet": "type: cdp_assets.EventSource\nattributes: {write_key: quietkey1, ip: truncate}\n",
    "silent": "type: cdp_assets.EventSource\nattributes: {write_key: silentkey1, ip: drop}\n",
    "slow": "type: cdp_assets.EventSource\nattributes: {write_key: slowkey12, rate: 1}\n",
}
KINDS = ("track", "identify", "page", "screen", "group", "alias")
_ids = (f"m{n}" for n in itertools.count())
Landed = Callable[[str], Frame | None]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("collector") / "home"
    variables = {"CDP_SEAL_SECONDS": "600", "CDP_TRUSTED_PROXIES": "127.0.0.1"}
    with serving(home, SOURCES, variables=variables) as served:
        yield served


@pytest.fixture
def landed(collector: Served) -> Landed:
    """The frame whose body holds a text, None where there is none: read while it is served."""
    from cdp_assets.landing import read

    def find(text: str) -> Frame | None:
        paths = [*collector.landing.glob("*.open"), *collector.landing.glob("*.segment")]
        found = [f for path in paths for f in read(path) if text.encode() in f.body]
        assert len(found) < 2
        return found[0] if found else None

    return find


def event(**more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "E", "userId": "u", "messageId": next(_ids), **more}


def basic(user: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()}


@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        *((f"/v1/{kind}", kind) for kind in KINDS),
        *((f"/v1/{kind[0]}", kind) for kind in KINDS),
    ],
)
def test_every_address_of_one_event(
    collector: Served, landed: Landed, path: str, kind: str, end: str
) -> None:
    sent = event()
    del sent["type"]
    answer = requests.post(collector.url + path + end, json=sent, headers=basic(f"{KEY}:"))
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    frame = landed(sent["messageId"])
    assert frame is not None
    assert frame.request.call == kind


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import", "/v1/batch/", "/batch"])
def test_every_address_of_batches(collector: Served, landed: Landed, path: str) -> None:
    sent = event()
    answer = requests.post(collector.url + path, json={"batch": [sent], "writeKey": KEY})
    assert answer.status_code == 200
    assert landed(sent["messageId"]) is not None


@pytest.mark.parametrize(
    ("headers", "query", "inside"),
    [
        (basic(f"{KEY}:"), "", None),
        (basic(KEY), "", None),
        ({"Authorization": basic(KEY)["Authorization"].rstrip("=")}, "", None),
        ({"Authorization": f"Bearer {KEY}"}, "", None),
        ({}, f"?writeKey={KEY}", None),
        ({}, "", KEY),
    ],
)
def test_every_place_of_the_key(
    collector: Served, headers: dict[str, str], query: str, inside: str | None
) -> None:
    sent = event(**({"writeKey": inside} if inside else {}))
    answer = requests.post(f"{collector.url}/v1/t{query}", json=sent, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("key", [None, "wrongkey1", ""])
def test_without_a_known_key_nothing_lands(
    collector: Served, landed: Landed, key: str | None
) -> None:
    sent = event(**({"writeKey": key} if key is not None else {}))
    answer = requests.post(f"{collector.url}/v1/t", json=sent)
    assert answer.status_code == 401
    assert {"code", "message"} <= set(answer.json())
    assert landed(sent["messageId"]) is None


def test_bodies_are_read_by_what_they_are(collector: Served, landed: Landed) -> None:
    """gzip under a text/plain label, without a length, in chunks; a beacon says nothing at all."""
    sent = event(writeKey=KEY)
    packed = gzip.compress(json.dumps(sent).encode())
    said = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    half = len(packed) // 2
    answer = requests.post(
        f"{collector.url}/v1/t", data=iter([packed[:half], packed[half:]]), headers=said
    )
    assert answer.status_code == 200
    frame = landed(sent["messageId"])
    assert frame is not None
    assert json.loads(frame.body) == sent
    beacon = event(writeKey=KEY)
    answer = requests.post(f"{collector.url}/v1/t", data=gzip.compress(json.dumps(beacon).encode()))
    assert answer.status_code == 200
    assert landed(beacon["messageId"]) is not None


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(b'{"a": 1}' * 100, mtime=0)[:-6]],
    ids=["none", "cut off"],  # both test processes must find the same names
)
def test_a_broken_gzip_is_a_clean_400(collector: Served, body: bytes) -> None:
    answer = requests.post(
        f"{collector.url}/v1/t", data=body, headers={**basic(KEY), "Content-Encoding": "gzip"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_encoding")


def test_a_body_beyond_the_limit_is_refused_unread(collector: Served) -> None:
    """Known by its length at once; by counting where it has none; inflated too."""
    host = urlparse(collector.url)
    with socket.create_connection((host.hostname, host.port), timeout=10) as line:
        line.sendall(b"POST /v1/b HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n{")
        assert b" 413 " in line.recv(4096)
    chunks = (b"x" * 100_000 for _ in range(60))
    with contextlib.suppress(requests.ConnectionError):  # it may close before all was sent
        assert requests.post(f"{collector.url}/v1/b", data=chunks).status_code == 413
    bomb = gzip.compress(bytes(50_000_000))
    answer = requests.post(
        f"{collector.url}/v1/b", data=bomb, headers={**basic(KEY), "Content-Encoding": "gzip"}
    )
    assert answer.status_code == 413


def test_a_batch_as_large_as_pythons_sdk_makes_passes(collector: Served) -> None:
    batch = [event(properties={"text": "x" * 30_000}) for _ in range(17)]
    answer = requests.post(f"{collector.url}/v1/batch", json={"batch": batch, "writeKey": KEY})
    assert (answer.status_code, answer.json()) == (200, {"success": True})


def test_a_verdict_for_each_event(collector: Served, landed: Landed) -> None:
    good = event()
    batch = [
        good,
        {"type": "track", "userId": "u"},
        "text",
        event(type="unheard"),
        event(userId=None),
    ]
    answer = requests.post(f"{collector.url}/v1/b", json={"batch": batch, "writeKey": KEY})
    assert answer.status_code == 200
    said = {item["index"]: item["reason"] for item in answer.json()["rejected"]}
    assert said == {1: "no_event_name", 2: "not_an_object", 3: "unknown_type", 4: "no_id"}
    assert landed(good["messageId"]) is not None


def test_what_is_no_json_is_kept_and_told(collector: Served, landed: Landed) -> None:
    answer = requests.post(f"{collector.url}/v1/b", data=b'{"batch-7431', headers=basic(KEY))
    assert (answer.status_code, answer.json()["code"]) == (400, "not_json")
    assert landed("batch-7431") is not None


def test_a_bare_nan_spoils_only_its_own_event(collector: Served) -> None:
    batch = [event(), event(properties={"x": float("nan")})]
    body = json.dumps({"batch": batch, "writeKey": KEY})
    assert "NaN" in body
    answer = requests.post(f"{collector.url}/v1/b", data=body)
    assert answer.status_code == 200
    assert [item["index"] for item in answer.json()["rejected"]] == [1]


def test_a_preflight_needs_no_key(collector: Served) -> None:
    asked = "authorization,content-type,x-retry-count"
    headers = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    answer = requests.options(f"{collector.url}/v1/t", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert set(asked.split(",")) <= set(
        answer.headers["Access-Control-Allow-Headers"].replace(" ", "").split(",")
    )
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://shop.example", 200),
        ("https://www.shop.example", 200),
        ("https://SHOP.example", 200),
        ("http://shop.example", 403),
        ("https://shop.example.evil.test", 403),
        ("https://evilshop.example", 403),
        ("null", 403),
    ],
)
def test_only_pages_of_its_origins_may_use_a_key(
    collector: Served, origin: str, status: int
) -> None:
    answer = requests.post(
        f"{collector.url}/v1/t", json=event(writeKey=KEY), headers={"Origin": origin}
    )
    assert answer.status_code == status


def test_the_settings_that_analytics_js_asks_for(collector: Served) -> None:
    for path in (f"/v1/projects/{KEY}/settings", f"/projects/{KEY}/settings"):
        answer = requests.get(collector.url + path, headers={"Origin": "https://shop.example"})
        found = answer.json()["integrations"]["Segment.io"]
        assert found["apiKey"] == KEY
        assert found["apiHost"] == urlparse(collector.url).netloc + "/v1"
        assert found["protocol"] == "http"
        assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"


def test_behind_a_proxy_the_settings_name_its_scheme(collector: Served) -> None:
    headers = {"X-Forwarded-Proto": "https", "Host": "events.shop.example"}
    answer = requests.get(f"{collector.url}/v1/projects/{KEY}/settings", headers=headers)
    found = answer.json()["integrations"]["Segment.io"]
    assert (found["protocol"], found["apiHost"]) == ("https", "events.shop.example/v1")


def test_the_settings_that_rudderstack_asks_for(collector: Served) -> None:
    url = f"{collector.url}/sourceConfig/?p=web&v=3"
    answer = requests.get(url, headers=basic(f"{KEY}:"))
    assert answer.json()["source"]["enabled"] is True
    assert requests.get(url, headers=basic("wrongkey1:")).status_code == 401


def test_a_pixel(collector: Served, landed: Landed) -> None:
    sent = event(writeKey=KEY)
    data = base64.b64encode(json.dumps(sent).encode()).decode().rstrip("=")
    page = {"Referer": "https://shop.example/mail"}
    answer = requests.get(
        f"{collector.url}/v1/pixel/track", params={"data": data}, headers=page, timeout=10
    )
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/gif")
    assert answer.content.startswith(b"GIF89a")
    frame = landed(sent["messageId"])
    assert frame is not None
    assert frame.request.referer == "https://shop.example/mail"
    broken = requests.get(f"{collector.url}/v1/pixel/track?data=%%%", timeout=10)
    assert broken.headers["Content-Type"] == "image/gif"


def test_what_an_sdk_reports_of_itself_is_answered_and_not_kept(
    collector: Served, landed: Landed
) -> None:
    answer = requests.post(
        f"{collector.url}/v1/m", json={"series": [{"metric": "analytics_js.7q"}]}
    )
    assert answer.status_code == 200
    assert landed("analytics_js.7q") is None


@pytest.mark.parametrize(
    ("key", "kept"), [(KEY, "203.0.113.77"), ("quietkey1", "203.0.113.0"), ("silentkey1", None)]
)
def test_addresses_are_cut_before_anything_is_written(
    collector: Served, landed: Landed, key: str, kept: str | None
) -> None:
    """The last address of X-Forwarded-For that is no trusted proxy's; also inside of the body."""
    sent = event(writeKey=key, context={"ip": "203.0.113.77"})
    requests.post(
        f"{collector.url}/v1/t",
        json=sent,
        headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.77, 127.0.0.1"},
    )
    frame = landed(sent["messageId"])
    assert frame is not None
    assert frame.request.ip == kept
    assert (b"203.0.113.77" in frame.body) == (key == KEY)
    assert json.loads(frame.body)["context"]["ip"] == kept


@pytest.mark.parametrize("key", ["quietkey1", "silentkey1"])
@pytest.mark.parametrize(
    "value",
    [
        '"203.0.113.77, 10.0.0.1"',
        '"203.0.113.77\\u0020"',
        '["203.0.113.77"]',
        '"\\u003203.0.113.77"',
    ],
)
@pytest.mark.parametrize("name", ["ip", "\\u0069p", "\\u0069\\u0070"])
def test_no_way_of_writing_it_keeps_an_address_whole(
    collector: Served, landed: Landed, key: str, value: str, name: str
) -> None:
    mark = next(_ids)
    body = (
        f'{{"event":"E","userId":"u","messageId":"{mark}-x","writeKey":"{key}","{name}":{value}}}'
    )
    assert requests.post(f"{collector.url}/v1/t", data=body).status_code == 200
    frame = landed(f"{mark}-x")
    assert frame is not None
    assert b"113.77" not in frame.body


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, unknown", None),
        ("10.0.0.1", "203.0.113.7, 10.0.0.2:443", "203.0.113.7"),
        ("203.0.113.9", "203.0.113.7", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"),
    ],
)
def test_whose_address_counts(peer: str, forwarded: str, client: str | None) -> None:
    networks = [ipaddress.ip_network("10.0.0.0/8")]
    assert client_address(peer, forwarded, networks) == client


def test_global_privacy_control_is_kept(collector: Served, landed: Landed) -> None:
    sent = event(writeKey=KEY)
    requests.post(f"{collector.url}/v1/t", json=sent, headers={"Sec-GPC": "1"})
    frame = landed(sent["messageId"])
    assert frame is not None
    assert frame.request.gpc


def test_a_key_that_sends_too_much_is_told_to_wait(collector: Served, landed: Landed) -> None:
    batch = [event() for _ in range(10)]
    answer = requests.post(f"{collector.url}/v1/b", json={"batch": batch, "writeKey": "slowkey12"})
    assert answer.status_code == 200
    sent = event(writeKey="slowkey12")
    answer = requests.post(f"{collector.url}/v1/t", json=sent)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 300
    assert {"code", "message"} <= set(answer.json())
    assert landed(sent["messageId"]) is None


def test_server_keys_are_made_shown_once_and_revoked(collector: Served, landed: Landed) -> None:
    def cdp(*arguments: str) -> str:
        environment = {"CDP_HOME": str(collector.home), "CDP_DEFS": str(collector.defs), "PATH": ""}
        command = [sys.executable, "-m", "cdp_assets.cli", "keys", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return done.stdout

    key = cdp("create", "web", "--name", "backend").strip()
    assert key not in cdp("list")
    assert not holding(collector.home, key)
    sent = event(context={"ip": "203.0.113.9"})
    assert _until(
        lambda: requests.post(f"{collector.url}/v1/t", json=sent, headers=basic(key)), 200
    )
    frame = landed(sent["messageId"])
    assert frame is not None
    assert frame.request.server
    inside = [event(writeKey=key), event(writeKey=key, x="ü"), event(writeKey=key, userId=None)]
    escaped = [json.dumps(sent).replace(key, f"cd\\u0070{key[3:]}") for sent in inside]
    for body in (*map(json.dumps, inside), *escaped):
        assert requests.post(f"{collector.url}/v1/t", data=body).status_code == 200
    torn = json.dumps({"writeKey": key, "batch": [event(x=float("nan")), event()]})
    assert requests.post(f"{collector.url}/v1/b", data=torn).status_code == 200
    assert not holding(collector.home, key), "it is secret wherever it was sent"
    assert not holding(collector.home, f"0070{key[3:]}")
    cdp("revoke", "backend")
    again = event()
    assert _until(
        lambda: requests.post(f"{collector.url}/v1/t", json=again, headers=basic(key)), 401
    )


def holding(folder: Path, text: str) -> list[Path]:
    """The files below a folder that hold a text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if text.encode() in path.read_bytes()]


def _until(send: Callable[[], requests.Response], status: int) -> bool:
    for _ in range(60):
        if send().status_code == status:
            return True
        time.sleep(0.25)
    return False


def test_the_wrong_method_or_address(collector: Served) -> None:
    assert requests.get(f"{collector.url}/v1/track").status_code == 404
    assert requests.post(f"{collector.url}/v1/nothing", json={}).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/cdp.js/../../keys.py"],
)
def test_no_address_leaves_what_is_served(collector: Served, path: str) -> None:
    """As a client of ill will sends it: others shorten it before they ask."""
    place = urlparse(collector.url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"root:" not in answer


def test_a_port_that_is_taken_is_told_in_one_line(collector: Served, tmp_path: Path) -> None:
    port = str(urlparse(collector.url).port)
    command = [sys.executable, "-m", "cdp_assets.cli", "serve", "--port", port]
    environment = {"CDP_HOME": str(tmp_path / "home"), "CDP_DEFS": str(collector.defs), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert "--port" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_event_with_half_an_emoji_is_kept_and_named(collector: Served, landed: Landed) -> None:
    """JSON.stringify writes it, and an SDK would throw away what it is told 400 for."""
    sent = json.dumps(event(properties={"t": "half"})).replace("half", "\\ud83d")
    answer = requests.post(f"{collector.url}/v1/t", data=sent, headers=basic(KEY))
    assert answer.status_code == 200
    assert answer.json()["rejected"][0]["reason"] == "not_json"
    assert requests.post(f"{collector.url}/v1/t", data=b"", headers=basic(KEY)).status_code == 400
