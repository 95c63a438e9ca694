"""Salesforce's describe, in its words and in ours."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cdp_assets.connectors.base import FieldInfo, FieldType, ObjectInfo

COMPOUND = frozenset({"address", "location"})
"""Types whose parts are fields of their own; Bulk refuses them."""
_LEFT_OUT = COMPOUND | {"base64"}
_TYPES: Mapping[str, FieldType] = {
    "id": "string",
    "string": "string",
    "textarea": "text",
    "encryptedstring": "string",
    "combobox": "string",
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "double": "decimal",
    "currency": "decimal",
    "percent": "decimal",
    "date": "date",
    "datetime": "datetime",
    "picklist": "enum",
    "multipicklist": "multi_enum",
    "reference": "reference",
    "email": "email",
    "phone": "phone",
    "url": "url",
}
_CURSORS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")


class _Option(msgspec.Struct, rename="camel"):
    value: str | None = None
    active: bool = True


class SalesforceField(msgspec.Struct, rename="camel"):
    """A field as describe gives it (what we read of it)."""

    name: str
    type: str
    label: str = ""
    length: int = 0
    nillable: bool = True
    createable: bool = False
    updateable: bool = False
    unique: bool = False
    external_id: bool = False
    id_lookup: bool = False
    case_sensitive: bool = False
    calculated: bool = False
    filterable: bool = True
    deprecated_and_hidden: bool = False
    digits: int = 0
    precision: int = 0
    scale: int = 0
    picklist_values: list[_Option] = []
    reference_to: list[str] = []


class SalesforceName(msgspec.Struct, rename="camel"):
    """An object in the org's list of objects."""

    name: str
    queryable: bool = False
    replicateable: bool = False
    deprecated_and_hidden: bool = False
    custom_setting: bool = False
    associate_entity_type: str | None = None


class SalesforceObjects(msgspec.Struct):
    """The org's list of objects."""

    sobjects: list[SalesforceName]


class SalesforceObject(msgspec.Struct, rename="camel"):
    """An object as describe gives it (what we read of it)."""

    name: str
    fields: list[SalesforceField]
    label: str = ""
    queryable: bool = True
    createable: bool = False
    updateable: bool = False
    replicateable: bool = False
    deletable: bool = False

    @property
    def pulled(self) -> list[str]:
        """Fields that a query can name and whose values stand in no other field."""
        return [
            f.name for f in self.fields if f.type not in _LEFT_OUT and not f.deprecated_and_hidden
        ]

    @property
    def cursor(self) -> str | None:
        """The field that moves with each change. SystemModstamp where it can be filtered by:
        users can set LastModifiedDate."""
        usable = {f.name for f in self.fields if f.filterable}
        return next((name for name in _CURSORS if name in usable), None)


def object_info(described: SalesforceObject) -> ObjectInfo:
    """An object in our words."""
    return ObjectInfo(
        name=described.name,
        label=described.label,
        queryable=described.queryable,
        createable=described.createable,
        fields={
            f.name: FieldInfo(
                name=f.name,
                type=_TYPES.get(f.type, "other"),
                label=f.label,
                length=f.length or None,
                nullable=f.nillable,
                createable=f.createable,
                updateable=f.updateable,
                unique=f.unique,
                external_id=f.external_id,
                case_sensitive=f.case_sensitive,
                calculated=f.calculated,
                filterable=f.filterable,
                options=tuple(o.value for o in f.picklist_values if o.active and o.value),
                references=tuple(f.reference_to),
            )
            for f in described.fields
            if f.type not in COMPOUND and not f.deprecated_and_hidden
        },
    )
