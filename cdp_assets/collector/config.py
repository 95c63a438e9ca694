"""What a deployment says of a source of events that come over HTTP (`EventSource`)."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cdp_assets.events.enrich.kinds import Enrich

IpPolicy = Literal["full", "truncate", "drop"]
_ORIGIN = re.compile(r"https?://(\*\.)?[a-z0-9.-]+(:\d{1,5})?|\*|null")


class EventSourceConfig(BaseModel):
    """Events of websites, apps and servers, sent to the collector (`cdp serve`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    write_key: str | None = Field(
        default=None,
        description="The public key that pages and apps send with each event, 8 to 128 letters, "
        "digits and signs. It can only write. Servers have keys of their own: "
        "`cdp keys create SOURCE`.",
    )
    origins: list[str] = Field(
        default_factory=lambda: ["*"],
        description="Websites whose pages may send with `write_key`: `https://www.example.com`, "
        "`https://*.example.com`; by default any.",
    )
    ip: IpPolicy = Field(
        default="full",
        description="What is kept of the sender's address: `full`, `truncate` (its last 8 bits, of "
        "IPv6 the last 80, become 0) or `drop`. It happens before anything is written.",
    )
    rate: int | None = Field(
        default=None,
        ge=1,
        description="Events a second that each of the source's keys may send to one worker, "
        "measured over ten seconds; beyond it senders are told to wait (429). By default no limit.",
    )
    tracking_plan: str | None = Field(
        default=None, description="The tracking plan that its events are held against."
    )
    transform: str | None = Field(
        default=None,
        description="A file beside this one that makes of each line what is judged and stored: "
        "`transform.py` with `def transform(event)`, or `transform.sql`.",
    )
    enrich: Enrich
    purpose: str | None = Field(
        default=None, description="What these events may be used for; kept with each event."
    )
    start: date | None = Field(
        default=None,
        description="First day that backfills offer; by default the deployment's start.",
    )

    @field_validator("write_key")
    @classmethod
    def _plain(cls, key: str | None) -> str | None:
        if key is None or "{{" in key:
            return key  # an environment variable that is not set is told as such
        if not re.fullmatch(r"[\x21-\x39\x3b-\x7e]{8,128}", key):
            raise ValueError("a write key is 8 to 128 letters, digits and signs but `:`, no blank")
        return key

    @field_validator("origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        found = [origin.lower().rstrip("/") for origin in origins]
        for origin in found:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"{origin!r} is no origin: scheme and host, such as https://www.example.com"
                )
        return found
