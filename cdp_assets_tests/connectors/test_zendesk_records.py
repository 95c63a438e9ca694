"""What is pulled from Zendesk as records: people, accounts, tickets and what was said in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from cdp_assets import records
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest
from cdp_assets.records import ObjectSpec
from cdp_assets_tests.connectors.stand_in import StandIn
from cdp_assets_tests.connectors.test_zendesk_pull import call, set_clock, ticket

AT = datetime(2025, 3, 1, 9, tzinfo=UTC)
OBJECTS = ("users", "organizations", "tickets", "ticket_comments")


def test_records_and_relations(stand_in: StandIn, tmp_path: Path) -> None:
    lake, source = Lake(tmp_path), stand_in.zendesk()
    set_clock(stand_in, AT)
    organization = {"name": "Engines Ltd", "domain_names": ["engines.example"]}
    account = call(stand_in, "POST", "/organizations", {"organization": organization})
    account_id = account["organization"]["id"]
    user = {"name": "Ada", "email": "ada@engines.example", "organization_id": account_id}
    person_id = call(stand_in, "POST", "/users", {"user": user})["user"]["id"]
    key = ticket(stand_in, AT, requester_id=person_id, via={"channel": "chat"})

    def build() -> None:
        now = datetime.now(UTC)
        for name in OBJECTS:
            result = ingest.pull_live(lake, source, name, AT, now, "run")
            assert result.rows == result.new + result.duplicates
        specs = []
        for name in OBJECTS:
            mapping = source.mapping(name)
            assert mapping is not None
            specs.append(ObjectSpec("zendesk", name, mapping, ("custom_plan",)))
        records.build(lake, specs, None, now)

    def of(entity: str, object_name: str, record_id: Any) -> dict[str, Any]:
        rows = lake.open(records.entity_table(entity)).scan()
        where = (pl.col("object") == object_name, pl.col("record_id") == str(record_id))
        return rows.filter(*where).collect().row(0, named=True)

    build()
    person = of("person", "users", person_id)
    assert (person["name"], person["email"]) == ("Ada", "ada@engines.example")
    assert person["created_at"] == AT
    assert of("account", "organizations", account_id)["domain"] == "engines.example"
    found = of("ticket", "tickets", key)
    assert (found["status"], found["channel"], found["deleted"]) == ("open", "chat", False)
    activity = lake.open(records.entity_table("activity")).scan().collect()
    said = activity.filter(pl.col("owner") == str(person_id)).row(0, named=True)
    assert (said["kind"], said["occurred_at"]) == ("chat", AT.strftime("%Y-%m-%dT%H:%M:%SZ"))
    relations = lake.open(records.RELATION).scan().filter(source="zendesk").collect()
    pairs = {(r["from"], r["kind"], r["to"]) for r in relations.iter_rows(named=True)}
    assert pairs >= {
        (f"zendesk.users:{person_id}", "account", f"zendesk.organizations:{account_id}"),
        (f"zendesk.tickets:{key}", "person", f"zendesk.users:{person_id}"),
        (f"zendesk.tickets:{key}", "account", f"zendesk.organizations:{account_id}"),
        (f"zendesk.ticket_comments:{said['record_id']}", "ticket", f"zendesk.tickets:{key}"),
    }
    set_clock(stand_in, AT + timedelta(hours=1))
    call(stand_in, "DELETE", f"/tickets/{key}")
    set_clock(stand_in, None)
    # The change lies before the live cursor, as only a clock put back can have it: read anew.
    now = datetime.now(UTC)
    ingest.pull_range(lake, source, "tickets", AT, AT, AT + timedelta(days=1), now, "again")
    build()
    assert of("ticket", "tickets", key)["deleted"]
