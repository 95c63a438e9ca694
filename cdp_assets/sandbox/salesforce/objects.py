"""Creating, changing, deleting and merging records by Salesforce's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from cdp_assets.sandbox.clock import Clock, salesforce_time
from cdp_assets.sandbox.rows import Rows
from cdp_assets.sandbox.salesforce.activities import TRACKED
from cdp_assets.sandbox.salesforce.errors import SalesforceError, not_found
from cdp_assets.sandbox.salesforce.fields import Field, SObject
from cdp_assets.sandbox.salesforce.ids import full_id, make_id
from cdp_assets.sandbox.salesforce.schema import OBJECTS
from cdp_assets.sandbox.salesforce.values import stored
from cdp_assets.sandbox.tables import Row, Table, Tables

_API_USER = make_id("005", 1)
_DATA_TYPES = {
    "currency": "Currency", "date": "DateOnly", "reference": "EntityId", "boolean": "Boolean",
    "picklist": "DynamicEnum",
}  # fmt: skip


class Objects:
    """The org's records. Methods change the tables but do not commit them."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self.tables = tables
        self.clock = clock
        self.rows = Rows()
        self.fields_told = True
        """Whether the error of a bad reference names its field; it does not always."""
        self.locks: dict[str, int] = {}
        """Records that somebody else holds, and how many writes of them or of their children are
        refused before they are let go."""
        self.duplicate_rule: Literal["off", "warn", "block"] = "off"
        """What is done with a Contact or Lead whose e-mail address another one has."""
        self.allow_save = False
        """Whether the present request says `allowSave=true`."""

    def spec(self, name: str) -> SObject:
        """The object of this name; NOT_FOUND where there is none."""
        spec = OBJECTS.get(name.lower())
        if spec is None:
            raise not_found()
        return spec

    def table(self, spec: SObject) -> Table:
        """The table of an object."""
        return self.tables[f"salesforce.{spec.name}"]

    def live(self, spec: SObject, key: str) -> Row:
        """The record of this id; refused where it never was or is deleted."""
        full = full_id(key)
        row = self.table(spec).get(full) if full else None
        if row is None:
            raise SalesforceError(
                404,
                "NOT_FOUND",
                f"Provided external ID field does not exist or is not accessible: {key}",
            )
        if row.get("IsDeleted"):
            raise SalesforceError(404, "ENTITY_IS_DELETED", "entity is deleted", [])
        return row

    def external_field(self, spec: SObject, name: str) -> Field:
        """The field of this name, if records can be found by it."""
        field = spec.by_name.get(name.lower())
        if field is None or not (field.external_id or field.id_lookup):
            raise SalesforceError(
                404,
                "NOT_FOUND",
                f"Provided external ID field does not exist or is not accessible: {name}",
            )
        return field

    def by_external_id(self, spec: SObject, field: Field, value: str) -> list[Row]:
        """Live records whose external id is `value`, without regard to case."""
        table = self.table(spec)
        keys = [full_id(value) or ""] if field.type == "id" else table.find(field.name, value)
        rows = [row for key in keys if (row := table.get(key)) is not None]
        return [row for row in rows if not row.get("IsDeleted")]

    def create(self, spec: SObject, fields: Mapping[str, Any]) -> str:
        """A new record; returns its id."""
        self._writable(spec)
        if fields.get("Id") is not None:
            raise SalesforceError(
                400, "INVALID_FIELD", "cannot specify Id in an insert call", ["Id"]
            )
        given = self._checked(spec, fields, creating=True)
        missing = [f.name for f in spec.required if given.get(f.name) is None]
        if missing:
            raise SalesforceError(
                400,
                "REQUIRED_FIELD_MISSING",
                f"Required fields are missing: [{', '.join(missing)}]",
                missing,
            )
        self._unique(spec, given, None)
        self._once(spec, given)
        self._locked(spec, given, None)
        self._refused()
        self._duplicates(spec, given)
        key = make_id(spec.prefix, self.tables.next_number(f"salesforce.{spec.name}"))
        now = salesforce_time(self.clock.now())
        row: Row = {f.name: f.default for f in spec.fields if f.default is not None}
        row |= {
            "Id": key, "OwnerId": _API_USER, "CreatedDate": now, "CreatedById": _API_USER,
            "LastModifiedDate": now, "LastModifiedById": _API_USER, "SystemModstamp": now,
        }  # fmt: skip
        self._store(spec, key, row | given)
        self._history(spec, key, "created", None, None)
        return key

    def update(self, spec: SObject, key: str, fields: Mapping[str, Any]) -> None:
        """Change fields of a record. As in the real thing every call moves its stamps, even one
        that changes nothing."""
        self._writable(spec)
        row = self.live(spec, key)
        given = self._checked(spec, fields, creating=False)
        empty = [
            f.name
            for f in spec.fields
            if f.name in given and given[f.name] is None and not f.nillable
        ]
        if empty:
            raise SalesforceError(
                400,
                "REQUIRED_FIELD_MISSING",
                f"Required fields are missing: [{', '.join(empty)}]",
                empty,
            )
        if row.get("IsConverted"):
            raise SalesforceError(
                400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", []
            )
        self._unique(spec, given, row["Id"])
        self._locked(spec, row | given, row["Id"])
        self._refused()
        self._store(spec, row["Id"], row | given | self._stamp())
        for name in TRACKED[spec.name][1] if spec.name in TRACKED else ():
            if name in given and given[name] != row.get(name):
                self._history(spec, row["Id"], name, row.get(name), given[name])

    def undelete(self, spec: SObject, key: str) -> None:
        """Take a record out of the recycle bin, as people do in the user interface."""
        full = full_id(key)
        row = self.table(spec).get(full) if full else None
        if row is None or not row.get("IsDeleted") or row.get("MasterRecordId"):
            raise SalesforceError(400, "UNDELETE_FAILED", "Entity is not in the recycle bin", [])
        self._store(spec, row["Id"], row | {"IsDeleted": False} | self._stamp())

    def delete(self, spec: SObject, key: str) -> None:
        """Put a record into the recycle bin."""
        self._writable(spec)
        row = self.live(spec, key)
        self._store(spec, row["Id"], row | {"IsDeleted": True} | self._stamp())

    def merge(self, spec: SObject, master: str, losers: Sequence[str]) -> None:
        """Merge up to two records into `master`, as people do in the user interface: the losers
        are deleted and name it in MasterRecordId, empty fields of it take their values, what
        pointed at them points at it."""
        if not spec.mergeable or not 1 <= len(losers) <= 2:
            raise SalesforceError(400, "INVALID_OPERATION", "entity type cannot be merged", [])
        winner = dict(self.live(spec, master))
        for loser in losers:
            row = self.live(spec, loser)
            gone = row | {"IsDeleted": True, "MasterRecordId": winner["Id"]} | self._stamp()
            self._store(spec, row["Id"], gone)
            for field in spec.fields:
                if field.updateable and winner.get(field.name) is None and row.get(field.name):
                    winner[field.name] = row[field.name]
            self._repoint(spec, row["Id"], winner["Id"])
        self._store(spec, winner["Id"], winner | self._stamp())

    def convert(self, lead: str, contact: str, account: str | None) -> None:
        """Mark a Lead as converted into this Contact, as people do in the user interface."""
        row = self.live(OBJECTS["lead"], lead)
        changes: Row = {
            "IsConverted": True, "Status": "Closed - Converted", "ConvertedContactId": contact,
            "ConvertedAccountId": account, "ConvertedDate": self.clock.now().date().isoformat(),
        }  # fmt: skip
        self._store(OBJECTS["lead"], row["Id"], row | changes | self._stamp())

    def _repoint(self, spec: SObject, old: str, new: str) -> None:
        for other in OBJECTS.values():
            for field in other.fields:
                if spec.name not in field.references or field.name == "MasterRecordId":
                    continue
                for key in self.table(other).find(field.name, old):
                    row = self.table(other).rows[key]
                    if row.get(field.name) == old and not row.get("IsDeleted"):
                        self._store(other, key, row | {field.name: new} | self._stamp())

    def _stamp(self) -> Row:
        now = salesforce_time(self.clock.now())
        return {"LastModifiedDate": now, "LastModifiedById": _API_USER, "SystemModstamp": now}

    def _writable(self, spec: SObject) -> None:
        if not spec.writable:
            raise SalesforceError(
                400,
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                f"entity type cannot be written here: {spec.name}",
                [],
            )

    def _checked(self, spec: SObject, fields: Mapping[str, Any], *, creating: bool) -> Row:
        given: Row = {}
        for name, value in fields.items():
            if name == "attributes" or (name == "Id" and value is None):
                continue
            field = spec.by_name.get(name.lower())
            if field is None:
                given |= self._by_relationship(spec, name, value)
                continue
            if not (field.createable if creating else field.updateable):
                raise SalesforceError(
                    400,
                    "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {field.name}. Please check the security "
                    "settings of this field and verify that it is read/write for your profile or "
                    "permission set.",
                    [field.name],
                )
            try:
                kept = stored(field, value, self.tables)
            except SalesforceError as error:
                if field.references and not self.fields_told:
                    error.fields = []
                raise
            free = field.type in ("string", "textarea") and not (field.external_id or field.unique)
            given[field.name] = self.rows.kept(kept) if free else kept
        return given

    def _by_relationship(self, spec: SObject, name: str, value: Any) -> Row:
        """`{"Account": {"Workspace_Id__c": "ws_1"}}`: a reference named by an external id."""
        link = spec.by_relationship.get(name.lower())
        if link is None or not isinstance(value, dict):
            raise SalesforceError(
                400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {spec.name}"
            )
        wanted = {k: v for k, v in value.items() if k != "attributes"}
        target = self.spec(link.references[0])
        if len(wanted) != 1:
            raise SalesforceError(400, "INVALID_FIELD", f"{name}: exactly one external id expected")
        field_name, external = next(iter(wanted.items()))
        rows = self.by_external_id(target, self.external_field(target, field_name), str(external))
        if len(rows) != 1:
            raise SalesforceError(
                400,
                "INVALID_FIELD",
                f"Foreign key external ID: {external} not found for field {field_name} in entity "
                f"{target.name}",
            )
        return {link.name: rows[0]["Id"]}

    def _unique(self, spec: SObject, given: Row, own: str | None) -> None:
        for field in spec.fields:
            value = given.get(field.name)
            if not field.unique or value is None:
                continue
            for row in self.by_external_id(spec, field, str(value)):
                if row["Id"] != own:
                    raise SalesforceError(
                        400,
                        "DUPLICATE_VALUE",
                        f"duplicate value found: {field.name} duplicates value on record with id: "
                        f"{row['Id']}",
                        [],
                    )

    def _locked(self, spec: SObject, row: Row, own: str | None) -> None:
        """Writing a child locks its parents."""
        keys = {row.get(field.name) for field in spec.fields if field.references} | {own}
        for key in keys & self.locks.keys():
            assert key is not None
            self.locks[key] -= 1
            if self.locks[key] <= 0:
                del self.locks[key]
            raise SalesforceError(
                400,
                "UNABLE_TO_LOCK_ROW",
                "unable to obtain exclusive access to this record or 1 records: " + key,
                [],
            )

    def _refused(self) -> None:
        if (code := self.rows.refusal()) is not None:
            raise SalesforceError(400, code, f"refused by order: {code}", [])

    def _once(self, spec: SObject, given: Row) -> None:
        if not spec.once:
            return
        for key in self.table(spec).find(spec.once[0], given.get(spec.once[0])):
            row = self.table(spec).rows[key]
            if not row.get("IsDeleted") and all(row.get(n) == given.get(n) for n in spec.once):
                message = f"Already a {spec.label.lower()}."
                raise SalesforceError(400, "DUPLICATE_VALUE", message, [])

    def _history(self, spec: SObject, key: str, name: str, old: Any, new: Any) -> None:
        if spec.name not in TRACKED:
            return
        history = TRACKED[spec.name][0]
        own = make_id(history.prefix, self.tables.next_number(f"salesforce.{history.name}"))
        field = spec.by_name.get(name.lower())
        row: Row = {
            "Id": own, "IsDeleted": False, f"{spec.name}Id": key, "Field": name,
            "DataType": _DATA_TYPES.get(field.type, "Text") if field else "Text",
            "OldValue": old, "NewValue": new, "CreatedById": _API_USER,
            "CreatedDate": salesforce_time(self.clock.now()),
        }  # fmt: skip
        self.tables.put(f"salesforce.{history.name}", own, row)

    def _duplicates(self, spec: SObject, given: Row) -> None:
        email = given.get("Email")
        if self.duplicate_rule == "off" or not email or spec.name not in ("Contact", "Lead"):
            return
        if self.duplicate_rule == "warn" and self.allow_save:
            return
        found = self.by_external_id(spec, spec.by_name["email"], str(email))
        if found:
            raise SalesforceError(
                400,
                "DUPLICATES_DETECTED",
                "Use one of these records?",
                [],
                {
                    "allowSave": self.duplicate_rule == "warn",
                    "duplicateRule": f"Standard_{spec.name}_Duplicate_Rule",
                    "duplicateRuleEntityType": spec.name,
                    "errorMessage": "Use one of these records?",
                    "matchResults": [_match(spec, found)],
                },
            )

    def _store(self, spec: SObject, key: str, row: Row) -> None:
        if "firstname" in spec.by_name and spec.name != "User":
            row["Name"] = " ".join(p for p in (row.get("FirstName"), row.get("LastName")) if p)
        if spec.name == "Task":
            row["IsClosed"] = row.get("Status") == "Completed"
        if spec.name == "Opportunity":
            stage = str(row.get("StageName"))
            row["IsClosed"], row["IsWon"] = stage.startswith("Closed"), stage == "Closed Won"
        self.tables.put(f"salesforce.{spec.name}", key, row)


def _match(spec: SObject, found: Sequence[Row]) -> Row:
    records = [
        {
            "additionalInformation": [],
            "fieldDiffs": [],
            "matchConfidence": 100.0,
            "record": {"attributes": {"type": spec.name}, "Id": row["Id"]},
        }
        for row in found
    ]
    return {
        "entityType": spec.name,
        "errors": [],
        "matchEngine": "FuzzyMatchEngine",
        "matchRecords": records,
        "rule": f"Standard_{spec.name}_Match_Rule",
        "size": len(records),
        "success": True,
    }
