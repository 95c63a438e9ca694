"""What a data team writes of an audience: the `attributes` of a `cdp_assets.Audience`."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

NAME = re.compile(r"^[a-z][a-z0-9_]*$")


class AudienceConfig(BaseModel):
    """Who belongs to an audience: the profiles of an entity for which a condition holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: str = Field(default="person", description="Entity whose profiles may be members.")
    label: str = Field(default="", description="Name for people.")
    owner: str | None = Field(default=None, description="Who answers for it.")
    where: str = Field(
        min_length=1,
        description="Condition in SQL over the entity's traits, `account.TRAIT` for a person, "
        "and in_audience('NAME').",
    )

    @field_validator("entity")
    @classmethod
    def _entity_name(cls, name: str) -> str:
        if not NAME.match(name):
            raise ValueError(f"{name!r} cannot name an entity")
        return name
