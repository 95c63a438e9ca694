"""The fields of Zendesk's objects: those that all accounts have, and those that one added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from cdp_assets.connectors.base import FieldInfo, FieldType, ObjectInfo

CUSTOM = "custom_"
"""A field that the account added is called by its key (of a ticket: its id) behind this, so that
no field of Zendesk's own can ever have its name."""


class AddedField(msgspec.Struct):
    """A field of users, organizations or tickets as the account describes it."""

    class Option(msgspec.Struct):
        """One choice."""

        value: str = ""

    id: int
    type: str
    title: str = ""
    key: str | None = None
    active: bool = True
    custom_field_options: list[Option] = []
    relationship_target_type: str | None = None


def _text(
    name: str, kind: FieldType = "string", *, create: bool = True, update: bool = True,
    unique: bool = False, options: Sequence[str] = (), to: str = "",
) -> FieldInfo:  # fmt: skip
    return FieldInfo(
        name=name,
        type=kind,
        label=name.replace("_", " ").capitalize(),
        createable=create,
        updateable=update,
        unique=unique,
        external_id=unique,
        options=tuple(options),
        references=(to,) if to else (),
    )


def _shown(name: str, kind: FieldType = "string", to: str = "") -> FieldInfo:
    return _text(name, kind, create=False, update=False, to=to)


_STAMPS = (_shown("created_at", "datetime"), _shown("updated_at", "datetime"))
_ID = FieldInfo(name="id", type="integer", label="Id", createable=False, updateable=False,
                unique=True)  # fmt: skip
# Tags of others must survive: they are put on and taken off by lists, and set only with a new one.
_TAGS = _text("tags", "multi_enum", update=False)

STANDARD: Mapping[str, tuple[FieldInfo, ...]] = {
    "users": (
        _ID,
        _text("name"),
        # On update Zendesk adds an address beside the first one instead of changing it.
        _text("email", "email", update=False, unique=True),
        _text("external_id", unique=True),
        _text("phone", "phone"),
        _text("role", "enum", options=("end-user", "agent", "admin")),
        _text("organization_id", "reference", to="organizations"),
        _text("details", "text"),
        _text("notes", "text"),
        _text("alias"),
        _text("time_zone"),
        _text("locale"),
        _text("suspended", "boolean"),
        _text("verified", "boolean"),
        _TAGS,
        _shown("active", "boolean"),
        _shown("last_login_at", "datetime"),
        *_STAMPS,
    ),
    "organizations": (
        _ID,
        _text("name"),
        _text("external_id", unique=True),
        _text("details", "text"),
        _text("notes", "text"),
        _text("domain_names", "multi_enum"),
        _text("shared_tickets", "boolean"),
        _text("shared_comments", "boolean"),
        _TAGS,
        _shown("domain"),
        *_STAMPS,
    ),
    "tickets": (
        _ID,
        _text("subject"),
        _text("description", "text", update=False),
        _text("status", "enum", options=("new", "open", "pending", "hold", "solved", "closed")),
        _text("priority", "enum", options=("low", "normal", "high", "urgent")),
        _text("type", "enum", options=("problem", "incident", "question", "task")),
        _text("external_id"),
        _text("requester_id", "reference", to="users"),
        _text("assignee_id", "reference", to="users"),
        _text("organization_id", "reference", to="organizations"),
        _text("group_id", "integer"),
        _text("due_at", "datetime"),
        _TAGS,
        _shown("channel"),
        _shown("satisfaction"),
        *_STAMPS,
    ),
    "ticket_comments": (
        _ID,
        _shown("ticket_id", "reference", "tickets"),
        _shown("author_id", "reference", "users"),
        _shown("body", "text"),
        _shown("public", "boolean"),
        _shown("channel"),
        _shown("created_at", "datetime"),
    ),
    "ticket_events": (
        _ID,
        _shown("ticket_id", "reference", "tickets"),
        _shown("updater_id", "reference", "users"),
        _shown("channel"),
        _shown("created_at", "datetime"),
    ),
    "satisfaction_ratings": (
        _ID,
        _shown("ticket_id", "reference", "tickets"),
        _shown("requester_id", "reference", "users"),
        _shown("assignee_id", "reference", "users"),
        _shown("score"),
        _shown("comment", "text"),
        _shown("reason", "text"),
        *_STAMPS,
    ),
}
"""Object → the fields that every account has. "Users", "Organizations", "Tickets", "Ticket
Comments", "Incremental Exports", "Satisfaction Ratings" of the Support API."""

WRITTEN: Mapping[str, str] = {
    "users": "user", "organizations": "organization", "tickets": "ticket"
}  # fmt: skip
"""Objects that can be written, with the name that one of them has in a request."""

_TYPES: Mapping[str, FieldType] = {
    "text": "string", "textarea": "text", "checkbox": "boolean", "date": "date",
    "integer": "integer", "decimal": "decimal", "dropdown": "enum", "tagger": "enum",
    "multiselect": "multi_enum", "regexp": "string", "partialcreditcard": "string",
    "lookup": "reference",
}  # fmt: skip


def object_info(name: str, added: Sequence[AddedField]) -> ObjectInfo:
    """An object with its own fields and those that the account added and still uses."""
    fields = {info.name: info for info in STANDARD[name]}
    for field in added:
        kind = _TYPES.get(field.type)
        # A ticket's system fields are listed beside the added ones, under types of their own.
        if kind is None or not field.active:
            continue
        target = (field.relationship_target_type or "").removeprefix("zen:")
        own = f"{CUSTOM}{field.key or field.id}"
        fields[own] = FieldInfo(
            name=own,
            type=kind,
            label=field.title,
            options=tuple(o.value for o in field.custom_field_options if o.value),
            references=(f"{target}s",) if target else (),
        )
    return ObjectInfo(name=name, label=name, fields=fields, createable=name in WRITTEN)
