"""Whether a sync may write to an outside system from here."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

PRODUCTION = "production"


def may_write(env: str, url: str) -> bool:
    """Whether `CDP_ENV=env` lets a sync write to the system at `url`: in production to any,
    elsewhere only to a stand-in on this machine (127.0.0.0/8, ::1, localhost)."""
    if env == PRODUCTION:
        return True
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refusal(env: str, source: str) -> str:
    """What people are told where `may_write` says no."""
    return (
        f"Planned only: CDP_ENV is {env!r}, so nothing is written to {source}. Set "
        f"CDP_ENV={PRODUCTION} where writing is meant; a stand-in on 127.0.0.1 may always be "
        "written to."
    )
