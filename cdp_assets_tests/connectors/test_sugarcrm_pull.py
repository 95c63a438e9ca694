"""Pulls of SugarCRM, over HTTP from another process, on good and bad days."""

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
    RowChange,
    Unavailable,
    WrongObject,
)
from cdp_assets.connectors.sugarcrm import SugarCRM
from cdp_assets.raw.payload import payload_hash
from cdp_assets_tests.connectors.stand_in import StandIn, quick

PAST = datetime(2024, 5, 1, 9, tzinfo=UTC)


def all_of(pages: Iterator[Page]) -> pl.DataFrame:
    found = [page.rows for page in pages]
    return pl.concat(found) if found else pl.DataFrame({"record_id": []})


def pulled(source: SugarCRM, name: str, start: datetime) -> pl.DataFrame:
    return all_of(source.pull(name, start, datetime.now(UTC)))


def set_clock(stand_in: StandIn, at: datetime | None) -> None:
    stand_in.control("POST", "clock", {"now": at.isoformat() if at else None})


def sign_in(stand_in: StandIn, **more: str) -> requests.Response:
    """A sign-in of somebody else's."""
    given = stand_in.credentials["sugarcrm"]
    names = ("client_id", "client_secret", "username", "password", "platform")
    asked = {n: given[n] for n in names} | {"grant_type": "password"} | more
    return requests.post(f"{stand_in.url}/rest/v11_20/oauth2/token", json=asked, timeout=30)


def call(stand_in: StandIn, method: str, path: str, body: Any = None) -> Any:
    """A request of somebody else's, on another platform."""
    token = sign_in(stand_in, platform="mobile").json()["access_token"]
    reply = requests.request(
        method, f"{stand_in.url}/rest/v11_20{path}", json=body, timeout=30,
        headers={"OAuth-Token": token},
    )  # fmt: skip
    assert reply.status_code < 300, reply.text
    return reply.json()


def make(
    stand_in: StandIn, at: datetime, count: int, stem: str, module: str = "Accounts", **more: Any
) -> list[str]:
    """Records of one moment."""
    source = stand_in.sugarcrm(bulk_size=500)
    source.has_news(module, at)  # signed in before the clock stands still
    set_clock(stand_in, at)
    named = "last_name" if module in ("Contacts", "Leads") else "name"
    batch = [RowChange(i, "create", {named: f"{stem} {i}", **more}) for i in range(count)]
    outcomes = stand_in.sugarcrm(bulk_size=500).write(module, batch)
    set_clock(stand_in, None)
    assert all(o.ok for o in outcomes), outcomes
    return [str(o.record_id) for o in outcomes]


def lists(stand_in: StandIn, name: str = "Accounts") -> list[dict[str, Any]]:
    return [e for e in stand_in.journal() if e["path"].endswith(f"/{name}/filter")]


@pytest.mark.parametrize("size", [7, 10, 30])
def test_records_of_one_second_come_once_each_over_many_pages(stand_in: StandIn, size: int) -> None:
    at = PAST + timedelta(days=size)
    ids = make(stand_in, at, 30, f"Tie{size}")
    found = all_of(
        stand_in.sugarcrm(page_size=size).pull("Accounts", at, at + timedelta(seconds=1))
    )
    assert found["record_id"].to_list() == sorted(ids)
    assert found["cursor_at"].unique().to_list() == [at]
    assert len(lists(stand_in)) >= 30 // size


def test_a_page_holds_more_than_the_twenty_that_come_unasked(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=50)
    make(stand_in, at, 45, "Many")
    stand_in.control("DELETE", "journal")
    found = all_of(stand_in.sugarcrm().pull("Accounts", at, at + timedelta(days=1)))
    assert found.height == 45
    assert [e["rows"] for e in lists(stand_in)] == [45]


def test_a_record_that_changes_while_we_read_is_not_passed_over(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=60)
    ids = sorted(make(stand_in, at, 20, "Moves"))
    pages = stand_in.sugarcrm(page_size=8).pull("Accounts", at, datetime.now(UTC))
    rows = [next(pages).rows]
    call(stand_in, "PUT", f"/Accounts/{ids[0]}", {"industry": "Banking"})
    rows += [page.rows for page in pages]
    assert set(ids) <= set(pl.concat(rows)["record_id"])


