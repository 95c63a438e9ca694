"""How Zendesk's objects read as common entities. One entry an object, nothing else to touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cdp_assets.connectors.base import ObjectMapping, Relation
from cdp_assets.connectors.config import ObjectConfig

_STAMPS = {"created_at": "created_at", "changed_at": "updated_at"}

MAPPINGS: Mapping[str, ObjectMapping] = {
    "users": ObjectMapping(
        entity="person",
        columns={
            "name": "name",
            "email": "email",
            "phone": "phone",
            "status": "active",
            "kind": "role",
            **_STAMPS,
        },
        identifiers={"email": ("email",), "phone": ("phone",)},
        relations=(Relation("account", "organization_id", "organizations"),),
        id_field="id",
    ),
    "organizations": ObjectMapping(
        entity="account",
        columns={"name": "name", "domain": "domain", **_STAMPS},
        identifiers={"domain": ("domain",)},
        id_field="id",
    ),
    "tickets": ObjectMapping(
        entity="ticket",
        columns={
            "subject": "subject",
            "status": "status",
            "stage": "status",
            "kind": "type",
            "channel": "channel",
            "priority": "priority",
            "satisfaction": "satisfaction",
            "owner": "assignee_id",
            **_STAMPS,
        },
        relations=(
            Relation("person", "requester_id", "users"),
            Relation("account", "organization_id", "organizations"),
            Relation("owner", "assignee_id", "users"),
        ),
        id_field="id",
    ),
    "ticket_comments": ObjectMapping(
        entity="activity",
        columns={
            # By which way somebody spoke: email, chat, voice, twitter …
            "kind": "channel",
            "owner": "author_id",
            "occurred_at": "created_at",
            "created_at": "created_at",
        },
        relations=(
            Relation("person", "author_id", "users"),
            Relation("ticket", "ticket_id", "tickets"),
        ),
        id_field="id",
    ),
    "satisfaction_ratings": ObjectMapping(
        entity="activity",
        columns={
            "kind": "channel",
            "status": "score",
            "subject": "reason",
            "owner": "assignee_id",
            "occurred_at": "updated_at",
            **_STAMPS,
        },
        relations=(
            Relation("person", "requester_id", "users"),
            Relation("ticket", "ticket_id", "tickets"),
        ),
        id_field="id",
    ),
}

_REFERENCES = {
    "account": "organizations", "person": "users", "ticket": "tickets", "owner": "users"
}  # fmt: skip
"""Names in `fields` that are read as references."""


def mapping(config: ObjectConfig) -> ObjectMapping | None:
    """The mapping of a configured object: the built-in one, with what `as` and `fields` add."""
    known = MAPPINGS.get(config.name)
    entity = config.as_ or (known.entity if known else None)
    if entity is None:
        return None
    base = known or ObjectMapping(entity=entity, columns=_STAMPS, id_field="id")
    relations = {(r.kind, r.field, r.to): r for r in base.relations}
    for name, field in config.fields.items():
        if to := _REFERENCES.get(name):
            relations[(name, field, to)] = Relation(name, field, to)
    return replace(
        base,
        entity=entity,
        columns={**base.columns, **config.fields},
        identifiers=base.identifiers if known and entity == known.entity else {},
        relations=tuple(relations.values()),
    )
