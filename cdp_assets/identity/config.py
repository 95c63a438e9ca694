"""What a data team writes of identity: the `attributes` of the `cdp_assets.Identity`."""

from __future__ import annotations

import re
from typing import Annotated, Any

import phonenumbers
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
_SOURCE = re.compile(r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_$]+)+$")
MAX_LIMIT = 10_000


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_listed)]


class IdentifierConfig(BaseModel):
    """One type of identifier."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)

    from_: Texts | None = Field(
        default=None,
        alias="from",
        description="Fields that hold it: events.userId, events.anonymousId, events.groupId, "
        "events.traits.NAME, source.Object.Field. By default every field that connectors and "
        "events declare as this type.",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=MAX_LIMIT,
        description="How many different ones a profile may hold; a link that would go beyond is "
        "refused and kept with its reason.",
    )
    block: Texts = Field(
        default_factory=list,
        description="Values that identify nobody: patterns with * and ?, or the names of lists in "
        "the package: free_mail, role_addresses.",
    )
    region: str | None = Field(
        default=None,
        description="Country (ISO 3166) of phone numbers written without a country code.",
    )

    @field_validator("from_")
    @classmethod
    def _fields(cls, refs: list[str] | None) -> list[str] | None:
        for ref in refs or []:
            if not _SOURCE.match(ref):
                raise ValueError(
                    f"{ref!r} is not a field: write source.Object.Field or events.userId"
                )
        if refs is not None and not refs:
            raise ValueError("`from` is empty: name a field, or leave it out for all of this type")
        return refs

    @field_validator("region")
    @classmethod
    def _region(cls, region: str | None) -> str | None:
        if region is not None and region.upper() not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(f"{region!r} is not a country's two letters, such as US or DE")
        return region.upper() if region else None


class EntityIdentity(BaseModel):
    """How records and events of one entity become profiles."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identifiers: dict[str, IdentifierConfig] = Field(
        default_factory=dict,
        description="Types of identifiers, strongest first: the order is the priority.",
    )
    logout: Texts = Field(
        default_factory=list, description="Names of the events that end a log-in on a device."
    )

    @field_validator("identifiers", mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: {} if config is None else config for name, config in value.items()}
        return value

    @field_validator("identifiers")
    @classmethod
    def _names(cls, found: dict[str, IdentifierConfig]) -> dict[str, IdentifierConfig]:
        for name in found:
            if not NAME.match(name):
                raise ValueError(f"{name!r} is not a name: lower-case letters, digits and _")
        used: dict[str, str] = {}
        for name, config in found.items():
            for ref in config.from_ or []:
                if ref in used:
                    raise ValueError(f"{ref} is named under {used[ref]} and under {name}")
                used[ref] = name
        return found


class IdentityConfig(BaseModel):
    """Identity of each entity. Further entities (declared with `as:`) may be named beside."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, EntityIdentity]

    person: EntityIdentity = Field(default_factory=EntityIdentity, description="People.")
    account: EntityIdentity = Field(default_factory=EntityIdentity, description="Companies.")

    @property
    def entities(self) -> dict[str, EntityIdentity]:
        """entity → its identity, person and account first."""
        return {"person": self.person, "account": self.account, **(self.__pydantic_extra__ or {})}
