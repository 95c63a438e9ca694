"""What one field of the destination is told: an entry of a sync's `fields`."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

COLUMN = re.compile(r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$")
_BRACES = re.compile(r"\{([^{}]*)\}")

Write = Literal["always", "if_empty", "on_create"]


class FieldConfig(BaseModel):
    """What one field of the destination is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trait: str | None = Field(
        None,
        description="A trait; `profile_id`; for a person `account.TRAIT`; `audiences.NAME` for "
        "membership, yes or no; or an identifier type (`user_id`) of the profile.",
    )
    value: str | int | float | bool | None = Field(None, description="A literal.")
    template: str | None = Field(
        None, description="Text with traits in braces; nothing to say where one of them is null."
    )
    write: Write = Field(
        "always",
        description="always; if_empty: only where the record has no value; on_create: only on "
        "records that this sync creates.",
    )
    when_null: Literal["keep", "clear"] = Field(
        "keep",
        description="What a null does to the record's value: keep leaves it alone, clear empties "
        "it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return {"template": value} if "{" in value or "}" in value else {"trait": value}

    @model_validator(mode="after")
    def _one_form(self) -> FieldConfig:
        given = [n for n in ("trait", "value", "template") if n in self.model_fields_set]
        if len(given) != 1:
            raise ValueError("write a trait, `{trait: …}`, `{value: …}` or text with {traits}")
        if self.trait is not None and not COLUMN.match(self.trait):
            raise ValueError(f"{self.trait!r} is no trait; a literal is written {{value: …}}")
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
    def columns(self) -> tuple[str, ...]:
        """The columns of the profile that it reads."""
        if self.trait is not None:
            return (self.trait,)
        return tuple(_BRACES.findall(self.template)) if self.template is not None else ()
