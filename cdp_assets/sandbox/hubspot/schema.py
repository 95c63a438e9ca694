"""The objects of the stand-in account and their properties, as its administrator set them up."""

from __future__ import annotations

from dataclasses import asdict

from cdp_assets.sandbox.hubspot.activities import ACTIVITIES
from cdp_assets.sandbox.hubspot.errors import HubSpotError
from cdp_assets.sandbox.hubspot.kinds import (
    ObjectType,
    Property,
    custom_type,
    enum,
    number,
    own,
    system,
    text,
)
from cdp_assets.sandbox.tables import Tables

__all__ = ["CUSTOM", "STAGES", "TYPES", "ObjectType", "Property", "Schema"]

STAGES = (
    "subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity",
    "customer", "evangelist", "other",
)  # fmt: skip
"""Lifecycle stages in the order in which a record moves through them."""
CUSTOM = "hubspot.schemas"
"""The table of custom object types, by objectTypeId."""


_C, _CO, _D, _T = "contactinformation", "companyinformation", "dealinformation", "ticketinformation"

CONTACTS = ObjectType(
    name="contacts", singular="contact", type_id="0-1", modified="lastmodifieddate",
    defaults=("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    properties=(
        Property(name="email", label="Email", group=_C, unique=True),
        *text("firstname", "lastname", "jobtitle", "company", "website", "city", "state",
               "country", "zip", "address", group=_C),
        Property(name="phone", label="Phone Number", field_type="phonenumber", group=_C),
        Property(name="mobilephone", label="Mobile Phone Number", field_type="phonenumber",
                 group=_C),
        enum("lifecyclestage", STAGES, _C, field_type="radio"),
        enum("hs_lead_status", ("NEW", "OPEN", "IN_PROGRESS", "UNQUALIFIED", "CONNECTED"), _C),
        enum("hs_email_optout", ("true", "false"), _C, field_type="booleancheckbox"),
        enum("hs_marketable_status", ("true", "false"), _C, field_type="booleancheckbox"),
        number("associatedcompanyid", "Primary Associated Company ID", _C),
        Property(name="hs_additional_emails", label="Additional email addresses", group=_C,
                 type="enumeration", field_type="checkbox", read_only=True),
        *system(_C, "lastmodifieddate"),
        own("customer_id", "Customer ID", _C, unique=True),
        own("cdp_profile_id", "CDP profile ID", _C, unique=True),
        own("cdp_id", "CDP ID", _C, unique=True),
        own("revenue_90d", "Revenue, last 90 days", _C, "number"),
        own("revenue", "Revenue", _C, "number"),
        own("orders", "Orders", _C, "number"),
        own("events_30d", "Events, last 30 days", _C, "number"),
        own("last_seen", "Last seen", _C, "datetime"),
        own("top_feature", "Top feature", _C),
        own("active", "Active", _C, "enumeration", field_type="booleancheckbox",
             options=("true", "false")),
        own("frequency", "Purchases", _C, "number"),
        own("monetary_value", "Money spent", _C, "number"),
        own("last_order", "Last order", _C, "date"),
        own("first_order", "First order", _C, "date"),
        own("rfm_score", "RFM score", _C, "number"),
        own("lapsed", "Lapsed", _C, "enumeration", field_type="booleancheckbox",
             options=("true", "false")),
    ),
)  # fmt: skip
COMPANIES = ObjectType(
    name="companies", singular="company", type_id="0-2",
    defaults=("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
    properties=(
        *text("name", "domain", "website", "industry", "city", "state", "country", "zip",
               "description", group=_CO),
        Property(name="phone", label="Phone Number", field_type="phonenumber", group=_CO),
        number("numberofemployees", "Number of Employees", _CO),
        number("annualrevenue", "Annual Revenue", _CO),
        enum("lifecyclestage", STAGES, _CO, field_type="radio"),
        *system(_CO, "hs_lastmodifieddate"),
        own("cdp_profile_id", "CDP profile ID", _CO, unique=True),
        own("mrr", "MRR", _CO, "number"), own("active_users", "Active users", _CO, "number"),
    ),
)  # fmt: skip
DEALS = ObjectType(
    name="deals", singular="deal", type_id="0-3",
    defaults=("amount", "closedate", "createdate", "dealname", "dealstage", "hs_lastmodifieddate",
              "hs_object_id", "pipeline"),
    properties=(
        *text("dealname", "pipeline", "description", "closed_won_reason", "closed_lost_reason",
              group=_D),
        enum("dealstage", ("appointmentscheduled", "qualifiedtobuy", "presentationscheduled",
              "decisionmakerboughtin", "contractsent", "closedwon", "closedlost"), _D),
        number("amount", "Amount", _D),
        Property(name="closedate", label="Close Date", type="datetime", field_type="date",
                 group=_D),
        *system(_D, "hs_lastmodifieddate"),
    ),
)  # fmt: skip
TICKETS = ObjectType(
    name="tickets", singular="ticket", type_id="0-5",
    defaults=("content", "createdate", "hs_lastmodifieddate", "hs_object_id", "hs_pipeline",
              "hs_pipeline_stage", "hs_ticket_category", "hs_ticket_priority", "subject"),
    properties=(
        *text("subject", "content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_category",
               group=_T),
        enum("hs_ticket_priority", ("LOW", "MEDIUM", "HIGH", "URGENT"), _T),
        enum("source_type", ("CHAT", "EMAIL", "FORM", "PHONE"), _T),
        *system(_T, "hs_lastmodifieddate"),
    ),
)  # fmt: skip
TYPES = {
    alias: o
    for o in (CONTACTS, COMPANIES, DEALS, TICKETS, *ACTIVITIES)
    for alias in (o.name, o.singular, o.type_id)
}
"""Every name of an object type of the vendor → the type."""


class Schema:
    """The properties of the account: those above and those that clients added."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._built_in = {o.name: {p.name: p for p in o.properties} for o in TYPES.values()}
        self._cache: dict[str, dict[str, Property]] = {}

    def type(self, name: str) -> ObjectType:
        """The object type of this name: a custom one by objectTypeId, full or short name."""
        found = TYPES.get(name.lower()) or self._custom(name)
        if found is None:
            raise HubSpotError(400, "VALIDATION_ERROR", f"Unable to infer object type from: {name}")
        return found

    def kinds(self) -> list[ObjectType]:
        """All object types."""
        custom = [self._custom(key) for key in self.tables[CUSTOM].rows]
        return [*dict.fromkeys(TYPES.values()), *(kind for kind in custom if kind is not None)]

    def _custom(self, name: str) -> ObjectType | None:
        for key, row in self.tables[CUSTOM].rows.items():
            short = str(row["name"]).lower()
            names = {key, str(row["fullyQualifiedName"]).lower(), short, f"p_{short}"}
            if name.lower() in names and not row.get("_archived"):
                return custom_type(key, row)
        return None

    def properties(self, kind: ObjectType) -> dict[str, Property]:
        """name → property of an object type; archived ones left out."""
        found = self._cache.get(kind.name)
        if found is None:
            built_in = {p.name: p for p in kind.properties} if kind.custom else None
            found = dict(built_in or self._built_in[kind.name])
            for key, row in self.tables["hubspot.properties"].rows.items():
                owner, _, name = key.partition(":")
                if owner == kind.name:
                    found[name] = Property(**{**row, "options": tuple(row["options"])})
            found = {name: p for name, p in found.items() if not p.archived}
            self._cache[kind.name] = found
        return found

    def add(self, kind: ObjectType, found: Property) -> None:
        """Add or change a property that is not the vendor's."""
        self.tables.put("hubspot.properties", f"{kind.name}:{found.name}", asdict(found))
        self._cache.pop(kind.name, None)
