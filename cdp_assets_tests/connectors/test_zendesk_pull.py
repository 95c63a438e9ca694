"""Pulls of Zendesk, over HTTP from another process, on good and bad days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
import requests

from cdp_assets.connectors.base import (
    ConnectorError,
    NotAuthorised,
    Page,
    Refused,
    RowChange,
    Unavailable,
    WrongObject,
)
from cdp_assets.connectors.zendesk import Zendesk
from cdp_assets.connectors.zendesk import pull as pull_module
from cdp_assets_tests.connectors.faulty import Clock
from cdp_assets_tests.connectors.stand_in import StandIn, quick

START = datetime(2020, 1, 1, tzinfo=UTC)
PAST = datetime(2024, 5, 1, 9, tzinfo=UTC)


def all_of(pages: Iterator[Page]) -> pl.DataFrame:
    found = [page.rows for page in pages]
    return pl.concat(found) if found else pl.DataFrame({"record_id": []})


def pulled(source: Zendesk, name: str, start: datetime = START) -> pl.DataFrame:
    return all_of(source.pull(name, start, datetime.now(UTC)))


def set_clock(stand_in: StandIn, at: datetime | None) -> None:
    stand_in.control("POST", "clock", {"now": at.isoformat() if at else None})


def call(stand_in: StandIn, method: str, path: str, body: Any = None) -> Any:
    """A request of somebody else's."""
    given = stand_in.credentials["zendesk"]
    reply = requests.request(
        method, f"{stand_in.url}/api/v2{path}", json=body, timeout=30,
        auth=(f"{given['email']}/token", given["token"]),
    )  # fmt: skip
    assert reply.status_code < 300, reply.text
    return reply.json() if reply.content else None


def make(stand_in: StandIn, at: datetime, count: int, stem: str) -> list[str]:
    """Users of one moment."""
    set_clock(stand_in, at)
    batch = [RowChange(i, "create", {"name": f"{stem} {i}"}) for i in range(count)]
    made = [str(o.record_id) for o in stand_in.zendesk().write("users", batch)]
    set_clock(stand_in, None)
    return made


def ticket(stand_in: StandIn, at: datetime, **fields: Any) -> str:
    set_clock(stand_in, at)
    said = {"subject": "Help", "comment": {"body": "It burns"}, **fields}
    made = call(stand_in, "POST", "/tickets", {"ticket": said})["ticket"]["id"]
    set_clock(stand_in, None)
    return str(made)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_module, "_PAGE", "7")


@pytest.mark.usefixtures("small_pages")
def test_users_of_one_second_come_once_each_over_many_pages(stand_in: StandIn) -> None:
    ids = make(stand_in, PAST, 30, "Tie")
    found = pulled(stand_in.zendesk(), "users", PAST - timedelta(days=1))
    ours = found.filter(pl.col("record_id").is_in(ids))
    assert sorted(ours["record_id"]) == sorted(ids)
    assert ours["cursor_at"].unique().to_list() == [PAST]
    asked = [e for e in stand_in.journal() if "incremental" in e["path"]]
    assert "start_time" in asked[0]["query"]
    assert all("cursor=" in e["query"] for e in asked[1:]), "pages follow the API's own mark"


@pytest.mark.usefixtures("small_pages")
def test_an_export_by_time_repeats_rows_and_the_pull_does_not(stand_in: StandIn) -> None:
    set_clock(stand_in, PAST)
    batch = [RowChange(i, "create", {"name": f"Tied {i}"}) for i in range(10)]
    ids = [str(o.record_id) for o in stand_in.zendesk().write("organizations", batch)]
    set_clock(stand_in, PAST + timedelta(seconds=5))
    batch = [RowChange(i, "create", {"name": f"Later {i}"}) for i in range(10)]
    ids += [str(o.record_id) for o in stand_in.zendesk().write("organizations", batch)]
    set_clock(stand_in, None)
    found = pulled(stand_in.zendesk(), "organizations", PAST - timedelta(days=1))
    ours = found.filter(pl.col("record_id").is_in(ids))
    assert sorted(ours["record_id"]) == sorted(ids)
    told = sum(e["rows"] for e in stand_in.journal() if "incremental" in e["path"])
    assert told > found.height, "the export did tell rows twice"


