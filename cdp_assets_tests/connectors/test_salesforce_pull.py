"""Pulls of Salesforce, over HTTP from another process, on good and bad days."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors import salesforce
from cdp_assets.connectors.base import (
    BudgetSpent,
    ConnectorError,
    NotAuthorised,
    NotPermitted,
    Page,
    RowChange,
    Unavailable,
    WrongObject,
)
from cdp_assets.connectors.salesforce.client import soql_datetime, soql_string
from cdp_assets.connectors.salesforce.ids import long_id
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.raw.payload import payload_hash
from cdp_assets.raw.tables import raw_table
from cdp_assets_tests.connectors.stand_in import StandIn, quick, sandbox

START = datetime(2015, 1, 1, tzinfo=UTC)
STAMP = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)


def everything(pages: Iterator[Page]) -> pl.DataFrame:
    return pl.concat([page.rows for page in pages])


def pulled(source: salesforce.Salesforce, name: str = "Contact") -> pl.DataFrame:
    return everything(source.pull(name, START, later()))


def create(source: salesforce.Salesforce, count: int, name: str = "Contact") -> list[str]:
    made: list[str] = []
    for at in range(0, count, 200):
        rows = range(at, min(at + 200, count))
        batch = [RowChange(i, "create", {"LastName": f"Tie{i}"}) for i in rows]
        made += [str(o.record_id) for o in source.write(name, batch)]
    return made


def test_records_come_whole_in_order_and_in_the_source_s_own_bytes(stand_in: StandIn) -> None:
    rows = pulled(stand_in.salesforce())
    assert rows.height > 50
    assert rows.equals(rows.sort("cursor_at", "record_id"))
    assert rows["record_id"].str.len_chars().unique().to_list() == [18]
    first = json.loads(rows["payload"][0])
    assert first["Id"] == rows["record_id"][0]
    assert {"Email", "MobilePhone", "IsDeleted", "attributes"} <= first.keys()
    assert "MailingAddress" not in first
    stamp = datetime.fromisoformat(first["SystemModstamp"])
    assert stamp == rows["cursor_at"][0]


def test_windows_are_half_open_and_add_up(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    whole = pulled(source)
    stamps = whole["cursor_at"].unique().sort()
    border = stamps[len(stamps) // 2]
    before = everything(source.pull("Contact", START, border))
    after = everything(source.pull("Contact", border, later()))
    assert before["cursor_at"].max() < border == after["cursor_at"].min()
    assert before.height + after.height == whole.height


def test_deleted_merged_and_converted_records_are_followed(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    master, loser, deleted, *_ = create(source, 3)
    stand_in.control(
        "POST", "salesforce/merge", {"object": "Contact", "master": master, "losers": [loser]}
    )
    source._client.http.request(
        "DELETE", f"/services/data/v62.0/sobjects/Contact/{deleted}", what="delete"
    )
    rows = pulled(source).filter(pl.col("record_id").is_in([master, loser, deleted]))
    said = {r: (op, into) for r, op, into in rows.select("record_id", "op", "merged_into").rows()}
    assert said == {
        master: ("upsert", None),
        loser: ("merge", master),
        deleted: ("delete", None),
    }
    leads = pulled(source, "Lead").filter(op="upsert")
    converted = leads.filter(
        pl.col("payload").str.json_path_match("$.ConvertedContactId").is_not_null()
    )
    assert converted.height > 0
    kinds = {(r.kind, r.field) for r in source.mapping("Lead").relations}  # type: ignore[union-attr]
    assert ("converted", "ConvertedContactId") in kinds


def test_five_thousand_records_of_one_stamp_through_pages_of_two_hundred(
    tmp_path: Path,
) -> None:
    with sandbox(tmp_path / "world", 30) as stand_in:
        stand_in.quiet()
        source = stand_in.salesforce(page_size=200)
        stand_in.control("POST", "clock", {"now": STAMP.isoformat()})
        ids = create(source, 5_000)
        lake = Lake(tmp_path / "lake")
        # Twice on the way the org forgets the query, once in the midst of the ties.
        stand_in.faults(
            {"match": "queryAll/", "after": 3, "status": 400, "body": [
                {"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}]},
            {"match": "queryAll/", "after": 12, "status": 400, "body": [
                {"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}]},
        )  # fmt: skip
        end = STAMP + timedelta(hours=1)
        first = ingest.pull_window(
            lake, source, "Contact", STAMP - timedelta(days=1), end,
            kind="live", now=end, run_id="1",
        )  # fmt: skip
        assert (first.rows, first.new) == (5_000, 5_000)
        late = create(source, 1)  # behind the cursor, with the same stamp
        again = ingest.pull_window(
            lake, source, "Contact", STAMP, end, kind="live", now=end, run_id="2"
        )
        assert (again.rows, again.new, again.duplicates) == (5_001, 1, 5_000)
        stored = lake.open(raw_table("salesforce", "Contact")).scan().collect()
        assert set(stored["record_id"]) == {*ids, *late}


FAULTS = {
    "500 HTML": {"status": 500, "body": "<html>Oops</html>", "times": 2},
    "503": {"status": 503, "times": 3},
    "truncated": {"action": "truncate", "times": 2},
    "reset": {"action": "reset", "times": 2},
    "429 seconds": {"status": 429, "headers": {"Retry-After": "1"}, "times": 2},
    "429 date": {
        "status": 429,
        "headers": {"Retry-After": "Wed, 25 Nov 2026 00:00:00 GMT"},
        "times": 2,
    },
    "429 bare": {"status": 429, "times": 2},
    "stall": {"action": "stall", "seconds": 2.0},
}


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_bad_day_changes_nothing_but_the_time_it_takes(
    stand_in: StandIn, fault: dict[str, Any], after: int
) -> None:
    source = stand_in.salesforce(page_size=200)
    if pulled(source).height <= 600:
        create(source, 600)
    expected = pulled(source)
    stand_in.faults({"match": "queryAll", "after": after, **fault})
    broken = stand_in.salesforce(quick(read_timeout=0.5, longest_wait=1e9), page_size=200)
    assert pulled(broken).equals(expected)
    assert stand_in.control("GET", "faults") == []


def test_a_token_that_ends_on_the_way_is_renewed_once(stand_in: StandIn) -> None:
    source = stand_in.salesforce(page_size=200)
    pages = source.pull("Contact", START, later())
    next(pages)
    stand_in.control("POST", "expire-tokens")
    assert source.read("Contact", ["003000000000001"], ["Email"]) == {}
    list(pages)
    signs = [e for e in stand_in.journal() if e["path"].endswith("/oauth2/token")]
    assert len(signs) == 2


def test_credentials_that_are_refused_say_re_authorise_once(stand_in: StandIn) -> None:
    wrong = stand_in.salesforce(client_secret="n0pe")
    with pytest.raises(NotAuthorised, match="Re-authorise") as caught:
        pulled(wrong)
    assert "n0pe" not in str(caught.value) + repr(wrong)
    stand_in.faults({"match": "queryAll", "status": 401, "times": 9, "body": []})
    stand_in.control("DELETE", "journal")
    with pytest.raises(NotAuthorised, match="Re-authorise"):
        pulled(stand_in.salesforce())
    assert sum("queryAll" in e["path"] for e in stand_in.journal()) == 2


def test_403_names_the_object_and_is_not_repeated(stand_in: StandIn) -> None:
    body = [{"errorCode": "INSUFFICIENT_ACCESS", "message": "no"}]
    stand_in.faults({"match": "queryAll", "status": 403, "times": 9, "body": body})
    with pytest.raises(NotPermitted, match="pull of Contact"):
        pulled(stand_in.salesforce())
    refused = [e for e in stand_in.journal() if e["status"] == 403]
    assert len(refused) == 1  # what an earlier test stalled may be told late


def test_the_daily_allowance_is_left_alone(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    stand_in.control("POST", "limits", {"salesforce_daily": 1_000, "salesforce_used": 900})
    pulled(source)
    with pytest.raises(BudgetSpent, match="1000 daily"):
        [pulled(source) for _ in range(50)]
    stand_in.control("POST", "limits", {"salesforce_daily": 1_000, "salesforce_used": 0})
    careful = stand_in.salesforce(api_budget="1%", page_size=200)
    with pytest.raises(BudgetSpent, match="api_budget 1%") as caught:
        [pulled(careful) for _ in range(11)]
    assert caught.value.retryable
    body = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    stand_in.faults({"match": "queryAll", "status": 403, "times": 9, "body": body})
    with pytest.raises(BudgetSpent, match="24 hours"):
        pulled(stand_in.salesforce())


def test_an_object_that_is_not_there_is_named(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    with pytest.raises(WrongObject, match="`Contat`"):
        pulled(source, "Contat")
    with pytest.raises(WrongObject, match="cannot be the name"):
        pulled(source, "Contact WHERE Id != null")


def test_a_system_that_is_away_is_one_message() -> None:
    config = salesforce.SalesforceConfig(
        url="http://127.0.0.1:9", client_id="id", client_secret="s3cret", objects=["Contact"]
    )
    with pytest.raises(Unavailable, match="Check that the system is up") as caught:
        pulled(salesforce.Salesforce("crm", config, options=quick(attempts=2)))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "http://example.com", "example.com", "ftp://127.0.0.1"])
def test_credentials_travel_by_https_or_stay_on_this_machine(url: str) -> None:
    config = salesforce.SalesforceConfig(
        url=url, client_id="id", client_secret="secret", objects=["Contact"]
    )
    with pytest.raises(ConnectorError, match=r"crm: its `url`"):
        pulled(salesforce.Salesforce("crm", config))


def test_more_fields_than_a_request_line_holds(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pulled(stand_in.salesforce(page_size=200)).with_columns(
        h=payload_hash(pulled(stand_in.salesforce())["payload"], ("attributes",))
    )
    monkeypatch.setattr("cdp_assets.connectors.salesforce.pull.LONGEST_URL", 850)
    stand_in.control("DELETE", "journal")
    split = pulled(stand_in.salesforce(page_size=200))
    split = split.with_columns(h=payload_hash(split["payload"], ("attributes",)))
    queries = [e["query"] for e in stand_in.journal() if "queryAll" in e["path"] and e["query"]]
    assert len(queries) > 2
    columns = ["record_id", "cursor_at", "op", "h"]
    assert split.select(columns).equals(expected.select(columns))


def test_news_is_one_small_request(stand_in: StandIn) -> None:
    source = stand_in.salesforce()
    latest = pulled(source)["cursor_at"].max()
    assert isinstance(latest, datetime)
    stand_in.control("DELETE", "journal")
    assert source.has_news("Contact", latest)
    assert source.has_news("Contact", latest + timedelta(milliseconds=300))
    assert not source.has_news("Contact", latest + timedelta(seconds=1))
    # What an earlier test's stall let through late is not ours.
    mine = [e for e in stand_in.journal() if e["fault"] is None]
    assert [e["rows"] for e in mine] == [1, 1, 0]
    fresh = stand_in.salesforce()
    stand_in.control("DELETE", "journal")
    assert not fresh.has_news("User", later())
    paths = [e["path"].rsplit("/", 1)[1] for e in stand_in.journal() if e["fault"] is None]
    assert paths == ["token", "queryAll"]


def test_news_of_an_object_that_refuses_the_usual_cursor(stand_in: StandIn) -> None:
    body = [{"errorCode": "INVALID_FIELD", "message": "cannot be filtered"}]
    stand_in.faults({"match": "queryAll", "status": 400, "body": body})
    assert stand_in.salesforce().has_news("Contact", START)
    with pytest.raises(WrongObject, match="`Nope`"):
        stand_in.salesforce().has_news("Nope", START)


def test_an_object_without_deletions(stand_in: StandIn) -> None:
    assert pulled(stand_in.salesforce(), "User")["op"].unique().to_list() == ["upsert"]


def test_description_in_our_words(stand_in: StandIn) -> None:
    described = stand_in.salesforce().describe(["Contact", "Account"])
    fields = described.objects["Contact"].fields
    assert fields["AccountId"].references == ("Account",)
    assert (fields["Email"].type, fields["CreatedDate"].updateable) == ("email", False)
    assert fields["CDP_Id__c"].external_id
    assert set(described.objects) == {"Contact", "Account"}


def test_short_ids_become_long_ones() -> None:
    assert long_id("003D000000QAXt6") == "003D000000QAXt6IAH"
    assert long_id("00Dx0000000BV7z") == "00Dx0000000BV7zEAG"
    assert long_id("003D000000QAXt6IAH") == "003D000000QAXt6IAH"
    assert long_id("no id") == "no id"


def test_literals_cannot_be_left() -> None:
    assert soql_string("O'Hara\\' OR Name != '") == "'O\\'Hara\\\\\\' OR Name != \\''"
    assert soql_datetime(STAMP + timedelta(microseconds=123_999)) == "2026-03-01T12:00:00.123Z"
