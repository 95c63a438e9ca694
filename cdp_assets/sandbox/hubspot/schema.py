"""The objects of the stand-in account and their properties, as its administrator set them up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from cdp_assets.sandbox.hubspot.errors import HubSpotError
from cdp_assets.sandbox.tables import Tables

STAGES = (
    "subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity",
    "customer", "evangelist", "other",
)  # fmt: skip
"""Lifecycle stages in the order in which a record moves through them."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """One property. type and fieldType are HubSpot's own words."""

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    group: str = "contactinformation"
    description: str = ""
    options: tuple[str, ...] = ()
    unique: bool = False
    read_only: bool = False
    vendor: bool = True
    archived: bool = False


@dataclass(frozen=True, kw_only=True)
class ObjectType:
    """One object type. defaults: properties shown where a request names none."""

    name: str
    singular: str
    type_id: str
    properties: tuple[Property, ...]
    defaults: tuple[str, ...]
    modified: str = "hs_lastmodifieddate"


def _text(*names: str, group: str) -> list[Property]:
    return [
        Property(name=n, label=n.replace("_", " ").replace("hs ", "").title(), group=group)
        for n in names
    ]


def _enum(name: str, options: Iterable[str], group: str, **more: Any) -> Property:
    return Property(
        name=name, label=name.replace("_", " ").title(), type="enumeration", group=group,
        field_type=more.pop("field_type", "select"), options=tuple(options), **more,
    )  # fmt: skip


def _number(name: str, label: str, group: str, *, vendor: bool = True) -> Property:
    return Property(
        name=name, label=label, type="number", field_type="number", group=group, vendor=vendor
    )


def _system(group: str, modified: str) -> list[Property]:
    return [
        Property(name="hs_object_id", label="Record ID", type="number", field_type="number",
                 group=group, read_only=True, unique=True),
        *(
            Property(name=name, label=name.replace("_", " ").title(), type="datetime",
                     field_type="date", group=group, read_only=True)
            for name in dict.fromkeys(("createdate", modified, "hs_lastmodifieddate"))
        ),
        Property(name="hs_merged_object_ids", label="Merged record IDs", type="enumeration",
                 field_type="checkbox", group=group, read_only=True),
        _enum("hubspot_owner_id", (), group),
    ]  # fmt: skip


def _own(name: str, label: str, group: str, type_: str = "string", **more: Any) -> Property:
    field = {"string": "text", "date": "date", "datetime": "date"}.get(type_, "number")
    return Property(
        name=name, label=label, type=type_, field_type=more.pop("field_type", field), group=group,
        vendor=False, **more,
    )  # fmt: skip


_C, _CO, _D, _T = "contactinformation", "companyinformation", "dealinformation", "ticketinformation"

