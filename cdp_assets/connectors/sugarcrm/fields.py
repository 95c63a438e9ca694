"""A module's fields from its metadata ("Vardefs" of the Developer Guide)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cdp_assets.connectors.base import FieldInfo, FieldType, ObjectInfo

SYNC_KEY = "sync_key"
EMAIL = "email1"
OPT_OUT = "email_opt_out"
_FROM_ADDRESSES = frozenset({EMAIL, OPT_OUT, "invalid_email"})
"""Fields that lie in the list of addresses: shown beside it, and written through it."""

PARENT = "parent_"
"""The id of a record's parent stands beside it under this and the parent's module, which says of
which module it is."""
PARENTS = ("Accounts", "Contacts", "Leads", "Opportunities", "Cases")
CONTACT = "contact_id"
LINKED_CONTACT = frozenset({"Calls", "Meetings"})
"""Modules whose records have their contacts behind a link alone."""

_TYPES: Mapping[str, FieldType] = {
    "id": "string", "name": "string", "varchar": "string", "fullname": "string", "char": "string",
    "user_name": "string", "username": "string", "text": "text", "longtext": "text", "html": "text",
    "phone": "phone", "url": "url", "bool": "boolean", "int": "integer", "tinyint": "integer",
    "long": "integer", "decimal": "decimal", "float": "decimal", "double": "decimal",
    "currency": "decimal", "date": "date", "datetime": "datetime", "datetimecombo": "datetime",
    "enum": "enum", "radioenum": "enum", "multienum": "multi_enum", "parent_type": "string",
    "currency_id": "string", "encrypt": "string", "ip": "string",
}  # fmt: skip


class Definition(msgspec.Struct):
    """A field as the metadata define it (what we read of it)."""

    type: str = ""
    name: str = ""
    vname: str = ""
    len: Any = None
    required: Any = False
    readonly: Any = False
    calculated: Any = False
    source: str = ""
    id_name: str = ""
    module: str = ""


def module_info(name: str, definitions: Mapping[str, Definition]) -> ObjectInfo:
    """A module; links and what only names a related record are no fields of it."""
    to = {d.id_name: d.module for d in definitions.values() if d.type == "relate" and d.id_name}
    fields: dict[str, FieldInfo] = {}
    for key, definition in definitions.items():
        kind = _TYPES.get(definition.type)
        if key == EMAIL:
            kind = "email"
        elif key in to:
            kind = "reference"
        if kind is None or (definition.source == "non-db" and key not in _FROM_ADDRESSES):
            continue
        read_only = _truth(definition.readonly) or key == "invalid_email"
        own = key in {SYNC_KEY, "id"}
        # The metadata call the sync key read-only: an endpoint of its own sets it.
        closed = key == "id" or (read_only and key != SYNC_KEY) or _truth(definition.calculated)
        fields[key] = FieldInfo(
            name=key,
            type=kind,
            label=definition.vname.removeprefix("LBL_").replace("_", " ").capitalize(),
            length=_length(definition.len),
            nullable=not _truth(definition.required),
            createable=not closed,
            updateable=not closed,
            unique=own,
            external_id=key == SYNC_KEY,
            calculated=_truth(definition.calculated),
            references=(to[key],) if to.get(key) else (),
        )
    if {"parent_type", "parent_id"} <= fields.keys():
        for module in PARENTS:
            fields[f"{PARENT}{module}"] = _seen(f"{PARENT}{module}", module)
    if name in LINKED_CONTACT:
        fields[CONTACT] = _seen(CONTACT, "Contacts")
    return ObjectInfo(name=name, label=name, fields=fields)


def _seen(name: str, module: str) -> FieldInfo:
    """A field that we read out of others: it can be shown, and neither written nor asked for."""
    return FieldInfo(
        name=name, type="reference", label=name.replace("_", " ").capitalize(), createable=False,
        updateable=False, filterable=False, references=(module,),
    )  # fmt: skip


def with_options(info: ObjectInfo, options: Mapping[str, tuple[str, ...]]) -> ObjectInfo:
    """The module with the values that its list fields may have."""
    fields = {
        name: msgspec.structs.replace(field, options=options[name]) if name in options else field
        for name, field in info.fields.items()
    }
    return msgspec.structs.replace(info, fields=fields)


def _truth(value: Any) -> bool:
    return str(value).lower() in {"1", "true"}


def _length(value: Any) -> int | None:
    text = str(value or "").split(",")[0]
    return int(text) if text.isdigit() else None
