"""The made-up world: the same from the same words, noisy in fixed shares, and never lying."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdp_assets.sandbox.world.people import Population
from cdp_assets.sandbox.world.pools import ROLE_NAMES
from cdp_assets.sandbox.world.records import Recorder, Spec
from cdp_assets.sandbox.world.world import World
from cdp_assets_tests.sandbox.conftest import make_world


def file_lines(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.iterdir()):
        raw = path.read_bytes()
        body = gzip.decompress(raw) if path.suffix == ".gz" else raw
        for line in body.splitlines():
            yield path.name, line


def good(line: bytes) -> dict[str, Any] | None:
    """The event of a line, if it is one by anybody's reading."""
    try:
        event = json.loads(line.decode(), parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return None
    if not isinstance(event, dict) or "\\ud800" in line.decode():
        return None
    return event if event.get("userId") is not None or event.get("anonymousId") else None


def content(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


def test_the_same_words_make_the_same_world(world: World, tmp_path: Path) -> None:
    again = make_world(tmp_path)
    assert content(tmp_path) == content(world.home)
    assert make_world(tmp_path / "other", seed=2).truth() != again.truth()


@pytest.mark.parametrize(("people", "seed"), [(300, 1), (300, 2), (1000, 3)])
def test_noise_has_fixed_shares(people: int, seed: int) -> None:
    population = Population(people, seed)
    specs = Recorder(population).all()
    both = sum(p.in_salesforce and p.in_hubspot for p in population.people)
    assert both == round(0.6 * people)
    for system in ("salesforce", "hubspot"):
        inside = sum(getattr(p, f"in_{system}") for p in population.people)
        doubles = [s for s in specs if s.system == system and s.slot == "double"]
        assert len(doubles) == round(0.08 * inside)
        alone = [s for s in doubles if not shares(s, specs)]
        assert len(alone) == round(0.1 * len(doubles))
    with_email = [s for s in specs if s.email]
    roles = [s for s in with_email if str(s.email).partition("@")[0] in ROLE_NAMES]
    assert len({s.person.index for s in roles}) == max(2, round(0.01 * people))
    assert min(Counter(s.email for s in roles).values()) >= 2
    given = {
        address for p in population.people for address in (p.email, p.personal_email, p.other_email)
    }
    wrong = [
        s
        for s in with_email
        if s not in roles and s.email not in given and not str(s.email).endswith("inbox.example")
    ]
    assert len(wrong) == round(0.05 * len(with_email))
    assert len(population.shared_devices) == round(0.02 * len(population.devices))
    every = [address for s in with_email if s not in roles for address in [s.email]]
    owners = defaultdict(set)
    for spec in with_email:
        if spec not in roles:
            owners[spec.email].add(spec.person.index)
    assert every
    assert all(len(people) == 1 for people in owners.values())
    phones = [p.phone for p in population.people] + [p.mobile for p in population.people]
    assert len(set(phones)) == 2 * people


def shares(spec: Spec, specs: list[Spec]) -> bool:
    return any(
        other is not spec
        and other.person is spec.person
        and (
            (spec.email is not None and other.email == spec.email)
            or (spec.phone is not None and other.phone == spec.phone)
            or (spec.user_id is not None and other.user_id == spec.user_id)
        )
        for other in specs
    )


def test_hubspot_holds_each_address_once(world: World) -> None:
    emails = [r["email"] for r in world.tables["hubspot.contacts"].rows.values() if "email" in r]
    assert len(set(emails)) == len(emails)


def test_events_come_late_twice_and_broken(world: World) -> None:
    lines = list(file_lines(world.files.folder))
    events = [(name, event) for name, line in lines if (event := good(line)) is not None]
    broken = len(lines) - len(events)
    assert 0.001 < broken / len(lines) < 0.004
    ids = Counter(event["messageId"] for _, event in events)
    copied = sum(1 for name, _ in events if "copy" in name)
    twice = sum(ids.values()) - len(ids) - copied
    assert 0.005 < twice / len(lines) < 0.02
    same: dict[str, bytes] = {}
    for _, line in lines:
        event = good(line)
        if event is not None:
            assert same.setdefault(event["messageId"], line) == line  # duplicates are exact
    late = [e for _, e in events if e["receivedAt"][:10] > e["originalTimestamp"][:10]]
    assert late
    names = {event.get("event") for _, event in events}
    assert names >= {
        "Signed In", "Signed Out", "Signed Up", "Order Completed", "Feature Used",
        "Pricing Viewed", "Support Chat Started",
    }  # fmt: skip
    assert {e["type"] for _, e in events} == {"identify", "track", "page", "screen", "group"}
    orders = [e["properties"] for _, e in events if e.get("event") == "Order Completed"]
    assert all(o["revenue"] > 0 and o["currency"] == "USD" and o["order_id"] for o in orders)
    assert any(isinstance(event.get("userId"), int) for _, event in events)


def test_the_truth_names_only_what_can_be_seen(world: World) -> None:
    truth = world.truth()
    users, devices = set(), set()
    for _, line in file_lines(world.files.folder):
        event = good(line)
        if event is not None:
            users.add(str(event.get("userId")))
            devices.add(event.get("anonymousId"))
    contacts = world.tables["salesforce.Contact"].rows.values()
    users |= {row.get("App_User_Id__c") for row in contacts}
    shared = world.population.shared_devices
    for kind, key in truth.persons:
        if kind == "user_id":
            assert key in users
        elif kind == "anonymous_id":
            assert key in devices
            assert key not in shared
        else:
            assert key in world.tables[kind].rows
    written = [json.loads(line) for line in (world.home / "truth.jsonl").read_bytes().splitlines()]
    assert {(r["kind"], r["key"]): r["person"] for r in written} == truth.persons


@pytest.mark.parametrize("seed", [4, 5])
def test_exact_rules_reach_what_is_called_reachable(tmp_path: Path, seed: int) -> None:
    world = make_world(tmp_path, seed=seed)
    for _ in range(2):
        score = world.truth().score(plain_rules(world))
        assert score.precision >= 0.99
        assert score.recall >= 0.98 * score.recall_reachable
        assert 0.8 < score.recall_reachable < 1
        assert score.wrong_merges <= 2
        world.next_day()


def plain_rules(world: World) -> dict[tuple[str, str], int]:
    """Identity as anybody might do it: equal addresses (not those of roles), numbers and user
    ids, one user id a person, a device only for who logs in on it first."""
    strong: list[tuple[str, str]] = []
    logins: dict[str, str] = {}
    for kind in ("salesforce.Contact", "salesforce.Lead", "hubspot.contacts"):
        for key, row in world.tables[kind].rows.items():
            if row.get("IsDeleted") or row.get("_archived"):
                continue
            email = str(row.get("Email") or row.get("email") or "").lower()
            digits = "".join(filter(str.isdigit, row.get("Phone") or row.get("phone") or ""))
            if email and email.partition("@")[0] not in ROLE_NAMES:
                strong.append((f"{kind}:{key}", f"email:{email}"))
            if digits:
                strong.append((f"{kind}:{key}", f"phone:{digits[-10:]}"))
            if row.get("App_User_Id__c"):
                strong.append((f"{kind}:{key}", f"user_id:{row['App_User_Id__c']}"))
            if row.get("ConvertedContactId"):
                strong.append((f"{kind}:{key}", f"salesforce.Contact:{row['ConvertedContactId']}"))
    for _, line in file_lines(world.files.folder):
        event = good(line)
        if event is None or event.get("userId") is None:
            continue
        user = f"user_id:{event['userId']}"
        if event["type"] == "identify":
            strong.append((user, f"email:{event['traits']['email'].lower()}"))
        if event["anonymousId"]:
            logins.setdefault(f"anonymous_id:{event['anonymousId']}", user)
    parent: dict[str, str] = {}
    users: dict[str, set[str]] = {}

    def root(node: str) -> str:
        if node not in parent:
            parent[node] = node
            users[node] = {node} if node.startswith("user_id:") else set()
        while parent[node] != node:
            node = parent[node]
        return node

    for left, right in sorted(set(strong)):
        one, two = root(left), root(right)
        if one != two and len(users[one] | users[two]) <= 1:
            parent[one] = two
            users[two] |= users[one]
    for device, user in logins.items():
        parent[device] = root(user)
    numbers: dict[str, int] = {}
    return {
        (kind, key): numbers.setdefault(root(node), len(numbers))
        for kind, key in world.truth().persons
        if (node := f"{kind}:{key}") in parent
    }


def test_a_next_day_changes_little_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    world = make_world(tmp_path / "one")
    make_world(tmp_path / "two")
    before = {
        name: dict(world.tables[name].rows)
        for name in world.tables
        if name.startswith(("salesforce.", "hubspot."))
    }
    files = set(world.files.folder.iterdir())
    world.next_day()
    changed = sum(
        row != before.get(name, {}).get(key)
        for name in before
        for key, row in world.tables[name].rows.items()
    )
    assert 10 < changed < 0.06 * sum(map(len, before.values()))
    assert len(set(world.files.folder.iterdir()) - files) == 3
    assert world.today.isoformat() == "2026-04-01"
    again = make_world(tmp_path / "two")  # reopened, then moved on
    again.next_day()
    assert content(tmp_path / "one") == content(tmp_path / "two")
    third = make_world(tmp_path / "two")
    assert third.truth() == world.truth()
    third.next_day()
    world.next_day()
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_day_that_is_not_over_has_no_events_of_its_future(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.next_day()
    new = [event for name, line in file_lines(world.files.folder)
           if name.startswith("2026-04-01") and (event := good(line)) is not None]  # fmt: skip
    assert new
    assert max(event["receivedAt"] for event in new) < "2026-04-01T12:01"


def test_what_a_new_day_repeats_is_repeated_to_the_byte(tmp_path: Path) -> None:
    world = make_world(tmp_path, people=800)
    known = {line for _, line in file_lines(world.files.folder)}
    world.next_day()
    repeated = [
        line
        for name, line in file_lines(world.files.folder)
        if name.startswith("2026-04-01")
        and (event := good(line)) is not None
        and event["receivedAt"] < "2026-04-01"
    ]
    assert len(world.population.people) > 800
    assert repeated
    assert set(repeated) <= known


def test_another_world_is_not_overwritten(tmp_path: Path) -> None:
    make_world(tmp_path)
    with pytest.raises(ValueError, match="300 people with seed 1"):
        make_world(tmp_path, seed=2)


def test_merged_and_deleted_records_leave_the_truth(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    for _ in range(3):
        world.next_day()
    truth = world.truth()
    contacts = world.tables["hubspot.contacts"].rows
    gone = [key for key, row in contacts.items() if row.get("_archived")]
    assert any(contacts[key].get("_merged_into") for key in gone)
    assert not {("hubspot.contacts", key) for key in gone} & truth.persons.keys()
    leads = world.tables["salesforce.Lead"].rows.values()
    assert any(row.get("IsConverted") and row["ConvertedContactId"] for row in leads)


def test_the_first_state_has_a_past(world: World) -> None:
    """Merged and deleted records are there before the first day."""
    contacts = world.tables["salesforce.Contact"].rows
    merged = [row for row in contacts.values() if row.get("MasterRecordId")]
    assert merged
    assert all(row["IsDeleted"] and row["MasterRecordId"] in contacts for row in merged)
    assert any(row["IsDeleted"] and not row.get("MasterRecordId") for row in contacts.values())
    others = world.tables["hubspot.contacts"].rows
    for key, row in others.items():
        if row.get("_merged_into"):
            assert others[row["_merged_into"]]["hs_merged_object_ids"] == key
    assert any(row.get("_merged_into") for row in others.values())
    stamps = [row["SystemModstamp"] for row in contacts.values()]
    assert min(stamps) >= "2025-12-31"
    assert max(stamps) < "2026-04-01"


def test_people_keep_their_names_whatever_the_end() -> None:
    one, two = Population(50, 9), Population(50, 9)
    assert [replace(p) for p in one.people] == [replace(p) for p in two.people]


def test_whoever_has_a_ticket_is_in_the_support_desk_and_the_partners_crm(world: World) -> None:
    tickets = world.tables["hubspot.tickets"].rows
    assert len(world.tables["zendesk.tickets"]) == len(world.tables["sugarcrm.Cases"])
    assert 0 < len(world.tables["zendesk.tickets"]) <= len(tickets)
    contacts = world.tables["hubspot.contacts"].rows.values()
    known = {row.get("email") for row in contacts}
    assert {row["email"] for row in world.tables["zendesk.users"].rows.values()} <= known
    channels = {row["via"]["channel"] for row in world.tables["zendesk.tickets"].rows.values()}
    assert channels <= {"chat", "email", "web", "voice"}
    assert len(channels) > 1
    last = world.clock.now()
    stamps = [row["created_at"] for row in world.tables["zendesk.tickets"].rows.values()]
    assert max(stamps) < last.isoformat()
    made = make_world(world.home.parent / "again", people=300)
    assert made.tables["sugarcrm.Cases"].rows == world.tables["sugarcrm.Cases"].rows
    before = len(made.tables["zendesk.tickets"])
    for _ in range(3):
        made.next_day()
    assert len(made.tables["zendesk.tickets"]) > before
