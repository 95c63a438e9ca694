"""How Salesforce's objects read as common entities. One entry an object, nothing else to touch."""

from __future__ import annotations

from collections.abc import Mapping

from cdp_assets.connectors.base import ObjectMapping, Relation
from cdp_assets.connectors.config import ObjectConfig

_OWNER = Relation("owner", "OwnerId", "User")
_STAMPS = {"created_at": "CreatedDate", "changed_at": "SystemModstamp"}
_ACTIVITY = (
    Relation("account", "AccountId", "Account"),
    Relation("person", "WhoId", "Contact", prefix="003"),
    Relation("person", "WhoId", "Lead", prefix="00Q"),
    Relation("opportunity", "WhatId", "Opportunity", prefix="006"),
    _OWNER,
)


def _history(kind: str, name: str, key: str = "") -> ObjectMapping:
    """Changes of the fields that the org tracks: one record a change. It has no other stamp than
    that of its making, since nothing changes it."""
    return ObjectMapping(
        entity="change",
        columns={
            "subject": "Field",
            "kind": "DataType",
            "before": "OldValue",
            "after": "NewValue",
            "owner": "CreatedById",
            "occurred_at": "CreatedDate",
            "created_at": "CreatedDate",
            "changed_at": "CreatedDate",
        },
        relations=(Relation(kind, key or f"{name}Id", name),),
    )


