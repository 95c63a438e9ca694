"""What Salesforce tells of deletions, how far it vouches for that, and what is no deletion."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.connectors.base import RowChange
from cdp_assets.connectors.salesforce import Salesforce
from cdp_assets.lake import Lake
from cdp_assets.raw import ingest, windows
from cdp_assets.raw.tables import raw_table
from cdp_assets_tests.connectors.stand_in import StandIn, quick

START = datetime(2026, 1, 1, tzinfo=UTC)


class Pulls:
    """Pulls of Group, whose queries show no deleted records, while time passes."""

    def __init__(self, stand_in: StandIn, folder: Path) -> None:
        self.stand_in, self.lake, self.waited = stand_in, Lake(folder), 0.0
        self.source: Salesforce = stand_in.salesforce(
            options=quick(now=self.now, monotonic=lambda: time.monotonic() + self.waited)
        )

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.waited)

    def wait(self, seconds: float) -> None:
        self.stand_in.wait(seconds)
        self.waited += seconds

    def make(self) -> str:
        change = RowChange(0, "create", {"Name": "CDP test"})
        return str(self.source.write("Group", [change])[0].record_id)

    def delete(self, record: str) -> None:
        assert self.source.write("Group", [RowChange(0, "delete", {}, record_id=record)])[0].ok

    def pull(self) -> ingest.PullResult:
        return ingest.pull_live(self.lake, self.source, "Group", START, self.now(), "run")

    def gone(self) -> set[str]:
        rows = self.lake.open(raw_table("salesforce", "Group")).scan().collect()
        return set(rows.filter(op="delete")["record_id"])


def test_a_deletion_told_late_is_not_passed_over(stand_in: StandIn, tmp_path: Path) -> None:
    pulls = Pulls(stand_in, tmp_path)
    record = pulls.make()
    pulls.wait(60)
    pulls.pull()
    # A long transaction holds the log back by two hours, longer than pulls overlap.
    stand_in.control("POST", "limits", {"salesforce_deleted_behind": 7200})
    pulls.wait(900)
    pulls.delete(record)
    for _ in range(3):
        pulls.wait(900)
        pulls.pull()
        assert record not in pulls.gone()
        reached = windows.cursor(pulls.lake, "salesforce", "Group", START)
        assert pulls.now() - reached > timedelta(minutes=10)
    stand_in.control("POST", "limits", {})
    pulls.pull()
    assert record in pulls.gone()


def test_what_is_told_no_more_is_said(stand_in: StandIn, tmp_path: Path) -> None:
    pulls = Pulls(stand_in, tmp_path)
    record = pulls.make()
    pulls.wait(60)
    assert pulls.pull().gaps == (), "nothing was stored that could be gone"
    pulls.wait(60)
    assert pulls.pull().gaps == ()
    pulls.delete(record)
    pulls.wait(7200)
    stand_in.control("POST", "limits", {"salesforce_deleted_kept_hours": 1})
    (said,) = pulls.pull().gaps
    assert "tells no more which Group records were deleted" in said
    assert "comparison of keys" in said
    assert record not in pulls.gone()
    stand_in.control("POST", "limits", {})
    refused = [{"errorCode": "INVALID_REPLICATION_DATE", "message": "purged"}]
    stand_in.faults({"match": "/deleted", "status": 400, "body": refused})
    pulls.wait(60)
    assert len(pulls.pull().gaps) == 1, "an emptied bin ends no pull"


@pytest.mark.parametrize("above", [0, 1], ids=["calls", "jobs"])
@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("INVALID_CROSS_REFERENCE_KEY", ["AccountId"]),
        ("INVALID_CROSS_REFERENCE_KEY", []),
        ("ENTITY_IS_DELETED", []),
    ],
)
def test_a_reference_to_nothing_is_no_lost_record(
    stand_in: StandIn, above: int, code: str, fields: list[str]
) -> None:
    source = stand_in.salesforce(bulk_write_above=above)
    made = stand_in.salesforce().write(
        "Contact", [RowChange(n, "create", {"LastName": f"R{n}"}) for n in range(3)]
    )
    ids = [str(o.record_id) for o in made]
    account: Any = (
        stand_in.salesforce()
        .write("Account", [RowChange(0, "create", {"Name": "To be deleted"})])[0]
        .record_id
    )
    if code == "ENTITY_IS_DELETED":
        stand_in.salesforce().write("Account", [RowChange(0, "delete", {}, record_id=account)])
    else:
        account = "001000000000001AAA"
    stand_in.control("POST", "limits", {"salesforce_fields_told": bool(fields)})
    gone = "003000000000001AAA"
    batch = [
        RowChange(0, "update", {"AccountId": account}, record_id=ids[0]),
        RowChange(1, "update", {"Title": "t"}, record_id=ids[1]),
        RowChange(2, "update", {"Title": "t"}, record_id=gone),
    ]
    outcomes = source.write("Contact", batch)
    assert [o.error_class for o in outcomes] == ["data", None, "gone"]
    assert outcomes[0].code == code
    new = RowChange(0, "create", {"LastName": "N", "AccountId": account})
    assert source.write("Contact", [new])[0].error_class == "data"
