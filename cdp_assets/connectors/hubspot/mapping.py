"""How HubSpot's objects read as common entities. One entry an object, nothing else to touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cdp_assets.connectors.base import ObjectMapping, Relation
from cdp_assets.connectors.config import ObjectConfig
from cdp_assets.connectors.hubspot.schemas import TYPE_IDS

_OWNER = Relation("owner", "hubspot_owner_id", "owners")
_STAMPS = {"created_at": "createdate", "changed_at": "hs_lastmodifieddate"}
_KINDS = {
    "companies": "account",
    "contacts": "person",
    "deals": "opportunity",
    "tickets": "ticket",
}

ASSOCIATED: Mapping[str, tuple[str, ...]] = {
    "contacts": ("companies",),
    "companies": (),
    "deals": ("companies", "contacts"),
    "tickets": ("companies", "contacts"),
    **dict.fromkeys(
        ("calls", "emails", "meetings", "notes", "tasks"),
        ("companies", "contacts", "deals", "tickets"),
    ),
    "feedback_submissions": ("contacts", "tickets"),
}
"""Object → objects whose associations are pulled with its records: each pair from one side."""


def _mapping(
    entity: str,
    columns: Mapping[str, str],
    identifiers: Mapping[str, tuple[str, ...]] | None = None,
    relations: tuple[Relation, ...] = (_OWNER,),
) -> ObjectMapping:
    return ObjectMapping(
        entity=entity,
        columns={**_STAMPS, **columns},
        identifiers=identifiers or {},
        relations=relations,
        fields_at=("properties",),
        id_field="hs_object_id",
        associations_at=("associations",),
        association_kinds=_KINDS,
    )


def _activity(**columns: str) -> ObjectMapping:
    """An engagement. Its own moment is `hs_timestamp`, whatever its kind."""
    return _mapping(
        "activity",
        {
            "created_at": "hs_createdate",
            "occurred_at": "hs_timestamp",
            "owner": "hubspot_owner_id",
            **columns,
        },
    )


def _plain(
    entity: str,
    id_field: str,
    columns: Mapping[str, str],
    relations: tuple[Relation, ...] = (),
) -> ObjectMapping:
    """Something that is no CRM object: its fields lie at the top."""
    columns = {"changed_at": columns["created_at"], **columns}
    return ObjectMapping(entity=entity, columns=columns, relations=relations, id_field=id_field)


_CONTACT = Relation("person", "contactId", "contacts")
SPECIAL: Mapping[str, ObjectMapping] = {
    "owners": _plain(
        "user",
        "id",
        {
            "first_name": "firstName",
            "last_name": "lastName",
            "email": "email",
            "kind": "type",
            "created_at": "createdAt",
            "changed_at": "updatedAt",
        },
    ),
    "list_members": _plain(
        "activity",
        "recordKey",
        {
            "subject": "listName",
            "kind": "kind",
            "occurred_at": "membershipTimestamp",
            "created_at": "membershipTimestamp",
        },
        (
            _CONTACT,
            Relation("account", "companyId", "companies"),
            Relation("opportunity", "dealId", "deals"),
        ),
    ),
    "email_events": _plain(
        "activity",
        "id",
        {
            "subject": "subject",
            "kind": "type",
            "status": "category",
            "email": "recipient",
            "occurred_at": "created",
            "created_at": "created",
        },
        (_CONTACT,),
    ),
    "form_submissions": _plain(
        "activity",
        "conversionId",
        {
            "subject": "formName",
            "kind": "kind",
            "email": "email",
            "website": "pageUrl",
            "occurred_at": "submittedAt",
            "created_at": "submittedAt",
        },
        (_CONTACT,),
    ),
}
"""What is no CRM object (see `special`)."""

MAPPINGS: Mapping[str, ObjectMapping] = {
    "contacts": _mapping(
        "person",
        {
            "first_name": "firstname",
            "last_name": "lastname",
            "email": "email",
            "phone": "phone",
            "title": "jobtitle",
            "company": "company",
            "website": "website",
            "stage": "lifecyclestage",
            "status": "hs_lead_status",
            "owner": "hubspot_owner_id",
            "changed_at": "lastmodifieddate",
        },
        {"email": ("email",), "phone": ("mobilephone", "phone")},
    ),
    "companies": _mapping(
        "account",
        {
            "name": "name",
            "domain": "domain",
            "website": "website",
            "phone": "phone",
            "kind": "type",
            "stage": "lifecyclestage",
            "owner": "hubspot_owner_id",
        },
        {"domain": ("domain",)},
        (_OWNER, Relation("parent", "hs_parent_company_id", "companies")),
    ),
    "deals": _mapping(
        "opportunity",
        {
            "name": "dealname",
            "stage": "dealstage",
            "amount": "amount",
            "currency": "deal_currency_code",
            "kind": "dealtype",
            "owner": "hubspot_owner_id",
            "closed_at": "closedate",
            "won_reason": "closed_won_reason",
            "lost_reason": "closed_lost_reason",
        },
    ),
    "tickets": _mapping(
        "ticket",
        {
            "subject": "subject",
            "stage": "hs_pipeline_stage",
            "status": "hs_pipeline_stage",
            "kind": "hs_ticket_category",
            "owner": "hubspot_owner_id",
            "closed_at": "closed_date",
        },
    ),
    "calls": _activity(subject="hs_call_title", kind="hs_call_direction", status="hs_call_status"),
    "emails": _activity(
        subject="hs_email_subject", kind="hs_email_direction", status="hs_email_status"
    ),
    "meetings": _activity(
        subject="hs_meeting_title", kind="hs_activity_type", status="hs_meeting_outcome"
    ),
    "notes": _activity(subject="hs_note_body"),
    "tasks": _activity(subject="hs_task_subject", kind="hs_task_type", status="hs_task_status"),
    "feedback_submissions": _activity(
        subject="hs_survey_name",
        kind="hs_survey_type",
        status="hs_response_group",
        occurred_at="hs_submission_timestamp",
    ),
    **SPECIAL,
}


def mapping(config: ObjectConfig) -> ObjectMapping | None:
    """The mapping of a configured object: the built-in one, with what `as` and `fields` add."""
    known = MAPPINGS.get(config.name)
    entity = config.as_ or (known.entity if known else None)
    if entity is None:
        return None
    base = known or _unknown(config.name, entity)
    relations = list(base.relations)
    if "owner" in config.fields:
        kept = [r for r in relations if r.kind != "owner"]
        relations = [*kept, replace(_OWNER, field=config.fields["owner"])]
    return replace(
        base,
        entity=entity,
        columns={**base.columns, **config.fields},
        identifiers=base.identifiers if known and entity == known.entity else {},
        relations=tuple(relations),
    )


def _unknown(name: str, entity: str) -> ObjectMapping:
    if name == "lists":
        return _plain(entity, "listId", {"name": "name", "created_at": "createdAt"})
    if name.endswith("_history"):
        return _plain(entity, "recordKey", {"created_at": "timestamp"})
    # Custom objects name the moment of their making as engagements do.
    made = "createdate" if name in TYPE_IDS else "hs_createdate"
    return _mapping(entity, {"created_at": made})
