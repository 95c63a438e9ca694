"""How SugarCRM's modules read as common entities. One entry a module, nothing else to touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cdp_assets.connectors.base import ObjectMapping, Relation
from cdp_assets.connectors.config import ObjectConfig
from cdp_assets.connectors.sugarcrm.fields import CONTACT, PARENT

_OWNER = Relation("owner", "assigned_user_id", "Users")
_ACCOUNT = Relation("account", "account_id", "Accounts")
_STAMPS = {"created_at": "date_entered", "changed_at": "date_modified", "owner": "assigned_user_id"}
_PERSON = {
    "first_name": "first_name",
    "last_name": "last_name",
    "email": "email1",
    "phone": "phone_work",
    "title": "title",
    "opt_out": "email_opt_out",
    **_STAMPS,
}
_REACHED = {"email": ("email1",), "phone": ("phone_mobile", "phone_work")}


def _activity(occurred: str) -> ObjectMapping:
    return ObjectMapping(
        entity="activity",
        columns={
            "subject": "name",
            "kind": "_module",
            "status": "status",
            "occurred_at": occurred,
            **_STAMPS,
        },
        relations=(
            Relation("account", f"{PARENT}Accounts", "Accounts"),
            Relation("person", f"{PARENT}Contacts", "Contacts"),
            Relation("person", f"{PARENT}Leads", "Leads"),
            Relation("opportunity", f"{PARENT}Opportunities", "Opportunities"),
            Relation("ticket", f"{PARENT}Cases", "Cases"),
            Relation("person", CONTACT, "Contacts"),
            _OWNER,
        ),
        id_field="id",
    )


MAPPINGS: Mapping[str, ObjectMapping] = {
    "Accounts": ObjectMapping(
        entity="account",
        columns={
            "name": "name",
            "phone": "phone_office",
            "website": "website",
            "email": "email1",
            "kind": "account_type",
            **_STAMPS,
        },
        identifiers={"domain": ("website",)},
        relations=(Relation("parent", "parent_id", "Accounts"), _OWNER),
        id_field="id",
    ),
    "Contacts": ObjectMapping(
        entity="person",
        columns=_PERSON,
        identifiers=_REACHED,
        relations=(_ACCOUNT, _OWNER),
        id_field="id",
    ),
    "Leads": ObjectMapping(
        entity="person",
        columns={**_PERSON, "company": "account_name", "status": "status"},
        identifiers=_REACHED,
        relations=(
            Relation("converted", "contact_id", "Contacts"),
            _ACCOUNT,
            Relation("opportunity", "opportunity_id", "Opportunities"),
            _OWNER,
        ),
        id_field="id",
    ),
    "Opportunities": ObjectMapping(
        entity="opportunity",
        columns={
            "name": "name",
            "stage": "sales_stage",
            "amount": "amount",
            "closed_at": "date_closed",
            **_STAMPS,
        },
        relations=(_ACCOUNT, _OWNER),
        id_field="id",
    ),
    "Cases": ObjectMapping(
        entity="ticket",
        columns={
            "subject": "name",
            "status": "status",
            "kind": "type",
            "priority": "priority",
            "channel": "source",
            **_STAMPS,
        },
        relations=(_ACCOUNT, Relation("person", "primary_contact_id", "Contacts"), _OWNER),
        id_field="id",
    ),
    "Calls": _activity("date_start"),
    "Meetings": _activity("date_start"),
    "Tasks": _activity("date_due"),
    "Notes": _activity("date_entered"),
    "Users": ObjectMapping(
        entity="user",
        columns={
            "first_name": "first_name",
            "last_name": "last_name",
            "email": "email1",
            "title": "title",
            "created_at": "date_entered",
            "changed_at": "date_modified",
        },
        id_field="id",
    ),
}

_REFERENCES = {
    "account": "Accounts", "person": "Contacts", "contact": "Contacts", "lead": "Leads",
    "opportunity": "Opportunities", "ticket": "Cases", "owner": "Users",
}  # fmt: skip
"""Names in `fields` that are read as references."""


def mapping(config: ObjectConfig) -> ObjectMapping | None:
    """The mapping of a configured module: the built-in one, with what `as` and `fields` add."""
    known = MAPPINGS.get(config.name)
    entity = config.as_ or (known.entity if known else None)
    if entity is None:
        return None
    base = known or ObjectMapping(entity=entity, columns=_STAMPS, id_field="id")
    relations = {(r.kind, r.field, r.to): r for r in base.relations}
    for name, field in config.fields.items():
        if to := _REFERENCES.get(name):
            kind = "person" if name in {"contact", "lead"} else name
            relations[(kind, field, to)] = Relation(kind, field, to)
    return replace(
        base,
        entity=entity,
        columns={**base.columns, **config.fields},
        identifiers=base.identifiers if known and entity == known.entity else {},
        relations=tuple(relations.values()),
    )
