"""What `type: cdp_assets.Zendesk` may say."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, model_validator

from cdp_assets.connectors.config import CrmConfig, Duration


class ZendeskConfig(CrmConfig):
    """A Zendesk Support account, entered with an agent's API token, an OAuth access token, or the
    id and secret of an OAuth client that may ask for one."""

    url: str = Field(description="The account's own address, https://COMPANY.zendesk.com")
    email: str = Field(default="", description="Whose API token `token` is.")
    token: SecretStr | None = Field(default=None, description="API token of that agent.")
    oauth_token: SecretStr | None = Field(
        default=None, description="OAuth access token, in place of `email` and `token`."
    )
    client_id: str | None = Field(
        default=None,
        description="OAuth client whose tokens are asked for by its own credentials and renewed "
        "when they end, in place of the other two ways.",
    )
    client_secret: SecretStr | None = Field(default=None, description="That client's secret.")
    scope: str = Field(
        default="read write", description="What a token of `client_id` is asked to allow."
    )
    requests_per_minute: int = Field(
        default=200, gt=0, description="Requests a minute that the account's plan allows."
    )
    exports_per_minute: int = Field(
        default=10, gt=0, description="Requests a minute to incremental exports."
    )
    job_patience: Duration = Field(
        default=timedelta(minutes=10), description="How long to wait for a job of a bulk write."
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        ways = [self.token, self.oauth_token, self.client_id]
        if sum(way is not None for way in ways) != 1:
            raise ValueError(
                "say one of `token` (with `email`), `oauth_token`, `client_id` (with "
                "`client_secret`)"
            )
        if self.client_id is not None and self.client_secret is None:
            raise ValueError("`client_id` needs `client_secret`")
        if self.token is not None and not self.model_fields_set & {"email"}:
            raise ValueError("`token` needs `email`")
        return self
