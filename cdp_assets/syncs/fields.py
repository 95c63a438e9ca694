"""What one field of the destination is told: an entry of a sync's `fields`."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

COLUMN = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$")
_BRACES = re.compile(r"\{([^{}]*)\}")

Write = Literal["always", "if_empty", "on_create", "give_way", "append"]
_OBJECT_FIELD = re.compile(r"^[A-Za-z][A-Za-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*$")
NEWER = {"owner": None, "lookup": None, "too_long": "refuse", "stamp": None, "hash_": None}
"""Options that came later, with their defaults."""


def short(value: Any) -> Any:
    """A field's short form written out: a bare word is a trait, text with braces a template."""
    if not isinstance(value, str):
        return value
    return {"template": value} if "{" in value or "}" in value else {"trait": value}


class FieldConfig(BaseModel):
    """What one field of the destination is told."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    trait: str | None = Field(
        None,
        description="A trait; `profile_id`; for a person `account.TRAIT`; `audiences.NAME` for "
        "membership, yes or no; or an identifier type (`user_id`) of the profile.",
    )
    value: str | int | float | bool | None = Field(None, description="A literal.")
    template: str | None = Field(
        None, description="Text with traits in braces; nothing to say where one of them is null."
    )
    owner: str | None = Field(
        None,
        description="A trait that holds an e-mail address: told is the id of the one user of the "
        "system who has it (records/user).",
    )
    lookup: str | None = Field(
        None,
        description="Object.Field of the system (Account.External_Id__c): told is the id of the "
        "one record that has the value there.",
    )
    stamp: Literal["told_at", "run_id", "sync"] | None = Field(
        None,
        description="What is set whenever the record is written, and never by itself: the moment, "
        "the id of the run, or the name of the sync.",
    )
    hash_: Literal["sha256"] | None = Field(
        None, alias="hash", description="Told is the hash of the text, in hexadecimal digits."
    )
    write: Write = Field(
        "always",
        description="always; if_empty: only where the record has no value; on_create: only on "
        "records that this sync creates; give_way: not where people changed it since it was told "
        "(one that they empty is told again); append: to a field of several values, of which none "
        "is taken away.",
    )
    too_long: Literal["refuse", "cut"] = Field(
        "refuse",
        description="What becomes of a text longer than the field: refuse names it in the plan and "
        "tells nothing, cut tells its beginning.",
    )
    when_null: Literal["keep", "clear"] = Field(
        "keep",
        description="What a null does to the record's value: keep leaves it alone, clear empties "
        "it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return short(value)

    @model_validator(mode="after")
    def _one_form(self) -> FieldConfig:
        forms = ("trait", "value", "template", "owner", "stamp")
        given = [n for n in forms if n in self.model_fields_set]
        if len(given) != 1:
            raise ValueError("write a trait, `{trait: …}`, `{value: …}` or text with {traits}")
        for named in (self.trait, self.owner):
            if named is not None and not COLUMN.match(named):
                raise ValueError(f"{named!r} is no trait; a literal is written {{value: …}}")
        if self.lookup is not None and not _OBJECT_FIELD.match(self.lookup):
            raise ValueError(f"{self.lookup!r} is not Object.Field, such as Account.External_Id__c")
        if self.lookup is not None and given == ["owner"]:
            raise ValueError("`owner` is looked up by itself: take out `lookup`")
        if self.hash_ is not None and (self.sought or (self.trait is None and not self.template)):
            raise ValueError("`hash` is of a trait, or of text with {traits}")
        if self.stamp is not None and self.write not in ("always", "on_create"):
            raise ValueError("a stamp is set whenever the record is written: take out `write`")
        if self.sought and self.write in ("give_way", "append"):
            raise ValueError(f"`write: {self.write}` does not go with a record that is looked up")
        if self.template is not None:
            rest = _BRACES.sub("", self.template)
            if "{" in rest or "}" in rest or not self.columns:
                raise ValueError("braces in a template enclose the name of one trait each")
            for name in self.columns:
                if not COLUMN.match(name):
                    raise ValueError(f"{{{name}}} in a template is no trait")
        if self.value is None and "value" in given:
            raise ValueError("a literal null says nothing")
        return self

    @property
    def sought(self) -> bool:
        """Whether its text stands for a record whose id is told."""
        return self.owner is not None or self.lookup is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the profile that it reads."""
        if (named := self.trait or self.owner) is not None:
            return (named,)
        return tuple(_BRACES.findall(self.template)) if self.template is not None else ()
