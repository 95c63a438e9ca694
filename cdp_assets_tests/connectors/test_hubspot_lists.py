"""HubSpot's static lists: made once, filled by hand, never made again; and properties made."""

from __future__ import annotations

from typing import Any

import pytest

from cdp_assets.connectors.base import FieldInfo, Refused, RowChange, WrongObject
from cdp_assets.connectors.hubspot import HubSpot
from cdp_assets.connectors.hubspot import lists as lists_module
from cdp_assets_tests.connectors.stand_in import StandIn, quick

LISTS = "/crm/v3/lists"


def contacts(source: HubSpot, stem: str, count: int) -> list[str]:
    batch = [RowChange(i, "create", {"email": f"{stem}{i}@list.example"}) for i in range(count)]
    return [str(o.record_id) for o in source.write("contacts", batch)]


def members(source: HubSpot, list_id: str) -> list[str]:
    return [i for page in source.list_members(list_id) for i in page]


def dynamic(source: HubSpot, name: str) -> None:
    branch = {"filterBranchType": "OR", "filterBranches": [], "filters": []}
    body = {"name": name, "objectTypeId": "0-1", "processingType": "DYNAMIC",
            "filterBranch": branch}  # fmt: skip
    source._client.post(LISTS, body, what="make")


def test_a_list_is_made_found_and_filled(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stand_in.hubspot()
    assert source.list_id("CDP: at risk") is None
    made = source.create_list("CDP: at risk", "contacts")
    assert source.list_id("cdp: AT risk") == made
    ids = contacts(source, "fill", 7)
    monkeypatch.setattr(lists_module, "_PAGE", 3)
    first = source.change_members(made, ids, [])
    assert [(o.row, o.ok, o.record_id) for o in first] == [(n, True, i) for n, i in enumerate(ids)]
    assert [len(page) for page in source.list_members(made)] == [3, 3, 1]
    stand_in.control("DELETE", "journal")
    # Those that are on it, or off it, already are as they should be.
    outcomes = source.change_members(made, ids[:2], ids[5:])
    assert all(o.ok for o in outcomes)
    assert len(stand_in.journal()) == 1
    assert all(o.ok for o in source.change_members(made, [], ids[6:]))
    assert members(source, made) == ids[:5]


def test_of_members_that_cannot_be_the_others_are_put_on(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    made = source.create_list("Some are gone", "contacts")
    kept, gone = contacts(source, "some", 2)
    assert source.write("contacts", [RowChange(0, "delete", {}, record_id=gone)])[0].ok
    outcomes = source.change_members(made, [gone, kept, "no id", "99999999"], ["88888888", gone])
    assert [(o.row, o.ok, o.error_class) for o in outcomes] == [
        (0, False, "gone"), (1, True, None), (2, False, "data"), (3, False, "gone"),
        (4, True, None), (5, True, None),
    ]  # fmt: skip
    assert members(source, made) == [kept]


@pytest.mark.parametrize("action", ["commit_then_reset", "reset", "truncate"])
def test_a_list_whose_answer_is_lost_is_made_once(stand_in: StandIn, action: str) -> None:
    source = stand_in.hubspot()
    stand_in.faults({"match": "/crm/v3/lists$", "method": "POST", "action": action})
    made = source.create_list(f"Once {action}", "companies")
    assert source.list_id(f"Once {action}") == made
    (one,) = contacts(source, f"once-{action}", 1)
    stand_in.faults({"match": "add-and-remove", "action": action, "times": 2})
    contacts_list = source.create_list(f"Filled {action}", "contacts")
    assert source.change_members(contacts_list, [one], [])[0].ok
    assert members(source, contacts_list) == [one]


def test_a_dynamic_list_is_refused_by_name_and_by_id(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    dynamic(source, "All customers")
    with pytest.raises(Refused, match=r"DYNAMIC.*static"):
        source.list_id("All customers")
    with pytest.raises(Refused, match="DYNAMIC"):
        source.create_list("All customers", "contacts")
    found = source._client.post(f"{LISTS}/search", {"query": "All customers"}, what="look").body
    (one,) = contacts(source, "dynamic", 1)
    with pytest.raises(Refused, match=r"dynamic.*static"):
        source.change_members(found["lists"][0]["listId"], [one], [])


def test_one_name_of_two_lists_is_refused(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    for name in ("contacts", "companies"):
        source.create_list("Both", name)
    with pytest.raises(Refused, match="2 lists have this name"):
        source.list_id("Both")


def test_a_deleted_list_is_refused_and_not_made_again(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    made = source.create_list("Short lived", "contacts")
    (one,) = contacts(source, "short", 1)
    source._client.http.request("DELETE", f"{LISTS}/{made}", what="delete")
    before = stand_in.control("GET", "state")["records"]["hubspot.lists"]
    with pytest.raises(Refused, match=r"gone.*never made again"):
        members(source, made)
    with pytest.raises(Refused, match=r"gone.*never made again"):
        source.change_members(made, [one], [])
    assert stand_in.control("GET", "state")["records"]["hubspot.lists"] == before
    shown = {"list": {"listId": made, "name": "Short lived", "objectTypeId": "0-1",
                      "processingType": "MANUAL", "deletedAt": "2026-01-01T00:00:00Z"}}  # fmt: skip
    stand_in.faults({"match": "object-type-id/0-1/name", "status": 200, "body": shown})
    with pytest.raises(Refused, match=r"was deleted.*never made again"):
        source.list_id("Short lived")


def properties(source: HubSpot, name: str) -> dict[str, dict[str, Any]]:
    found = source._client.get(f"/crm/v3/properties/{name}", what="look")
    return {p["name"]: p for p in found["results"]}


def test_properties_are_made_in_a_group_of_their_own(stand_in: StandIn) -> None:
    source = stand_in.hubspot()
    wanted = [
        FieldInfo(name="cdp_risk", type="decimal", label="Risk"),
        FieldInfo(name="cdp_vip", type="boolean"),
        FieldInfo(name="cdp_tier", type="enum", options=("gold", "iron")),
        FieldInfo(name="cdp_seen_at", type="datetime"),
        FieldInfo(name="cdp_ref", type="string", external_id=True),
    ]
    for info in wanted:
        source.create_field("companies", info)
    made = properties(source, "companies")
    assert {made[w.name]["groupName"] for w in wanted} == {"cdp"}
    assert all("customer data platform" in made[w.name]["description"] for w in wanted)
    assert made["cdp_risk"]["label"] == "Risk"
    assert [o["value"] for o in made["cdp_tier"]["options"]] == ["gold", "iron"]
    assert made["cdp_ref"]["hasUniqueValue"]
    described = source.describe(["companies"]).objects["companies"].fields
    assert [described[w.name].type for w in wanted] == [
        "decimal", "boolean", "enum", "datetime", "string"
    ]  # fmt: skip
    change = RowChange(1, "create", {"name": "Made", "cdp_vip": "true", "cdp_tier": "gold"})
    assert source.write("companies", [change])[0].ok


def test_a_property_that_is_there_or_cannot_be_is_refused(stand_in: StandIn) -> None:
    source = stand_in.hubspot(quick())
    with pytest.raises(Refused, match="OBJECT_ALREADY_EXISTS"):
        source.create_field("contacts", FieldInfo(name="customer_id", type="string"))
    for info in (FieldInfo(name="x", type="enum"), FieldInfo(name="x", type="reference")):
        with pytest.raises(WrongObject, match="cannot be made"):
            source.create_field("contacts", info)
    assert "x" not in properties(source, "contacts")
