"""What an object type and a property of the stand-in account are, and short ways to say one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Property:
    """One property. type and fieldType are HubSpot's own words."""

    name: str
    label: str
    type: str = "string"
    field_type: str = "text"
    group: str = "contactinformation"
    description: str = ""
    options: tuple[str, ...] = ()
    unique: bool = False
    read_only: bool = False
    vendor: bool = True
    archived: bool = False


@dataclass(frozen=True, kw_only=True)
class ObjectType:
    """One object type. defaults: properties shown where a request names none."""

    name: str
    singular: str
    type_id: str
    properties: tuple[Property, ...]
    defaults: tuple[str, ...]
    modified: str = "hs_lastmodifieddate"
    created: str = "createdate"
    required: tuple[str, ...] = ()
    custom: bool = False


def text(*names: str, group: str) -> list[Property]:
    return [
        Property(name=n, label=n.replace("_", " ").replace("hs ", "").title(), group=group)
        for n in names
    ]


def enum(name: str, options: Iterable[str], group: str, **more: Any) -> Property:
    return Property(
        name=name, label=name.replace("_", " ").title(), type="enumeration", group=group,
        field_type=more.pop("field_type", "select"), options=tuple(options), **more,
    )  # fmt: skip


def number(name: str, label: str, group: str, *, vendor: bool = True) -> Property:
    return Property(
        name=name, label=label, type="number", field_type="number", group=group, vendor=vendor
    )


def system(group: str, modified: str, created: str = "createdate") -> list[Property]:
    return [
        Property(name="hs_object_id", label="Record ID", type="number", field_type="number",
                 group=group, read_only=True, unique=True),
        *(
            Property(name=name, label=name.replace("_", " ").title(), type="datetime",
                     field_type="date", group=group, read_only=True)
            for name in dict.fromkeys((created, modified, "hs_lastmodifieddate"))
        ),
        Property(name="hs_merged_object_ids", label="Merged record IDs", type="enumeration",
                 field_type="checkbox", group=group, read_only=True),
        enum("hubspot_owner_id", (), group),
    ]  # fmt: skip


def own(name: str, label: str, group: str, type_: str = "string", **more: Any) -> Property:
    field = {"string": "text", "date": "date", "datetime": "date"}.get(type_, "number")
    return Property(
        name=name, label=label, type=type_, field_type=more.pop("field_type", field), group=group,
        vendor=False, **more,
    )  # fmt: skip


def custom_type(type_id: str, row: Mapping[str, Any]) -> ObjectType:
    """A custom object's type from its row in the table of schemas."""
    name = str(row["fullyQualifiedName"])
    required = tuple(row["requiredProperties"])
    made = [Property(**{**p, "options": tuple(p["options"])}) for p in row["properties"]]
    stamps = ("hs_createdate", "hs_lastmodifieddate")
    return ObjectType(
        name=name,
        singular=name,
        type_id=type_id,
        custom=True,
        created=stamps[0],
        properties=(*made, *system(f"{row['name']}_information", stamps[1], stamps[0])),
        defaults=(*required, *stamps, "hs_object_id"),
        required=required,
    )
