"""What a data team writes of sessions: the `attributes` of the `cdp_assets.Sessions`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from cdp_assets.connectors.config import Duration
from cdp_assets.events.hosts import bare_host

PAYMENT_PROVIDERS = (
    "2checkout.com", "adyen.com", "affirm.com", "afterpay.com", "braintreegateway.com",
    "checkout.com", "klarna.com", "mollie.com", "paypal.com", "sagepay.com",
    "squareup.com", "stripe.com", "worldpay.com",
)  # fmt: skip
"""Where buyers are sent to pay and come back from: they brought nobody."""

HEARTBEATS = ("Heartbeat", "Page Ping", "page_ping", "user_engagement")
"""Names under which trackers say that a page is still open."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_listed)]


class SessionsConfig(BaseModel):
    """How the events of a device become sessions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout: Duration = Field(
        default=timedelta(minutes=30),
        description="A pause longer than this ends a session.",
    )
    midnight: bool = Field(
        default=False,
        description="Also begin a new session at midnight of `timezone`, as older tools do.",
    )
    campaign_change: bool = Field(
        default=True,
        description="Also begin a new session where a visitor comes by another campaign (source, "
        "medium, name or kind of click id).",
    )
    timezone: str | None = Field(
        default=None,
        description="IANA zone of the reporting day and of `midnight`; by default CDP_TIMEZONE.",
    )
    domains: Texts = Field(
        default_factory=list,
        description="Domains of one's own, subdomains included: a referrer of theirs is none, nor "
        "is a campaign in a link from them. A page's own registered domain always is.",
    )
    ignore_referrers: Texts = Field(
        default_factory=lambda: list(PAYMENT_PROVIDERS),
        description="Domains, subdomains included, that bring nobody though people come from "
        "them; by default payment providers. Giving a list replaces it.",
    )
    heartbeats: Texts = Field(
        default_factory=lambda: list(HEARTBEATS),
        description="Names of events that only say that a page is open: they count as engaged "
        "time, and neither open a session nor prolong it.",
    )
    heartbeat: Duration = Field(
        default=timedelta(seconds=10),
        description="How often the tracker sends them.",
    )
    engaged_time: str | None = Field(
        default="Page Engaged.engaged_seconds",
        description="Event and property (EVENT.property) by which a page tells the seconds in "
        "which it was looked at, as the snippet does; the event is a heartbeat too. Null: none.",
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        try:
            if name is not None:
                ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is not an IANA time zone, such as Europe/Berlin") from error
        return name

    @field_validator("engaged_time")
    @classmethod
    def _of_event(cls, name: str | None) -> str | None:
        if name is not None and not all(part.strip() for part in name.rpartition(".")[::2]):
            raise ValueError(f"{name!r} is no property of an event: write EVENT.property")
        return name

    @property
    def engagement(self) -> tuple[str, str] | None:
        """The event and the property of `engaged_time`."""
        event, _, name = (self.engaged_time or "").rpartition(".")
        return (event, name) if event else None

    @field_validator("domains", "ignore_referrers")
    @classmethod
    def _hosts(cls, names: list[str]) -> list[str]:
        for name in names:
            if bare_host(name) != name.strip().lower() or "." not in name:
                raise ValueError(f"{name!r} is not a domain: write it as example.com")
        return [bare_host(name) or "" for name in names]

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if self.heartbeat >= self.timeout:
            raise ValueError("`heartbeat` has to be shorter than `timeout`")
        return self
