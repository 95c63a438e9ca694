"""What the stand-in account knows of its objects: fields, defaults, and the fields it added."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cdp_assets.sandbox.tables import Row, Tables

FIRST_ID = 360_000_000_001


@dataclass(frozen=True)
class Kind:
    """One object. writeable: what a create and an update may name; others are passed over without
    a word, as in the real thing. blank: a record of which nothing was said."""

    name: str
    one: str
    writeable: frozenset[str]
    blank: Mapping[str, Any]
    custom: str

    @property
    def table(self) -> str:
        """Where its records lie."""
        return f"zendesk.{self.name}"

    @property
    def fields_table(self) -> str:
        """Where its custom fields lie."""
        return f"zendesk.{self.one}_fields"


USERS = Kind(
    "users",
    "user",
    frozenset(
        {"name", "email", "phone", "role", "external_id", "organization_id", "tags", "details",
         "notes", "alias", "time_zone", "locale", "suspended", "user_fields", "verified",
         "signature", "custom_role_id", "ticket_restriction"}
    ),
    {
        "name": "", "email": None, "time_zone": "UTC", "iana_time_zone": "Etc/UTC", "phone": None,
        "shared_phone_number": None, "photo": None, "locale_id": 1, "locale": "en-US",
        "organization_id": None, "role": "end-user", "verified": False, "external_id": None,
        "tags": [], "alias": None, "active": True, "shared": False, "shared_agent": False,
        "last_login_at": None, "two_factor_auth_enabled": False, "signature": None,
        "details": None, "notes": None, "role_type": None, "custom_role_id": None,
        "moderator": False, "ticket_restriction": "requested", "only_private_comments": False,
        "restricted_agent": True, "suspended": False, "default_group_id": None,
        "report_csv": False, "chat_only": False, "user_fields": {},
    },
    "user_fields",
)  # fmt: skip
ORGANIZATIONS = Kind(
    "organizations",
    "organization",
    frozenset(
        {"name", "external_id", "domain_names", "details", "notes", "tags", "group_id",
         "shared_tickets", "shared_comments", "organization_fields"}
    ),
    {
        "name": "", "shared_tickets": False, "shared_comments": False, "external_id": None,
        "domain_names": [], "details": None, "notes": None, "group_id": None, "tags": [],
        "organization_fields": {},
    },
    "organization_fields",
)  # fmt: skip
TICKETS = Kind(
    "tickets",
    "ticket",
    frozenset(
        {"subject", "priority", "status", "type", "external_id", "requester_id", "submitter_id",
         "assignee_id", "organization_id", "group_id", "tags", "custom_fields", "due_at", "via",
         "problem_id", "recipient"}
    ),
    {
        "external_id": None, "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel":
        None}}, "type": None, "subject": None, "raw_subject": None, "description": "",
        "priority": None, "status": "open", "recipient": None, "requester_id": None,
        "submitter_id": None, "assignee_id": None, "organization_id": None, "group_id": None,
        "collaborator_ids": [], "follower_ids": [], "email_cc_ids": [], "forum_topic_id": None,
        "problem_id": None, "has_incidents": False, "is_public": True, "due_at": None, "tags": [],
        "custom_fields": [], "satisfaction_rating": {"score": "unoffered"},
        "sharing_agreement_ids": [], "followup_ids": [], "satisfaction_probability": None,
        "ticket_form_id": FIRST_ID, "custom_status_id": FIRST_ID, "brand_id": FIRST_ID,
        "allow_channelback": False, "allow_attachments": True,
    },
    "custom_fields",
)  # fmt: skip
KINDS = {kind.name: kind for kind in (USERS, ORGANIZATIONS, TICKETS)}
CHOICES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "users": {"role": ("end-user", "agent", "admin")},
    "organizations": {},
    "tickets": {
        "priority": ("low", "normal", "high", "urgent"),
        "status": ("new", "open", "pending", "hold", "solved", "closed"),
        "type": ("problem", "incident", "question", "task"),
    },
}
REFERENCES = {
    "organization_id": "organizations", "requester_id": "users", "submitter_id": "users",
    "assignee_id": "users",
}  # fmt: skip

_ADDED: Mapping[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "user": (
        ("customer_id", "text", ()),
        ("orders", "integer", ()),
        ("revenue", "decimal", ()),
        ("lapsed", "checkbox", ()),
        ("last_order", "date", ()),
        ("plan", "dropdown", ("free", "team", "enterprise")),
    ),
    "organization": (("account_id", "text", ()), ("tier", "dropdown", ("gold", "silver"))),
    "ticket": (("product", "tagger", ("web", "mobile")), ("order", "text", ())),
}
_SYSTEM = ("subject", "description", "status", "tickettype", "priority", "group", "assignee")


def add_fields(tables: Tables, stamp: str) -> None:
    """The fields that the account has from its first day on."""
    for one, added in _ADDED.items():
        if len(tables[f"zendesk.{one}_fields"]):
            continue
        if one == "ticket":
            for name in _SYSTEM:
                put_field(tables, one, {"type": name, "title": name.capitalize()}, stamp)
        for key, kind, options in added:
            field: Row = {"key": key, "type": kind, "title": key.replace("_", " ").capitalize()}
            if options:
                field["custom_field_options"] = [{"name": o, "value": o} for o in options]
            put_field(tables, one, field, stamp)


def put_field(tables: Tables, one: str, given: Row, stamp: str) -> Row:
    """Store a field of users, organizations or tickets; returns it."""
    number = tables.next_number("zendesk.field", FIRST_ID)
    title = str(given.get("title") or given.get("key") or "")
    row: Row = {
        "id": number, "type": "text", "title": title, "raw_title": title, "description": "",
        "raw_description": "", "position": number - FIRST_ID, "active": True,
        "regexp_for_validation": None, "created_at": stamp, "updated_at": stamp,
    } | copy.deepcopy(given)  # fmt: skip
    if one == "ticket":
        row.pop("key", None)
        row |= {
            "required": False, "collapsed_for_agents": False, "title_in_portal": title,
            "raw_title_in_portal": title, "visible_in_portal": True, "editable_in_portal": True,
            "required_in_portal": False, "tag": None, "agent_description": None,
            "removable": row["type"] not in _SYSTEM,
        }  # fmt: skip
    for place, option in enumerate(row.get("custom_field_options", [])):
        option.setdefault("id", number * 10 + place)
        option.setdefault("raw_name", option["name"])
    tables.put(f"zendesk.{one}_fields", str(number), row)
    return row
