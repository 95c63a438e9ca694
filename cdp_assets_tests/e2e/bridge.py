"""A stand-in for HubSpot's own connector for Salesforce, which copies both ways by itself: it
matches by e-mail, keeps the other side's id, makes contacts that are missing in HubSpot, and of
two values takes the one whose record was changed last."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cdp_assets_tests.sandbox.running import Running

CROSS_ID = "salesforcecontactid"
Pair = tuple[str, str]


@dataclass
class VendorBridge:
    """fields: HubSpot property → Salesforce field. seen: (pair, property) → the value that both
    sides had when it looked last."""

    served: Running
    fields: dict[str, str]
    seen: dict[tuple[Pair, str], Any] = field(default_factory=dict)

    def install(self) -> None:
        """Make the property that holds the other side's id."""
        reply = self.served.hubspot(
            "POST",
            "/crm/v3/properties/contacts",
            json={
                "name": CROSS_ID,
                "label": "Salesforce contact id",
                "type": "string",
                "fieldType": "text",
                "groupName": "contactinformation",
            },
        )
        assert reply.ok, reply.text

    def run(self) -> int:
        """One round; how many records it wrote."""
        contacts = self._salesforce()
        people = self._hubspot()
        written = 0
        by_email = {c["Email"].lower(): c["Id"] for c in contacts.values() if c["Email"]}
        taken = {p["properties"].get(CROSS_ID) for p in people.values()}
        for person in people.values():
            email = (person["properties"].get("email") or "").lower()
            match = by_email.get(email)
            if not person["properties"].get(CROSS_ID) and match and match not in taken:
                taken.add(match)
                self._tell_hubspot(person["id"], {CROSS_ID: match})
                person["properties"][CROSS_ID] = match
                written += 1
        for person in people.values():
            contact = contacts.get(person["properties"].get(CROSS_ID) or "")
            if contact is not None:
                written += self._alike(person, contact)
        return written

    def _alike(self, person: dict[str, Any], contact: dict[str, Any]) -> int:
        pair = (person["id"], contact["Id"])
        to_hubspot: dict[str, Any] = {}
        to_salesforce: dict[str, Any] = {}
        for name, other in self.fields.items():
            here, there = _plain(person["properties"].get(name)), _plain(contact[other])
            before = self.seen.get((pair, name))
            if here != there:
                # The side that moved since the last round; where both did, Salesforce.
                if there not in (before, None) or here is None:
                    to_hubspot[name] = there
                    here = there
                else:
                    to_salesforce[other] = here
            self.seen[pair, name] = here
        if to_hubspot:
            self._tell_hubspot(person["id"], to_hubspot)
        if to_salesforce:
            path = f"/sobjects/Contact/{contact['Id']}"
            reply = self.served.salesforce("PATCH", path, json=to_salesforce)
            assert reply.ok, reply.text
        return bool(to_hubspot) + bool(to_salesforce)

    def _tell_hubspot(self, record_id: str, values: dict[str, Any]) -> None:
        body = {"properties": {k: "" if v is None else str(v) for k, v in values.items()}}
        reply = self.served.hubspot("PATCH", f"/crm/v3/objects/contacts/{record_id}", json=body)
        assert reply.ok, reply.text

    def _salesforce(self) -> dict[str, dict[str, Any]]:
        names = ", ".join(dict.fromkeys(["Id", "Email", *self.fields.values()]))
        return {row["Id"]: row for row in self.served.query(f"SELECT {names} FROM Contact")}

    def _hubspot(self) -> dict[str, dict[str, Any]]:
        names = ",".join(dict.fromkeys(["email", CROSS_ID, *self.fields]))
        found: dict[str, dict[str, Any]] = {}
        after = None
        while True:
            params = {"limit": "100", "properties": names, **({"after": after} if after else {})}
            page = self.served.hubspot("GET", "/crm/v3/objects/contacts", params=params).json()
            found |= {row["id"]: row for row in page["results"]}
            after = page.get("paging", {}).get("next", {}).get("after")
            if after is None:
                return found


def _plain(value: Any) -> str | None:
    """A value as both systems can hold it."""
    if value in (None, ""):
        return None
    try:
        return f"{float(value):g}"
    except ValueError:
        return str(value)
