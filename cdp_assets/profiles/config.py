"""What a data team writes of traits: the `attributes` of a `cdp_assets.Traits`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
)

NAME = re.compile(r"^[a-z][a-z0-9_]*$")
FIELD_REF = re.compile(r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_$]+)+$")
RESERVED_TRAITS = frozenset({"profile_id", "built_at", "deleted_at", "_seq"})
RESERVED_ENTITIES = frozenset(
    {"events", "values", "relation", "told", "rules", "changes", "traits", "builds"}
)
"""Names of tables beside those of the entities; `events` is one for SQL files."""

TypeName = Literal["string", "integer", "decimal", "float", "boolean", "timestamp", "date"]


def _days(value: Any) -> Any:
    """`90d` → 90. Raises ValueError for anything but whole days."""
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,4}d", value.strip()):
        return int(value.strip()[:-1])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("`within` is a number of whole days, such as 90d")


Days = Annotated[
    int,
    BeforeValidator(
        _days, json_schema_input_type=Annotated[str, Field(pattern="^[1-9][0-9]{0,4}d$")]
    ),
    Field(ge=1),
]


class _Trait(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    type: TypeName | None = Field(
        default=None, description="Type of the value; by default what the rule yields."
    )
    description: str = Field(default="", description="What the trait means, for people.")
    owner: str | None = Field(default=None, description="Who answers for it.")


def _refs(refs: list[str]) -> list[str]:
    for ref in refs:
        if not FIELD_REF.match(ref):
            raise ValueError(
                f"{ref!r} is not a field: write source.Object.Field, such as "
                "salesforce.Contact.Email or events.traits.email"
            )
    if len(set(refs)) != len(refs):
        raise ValueError("a field is named twice")
    return refs


class PreferTrait(_Trait):
    """The value of the best source that has one; within a source the latest."""

    prefer: list[str] = Field(min_length=1, description="Fields, best first.")
    _checked = field_validator("prefer")(_refs)


class LatestTrait(_Trait):
    """The value that was set last in any of the fields."""

    latest: list[str] = Field(min_length=1, description="Fields of equal standing.")
    _checked = field_validator("latest")(_refs)


class SelectTrait(_Trait):
    """An aggregate over events, records, or the profiles of another entity."""

    select: str = Field(
        min_length=1,
        description="count(*), count(x), count(distinct x), sum(x), avg(x), min(x), max(x), "
        "first(x), last(x) or most_frequent(x).",
    )
    from_: str = Field(
        alias="from",
        min_length=1,
        description="events, an event's name, an object (salesforce.Opportunity), an entity.",
    )
    where: str | None = Field(default=None, description="Condition on a row, in SQL.")
    within: Days | None = Field(
        default=None,
        description="Whole days in CDP_TIMEZONE that count: `90d` is today and the 89 before.",
    )


class ExprTrait(_Trait):
    """An expression over the profile's other traits."""

    expr: str = Field(min_length=1, description="Expression in SQL.")


class SqlTrait(_Trait):
    """What a SQL file beside defs.yaml returns: the columns profile_id and the trait's name."""

    sql: str = Field(
        min_length=1,
        description="File name, relative to the definition's folder; one SELECT. Tables are the "
        "entity itself (`person`: profile_id and a column a trait; of `expr` and `sql` those "
        "declared before this one), every other entity with traits (`account`), `events`, the "
        "table of each event that a trait names (`events_order_completed`), `events_values`, the "
        "records of each entity (`records_person`), `records_values` and `records_relation`.",
    )

    @field_validator("sql")
    @classmethod
    def _beside(cls, name: str) -> str:
        if name.startswith("/") or ".." in name.split("/") or not name.endswith(".sql"):
            raise ValueError("name a .sql file inside the definition's own folder")
        return name


FORMS = ("prefer", "latest", "select", "expr", "sql")


def _form(value: Any) -> str | None:
    """Which form a trait has, told by its keys."""
    if isinstance(value, BaseModel):
        return next((form for form in FORMS if form in type(value).model_fields), None)
    if not isinstance(value, dict):
        return None
    return next((form for form in FORMS if form in value), None)


def _has_form(value: Any) -> Any:
    if isinstance(value, dict) and sum(form in value for form in FORMS) != 1:
        raise ValueError(f"a trait has exactly one of the keys {', '.join(FORMS)}")
    return value


Trait = Annotated[
    Annotated[
        Annotated[PreferTrait, Tag("prefer")]
        | Annotated[LatestTrait, Tag("latest")]
        | Annotated[SelectTrait, Tag("select")]
        | Annotated[ExprTrait, Tag("expr")]
        | Annotated[SqlTrait, Tag("sql")],
        Discriminator(_form),
    ],
    BeforeValidator(_has_form),
]


class TraitsConfig(BaseModel):
    """The traits of one entity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: str = Field(description="person, account, or an entity declared with `as:`.")
    traits: dict[str, Trait] = Field(min_length=1, description="Name → how it is computed.")

    @field_validator("entity")
    @classmethod
    def _entity_name(cls, name: str) -> str:
        if not NAME.match(name) or name in RESERVED_ENTITIES:
            raise ValueError(f"{name!r} cannot name an entity")
        return name

    @field_validator("traits")
    @classmethod
    def _trait_names(cls, traits: dict[str, Any]) -> dict[str, Any]:
        for name in traits:
            if not NAME.match(name) or name in RESERVED_TRAITS:
                raise ValueError(
                    f"{name!r} cannot name a trait: small letters, digits and underscores, "
                    f"and not {', '.join(sorted(RESERVED_TRAITS))}"
                )
        return traits
