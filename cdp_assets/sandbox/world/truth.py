"""The truth about who is who, what any exact rule could find of it, and a score against it.

`truth.jsonl` holds {kind, key, person}: live CRM records (`salesforce.Contact`, `salesforce.Lead`,
`hubspot.contacts`), user ids and devices that one person alone uses, as far as records and event
files have shown them. `reachable.jsonl` holds {kind, key, group}: keys of one group can be joined
by following exactly equal identifiers.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from cdp_assets.sandbox.tables import Tables
from cdp_assets.sandbox.world.journeys import Seen
from cdp_assets.sandbox.world.people import Population
from cdp_assets.sandbox.world.pools import ROLE_NAMES

Key = tuple[str, str]
"""(kind, key), such as ("salesforce.Contact", "003…")."""

PERSON_TABLES = ("salesforce.Contact", "salesforce.Lead", "hubspot.contacts")


@dataclass(frozen=True)
class Score:
    """How a set of profiles compares with the truth, over pairs of keys."""

    precision: float
    recall: float
    recall_reachable: float
    wrong_merges: int
    """Profiles that hold keys of more than one person."""
    true_persons: int


@dataclass(frozen=True)
class Truth:
    """persons: key → person. groups: key → group of keys that exact rules can join."""

    persons: Mapping[Key, str]
    groups: Mapping[Key, int]

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """Read both files from the sandbox's home."""
        persons = {(r["kind"], r["key"]): r["person"] for r in _read(folder / "truth.jsonl")}
        groups = {(r["kind"], r["key"]): int(r["group"]) for r in _read(folder / "reachable.jsonl")}
        return cls(persons, groups)

    def save(self, folder: Path) -> None:
        """Write both files, each whole or not at all."""
        _write(
            folder / "truth.jsonl",
            ({"kind": k, "key": v, "person": p} for (k, v), p in sorted(self.persons.items())),
        )
        _write(
            folder / "reachable.jsonl",
            ({"kind": k, "key": v, "group": g} for (k, v), g in sorted(self.groups.items())),
        )

    def score(self, predicted: Mapping[Key, int]) -> Score:
        """Compare (kind, key) → profile id with the truth; keys it does not name are ignored."""
        together: Counter[tuple[str, int]] = Counter()
        profiles: Counter[int] = Counter()
        persons: Counter[str] = Counter(self.persons.values())
        people_of: dict[int, set[str]] = defaultdict(set)
        for key, person in self.persons.items():
            profile = predicted.get(key)
            if profile is None:
                continue
            profiles[profile] += 1
            together[person, profile] += 1
            people_of[profile].add(person)
        right, said, true = _pairs(together), _pairs(profiles), _pairs(persons)
        return Score(
            precision=right / said if said else 1.0,
            recall=right / true if true else 1.0,
            recall_reachable=reachable_recall(self.persons, self.groups),
            wrong_merges=sum(len(people) > 1 for people in people_of.values()),
            true_persons=len(persons),
        )


def reachable_recall(persons: Mapping[Key, str], groups: Mapping[Key, int]) -> float:
    """Share of the true pairs whose two keys lie in one reachable group."""
    reached = _pairs(Counter((person, groups[key]) for key, person in persons.items()))
    true = _pairs(Counter(persons.values()))
    return reached / true if true else 1.0


def take(tables: Tables, population: Population, seen: Seen) -> Truth:
    """The truth of this moment."""
    persons: dict[Key, str] = {}
    evidence: dict[Key, set[str]] = defaultdict(set)
    for ref, row in tables["world.records"].rows.items():
        kind, _, key = ref.partition(":")
        record = tables[kind].get(key)
        if record is None or record.get("IsDeleted") or record.get("_archived"):
            continue
        persons[kind, key] = row["person"]
        evidence[kind, key] = _identifiers(kind, key, record)
    by_user = {p.user_id: p for p in population.people if p.user_id is not None}
    emails: dict[str, set[str]] = defaultdict(set)
    for user, email in seen.emails:
        emails[user].add(f"email:{email.casefold()}")
    held = {value for values in evidence.values() for value in values}
    for user, person in by_user.items():
        if user in seen.users or f"user:{user}" in held:
            persons["user_id", user] = person.key
            evidence["user_id", user] = {f"user:{user}"} | emails[user]
    logins: dict[str, set[str]] = defaultdict(set)
    for anonymous, user in seen.logins:
        logins[anonymous].add(f"user:{user}")
    for device in population.devices:
        if len(device.owners) == 1 and device.anonymous_id in seen.devices:
            own = ("anonymous_id", device.anonymous_id)
            persons[own] = population.people[device.owners[0]].key
            evidence[own] = set(logins[device.anonymous_id])
    return Truth(persons, reachable_groups(persons, evidence))


def reachable_groups(
    persons: Mapping[Key, str], evidence: Mapping[Key, set[str]]
) -> dict[Key, int]:
    """Join keys of one true person that share a piece of evidence: the best that a rule without
    fuzzy matching could do, since it may never join two persons. Values that several persons
    bear are no evidence to such a rule."""
    bearers: dict[str, set[str]] = defaultdict(set)
    for key, values in evidence.items():
        for value in values:
            bearers[value].add(persons[key])
    parent: dict[Key, Key] = {key: key for key in persons}

    def root(key: Key) -> Key:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    first: dict[str, Key] = {}
    for key in persons:
        for value in evidence.get(key, ()):
            if len(bearers[value]) == 1:
                parent[root(key)] = root(first.setdefault(value, key))
    numbers: dict[Key, int] = {}
    return {key: numbers.setdefault(root(key), len(numbers)) for key in persons}


def _identifiers(kind: str, key: str, record: Mapping[str, object]) -> set[str]:
    """Normalised identifiers that a record shows, and the records it names as its own."""
    hubspot = kind.startswith("hubspot")
    found = {f"record:{kind}:{key}"}
    email = str(record.get("email" if hubspot else "Email") or "").strip().casefold()
    if email and email.partition("@")[0] not in ROLE_NAMES:
        found.add(f"email:{email}")
    digits = "".join(filter(str.isdigit, str(record.get("phone" if hubspot else "Phone") or "")))
    if len(digits) >= 10:
        found.add(f"phone:{digits[-10:]}")
    if record.get("App_User_Id__c"):
        found.add(f"user:{record['App_User_Id__c']}")
    if record.get("ConvertedContactId"):
        found.add(f"record:salesforce.Contact:{record['ConvertedContactId']}")
    return found


def _pairs(sizes: Mapping[Any, int]) -> int:
    return sum(n * (n - 1) // 2 for n in sizes.values())


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for line in lines:
            yield msgspec.json.decode(line)


def _write(path: Path, rows: Iterable[object]) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as out:
        for row in rows:
            out.write(msgspec.json.encode(row) + b"\n")
    os.replace(part, path)
