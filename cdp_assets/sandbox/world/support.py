"""The support desk and a partner's CRM: who has a ticket in HubSpot wrote to Zendesk too, and is a
contact with a case in SugarCRM. Nothing here draws from the world's other dice."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.hubspot.associations import Associations
from cdp_assets.sandbox.hubspot.schema import TYPES
from cdp_assets.sandbox.sugarcrm.records import Records as Sugar
from cdp_assets.sandbox.tables import Row, Tables
from cdp_assets.sandbox.zendesk.records import Records as Zendesk
from cdp_assets.sandbox.zendesk.schema import ORGANIZATIONS, TICKETS, USERS

_CHANNELS = {"CHAT": "chat", "EMAIL": "email", "FORM": "web"}
_MADE = "world.support"


class Support:
    """Copies tickets that are not there yet, with their people and companies, at the moment they
    were made."""

    def __init__(self, tables: Tables, seed: int, first: date) -> None:
        """first: the world's first day, on which the accounts were opened."""
        self.tables = tables
        self.seed = seed
        self.clock = Clock()
        self.clock.freeze(datetime(first.year, first.month, first.day, tzinfo=UTC))
        self.zendesk = Zendesk(tables, self.clock)
        self.sugar = Sugar(tables, self.clock)
        self.associations = Associations(tables)

    def follow(self) -> int:
        """Bring both systems up to HubSpot's tickets; returns how many were new."""
        rows = self.tables["hubspot.tickets"].rows
        new = [key for key in sorted(rows, key=int) if self.tables[_MADE].get(f"t:{key}") is None]
        for key in new:
            self.clock.freeze(datetime.fromisoformat(rows[key]["_created"]))
            self._ticket(key, rows[key])
        return len(new)

    def _ticket(self, key: str, ticket: Row) -> None:
        rng = random.Random(f"{self.seed}:support:{key}")
        person = self._first("tickets", key, "contacts")
        if person is None:
            return
        company = self._first("tickets", key, "companies")
        accounts = self._account(company) if company is not None else None
        user, contact = self._person(person, accounts)
        channel = _CHANNELS.get(str(ticket.get("source_type")), "voice")
        made = self.zendesk.create(TICKETS, {
            "subject": ticket["subject"], "requester_id": int(user), "type": "question",
            "priority": str(ticket.get("hs_ticket_priority", "normal")).lower().replace(
                "medium", "normal"
            ),
            "via": {"channel": channel, "source": {"from": {}, "to": {}, "rel": None}},
            "comment": {"body": ticket.get("content") or ticket["subject"], "author_id": int(user)},
        })  # fmt: skip
        case: dict[str, Any] = {
            "name": ticket["subject"], "status": "New", "type": "Product",
            "source": "Email" if channel == "email" else "Web",
            "account_id": accounts[1] if accounts else "", "contacts": {"add": [contact]},
            "primary_contact_id": contact,
        }  # fmt: skip
        own = self.sugar.create("Cases", case | {"id": self._id(f"case:{key}")})
        if rng.random() < 0.6:
            self.clock.freeze(self.clock.now() + timedelta(minutes=rng.randrange(5, 300)))
            said = {"comment": {"body": "Thank you, it works now", "author_id": int(user)}}
            self.zendesk.update(TICKETS, made, said | {"status": "solved"})
            self.sugar.update("Cases", own, {"status": "Closed"})
        self.tables.put(_MADE, f"t:{key}", {"zendesk": made, "sugarcrm": own})

    def _account(self, company: tuple[str, Row]) -> tuple[str, str]:
        key, row = company
        known = self.tables[_MADE].get(f"c:{key}")
        if known is None:
            name, domain = str(row.get("name") or key), row.get("domain")
            same = self.zendesk.find(ORGANIZATIONS, "name", name)
            organization = same or self.zendesk.create(
                ORGANIZATIONS, {"name": name, "domain_names": [domain] if domain else []}
            )
            account = self.sugar.create(
                "Accounts", {"id": self._id(f"account:{key}"), "name": name,
                             "account_type": "Customer", "website": domain or ""},
            )  # fmt: skip
            known = {"zendesk": organization, "sugarcrm": account}
            self.tables.put(_MADE, f"c:{key}", known)
        return known["zendesk"], known["sugarcrm"]

    def _person(self, person: tuple[str, Row], accounts: tuple[str, str] | None) -> tuple[str, str]:
        key, row = person
        known = self.tables[_MADE].get(f"p:{key}")
        if known is None:
            email = row.get("email")
            names = str(row.get("firstname") or ""), str(row.get("lastname") or key)
            user = self.zendesk.find(USERS, "email", email) if email else None
            user = user or self.zendesk.create(USERS, {
                "name": " ".join(names).strip(), "email": email, "phone": row.get("phone"),
                "organization_id": int(accounts[0]) if accounts else None,
            })  # fmt: skip
            contact = self.sugar.create("Contacts", {
                "id": self._id(f"contact:{key}"), "first_name": names[0], "last_name": names[1],
                "title": row.get("jobtitle"), "phone_work": row.get("phone"),
                "email": [{"email_address": email}] if email else [],
                "account_id": accounts[1] if accounts else "",
            })  # fmt: skip
            known = {"zendesk": user, "sugarcrm": contact}
            self.tables.put(_MADE, f"p:{key}", known)
        return known["zendesk"], known["sugarcrm"]

    def _first(self, kind: str, key: str, other: str) -> tuple[str, Row] | None:
        found = self.associations.ids(TYPES[kind], key, TYPES[other])
        return (found[0], self.tables[f"hubspot.{other}"].rows[found[0]]) if found else None

    def _id(self, name: str) -> str:
        """An id of SugarCRM's form that the same world has each time."""
        text = f"{random.Random(f'{self.seed}:{name}').getrandbits(128):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
