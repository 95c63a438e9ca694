"""Which CRM records a person has, and what they say of the person: the noise lives here.

Doubles, mistyped and role addresses follow fixed shares. A record that shares no identifier with
the person's other records can be joined by no rule but a fuzzy one; the truth knows it all the
same.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from cdp_assets.sandbox.world import pools
from cdp_assets.sandbox.world.people import Person, Population, Quota

DOUBLES, DOUBLES_SHARING_NOTHING, MISTYPED, ROLE = 0.08, 0.10, 0.05, 0.01

System = Literal["salesforce", "hubspot"]
Double = Literal["nothing", "email", "phone", "user"]
Kind = Literal["contact", "lead", "converted"]


@dataclass
class Spec:
    """One CRM record of a person, before it is written into its system's shape.

    slot: `first` for the record people work with, `lead` for the Lead it was converted from,
    `double` for a second record of the same person in the same CRM.
    """

    system: System
    object: str
    person: Person
    slot: str
    email: str | None = None
    phone: str | None = None
    user_id: str | None = None


class Recorder:
    """Decides the CRM records of a whole population, and of single people who come later."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self.rng = random.Random(f"{population.seed}:records")

    def all(self) -> list[Spec]:
        """The records of everybody, by person."""
        people = self.population.people
        in_salesforce = [p for p in people if p.in_salesforce]
        in_hubspot = [p for p in people if p.in_hubspot]
        kinds = Quota(self.population.seed, "kind", len(in_salesforce))
        kind_of = {p.index: _kind(p, kinds.at(i)) for i, p in enumerate(in_salesforce)}
        salesforce_doubles = self._doubles(in_salesforce, ("email", "email", "phone", "user"))
        hubspot_doubles = self._doubles(in_hubspot, ("phone",))
        specs: list[Spec] = []
        for person in people:
            specs += self.of(
                person,
                kind_of.get(person.index, "contact"),
                salesforce_doubles.get(person.index),
                hubspot_doubles.get(person.index),
            )
        roles = self._give_roles(specs)
        self._mistype(specs, roles)
        return specs

    def of(
        self,
        person: Person,
        kind: Kind | None = None,
        salesforce_double: Double | None = None,
        hubspot_double: Double | None = None,
    ) -> list[Spec]:
        """The records of one person, without slips."""
        specs: list[Spec] = []
        if person.in_salesforce:
            kind = kind or _kind(person, self.rng.random())
            specs += self._in_salesforce(person, kind, salesforce_double)
        if person.in_hubspot:
            specs += self._in_hubspot(person, hubspot_double)
        return specs

    def _in_salesforce(self, person: Person, kind: Kind, double: Double | None) -> list[Spec]:
        rng = self.rng
        first = Spec("salesforce", "Lead" if kind == "lead" else "Contact", person, "first")
        first.email = person.email
        first.phone = person.phone if rng.random() < 0.75 else None
        if first.object == "Contact" and rng.random() < 0.7:
            first.user_id = person.user_id
        specs = [first]
        if kind == "converted":
            lead = Spec("salesforce", "Lead", person, "lead", person.email)
            lead.phone = person.phone if rng.random() < 0.6 else None
            specs.append(lead)
        if double is not None:
            if double == "user" and first.user_id is None:
                double = "email"
            same = double == "user" or rng.random() < 0.6
            second = Spec("salesforce", "Contact" if same else "Lead", person, "double")
            if double == "nothing":
                second.email = person.other_email
            elif double == "email":
                second.email = first.email
            elif double == "phone":
                first.phone = second.phone = person.phone
                second.email = person.personal_email if rng.random() < 0.5 else None
            else:
                second.user_id = first.user_id
                second.email = person.personal_email
            specs.append(second)
        return specs

    def _in_hubspot(self, person: Person, double: Double | None) -> list[Spec]:
        # a HubSpot account holds each address once, so doubles meet by phone or not at all
        rng = self.rng
        first = Spec("hubspot", "contacts", person, "first", person.email)
        first.phone = person.phone if rng.random() < 0.6 else None
        specs = [first]
        if double is not None:
            second = Spec("hubspot", "contacts", person, "double")
            if double != "nothing":
                first.phone = second.phone = person.phone
            if double == "nothing" or rng.random() < 0.5:
                local = person.other_email.partition("@")[0]
                second.email = self.population.address(local, "inbox")
            specs.append(second)
        return specs

    def _doubles(self, people: list[Person], kinds: tuple[Double, ...]) -> dict[int, Double]:
        chosen = self.rng.sample(people, round(DOUBLES * len(people)))
        nothing = round(DOUBLES_SHARING_NOTHING * len(chosen))
        return {
            person.index: "nothing" if place < nothing else kinds[place % len(kinds)]
            for place, person in enumerate(chosen)
        }

    def _give_roles(self, specs: list[Spec]) -> set[int]:
        """Give 1 % of the people an address in Salesforce that several of an account share."""
        doubled = {s.person.index for s in specs if s.slot == "double"}
        groups: dict[int, list[Spec]] = defaultdict(list)
        for spec in specs:
            account = spec.person.account
            usable = spec.system == "salesforce" and spec.slot == "first"
            if usable and account is not None and spec.person.index not in doubled:
                groups[account.index].append(spec)
        wanted = max(2, round(ROLE * self.population.size))
        chosen: set[int] = set()
        several = [group for _, group in sorted(groups.items()) if len(group) >= 2]
        self.rng.shuffle(several)
        for group in several:
            left = wanted - len(chosen)
            sizes = [n for n in (4, 3, 2) if n <= min(len(group), left) and left - n != 1]
            if not sizes:
                continue
            account = group[0].person.account
            assert account is not None
            address = f"{self.rng.choice(pools.ROLE_NAMES)}@{account.domain}"
            for spec in self.rng.sample(group, self.rng.choice(sizes)):
                spec.email = address
                chosen.add(spec.person.index)
        return chosen

    def _mistype(self, specs: list[Spec], roles: set[int]) -> None:
        with_email = [s for s in specs if s.email is not None]
        taken = roles | {s.person.index for s in specs if s.slot == "double"}
        usable = [s for s in with_email if s.slot == "first" and s.person.index not in taken]
        for spec in self.rng.sample(usable, round(MISTYPED * len(with_email))):
            spec.email = self.population.mistype(spec.person.email, self.rng)


def _kind(person: Person, place: float) -> Kind:
    if person.account is None:
        return "lead"
    return "contact" if place < 0.55 else "lead" if place < 0.8 else "converted"
