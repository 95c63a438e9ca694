"""Pulls of HubSpot, over HTTP from another process, on good and bad days."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets.connectors.base import BudgetSpent, NotAuthorised, Page, RowChange, Unavailable
from cdp_assets.connectors.hubspot import HubSpot, HubSpotConfig, paths
from cdp_assets.connectors.hubspot import pull as pull_module
from cdp_assets.connectors.hubspot.pull import HubSpotPull
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.raw.payload import payload_hash
from cdp_assets.raw.tables import raw_table
from cdp_assets_tests.connectors.faulty import Clock
from cdp_assets_tests.connectors.stand_in import StandIn, quick

START = datetime(2015, 1, 1, tzinfo=UTC)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=2)


def everything(pages: Iterator[Page]) -> pl.DataFrame:
    rows = pl.concat([page.rows for page in pages])
    hashed = rows.with_columns(payload_hash(rows["payload"], pull_module.VOLATILE))
    return hashed.sort("record_id", "op")


def listed(source: HubSpot, name: str = "contacts") -> pl.DataFrame:
    """All of an object: a window of everything is listed."""
    return everything(source.pull(name, START, later()))


def searched(source: HubSpot, name: str = "contacts") -> pl.DataFrame:
    """The same by searches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HubSpotPull, "_most", lambda *_: False)
        return everything(source.pull(name, START, later()))


def same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    columns = ["record_id", "cursor_at", "op", "merged_into", "payload_hash"]
    return (
        one.select(columns)
        .unique()
        .sort(columns)
        .equals(other.select(columns).unique().sort(columns))
    )


def create(source: HubSpot, count: int, stem: str) -> list[str]:
    made: list[str] = []
    for at in range(0, count, 100):
        rows = range(at, min(at + 100, count))
        batch = [RowChange(i, "create", {"email": f"{stem}{i}@made.example"}) for i in rows]
        made += [str(o.record_id) for o in source.write("contacts", batch)]
    return made


def searches(stand_in: StandIn) -> int:
    return sum(e["path"].endswith("/search") for e in stand_in.journal())


@pytest.mark.parametrize("name", ["contacts", "companies", "deals", "tickets"])
def test_a_record_looks_alike_however_it_came(stand_in: StandIn, name: str) -> None:
    source = stand_in.hubspot()
    first = listed(source, name)
    assert searches(stand_in) == 3, "two counts, and the merges alone are searched for"
    assert first.height > 5
    assert same(first, searched(source, name))


def lists(stand_in: StandIn, name: str = "contacts") -> int:
    """Requests for the list of live records."""
    asked = [e for e in stand_in.journal() if e["path"].endswith(f"/objects/{name}")]
    return sum("archived=true" not in json.dumps(e) for e in asked)