def test_windows_meet_without_gap_though_times_are_of_whole_seconds(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=70)
    ids = make(stand_in, at + timedelta(microseconds=700_000), 3, "Half")
    source = stand_in.sugarcrm()
    middle = at + timedelta(microseconds=300_000)
    first = all_of(source.pull("Accounts", at, middle))
    second = all_of(source.pull("Accounts", middle, at + timedelta(days=1)))
    assert sorted([*first["record_id"], *second["record_id"]]) == sorted(ids)
    assert source.has_news("Accounts", middle), "its second began before"


def test_deleted_records_are_deletions(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=80)
    kept, gone = make(stand_in, at, 2, "Gone")
    set_clock(stand_in, at + timedelta(hours=1))
    call(stand_in, "DELETE", f"/Accounts/{gone}")
    set_clock(stand_in, None)
    found = all_of(stand_in.sugarcrm().pull("Accounts", at, at + timedelta(days=1)))
    assert dict(found.select("record_id", "op").iter_rows()) == {kept: "upsert", gone: "delete"}


@pytest.mark.parametrize("as_text", [True, False])
def test_opt_out_is_read_right_however_flags_are_shown(stand_in: StandIn, as_text: bool) -> None:
    stand_in.control("POST", "limits", {"sugarcrm_flags_as_text": as_text})
    at = PAST + timedelta(days=90 + as_text)
    addresses = [
        {"email_address": "second@x.example", "opt_out": True},
        {"email_address": "first@x.example", "primary_address": True, "opt_out": False},
    ]
    source = stand_in.sugarcrm()
    set_clock(stand_in, at)
    fine = call(stand_in, "POST", "/Contacts", {"last_name": "L", "email": addresses})["id"]
    addresses[1]["opt_out"] = True
    out = call(stand_in, "POST", "/Contacts", {"last_name": "L", "email": addresses})["id"]
    set_clock(stand_in, None)
    rows = pulled(source, "Contacts", at).select("record_id", "payload").iter_rows()
    payloads = {key: json.loads(text) for key, text in rows}
    assert (payloads[fine]["email1"], payloads[fine]["email_opt_out"]) == ("first@x.example", False)
    assert payloads[out]["email_opt_out"] is True
    assert payloads[out]["email"][0]["opt_out"] == ("1" if as_text else True), "it stays as it came"
    shown = source.read("Contacts", [fine, out], ["email_opt_out"])
    assert [shown[k]["email_opt_out"] for k in (fine, out)] == [False, True]
    mapping = source.mapping("Contacts")
    assert mapping is not None
    assert mapping.columns["opt_out"] == "email_opt_out"


def test_times_in_the_users_zone_are_read_as_moments(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=100)
    make(stand_in, at, 1, "Zone")
    row = pulled(stand_in.sugarcrm(), "Accounts", at).row(0, named=True)
    assert row["cursor_at"] == at
    assert json.loads(row["payload"])["date_modified"].endswith("-07:00")


def test_an_activity_names_its_parent_by_module(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=110)
    account, = make(stand_in, at, 1, "Parent")  # fmt: skip
    parent = {"parent_type": "Accounts", "parent_id": account}
    call_id, = make(stand_in, at, 1, "Call", "Calls", **parent)  # fmt: skip
    row = pulled(stand_in.sugarcrm(), "Calls", at).filter(record_id=call_id).row(0, named=True)
    payload = json.loads(row["payload"])
    assert payload["parent_Accounts"] == account
    assert payload["_module"] == "Calls"


def test_linking_moves_no_cursor_and_a_new_pull_of_the_window_finds_it(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=120)
    account, = make(stand_in, at, 1, "Linker")  # fmt: skip
    contact, = make(stand_in, at, 1, "Linked", "Contacts")  # fmt: skip
    source = stand_in.sugarcrm()

    def hashes(start: datetime) -> set[int]:
        rows = pulled(source, "Contacts", start).filter(record_id=contact)
        return set(payload_hash(rows["payload"], ("_acl",)).to_list()) if rows.height else set()

    before, after = hashes(at), at + timedelta(days=1)
    call(stand_in, "POST", f"/Accounts/{account}/link", {"link_name": "contacts", "ids": [contact]})
    assert not hashes(after), "the link is no change of either record"
    assert hashes(at) - before, "a full resync tells it"


def test_a_sign_in_elsewhere_on_our_platform_costs_one_request(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=130)
    make(stand_in, at, 20, "Session")
    pages = stand_in.sugarcrm(page_size=8).pull("Accounts", at, at + timedelta(days=1))
    rows = [next(pages).rows]
    assert sign_in(stand_in).status_code == 200
    rows += [page.rows for page in pages]
    assert pl.concat(rows).height == 20
    assert sum(e["status"] == 401 for e in stand_in.journal()) == 1


