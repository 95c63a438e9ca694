"""Every setting of the platform, read from the environment (`CDP_*`), with its default."""

from __future__ import annotations

import os
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _data_home() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "cdp"


class Settings(BaseSettings):
    """The deployment's settings. Each field is the environment variable `CDP_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="CDP_", extra="ignore")

    home: Path = Field(
        default_factory=_data_home,
        description="Folder for everything that lasts: lake, store, Dagster's storage, "
        "descriptions of outside systems, the sandbox's world.",
    )
    store_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the operational database; by default SQLite in the home.",
    )
    now: datetime | None = Field(
        default=None,
        description="The time that builds take as now (ISO 8601, UTC if it names no zone); "
        "by default the clock.",
    )
    timezone: str = Field(default="UTC", description="IANA zone whose days `within:` counts in.")
    env: Literal["development", "production"] = Field(
        default="development",
        description="`production` lets syncs write to outside systems; otherwise they only plan "
        "(a stand-in on 127.0.0.1 may always be written to).",
    )
    start: date | None = Field(
        default=None,
        description="Nothing before this day is pulled or partitioned, whatever `start` says in "
        "defs/: limits the history on a laptop.",
    )
    defs: Path | None = Field(
        default=None,
        description="Folder of the deployment's definitions; by default the package's own `defs/`.",
    )
    alert_webhook: SecretStr | None = Field(
        default=None,
        description="Address that alerts are posted to as JSON (a `text` field too, as chats "
        "expect it): failed runs, refused rows, failed checks, plans that wait.",
    )
    alert_email: str | None = Field(
        default=None, description="Addresses that the same alerts are mailed to, by commas."
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server for `alert_email`: smtp://HOST:25, "
        "smtp+starttls://USER:PASSWORD@HOST:587 or smtps://USER:PASSWORD@HOST:465.",
    )
    ui_url: str = Field(
        default="http://127.0.0.1:3000", description="Address of Dagster's UI, for links in alerts."
    )
    write_keys: str | None = Field(
        default=None,
        description="Public write keys for a quick start, `source:key` by commas: events that bear "
        "the key are of that source, without a folder in defs/.",
    )
    trusted_proxies: str | None = Field(
        default=None,
        description="Addresses or networks, by commas, of the proxies before the collector: only "
        "of these is `X-Forwarded-For` believed.",
    )
    seal_seconds: float = Field(
        default=10,
        gt=0,
        description="Age in seconds at which the collector closes a segment of its log, so that "
        "its events can be ingested.",
    )
    geo_database: Path | None = Field(
        default=None,
        description="Database of places by address, in MaxMind's format (`.mmdb`: GeoLite2-City, "
        "DB-IP …), for the enrichment `place`.",
    )
    debug: bool = Field(
        default=False,
        description="Let the text of an unexpected error reach Dagster's logs. It may quote a "
        "person's data, so by default only its kind and place do.",
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""}

    @field_validator("home", "defs", "geo_database", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().absolute() if path is not None else None

    @field_validator("home", mode="after")
    @classmethod
    def _readable(cls, path: Path) -> Path:
        if any(part.is_file() for part in (path, *path.parents)):
            raise ValueError(f"{path} is, or lies in, a file; it has to be a folder")
        # polars takes NAME=VALUE in any folder for a partition; deltalake decodes paths twice.
        if re.search(r"=|\\|[\x00-\x1f]|%[0-9A-Fa-f]{2}", str(path)):
            raise ValueError(
                "no folder of its path may hold `=`, a backslash, a line break or `%` before two "
                "hexadecimal digits: tables there cannot be read. Choose another folder"
            )
        return path

    @field_validator("now", mode="after")
    @classmethod
    def _utc(cls, now: datetime | None) -> datetime | None:
        if now is None:
            return None
        return now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)

    @field_validator("timezone", mode="after")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is not an IANA time zone, such as Europe/Berlin") from error
        return name

    @property
    def lake(self) -> Path:
        """Root folder of the Delta tables."""
        return self.home / "lake"

    @property
    def landing(self) -> Path:
        """Folder of the collector's log."""
        return self.home / "landing"

    @property
    def descriptions(self) -> Path:
        """Folder of the stored descriptions of outside systems, one JSON file a source."""
        return self.home / "descriptions"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the operational database."""
        return self.store_url or f"sqlite:///{self.home / 'store.db'}"

    def clock(self) -> datetime:
        """`CDP_NOW` where it is set, else the present moment, in UTC."""
        return self.now or datetime.now(UTC)


def load_home_env(home: Path) -> None:
    """Set the variables of `<home>/env` (lines NAME=value) that the environment does not set."""
    file = home / "env"
    if not file.is_file():
        return
    for line in file.read_text("utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator and name.strip() and not name.lstrip().startswith("#"):
            os.environ.setdefault(name.strip(), value.strip())


def crash_point(name: str) -> None:
    """End the process at once where `CDP_CRASH_AT` names this point: how the tests prove that a
    step killed between two commits leaves no trace."""
    if os.environ.get("CDP_CRASH_AT") == name:
        os._exit(137)
