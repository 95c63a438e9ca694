"""The properties API: what an object type can hold, and adding to it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from cdp_assets.sandbox.http import Reply
from cdp_assets.sandbox.hubspot.errors import HubSpotError, not_found
from cdp_assets.sandbox.hubspot.schema import ObjectType, Property, Schema
from cdp_assets.sandbox.tables import Row

_TYPES = ("string", "number", "date", "datetime", "enumeration", "bool")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
GROUPS = "hubspot.property_groups"
_MADE = "2026-01-05T09:00:00.000Z"


class Properties:
    """The handlers of `/crm/v3/properties/<type>`."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def listed(self, kind: ObjectType) -> Reply:
        """All properties."""
        found = self.schema.properties(kind)
        return Reply(body={"results": [shown(p) for p in found.values()]}, rows=len(found))

    def one(self, kind: ObjectType, name: str) -> Reply:
        """One property."""
        return Reply(body=shown(self._found(kind, name)))

    def create(self, kind: ObjectType, body: Row) -> Reply:
        """A new property, as an administrator adds one."""
        made = property_of(body)
        name = made.name
        if name in self.schema.properties(kind):
            raise HubSpotError(
                409, "OBJECT_ALREADY_EXISTS", f'A property named "{name}" already exists.'
            )
        if made.group not in self._groups(kind):
            raise HubSpotError(
                400, "VALIDATION_ERROR", f'the property group "{made.group}" does not exist'
            )
        self.schema.add(kind, made)
        return Reply(201, shown(made))

    def update(self, kind: ObjectType, name: str, body: Row) -> Reply:
        """Change label, description, group or options."""
        found = self._own(kind, name)
        changed = replace(
            found,
            label=str(body.get("label", found.label)),
            description=str(body.get("description", found.description)),
            group=str(body.get("groupName", found.group)),
            options=_options(body) if "options" in body else found.options,
        )
        self.schema.add(kind, changed)
        return Reply(body=shown(changed))

    def archive(self, kind: ObjectType, name: str) -> Reply:
        """Remove a property; its values stay where they are, out of sight."""
        self.schema.add(kind, replace(self._own(kind, name), archived=True))
        return Reply(204)

    def groups(self, kind: ObjectType) -> Reply:
        """The groups that the properties stand in, and those made for them."""
        found = self._groups(kind)
        return Reply(body={"results": [_group(n, t, i) for i, (n, t) in enumerate(found.items())]})

    def group(self, kind: ObjectType, name: str) -> Reply:
        """One group."""
        found = self._groups(kind)
        if name not in found:
            raise not_found()
        return Reply(body=_group(name, found[name], 0))

    def add_group(self, kind: ObjectType, body: Row) -> Reply:
        """A new group."""
        name, label = str(body.get("name") or ""), str(body.get("label") or "")
        if not _NAME.fullmatch(name) or not label:
            raise HubSpotError(400, "VALIDATION_ERROR", "name and label are required")
        if name in self._groups(kind):
            raise HubSpotError(409, "OBJECT_ALREADY_EXISTS", f'A group "{name}" already exists.')
        self.schema.tables.put(GROUPS, f"{kind.name}:{name}", {"label": label})
        return Reply(201, _group(name, label, 0))

    def _groups(self, kind: ObjectType) -> dict[str, str]:
        names = dict.fromkeys(p.group for p in self.schema.properties(kind).values())
        made = self.schema.tables[GROUPS].rows.items()
        own = {k.partition(":")[2]: r["label"] for k, r in made if k.startswith(f"{kind.name}:")}
        return {name: name.title() for name in names} | own

    def _found(self, kind: ObjectType, name: str) -> Property:
        found = self.schema.properties(kind).get(name)
        if found is None:
            raise not_found()
        return found

    def _own(self, kind: ObjectType, name: str) -> Property:
        found = self._found(kind, name)
        if found.vendor:
            raise HubSpotError(400, "VALIDATION_ERROR", f"{name} is defined by HubSpot")
        return found


def shown(found: Property) -> dict[str, Any]:
    """A property as the API shows it."""
    return {
        "name": found.name,
        "label": found.label,
        "type": found.type,
        "fieldType": found.field_type,
        "description": found.description,
        "groupName": found.group,
        "options": [
            {
                "label": option.title(),
                "value": option,
                "description": "",
                "displayOrder": place,
                "hidden": False,
            }
            for place, option in enumerate(found.options)
        ],
        "createdAt": _MADE,
        "updatedAt": _MADE,
        "displayOrder": -1,
        "calculated": False,
        "externalOptions": found.name == "hubspot_owner_id",
        "archived": False,
        "hasUniqueValue": found.unique,
        "hidden": False,
        "hubspotDefined": found.vendor,
        "formField": not found.read_only,
        "modificationMetadata": {
            "archivable": not found.vendor,
            "readOnlyDefinition": found.vendor,
            "readOnlyOptions": found.vendor,
            "readOnlyValue": found.read_only,
        },
    }


def property_of(body: Row, group: str | None = None) -> Property:
    """The property that a request describes. group: the one of a property that names none."""
    needed = ("name", "label", "type", "fieldType", *(() if group else ("groupName",)))
    missing = [name for name in needed if not body.get(name)]
    if missing:
        raise HubSpotError(400, "VALIDATION_ERROR", f"required: {', '.join(missing)}")
    name, type_ = str(body["name"]), str(body["type"])
    if not _NAME.fullmatch(name) or type_ not in _TYPES:
        raise HubSpotError(400, "VALIDATION_ERROR", f"invalid name or type: {name}, {type_}")
    return Property(
        name=name,
        label=str(body["label"]),
        type=type_,
        field_type=str(body["fieldType"]),
        group=str(body.get("groupName") or group),
        description=str(body.get("description") or ""),
        options=_options(body),
        unique=body.get("hasUniqueValue") is True,
        vendor=False,
    )


def _group(name: str, label: str, place: int) -> Row:
    return {"name": name, "label": label, "displayOrder": place, "archived": False}


def _options(body: Row) -> tuple[str, ...]:
    return tuple(str(option["value"]) for option in body.get("options") or ())