def test_the_window_is_of_the_accounts_own_time(stand_in: StandIn) -> None:
    """Filter and order are by generated_timestamp, which is later than updated_at and moves
    without it: max(updated_at) as a cursor would pass over such a change."""
    key = ticket(stand_in, PAST)
    source = stand_in.zendesk()
    touched = PAST + timedelta(days=10)
    set_clock(stand_in, touched)
    stand_in.control("POST", "zendesk/touch", {"object": "tickets", "id": key})
    set_clock(stand_in, None)
    before = all_of(source.pull("tickets", PAST, PAST + timedelta(days=1)))
    assert key not in before["record_id"].to_list()
    after = all_of(source.pull("tickets", touched, touched + timedelta(days=1)))
    row = after.filter(record_id=key).row(0, named=True)
    assert row["cursor_at"] == touched
    assert json.loads(row["payload"])["updated_at"] == PAST.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_last_minute_is_left_out_and_has_news_still_tells_of_it(stand_in: StandIn) -> None:
    source = stand_in.zendesk()
    now = datetime(2024, 6, 1, 12, tzinfo=UTC)
    key = make(stand_in, now - timedelta(seconds=20), 1, "Fresh")[0]
    set_clock(stand_in, now)
    options = quick(now=lambda: now)
    source = stand_in.zendesk(options)
    first = all_of(source.pull("users", now - timedelta(days=1), now))
    assert key not in first["record_id"].to_list()
    assert not source.has_news("users", now), "nothing is shown yet"
    later = now + timedelta(minutes=15)
    set_clock(stand_in, later)
    source = stand_in.zendesk(quick(now=lambda: later))
    assert source.has_news("users", now), "what the pull up to now was not shown is news"
    second = all_of(source.pull("users", now - timedelta(minutes=10), later))
    assert key in second["record_id"].to_list()
    assert not source.has_news("users", later)


def test_nothing_is_asked_of_a_window_that_is_not_shown_yet(stand_in: StandIn) -> None:
    """A start_time of the last minute is refused."""
    now = datetime.now(UTC)
    assert all_of(stand_in.zendesk().pull("users", now - timedelta(seconds=30), now)).is_empty()
    assert stand_in.journal() == []


def test_a_clock_that_is_behind_ours_shows_nothing_yet(stand_in: StandIn) -> None:
    now = datetime.now(UTC)
    set_clock(stand_in, now - timedelta(minutes=5))
    source = stand_in.zendesk()
    for name in ("users", "organizations"):
        assert all_of(source.pull(name, now - timedelta(minutes=3), now)).is_empty()
        assert not source.has_news(name, now)
    assert {e["status"] for e in stand_in.journal()} >= {400}
    stand_in.faults({"match": "incremental", "status": 400, "body": {"error": "InvalidValue"}})
    with pytest.raises(Refused):
        source.has_news("users", now)


def test_a_window_in_the_past_ends_there(stand_in: StandIn) -> None:
    early = make(stand_in, PAST + timedelta(days=20), 2, "Early")
    late = make(stand_in, PAST + timedelta(days=22), 2, "Late")
    start = PAST + timedelta(days=20)
    found = all_of(stand_in.zendesk().pull("users", start, start + timedelta(days=1)))
    assert found["record_id"].to_list() == early
    assert not set(late) & set(found["record_id"])


def test_deleted_records_are_deletions(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=30)
    user, = make(stand_in, at, 1, "Gone")  # fmt: skip
    key = ticket(stand_in, at)
    set_clock(stand_in, at + timedelta(hours=1))
    organization = call(stand_in, "POST", "/organizations", {"organization": {"name": "Gone Ltd"}})[
        "organization"
    ]["id"]
    for name, own in (("users", user), ("tickets", key), ("organizations", organization)):
        call(stand_in, "DELETE", f"/{name}/{own}")
    set_clock(stand_in, None)
    source = stand_in.zendesk()
    for name, own in (("users", user), ("tickets", key), ("organizations", organization)):
        rows = pulled(source, name, at).filter(record_id=str(own))
        assert rows["op"].to_list() == ["delete"], name


