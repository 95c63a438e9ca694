"""What people and sales staff do in the CRMs on one later day: about one record in a hundred."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.hubspot.errors import HubSpotError
from cdp_assets.sandbox.hubspot.objects import Records
from cdp_assets.sandbox.hubspot.schema import CONTACTS
from cdp_assets.sandbox.salesforce.objects import Objects
from cdp_assets.sandbox.salesforce.schema import CONTACT, LEAD, OBJECTS, OPPORTUNITY, SUBSCRIPTION
from cdp_assets.sandbox.tables import Row, Tables
from cdp_assets.sandbox.world import pools
from cdp_assets.sandbox.world.crm import CrmWriter
from cdp_assets.sandbox.world.people import Person, Population
from cdp_assets.sandbox.world.records import Spec

Found = tuple[str, str, Person]
"""A live record of a person: (reference, id, person)."""


class CrmDay:
    """Changes both CRMs as a day does; stamps are the clock's."""

    def __init__(
        self, tables: Tables, population: Population, clock: Clock, first: date, day: int
    ) -> None:
        self.tables = tables
        self.population = population
        self.rng = random.Random(f"{population.seed}:crmday:{day}")
        self.writer = CrmWriter(tables, population, first, f"day{day}")
        self.writer.now = clock.now()
        self.objects = Objects(tables, clock)
        self.records = Records(tables, clock)
        self.counts: Counter[str] = Counter()

    def run(self, newcomers: Sequence[Spec]) -> dict[str, int]:
        """Make the day's changes; returns how many of each kind."""
        for spec in newcomers:
            self._company_of(spec)
            self.writer.person_record(spec)
            self.counts["created"] += 1
        self._retitle()
        self._readdress()
        self._correct()
        self._convert()
        self._merge()
        self._delete()
        self._work()
        return dict(self.counts)

    def _some(self, share: float, candidates: Sequence[Found]) -> list[Found]:
        """A share of the people, at least one, among the candidates."""
        wanted = max(1, round(share * self.population.size))
        return self.rng.sample(list(candidates), min(wanted, len(candidates)))

    def _live(self, *kinds: str, slot: str | None = None) -> list[Found]:
        found = []
        for ref, row in self.tables["world.records"].rows.items():
            kind, _, key = ref.partition(":")
            record = self.tables[kind].get(key)
            if kind not in kinds or (slot is not None and row["slot"] != slot) or record is None:
                continue
            gone = ("IsDeleted", "IsConverted", "_archived")
            if not any(record.get(name) for name in gone):
                person = self.population.people[int(row["person"][1:]) - 1]
                found.append((ref, key, person))
        return found

    def _company_of(self, spec: Spec) -> None:
        account = spec.person.account
        if account is None or self.writer.account_id(spec.system, spec.person) is not None:
            return
        if spec.system == "salesforce":
            self.writer.account_in_salesforce(account)
        else:
            self.writer.account_in_hubspot(account)

    def _change(self, ref: str, key: str, fields: Row) -> None:
        """Change a Salesforce record of a person."""
        name = ref.partition(":")[0].partition(".")[2]
        self.objects.update(OBJECTS[name.lower()], key, fields)

    def _retitle(self) -> None:
        for ref, key, _ in self._some(0.004, self._live("salesforce.Contact", "salesforce.Lead")):
            self._change(ref, key, {"Title": self.rng.choice(pools.TITLES)})
            self.counts["titles"] += 1
        for _, key, _ in self._some(0.004, self._live("hubspot.contacts")):
            self.records.update(CONTACTS, key, {"jobtitle": self.rng.choice(pools.TITLES)})
            self.counts["titles"] += 1

    def _readdress(self) -> None:
        """Some people get a new address; half of the time both CRMs hear of it."""
        for _, key, person in self._some(0.001, self._live("salesforce.Contact", slot="first")):
            host = person.email.partition("@")[2]
            name = f"{pools.ascii_slug(person.first)}_{pools.ascii_slug(person.last)}"
            address = f"{name}{person.index + 1}@{host}"
            self.objects.update(CONTACT, key, {"Email": address})
            self.counts["addresses"] += 1
            other = self.tables["world.first"].get(f"hubspot:{person.index}")
            if other is not None and self.rng.random() < 0.5:
                self._set_hubspot_email(other["id"], address)

    def _correct(self) -> None:
        """Somebody notices mistyped addresses."""
        wrong = []
        for found in self._live("salesforce.Contact", "salesforce.Lead", slot="first"):
            ref, key, person = found
            email = str(self.tables[ref.partition(":")[0]].rows[key].get("Email") or "").casefold()
            if email and not _known(email, person):
                wrong.append(found)
        for ref, key, person in self._some(0.0008, wrong):
            self._change(ref, key, {"Email": person.email})
            self.counts["corrected"] += 1

    def _set_hubspot_email(self, key: str, address: str) -> None:
        try:
            self.records.update(CONTACTS, self.records.find(CONTACTS, key), {"email": address})
            self.counts["addresses"] += 1
        except HubSpotError:
            self.counts["refused"] += 1  # archived meanwhile, or the address is taken

    def _convert(self) -> None:
        leads = [
            found
            for found in self._live("salesforce.Lead", slot="first")
            if self.writer.account_id("salesforce", found[2]) is not None
        ]
        for ref, key, person in self._some(0.001, leads):
            lead = self.tables["salesforce.Lead"].rows[key]
            spec = Spec("salesforce", "Contact", person, "first", lead.get("Email"))
            spec.phone = person.phone if lead.get("Phone") else None
            spec.user_id = person.user_id
            contact = self.writer.person_record(spec)
            self.objects.convert(key, contact, self.writer.account_id("salesforce", person))
            self.tables.put("world.records", ref, {"person": person.key, "slot": "lead"})
            self.counts["converted"] += 1

    def _merge(self) -> None:
        for kind in ("salesforce.Contact", "salesforce.Lead", "hubspot.contacts"):
            by_person: dict[int, list[Found]] = defaultdict(list)
            for found in self._live(kind):
                by_person[found[2].index].append(found)
            pairs = [group[0] for group in by_person.values() if len(group) == 2]
            for _, key, person in self._some(0.0006, pairs):
                other = by_person[person.index][1][1]
                if kind == "hubspot.contacts":
                    self.records.merge(CONTACTS, key, other)
                else:
                    spec = CONTACT if kind == "salesforce.Contact" else LEAD
                    self.objects.merge(spec, key, [other])
                self.counts["merged"] += 1

    def _delete(self) -> None:
        for _, key, _ in self._some(0.0004, self._live("salesforce.Lead")):
            self.objects.delete(LEAD, key)
            self.counts["deleted"] += 1
        for _, key, _ in self._some(0.0004, self._live("hubspot.contacts", slot="first")):
            self.records.archive(CONTACTS, key)
            self.counts["deleted"] += 1

    def _work(self) -> None:
        """Calls, tasks, tickets, sales that move on, subscriptions that begin or end."""
        for ref, key, person in self._some(
            0.005, self._live("salesforce.Contact", "salesforce.Lead", slot="first")
        ):
            name = ref.partition(":")[0].partition(".")[2]
            self.writer.task(Spec("salesforce", name, person, "first"), key)
            self.counts["activities"] += 1
        for _, key, person in self._some(0.003, self._live("hubspot.contacts", slot="first")):
            self.writer.ticket(key, self.writer.account_id("hubspot", person))
            self.counts["activities"] += 1
        share = max(1, round(0.001 * self.population.size))
        sales = [
            key
            for key, row in self.tables["salesforce.Opportunity"].rows.items()
            if not row.get("IsClosed") and not row.get("IsDeleted")
        ]
        for key in self.rng.sample(sales, min(share, len(sales))):
            stage = self.rng.choice(("Negotiation/Review", "Closed Won", "Closed Lost"))
            self.objects.update(OPPORTUNITY, key, {"StageName": stage})
            self.counts["sales"] += 1
        running = sorted(self.tables["salesforce.Subscription__c"].rows.items())
        for key, row in self.rng.sample(running, min(share, len(running))):
            status = "active" if row.get("Status__c") != "active" else "canceled"
            self.objects.update(SUBSCRIPTION, key, {"Status__c": status})
            self.counts["subscriptions"] += 1


def _known(email: str, person: Person) -> bool:
    """Whether an address is one that the person really has, or a shared one."""
    local, _, _ = email.partition("@")
    own = (person.email, person.personal_email, person.other_email)
    return email in own or local in pools.ROLE_NAMES or "_" in local
