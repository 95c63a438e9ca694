"""Alerts reach a real web server and a real mail server: once, without a secret, and not never."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest

from cdp_assets.components.alerts import alerts
from cdp_assets.deployment.alerts import Alert, AlertError, deliver, ways
from cdp_assets.settings import Settings


class Hook(ThreadingHTTPServer):
    """Keeps what is posted; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.posted.append(json.loads(body))
            self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    server = Hook()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/services/T0/secret?x=1"
    monkeypatch.setenv("CDP_ALERT_WEBHOOK", url)
    yield server
    server.shutdown()
    server.server_close()


def sync(
    failed: int = 0, note: str | None = None, passed: bool = True, owners: Sequence[str] = ()
) -> dg.AssetsDefinition:
    key = dg.AssetKey(["syncs", "people"])

    @dg.multi_asset(
        name="apply",
        specs=[dg.AssetSpec(key, owners=owners)],
        check_specs=[dg.AssetCheckSpec("stop_if", asset=key)],
    )
    def apply() -> Iterator[Any]:
        metadata = {"failed": failed, **({"note": note} if note else {})}
        yield dg.MaterializeResult(
            asset_key=key,
            metadata=metadata,
            check_results=[
                dg.AssetCheckResult(check_name="stop_if", passed=passed, description="too many")
            ],
        )

    return apply


def breaks(error: Callable[[], Exception]) -> dg.AssetsDefinition:
    @dg.asset(name="raw_contact")
    def pull() -> None:
        raise error()

    return pull


