"""What a deployment says of its files of events and rows (`EventFiles`, `Files`)."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from cdp_assets.events.enrich import Enrichments
from cdp_assets.events.enrich.kinds import Enrich
from cdp_assets.events.model import MAX_ID
from cdp_assets.events.plan.rules import Plan
from cdp_assets.events.transform import Transform
from cdp_assets.raw.tables import table_name

ENVELOPE_FIELDS = (
    "userId", "anonymousId", "groupId", "messageId", "timestamp", "originalTimestamp", "sentAt",
    "receivedAt",
)  # fmt: skip
"""Fields of an event that a row's column may fill; every other name is a property."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class EventFilesConfig(_Model):
    """Files of events in Segment's JSON shape, one event a line, plain or gzip."""

    path: str = Field(min_length=1, description="Glob of the files; `**` reaches into subfolders.")
    purpose: str | None = Field(
        default=None, description="What these events may be used for; kept with each event."
    )
    start: date | None = Field(
        default=None,
        description="First day that backfills offer; by default the deployment's start.",
    )
    tracking_plan: str | None = Field(
        default=None,
        description="Name of the `cdp_assets.TrackingPlan` that its events are judged by.",
    )
    transform: str | None = Field(
        default=None,
        description="A file beside this one that makes of each line what is judged and stored: "
        "`transform.py` with `def transform(event)`, or `transform.sql`.",
    )
    enrich: Enrich


class FilesConfig(_Model):
    """Rows of CSV, JSONL or Parquet files, as events (`event`) or records of an entity (`as`)."""

    path: str = Field(min_length=1, description="Glob of the files; `**` reaches into subfolders.")
    event: str | None = Field(
        default=None, max_length=MAX_ID, description="Each row is a track event of this name."
    )
    as_: str | None = Field(
        default=None, alias="as", description="Each row is a record of this entity."
    )
    key: str | None = Field(
        default=None,
        description="With `as`: the column that holds the record's id; without it, each row of "
        "each file is a record of its own.",
    )
    fields: Mapping[str, str] = Field(
        default_factory=dict,
        description="Field → column. With `event`: userId, anonymousId, groupId, messageId, "
        "timestamp, and names of properties; columns not named here become properties under "
        "their own names. With `as`: trait → column.",
    )
    separator: str | None = Field(
        default=None,
        description="What separates the columns of a CSV file; a blank stands for any run of "
        "blanks. By default found from the header.",
    )
    date_format: str | None = Field(
        default=None,
        description="How `timestamp` is written, as in strptime (`%d.%m.%Y`); by default ISO "
        "8601, eight digits or an epoch number. No zone is UTC. With `event` only.",
    )
    encoding: str | None = Field(
        default=None, description="The text's encoding, where it is not UTF-8 (`latin-1`)."
    )
    purpose: str | None = Field(
        default=None,
        description="What these events may be used for; kept with each event. With `event` only.",
    )
    start: date | None = Field(
        default=None,
        description="First day that backfills offer; by default the deployment's start. With "
        "`event` only.",
    )
    tracking_plan: str | None = Field(
        default=None,
        description="Name of the `cdp_assets.TrackingPlan` that its events are judged by. With "
        "`event` only.",
    )
    transform: str | None = Field(
        default=None,
        description="A file beside this one that makes of each line what is judged and stored: "
        "`transform.py` with `def transform(event)`, or `transform.sql`. With `event` only.",
    )
    enrich: Enrich

    @field_validator("as_")
    @classmethod
    def _entity(cls, name: str | None) -> str | None:
        return name if name is None else table_name(name)

    @field_validator("separator")
    @classmethod
    def _one_sign(cls, text: str | None) -> str | None:
        text = {"\\t": "\t", "tab": "\t", "space": " "}.get(text, text) if text else text
        if text is not None and len(text) != 1:
            raise ValueError("separator is one character, such as ';', or tab, or space")
        return text

    @field_validator("encoding")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        try:
            return name and codecs.lookup(name).name
        except LookupError as error:
            raise ValueError(f"{name!r} is no encoding that Python knows") from error

    @field_validator("date_format")
    @classmethod
    def _a_date(cls, text: str | None) -> str | None:
        if text is not None:
            moment = datetime(2001, 2, 3, 4, 5, 6)
            try:
                read = datetime.strptime(moment.strftime(text), text)
            except ValueError as error:
                raise ValueError(f"{text!r} is no format of strptime") from error
            if read.date() != moment.date():
                raise ValueError(f"{text!r} does not name a whole date (year, month and day)")
        return text

    @model_validator(mode="after")
    def _one_use(self) -> Self:
        if (self.event is None) == (self.as_ is None):
            raise ValueError("give either `event` (rows are events) or `as` (rows are records)")
        if self.event is not None:
            if self.key is not None:
                raise ValueError("`key` belongs to `as`; the id of an event is `fields: messageId`")
            if not {"userId", "anonymousId"} & set(self.fields):
                raise ValueError("`fields` names no column for userId or anonymousId")
        else:
            given = {
                "date_format": self.date_format,
                "purpose": self.purpose,
                "start": self.start,
                "tracking_plan": self.tracking_plan,
                "transform": self.transform,
                "enrich": self.enrich or None,
            }
            if useless := [f"`{name}`" for name, value in given.items() if value is not None]:
                names = ", ".join(useless)
                raise ValueError(
                    f"{names} of rows that are records (`as`) would do nothing: records keep their "
                    "values as written, and are read once, not by days. Leave it out, or give "
                    "`event`"
                )
        return self


@dataclass(frozen=True)
class LandedConfig:
    """The landing log: segments of the requests of all sources that send over HTTP.

    path: glob of the sealed segments. purposes: source → what its events may be used for.
    """

    path: str
    purposes: Mapping[str, str | None]


LANDED = "collector"
"""The name under which raw/files keeps segments; no folder of defs/ may bear it."""


@dataclass(frozen=True)
class EventFilesSpec:
    """One source of events: its name in the deployment and what was declared of it.

    plans, transforms: source → the tracking plan that its events are judged by, and what makes
    its lines what is judged, if any; of the landing log those of all its sources. enrich: what is
    added to the events of each source.
    """

    name: str
    config: EventFilesConfig | FilesConfig | LandedConfig
    plans: Mapping[str, Plan] = field(default_factory=dict)
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    enrich: Enrichments = field(default_factory=Enrichments)
