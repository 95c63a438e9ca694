"""HubSpot's own connector for Salesforce between the two CRMs that we write to: it joins records,
what it copied of ours is no news, and all three come to rest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cdp_assets_tests.e2e.bridge import CROSS_ID, VendorBridge
from cdp_assets_tests.e2e.house import DEFS, House, sandbox, set_clock, variables
from cdp_assets_tests.sandbox.running import Running

FIELDS = {"jobtitle": "Title", "orders": "Orders__c"}
HUBSPOT = """
type: cdp_assets.HubSpot
attributes:
  url: "{{ env.HUBSPOT_URL }}"
  token: "{{ env.HUBSPOT_TOKEN }}"
  objects: [contacts, companies]
  start: 2015-01-01
  bridge: {source: salesforce, fields: {contacts: {jobtitle: Title, orders: Orders__c}}}
"""
TO_HUBSPOT = """
type: cdp_assets.Sync
attributes:
  from: person
  to: hubspot.contacts
  match: [linked]
  fields: {orders: orders, jobtitle: title}
  approve: never
"""
TO_SALESFORCE = """
type: cdp_assets.Sync
attributes:
  from: person
  to: salesforce.Contact
  match: [linked]
  fields: {Title: title}
  approve: never
"""
TRAITS = "    seen_in_salesforce: {latest: [salesforce.Contact.Orders__c]}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with sandbox(tmp_path_factory.mktemp("bridge") / "world", 40) as running:
        yield running


@pytest.fixture(scope="module")
def house(served: Running, tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("house")
    defs = folder / "defs"
    shutil.copytree(DEFS, defs, ignore=shutil.ignore_patterns("__pycache__"))
    (defs / "hubspot" / "defs.yaml").write_text(HUBSPOT)
    (defs / "people_to_hubspot" / "defs.yaml").write_text(TO_HUBSPOT)
    (defs / "people_to_salesforce" / "defs.yaml").write_text(TO_SALESFORCE)
    person = defs / "person" / "defs.yaml"
    person.write_text(person.read_text().rstrip() + "\n" + TRAITS)
    return House(folder / "home", variables(served), defs)


def step(house: House, served: Running, bridge: VendorBridge) -> tuple[int, int]:
    """One round of all three, an hour later: rows that we wrote, records that the bridge did."""
    house.now += timedelta(hours=1)
    set_clock(served, house.now)
    done = house.run()
    house.now += timedelta(minutes=10)
    set_clock(served, house.now)
    return sum(item.written for item in done["apply"].values()), bridge.run()


def profile_of(house: House, identifier: str) -> dict[str, Any]:
    graph = house.table("identity/graph")
    (profile,) = graph.filter(pl.col("identifier") == identifier)["profile_id"].to_list()
    people = house.table("profiles/person")
    return people.filter(pl.col("profile_id") == profile).to_dicts()[0]


def test_three_writers_come_to_rest(house: House, served: Running) -> None:
    bridge = VendorBridge(served, FIELDS)
    bridge.install()
    rounds = [step(house, served, bridge) for _ in range(4)]
    assert rounds[0][0] > 0, "we told something"
    assert rounds[0][1] > 0, "and the bridge copied"
    assert rounds[2:] == [(0, 0), (0, 0)], rounds
    pairs = house.table("records/relation").filter(pl.col("kind") == "bridged")
    assert pairs.height
    graph = dict(house.table("identity/graph").select("identifier", "profile_id").iter_rows())
    assert all(graph[a] == graph[b] for a, b in pairs.select("from", "to").iter_rows())

    # Orders were told to HubSpot alone; what stands in Salesforce is the bridge's copy of them.
    held = served.query("SELECT Id, Orders__c FROM Contact WHERE Orders__c != null")
    copied = {f"salesforce.Contact:{row['Id']}" for row in held} & set(pairs["to"])
    assert copied
    people = house.table("profiles/person")
    assert people["seen_in_salesforce"].is_null().all(), "our own echo is no observation"

    # A person changes a title on one side, then on the other: it wins everywhere, once.
    record = sorted(copied)[0]
    sf_id = record.partition(":")[2]
    house.now += timedelta(minutes=5)
    set_clock(served, house.now)
    reply = served.salesforce("PATCH", f"/sobjects/Contact/{sf_id}", json={"Title": "Chief"})
    assert reply.ok
    rounds = [step(house, served, bridge) for _ in range(3)]
    assert rounds[-1] == (0, 0), rounds
    assert profile_of(house, record)["title"] == "Chief"
    (hs_id,) = [
        a.partition(":")[2] for a, b in pairs.select("from", "to").iter_rows() if b == record
    ]
    house.now += timedelta(minutes=5)
    set_clock(served, house.now)
    body = {"properties": {"jobtitle": "Founder"}}
    assert served.hubspot("PATCH", f"/crm/v3/objects/contacts/{hs_id}", json=body).ok
    rounds = [step(house, served, bridge) for _ in range(3)]
    assert rounds[-1] == (0, 0), rounds
    assert profile_of(house, record)["title"] == "Founder"
    (there,) = served.query(f"SELECT Title, Orders__c FROM Contact WHERE Id = '{sf_id}'")
    assert there["Title"] == "Founder"
    assert house.table("profiles/person")["seen_in_salesforce"].is_null().all()


def test_the_plan_names_what_the_bridge_writes_too(house: House) -> None:
    said = house.cdp("plan", "people_to_hubspot")
    assert said.returncode == 0, said.stderr
    (line,) = [x for x in said.stdout.splitlines() if x.startswith("kept by HubSpot's own")]
    assert line.endswith("contacts.jobtitle, contacts.orders")
    said = house.cdp("plan", "people_to_salesforce")
    assert "Contact.Title" in said.stdout


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("source: salesforce", "source: salesforc", "no Salesforce org `salesforc`"),
        ("jobtitle: Title", "jobtitle: Titel", "salesforce.Contact has no field `Titel`"),
        ("{contacts:", "{contact:", "did you mean contacts?"),
    ],
)
def test_a_bridge_that_is_misspelt(
    house: House, tmp_path: Path, old: str, new: str, told: str
) -> None:
    defs = tmp_path / "defs"
    shutil.copytree(house.defs, defs)
    file = defs / "hubspot" / "defs.yaml"
    file.write_text(file.read_text().replace(old, new))
    said = House(house.home, house.variables, defs, house.now).cdp("check")
    assert said.returncode == 2
    assert told in said.stderr


def test_a_cross_id_joins_what_no_e_mail_does(house: House, served: Running) -> None:
    house.now += timedelta(hours=1)
    set_clock(served, house.now)
    new = {"LastName": "Quist", "Email": "quist@one.example", "Title": "Baker"}
    sf_id = served.salesforce("POST", "/sobjects/Contact", json=new).json()["id"]
    properties = {"lastname": "Quist", "email": "q@two.example", CROSS_ID: sf_id}
    made = served.hubspot("POST", "/crm/v3/objects/contacts", json={"properties": properties})
    house.now += timedelta(hours=1)
    set_clock(served, house.now)
    house.run("pull", "records", "resolve", "build")
    one = profile_of(house, f"salesforce.Contact:{sf_id}")
    assert one == profile_of(house, f"hubspot.contacts:{made.json()['id']}")
