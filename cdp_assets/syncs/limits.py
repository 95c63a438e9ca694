"""When a sync stops by itself."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)


class Limit(BaseModel):
    """A limit of rows: a share (0 to 1) of some whole, or a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float | None = Field(default=None, ge=0, le=1)
    rows: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_form(self) -> Limit:
        if (self.share is None) == (self.rows is None):
            raise ValueError("a limit is a share or a number of rows, one of the two")
        return self

    def allows(self, count: int, whole: int) -> bool:
        """Whether `count` rows of `whole` are within the limit."""
        if self.rows is not None:
            return count <= self.rows
        return count <= (self.share or 0.0) * whole

    def __str__(self) -> str:
        return str(self.rows) if self.share is None else f"{self.share * 100:g}%"


def _limit(value: Any) -> Any:
    if isinstance(value, Limit | dict):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Limit(rows=value)
    if isinstance(value, str):
        text = value.strip()
        if text.isdigit():
            return Limit(rows=int(text))
        if re.fullmatch(r"\d{1,3}(\.\d+)?\s*%", text) and float(text[:-1]) <= 100:
            return Limit(share=float(text[:-1]) / 100)
    raise ValueError("a limit is a share such as 20% or a number of rows such as 200")


Threshold = Annotated[
    Limit, BeforeValidator(_limit), WithJsonSchema({"type": ["string", "integer"]})
]


class StopIf(BaseModel):
    """When a sync stops by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    changed: Threshold | None = Field(
        None,
        description="More rows would change than this share of the records told before (or than "
        "this number). Says nothing of a first run.",
    )
    created: Threshold | None = Field(
        None,
        description="More records would be created than this number, or than this share of the "
        "profiles.",
    )
    deleted: Threshold | None = Field(
        None,
        description="Mode mirror: more records of profiles that left would be emptied or deleted "
        "than this share of the records told before (one is always allowed by a share), or than "
        "this number. 5% where `gone` is archive or delete, unless another is given. A source "
        "without any profile stops the sync too, unless this is given.",
    )
    failed: Threshold | None = Field(
        None,
        description="While applying: more rows were refused than this share of the plan (one is "
        "always allowed by a share), or than this number; the rest is not sent.",
    )


NO_LIMITS = StopIf(changed=None, created=None, deleted=None, failed=None)
FEW = Limit(share=0.05, rows=None)
"""What may be deleted at once where nothing else is said."""
