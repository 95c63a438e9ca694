"""Creating, changing and deleting users, organizations and tickets by Zendesk's rules."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.rows import Rows
from cdp_assets.sandbox.tables import Row, Tables
from cdp_assets.sandbox.zendesk.errors import ZendeskError, invalid, not_found
from cdp_assets.sandbox.zendesk.schema import (
    CHOICES,
    FIRST_ID,
    REFERENCES,
    TICKETS,
    USERS,
    Kind,
    add_fields,
)
from cdp_assets.sandbox.zendesk.tickets import TicketEvents

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class Records:
    """The account's records. Methods change the tables but do not commit them.

    A row holds what the API shows, and besides `_generated`, the account's own time of the last
    change, by which exports are filtered and ordered; `_deleted`; and of users all `_emails`.
    lag: by how much that time is later than `updated_at`.
    """

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self.tables = tables
        self.clock = clock
        self.rows = Rows()
        self.lag = timedelta(0)
        self.events = TicketEvents(tables)
        add_fields(tables, self.now())

    def now(self) -> str:
        """The present moment as records carry it: whole seconds."""
        return stamp(self.clock.now())

    def generated(self) -> int:
        """The account's own time of a change made now, seconds since 1970."""
        return int((self.clock.now() + self.lag).timestamp())

    def live(self, kind: Kind, key: str) -> Row:
        """The live record of this id."""
        row = self.tables[kind.table].get(str(key))
        if row is None or row.get("_deleted"):
            raise not_found()
        return row

    def all(self, kind: Kind) -> Iterator[tuple[str, Row]]:
        """Live records in the order of their ids."""
        rows = self.tables[kind.table].rows
        for key in sorted(rows, key=int):
            if not rows[key].get("_deleted"):
                yield key, rows[key]

    def find(self, kind: Kind, field: str, value: Any) -> str | None:
        """The id of the live record with this external id, e-mail or name, without case."""
        names = ("email", "_second_email") if field == "email" else (field,)
        for name in names:
            for key in self.tables[kind.table].find(name, value):
                if not self.tables[kind.table].rows[key].get("_deleted"):
                    return key
        return None

    def create(self, kind: Kind, given: Mapping[str, Any]) -> str:
        """A new record; returns its id."""
        known = self._checked(kind, given, None)
        first = 1 if kind is TICKETS else FIRST_ID
        number = self.tables.next_number(kind.table, first)
        row: Row = copy.deepcopy(dict(kind.blank)) | {"id": number}
        now = self.now()
        row |= {"created_at": now, "updated_at": now, "_generated": self.generated()}
        row |= known
        if kind is USERS:
            self._named(row)
        if kind is TICKETS:
            self._begin(row, given)
        self.tables.put(kind.table, str(number), row)
        return str(number)

    def update(self, kind: Kind, key: str, given: Mapping[str, Any]) -> None:
        """Change a record."""
        old = self.live(kind, key)
        if kind is TICKETS and old["status"] == "closed":
            raise invalid("status", "RecordInvalid", "Status: closed prevents ticket update")
        known = self._checked(kind, given, key)
        row = copy.deepcopy(old)
        if kind is USERS and (email := known.pop("email", None)) is not None:
            # On update, an address is added beside the first one.
            row["_emails"] = list(dict.fromkeys([*row.get("_emails", []), email]))
        if kind.custom in known and kind is not TICKETS:
            known[kind.custom] = row[kind.custom] | known[kind.custom]
        tags = known.pop("tags", row["tags"])
        tags = [*tags, *(t for t in _tags(given.get("additional_tags") or []) if t not in tags)]
        gone = set(_tags(given.get("remove_tags") or []))
        row |= known | {"tags": [t for t in tags if t not in gone]}
        self._put(kind, key, row)
        if kind is TICKETS:
            self.events.changed(old, row, given, self.now(), self.generated())

    def tag(self, kind: Kind, key: str, tags: list[str], how: str) -> list[str]:
        """Set, add to or remove from a record's tags; returns them."""
        row = self.live(kind, key)
        named = {"POST": "tags", "PUT": "additional_tags", "DELETE": "remove_tags"}[how]
        if how == "POST":
            self._put(kind, key, row | {"tags": _tags(tags)})
        else:
            self.update(kind, key, {named: tags})
        return list(self.tables[kind.table].rows[key]["tags"])

    def delete(self, kind: Kind, key: str) -> None:
        """Put a record where deleted ones are: exports show it once more, others never."""
        row = copy.deepcopy(self.live(kind, key))
        row["_deleted"] = True
        if kind is USERS:
            row["active"] = False
        elif kind is TICKETS:
            row["status"] = "deleted"
        else:
            row["deleted_at"] = self.now()
        self._put(kind, key, row)

    def restore(self, kind: Kind, key: str) -> None:
        """Take a deleted ticket out of the bin."""
        row = self.tables[kind.table].get(str(key))
        if row is None:
            raise not_found()
        if row.get("_deleted"):
            row = {n: v for n, v in row.items() if n != "_deleted"}
            self._put(kind, key, row | {"status": "open"})

    def touch(self, kind: Kind, key: str) -> None:
        """A change by the system: only the account's own time moves."""
        row = self.tables[kind.table].rows[str(key)]
        self.tables.put(kind.table, str(key), row | {"_generated": self.generated()})

    def shown(self, kind: Kind, row: Row) -> Row:
        """A record as the API shows it."""
        body = {name: value for name, value in row.items() if not name.startswith("_")}
        if kind is TICKETS:
            body["generated_timestamp"] = row["_generated"]
            body["fields"] = row["custom_fields"]
        return body

    def _put(self, kind: Kind, key: str, row: Row) -> None:
        row = row | {"updated_at": self.now(), "_generated": self.generated()}
        if kind is USERS:
            self._named(row)
        self.tables.put(kind.table, key, row)

    def _named(self, row: Row) -> None:
        if row.get("email"):
            row["_emails"] = list(dict.fromkeys([row["email"], *row.get("_emails", [])]))
        more = row.get("_emails", [])[1:]
        row["_second_email"] = more[0] if more else None

    def _begin(self, row: Row, given: Mapping[str, Any]) -> None:
        comment = given.get("comment") or {}
        text = comment.get("body") or comment.get("html_body") or given.get("description")
        if not text:
            raise invalid("description", "BlankValue", "Description: cannot be blank")
        row["description"] = text
        row["raw_subject"] = row["subject"]
        requester = row["requester_id"]
        row["submitter_id"] = row["submitter_id"] or requester
        if requester and not row["organization_id"]:
            row["organization_id"] = self.tables[USERS.table].rows[str(requester)][
                "organization_id"
            ]
        said = {"public": True, **comment, "body": text}
        self.events.begun(row, said, self.now(), self.generated())

    # ----- values

    def _checked(self, kind: Kind, given: Mapping[str, Any], own: str | None) -> Row:
        known = {n: v for n, v in given.items() if n in kind.writeable}
        if kind is not TICKETS:
            if (own is None or "name" in known) and not str(known.get("name") or "").strip():
                raise invalid("name", "BlankValue", "Name: cannot be blank")
            if kind is not USERS and "name" in known:
                self._unique(kind, "name", known["name"], own)
        for name, choices in CHOICES[kind.name].items():
            if known.get(name) is not None and known[name] not in choices:
                told = f"{name.capitalize()}: {known[name]} is not a valid {name}"
                raise invalid(name, "InvalidValue", told)
        if known.get("email"):
            known["email"] = str(known["email"]).lower()
            if not _EMAIL.fullmatch(known["email"]):
                told = f"Email: {known['email']} is not properly formatted"
                raise invalid("email", "InvalidValue", told)
            self._unique(kind, "email", known["email"], own)
        if known.get("external_id") is not None:
            known["external_id"] = str(known["external_id"])
            self._unique(kind, "external_id", known["external_id"], own)
        for name, to in REFERENCES.items():
            if known.get(name) is not None:
                found = self.tables[f"zendesk.{to}"].get(str(known[name]))
                if found is None or found.get("_deleted"):
                    told = f"{name}: {known[name]} does not exist"
                    raise invalid(name, "InvalidValue", told)
                known[name] = int(known[name])
        if "tags" in known:
            known["tags"] = _tags(known["tags"])
        if kind.custom in known:
            known[kind.custom] = self._custom(kind, known[kind.custom])
        for name in ("name", "notes", "details"):
            if name in known:
                known[name] = self.rows.kept(known[name])
        return known

    def _unique(self, kind: Kind, field: str, value: Any, own: str | None) -> None:
        found = self.find(kind, field, value)
        if found is not None and found != own:
            told = f"{field.capitalize()}: {value} is already being used by another {kind.one}"
            raise invalid(field, "DuplicateValue", told)

    def _custom(self, kind: Kind, given: Any) -> Any:
        fields = self.tables[kind.fields_table].rows
        if kind is TICKETS:
            kept = []
            for entry in given or []:
                field = fields.get(str(entry.get("id")))
                if field is not None:
                    value = _value(field, entry.get("value"), str(entry["id"]))
                    kept.append({"id": int(entry["id"]), "value": value})
            return kept
        by_key = {row["key"]: row for row in fields.values() if row["active"]}
        return {k: _value(by_key[k], v, k) for k, v in (given or {}).items() if k in by_key}


def stamp(at: datetime) -> str:
    """`at` as Zendesk prints datetimes: 2026-11-24T10:00:00Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tags(tags: Any) -> list[str]:
    parts = tags if isinstance(tags, list) else str(tags or "").split()
    return list(dict.fromkeys(re.sub(r"\s+", "_", str(t).strip().lower()) for t in parts if t))


def _value(field: Row, value: Any, name: str) -> Any:
    """A custom field's value as the account keeps it."""
    if value is None or value == "":
        return None
    try:
        match field["type"]:
            case "integer":
                return int(value)
            case "decimal":
                return float(value)
            case "checkbox":
                return value if isinstance(value, bool) else str(value).lower() == "true"
            case "date":
                return f"{date.fromisoformat(str(value)[:10]).isoformat()}T00:00:00+00:00"
            case "dropdown" | "tagger":
                options = [o["value"] for o in field.get("custom_field_options", [])]
                if value not in options:
                    raise ValueError
                return value
    except ValueError:
        raise invalid(name, "InvalidValue", f"{name}: {value} is not valid") from None
    return str(value)


def bad_request(description: str) -> ZendeskError:
    """A request that cannot be read."""
    return ZendeskError(400, "InvalidValue", description)
