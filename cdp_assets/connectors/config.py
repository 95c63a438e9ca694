"""Configuration that all outside systems share."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    WithJsonSchema,
)

from cdp_assets.connectors.base import ConnectorError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(value: Any) -> timedelta:
    """`15m`, `2h`, `1d`, `30s` → timedelta; raises ValueError naming the form."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"\s*(\d{1,5})\s*([smhd])\s*", value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("expected a duration such as 30s, 15m, 2h or 1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_share(value: Any) -> float:
    """`30%` or 0.3 → 0.3; raises ValueError naming the form."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*%\s*", value):
        value = float(value.strip().rstrip("%")) / 100
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError("expected a share such as 30%")
    return float(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+\s*[smhd]\s*$", "examples": ["15m"]}),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$", "examples": ["30%"]},
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            ]
        }
    ),
]


class ObjectConfig(BaseModel):
    """One object of a system, where more than its name is said."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: str = Field(min_length=1, description="The object's name in the system.")
    as_: str | None = Field(
        default=None,
        alias="as",
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="The entity its records are: a common one (person, account, …) or your own.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="Your name → the object's field. `account`, `person`, `owner`, `opportunity` "
        "and `ticket` are read as references to records of these.",
    )


class CrmConfig(BaseModel):
    """What every CRM's configuration says."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(description="The system's own address, https://…")
    objects: list[str | ObjectConfig] = Field(
        min_length=1, description="Objects to pull: names, or what more is said of one."
    )
    start: date = Field(
        default=date(2000, 1, 1),
        description="The first day to pull: records last changed before it are left out.",
    )
    every: Duration = Field(
        default=timedelta(minutes=15),
        description="How often a sensor asks for news. A full round is made once a day anyhow, "
        "since archived and merged records show in no cursor.",
    )

    reconcile: Literal["daily", "weekly", "never"] = Field(
        default="weekly",
        description="How often all keys of the system are compared with what is stored: it finds "
        "what no cursor shows, as records deleted for good or stamped too early.",
    )
    reconcile_limit: Share = Field(
        default=0.05,
        description="Share of an object's records that may be gone at once; above it nothing is "
        "marked as deleted, since a lost right to read looks the same.",
    )
    reread: bool = Field(
        default=False,
        description="Pull everything again at each comparison of keys: finds changed formulas, "
        "which move no cursor, at the price of a whole pull.",
    )

    _source: str = PrivateAttr("")

    def called(self, source: str) -> Self:
        """This configuration, knowing by what name its system is declared."""
        self._source = source
        return self

    @property
    def object_configs(self) -> dict[str, ObjectConfig]:
        """Object name → its configuration, in the order given."""
        found = [ObjectConfig(name=o) if isinstance(o, str) else o for o in self.objects]
        return {o.name: o for o in found}

    @property
    def start_at(self) -> datetime:
        """`start` as the moment its day begins, UTC."""
        return datetime.combine(self.start, time.min, UTC)


def url_mistake(url: str) -> str | None:
    """What keeps `url` from being sent credentials; None for https, or http on this machine."""
    if not url.strip():
        return "is empty"
    try:
        parts = urlsplit(url.strip())
        scheme, host = parts.scheme, parts.hostname
    except ValueError:
        return "is no address"
    local = host in {"127.0.0.1", "localhost", "::1"}
    if host and (scheme == "https" or (scheme == "http" and local)):
        return None
    return "must begin with https:// (http://127.0.0.1 also)"


def require_url(source: str, url: str) -> str:
    """`url` where it may carry credentials: https, or http on this machine."""
    problem = url_mistake(url)
    if problem is None:
        return url.strip().rstrip("/")
    raise ConnectorError(
        f"{source}: its `url` {problem}. Not retried. Set it in defs/{source}/defs.yaml, or the "
        "environment variable named there."
    )


def require_secret(source: str, name: str, secret: SecretStr) -> str:
    """The secret's text; an error that names the option where it is empty."""
    value = secret.get_secret_value().strip()
    if not value:
        raise ConnectorError(
            f"{source}: its `{name}` is empty. Not retried. Set the environment variable that "
            f"defs/{source}/defs.yaml names for it."
        )
    return value
