"""The one way out, against a server that misbehaves on purpose."""

from __future__ import annotations

import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.connectors.base import (
    BudgetSpent,
    ConnectorError,
    NotAuthorised,
    NotPermitted,
    Refused,
    Unavailable,
    UnknownOutcome,
)
from cdp_assets.connectors.http import HttpOptions, HttpSession
from cdp_assets.connectors.rate import RateBudget, retry_after
from cdp_assets.connectors.salesforce.policy import SalesforcePolicy
from cdp_assets.connectors.tokens import RenewedToken, StaticToken
from cdp_assets_tests.connectors.faulty import (
    Answer,
    Clock,
    Seen,
    Server,
    html,
    in_turn,
    reply,
    serve,
)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SECRET = "s3cr3t-t0ken-never-shown"
PERSON = "ada@example.com"


def options(clock: Clock, **more: Any) -> HttpOptions:
    return HttpOptions(
        now=lambda: NOW + timedelta(seconds=clock.time),
        monotonic=clock,
        sleep=clock.sleep,
        rng=random.Random(1),
        connect_timeout=1.0,
        read_timeout=0.3,
        **more,
    )


def session(server: Server, clock: Clock, **more: Any) -> HttpSession:
    more.setdefault("auth", StaticToken(SECRET))
    return HttpSession("crm", server.url, options=options(clock), **more)


def get(http: HttpSession, **more: Any) -> Any:
    return http.request(
        "GET", "/records/003000000000001AAA", what="pull of Contact", params={"q": PERSON}, **more
    ).body


def post(http: HttpSession, **more: Any) -> Any:
    return http.request(
        "POST", "/records", what="create of 1 Contact", body=b'{"Email":"ada@example.com"}', **more
    ).body


BROKEN = [
    html(500),
    html(200),
    Answer(502, b""),
    Answer(200, b'{"records": [1, 2', {"Content-Type": "application/json"}),
    Answer(200, b'{"records": [1, 2, 3]}', cut=9),
    Answer(200, b"", {"Content-Type": "text/plain"}, drop=True),
    Answer(200, b"{}", stall=0.5),
    Answer(200, b'{"name": "\xff"}'),
]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_answer_is_asked_for_again_and_never_taken_for_one(broken: Answer) -> None:
    decode = __import__("msgspec").json.Decoder(dict[str, Any]).decode
    clock = Clock()
    with serve(in_turn(broken, broken, reply({"ok": 1}))) as server:
        http = session(server, clock)
        assert get(http, decode=decode) == {"ok": 1}
        assert http.calls == len(server.journal) == 3
    # Doubling spans, of which at least half is waited.
    assert [0.5 <= clock.slept[0] <= 1, 1 <= clock.slept[1] <= 2] == [True, True]


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_what_may_not_be_repeated_is_sent_once(broken: Answer) -> None:
    decode = __import__("msgspec").json.Decoder(dict[str, Any]).decode
    with serve(in_turn(broken, reply({"ok": 1}))) as server:
        with pytest.raises(UnknownOutcome) as caught:
            post(session(server, Clock()), decode=decode)
        assert len(server.journal) == 1
    assert caught.value.retryable
    clean(caught.value)


def test_a_request_that_never_left_is_sent_again_whatever_it_is() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    clock = Clock()
    http = HttpSession("crm", f"http://127.0.0.1:{port}", options=options(clock, attempts=3))
    with pytest.raises(Unavailable, match="no connection at each of 3 attempts"):
        post(http)
    assert http.calls == 3


def test_gives_up_after_its_attempts_and_says_where() -> None:
    with serve(lambda seen: html(503)) as server:
        http = session(server, Clock())
        with pytest.raises(Unavailable) as caught:
            get(http)
        assert len(server.journal) == 6
    assert "crm: pull of Contact (GET /records/…): HTTP 503" in str(caught.value)
    clean(caught.value)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7.8),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30, 31.1),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0, 0),
        ("", 0.5, 1),
    ],
)
def test_waits_as_told_before_it_asks_again(header: str, least: float, most: float) -> None:
    clock = Clock()
    headers = {"Retry-After": header} if header else {}
    asked: list[float] = []

    def script(seen: Seen) -> Answer:
        asked.append(clock.time)
        return reply({}, 429, **headers) if len(asked) == 1 else reply({"ok": 1})

    with serve(script) as server:
        assert get(session(server, clock)) == {"ok": 1}
    assert least <= asked[1] - asked[0] <= most


def test_a_429_is_no_lost_answer_and_a_create_goes_again() -> None:
    with serve(in_turn(reply({}, 429), reply({"id": 1}))) as server:
        assert post(session(server, Clock())) == {"id": 1}


def test_no_worker_sleeps_for_hours() -> None:
    clock = Clock()
    with serve(lambda seen: reply({}, 429, **{"Retry-After": "7200"})) as server:
        with pytest.raises(BudgetSpent, match="7200 s") as caught:
            get(session(server, clock))
        assert len(server.journal) == 1
    assert clock.slept == []
    assert caught.value.retryable


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_to_one_holds_all_back(status: int) -> None:
    clock = Clock()
    turned_away = reply({}, status, **{"Retry-After": "9"})
    with serve(in_turn(turned_away, reply({}))) as server:
        http = session(server, clock)
        with pytest.raises(UnknownOutcome) if status == 503 else nullcontext():
            post(http)
        get(http)
        assert clock.time >= 9
        assert len(server.journal) == (2 if status == 503 else 3)


