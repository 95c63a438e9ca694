"""What `type: cdp_assets.Salesforce` may say."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from cdp_assets.connectors.base import Description
from cdp_assets.connectors.config import CrmConfig, ObjectConfig, Share
from cdp_assets.connectors.salesforce.streams import FIRST
from cdp_assets.settings import Settings

API_VERSION = "62.0"
ALL = "all"


class SalesforceConfig(CrmConfig):
    """A Salesforce org, signed in to by OAuth: client credentials, a private key (JWT bearer) or a
    refresh token."""

    # A mistake's text would show what was given, secrets too.
    model_config = ConfigDict(hide_input_in_errors=True)

    client_id: SecretStr = Field(description="Consumer key of the connected app.")
    client_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Consumer secret of the connected app; needed by the client credentials flow.",
    )
    private_key: SecretStr | None = Field(
        default=None,
        description="RSA key (PEM) whose certificate the connected app holds: sign in by JWT "
        "bearer, as `username`.",
    )
    username: str = Field(default="", description="The user that `private_key` signs in as.")
    refresh_token: SecretStr | None = Field(
        default=None, description="Sign in by this refresh token of a user; without rotation."
    )
    login_url: str = Field(
        default="",
        description="Where to sign in by key or refresh token, where it is not `url`: "
        "https://login.salesforce.com, or https://test.salesforce.com for sandbox orgs.",
    )
    leave_out: list[str] = Field(
        default_factory=list,
        description="Objects that are not pulled where `objects` is all. `all` stands for every "
        "object that the user may query and that tells when it changes, but for sharing rows, "
        "feeds and the org's own machinery; which they are is known by `cdp describe NAME`, until "
        "then Account, Contact, Lead and Opportunity.",
    )
    api_budget: Share = Field(
        default=0.5,
        description="The share of the org's daily API requests that this deployment may use, "
        "counted over all its runs. The last 5 % of the allowance are left alone whatever it says.",
    )
    api_version: str = Field(
        default=API_VERSION, pattern=r"^\d+\.\d$", description="REST API version."
    )
    page_size: int = Field(
        default=2000, ge=200, le=2000, description="Records a page of a query holds."
    )
    bulk_above: int = Field(
        default=50_000,
        ge=0,
        description="Windows of more records than this are pulled by Bulk API 2.0, which takes "
        "fewer requests; 0: never. What Bulk does not take is pulled by REST.",
    )
    bulk_write_above: int = Field(
        default=2_000,
        ge=0,
        description="Writes of more rows than this go by one Bulk API 2.0 job, others by calls of "
        "200 rows; 0: all by calls. Above 0 a sync's brakes are looked at after 10,000 rows, at 0 "
        "after 200.",
    )
    save_duplicates: bool = Field(
        default=False,
        description="Write although a duplicate rule warns; otherwise such a row is a conflict.",
    )

    @field_validator("objects", mode="before")
    @classmethod
    def _all(cls, value: Any) -> Any:
        return [ALL] if value == ALL else value

    @property
    def object_configs(self) -> dict[str, ObjectConfig]:
        named = super().object_configs
        if named.pop(ALL, None) is None:
            return named
        folder = Settings().descriptions
        found = _streams(folder, self._source, stamp(folder, self._source)) or FIRST
        others = {name: ObjectConfig(name=name) for name in found if name not in self.leave_out}
        return {**others, **named}

    @model_validator(mode="after")
    def _some_way_in(self) -> SalesforceConfig:
        """One way to sign in is configured; whether it is filled is seen when it is used."""
        if not {"client_secret", "private_key", "refresh_token"} & self.model_fields_set:
            raise ValueError("one of client_secret, private_key and refresh_token is needed")
        if self.private_key is not None and not self.username:
            raise ValueError("private_key needs a username, the user to sign in as")
        return self


def stamp(folder: Path, source: str) -> int:
    """When the kept description of a system was last written; 0 for never."""
    path = folder / f"{source}.json"
    return path.stat().st_mtime_ns if source and path.exists() else 0


@lru_cache(maxsize=16)
def _streams(folder: Path, source: str, written: int) -> tuple[str, ...]:
    described = Description.load(folder, source) if written else None
    return described.streams if described else ()
