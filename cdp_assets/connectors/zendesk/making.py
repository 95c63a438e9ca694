"""Making fields of users and organizations ("User Fields", "Organization Fields")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdp_assets.connectors.base import FieldInfo, FieldType, WrongObject
from cdp_assets.connectors.zendesk.client import ZendeskClient
from cdp_assets.connectors.zendesk.fields import CUSTOM, WRITTEN

DESCRIPTION = "Written by the customer data platform; changes made here are overwritten."
_TYPES: Mapping[FieldType, str] = {
    "string": "text", "text": "textarea", "boolean": "checkbox", "integer": "integer",
    "decimal": "decimal", "date": "date", "enum": "dropdown", "email": "text", "phone": "text",
    "url": "text",
}  # fmt: skip


def create_field(client: ZendeskClient, object_name: str, info: FieldInfo) -> None:
    """Make a field that is called `custom_` and its key. Raises Refused where it is there already,
    WrongObject where no such field can be made."""
    kind = _TYPES.get(info.type)
    key = info.name.removeprefix(CUSTOM)
    why = ""
    if object_name not in {"users", "organizations"}:
        why = "fields of users and organizations alone have names of their own"
    elif key == info.name or not key.isidentifier():
        why = f"its name must be `{CUSTOM}` and a key of letters, digits and underscores"
    elif kind is None or (kind == "dropdown" and not info.options):
        why = f"Zendesk has no field that holds {info.type}" if kind is None else "has no options"
    if why:
        raise WrongObject(
            f"{client.name}: a field {info.name[:80]} of {object_name[:80]} cannot be made: {why}. "
            "Not retried. Correct the field."
        )
    one = f"{WRITTEN[object_name]}_field"
    body: dict[str, Any] = {
        "key": key,
        "type": kind,
        "title": info.label or key.replace("_", " ").capitalize(),
        "description": DESCRIPTION,
    }
    if kind == "dropdown":
        body["custom_field_options"] = [{"name": o, "value": o} for o in info.options]
    what = f"make a field of {object_name}"
    client.send("POST", f"/{one}s.json", {one: body}, what=what, repeatable=False)
    client.forget(object_name)
