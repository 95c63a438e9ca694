"""What a data team writes of a sync: the `attributes` of a `cdp_assets.Sync`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from cdp_assets.syncs.fields import COLUMN, NEWER, FieldConfig, Write, short
from cdp_assets.syncs.interval import Every
from cdp_assets.syncs.limits import FEW, NO_LIMITS, Limit, StopIf

__all__ = ["LINKED", "NEVER", "FieldConfig", "Limit", "StopIf", "SyncConfig"]
LINKED = "linked"
NEVER = "never"
ENTRY, ENTERED_AT = "entry", "entered_at"
"""What `fields` and `key` may name beside traits where each entry has a row."""
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_OBJECT = re.compile(r"^[a-z][a-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*$")
_NEWER = {"gone", "rows", "link", "unlinked", "list_", "members", "others"}


class SyncConfig(BaseModel):
    """Profiles written to records of an outside system."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: str = Field(alias="from", description="An entity (person, account …) or audiences.NAME.")
    where: str | None = Field(None, description="Only profiles for which this SQL condition holds.")
    to: str | list[str] = Field(
        description="SYSTEM.Object to write to; of several the first that the profile has."
    )
    mode: Literal["upsert", "update", "insert", "mirror", "add", "remove"] = Field(
        "update",
        description="update: records that are there; upsert: those, and create where `create` "
        "says so; insert: only create, for profiles that have none; mirror: as upsert, and `gone` "
        "says what becomes of records whose profile has left. Of a list: mirror: who is in `from` "
        "is on it, and who leaves is taken off; add: nobody is taken off; remove: who is in `from` "
        "is taken off.",
    )
    rows: Literal["profiles", "entered"] = Field(
        "profiles",
        description="profiles: a record a profile; entered: a record for each entry into the "
        "audience of `from`, made once for ever (mode insert), such as a task. Its `fields` and "
        "`key` may also name `entered_at`, and `entry`, the text that names the entry.",
    )
    link: list[str] = Field(
        default_factory=list,
        description="Entities (person, account) whose record in the system a created record is "
        "linked with: the profile's own, and the one that it belongs to. With `rows: entered` an "
        "entry waits for a record of the first.",
    )
    unlinked: Literal["create", "wait"] = Field(
        "create",
        description="What becomes of a record to be created while not every entity of `link` has a "
        "record: create it without, or wait for it, as a contact waits for its company.",
    )
    list_: str | None = Field(
        None,
        alias="list",
        description="Name of a list in the system, of which the records that identity holds for "
        "the profiles become members (`to: hubspot.lists`); instead of `fields`.",
    )
    members: list[str] = Field(
        default_factory=list,
        description="For a list: the objects whose records are its members, first choice first; "
        "all that identity holds for the entity if left out.",
    )
    others: Literal["keep", "remove"] = Field(
        "keep",
        description="For a list in mode mirror: what becomes of members that other people put "
        "there. keep: they stay; remove: the list is exactly the profiles of `from`, so who was "
        "taken off by hand comes back too.",
    )
    gone: Literal["keep", "clear", "archive", "delete"] = Field(
        "keep",
        description="For mode mirror: what becomes of a record that was told before and whose "
        "profile is no longer in `from` and `where`. keep: nothing; clear: the fields that this "
        "sync tells are emptied; archive or delete (one thing, as the system calls it): the "
        "record goes to its archive or recycle bin if this sync created it, and is cleared if it "
        "was there before. A profile that returns is told, or created, again.",
    )
    key: dict[str, str] = Field(
        default_factory=dict,
        description="One external id or unique field of the destination → trait; tried after "
        "linked records and before `match`, and set on records that are created.",
    )
    match: list[str | dict[str, str]] = Field(
        default=[LINKED],
        description="`linked`: records that identity holds for the profile (always tried first); "
        "{Field: trait}: a record that identity does not know, if exactly one has this value.",
    )
    create: str = Field(
        NEVER,
        description="never, or the object of `to` that is created for who has no record; for a "
        "list `to` itself: the list is made where there is none.",
    )
    several: Literal["oldest", "all", "skip"] = Field(
        "oldest", description="Which of several linked records are written to."
    )
    fields: dict[str, FieldConfig] = Field(
        default_factory=dict,
        description="Field of the destination → trait, {trait: …, write: …}, {value: …}, or text "
        "with {traits} in braces.",
    )
    write: Write = Field(
        "always", description="The `write` of fields that say none themselves, such as if_empty."
    )
    purpose: str | None = Field(
        None,
        description="What the data is used for, in one word (marketing); shown as the tag "
        "`purpose` of the sync's assets. It keeps nobody out: consent is not looked at yet.",
    )
    every: Every = Field(
        timedelta(hours=1),
        description="How often: minutes that divide an hour (15m), hours that divide a day (1h), "
        "or 1d.",
    )
    approve: Literal["first", "always", "never"] = Field(
        "first",
        description="Which plans wait for a person's yes: the first of this configuration, all, "
        "or none.",
    )
    stop_if: StopIf = Field(default=NO_LIMITS, description="When it stops by itself.")
    owner: str | None = Field(None, description="Who answers for it.")

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        """Fields that say no `write` take the sync's own."""
        if not isinstance(value, dict) or not isinstance(value.get("fields"), dict):
            return value
        if (policy := value.get("write", "always")) == "always":
            return value
        told = {}
        for name, field in value["fields"].items():
            given = short(field)
            stamped = isinstance(given, dict) and "stamp" in given
            if isinstance(given, dict) and "write" not in given and not stamped:
                given = {**given, "write": policy}
            told[name] = given
        return {**value, "fields": told}

    @field_validator("from_")
    @classmethod
    def _origin(cls, name: str) -> str:
        if not _NAME.match(name.removeprefix("audiences.")):
            raise ValueError(f"{name!r} is neither an entity nor audiences.NAME")
        return name

    @field_validator("purpose")
    @classmethod
    def _word(cls, purpose: str | None) -> str | None:
        if purpose is not None and not _NAME.match(purpose):
            raise ValueError(f"{purpose!r} is not one word in lower case, such as marketing")
        return purpose

    @field_validator("to")
    @classmethod
    def _objects(cls, to: str | list[str]) -> str | list[str]:
        names = [to] if isinstance(to, str) else to
        for name in names:
            if not _OBJECT.match(name):
                raise ValueError(f"{name!r} is not SYSTEM.Object, such as salesforce.Contact")
        if not names:
            raise ValueError("name the object to write to, such as salesforce.Contact")
        if len(set(names)) != len(names):
            raise ValueError("name each object once")
        if len({name.partition(".")[0] for name in names}) > 1:
            raise ValueError("a sync writes to one system; write one sync for each")
        return to

    @field_validator("key")
    @classmethod
    def _one_key(cls, key: dict[str, str]) -> dict[str, str]:
        if len(key) > 1:
            raise ValueError("a key is one field")
        for column in key.values():
            if not COLUMN.match(column):
                raise ValueError(f"{column!r} is no trait")
        return key

    @field_validator("match")
    @classmethod
    def _rules(cls, match: list[str | dict[str, str]]) -> list[str | dict[str, str]]:
        fields = [rule for rule in match if isinstance(rule, dict)]
        if any(isinstance(rule, str) and rule != LINKED for rule in match):
            raise ValueError("a rule is `linked` or {Field: trait}")
        if len(fields) > 1 or any(len(rule) != 1 for rule in fields):
            raise ValueError("`match` takes `linked` and one {Field: trait}")
        for rule in fields:
            for column in rule.values():
                if not COLUMN.match(column):
                    raise ValueError(f"{column!r} is no trait")
        return match

    @field_validator("fields")
    @classmethod
    def _one_spelling(cls, fields: dict[str, FieldConfig]) -> dict[str, FieldConfig]:
        folded: dict[str, str] = {}
        for name in fields:
            if (twin := folded.setdefault(name.lower(), name)) != name:
                raise ValueError(f"{twin} and {name} are one field")
        return fields

    @model_validator(mode="after")
    def _of_entries(self) -> SyncConfig:
        if self.unlinked != "create" and not self.link:
            raise ValueError("`unlinked` belongs to `link`")
        if self.link and self.creates is None:
            raise ValueError("`link` is for records that the sync creates")
        if len(set(self.link)) < len(self.link) or not all(map(_NAME.match, self.link)):
            raise ValueError("`link` names entities, each once, such as [person, account]")
        if self.rows == "profiles":
            return self
        if self.audience is None or self.mode != "insert":
            raise ValueError("`rows: entered` takes `from: audiences.NAME` and `mode: insert`")
        if len(self.targets) > 1:
            raise ValueError("`rows: entered` creates one object: name one in `to`")
        if self.match_rule:
            raise ValueError("an entry's record is found by `key` or not at all: take out `match`")
        late = [n for n, f in self.fields.items() if f.write == "if_empty"]
        if late:
            raise ValueError(f"{late[0]}: a record of an entry is only created, so `write` is idle")
        if self.key and ENTRY not in self.key.values():
            raise ValueError(f"the `key` of an entry's record is `{ENTRY}`: {{Field: {ENTRY}}}")
        return self

    @model_validator(mode="after")
    def _of_a_list(self) -> SyncConfig:
        if self.list_ is None:
            for name in ("members", "others"):
                if name in self.model_fields_set:
                    raise ValueError(f"`{name}` belongs to `list`")
            if self.mode in ("add", "remove"):
                raise ValueError(f"mode {self.mode} belongs to `list`")
            if not [f for f in self.fields.values() if f.stamp is None]:
                raise ValueError("`fields` says what is told: name one, or a `list`")
            return self
        if not self.list_.strip():
            raise ValueError("`list` is the name of a list")
        for name in ("fields", "key", "gone"):
            if getattr(self, name) not in ({}, "keep"):
                raise ValueError(f"`{name}` does not go with `list`: a list has members only")
        if self.match_rule:
            raise ValueError("members of a list are records that identity holds: take out `match`")
        if self.mode not in ("mirror", "add", "remove"):
            raise ValueError("a list is kept in mode mirror, add or remove")
        if len(self.targets) > 1:
            raise ValueError("name one list")
        if self.others == "remove" and self.mode != "mirror":
            raise ValueError("`others: remove` belongs to mode mirror")
        if self.create != NEVER and self.mode == "remove":
            raise ValueError("`create` does not go with mode remove")
        wrong = [name for name in self.members if not name.startswith(f"{self.source}.")]
        if wrong:
            raise ValueError(f"`members` of a list are of its own system, not {wrong[0]}")
        return self

    @model_validator(mode="after")
    def _belongs(self) -> SyncConfig:
        if self.gone != "keep" and self.mode != "mirror":
            raise ValueError("`gone` belongs to mode mirror")
        if self.create != NEVER:
            if self.mode == "update":
                raise ValueError("`create` belongs to mode upsert; update writes to what is there")
            if self.create not in self.targets:
                raise ValueError(f"`create: {self.create}` is not among `to`")
        if self.mode == "insert" and self.create == NEVER and len(self.targets) > 1:
            raise ValueError("mode insert creates one object: name one in `to`, or `create`")
        if self.creates is None and self.list_ is None:
            late = [name for name, f in self.fields.items() if f.write == "on_create"]
            if len(late) == len(self.fields):
                raise ValueError("all fields are `on_create`, and nothing is created")
        for name in self.key:
            if name.casefold() in {field.casefold() for field in self.fields}:
                raise ValueError(f"{name} is the key already; take it out of `fields`")
            # A field that is both would stand twice in the plan's row of a new record.
            if self.match_rule and self.match_rule[0].casefold() == name.casefold():
                raise ValueError(
                    f"{name} is the key already, and records are found by it; take it out of "
                    "`match`"
                )
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The objects of `to`, first choice first (`salesforce.Contact`)."""
        return (self.to,) if isinstance(self.to, str) else tuple(self.to)

    @property
    def source(self) -> str:
        """The system written to, by its name in defs/."""
        return self.targets[0].partition(".")[0]

    @property
    def objects(self) -> tuple[str, ...]:
        """The objects of `to` as their system names them (`Contact`)."""
        return tuple(name.partition(".")[2] for name in self.targets)

    @property
    def creates(self) -> str | None:
        """The object that is created for who has none, as its system names it."""
        if self.list_ is not None:
            return None
        if self.create != NEVER:
            return self.create.partition(".")[2]
        return self.objects[0] if self.mode == "insert" else None

    @property
    def audience(self) -> str | None:
        """The audience in `from`, if it names one."""
        return self.from_.partition(".")[2] or None

    @property
    def stamps(self) -> dict[str, str]:
        """Field → what is set in it whenever a record is written."""
        return {n: f.stamp for n, f in self.fields.items() if f.stamp is not None}

    def without(self, names: Collection[str]) -> SyncConfig:
        """The same without these fields, and with the same fingerprint: a yes to it holds on."""
        kept = {name: field for name, field in self.fields.items() if name not in names}
        return self.model_copy(update={"fields": kept, "fingerprint": self.fingerprint})

    def write_policy(self, name: str) -> str:
        """`write` of a field; that of `key` or `match` is always written."""
        return self.fields[name].write if name in self.fields else "always"

    @property
    def key_rule(self) -> tuple[str, str] | None:
        """(field, column) of `key`."""
        return next(iter(self.key.items()), None)

    @property
    def match_rule(self) -> tuple[str, str] | None:
        """(field, column) of the `match` by a field."""
        found = [rule for rule in self.match if isinstance(rule, dict)]
        return next(iter(found[0].items())) if found else None

    @property
    def deletes(self) -> bool:
        """Whether records of profiles that left are deleted."""
        return self.gone in ("archive", "delete")

    @property
    def deleted_limit(self) -> Limit | None:
        """How many records of profiles that left may be emptied or deleted at once."""
        return self.stop_if.deleted or (FEW if self.deletes else None)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the profile that it reads, beside `where`; sorted."""
        names = {column for field in self.fields.values() for column in field.columns}
        names |= {rule[1] for rule in (self.key_rule, self.match_rule) if rule}
        return tuple(sorted(names))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what decides which values go where: who approved one configuration has not
        approved another. Schedule, limits, owner and purpose are not part of it."""
        names = {"from_", "where", "to", "mode", "key", "match", "create", "several", "fields"}
        said = self.model_dump(mode="json", include=names)
        # Options that came later count where they are used: an upgrade asks nobody for a yes.
        said |= self.model_dump(mode="json", include=_NEWER, exclude_defaults=True)
        for field in said["fields"].values():
            for name, default in NEWER.items():
                if field[name] == default:
                    del field[name]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
