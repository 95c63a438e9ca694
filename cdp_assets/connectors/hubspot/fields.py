"""Properties made through the API, in a group of our own and described as written by us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdp_assets.connectors.base import FieldInfo, FieldType, Refused, WrongObject
from cdp_assets.connectors.hubspot.client import HubSpotClient
from cdp_assets.connectors.hubspot.paths import PROPERTIES

GROUP = "cdp"
DESCRIPTION = (
    "Written by the customer data platform (CDP): what is typed in by hand here is overwritten."
)
_TYPES: Mapping[FieldType, tuple[str, str]] = {
    "string": ("string", "text"),
    "text": ("string", "textarea"),
    "boolean": ("bool", "booleancheckbox"),
    "integer": ("number", "number"),
    "decimal": ("number", "number"),
    "date": ("date", "date"),
    "datetime": ("datetime", "date"),
    "enum": ("enumeration", "select"),
    "multi_enum": ("enumeration", "checkbox"),
    "email": ("string", "text"),
    "phone": ("string", "text"),
    "url": ("string", "text"),
}
"""Our word → HubSpot's type and fieldType ("Property type and fieldType values")."""


def create_field(client: HubSpotClient, object_name: str, info: FieldInfo) -> None:
    """Make a property of `object_name`. Raises Refused where it is there already, WrongObject
    where no such property can be made."""
    kind = _TYPES.get(info.type)
    options = info.options or (("true", "false") if info.type == "boolean" else ())
    if kind is None or (kind[0] == "enumeration" and not options):
        why = "has no options" if kind is not None else "is of no type that HubSpot can hold"
        raise WrongObject(
            f"{client.name}: a property {info.name[:80]} of {object_name[:80]} cannot be made: it "
            f"{why}. Not retried. Correct the field."
        )
    what = f"make a property of {object_name}"
    _group(client, object_name, what)
    body: dict[str, Any] = {
        "name": info.name,
        "label": info.label or info.name.replace("_", " ").capitalize(),
        "type": kind[0],
        "fieldType": kind[1],
        "groupName": GROUP,
        "description": DESCRIPTION,
        "hasUniqueValue": info.unique or info.external_id,
        "formField": False,
    }
    if kind[0] in {"enumeration", "bool"}:
        body["options"] = [
            {"label": option, "value": option, "displayOrder": place, "hidden": False}
            for place, option in enumerate(options)
        ]
    client.post(f"{PROPERTIES}/{object_name}", body, what=what, repeatable=False)
    client.forget(object_name)


def _group(client: HubSpotClient, object_name: str, what: str) -> None:
    path = f"{PROPERTIES}/{object_name}/groups"
    try:
        client.get(f"{path}/{GROUP}", what=what)
    except Refused as refused:
        if refused.status != 404:
            raise
        body = {"name": GROUP, "label": "CDP", "displayOrder": -1}
        # Another run may have made it meanwhile.
        client.post(path, body, what=what, accept={409})
