"""The CRMs on the first day: what the records say, written in each system's own shape."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from cdp_assets.sandbox.clock import hubspot_time, salesforce_time
from cdp_assets.sandbox.hubspot.associations import Associations
from cdp_assets.sandbox.hubspot.objects import FIRST_IDS
from cdp_assets.sandbox.hubspot.schema import TYPES
from cdp_assets.sandbox.salesforce.ids import make_id
from cdp_assets.sandbox.salesforce.schema import OBJECTS
from cdp_assets.sandbox.tables import Row, Tables
from cdp_assets.sandbox.world import pools
from cdp_assets.sandbox.world.people import HISTORY_DAYS, Account, Person, Population
from cdp_assets.sandbox.world.records import Spec

REPRESENTATIVES = 12
BYGONE = 0.015
_STAGES = ("Prospecting", "Qualification", "Proposal/Price Quote", "Closed Won", "Closed Lost")
_DEAL_STAGES = ("appointmentscheduled", "qualifiedtobuy", "contractsent", "closedwon", "closedlost")
_SUBJECTS = ("Follow up", "Call back", "Send proposal", "Renewal talk", "Onboarding call")
_PHONE_FORMS = ("({0}) {1}-{2}", "{0}-{1}-{2}", "+1 {0} {1} {2}", "{0}.{1}.{2}", "+1{0}{1}{2}")


class CrmWriter:
    """Writes made-up records into both CRMs' tables.

    `now` fixes the stamp of what is written; None draws one from the ninety days of history.
    """

    def __init__(self, tables: Tables, population: Population, first: date, topic: str) -> None:
        self.tables = tables
        self.population = population
        self.start = datetime(first.year, first.month, first.day, tzinfo=UTC)
        self.rng = random.Random(f"{population.seed}:crm:{topic}")
        self.associations = Associations(tables)
        self.now: datetime | None = None

    def fill(self, specs: Sequence[Spec]) -> None:
        """Everything the CRMs hold on the first day; `specs`: the records of all people."""
        self._representatives()
        self._accounts(specs)
        for spec in specs:
            if spec.slot != "lead":
                self.person_record(spec)
        for spec in specs:
            if spec.slot == "lead":
                self.person_record(spec)
        self._bygone(specs)
        self._pipeline()
        self._activities(specs)

    # ----- shared pieces

    def moment(self) -> datetime:
        """When a record was made: now, or some working hour of the history."""
        if self.now is not None:
            return self.now
        day = self.rng.randrange(HISTORY_DAYS + 1)
        return self.start + timedelta(days=day, seconds=self.rng.randrange(25_000, 70_000))

    def later(self, than: datetime) -> datetime:
        """When a record was last changed."""
        if self.now is not None or self.rng.random() < 0.5:
            return than
        end = self.start + timedelta(days=HISTORY_DAYS, seconds=80_000)
        return than + (end - than) * self.rng.random()

    def phone(self, digits: str | None) -> str | None:
        """Ten digits as somebody typed them."""
        if digits is None:
            return None
        form = self.rng.choice(_PHONE_FORMS)
        return form.format(digits[:3], digits[3:6], digits[6:])

    def salesforce(self, name: str, fields: Row) -> str:
        """Store a Salesforce record; returns its id."""
        spec = OBJECTS[name.lower()]
        key = make_id(spec.prefix, self.tables.next_number(f"salesforce.{name}"))
        made = self.moment()
        changed = salesforce_time(self.later(made))
        user = self._representative()
        row: Row = {f.name: f.default for f in spec.fields if f.default is not None}
        row |= {
            "Id": key, "CreatedDate": salesforce_time(made), "CreatedById": user,
            "LastModifiedDate": changed, "LastModifiedById": user, "SystemModstamp": changed,
        }  # fmt: skip
        if "ownerid" in spec.by_name:
            row["OwnerId"] = user
        row |= {name: value for name, value in fields.items() if value is not None}
        self.tables.put(f"salesforce.{name}", key, row)
        return key

    def hubspot(self, name: str, properties: Row) -> str:
        """Store a HubSpot record; returns its id."""
        key = str(self.tables.next_number(f"hubspot.{name}", FIRST_IDS[name]))
        made = self.moment()
        row: Row = {
            "_created": hubspot_time(made), "_updated": hubspot_time(self.later(made)),
            "hubspot_owner_id": str(self.rng.randrange(REPRESENTATIVES) + 501),
        }  # fmt: skip
        row |= {name: value for name, value in properties.items() if value is not None}
        self.tables.put(f"hubspot.{name}", key, row)
        return key

    def associate(self, left: str, left_id: str, right: str, right_id: str) -> None:
        """Associate two HubSpot records."""
        self.associations.add(TYPES[left], left_id, TYPES[right], right_id)

    def _representative(self) -> str:
        return make_id("005", self.rng.randrange(REPRESENTATIVES) + 1)

    def _representatives(self) -> None:
        firsts, lasts = pools.names()
        stamp = salesforce_time(self.start)
        for number in range(1, REPRESENTATIVES + 1):
            first, last = self.rng.choice(firsts), self.rng.choice(lasts)
            email = f"{pools.ascii_slug(first)}.{pools.ascii_slug(last)}@fathom.example"
            key = make_id("005", number)
            self.tables.put("salesforce.User", key, {
                "Id": key, "Username": email, "FirstName": first, "LastName": last,
                "Name": f"{first} {last}", "Email": email, "IsActive": True, "CreatedDate": stamp,
                "LastModifiedDate": stamp, "SystemModstamp": stamp,
            })  # fmt: skip
            self.tables.put("hubspot.owners", str(500 + number), {
                "email": email, "firstName": first, "lastName": last, "userId": 9000 + number,
                "_created": hubspot_time(self.start), "_updated": hubspot_time(self.start),
            })  # fmt: skip
        key = make_id("00D", 1)
        self.tables.put("salesforce.Organization", key, {
            "Id": key, "Name": "Fathom Analytics", "OrganizationType": "Enterprise Edition",
            "InstanceName": "SBX1", "IsSandbox": True, "TimeZoneSidKey": "America/New_York",
            "CreatedDate": stamp, "LastModifiedDate": stamp, "SystemModstamp": stamp,
        })  # fmt: skip

    # ----- what happened before the first day

    def _bygone(self, specs: Sequence[Spec]) -> None:
        """Records of a second kind: merged into others, or deleted, in the ninety days before."""
        firsts = [spec for spec in specs if spec.slot == "first"]
        for spec in self.rng.sample(firsts, round(BYGONE * len(firsts))):
            survivor = self.tables["world.first"].rows[f"{spec.system}:{spec.person.index}"]["id"]
            merged = self.rng.random() < 0.6
            if spec.system == "salesforce":
                self._bygone_in_salesforce(spec, survivor if merged else None)
            else:
                self._bygone_in_hubspot(spec, survivor if merged else None)

    def _bygone_in_salesforce(self, spec: Spec, survivor: str | None) -> None:
        key = self.salesforce(spec.object, {
            **self._salesforce_name(spec), "Email": spec.person.email,
            "Company": "Unknown" if spec.object == "Lead" else None,
        })  # fmt: skip
        name = f"salesforce.{spec.object}"
        gone = {"IsDeleted": True, "MasterRecordId": survivor}
        self.tables.put(name, key, self.tables[name].rows[key] | gone)

    def _bygone_in_hubspot(self, spec: Spec, survivor: str | None) -> None:
        key = self.hubspot("contacts", {
            "firstname": spec.person.first, "lastname": spec.person.last,
        })  # fmt: skip
        rows = self.tables["hubspot.contacts"].rows
        gone: Row = {"_archived": True, "_archived_at": rows[key]["_updated"]}
        if survivor is not None:
            gone["_merged_into"] = survivor
            kept = rows[survivor] | {"hs_merged_object_ids": key}
            self.tables.put("hubspot.contacts", survivor, kept)
        self.tables.put("hubspot.contacts", key, rows[key] | gone)

    # ----- companies

    def _accounts(self, specs: Sequence[Spec]) -> None:
        needed = {
            (spec.system, spec.person.account.index)
            for spec in specs
            if spec.person.account is not None
        }
        for account in self.population.accounts:
            if account.in_salesforce or ("salesforce", account.index) in needed:
                self.account_in_salesforce(account)
            if account.in_hubspot or ("hubspot", account.index) in needed:
                self.account_in_hubspot(account)

    def account_in_salesforce(self, account: Account) -> str:
        """The Account of a company, and its subscription."""
        key = self.salesforce("Account", {
            "Name": account.name, "Website": f"https://www.{account.domain}",
            "Industry": account.industry, "BillingCity": account.city,
            "BillingState": account.state, "BillingCountry": "US",
            "NumberOfEmployees": account.employees, "Phone": self.phone(account.phone),
            "Type": "Prospect" if account.plan == "trial" else "Customer",
            "Plan__c": account.plan,
            "Workspace_Id__c": account.workspace if self.rng.random() < 0.8 else None,
        })  # fmt: skip
        self.tables.put("world.accounts", f"salesforce:{account.index}", {"id": key})
        if account.plan == "trial":
            status, amount = "trial", 0.0
        else:
            status = self.rng.choice(("active",) * 8 + ("past_due", "canceled"))
            amount = round(account.employees**0.6 * (9 if account.plan == "team" else 25), 2)
        self.salesforce("Subscription__c", {
            "Name": f"{account.name} {account.plan}"[:80], "Account__c": key,
            "MRR__c": amount, "Status__c": status, "Billing_Id__c": f"sub_{account.index + 1:06d}",
            "Started_On__c": (self.start + timedelta(days=self.rng.randrange(60))).date()
            .isoformat(),
        })  # fmt: skip
        return key

    def account_in_hubspot(self, account: Account) -> str:
        """The company of an account."""
        key = self.hubspot("companies", {
            "name": account.name, "domain": account.domain, "website": account.domain,
            "industry": account.industry.upper(), "city": account.city, "state": account.state,
            "country": "United States", "numberofemployees": str(account.employees),
            "phone": self.phone(account.phone),
            "lifecyclestage": "lead" if account.plan == "trial" else "customer",
        })  # fmt: skip
        self.tables.put("world.accounts", f"hubspot:{account.index}", {"id": key})
        return key

    def account_id(self, system: str, person: Person) -> str | None:
        """The id of a person's company in a CRM, if it is there."""
        if person.account is None:
            return None
        row = self.tables["world.accounts"].get(f"{system}:{person.account.index}")
        return None if row is None else str(row["id"])

    # ----- people

    def person_record(self, spec: Spec) -> str:
        """One record of one person, remembered in `world.records`."""
        if spec.system == "hubspot":
            key = self._hubspot_contact(spec)
        elif spec.object == "Contact":
            key = self._contact(spec)
        else:
            key = self._lead(spec)
        ref = f"{spec.system}.{spec.object}:{key}"
        self.tables.put("world.records", ref, {"person": spec.person.key, "slot": spec.slot})
        if spec.slot == "first":
            self.tables.put("world.first", f"{spec.system}:{spec.person.index}", {"id": key})
        return key

    def _contact(self, spec: Spec) -> str:
        person = spec.person
        return self.salesforce("Contact", {
            "AccountId": self.account_id("salesforce", person), **self._salesforce_name(spec),
            "Email": self._cased(spec.email), "Phone": self.phone(spec.phone),
            "MobilePhone": self.phone(person.mobile) if self.rng.random() < 0.12 else None,
            "Title": person.title if self.rng.random() < 0.75 else None,
            "LeadSource": self.rng.choice(("Web", "Partner Referral", "Phone Inquiry", None)),
            "MailingCity": person.account.city if person.account else None,
            "App_User_Id__c": spec.user_id,
        })  # fmt: skip

    def _lead(self, spec: Spec) -> str:
        person = spec.person
        converted = self.tables["world.first"].get(f"salesforce:{person.index}")
        fields: Row = {
            **self._salesforce_name(spec), "Email": self._cased(spec.email),
            "Phone": self.phone(spec.phone),
            "Title": person.title if self.rng.random() < 0.6 else None,
            "Company": person.account.name if person.account else "Self-employed",
            "LeadSource": self.rng.choice(("Web", "Purchased List", "Partner Referral", None)),
            "Status": self.rng.choice(("Open - Not Contacted", "Working - Contacted")),
        }  # fmt: skip
        if spec.slot == "lead" and converted is not None:
            fields |= {
                "Status": "Closed - Converted", "IsConverted": True,
                "ConvertedContactId": converted["id"],
                "ConvertedAccountId": self.account_id("salesforce", person),
                "ConvertedDate": self.moment().date().isoformat(),
            }  # fmt: skip
        return self.salesforce("Lead", fields)

    def _hubspot_contact(self, spec: Spec) -> str:
        person = spec.person
        company = self.account_id("hubspot", person)
        key = self.hubspot("contacts", {
            "email": spec.email, "firstname": person.first, "lastname": person.last,
            "phone": self.phone(spec.phone),
            "jobtitle": person.title if self.rng.random() < 0.6 else None,
            "company": person.account.name if person.account else None,
            "city": person.account.city if person.account else None,
            "lifecyclestage": self.rng.choice(("subscriber", "lead", "customer")),
            "associatedcompanyid": company,
        })  # fmt: skip
        if company is not None:
            self.associate("contacts", key, "companies", company)
        return key

    def _salesforce_name(self, spec: Spec) -> Row:
        first = spec.person.first
        if spec.slot == "double" and self.rng.random() < 0.4:
            first = first[0] + "."
        return {
            "FirstName": first, "LastName": spec.person.last,
            "Name": f"{first} {spec.person.last}",
        }  # fmt: skip

    def _cased(self, email: str | None) -> str | None:
        """Some people type addresses with capitals."""
        if email is None or self.rng.random() > 0.08:
            return email
        local, _, domain = email.partition("@")
        return f"{local.title()}@{domain}"

    # ----- what happens around them

    def _pipeline(self) -> None:
        accounts = self.tables["world.accounts"].rows
        for name, row in list(accounts.items()):
            system, _, index = name.partition(":")
            account = self.population.accounts[int(index)]
            for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3))):
                if system == "salesforce":
                    self.opportunity(account, row["id"])
                elif self.rng.random() < 0.6:
                    self._deal(account, row["id"])

    def opportunity(self, account: Account, account_id: str) -> str:
        """One sale that may come of an Account."""
        stage = self.rng.choice(_STAGES)
        amount = round(self.rng.lognormvariate(9, 0.8), 2)
        return self.salesforce("Opportunity", {
            "AccountId": account_id,
            "Name": f"{account.name} - {self.rng.choice(('New', 'Growth'))}",
            "StageName": stage, "Amount": amount, "IsClosed": stage.startswith("Closed"),
            "IsWon": stage == "Closed Won",
            "Probability": {"Closed Won": 100, "Closed Lost": 0}.get(stage, 40),
            "CloseDate": (self.moment() + timedelta(days=20)).date().isoformat(),
            "Type": "New Business" if account.plan == "trial" else "Existing Business",
        })  # fmt: skip

    def _deal(self, account: Account, company_id: str) -> None:
        key = self.hubspot("deals", {
            "dealname": f"{account.name} deal", "amount": f"{self.rng.lognormvariate(8, 0.7):.2f}",
            "dealstage": self.rng.choice(_DEAL_STAGES), "pipeline": "default",
            "closedate": hubspot_time(self.moment() + timedelta(days=20)),
        })  # fmt: skip
        self.associate("deals", key, "companies", company_id)

    def _activities(self, specs: Sequence[Spec]) -> None:
        firsts = self.tables["world.first"]
        for spec in specs:
            if spec.slot != "first":
                continue
            row = firsts.get(f"{spec.system}:{spec.person.index}")
            assert row is not None
            if spec.system == "salesforce":
                for _ in range(self.rng.choice((0, 1, 1, 2))):
                    self.task(spec, row["id"])
            elif self.rng.random() < 0.2:
                self.ticket(row["id"], self.account_id("hubspot", spec.person))

    def task(self, spec: Spec, who: str) -> str:
        """One call or task with a person."""
        call = self.rng.random() < 0.4
        return self.salesforce("Task", {
            "WhoId": who, "WhatId": self.account_id("salesforce", spec.person)
            if spec.object == "Contact" else None,
            "AccountId": self.account_id("salesforce", spec.person)
            if spec.object == "Contact" else None,
            "Subject": "Call" if call else self.rng.choice(_SUBJECTS),
            "TaskSubtype": "Call" if call else "Task",
            "CallType": "Outbound" if call else None,
            "CallDurationInSeconds": self.rng.randrange(20, 1800) if call else None,
            "Status": "Completed" if call else self.rng.choice(("Not Started", "Completed")),
            "Priority": "Normal", "IsClosed": call,
            "ActivityDate": self.moment().date().isoformat(),
        })  # fmt: skip

    def ticket(self, contact_id: str, company_id: str | None) -> str:
        """One question to support."""
        topic = self.rng.choice(("Import fails", "Invoice", "How to share", "Slow report"))
        key = self.hubspot("tickets", {
            "subject": topic, "content": f"{topic}, please help", "hs_pipeline": "0",
            "hs_pipeline_stage": self.rng.choice(("1", "2", "3", "4")),
            "hs_ticket_priority": self.rng.choice(("LOW", "MEDIUM", "HIGH")),
            "source_type": self.rng.choice(("CHAT", "EMAIL", "FORM")),
        })  # fmt: skip
        self.associate("tickets", key, "contacts", contact_id)
        if company_id is not None:
            self.associate("tickets", key, "companies", company_id)
        return key