CONTACTS = ObjectType(
    name="contacts", singular="contact", type_id="0-1", modified="lastmodifieddate",
    defaults=("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    properties=(
        Property(name="email", label="Email", group=_C, unique=True),
        *_text("firstname", "lastname", "jobtitle", "company", "website", "city", "state",
               "country", "zip", "address", group=_C),
        Property(name="phone", label="Phone Number", field_type="phonenumber", group=_C),
        Property(name="mobilephone", label="Mobile Phone Number", field_type="phonenumber",
                 group=_C),
        _enum("lifecyclestage", STAGES, _C, field_type="radio"),
        _enum("hs_lead_status", ("NEW", "OPEN", "IN_PROGRESS", "UNQUALIFIED", "CONNECTED"), _C),
        _enum("hs_email_optout", ("true", "false"), _C, field_type="booleancheckbox"),
        _number("associatedcompanyid", "Primary Associated Company ID", _C),
        Property(name="hs_additional_emails", label="Additional email addresses", group=_C,
                 type="enumeration", field_type="checkbox", read_only=True),
        *_system(_C, "lastmodifieddate"),
        _own("customer_id", "Customer ID", _C, unique=True),
        _own("cdp_profile_id", "CDP profile ID", _C, unique=True),
        _own("cdp_id", "CDP ID", _C, unique=True),
        _own("revenue_90d", "Revenue, last 90 days", _C, "number"),
        _own("revenue", "Revenue", _C, "number"),
        _own("orders", "Orders", _C, "number"),
        _own("events_30d", "Events, last 30 days", _C, "number"),
        _own("last_seen", "Last seen", _C, "datetime"),
        _own("top_feature", "Top feature", _C),
        _own("active", "Active", _C, "enumeration", field_type="booleancheckbox",
             options=("true", "false")),
        _own("frequency", "Purchases", _C, "number"),
        _own("monetary_value", "Money spent", _C, "number"),
        _own("last_order", "Last order", _C, "date"),
        _own("first_order", "First order", _C, "date"),
        _own("rfm_score", "RFM score", _C, "number"),
        _own("lapsed", "Lapsed", _C, "enumeration", field_type="booleancheckbox",
             options=("true", "false")),
    ),
)  # fmt: skip
COMPANIES = ObjectType(
    name="companies", singular="company", type_id="0-2",
    defaults=("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
    properties=(
        *_text("name", "domain", "website", "industry", "city", "state", "country", "zip",
               "description", group=_CO),
        Property(name="phone", label="Phone Number", field_type="phonenumber", group=_CO),
        _number("numberofemployees", "Number of Employees", _CO),
        _number("annualrevenue", "Annual Revenue", _CO),
        _enum("lifecyclestage", STAGES, _CO, field_type="radio"),
        *_system(_CO, "hs_lastmodifieddate"),
        _own("cdp_profile_id", "CDP profile ID", _CO, unique=True),
        _own("mrr", "MRR", _CO, "number"), _own("active_users", "Active users", _CO, "number"),
    ),
)  # fmt: skip
DEALS = ObjectType(
    name="deals", singular="deal", type_id="0-3",
    defaults=("amount", "closedate", "createdate", "dealname", "dealstage", "hs_lastmodifieddate",
              "hs_object_id", "pipeline"),
    properties=(
        *_text("dealname", "pipeline", "description", group=_D),
        _enum("dealstage", ("appointmentscheduled", "qualifiedtobuy", "presentationscheduled",
              "decisionmakerboughtin", "contractsent", "closedwon", "closedlost"), _D),
        _number("amount", "Amount", _D),
        Property(name="closedate", label="Close Date", type="datetime", field_type="date",
                 group=_D),
        *_system(_D, "hs_lastmodifieddate"),
    ),
)  # fmt: skip
TICKETS = ObjectType(
    name="tickets", singular="ticket", type_id="0-5",
    defaults=("content", "createdate", "hs_lastmodifieddate", "hs_object_id", "hs_pipeline",
              "hs_pipeline_stage", "hs_ticket_category", "hs_ticket_priority", "subject"),
    properties=(
        *_text("subject", "content", "hs_pipeline", "hs_pipeline_stage", "hs_ticket_category",
               group=_T),
        _enum("hs_ticket_priority", ("LOW", "MEDIUM", "HIGH", "URGENT"), _T),
        _enum("source_type", ("CHAT", "EMAIL", "FORM", "PHONE"), _T),
        *_system(_T, "hs_lastmodifieddate"),
    ),
)  # fmt: skip
TYPES = {
    alias: o
    for o in (CONTACTS, COMPANIES, DEALS, TICKETS)
    for alias in (o.name, o.singular, o.type_id)
}
"""Every name of an object type → the type."""


class Schema:
    """The properties of the account: those above and those that clients added."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self._built_in = {o.name: {p.name: p for p in o.properties} for o in TYPES.values()}
        self._cache: dict[str, dict[str, Property]] = {}

    def type(self, name: str) -> ObjectType:
        """The object type of this name."""
        found = TYPES.get(name.lower())
        if found is None:
            raise HubSpotError(400, "VALIDATION_ERROR", f"Unable to infer object type from: {name}")
        return found

    def properties(self, kind: ObjectType) -> dict[str, Property]:
        """name → property of an object type; archived ones left out."""
        found = self._cache.get(kind.name)
        if found is None:
            found = dict(self._built_in[kind.name])
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
