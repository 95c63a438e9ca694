"""Object types of the account: HubSpot's own, and the custom ones that it describes itself."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

TYPE_IDS: Mapping[str, str] = {
    "contacts": "0-1", "companies": "0-2", "deals": "0-3", "tickets": "0-5", "products": "0-7",
    "line_items": "0-8", "quotes": "0-14", "feedback_submissions": "0-19", "tasks": "0-27",
    "notes": "0-46", "meetings": "0-47", "calls": "0-48", "emails": "0-49", "leads": "0-136",
}  # fmt: skip
"""HubSpot's own objects, by the names its paths use ("Object type IDs" of its guide)."""
NAMES = {type_id: name for name, type_id in TYPE_IDS.items()}


class Link(msgspec.Struct, rename="camel"):
    """Two object types whose records may be associated."""

    from_object_type_id: str = ""
    to_object_type_id: str = ""


class _Labels(msgspec.Struct, frozen=True):
    singular: str = ""
    plural: str = ""


class Schema(msgspec.Struct, rename="camel"):
    """A custom object as the account describes it (what we read of it)."""

    name: str
    object_type_id: str = ""
    fully_qualified_name: str = ""
    labels: _Labels = _Labels()
    associations: list[Link] = []

    def answers_to(self, name: str) -> bool:
        """Whether `name` means it: full name, objectTypeId, or the short name, with or without the
        `p_` that HubSpot takes for "of this account"."""
        short = self.name.lower()
        return name.lower() in {
            self.fully_qualified_name.lower(), self.object_type_id, short, f"p_{short}"
        }  # fmt: skip

    def targets(self) -> tuple[str, ...]:
        """HubSpot's own objects that its records may be associated with."""
        found = {
            link.to_object_type_id
            for link in self.associations
            if link.from_object_type_id == self.object_type_id
        }
        return tuple(NAMES[t] for t in sorted(found) if t in NAMES)


class Schemas(msgspec.Struct):
    """All custom objects of the account."""

    results: list[Schema] = []