def test_added_fields_and_what_lies_deeper_stand_at_the_top(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=40)
    source = stand_in.zendesk()
    fields = {f.name: f for f in source.describe(["tickets"]).objects["tickets"].fields.values()}
    product = next(n for n, f in fields.items() if f.label == "Product")
    number = int(product.removeprefix("custom_"))
    key = ticket(
        stand_in, at, via={"channel": "voice"}, custom_fields=[{"id": number, "value": "web"}]
    )
    payload = json.loads(pulled(source, "tickets", at).filter(record_id=key)["payload"][0])
    assert (payload["channel"], payload[product]) == ("voice", "web")
    assert payload["via"]["channel"] == "voice", "the payload itself stays as it came"
    assert payload["priority"] is None, "captured tickets hold nulls where the document has none"
    set_clock(stand_in, at)
    user = {"user": {"name": "Ada", "user_fields": {"orders": 3}}}
    own = str(call(stand_in, "POST", "/users", user)["user"]["id"])
    organization = {"organization": {"name": "A Ltd", "domain_names": ["a.example", "b.example"]}}
    other = str(call(stand_in, "POST", "/organizations", organization)["organization"]["id"])
    set_clock(stand_in, None)
    assert json.loads(
        pulled(source, "users", at).filter(record_id=own)["payload"][0]
    )["custom_orders"] == 3  # fmt: skip
    assert json.loads(
        pulled(source, "organizations", at).filter(record_id=other)["payload"][0]
    )["domain"] == "a.example"  # fmt: skip


def test_comments_audits_and_ratings(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=50)
    author = int(make(stand_in, at, 1, "Writer")[0])
    key = ticket(stand_in, at, requester_id=author, via={"channel": "chat"})
    set_clock(stand_in, at + timedelta(hours=1))
    reply = {"comment": {"body": "Still burning", "author_id": author}, "status": "pending"}
    call(stand_in, "PUT", f"/tickets/{key}", {"ticket": reply})
    rating = {"satisfaction_rating": {"score": "offered"}}
    call(stand_in, "POST", f"/tickets/{key}/satisfaction_rating", rating)
    given = at + timedelta(days=5)
    set_clock(stand_in, given)
    rating = {"satisfaction_rating": {"score": "good", "comment": "Thanks"}}
    call(stand_in, "POST", f"/tickets/{key}/satisfaction_rating", rating)
    set_clock(stand_in, None)
    source = stand_in.zendesk()
    comments = [json.loads(p) for p in pulled(source, "ticket_comments", at)["payload"]]
    ours = [c for c in comments if c["ticket_id"] == int(key)]
    assert [c["body"] for c in ours] == ["It burns", "Still burning"]
    assert {c["channel"] for c in ours} == {"chat"}
    events = [json.loads(p) for p in pulled(source, "ticket_events", at)["payload"]]
    changes = [
        e["field_name"] for a in events if a["ticket_id"] == int(key)
        for e in a["child_events"] if e["event_type"] == "Change"
    ]  # fmt: skip
    assert changes == ["status"]
    window = source.pull("satisfaction_ratings", given, given + timedelta(days=1))
    ratings = [json.loads(p) for p in all_of(window)["payload"]]
    assert [(r["ticket_id"], r["score"]) for r in ratings] == [(int(key), "good")]
    again = pulled(source, "tickets", given).filter(record_id=key)["payload"][0]
    assert json.loads(again)["satisfaction"] == "good", "a rating moves its ticket's own time"