MAPPINGS: Mapping[str, ObjectMapping] = {
    "Account": ObjectMapping(
        entity="account",
        columns={
            "name": "Name",
            "phone": "Phone",
            "website": "Website",
            "kind": "Type",
            "owner": "OwnerId",
            **_STAMPS,
        },
        identifiers={"domain": ("Website",)},
        relations=(Relation("parent", "ParentId", "Account"), _OWNER),
    ),
    "Contact": ObjectMapping(
        entity="person",
        columns={
            "name": "Name",
            "first_name": "FirstName",
            "last_name": "LastName",
            "email": "Email",
            "phone": "Phone",
            "title": "Title",
            "owner": "OwnerId",
            **_STAMPS,
        },
        identifiers={"email": ("Email",), "phone": ("MobilePhone", "Phone")},
        relations=(
            Relation("account", "AccountId", "Account"),
            Relation("reports_to", "ReportsToId", "Contact"),
            _OWNER,
        ),
    ),
    "Lead": ObjectMapping(
        entity="person",
        columns={
            "name": "Name",
            "first_name": "FirstName",
            "last_name": "LastName",
            "email": "Email",
            "phone": "Phone",
            "title": "Title",
            "company": "Company",
            "website": "Website",
            "status": "Status",
            "owner": "OwnerId",
            **_STAMPS,
        },
        identifiers={"email": ("Email",), "phone": ("MobilePhone", "Phone")},
        relations=(
            Relation("converted", "ConvertedContactId", "Contact"),
            Relation("account", "ConvertedAccountId", "Account"),
            Relation("opportunity", "ConvertedOpportunityId", "Opportunity"),
            _OWNER,
        ),
    ),
    "Opportunity": ObjectMapping(
        entity="opportunity",
        columns={
            "name": "Name",
            "stage": "StageName",
            "amount": "Amount",
            "currency": "CurrencyIsoCode",
            "kind": "Type",
            "owner": "OwnerId",
            "closed_at": "CloseDate",
            **_STAMPS,
        },
        relations=(
            Relation("account", "AccountId", "Account"),
            Relation("person", "ContactId", "Contact"),
            _OWNER,
        ),
    ),
    "Case": ObjectMapping(
        entity="ticket",
        columns={
            "subject": "Subject",
            "status": "Status",
            "kind": "Type",
            "owner": "OwnerId",
            "closed_at": "ClosedDate",
            **_STAMPS,
        },
        relations=(
            Relation("account", "AccountId", "Account"),
            Relation("person", "ContactId", "Contact"),
            _OWNER,
        ),
    ),
    "Task": ObjectMapping(
        entity="activity",
        columns={
            "subject": "Subject",
            "status": "Status",
            "kind": "TaskSubtype",
            "owner": "OwnerId",
            "occurred_at": "ActivityDate",
            "closed_at": "CompletedDateTime",
            **_STAMPS,
        },
        relations=_ACTIVITY,
    ),
    "Event": ObjectMapping(
        entity="activity",
        columns={
            "subject": "Subject",
            "kind": "EventSubtype",
            "owner": "OwnerId",
            "occurred_at": "ActivityDateTime",
            **_STAMPS,
        },
        relations=_ACTIVITY,
    ),
    "EmailMessage": ObjectMapping(
        entity="activity",
        columns={
            "subject": "Subject",
            "status": "Status",
            "email": "FromAddress",
            "owner": "CreatedById",
            "occurred_at": "MessageDate",
            **_STAMPS,
        },
        relations=(
            Relation("ticket", "ParentId", "Case"),
            Relation("account", "RelatedToId", "Account", prefix="001"),
            Relation("opportunity", "RelatedToId", "Opportunity", prefix="006"),
            Relation("activity", "ActivityId", "Task"),
        ),
    ),
    "CaseComment": ObjectMapping(
        entity="activity",
        columns={
            "subject": "CommentBody",
            "owner": "CreatedById",
            "occurred_at": "CreatedDate",
            **_STAMPS,
        },
        relations=(Relation("ticket", "ParentId", "Case"),),
    ),
    "Campaign": ObjectMapping(
        entity="activity",
        columns={
            "name": "Name",
            "kind": "Type",
            "status": "Status",
            "owner": "OwnerId",
            "occurred_at": "StartDate",
            "closed_at": "EndDate",
            **_STAMPS,
        },
        relations=(Relation("parent", "ParentId", "Campaign"), _OWNER),
    ),
    "CampaignMember": ObjectMapping(
        entity="activity",
        columns={
            "kind": "Type",
            "status": "Status",
            "owner": "CreatedById",
            "occurred_at": "CreatedDate",
            "closed_at": "FirstRespondedDate",
            **_STAMPS,
        },
        relations=(
            Relation("campaign", "CampaignId", "Campaign"),
            # A lead's member that was converted names the contact too: that one counts.
            Relation("person", "ContactId", "Contact"),
            Relation("person", "LeadId", "Lead", primary=False),
        ),
    ),
    "OpportunityContactRole": ObjectMapping(
        entity="activity",
        columns={"kind": "Role", "occurred_at": "CreatedDate", **_STAMPS},
        relations=(
            Relation("opportunity", "OpportunityId", "Opportunity"),
            Relation("person", "ContactId", "Contact"),
        ),
    ),
    "ContactHistory": _history("person", "Contact"),
    "LeadHistory": _history("person", "Lead"),
    "AccountHistory": _history("account", "Account"),
    "CaseHistory": _history("ticket", "Case"),
    "OpportunityFieldHistory": _history("opportunity", "Opportunity"),
    "OpportunityHistory": ObjectMapping(
        entity="change",
        columns={
            "stage": "StageName",
            "amount": "Amount",
            "closed_at": "CloseDate",
            "owner": "CreatedById",
            "occurred_at": "CreatedDate",
            **_STAMPS,
        },
        relations=(Relation("opportunity", "OpportunityId", "Opportunity"),),
    ),
    "Product2": ObjectMapping(
        entity="product", columns={"name": "Name", "kind": "Family", **_STAMPS}
    ),
    "User": ObjectMapping(
        entity="user",
        columns={
            "name": "Name",
            "first_name": "FirstName",
            "last_name": "LastName",
            "email": "Email",
            "title": "Title",
            **_STAMPS,
        },
    ),
}

_REFERENCES = {
    "account": "Account",
    "person": "Contact",
    "contact": "Contact",
    "lead": "Lead",
    "opportunity": "Opportunity",
    "ticket": "Case",
    "owner": "User",
    "product": "Product2",
}
"""Names in `fields` that are read as references."""


def mapping(config: ObjectConfig) -> ObjectMapping | None:
    """The mapping of a configured object: the built-in one, with what `as` and `fields` add."""
    known = MAPPINGS.get(config.name)
    if known is None and config.name.endswith("__History"):
        # Of a custom object's tracked fields: `Subscription__History`, of `Subscription__c`.
        known = _history("parent", f"{config.name.removesuffix('__History')}__c", "ParentId")
    entity = config.as_ or (known.entity if known else None)
    if entity is None:
        return None
    relations = {(r.kind, r.field, r.to): r for r in (known.relations if known else ())}
    for name, field in config.fields.items():
        if name in _REFERENCES:
            kind = "person" if name in {"contact", "lead"} else name
            relation = Relation(kind, field, _REFERENCES[name])
            relations[(kind, field, relation.to)] = relation
    return ObjectMapping(
        entity=entity,
        columns={**(known.columns if known else _STAMPS), **config.fields},
        identifiers=known.identifiers if known and entity == known.entity else {},
        relations=tuple(relations.values()),
    )