def test_a_token_that_ends_is_renewed_by_its_refresh_token(stand_in: StandIn) -> None:
    source = stand_in.sugarcrm()
    source.has_news("Accounts", PAST)
    stand_in.control("POST", "expire-tokens")
    stand_in.control("DELETE", "journal")
    source.has_news("Accounts", PAST)
    asked = [(e["path"].rpartition("/")[2], e["status"]) for e in stand_in.journal()]
    assert asked == [("filter", 401), ("token", 200), ("filter", 200)]


def test_an_unknown_platform_and_wrong_words_are_told(stand_in: StandIn) -> None:
    for more in ({"platform": "mine"}, {"password": "wrong"}):
        stand_in.control("DELETE", "journal")
        with pytest.raises(NotAuthorised) as told:
            stand_in.sugarcrm(**more).has_news("Accounts", PAST)
        assert "wrong" not in str(told.value)
        assert len(stand_in.journal()) == 1, "it is not tried again and again"
        if "platform" in more:
            assert "platform `mine`" in str(told.value)
            assert "registered" in str(told.value)
    stand_in.faults({"match": "oauth2/token", "status": 403, "body": {"error": "not_allowed"}})
    with pytest.raises(NotAuthorised, match="platform `cdp`"):
        stand_in.sugarcrm().has_news("Accounts", PAST)


def test_keys_are_those_of_live_records(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from cdp_assets.connectors.sugarcrm import pull

    monkeypatch.setattr(pull, "_KEYS", 7)
    at = PAST + timedelta(days=140)
    ids = make(stand_in, at, 15, "Key")
    call(stand_in, "DELETE", f"/Accounts/{ids[0]}")
    keys = pl.concat(list(stand_in.sugarcrm().keys("Accounts")))
    assert keys.columns == ["record_id", "cursor_at"]
    assert keys["record_id"].is_unique().all()
    assert set(ids[1:]) <= set(keys["record_id"])
    assert ids[0] not in set(keys["record_id"])


def test_pages_that_go_in_a_circle_are_an_error_and_not_an_end(stand_in: StandIn) -> None:
    record = {"id": "a", "date_modified": "2024-01-01T00:00:00+00:00"}
    body = {"next_offset": 1, "records": [record]}
    stand_in.faults({"match": "filter", "times": 3, "status": 200, "body": body})
    with pytest.raises(ConnectorError, match="circle"):
        pulled(stand_in.sugarcrm(), "Accounts", PAST)
    stand_in.control("DELETE", "faults")
    body = {"next_offset": 1, "records": []}
    stand_in.faults({"match": "filter", "times": 3, "status": 200, "body": body})
    with pytest.raises(ConnectorError, match="circle"):
        pulled(stand_in.sugarcrm(), "Accounts", PAST)


def test_a_list_out_of_order_is_not_taken(stand_in: StandIn) -> None:
    times = ("2024-01-01T01:00:00+02:00", "2023-12-31T22:00:00+00:00")
    records = [{"id": str(n), "date_modified": t} for n, t in enumerate(times)]
    body = {"next_offset": -1, "records": records}
    stand_in.faults({"match": "filter", "status": 200, "body": body})
    with pytest.raises(Unavailable, match="order"):
        pulled(stand_in.sugarcrm(), "Accounts", datetime(2020, 1, 1, tzinfo=UTC))


def test_bad_days(stand_in: StandIn) -> None:
    at = PAST + timedelta(days=150)
    ids = make(stand_in, at, 12, "Bad")
    slept: list[float] = []
    stand_in.faults(
        {"match": "filter", "status": 502, "body": "<html>no</html>"},
        {"match": "filter", "after": 1, "action": "truncate"},
        {"match": "filter", "after": 2, "status": 429, "headers": {"Retry-After": "9"}},
    )
    source = stand_in.sugarcrm(quick(sleep=slept.append), page_size=5)
    found = all_of(source.pull("Accounts", at, at + timedelta(days=1)))
    assert sorted(found["record_id"]) == sorted(ids)
    assert any(s >= 9 for s in slept)


def test_a_module_that_there_is_none_of_is_named(stand_in: StandIn) -> None:
    with pytest.raises(WrongObject, match="`Nothings`"):
        stand_in.sugarcrm().describe(["Nothings"])
    with pytest.raises(WrongObject, match="name of a module"):
        pulled(stand_in.sugarcrm(), "../me", PAST)
