from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from cdp_assets.events import ingest
from cdp_assets.events.config import EventFilesConfig, EventFilesSpec
from cdp_assets.events.enrich import COLUMNS, EnrichError, Enrichments, Kind
from cdp_assets.events.enrich.agents import bots
from cdp_assets.events.tables import EVENTS
from cdp_assets.lake import Lake, Table
from cdp_assets_tests.events.world import DECIMAL, NO_WAIT, NOW, event, line, table, write

CHROME = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
          "Chrome/126.0.0.0 Safari/537.36")  # fmt: skip
IPHONE = ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
          "like Gecko) Version/17.5 Mobile/15E148 Safari/604.1")  # fmt: skip
IPAD = IPHONE.replace("iPhone; CPU iPhone OS", "iPad; CPU OS")
PIXEL = ("Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/126.0.0.0 Mobile Safari/537.36")  # fmt: skip
TABLET = PIXEL.replace("Pixel 8", "SM-X706B").replace("Mobile ", "")
TV = ("Mozilla/5.0 (SMART-TV; Linux; Tizen 5.0) AppleWebKit/537.36 (KHTML, like Gecko) "
      "SamsungBrowser/2.2 Chrome/63 TV Safari/537.36")  # fmt: skip
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small database: a /16 in one city, of which one /28 is another; one of IPv6."""
    made = MMDBWriter(6, "Test-City", languages=["en"], ipv4_compatible=True)

    def city(country: str, region: str, name: str) -> dict[str, Any]:
        return {
            "country": {"iso_code": country}, "subdivisions": [{"iso_code": region}],
            "city": {"names": {"en": name, "de": "anders"}},
        }  # fmt: skip

    made.insert_network(IPSet(["203.0.0.0/16"]), city("DE", "BE", "Berlin"))
    made.insert_network(IPSet(["203.0.113.0/28"]), city("DE", "BB", "Potsdam"))
    made.insert_network(IPSet(["2001:db8::/32"]), city("FR", "IDF", "Paris"))
    file = tmp_path_factory.mktemp("places") / "test.mmdb"
    made.to_db_file(str(file))
    return file


def enriched(
    contexts: Sequence[dict[str, Any]],
    kinds: Sequence[Kind],
    folder: Path,
    file: Path | None = None,
) -> pl.DataFrame:
    lines = [line(event(n, context=context)) for n, context in enumerate(contexts)]
    write(folder / "in", "a.jsonl", lines)
    lake = Lake(folder / "lake")
    config = EventFilesConfig(path=f"{folder}/in/*.jsonl")
    spec = EventFilesSpec("app", config, enrich=Enrichments({"app": kinds}, file))
    assert ingest(lake, [spec], {}, (), NOW, settle=NO_WAIT).stored == len(lines)
    return table(lake, "events").sort("row_number")


def test_user_agents_become_browser_system_and_device(tmp_path: Path) -> None:
    agents = [CHROME, IPHONE, IPAD, PIXEL, TABLET, TV, "own-app/1.0", None]
    rows = enriched([{"userAgent": agent} for agent in agents], ["user_agent"], tmp_path)
    columns = ("browser", "browser_version", "os", "os_version", "device_type")
    assert rows.select(columns).rows() == [
        ("Chrome", "126.0", "Windows", "10", "desktop"),
        ("Mobile Safari", "17.5", "iOS", "17.5", "mobile"),
        ("Mobile Safari", "17.5", "iOS", "17.5", "tablet"),
        ("Chrome Mobile", "126.0", "Android", "14", "mobile"),
        ("Chrome", "126.0", "Android", "14", "tablet"),
        ("Samsung Internet", "2.2", "Tizen", "5.0", "tv"),
        (None, None, None, None, None),
        (None, None, None, None, None),
    ]
    assert rows["enriched"].str.contains(r"^user_agent: ua-parser-builtins [\d.]+$").all()
    assert rows["user_agent"].to_list() == agents  # as sent


def test_bots_are_flagged_and_kept(tmp_path: Path) -> None:
    agents = [CHROME, GOOGLEBOT, "okhttp/4.12.0", "analytics-python/2.3", None, "HeadlessChrome/99"]
    rows = enriched([{"userAgent": agent} for agent in agents], ["bots"], tmp_path)
    assert ["bot" in flags for flags in rows["flags"].to_list()] == [
        False, True, False, False, False, True,
    ]  # fmt: skip
    assert rows["browser"].null_count() == len(agents)


def test_every_crawler_of_the_list_is_known_and_no_library_of_http() -> None:
    real = [(agent, item["tags"]) for item in CRAWLER_USER_AGENTS_DATA
            for agent in item["instances"] if "http-library" not in item["tags"]]  # fmt: skip
    found = bots(pl.DataFrame({"user_agent": [agent for agent, _ in real]}))["bot"]
    assert found.all()
    people = pl.DataFrame({"user_agent": [CHROME, IPHONE, IPAD, PIXEL, TABLET, TV, ""]})
    assert not bots(people)["bot"].any()


def test_addresses_become_places_as_far_as_they_were_kept(tmp_path: Path, places: Path) -> None:
    addresses = [
        "203.0.113.5", "203.0.113.200", "203.0.113.0", "203.0.7.0", "2001:db8:1:2::3",
        "2001:db8:1::", "127.0.0.1", "not one", None,
    ]  # fmt: skip
    rows = enriched([{"ip": address} for address in addresses], ["place"], tmp_path, places)
    assert rows.select("country", "region", "city").rows() == [
        ("DE", "BB", "Potsdam"),
        ("DE", "BE", "Berlin"),
        ("DE", None, None),  # truncated, and its /24 is divided between two cities
        ("DE", "BE", "Berlin"),
        ("FR", "IDF", "Paris"),
        ("FR", "IDF", "Paris"),
        (None, None, None),
        (None, None, None),
        (None, None, None),
    ]
    assert rows["enriched"][0].startswith("place: Test-City 20")


def test_referrers_have_a_class(tmp_path: Path) -> None:
    referrers = [
        "https://www.google.de/", "https://shop.example.co.uk/a", "https://news.example.org/x",
        "https://l.facebook.com/", "https://outlook.live.com/", "https://chatgpt.com/", "", None,
        "junk",
    ]  # fmt: skip
    pages = [{"page": {"url": "https://www.example.co.uk/", "referrer": r}} for r in referrers]
    rows = enriched(pages, ["referrer"], tmp_path)
    assert rows["referrer_class"].to_list()[:8] == [
        "search", "internal", "referral", "social", "email", "ai", None, None,
    ]  # fmt: skip


def test_currencies_are_iso_codes_or_flagged(tmp_path: Path) -> None:
    said = ["EUR", "usd ", "Euro", None, 978, "XBTC", ""]
    lines = [line(event(n, properties={"revenue": 1, "currency": c})) for n, c in enumerate(said)]
    write(tmp_path / "in", "a.jsonl", lines)
    lake, config = Lake(tmp_path / "lake"), EventFilesConfig(path=f"{tmp_path}/in/*.jsonl")
    kinds = Enrichments({"app": ["currency"]})
    ingest(lake, [EventFilesSpec("app", config, enrich=kinds)], {}, (), NOW, settle=NO_WAIT)
    rows = table(lake, "events").sort("row_number")
    assert rows["currency"].to_list() == ["EUR", "USD", None, None, None, None, None]
    assert ["unknown_currency" in f for f in rows["flags"].to_list()] == [
        False, False, True, False, True, True, False,
    ]  # fmt: skip
    assert json.loads(rows["payload"][1])["properties"]["currency"] == "usd "


def test_what_bots_say_fills_no_table_of_people(tmp_path: Path) -> None:
    visits = [event(n, userId=f"u{n}", context={"userAgent": agent})
              for n, agent in enumerate([CHROME, GOOGLEBOT])]  # fmt: skip
    told = [{**visit, "type": "identify", "messageId": f"i{n}", "traits": {"email": f"{n}@x.org"}}
            for n, visit in enumerate(visits)]  # fmt: skip
    write(tmp_path / "in", "a.jsonl", map(line, visits + told))
    config = EventFilesConfig(path=f"{tmp_path}/in/*.jsonl")
    spec = EventFilesSpec("app", config, enrich=Enrichments({"app": ["bots"]}))
    people: list[Any] = []
    for properties in ({"revenue": DECIMAL}, {"revenue": DECIMAL, "currency": pl.String()}):
        # the second time both tables are decoded anew from what is stored
        traits = [f"events.traits.{name}" for name in ("email", *properties)]
        lake = Lake(tmp_path / "lake")
        ingest(lake, [spec], {"Order Completed": properties}, traits, NOW, settle=NO_WAIT)
        orders = table(lake, "events/order_completed").select("user_id", "revenue").rows()
        values = table(lake, "events/values").select("identifier", "value").rows()
        people.append((orders, values))
    assert people[0] == people[1] == ([("u0", Decimal("0.5"))], [("user_id:u0", "0@x.org")])
    assert len(table(lake, "events")) == 4


def test_only_sources_that_ask_are_enriched_and_rows_stay_in_order() -> None:
    schema = {"source": pl.String, "user_agent": pl.String, "flags": pl.List(pl.String)}
    agents = [CHROME, GOOGLEBOT, GOOGLEBOT, IPHONE, None, GOOGLEBOT]
    sources = ["web", "app", "web", "web", "app", "other"]
    flags = [[], ["future"], ["no_time"], [], [], []]
    rows = pl.DataFrame([sources, agents, flags], schema=schema).with_columns(
        pl.lit(None, dtype).alias(column) for column, dtype in COLUMNS.items()
    )
    asked = Enrichments({"web": ["bots", "user_agent"], "app": ["bots"], "absent": ["referrer"]})
    found = asked.add(rows)
    assert found.columns == rows.columns
    assert found["source"].to_list() == sources
    assert found["flags"].to_list() == [[], ["future", "bot"], ["no_time", "bot"], [], [], []]
    assert found["os"].to_list() == ["Windows", None, None, "iOS", None, None]
    assert [bool(text) for text in found["enriched"]] == [True] * 5 + [False]
    assert asked.add(rows.clear()).schema == rows.schema


def test_a_table_from_before_gets_the_columns(tmp_path: Path) -> None:
    before = {name: dtype for name, dtype in EVENTS.schema.items() if name not in COLUMNS}
    old = Table(key="events", description="Before.", schema=before, partition_by=("event_day",))
    write(tmp_path / "in", "a.jsonl", [line(event(1))])
    lake, config = Lake(tmp_path / "lake"), EventFilesConfig(path=f"{tmp_path}/in/*.jsonl")
    row = {"message_id": "m0", "event_day": NOW.date(), "flags": []}
    lake.open(old).append(pl.DataFrame([row], schema_overrides={"flags": pl.List(pl.String)}))
    kinds = Enrichments({"app": ["user_agent"]})
    ingest(lake, [EventFilesSpec("app", config, enrich=kinds)], {}, (), NOW, settle=NO_WAIT)
    rows = table(lake, "events").sort("message_id")
    assert rows["message_id"].to_list() == ["m0", "m1"]
    assert set(COLUMNS) <= set(rows.columns)


def test_what_is_missing_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EnrichError, match="needs CDP_GEO_DATABASE"):
        Enrichments({"app": ["place"]}).require()
    with pytest.raises(EnrichError, match="cannot be read"):
        Enrichments({"app": ["place"]}, tmp_path / "none.mmdb").require()
    (tmp_path / "odd.mmdb").write_bytes(b"no database")
    with pytest.raises(EnrichError, match="no database of places"):
        Enrichments({"app": ["place"]}, tmp_path / "odd.mmdb").require()