def test_calls_and_posts_are_comments_too(stand_in: StandIn) -> None:
    def child(number: int, kind: str, channel: str, **more: Any) -> dict[str, Any]:
        via = {"channel": channel}
        return {"id": number, "event_type": kind, "via": via, "author_id": 5, **more}

    event = {
        "id": 1, "ticket_id": 9, "timestamp": 1700000000, "created_at": "2023-11-14T22:13:20Z",
        "via": "Web form", "event_type": "Audit",
        "child_events": [
            child(2, "Comment", "email", body="a"), child(3, "VoiceComment", "voice", data={}),
            child(4, "FacebookComment", "facebook", body="c"), child(5, "Tweet", "twitter"),
            child(6, "Change", "web"), {"id": 7, "event_type": "Comment", "comment_present": True},
        ],
    }  # fmt: skip
    body = {"ticket_events": [event], "end_of_stream": True, "end_time": 1700000000}
    stand_in.faults({"match": "ticket_events", "status": 200, "body": body})
    rows = pulled(stand_in.zendesk(), "ticket_comments", START)
    told = [(r["id"], r["channel"], r["ticket_id"]) for r in map(json.loads, rows["payload"])]
    assert told == [(2, "email", 9), (3, "voice", 9), (4, "facebook", 9), (5, "twitter", 9)]
    assert rows["record_id"].to_list() == ["2", "3", "4", "5"]


def test_keys_are_those_of_live_records(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=60)
    kept, gone = make(stand_in, at, 2, "Key")
    set_clock(stand_in, at)
    call(stand_in, "DELETE", f"/users/{gone}")
    set_clock(stand_in, None)
    slept: list[float] = []
    source = stand_in.zendesk(quick(sleep=slept.append))
    keys = pl.concat(list(source.keys("users")))
    assert keys.columns == ["record_id", "cursor_at"]
    assert kept in keys["record_id"].to_list()
    assert gone not in keys["record_id"].to_list()
    assert max(slept) >= 60, "what changed while we read is asked for once its minute is over"
    with pytest.raises(WrongObject, match="never vanish"):
        next(source.keys("ticket_comments"))


def test_exports_keep_to_ten_a_minute_and_wait_as_told(stand_in: StandIn) -> None:
    clock = Clock()
    options = quick(monotonic=clock, sleep=clock.sleep)
    source = stand_in.zendesk(options, exports_per_minute=10)
    for _ in range(12):
        source.has_news("users", PAST)
    assert clock.time >= 60, "the thirteenth could not leave within the first minute"
    stand_in.faults({
        "match": "incremental", "status": 429, "headers": {"Retry-After": "37"},
        "body": {"error": "APIRateLimitExceeded"},
    })  # fmt: skip
    before = clock.time
    assert source.has_news("users", START)
    assert clock.time - before >= 37
    stand_in.faults({"match": "incremental", "status": 429, "times": 20, "body": {}})
    with pytest.raises(Unavailable):
        source.has_news("users", START)


def test_a_token_that_ends_in_the_middle_is_renewed(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_module, "_PAGE", "5")
    make(stand_in, PAST + timedelta(days=70), 20, "Token")
    given = stand_in.credentials["salesforce"]
    source = stand_in.zendesk(client_id=given["client_id"], client_secret=given["client_secret"])
    pages = source.pull("users", PAST + timedelta(days=70), datetime.now(UTC))
    rows = [next(pages).rows]
    stand_in.control("POST", "expire-tokens")
    rows += [page.rows for page in pages]
    assert pl.concat(rows)["record_id"].n_unique() >= 20
    assert sum(e["status"] == 401 for e in stand_in.journal()) == 1


def test_refused_credentials_are_told_once(stand_in: StandIn) -> None:
    with pytest.raises(NotAuthorised, match="Re-authorise"):
        pulled(stand_in.zendesk(token="wrong"), "users")
    assert [e["status"] for e in stand_in.journal()] == [401]


def test_a_mark_that_comes_twice_is_an_error_and_not_an_end(stand_in: StandIn) -> None:
    body = {"users": [], "after_cursor": "A", "end_of_stream": False}
    stand_in.faults({"match": "users/cursor", "times": 3, "status": 200, "body": body})
    with pytest.raises(ConnectorError, match="circle"):
        pulled(stand_in.zendesk(), "users")
    body = {"organizations": [], "end_time": 5, "end_of_stream": False}
    stand_in.faults({"match": "incremental/organ", "times": 3, "status": 200, "body": body})
    with pytest.raises(ConnectorError, match="circle"):
        pulled(stand_in.zendesk(), "organizations")


def test_an_object_that_there_is_none_of_is_named(stand_in: StandIn) -> None:
    with pytest.raises(WrongObject, match="`contacts`"):
        pulled(stand_in.zendesk(), "contacts")