def test_the_next_run_waits_too(tmp_path: Path) -> None:
    clock = Clock()
    with serve(in_turn(reply({}, 503, **{"Retry-After": "600"}), reply({}))) as server:
        for _ in range(3):
            kept = options(clock, usage=tmp_path)
            http = HttpSession("crm", server.url, auth=StaticToken(SECRET), options=kept)
            with pytest.raises(BudgetSpent, match="asked to wait"):
                get(http)
        assert len(server.journal) == 1
        clock.time += 601
        get(HttpSession("crm", server.url, options=options(clock, usage=tmp_path)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("ahead", "behind"), [(-1800, 1800.0), (1800, 0.0), (-3, 0.0), (0, 0.0)])
def test_a_server_whose_clock_is_behind_is_known(ahead: int, behind: float) -> None:
    told = format_datetime(NOW + timedelta(seconds=ahead), usegmt=True)
    with serve(lambda seen: reply({}, 200, Date=told)) as server:
        http = session(server, Clock())
        get(http)
        assert http.behind == behind


def test_rate_budget_never_lets_more_through_than_it_says() -> None:
    clock = Clock()
    budget = RateBudget(10, 5, clock, clock.sleep)
    times = []
    for _ in range(100):
        budget.take()
        times.append(clock.time)
    for start in times:
        assert sum(start <= t < start + 1 for t in times) <= 10 + 5 + 1


def test_one_refresh_for_all_waiting_streams() -> None:
    fetched: list[str] = []
    valid = {"token": "old"}
    gate = threading.Barrier(8)

    def fetch() -> tuple[str, float | None]:
        fetched.append(f"new{len(fetched)}")
        valid["token"] = fetched[-1]
        return fetched[-1], None

    def script(seen: Seen) -> Answer:
        good = seen.headers["Authorization"] == f"Bearer {valid['token']}"
        return reply({"ok": 1}) if good else reply([{"errorCode": "INVALID_SESSION_ID"}], 401)

    clock = Clock()
    with serve(script) as server:
        auth = RenewedToken(fetch, clock)
        auth.token()
        valid["token"] = "changed there"
        http = session(server, clock, auth=auth)

        def stream(_: int) -> Any:
            gate.wait()
            return get(http)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(stream, range(8))) == [{"ok": 1}] * 8
    assert len(fetched) == 2


def test_a_second_401_stops_and_says_re_authorise() -> None:
    tokens = iter(range(100))
    with serve(lambda seen: reply({}, 401)) as server:
        auth = RenewedToken(lambda: (f"{SECRET}{next(tokens)}", None), Clock())
        with pytest.raises(NotAuthorised, match="Re-authorise") as caught:
            get(session(server, Clock(), auth=auth))
        assert len(server.journal) == 2
    assert not caught.value.retryable
    clean(caught.value)


def test_a_token_is_renewed_before_it_ends() -> None:
    clock = Clock()
    tokens = iter(range(100))
    auth = RenewedToken(lambda: (str(next(tokens)), 1800.0), clock)
    assert auth.token() == "Bearer 0"
    clock.time = 1700
    assert auth.token() == "Bearer 0"
    clock.time = 1741
    assert auth.token() == "Bearer 1"


def test_403_is_not_repeated_and_names_the_object() -> None:
    with serve(lambda seen: html(403)) as server:
        with pytest.raises(NotPermitted, match="pull of Contact") as caught:
            get(session(server, Clock()))
        assert len(server.journal) == 1
    clean(caught.value)


def test_a_refusal_has_status_and_body_for_the_connector_alone() -> None:
    body = {"message": f'"{PERSON}" has id 00312345678, token={SECRET}'}
    with serve(lambda seen: reply(body, 400)) as server, pytest.raises(Refused) as caught:
        get(session(server, Clock()))
    assert caught.value.status == 400
    assert PERSON.encode() in caught.value.body
    clean(caught.value)


def test_what_was_sent_is_not_in_the_error_however_it_is_quoted() -> None:
    said = [
        {"message": "Cannot deserialize instance of double from VALUE_STRING value Countess or"}
    ]
    body = b'{"records":[{"Orders__c":"Countess"}]}'
    with serve(lambda seen: reply(said, 400)) as server:
        http = session(server, Clock(), policy=SalesforcePolicy("crm", 1.0))
        with pytest.raises(Refused, match="Cannot deserialize") as caught:
            http.request("PATCH", "/composite", what="update of 1 Contact", body=body)
    assert "Countess" not in str(caught.value)


def test_no_redirect_is_followed_with_credentials() -> None:
    with serve(lambda seen: Answer(302, b"", {"Location": "http://127.0.0.1:1/x"})) as server:
        with pytest.raises(ConnectorError, match="HTTP 302"):
            get(session(server, Clock()))
        assert len(server.journal) == 1


def test_a_netrc_file_signs_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password x\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serve(lambda seen: reply({})) as server:
        get(session(server, Clock()))
        assert server.journal[0].headers["Authorization"] == f"Bearer {SECRET}"


def test_retry_after_in_neither_form_is_none() -> None:
    assert retry_after({"Retry-After": "soon"}, NOW) is None
    assert retry_after({}, NOW) is None


def test_no_secret_in_any_repr() -> None:
    http = HttpSession("crm", "http://127.0.0.1:1", auth=StaticToken(SECRET))
    assert SECRET not in repr(http) + repr(StaticToken(SECRET)) + repr(
        RenewedToken(lambda: ("", 1))
    )


def clean(error: BaseException) -> None:
    """Neither secret nor value nor query string, in the error nor in what caused it."""
    seen: BaseException | None = error
    while seen is not None:
        text = f"{seen!s} {seen!r} {seen.args}"
        for word in (SECRET, PERSON, "ada%40", "003000000000001", "00312345678", "?q="):
            assert word not in text
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
