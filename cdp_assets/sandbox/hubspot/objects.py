"""Creating, changing, archiving, merging and showing records by HubSpot's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdp_assets.sandbox.clock import Clock, hubspot_time
from cdp_assets.sandbox.hubspot.associations import Associations
from cdp_assets.sandbox.hubspot.errors import HubSpotError, invalid_values, not_found
from cdp_assets.sandbox.hubspot.schema import ObjectType, Property, Schema
from cdp_assets.sandbox.hubspot.values import BadValue, moves_on, stored
from cdp_assets.sandbox.rows import Rows
from cdp_assets.sandbox.tables import Row, Table, Tables

FIRST_IDS = {
    "contacts": 100_001, "companies": 9_000_001, "deals": 60_000_001, "tickets": 70_000_001,
}  # fmt: skip

HISTORY = "hubspot.history"
_VERSIONS = 20
"""Former values that are kept of a property."""


class Records:
    """The account's records. Methods change the tables but do not commit them.

    A row holds the properties by name, and besides `_created`, `_updated`, `_archived`,
    `_archived_at` and, for one merged away, `_merged_into`.
    """

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self.tables = tables
        self.clock = clock
        self.rows = Rows()
        self.schema = Schema(tables)
        self.associations = Associations(tables)

    def table(self, kind: ObjectType) -> Table:
        """The table of an object type."""
        return self.tables[f"hubspot.{kind.name}"]

    def now(self) -> str:
        """The present moment as records carry it."""
        return hubspot_time(self.clock.now())

    def find(self, kind: ObjectType, value: str, id_property: str | None = None) -> str:
        """The id of the live record with this id or value of a unique property; ids of records
        that were merged away lead to the survivor."""
        if id_property and id_property != "hs_object_id":
            found = self._unique_property(kind, id_property)
            for key in self.table(kind).find(found.name, value):
                if not self.table(kind).rows[key].get("_archived"):
                    return key
            raise not_found()
        key, row = value, self.table(kind).get(value)
        while row is not None and row.get("_merged_into"):
            key = row["_merged_into"]
            row = self.table(kind).get(key)
        if row is None or row.get("_archived"):
            raise not_found()
        return key

    def create(
        self, kind: ObjectType, properties: Mapping[str, Any], to: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """A new record, associated with those of `to`; returns its id."""
        given = self._checked(kind, properties)
        self._check_unique(kind, given, None)
        links = [self._link(kind, link) for link in to]
        missing = [name for name in kind.required if given.get(name) is None]
        if missing:
            raise HubSpotError(
                400, "VALIDATION_ERROR",
                f"Error creating {kind.name.upper()}. Some required properties were not set.",
                context={"properties": missing},
            )  # fmt: skip
        first = FIRST_IDS.get(kind.name, 80_000_000_001)
        key = str(self.tables.next_number(f"hubspot.{kind.name}", first))
        now = self.now()
        row: Row = {"_created": now, "_updated": now}
        if kind.name == "contacts":
            row["lifecyclestage"] = "lead"
        row |= given
        self._put(kind, key, row)
        for other, other_id, numbers in links:
            self.associations.add(kind, key, other, other_id, numbers)
        return key

    def update(self, kind: ObjectType, key: str, properties: Mapping[str, Any]) -> None:
        """Change properties; the record counts as modified even if nothing changes."""
        given = self._checked(kind, properties)
        self._check_unique(kind, given, key)
        row = self.table(kind).rows[key]
        if "lifecyclestage" in given and not moves_on(
            row.get("lifecyclestage"), given["lifecyclestage"]
        ):
            given.pop("lifecyclestage")
        now = self.now()
        self._remember(kind, key, row, given, now)
        self._put(kind, key, row | given | {"_updated": now})

    def archive(self, kind: ObjectType, key: str) -> None:
        """Put a record into the bin. Its modification date stays, as in the real thing."""
        row = self.table(kind).get(key)
        if row is not None and not row.get("_archived"):
            self._put(kind, key, row | {"_archived": True, "_archived_at": self.now()})

    def merge(self, kind: ObjectType, winner: str, loser: str) -> str:
        """Merge `loser` into `winner`: it vanishes, its id leads to the survivor, which takes
        over what it lacks, its associations, and keeps a second e-mail beside its own."""
        winner, loser = self.find(kind, winner), self.find(kind, loser)
        if winner == loser:
            raise HubSpotError(400, "VALIDATION_ERROR", "Cannot merge a record with itself")
        kept, gone = dict(self.table(kind).rows[winner]), self.table(kind).rows[loser]
        before = kept.get("hs_merged_object_ids")
        self._put(kind, loser, gone | {
            "_archived": True, "_archived_at": self.now(), "_merged_into": winner,
        })  # fmt: skip
        for name, value in gone.items():
            if not name.startswith("_") and kept.get(name) is None:
                kept[name] = value
        if gone.get("email") and gone["email"] != kept.get("email"):
            emails = [e for e in str(kept.get("hs_additional_emails") or "").split(";") if e]
            kept["hs_additional_emails"] = ";".join([*emails, gone["email"]])
        texts = (before, gone.get("hs_merged_object_ids"), loser)
        merged = [i for text in texts for i in str(text or "").split(";") if i]
        kept["hs_merged_object_ids"] = ";".join(dict.fromkeys(merged))
        self._put(kind, winner, kept | {"_updated": self.now()})
        self.associations.move(kind, loser, winner)
        return winner

    def _remember(
        self, kind: ObjectType, key: str, before: Row, given: Mapping[str, Any], now: str
    ) -> None:
        """Keep the values that are written over: each with the moment from which it held."""
        place = f"{kind.name}:{key}"
        kept = dict(self.tables[HISTORY].get(place) or {})
        changed = {name: v for name, v in given.items() if v != before.get(name)}
        for name, value in changed.items():
            first = [[before[name], before["_created"]]] if before.get(name) is not None else []
            kept[name] = [[value or "", now], *(kept.get(name) or first)][:_VERSIONS]
        if changed:
            self.tables.put(HISTORY, place, kept)

    def history(self, kind: ObjectType, key: str, names: Sequence[str]) -> Row:
        """The values that properties had, newest first; those that never had one are left out."""
        row, kept = self.table(kind).rows[key], self.tables[HISTORY].get(f"{kind.name}:{key}") or {}
        found: Row = {}
        for name in names:
            there = [[row[name], row["_created"]]] if row.get(name) is not None else []
            if versions := kept.get(name) or there:
                found[name] = [
                    {"value": value, "timestamp": at, "sourceType": "INTEGRATION",
                     "sourceId": "8888", "sourceLabel": "stand-in"}
                    for value, at in versions
                ]  # fmt: skip
        return found

    def shown(
        self, kind: ObjectType, key: str, names: Sequence[str] = (), history: Sequence[str] = ()
    ) -> Row:
        """A record as the API shows it, with the properties named or the usual ones; those that
        do not exist are left out, empty ones are null. history: properties whose former values
        are shown too."""
        row = self.table(kind).rows[key]
        known = self.schema.properties(kind)
        wanted = [name for name in names if name in known] if names else kind.defaults
        properties: Row = {name: row.get(name) for name in wanted}
        properties |= {
            kind.created: row["_created"], "hs_object_id": key, kind.modified: row["_updated"],
        }  # fmt: skip
        body: Row = {
            "id": key,
            "properties": properties,
            "createdAt": row["_created"],
            "updatedAt": row["_updated"],
            "archived": bool(row.get("_archived")),
        }
        if row.get("_archived"):
            body["archivedAt"] = row["_archived_at"]
        if history:
            body["propertiesWithHistory"] = self.history(kind, key, history)
        return body

    def _put(self, kind: ObjectType, key: str, row: Row) -> None:
        self.tables.put(
            f"hubspot.{kind.name}", key, {n: v for n, v in row.items() if v is not None}
        )

    def _checked(self, kind: ObjectType, properties: Mapping[str, Any]) -> Row:
        known = self.schema.properties(kind)
        given: Row = {}
        faults: list[tuple[str, str, str]] = []
        for name, value in properties.items():
            found = known.get(name.lower())
            if found is None:
                faults.append((name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist'))
                continue
            if found.read_only:
                faults.append(
                    (name, "READ_ONLY_VALUE", f'"{name}" is a read only property; its value '
                     "cannot be set.")
                )  # fmt: skip
                continue
            try:
                kept = stored(found, value)
                free = found.type == "string" and not found.unique and found.name != "email"
                given[found.name] = self.rows.kept(kept) if free else kept
            except BadValue as error:
                faults.append((name, error.code, error.message))
        if faults:
            raise invalid_values(faults)
        return given

    def _check_unique(self, kind: ObjectType, given: Row, own: str | None) -> None:
        known = self.schema.properties(kind)
        for name, value in given.items():
            if value is None or not known[name].unique:
                continue
            for key in self.table(kind).find(name, value):
                if key == own or self.table(kind).rows[key].get("_archived"):
                    continue
                if name == "email":
                    raise HubSpotError(
                        409, "CONFLICT", f"Contact already exists. Existing ID: {key}"
                    )
                message = f"{key} already has that value."
                raise HubSpotError(
                    400, "VALIDATION_ERROR", f"Cannot set property {name}. {message}",
                    details=[{
                        "message": message, "code": "CONFLICTING_UNIQUE_VALUE",
                        "context": {"propertyName": [name], "objectId": [key]},
                    }],
                )  # fmt: skip

    def _unique_property(self, kind: ObjectType, name: str) -> Property:
        found = self.schema.properties(kind).get(name)
        if found is None or not found.unique:
            raise HubSpotError(
                400, "VALIDATION_ERROR", f"Property {name} is not a unique property of {kind.name}"
            )
        return found

    def _link(self, kind: ObjectType, link: Mapping[str, Any]) -> tuple[ObjectType, str, list[int]]:
        numbers = [t.get("associationTypeId") for t in link.get("types", ())]
        for other in self.schema.kinds():
            known = {t["typeId"] for t in self.associations.labels(kind, other)}
            if numbers and known >= set(numbers):
                return other, self.find(other, str(link["to"]["id"])), numbers
        raise HubSpotError(400, "VALIDATION_ERROR", f"invalid association types: {numbers}")
