"""Creating, changing, deleting, linking and showing records by SugarCRM's rules."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from cdp_assets.sandbox.clock import Clock
from cdp_assets.sandbox.rows import Rows
from cdp_assets.sandbox.sugarcrm.errors import SugarError, bad_parameter, not_found
from cdp_assets.sandbox.sugarcrm.schema import LINKS, MODULES, NUMBERS, Field, fields
from cdp_assets.sandbox.tables import Row, Tables

_ZONE = timezone(timedelta(hours=-7))
"""The zone of the user who asks: times are shown in it."""
_PAIRS = "sugarcrm.links"


class Records:
    """The records of all modules. Methods change the tables but do not commit them.

    flags_as_text: whether an address's flags are shown as "0" and "1", as the Developer Guide's
        samples do, or as truths, as older recordings do.
    """

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self.tables = tables
        self.clock = clock
        self.rows = Rows()
        self.flags_as_text = True

    def module(self, name: str) -> str:
        """The module of this name."""
        if name not in MODULES:
            raise SugarError(404, "no_method", f"Could not find module {name}")
        return name

    def live(self, module: str, key: str) -> Row:
        """The live record of this id."""
        row = self.tables[_table(module)].get(key)
        if row is None or row["deleted"]:
            raise not_found(module, key)
        return row

    def all(self, module: str, *, deleted: bool) -> Iterator[Row]:
        """Records, with the deleted ones where `deleted`."""
        for row in self.tables[_table(module)].rows.values():
            if deleted or not row["deleted"]:
                yield row

    def create(self, module: str, given: Mapping[str, Any], sync_key: str | None = None) -> str:
        """A new record; returns its id."""
        known = fields(module)
        row: Row = {n: copy.deepcopy(f["default"]) for n, f in known.items() if "default" in f}
        row |= self._checked(module, given)
        for name, field in known.items():
            if field.get("required") and not field.get("readonly") and not row.get(name):
                raise SugarError(422, "missing_parameter", f"Missing parameter: {name}")
        key = str(given.get("id") or uuid.uuid4())
        if self.tables[_table(module)].get(key) is not None:
            raise SugarError(409, "edit_conflict", "A record with this id is there already")
        now = self._now()
        row |= {"id": key, "date_entered": now, "date_modified": now, "deleted": False}
        if sync_key is not None:
            row["sync_key"] = sync_key
        if module == "Cases":
            row["case_number"] = self.tables.next_number("sugarcrm.case")
        self.tables.put(_table(module), key, row)
        for link, change in given.items():
            if (module, link) in LINKS and isinstance(change, Mapping):
                self.link(module, key, link, list(change.get("add") or []))
        return key

    def update(self, module: str, key: str, given: Mapping[str, Any]) -> None:
        """Change a record; it counts as modified even if nothing changes."""
        row = self.live(module, key) | self._checked(module, given)
        self.tables.put(_table(module), key, row | {"date_modified": self._now()})

    def delete(self, module: str, key: str) -> None:
        """Mark a record as deleted."""
        row = self.live(module, key)
        gone = row | {"deleted": True, "date_modified": self._now()}
        self.tables.put(_table(module), key, gone)

    def by_sync_key(self, module: str, value: str) -> str | None:
        """The id of the live record with this sync key."""
        for key in self.tables[_table(module)].find("sync_key", value):
            if not self.tables[_table(module)].rows[key]["deleted"]:
                return key
        return None

    def set_sync_key(self, module: str, key: str, value: str) -> bool:
        """Give a record its sync key; False where another record has it. It is no change of the
        record: the column is written past it."""
        if self.by_sync_key(module, value) not in (None, key):
            return False
        self.tables.put(_table(module), key, self.live(module, key) | {"sync_key": value})
        return True

    # ----- links

    def link(self, module: str, key: str, link: str, ids: list[str]) -> None:
        """Link records; neither side counts as modified."""
        other, own_field, other_field = self.end(module, link)
        row = self.live(module, key)
        for one in ids:
            linked = self.live(other, one)
            if own_field is not None:
                row = row | {own_field: one}
                self.tables.put(_table(module), key, row)
            elif other_field is not None:
                self.tables.put(_table(other), one, linked | {other_field: key})
            else:
                name = f"{module}:{key}:{link}:{one}"
                self.tables.put(_PAIRS, name, {"from": f"{module}:{key}:{link}", "to": one})

    def unlink(self, module: str, key: str, link: str, one: str) -> None:
        """Take a link away."""
        other, own_field, other_field = self.end(module, link)
        row, linked = self.live(module, key), self.live(other, one)
        if own_field is not None:
            self.tables.put(_table(module), key, row | {own_field: ""})
        elif other_field is not None:
            self.tables.put(_table(other), one, linked | {other_field: ""})
        else:
            name = f"{module}:{key}:{link}:{one}"
            if self.tables[_PAIRS].get(name) is None:
                raise not_found(other, one)
            self.tables.put(_PAIRS, name, None)

    def linked(self, module: str, key: str, link: str) -> list[Row]:
        """The live records at the other end."""
        other, own_field, other_field = self.end(module, link)
        row = self.live(module, key)
        if own_field is not None:
            ids = [row[own_field]] if row.get(own_field) else []
        elif other_field is not None:
            ids = self.tables[_table(other)].find(other_field, key)
        else:
            found = self.tables[_PAIRS].find("from", f"{module}:{key}:{link}")
            ids = [self.tables[_PAIRS].rows[name]["to"] for name in found]
        rows = [self.tables[_table(other)].get(one) for one in ids]
        return [r for r in rows if r is not None and not r["deleted"]]

    def end(self, module: str, link: str) -> tuple[str, str | None, str | None]:
        """What a link leads to."""
        if (module, link) not in LINKS:
            raise bad_parameter(f"Could not find a relationship named: {link}")
        return LINKS[module, link]

    # ----- values

    def shown(self, module: str, row: Row, names: list[str] | None = None) -> Row:
        """A record as the API shows it: empty fields are empty texts, numbers are texts."""
        if row["deleted"]:
            return {
                "id": row["id"], "date_modified": _local(row["date_modified"]), "deleted": True,
                "_acl": {"fields": {}}, "_module": module,
            }  # fmt: skip
        known = fields(module)
        wanted = [n for n in known if names is None or n in names or n in ("id", "date_modified")]
        body = {name: self._shown(known[name], row) for name in wanted}
        return body | {"_acl": {"fields": {}}, "_module": module}

    def _shown(self, field: Field, row: Row) -> Any:
        name, kind = field["name"], field["type"]
        first: Row = next(iter(row.get("email") or []), {})
        match name:
            case "email":
                return [self._address(e) for e in row.get("email") or []]
            case "email1":
                return first.get("email_address", "")
            case "email_opt_out" | "invalid_email":
                return bool(first.get("opt_out" if name == "email_opt_out" else name))
            case "full_name":
                parts = (row.get("first_name"), row.get("last_name"))
                return " ".join(part for part in parts if part)
        value = row.get(name)
        if kind == "relate":
            other = self.tables[_table(field["module"])].get(str(row.get(field["id_name"]) or ""))
            return (other or {}).get("name", "")
        if kind == "bool":
            return str(value).lower() in ("1", "true")
        if kind in ("datetime", "datetimecombo") and value:
            return _local(value)
        if kind == "multienum":
            return value or []
        return "" if value is None else value

    def _address(self, email: Row) -> Row:
        shown = {"email_address": email["email_address"]}
        for flag in ("primary_address", "reply_to_address", "invalid_email", "opt_out"):
            on = bool(email.get(flag))
            shown[flag] = str(int(on)) if self.flags_as_text else on
        return shown

    def _checked(self, module: str, given: Mapping[str, Any]) -> Row:
        known, kept = fields(module), {}
        for name, value in given.items():
            field = known.get(name)
            if field is None or field.get("readonly") or field["type"] == "relate":
                continue
            if name == "email":
                kept["email"] = _addresses(value)
            elif name == "email1":
                kept["email"] = _addresses([{"email_address": value}] if value else [])
            elif name in ("email_opt_out", "invalid_email"):
                continue
            else:
                stored = _stored(field, value)
                free = field["type"] in ("varchar", "name", "text") and name != "sync_key"
                kept[name] = self.rows.kept(stored) if free else stored
        return kept

    def _now(self) -> str:
        return self.clock.now().replace(microsecond=0).isoformat()


def _table(module: str) -> str:
    return f"sugarcrm.{module}"


def _local(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(_ZONE).isoformat()


def _addresses(value: Any) -> list[Row]:
    if not isinstance(value, list):
        raise bad_parameter("Invalid field value: email in module")
    found: list[Row] = []
    for entry in value:
        address = str(entry.get("email_address") or "")
        if "@" not in address:
            raise bad_parameter("Invalid field value: email")
        found.append(
            {
                flag: str(entry.get(flag, False)).lower() in ("1", "true")
                for flag in ("primary_address", "reply_to_address", "invalid_email", "opt_out")
            }
            | {"email_address": address}
        )
    if found and not any(e["primary_address"] for e in found):
        found[0]["primary_address"] = True
    return sorted(found, key=lambda e: not e["primary_address"])


def _stored(field: Field, value: Any) -> Any:
    if value is None or value == "":
        return ""
    kind = field["type"]
    try:
        if kind in ("currency", "decimal"):
            return f"{Decimal(str(value)):.6f}"
        if kind in NUMBERS:
            return str(int(Decimal(str(value))))
        if kind == "date":
            return date.fromisoformat(str(value)).isoformat()
        if kind in ("datetime", "datetimecombo"):
            return datetime.fromisoformat(str(value)).isoformat()
    except (ValueError, InvalidOperation):
        raise bad_parameter(f"Invalid field value: {field['name']}") from None
    if kind == "bool":
        return str(value).lower() in ("1", "true")
    if kind == "multienum":
        return list(value) if isinstance(value, list) else [value]
    text = str(value)
    return text[: field["len"]] if "len" in field else text