def test_a_window_of_most_records_is_listed_wherever_the_deployment_begins(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stand_in.hubspot()  # its `start` is 2015
    stand_in.control("POST", "clock", {"now": "2026-03-01T10:00:00+00:00"})
    create(source, 20, "floor")
    stand_in.control("POST", "clock", {})
    stamps = listed(source).filter(op="upsert")["cursor_at"].drop_nulls().sort()
    floor = stamps[len(stamps) // 4]  # as CDP_START would put it: three of four lie after it
    late = stamps[len(stamps) * 3 // 4]
    monkeypatch.setattr(pull_module, "_SEARCH_PAGE", 5)

    def way(start: datetime) -> tuple[int, pl.DataFrame]:
        before = lists(stand_in)
        rows = everything(source.pull("contacts", start, later())).filter(op="upsert")
        return lists(stand_in) - before, rows

    asked, rows = way(floor)
    assert asked > 0
    assert rows["cursor_at"].drop_nulls().min() >= floor
    assert rows.height >= len(stamps) * 3 // 4
    asked, rows = way(late)
    assert asked == 0, "a part of the object is searched for"
    assert rows["cursor_at"].min() >= late


def test_properties_that_no_address_can_hold(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = listed(stand_in.hubspot())
    monkeypatch.setattr(pull_module, "_LONGEST_QUERY", 100)
    assert same(listed(stand_in.hubspot()), expected)
    payload = json.loads(expected["payload"][0])
    assert len(payload["properties"]) > 30


@pytest.mark.parametrize("limit", [7, 30])
def test_windows_are_halved_until_they_can_be_paged(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    source = stand_in.hubspot()
    stand_in.control("POST", "clock", {"now": "2026-02-01T10:00:00+00:00"})
    create(source, 2 * limit + 5, f"stamp{limit}-")
    stand_in.control("POST", "clock", {})
    expected = searched(source)
    monkeypatch.setattr(pull_module, "_SEARCH_PAGE", 5)
    assert same(searched(stand_in.hubspot(search_limit=limit)), expected)


def test_a_record_that_leaves_the_search_hides_no_other(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stand_in.hubspot()
    stand_in.control("POST", "clock", {"now": "2026-02-02T10:00:00+00:00"})
    ids = create(source, 30, "shift")
    stand_in.control("POST", "clock", {})
    monkeypatch.setattr(pull_module, "_TOGETHER", 5)
    monkeypatch.setattr(pull_module, "_SEARCH_PAGE", 5)
    day = datetime(2026, 2, 2, tzinfo=UTC)
    pages = source.pull("contacts", day, day + timedelta(days=1))
    seen = list(next(pages).rows["record_id"])
    # Two records of the part already read move on: places shift past us.
    source.write(
        "contacts", [RowChange(i, "update", {"city": "X"}, record_id=seen[i]) for i in (0, 1)]
    )
    for page in pages:
        seen += page.rows.filter(op="upsert")["record_id"].to_list()
    assert set(seen) == set(ids)
    assert len(seen) == len(ids)


def test_a_search_out_of_order_is_not_taken(stand_in: StandIn) -> None:
    stamps = ["2026-01-02T00:00:00.000Z", "2026-01-01T00:00:00.000Z"]
    results = [{"id": s, "properties": {"lastmodifieddate": s}} for s in stamps]
    body = {"total": 2, "results": results}
    stand_in.faults({"match": "contacts/search", "status": 200, "body": body})
    with pytest.raises(Unavailable, match="order"):
        searched(stand_in.hubspot())


def test_archived_and_merged_records_are_followed(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    kept, loser, gone = create(source, 3, "fate")
    started = datetime.now(UTC) - timedelta(minutes=1)
    http = source._client.http
    http.request("DELETE", f"/crm/v3/objects/contacts/{gone}", what="archive")
    body = json.dumps({"primaryObjectId": kept, "objectIdToMerge": loser}).encode()
    http.request("POST", "/crm/v3/objects/contacts/merge", what="merge", body=body)
    for rows in (searched(source), listed(source)):
        said = rows.filter(pl.col("record_id").is_in([kept, loser, gone])).unique(
            ["record_id", "op", "merged_into"]
        )
        assert sorted(said.select("record_id", "op", "merged_into").rows()) == sorted(
            [(kept, "upsert", None), (loser, "merge", kept), (gone, "delete", None)]
        )
    deletion = rows.filter(record_id=gone)
    assert json.loads(deletion["payload"][0])["archived"] is True
    assert started < deletion["cursor_at"][0] < later()
    old = everything(source.pull("contacts", START, started))
    assert old.filter(record_id=gone).is_empty()


def test_who_was_merged_into_one_that_is_archived_is_merged_all_the_same(
    stand_in: StandIn,
) -> None:
    source = stand_in.hubspot()
    first, second, third, last = create(source, 4, "chain")
    # One after the other, and the survivor of all goes into the archive: no search shows it.
    for kept, loser in ((second, first), (last, third), (last, second)):
        body = {"primaryObjectId": kept, "objectIdToMerge": loser}
        source._client.post("/crm/v3/objects/contacts/merge", body, what="merge")
    assert source.write("contacts", [RowChange(1, "delete", {}, record_id=last)])[0].ok
    for rows in (searched(source), listed(source)):
        said = rows.filter(pl.col("record_id").is_in([first, second, third, last]))
        assert set(said.select("record_id", "op", "merged_into").rows()) == {
            (first, "merge", last), (second, "merge", last), (third, "merge", last),
            (last, "delete", None),
        }  # fmt: skip


def test_all_of_a_hundred_and_one_associations(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    contacts = create(source, 101, "many")
    deal = str(source.write("deals", [RowChange(1, "create", {"dealname": "Big"})])[0].record_id)
    inputs = [{"from": {"id": deal}, "to": {"id": c}} for c in contacts]
    source._client.post(
        "/crm/v4/associations/deals/contacts/batch/associate/default",
        {"inputs": inputs}, what="associate",
    )  # fmt: skip
    for rows in (listed(source, "deals"), searched(source, "deals")):
        payload = json.loads(rows.filter(record_id=deal)["payload"][0])
        ids = {r["id"] for r in payload["associations"]["contacts"]["results"]}
        assert ids == set(contacts)


def test_associations_cost_a_request_for_a_thousand_records(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    create(source, 300, "cheap")
    for way in (listed, searched):
        stand_in.control("DELETE", "journal")
        rows = way(source).filter(op="upsert")
        asked = sum("/associations/" in e["path"] for e in stand_in.journal())
        assert rows.height > 300
        assert asked == -(-rows.height // 1000)


def test_a_primary_company_is_named_so(stand_in: StandIn) -> None:
    rows = listed(stand_in.hubspot())
    kinds = {
        result["type"]
        for payload in rows.filter(op="upsert")["payload"]
        for result in json.loads(payload)["associations"]["companies"]["results"]
    }
    assert kinds == {"contact_to_company", "contact_to_company_unlabeled"}


FAULTS = {
    "500 HTML": {"status": 500, "body": "<html>Oops</html>", "times": 2},
    "truncated": {"action": "truncate", "times": 2},
    "reset": {"action": "reset", "times": 2},
    "429 seconds": {"status": 429, "headers": {"Retry-After": "1"}, "times": 2},
    "429 date": {"status": 429, "headers": {"Retry-After": "Wed, 25 Nov 2026 00:00:00 GMT"}},
    "423": {"status": 423, "times": 2},
    "stall": {"action": "stall", "seconds": 2.0},
}


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_bad_day_changes_nothing_but_the_time_it_takes(
    stand_in: StandIn, fault: dict[str, Any], after: int
) -> None:
    expected = searched(stand_in.hubspot())
    stand_in.faults({"match": "/crm/", "after": after, **fault})
    broken = stand_in.hubspot(quick(read_timeout=0.5, longest_wait=1e9))
    assert same(searched(broken), expected)
    assert stand_in.control("GET", "faults") == []


@pytest.mark.parametrize(
    ("limit", "least"),
    [("hubspot_per_ten_seconds", 10.0), ("hubspot_search_per_second", 1.0)],
)
def test_waits_by_the_policy_that_refused(stand_in: StandIn, limit: str, least: float) -> None:
    clock = Clock()
    stand_in.control("POST", "clock", {"now": "2026-11-25T10:00:00+00:00"})
    stand_in.control("POST", "limits", {limit: 1})

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        at = datetime(2026, 11, 25, 10, 0, tzinfo=UTC) + timedelta(seconds=clock.time)
        stand_in.control("POST", "clock", {"now": at.isoformat()})

    source = stand_in.hubspot(quick(monotonic=clock, sleep=sleep))
    for _ in range(2):
        source.has_news("contacts", START)
        source.describe(["contacts"])
    assert least <= max(clock.slept) <= least * 1.2
    refused = [e for e in stand_in.journal() if e["status"] == 429]
    assert len(refused) >= 1


def test_the_day_s_end_is_not_waited_for(stand_in: StandIn) -> None:
    slept: list[float] = []
    source = stand_in.hubspot(quick(sleep=slept.append))
    source.describe(["contacts"])
    stand_in.control("POST", "limits", {"hubspot_daily": 1})
    with pytest.raises(BudgetSpent, match="midnight"):
        searched(source)
    assert max([0.0, *slept]) < 5


def test_a_wrong_token_says_re_authorise(stand_in: StandIn) -> None:
    config = HubSpotConfig(url=stand_in.url, token="pat-wr0ng", objects=["contacts"])  # type: ignore[arg-type]
    source = HubSpot("hubspot", config, options=quick())
    with pytest.raises(NotAuthorised, match="Re-authorise") as caught:
        listed(source)
    assert "wr0ng" not in f"{caught.value!r} {source!r} {config!r}"


def test_news_is_one_small_request(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    latest = listed(source).filter(op="upsert")["cursor_at"].max()
    assert isinstance(latest, datetime)
    stand_in.control("DELETE", "journal")
    assert source.has_news("contacts", latest)
    assert not source.has_news("contacts", latest + timedelta(seconds=1))
    # A request that an earlier test let stall is noted when its stall ends.
    assert [e["rows"] for e in stand_in.journal() if e["fault"] is None] == [1, 0]


def test_what_the_index_shows_late_comes_with_the_next_pull(
    stand_in: StandIn, tmp_path: Path
) -> None:
    source, lake = stand_in.hubspot(), Lake(tmp_path)
    stand_in.control("POST", "limits", {"hubspot_search_lag_seconds": 90})
    first = datetime(2026, 7, 1, 12, tzinfo=UTC)

    def pull(at: datetime) -> ingest.PullResult:
        stand_in.control("POST", "clock", {"now": at.isoformat()})
        return ingest.pull_live(lake, source, "contacts", first - timedelta(hours=1), at, "run")

    stand_in.control("POST", "clock", {"now": first.isoformat()})
    early = create(source, 2, "lag-early")
    pull(first + timedelta(seconds=30))
    stand_in.control("POST", "clock", {"now": (first + timedelta(seconds=40)).isoformat()})
    late = create(source, 2, "lag-late")
    pull(first + timedelta(seconds=60))
    pull(first + timedelta(minutes=5))
    rows = lake.open(raw_table("hubspot", "contacts")).scan().filter(op="upsert").collect()
    mine = rows.filter(pl.col("record_id").is_in(early + late))["record_id"]
    assert sorted(mine) == sorted(early + late), "each once, none lost"


def test_a_search_that_never_holds_still_is_no_whole(stand_in: StandIn) -> None:
    one = {"id": "1", "properties": {"lastmodifieddate": "2026-01-01T00:00:00.000Z"}}
    body = {"total": 3, "results": [one]}
    stand_in.faults({"match": "contacts/search", "status": 200, "body": body, "times": 99})
    with pytest.raises(Unavailable, match="faster than they can be read"):
        searched(stand_in.hubspot())


def test_searches_keep_to_their_own_pace(stand_in: StandIn) -> None:
    clock = Clock()
    source = stand_in.hubspot(
        quick(monotonic=clock, sleep=clock.sleep), searches_per_second=4, requests_per_10s=100
    )
    for _ in range(20):
        source.has_news("contacts", START)
    assert clock.time >= (20 - 4) / 4, "five a second are the whole account's"
    before = clock.time
    for _ in range(150):
        source.read("contacts", ["1"], ["city"])
    assert clock.time - before >= 10, "100 in any ten seconds"


def test_the_wrong_cursor_would_find_nothing(stand_in: StandIn) -> None:
    """Both stamps are properties of contacts; only one of them moves."""
    source = stand_in.hubspot()
    assert {"lastmodifieddate", "hs_lastmodifieddate"} <= set(source._client.properties("contacts"))
    for name, cursor in (("contacts", "lastmodifieddate"), ("deals", "hs_lastmodifieddate")):
        assert HubSpotPull(source._client, name).cursor == cursor
        assert source.has_news(name, START)


def test_versions_of_the_api_stand_in_one_place() -> None:
    folder = Path(paths.__file__).parent
    for file in folder.glob("*.py"):
        if file.name != "paths.py":
            assert not re.findall(r"/v\d/|/v\d\b|/20\d\d-\d\d", file.read_text("utf-8")), file.name


def test_what_names_a_record_for_sure_is_described(stand_in: StandIn) -> None:
    """Companies and deals have no key of their own: a sync has to bring one."""
    described = stand_in.hubspot().describe(["contacts", "companies", "deals"]).objects
    unique = {n: {f.name for f in o.fields.values() if f.unique} for n, o in described.items()}
    assert "email" in unique["contacts"]
    assert "domain" not in unique["companies"]
    assert unique["deals"] == {"hs_object_id"}
