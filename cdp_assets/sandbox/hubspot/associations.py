"""Which records belong together. Kept both ways; the first company of a record is its primary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdp_assets.sandbox.hubspot.kinds import ObjectType
from cdp_assets.sandbox.tables import Row, Tables

TABLE = "hubspot.associations"
LABELS = "hubspot.association_types"
"""Types that the account's people made: labels, and those of custom objects."""
_LABELLED = "hubspot.association_labels"
_FIRST_OWN = 1_001
UNLABELED = {
    ("contacts", "companies"): 279, ("companies", "contacts"): 280, ("deals", "companies"): 341,
    ("companies", "deals"): 342, ("tickets", "companies"): 339, ("companies", "tickets"): 340,
    ("deals", "contacts"): 3, ("contacts", "deals"): 4, ("tickets", "contacts"): 16,
    ("contacts", "tickets"): 15, ("contacts", "contacts"): 449, ("companies", "companies"): 450,
    ("deals", "tickets"): 27, ("tickets", "deals"): 28,
    ("contacts", "calls"): 193, ("calls", "contacts"): 194, ("companies", "calls"): 181,
    ("calls", "companies"): 182, ("deals", "calls"): 205, ("calls", "deals"): 206,
    ("tickets", "calls"): 219, ("calls", "tickets"): 220, ("contacts", "emails"): 197,
    ("emails", "contacts"): 198, ("companies", "emails"): 185, ("emails", "companies"): 186,
    ("deals", "emails"): 209, ("emails", "deals"): 210, ("tickets", "emails"): 223,
    ("emails", "tickets"): 224, ("contacts", "meetings"): 199, ("meetings", "contacts"): 200,
    ("companies", "meetings"): 187, ("meetings", "companies"): 188, ("deals", "meetings"): 211,
    ("meetings", "deals"): 212, ("tickets", "meetings"): 225, ("meetings", "tickets"): 226,
    ("contacts", "notes"): 201, ("notes", "contacts"): 202, ("companies", "notes"): 189,
    ("notes", "companies"): 190, ("deals", "notes"): 213, ("notes", "deals"): 214,
    ("tickets", "notes"): 227, ("notes", "tickets"): 228, ("contacts", "tasks"): 203,
    ("tasks", "contacts"): 204, ("companies", "tasks"): 191, ("tasks", "companies"): 192,
    ("deals", "tasks"): 215, ("tasks", "deals"): 216, ("tickets", "tasks"): 229,
    ("tasks", "tickets"): 230, ("contacts", "feedback_submissions"): 97,
    ("feedback_submissions", "contacts"): 98, ("tickets", "feedback_submissions"): 99,
    ("feedback_submissions", "tickets"): 100,
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

    def add(
        self, left: ObjectType, left_id: str, right: ObjectType, right_id: str,
        numbers: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Associate two records. numbers: types of `left` to `right`; own labels are kept."""
        self._add(left.name, left_id, right.name, right_id)
        own = [n for n in numbers if str(n) in self.tables[LABELS].rows]
        if own:
            inverse = {str(row["inverse"]) for n in own if (row := self.tables[LABELS].get(str(n)))}
            self._label(left.name, left_id, right.name, right_id, own)
            self._label(right.name, right_id, left.name, left_id, sorted(map(int, inverse)))

    def _add(self, left: str, left_id: str, right: str, right_id: str) -> None:
        for one, one_id, two, two_id in (
            (left, left_id, right, right_id),
            (right, right_id, left, left_id),
        ):
            before = self.tables[TABLE].get(f"{one}:{one_id}") or {}
            ids = before.get(two, [])
            if two_id not in ids:
                self.tables.put(TABLE, f"{one}:{one_id}", {**before, two: [*ids, two_id]})

    def _label(self, one: str, one_id: str, two: str, two_id: str, numbers: Sequence[int]) -> None:
        key = f"{one}:{one_id}:{two}:{two_id}"
        before = (self.tables[_LABELLED].get(key) or {}).get("types", [])
        self.tables.put(_LABELLED, key, {"types": [*dict.fromkeys([*before, *numbers])]})

    def remove(self, left: ObjectType, left_id: str, right: ObjectType, right_id: str) -> None:
        """End every association of two records."""
        self._remove(left.name, left_id, right.name, right_id)

    def _remove(self, left: str, left_id: str, right: str, right_id: str) -> None:
        for one, one_id, two, two_id in (
            (left, left_id, right, right_id),
            (right, right_id, left, left_id),
        ):
            before = self.tables[TABLE].get(f"{one}:{one_id}") or {}
            ids = [i for i in before.get(two, []) if i != two_id]
            self.tables.put(TABLE, f"{one}:{one_id}", {**before, two: ids})
            key = f"{one}:{one_id}:{two}:{two_id}"
            if self.tables[_LABELLED].get(key) is not None:
                self.tables.put(_LABELLED, key, None)

    def move(self, kind: ObjectType, loser: str, winner: str) -> None:
        """Hand everything that belongs to `loser` to `winner`."""
        row = self.tables[TABLE].get(f"{kind.name}:{loser}") or {}
        for name, ids in row.items():
            for other in list(ids):
                self._add(kind.name, winner, name, other)
                self._remove(kind.name, loser, name, other)

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
        labelled = self.tables[_LABELLED].get(f"{kind.name}:{key}:{other.name}:{other_id}") or {}
        for known in self.labels(kind, other):
            if known["label"] is None or known["typeId"] in labelled.get("types", ()):
                found.append(known)
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

    def labels(self, kind: ObjectType, other: ObjectType) -> list[Row]:
        """The association types that exist between two object types."""
        pair = (kind.name, other.name)
        found = [_type(PRIMARY[pair], "Primary")] if pair in PRIMARY else []
        found += [_type(UNLABELED[pair], None)] if pair in UNLABELED else []
        return found + [
            {"category": "USER_DEFINED", "typeId": int(number), "label": row["label"]}
            for number, row in self.tables[LABELS].rows.items()
            if (row["from"], row["to"]) == pair
        ]

    def add_type(
        self, kind: ObjectType, other: ObjectType, label: str | None, inverse: str | None
    ) -> list[Row]:
        """A type that the account's people make, both ways; without label that of a custom
        object."""
        there, back = (self.tables.next_number(LABELS, _FIRST_OWN) for _ in range(2))
        for number, one, two, text, twin in (
            (there, kind, other, label, back),
            (back, other, kind, inverse or label, there),
        ):
            row = {"from": one.name, "to": two.name, "label": text, "inverse": twin}
            self.tables.put(LABELS, str(number), row)
        return [
            {"category": "USER_DEFINED", "typeId": number, "label": text}
            for number, text in ((there, label), (back, inverse or label))
        ]


def _type(number: int, label: str | None) -> Row:
    return {"category": "HUBSPOT_DEFINED", "typeId": number, "label": label}
