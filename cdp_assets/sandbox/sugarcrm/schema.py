"""The modules of the stand-in: their fields as the metadata show them, and their links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Field = dict[str, Any]


def _field(name: str, kind: str = "varchar", **more: Any) -> Field:
    return {"name": name, "vname": f"LBL_{name.upper()}", "type": kind, **more}


def _relate(name: str, id_name: str, module: str) -> tuple[Field, Field]:
    return (
        _field(id_name, "id", reportable=False),
        _field(name, "relate", id_name=id_name, module=module, source="non-db", rname="name"),
    )


def _enum(name: str, *options: str) -> Field:
    return _field(name, "enum", len=100, options=f"{name}_dom", _options=options)


_ALL = (
    _field("id", "id", required=True, readonly=True, mandatory_fetch=True),
    _field("date_entered", "datetime", readonly=True),
    _field("date_modified", "datetime", readonly=True),
    _field("modified_user_id", "id", readonly=True),
    _field("created_by", "id", readonly=True),
    _field("deleted", "bool", default="0", reportable=False, readonly=True),
    _field("description", "text"),
    _field("sync_key", "varchar", len=100, readonly=True),
    *_relate("assigned_user_name", "assigned_user_id", "Users"),
)
_NAME = _field("name", "name", len=255, required=True)
_PERSON = (
    _field("first_name", len=100),
    _field("last_name", len=100, required=True),
    _field("full_name", "fullname", readonly=True, source="non-db"),
    _field("title", len=100),
    _field("department", len=255),
    _field("phone_work", "phone", len=100),
    _field("phone_mobile", "phone", len=100),
    _field("do_not_call", "bool", default=False),
    _field("primary_address_city", len=100),
    _field("primary_address_country", len=100),
)
_EMAIL = (
    _field("email", "email", source="non-db"),
    _field("email1", "varchar", source="non-db"),
    _field("email_opt_out", "bool", source="non-db"),
    _field("invalid_email", "bool", source="non-db"),
)
_ACTIVITY = (
    _NAME,
    _field("date_start", "datetimecombo"),
    _field("date_end", "datetimecombo"),
    _enum("status", "Planned", "Held", "Not Held"),
    _field("parent_type", "parent_type", len=255),
    _field("parent_id", "id"),
)
MODULES: Mapping[str, tuple[Field, ...]] = {
    "Accounts": (
        *_ALL,
        _NAME,
        *_EMAIL,
        _enum("account_type", "Analyst", "Competitor", "Customer", "Partner", "Prospect"),
        _enum("industry", "Apparel", "Banking", "Recreation", "Technology"),
        _field("annual_revenue", len=100),
        _field("employees", len=10),
        _field("website", "url", len=255),
        _field("phone_office", "phone", len=100),
        _field("health_c", "decimal", len=18, precision=2, custom_module="Accounts"),
        *_relate("parent_name", "parent_id", "Accounts"),
    ),
    "Contacts": (
        *_ALL,
        *_PERSON,
        *_EMAIL,
        *_relate("account_name", "account_id", "Accounts"),
        _field("orders_c", "int", custom_module="Contacts"),
        _field("revenue_c", "currency", custom_module="Contacts"),
        _field("last_order_c", "date", custom_module="Contacts"),
        _field("tags_c", "multienum", _options=("a", "b", "c"), options="tags_list"),
    ),
    "Leads": (
        *_ALL,
        *_PERSON,
        *_EMAIL,
        _enum("status", "New", "Assigned", "Converted", "Dead"),
        _field("account_name", len=255),
        _field("converted", "bool", default="0"),
        _field("contact_id", "id"),
        _field("account_id", "id"),
        _field("opportunity_id", "id"),
    ),
    "Opportunities": (
        *_ALL,
        _NAME,
        *_relate("account_name", "account_id", "Accounts"),
        _enum("sales_stage", "Prospecting", "Qualification", "Closed Won", "Closed Lost"),
        _field("amount", "currency", precision=6),
        _field("currency_id", "currency_id", default="-99"),
        _field("base_rate", "decimal", default="1.000000"),
        _field("probability", "int"),
        _field("date_closed", "date"),
    ),
    "Cases": (
        *_ALL,
        _NAME,
        *_relate("account_name", "account_id", "Accounts"),
        *_relate("primary_contact_name", "primary_contact_id", "Contacts"),
        _field("case_number", "int", readonly=True, auto_increment=True),
        _enum("status", "New", "Assigned", "Closed", "Pending Input"),
        _enum("priority", "P1", "P2", "P3"),
        _enum("type", "Administration", "Product", "User"),
        _enum("source", "Internal", "Forum", "Web", "Email", "Twitter"),
    ),
    "Tasks": (*_ALL, *_ACTIVITY, _field("date_due", "datetimecombo"), _field("contact_id", "id")),
    "Calls": (*_ALL, *_ACTIVITY, _enum("direction", "Inbound", "Outbound")),
    "Meetings": (*_ALL, *_ACTIVITY),
    "Notes": (
        *_ALL,
        _NAME,
        _field("parent_type", "parent_type", len=255),
        _field("parent_id", "id"),
        _field("contact_id", "id"),
    ),
    "ProspectLists": (*_ALL, _NAME, _enum("list_type", "default", "seed", "exempt", "test")),
    "Users": (*_ALL, *_PERSON, *_EMAIL, _field("user_name", "username", len=60)),
}
"""Module → its fields. `_options` is what `/<module>/enum/<field>` answers."""

NUMBERS = {"int", "decimal", "currency", "float"}
LINKS: Mapping[tuple[str, str], tuple[str, str | None, str | None]] = {
    ("Contacts", "accounts"): ("Accounts", "account_id", None),
    ("Accounts", "contacts"): ("Contacts", None, "account_id"),
    ("Accounts", "opportunities"): ("Opportunities", None, "account_id"),
    ("Accounts", "cases"): ("Cases", None, "account_id"),
    ("Opportunities", "accounts"): ("Accounts", "account_id", None),
    ("Opportunities", "contacts"): ("Contacts", None, None),
    ("Cases", "accounts"): ("Accounts", "account_id", None),
    ("Cases", "contacts"): ("Contacts", None, None),
    ("Tasks", "contacts"): ("Contacts", "contact_id", None),
    ("Notes", "contact"): ("Contacts", "contact_id", None),
    ("Calls", "contacts"): ("Contacts", None, None),
    ("Meetings", "contacts"): ("Contacts", None, None),
    ("ProspectLists", "contacts"): ("Contacts", None, None),
    ("ProspectLists", "leads"): ("Leads", None, None),
    ("ProspectLists", "accounts"): ("Accounts", None, None),
}
"""(module, link) → the other module, and which side's field holds the id of the other, if one."""


def fields(module: str) -> dict[str, Field]:
    """Name → field."""
    return {field["name"]: field for field in MODULES[module]}


def metadata(module: str) -> dict[str, Any]:
    """A module as `/metadata` shows it."""
    shown = {
        name: {key: value for key, value in field.items() if not key.startswith("_")}
        for name, field in fields(module).items()
    }
    for (own, link), (other, _, _) in LINKS.items():
        if own == module:
            shown[link] = {"name": link, "type": "link", "module": other, "source": "non-db"}
    return {"fields": shown, "isBwcEnabled": False, "_hash": module}
