"""What `type: cdp_assets.SugarCRM` may say."""

from __future__ import annotations

from pydantic import Field, SecretStr

from cdp_assets.connectors.config import CrmConfig


class SugarCRMConfig(CrmConfig):
    """A SugarCRM instance, entered as a user of its own on a platform of its own."""

    url: str = Field(description="The instance's own address, https://COMPANY.sugarondemand.com")
    username: str = Field(description="The user who signs in; upserts by sync_key need an admin.")
    password: SecretStr = Field(description="That user's password.")
    client_id: str = Field(default="sugar", description="Consumer key of the OAuth key to use.")
    client_secret: SecretStr = Field(
        default=SecretStr(""), description="That key's secret; `sugar` has none."
    )
    platform: str = Field(
        default="cdp",
        pattern=r"^[A-Za-z0-9_-]{1,127}$",
        description="Name of the API platform that an admin registered for this deployment alone: "
        "a second sign-in on one platform ends the first.",
    )
    api_version: str = Field(
        default="v11_10", pattern=r"^v\d+(_\d+)?$", description="Version of the REST API."
    )
    page_size: int = Field(default=500, ge=1, le=10_000, description="Records a page (`max_num`).")
    bulk_size: int = Field(
        default=50,
        ge=1,
        le=500,
        description="Rows that one bulk request writes, in turn.",
    )
