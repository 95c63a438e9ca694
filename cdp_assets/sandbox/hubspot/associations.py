"""Which records belong together. Kept both ways; the first company of a record is its primary."""

from __future__ import annotations

from typing import Any

from cdp_assets.sandbox.hubspot.schema import TYPES, ObjectType
from cdp_assets.sandbox.tables import Row, Tables

TABLE = "hubspot.associations"
UNLABELED = {
    ("contacts", "companies"): 279, ("companies", "contacts"): 280, ("deals", "companies"): 341,
    ("companies", "deals"): 342, ("tickets", "companies"): 339, ("companies", "tickets"): 340,
    ("deals", "contacts"): 3, ("contacts", "deals"): 4, ("tickets", "contacts"): 16,
    ("contacts", "tickets"): 15, ("contacts", "contacts"): 449, ("companies", "companies"): 450,
    ("deals", "tickets"): 27, ("tickets", "deals"): 28,
}  # fmt: skip
PRIMARY = {
    ("contacts", "companies"): 1, ("companies", "contacts"): 2, ("deals", "companies"): 5,
    ("companies", "deals"): 6, ("tickets", "companies"): 26, ("companies", "tickets"): 25,
}  # fmt: skip


class Associations:
    """Reads and changes associations; changes are on disk after the tables' next commit."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def ids(self, kind: ObjectType, key: str, other: ObjectType) -> list[str]:
        """Ids of the live records of `other` that belong to this record."""
        row = self.tables[TABLE].get(f"{kind.name}:{key}")
        rows = self.tables[f"hubspot.{other.name}"].rows
        return [i for i in (row or {}).get(other.name, ()) if not rows[i].get("_archived")]

    def add(self, left: ObjectType, left_id: str, right: ObjectType, right_id: str) -> None:
        """Associate two records."""
        for one, one_id, two, two_id in (
            (left, left_id, right, right_id),
            (right, right_id, left, left_id),
        ):
            before = self.tables[TABLE].get(f"{one.name}:{one_id}") or {}
            ids = before.get(two.name, [])
            if two_id not in ids:
                row = {**before, two.name: [*ids, two_id]}
                self.tables.put(TABLE, f"{one.name}:{one_id}", row)

    def remove(self, left: ObjectType, left_id: str, right: ObjectType, right_id: str) -> None:
        """End every association of two records."""
        for one, one_id, two, two_id in (
            (left, left_id, right, right_id),
            (right, right_id, left, left_id),
        ):
            before = self.tables[TABLE].get(f"{one.name}:{one_id}") or {}
            ids = [i for i in before.get(two.name, []) if i != two_id]
            self.tables.put(TABLE, f"{one.name}:{one_id}", {**before, two.name: ids})

    def move(self, kind: ObjectType, loser: str, winner: str) -> None:
        """Hand everything that belongs to `loser` to `winner`."""
        row = self.tables[TABLE].get(f"{kind.name}:{loser}") or {}
        for name, ids in row.items():
            for other in list(ids):
                self.add(kind, winner, TYPES[name], other)
                self.remove(kind, loser, TYPES[name], other)

    def types(self, kind: ObjectType, key: str, other: ObjectType, other_id: str) -> list[Row]:
        """The v4 types of one association: {category, typeId, label}."""
        pair = (kind.name, other.name)
        found: list[Row] = []
        if pair in PRIMARY:
            # the company's side of a primary association follows the person's
            child, parent = (kind, other) if other.name == "companies" else (other, kind)
            child_id, parent_id = (key, other_id) if child is kind else (other_id, key)
            if self.ids(child, child_id, parent)[:1] == [parent_id]:
                found.append(_type(PRIMARY[pair], "Primary"))
        if pair in UNLABELED:
            found.append(_type(UNLABELED[pair], None))
        return found

    def shown(self, kind: ObjectType, key: str, names: list[ObjectType]) -> dict[str, Any]:
        """The `associations` member of a record as the v3 API shows it."""
        shown: dict[str, Any] = {}
        for other in names:
            results = []
            for other_id in self.ids(kind, key, other):
                pair = f"{kind.singular}_to_{other.singular}"
                for found in self.types(kind, key, other, other_id):
                    name = pair if found["label"] or (kind.name, other.name) not in PRIMARY else (
                        f"{pair}_unlabeled"
                    )  # fmt: skip
                    results.append({"id": other_id, "type": name})
            if results:
                shown[other.name] = {"results": results}
        return shown


def labels(kind: ObjectType, other: ObjectType) -> list[Row]:
    """The association types that exist between two object types."""
    pair = (kind.name, other.name)
    found = [_type(PRIMARY[pair], "Primary")] if pair in PRIMARY else []
    return found + ([_type(UNLABELED[pair], None)] if pair in UNLABELED else [])


def _type(number: int, label: str | None) -> Row:
    return {"category": "HUBSPOT_DEFINED", "typeId": number, "label": label}
