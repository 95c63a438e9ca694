"""Ways into HubSpot, its daily allowance, and the keys of its records."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from cdp_assets.connectors.base import BudgetSpent, NotAuthorised, NotPermitted, RowChange
from cdp_assets.connectors.http import HttpOptions
from cdp_assets.connectors.hubspot import HubSpot, HubSpotConfig
from cdp_assets.connectors.hubspot import pull as pull_module
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.raw.reconcile import reconcile
from cdp_assets.raw.tables import raw_table
from cdp_assets.sandbox.hubspot.oauth import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN
from cdp_assets_tests.connectors.faulty import Clock
from cdp_assets_tests.connectors.stand_in import StandIn, quick
from cdp_assets_tests.connectors.test_hubspot_pull import create, listed, same, searched

APP = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": REFRESH_TOKEN}


def app(stand_in: StandIn, options: HttpOptions | None = None, **more: Any) -> HubSpot:
    config = HubSpotConfig.model_validate(
        {"url": stand_in.url, "objects": ["contacts"], "start": "2015-01-01",
         "requests_per_10s": 100_000, "searches_per_second": 10_000, **APP, **more}
    )  # fmt: skip
    return HubSpot("hubspot", config, options=options or quick())


def sign_ins(stand_in: StandIn) -> int:
    return sum(e["path"] == "/oauth/v1/token" for e in stand_in.journal())


def unauthorised(stand_in: StandIn) -> int:
    return sum(e["status"] == 401 for e in stand_in.journal())


def test_an_app_signs_in_once_and_anew_before_its_token_ends(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = listed(stand_in.hubspot())
    stand_in.control("DELETE", "journal")
    clock, begun = Clock(), datetime(2026, 6, 1, tzinfo=UTC)
    stand_in.control("POST", "clock", {"now": begun.isoformat()})
    source = app(stand_in, quick(monotonic=clock))
    read = pull_module.associations

    def a_while_later(*args: Any) -> dict[str, bytes]:
        # Half an hour passes between a page and the look for its associations.
        clock.sleep(1_799)
        now = begun + timedelta(seconds=clock.time)
        stand_in.control("POST", "clock", {"now": now.isoformat()})
        return read(*args)

    monkeypatch.setattr(pull_module, "associations", a_while_later)
    monkeypatch.setattr(pull_module, "_LIST_PAGE", 40)
    monkeypatch.setattr(pull_module, "_TOGETHER", 40)
    rows = listed(source)
    assert same(rows.filter(op="upsert"), expected.filter(op="upsert"))
    assert len(clock.slept) >= 3
    assert unauthorised(stand_in) == 0
    assert 3 <= sign_ins(stand_in) <= len(clock.slept) + 1


def test_one_of_many_streams_signs_in_for_all(stand_in: StandIn) -> None:
    source = app(stand_in)
    source.describe(["contacts"])
    assert sign_ins(stand_in) == 1
    stand_in.control("POST", "expire-tokens")
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: source.find("contacts", "city", ["-"], []), range(6)))
    assert found == [{}] * 6
    assert sign_ins(stand_in) == 2


def test_a_401_in_the_middle_is_followed_by_one_sign_in(stand_in: StandIn) -> None:
    source = app(stand_in)
    expected = searched(source)
    stand_in.control("DELETE", "journal")
    stand_in.faults({"match": "associations", "status": 401, "body": {"category": "EXPIRED"}})
    assert same(searched(source), expected)
    assert sign_ins(stand_in) == 1
    stand_in.faults({"match": "/crm/", "status": 401, "times": 50})
    with pytest.raises(NotAuthorised, match="Re-authorise"):
        searched(source)
    assert sign_ins(stand_in) == 2


@pytest.mark.parametrize("name", APP)
def test_a_wrong_part_of_the_app_s_credentials(stand_in: StandIn, name: str) -> None:
    source = app(stand_in, **{name: "wr0ng-value"})
    with pytest.raises(NotAuthorised, match="Re-authorise") as caught:
        listed(source)
    assert "wr0ng" not in f"{caught.value!r} {source!r}"
    assert CLIENT_SECRET not in str(caught.value)
    assert sign_ins(stand_in) == 1


@pytest.mark.parametrize(
    "given", [{}, {"token": "t", **APP}, {"client_id": "a", "client_secret": "b"}]
)
def test_one_way_in_and_all_of_it(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="client_secret"):
        HubSpotConfig.model_validate({"objects": ["contacts"], **given})


def test_the_day_s_budget_is_as_last_told(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    assert source.budget is None
    source.has_news("contacts", datetime(2020, 1, 1, tzinfo=UTC))
    assert source.budget is None, "searches do not tell"
    stand_in.control("POST", "limits", {"hubspot_daily": 500})
    source.describe(["contacts"])
    used, allowed = source.budget or (0, 0)
    assert (used, allowed) == (1, 500)
    source.read("contacts", ["1"], ["city"])
    assert source.budget == (2, 500)


@pytest.mark.parametrize(
    ("options", "message"), [({"api_budget": 0.02}, "api_budget 2%"), ({}, "left alone")]
)
def test_a_run_keeps_to_its_share_of_the_day(
    stand_in: StandIn, options: dict[str, Any], message: str
) -> None:
    other, source = stand_in.hubspot(), stand_in.hubspot(**options)
    stand_in.control("POST", "limits", {"hubspot_daily": 100})
    for _ in range(0 if options else 94):
        other.has_news("contacts", datetime(2020, 1, 1, tzinfo=UTC))
    stand_in.control("DELETE", "journal")
    with pytest.raises(BudgetSpent, match=message):
        [source.read("contacts", ["1"], ["city"]) for _ in range(9)]
    assert 1 <= len(stand_in.journal()) <= 3


def test_keys_are_those_of_live_records(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    kept, merged, gone = create(source, 3, "key")
    assert source.write("contacts", [RowChange(1, "delete", {}, record_id=gone)])[0].ok
    body = {"primaryObjectId": kept, "objectIdToMerge": merged}
    source._client.post("/crm/v3/objects/contacts/merge", body, what="merge")
    stand_in.control("DELETE", "journal")
    keys = pl.concat(source.keys("contacts"))
    live = stand_in.control("GET", "state")["records"]["hubspot.contacts"]
    assert keys.height == live
    assert set(keys["record_id"]) & {kept, merged, gone} == {kept}
    assert len(stand_in.journal()) <= 2 + live // 100
    rows = listed(source).filter(op="upsert").select("record_id", "cursor_at")
    assert keys.sort("record_id").equals(rows.sort("record_id"))


def test_an_object_that_is_closed_to_the_app_names_itself(stand_in: StandIn) -> None:
    refusal = {"category": "MISSING_SCOPES", "message": "This app hasn't been granted all scopes"}
    stand_in.faults({"match": "objects/deals", "status": 403, "body": refusal, "times": 9})
    source = stand_in.hubspot()
    with pytest.raises(NotPermitted, match=r"pull of deals.*MISSING_SCOPES"):
        listed(source, "deals")
    assert listed(source, "contacts").height > 0


def test_comparing_keys_finds_who_left_without_a_trace(stand_in: StandIn, tmp_path: Path) -> None:
    source, lake = stand_in.hubspot(lists=["Compared"]), Lake(tmp_path)
    now = datetime.now(UTC)
    ids = create(source, 3, "compared")
    made = source.create_list("Compared", "contacts")
    source.change_members(made, ids, [])
    for name in ("list_members", "owners", "email_events"):
        ingest.pull_live(lake, source, name, now - timedelta(days=3650), now, "run")
    source.change_members(made, [], ids[:1])
    later = now + timedelta(hours=1)
    found = {
        name: reconcile(lake, source, name, now - timedelta(days=3650), later, "run")
        for name in ("list_members", "owners", "email_events")
    }
    assert (found["list_members"].gone, found["owners"].gone) == (1, 0)
    assert "never taken back" in found["email_events"].refused
    rows = lake.open(raw_table("hubspot", "list_members")).scan().filter(op="delete").collect()
    assert rows["record_id"].to_list() == [f"{made}:{ids[0]}"]
