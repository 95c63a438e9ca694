"""Identity resolved from events and records, end to end through the lake."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cdp_assets.identity import CHANGES, IDS, LINKS, IdentityConfig, follow, lookup, resolve
from cdp_assets.identity.tables import FORMER, GRAPH, GROUPS
from cdp_assets.lake import Lake
from cdp_assets_tests.identity.world import (
    ACCOUNT,
    COMPANY,
    CONFIG,
    CONTACT,
    LEAD,
    PLAN,
    SPECS,
    at,
    contact,
    event,
    profile_of,
    profiles,
    pull,
    refused,
    run,
    send,
    tell,
    version,
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def versions(lake: Lake) -> dict[str, int]:
    return {key: handle.version() for key in sorted(lake.keys()) if (handle := lake.handle(key))}


def test_records_and_events_of_one_person_are_one_profile(lake: Lake) -> None:
    pull(lake, CONTACT, contact("1", 0, Email="Ada@Example.com", MobilePhone="(415) 555-2671"))
    pull(lake, LEAD, version("9", 1, {"Email": " ada@example.com"}))
    send(lake, event(2, "dev1"), event(3, "dev1", "42"))
    tell(lake, 3, "user_id:42", "email", "ada@example.com")
    run(lake)
    assert profiles(lake) == [
        {
            "salesforce.Contact:1", "salesforce.Lead:9", "email:ada@example.com",
            "phone:+14155552671", "user_id:42", "anonymous_id:dev1",
        }
    ]  # fmt: skip
    link = lake.open(LINKS).scan().filter(pl.col("source") == "events").collect().row(0, named=True)
    assert (link["left"], link["right"]) == ("anonymous_id:dev1", "user_id:42")
    assert (link["first_seen"], link["count"], link["state"]) == (at(3), 1, "accepted")


def test_what_a_bot_says_links_nobody(lake: Lake) -> None:
    bots = [event(1, "dev1", "1", group="g"), event(2, "dev2", "2", group="g")]
    send(lake, *({**bot, "flags": ["bot"]} for bot in bots), event(3, "dev2", "3", group="g"))
    run(lake)
    assert profiles(lake) == [{"user_id:3", "anonymous_id:dev2"}]
    groups = lake.open(GROUPS).scan().select("person").collect()["person"].to_list()
    assert groups == ["user_id:3"]


def test_a_device_alone_waits_and_joins_later(lake: Lake) -> None:
    send(lake, event(0, "dev1"))
    run(lake)
    assert profiles(lake) == []
    send(lake, event(900, "dev1", "42"))
    run(lake)
    assert profiles(lake) == [{"user_id:42", "anonymous_id:dev1"}]


def test_two_users_never_join_through_a_device(lake: Lake) -> None:
    send(lake, event(0, "dev1", "1"), event(1, "dev1", "2"))
    run(lake)
    assert profiles(lake) == [{"user_id:1", "anonymous_id:dev1"}, {"user_id:2"}]
    assert refused(lake) == {("anonymous_id:dev1", "user_id:2", "device")}


def test_a_limit_refuses_the_later_link_with_its_reason(lake: Lake) -> None:
    send(lake, event(0, None, "1"), event(1, None, "2"))
    tell(lake, 5, "user_id:1", "email", "shared@example.com")
    tell(lake, 4, "user_id:2", "email", "shared@example.com")
    run(lake)
    assert profiles(lake) == [{"user_id:1"}, {"user_id:2", "email:shared@example.com"}]
    assert refused(lake) == {("email:shared@example.com", "user_id:1", "limit:user_id")}


NOBODY = (
    "null", " NONE ", "undefined", "0", "00000", "-1", "NaN", "[object Object]", "true", "guest",
    "--", "", "anonymous",
)  # fmt: skip


def test_values_that_identify_nobody_make_no_profile(lake: Lake) -> None:
    send(lake, *(event(n, f"dev{n % 2}", value) for n, value in enumerate(NOBODY * 2)))
    run(lake)
    assert profiles(lake) == []


def test_blocked_addresses_join_nobody(lake: Lake) -> None:
    pull(
        lake,
        CONTACT,
        contact("1", 0, Email="info@acme.example"),
        contact("2", 0, Email="INFO@acme.example"),
        contact("3", 0, Email="ada@example.org"),
    )
    run(lake)
    assert profiles(lake) == [
        {"salesforce.Contact:1"}, {"salesforce.Contact:2"}, {"salesforce.Contact:3"}
    ]  # fmt: skip


def test_merged_and_converted_records_are_followed_and_deleted_ones_leave(lake: Lake) -> None:
    pull(
        lake,
        CONTACT,
        contact("1", 0, Email="a@example.com"),
        contact("2", 0, Email="b@example.com"),
        contact("3", 0, Email="c@example.com"),
    )
    pull(lake, LEAD, version("9", 0, {"Email": "z@example.com"}))
    run(lake)
    assert len(profiles(lake)) == 4
    pull(
        lake,
        CONTACT,
        version("2", 5, None, op="merge", merged_into="1"),
        version("3", 5, "{}", op="delete"),
    )
    pull(lake, LEAD, version("9", 5, {"Email": "z@example.com", "ConvertedContactId": "1"}))
    run(lake)
    assert profiles(lake) == [
        {"salesforce.Contact:1", "email:a@example.com", "salesforce.Contact:2",
         "email:b@example.com", "salesforce.Lead:9", "email:z@example.com"}
    ]  # fmt: skip
    assert profile_of(lake, "email:c@example.com") is None
    former = lake.open(FORMER).scan().select("record", "identifier").collect()
    assert former.rows() == [("salesforce.Contact:3", "email:c@example.com")]
    pull(lake, CONTACT, contact("3", 6, Email="c@example.com"))
    run(lake)
    assert lake.open(FORMER).scan().collect().is_empty()


def test_ids_are_kept_retired_followed_and_given_back(lake: Lake) -> None:
    pull(
        lake,
        CONTACT,
        contact("1", 0, Email="a@example.com"),
        contact("2", 0, Email="b@example.com"),
    )
    run(lake)
    first, second = (
        profile_of(lake, "salesforce.Contact:1"),
        profile_of(lake, "salesforce.Contact:2"),
    )
    assert (first, second) == (1, 2)
    pull(lake, CONTACT, contact("2", 5, Email="a@example.com"))
    run(lake)
    assert profile_of(lake, "salesforce.Contact:2") == first
    assert follow(lake, "person", 2) == {1}
    assert lookup(lake, "person", "2") == [1]
    pull(lake, CONTACT, contact("2", 6, Email="b2@example.com"))
    run(lake)
    assert profile_of(lake, "salesforce.Contact:2") == second
    assert follow(lake, "person", 2) == {2}
    log = lake.open(CHANGES).scan().sort("_seq", "identifier").collect()
    assert log.select("identifier", "from", "to", "cause").rows() == [
        ("email:b@example.com", 2, None, "removed"),
        ("salesforce.Contact:2", 2, 1, "merge"),
        ("salesforce.Contact:2", 1, 2, "split"),
    ]


def test_an_id_outlives_its_anchor(lake: Lake) -> None:
    pull(lake, CONTACT, contact("1", 0, Email="a@example.com"))
    send(lake, event(1, "dev", "42"))
    tell(lake, 1, "user_id:42", "email", "a@example.com")
    run(lake)
    assert profile_of(lake, "user_id:42") == 1
    pull(lake, CONTACT, version("1", 5, "{}", op="delete"))
    run(lake)
    assert profiles(lake) == [{"user_id:42", "email:a@example.com", "anonymous_id:dev"}]
    assert profile_of(lake, "user_id:42") == 1
    assert lake.open(IDS).scan().collect().height == 2


def test_nothing_new_commits_nothing(lake: Lake) -> None:
    pull(lake, CONTACT, contact("1", 0, Email="a@example.com"))
    send(lake, event(1, "dev", "42"))
    run(lake)
    before = versions(lake)
    result = resolve(lake, CONFIG, SPECS, at(101))
    assert not result.changed
    person = result.entities["person"]
    assert (person.profiles, person.identifiers, person.links, person.moved) == (2, 4, 2, 0)
    assert versions(lake) == before


def test_other_rules_resolve_everything_anew_and_keep_ids(lake: Lake) -> None:
    send(lake, event(0, None, "1"), event(1, None, "2"))
    tell(lake, 4, "user_id:1", "email", "shared@example.com")
    tell(lake, 5, "user_id:2", "email", "shared@example.com")
    run(lake)
    assert len(profiles(lake)) == 2
    loose = CONFIG.model_dump(by_alias=True)
    loose["person"]["identifiers"]["user_id"]["limit"] = None
    run(lake, config=IdentityConfig.model_validate(loose))
    assert profiles(lake) == [{"user_id:1", "user_id:2", "email:shared@example.com"}]
    run(lake)
    assert profiles(lake) == [{"user_id:1", "email:shared@example.com"}, {"user_id:2"}]


def test_a_record_that_we_created_is_linked_by_what_we_told_it(lake: Lake) -> None:
    from cdp_assets.records import build

    send(lake, event(0, None, "1"))
    tell(lake, 0, "user_id:1", "email", "ada@example.com")
    run(lake)
    told = pl.DataFrame(
        {"source": ["salesforce"], "object": ["Contact"], "record_id": ["7"], "field": ["Email"],
         "value": ["ada@example.com"], "told_at": [at(2)]}
    )  # fmt: skip
    pull(lake, CONTACT, contact("7", 2.1, Email="ada@example.com"))
    build(lake, SPECS, told, at(3))
    resolve(lake, CONFIG, SPECS, at(3))
    assert profile_of(lake, "salesforce.Contact:7") == profile_of(lake, "user_id:1")


def test_accounts_meet_by_domain_and_workspace_never_by_free_mail(lake: Lake) -> None:
    pull(
        lake,
        ACCOUNT,
        version(
            "A",
            0,
            {"Name": "Acme", "Website": "https://www.acme.example/about", "Workspace_Id__c": "w1"},
        ),
        version("B", 0, {"Name": "Acme", "Website": "gmail.com"}),
    )
    pull(
        lake,
        COMPANY,
        version("20", 0, {"properties": {"name": "ACME Inc", "domain": "acme.example"}}),
        version("21", 0, {"properties": {"name": "Acme", "domain": "gmail.com"}}),
    )
    pull(lake, PLAN, version("P", 0, {"Account__c": "A"}))
    send(lake, event(0, "dev", "1", group="w1"), event(0, "dev", "1", group="w2"))
    run(lake)
    assert sorted(profiles(lake, "account"), key=len)[-1] == {
        "salesforce.Account:A", "hubspot.companies:20", "domain:acme.example", "workspace_id:w1"
    }  # fmt: skip
    assert len(profiles(lake, "account")) == 4
    assert profiles(lake, "plan") == [{"salesforce.Plan__c:P"}]


def test_every_link_of_the_graph_has_a_state(lake: Lake) -> None:
    pull(lake, CONTACT, contact("1", 0, Email="a@example.com"))
    send(lake, event(1, "dev", "42"), event(2, "dev", "43"))
    run(lake)
    assert lake.open(LINKS).scan().collect()["state"].null_count() == 0
    assert lake.open(GRAPH).scan().collect()["profile_id"].null_count() == 0
