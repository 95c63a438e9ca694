"""How HubSpot's objects read as common entities. One entry an object, nothing else to touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cdp_assets.connectors.base import ObjectMapping, Relation
from cdp_assets.connectors.config import ObjectConfig

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
}


def mapping(config: ObjectConfig) -> ObjectMapping | None:
    """The mapping of a configured object: the built-in one, with what `as` and `fields` add."""
    known = MAPPINGS.get(config.name)
    entity = config.as_ or (known.entity if known else None)
    if entity is None:
        return None
    base = known or _mapping(entity, {})
    relations = list(base.relations)
    if "owner" in config.fields:
        relations = [replace(_OWNER, field=config.fields["owner"])]
    return replace(
        base,
        entity=entity,
        columns={**base.columns, **config.fields},
        identifiers=base.identifiers if known and entity == known.entity else {},
        relations=tuple(relations),
    )
