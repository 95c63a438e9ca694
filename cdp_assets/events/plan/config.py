"""What a deployment says of its events (`TrackingPlan`): their properties, and what becomes of
events that break it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from cdp_assets.events.model import MAX_ID
from cdp_assets.events.plan.patterns import fault

Policy = Literal["allow", "flag", "drop", "quarantine", "block"]
"""What becomes of an event that breaks its plan, the mildest first; `drop` is milder than
`quarantine`, which loses nothing."""
POLICIES: Sequence[Policy] = ("allow", "flag", "drop", "quarantine", "block")
PropertyType = Literal[
    "string", "integer", "number", "boolean", "array", "object", "date", "datetime"
]
Pii = Literal["email", "phone", "name", "address", "ip", "birthday", "id", "other"]
Scalar = str | bool | int | float


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _named_type(value: Any) -> Any:
    """`integer` alone stands for `{type: integer}`."""
    return {"type": value} if isinstance(value, str) else value


class PropertyRule(_Model):
    """What a property may be. A type alone (`rows: integer`) says only that."""

    type: PropertyType | None = Field(
        default=None,
        description="string, integer, number, boolean, array, object, date (2026-06-30) or "
        "datetime (ISO 8601); any where it is left out.",
    )
    required: bool = Field(
        default=False,
        description="The event has to say it. What need not be said may be null, which says "
        "nothing either.",
    )
    enum: Sequence[Scalar] | None = Field(
        default=None, min_length=1, description="The only values that it may have."
    )
    pattern: str | None = Field(
        default=None,
        description="A regular expression that its text has to match somewhere. With "
        "look-around or references to groups it matches no text of more than 256 characters.",
    )
    minimum: int | float | None = Field(default=None, description="The least number.")
    maximum: int | float | None = Field(default=None, description="The greatest number.")
    min_length: int | None = Field(default=None, ge=0, description="The fewest characters.")
    max_length: int | None = Field(default=None, ge=0, description="The most characters.")
    items: Annotated[PropertyRule, BeforeValidator(_named_type)] | None = Field(
        default=None, description="Of an array: what each of its members may be."
    )
    properties: Mapping[str, Annotated[PropertyRule, BeforeValidator(_named_type)]] | None = Field(
        default=None, description="Of an object: its members."
    )
    pii: Pii | None = Field(
        default=None,
        description="Which kind of personal data it is: email, phone, name, address, ip, birthday, "
        "id or other. It stands in the JSON Schema, and `cdp tracking-plan seen` shows it.",
    )
    description: str | None = Field(default=None, description="What it means, for people.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, text: str | None) -> str | None:
        if text is not None and (said := fault(text)) is not None:
            raise ValueError(said)
        return text

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        of = {
            "items": ("array",), "properties": ("object",), "pattern": ("string",),
            "min_length": ("string",), "max_length": ("string",),
            "minimum": ("integer", "number"), "maximum": ("integer", "number"),
        }  # fmt: skip
        for name, types in of.items():
            if getattr(self, name) is not None and self.type not in (*types, None):
                raise ValueError(f"`{name}` belongs to type {' or '.join(types)}, not {self.type}")
        for value in self.enum or ():
            if not _is_a(value, self.type):
                raise ValueError(f"{value!r} in `enum` is no {self.type}")
        return self


def _is_a(value: Scalar, kind: str | None) -> bool:
    if kind in ("string", "date", "datetime"):
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind is None


Property = Annotated[PropertyRule, BeforeValidator(_named_type)]


class EventRule(_Model):
    """What an event may say, and what becomes of one that says otherwise."""

    properties: Mapping[str, Property] = Field(
        default_factory=dict, description="Property → its type, or what else is asked of it."
    )
    schema_: str | None = Field(
        default=None,
        alias="schema",
        description="Instead of `properties`: a file beside this one with a JSON Schema of them.",
    )
    violations: Policy | None = Field(
        default=None, description="As the plan's `violations`, for this event."
    )
    unplanned_properties: Policy | None = Field(
        default=None, description="As the plan's `unplanned_properties`, for this event."
    )
    feature: str | None = Field(
        default=None,
        description="The product feature that this event is a use of; see `cdp_assets.Features`.",
    )
    owner: str | None = Field(default=None, description="Who answers for this event.")
    description: str | None = Field(default=None, description="When it is sent, for people.")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.schema_ is not None and self.properties:
            raise ValueError("give either `properties` or `schema`")
        return self


class TrackingPlanConfig(_Model):
    """A tracking plan: the events that sources may send, and their properties."""

    violations: Policy = Field(
        default="flag",
        description="What becomes of an event whose properties break the plan. allow: nothing; "
        "flag: it is stored with `violation:…` in its flags; drop: it is counted and not kept; "
        "quarantine: it waits in raw/quarantine until `cdp replay events`; block: the same, and "
        "the collector tells the sender.",
    )
    unplanned_events: Policy = Field(
        default="flag",
        description="What becomes of a track event that the plan does not name; as `violations`.",
    )
    unplanned_properties: Policy = Field(
        default="allow",
        description="What becomes of an event with a property that the plan does not name; as "
        "`violations`.",
    )
    version: str | int | None = Field(
        default=None,
        description="The plan's version, kept with every violation. Raise it when the plan "
        "changes.",
    )
    owner: str | None = Field(default=None, description="Who answers for the plan.")
    tables: bool = Field(
        default=True,
        description="Whether the properties of each planned event are columns of its own table "
        "`events/<event>`.",
    )
    schema_: str | None = Field(
        default=None,
        alias="schema",
        description="A file beside this one that names the events with a JSON Schema each: "
        '`{"events": {NAME: SCHEMA}}`, or a tracking plan as Segment exports it.',
    )
    events: Mapping[str, EventRule] = Field(
        default_factory=dict, description="Name of a track event → what it may say."
    )
    identify: EventRule | None = Field(
        default=None, description="What identify calls may say in `traits`."
    )
    group: EventRule | None = Field(
        default=None, description="What group calls may say in `traits`."
    )
    page: EventRule | None = Field(
        default=None, description="What page calls may say in `properties`."
    )
    screen: EventRule | None = Field(
        default=None, description="What screen calls may say in `properties`."
    )

    @field_validator("events")
    @classmethod
    def _names(cls, events: Mapping[str, EventRule]) -> Mapping[str, EventRule]:
        for name in events:
            if not name.strip() or len(name) > MAX_ID:
                raise ValueError(f"the name of an event has 1 to {MAX_ID} characters")
            if name != name.strip():
                raise ValueError(f"{name!r}: names of events are compared without outer blanks")
        return events
