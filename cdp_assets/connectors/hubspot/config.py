"""What `type: cdp_assets.HubSpot` may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from cdp_assets.connectors.config import CrmConfig, Share


class BridgeConfig(BaseModel):
    """HubSpot's own connector for Salesforce, where the account has it."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(description="Name of the Salesforce org in defs/.")
    fields: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="`contacts` or `companies` → property → the Salesforce field that the "
        "connector keeps like it.",
    )


class HubSpotConfig(CrmConfig):
    """A HubSpot account, entered with a private app's token, or as an app that was installed in it
    (`client_id`, `client_secret` and `refresh_token`)."""

    url: str = Field(default="https://api.hubapi.com", description="Address of the API.")
    token: SecretStr | None = Field(default=None, description="Access token of a private app.")
    client_id: SecretStr | None = Field(
        default=None, description="Client id of an app that signs in by OAuth."
    )
    client_secret: SecretStr | None = Field(default=None, description="Its client secret.")
    refresh_token: SecretStr | None = Field(
        default=None, description="The refresh token that the app was given when it was installed."
    )
    api_budget: Share = Field(
        default=0.5,
        description="The share of the day's requests that this deployment may use, counted over "
        "all its runs, where the account tells how many there are (to private apps). The last 5 % "
        "are left alone whatever it says.",
    )
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
    lists: list[str] = Field(
        default_factory=list,
        description="Names of the lists whose members are pulled as `list_members`; all lists if "
        "none is named.",
    )
    email_event_types: list[str] = Field(
        default=["SENT", "OPEN", "CLICK", "BOUNCE", "STATUSCHANGE"],
        min_length=1,
        description="Events of marketing e-mails that are pulled as `email_events`; STATUSCHANGE "
        "is how people subscribe and unsubscribe.",
    )
    history: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Object → properties whose former values are pulled as `<object>_history` "
        "(`contacts_history`); all that can be filled in if none is named.",
    )

    bridge: BridgeConfig | None = Field(
        default=None,
        description="HubSpot's own connector for Salesforce, which writes both ways: its cross ids "
        "join records, and its copies of what we wrote are no news.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> HubSpotConfig:
        app = (self.client_id, self.client_secret, self.refresh_token)
        if (self.token is None) == all(part is None for part in app):
            raise ValueError("give `token`, or `client_id`, `client_secret` and `refresh_token`")
        if self.token is None and None in app:
            raise ValueError("OAuth takes `client_id`, `client_secret` and `refresh_token`")
        return self
