"""What `type: cdp_assets.HubSpot` may say."""

from __future__ import annotations

from pydantic import Field, SecretStr

from cdp_assets.connectors.config import CrmConfig


class HubSpotConfig(CrmConfig):
    """A HubSpot account, entered with a private app's token."""

    url: str = Field(default="https://api.hubapi.com", description="Address of the API.")
    token: SecretStr = Field(description="Access token of a private app.")
    requests_per_10s: int = Field(
        default=190, gt=0, description="Requests in ten seconds that the account allows an app."
    )
    searches_per_second: float = Field(
        default=4.0, gt=0, description="Search requests a second; the account allows five."
    )
    search_limit: int = Field(
        default=10_000,
        ge=2,
        description="Records that one search can page through; windows are halved below it.",
    )