class Watch:
    """The sensor over a Dagster instance, tick by tick."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        (self.sensor,) = list(alerts().sensors or ())
        self.cursor: str | None = None
        self.tick()

    def tick(self, *assets: dg.AssetsDefinition) -> str:
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, definitions=dg.Definitions(assets=assets)
        )
        found = self.sensor.evaluate_tick(context)
        self.cursor = found.cursor
        return found.skip_message or ""

    def run(self, asset: dg.AssetsDefinition) -> None:
        dg.materialize([asset], instance=self.instance, raise_on_error=False)


@pytest.fixture
def watch(hook: Hook) -> Iterator[Watch]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(instance)


def test_a_failed_run_is_told_with_our_own_words(hook: Hook, watch: Watch) -> None:
    watch.run(breaks(lambda: dg.Failure("crm: the credentials are refused.", allow_retries=False)))
    watch.tick()
    (found,) = hook.posted
    assert (found["severity"], found["where"]) == ("error", "raw_contact")
    assert found["what"] == "crm: the credentials are refused."
    assert found["run_id"] in found["link"]
    assert "credentials" in found["text"]
    assert hook.paths == ["/services/T0/secret?x=1"]
    watch.tick()
    assert len(hook.posted) == 1


def test_the_text_of_an_unknown_error_stays_inside(hook: Hook, watch: Watch) -> None:
    watch.run(breaks(lambda: ValueError("row of ada@example.com")))
    watch.tick()
    assert len(hook.posted) == 1
    assert "ada@example.com" not in json.dumps(hook.posted)


def test_refused_rows_failed_checks_and_waiting_plans_are_told(hook: Hook, watch: Watch) -> None:
    watch.run(sync(failed=3))
    watch.run(sync(note="Waits for approval: cdp approve 0123456789ab"))
    watch.run(sync(passed=False))
    watch.run(sync())
    watch.tick()
    said = [(item["severity"], item["what"]) for item in hook.posted]
    assert said == [
        ("warning", "3 of its rows were refused"),
        ("waiting", "Waits for approval: cdp approve 0123456789ab"),
        ("error", "too many"),
    ]
    assert "cdp replay people" in hook.posted[0]["do"]


def test_whose_sync_it_is_is_told_and_mailed(
    hook: Hook, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = sync(failed=1, owners=["ada@example.com"])
    other = breaks(lambda: dg.Failure("it broke"))
    with Mail() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("CDP_ALERT_EMAIL", "data@example.com")
        monkeypatch.setenv("CDP_SMTP_URL", f"smtp://127.0.0.1:{server.server_address[1]}")
        watch.run(owned)
        watch.run(other)
        watch.tick(owned, other)
        server.shutdown()
    assert [(a["where"], a["owner"]) for a in hook.posted] == [
        ("syncs/people", "ada@example.com"),
        ("raw_contact", ""),
    ]
    assert "Owner: ada@example.com" in hook.posted[0]["text"]
    first, second = server.mails
    assert "To: data@example.com, ada@example.com" in first
    assert "ada@example.com" not in second


def test_the_same_alert_is_sent_once_a_day(hook: Hook, watch: Watch) -> None:
    for _ in range(3):
        watch.run(sync(note="Waits for approval: cdp approve 0123456789ab"))
        watch.tick()
    assert len(hook.posted) == 1
    watch.run(sync(note="Waits for approval: cdp approve ba9876543210"))
    watch.tick()
    assert len(hook.posted) == 2


def test_what_could_not_be_delivered_is_told_later(hook: Hook, watch: Watch) -> None:
    hook.status = 404
    watch.run(sync(failed=1))
    watch.run(sync(failed=2))
    message = watch.tick()
    assert "could not be posted" in message
    assert "secret" not in message
    hook.status = 200
    watch.tick()
    assert [item["what"] for item in hook.posted] == [
        "1 of its rows were refused",
        "2 of its rows were refused",
    ]


def test_while_mail_is_broken_the_webhook_is_told_each_alert_once(
    hook: Hook, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDP_ALERT_EMAIL", "data@example.com")
    monkeypatch.setenv("CDP_SMTP_URL", "smtp://127.0.0.1:1")
    watch.run(sync(failed=1))
    watch.run(sync(failed=2))
    for _ in range(3):
        assert "could not be mailed" in watch.tick()
    assert [item["what"] for item in hook.posted] == [
        "1 of its rows were refused",
        "2 of its rows were refused",
    ]
    with Mail() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("CDP_SMTP_URL", f"smtp://127.0.0.1:{server.server_address[1]}")
        watch.tick()
        watch.tick()
        server.shutdown()
    assert len(server.mails) == 2
    assert len(hook.posted) == 2


def test_what_ended_before_is_history(hook: Hook) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([sync(failed=1)], instance=instance)
        watch = Watch(instance)
        watch.tick()
        assert hook.posted == []


def test_without_an_address_there_is_no_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDP_ALERT_WEBHOOK", raising=False)
    monkeypatch.delenv("CDP_ALERT_EMAIL", raising=False)
    assert not alerts().sensors


class Mail(socketserver.ThreadingTCPServer):
    """Takes one mail by plain SMTP."""

    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Smtp)
        self.mails: list[str] = []


class _Smtp(socketserver.StreamRequestHandler):
    server: Mail

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            verb = line.strip().upper()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                body = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    body += part
                self.server.mails.append(body.decode())
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 fine\r\n")
            if verb == b"QUIT":
                return


ALERT = Alert(severity="error", where="raw/crm/contact", what="is down", do="wait")


def test_an_alert_is_mailed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Mail() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("CDP_ALERT_WEBHOOK", raising=False)
        monkeypatch.setenv("CDP_ALERT_EMAIL", "data@example.com, night@example.com")
        monkeypatch.setenv("CDP_SMTP_URL", f"smtp://127.0.0.1:{server.server_address[1]}")
        deliver(Settings(), ALERT, "email")
        server.shutdown()
    (mail,) = server.mails
    assert "Subject: CDP: [error] raw/crm/contact" in mail
    assert "To: data@example.com, night@example.com" in mail
    assert "To do: wait" in mail


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CDP_ALERT_WEBHOOK": "http://chat.example.com/key"}, "CDP_ALERT_WEBHOOK must begin"),
        ({"CDP_ALERT_WEBHOOK": "http://127.0.0.1:1/key"}, "could not be posted"),
        ({"CDP_ALERT_EMAIL": "a@example.com"}, "CDP_SMTP_URL is not"),
        (
            {"CDP_ALERT_EMAIL": "a@example.com", "CDP_SMTP_URL": "mail://u:key@127.0.0.1"},
            "must begin with smtp://",
        ),
        (
            {"CDP_ALERT_EMAIL": "a@example.com", "CDP_SMTP_URL": "smtp://u:key@127.0.0.1:1"},
            "could not be mailed",
        ),
        (
            {"CDP_ALERT_EMAIL": "a@example.com", "CDP_SMTP_URL": "smtp://u:key@mail.example.com"},
            "would send its password unencrypted",
        ),
    ],
)
def test_a_wrong_address_is_told_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name in ("CDP_ALERT_WEBHOOK", "CDP_ALERT_EMAIL", "CDP_SMTP_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AlertError) as found:
        deliver(Settings(), ALERT, *ways(Settings()))
    assert said in str(found.value)
    assert "key" not in str(found.value)
