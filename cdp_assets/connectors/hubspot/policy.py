"""What HubSpot's answers mean beyond HTTP: errors, limits, and our share of the day's requests."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from cdp_assets.connectors.base import BudgetSpent
from cdp_assets.connectors.policy import PlainPolicy
from cdp_assets.connectors.usage import DailyUsage

RESERVE = 0.05


class _Detail(msgspec.Struct):
    message: str = ""
    code: str = ""


class _Error(msgspec.Struct):
    message: str = ""
    category: str = ""
    subCategory: Any = None  # noqa: N815 - the API's own name
    policyName: str = ""  # noqa: N815
    errors: list[_Detail] = []


class HubSpotPolicy(PlainPolicy):
    """HubSpot's errors and limits. It promises no Retry-After; the policy's name tells.

    budget: requests of the day that are used, and allowed; None before an answer told them.
    """

    def __init__(self, source: str, share: float, usage: DailyUsage | None = None) -> None:
        """share: the part of the day's requests that this deployment may use. usage: what it has
        used."""
        self._source = source
        self._share = share
        self._usage = usage or DailyUsage(source)
        self._lock = threading.Lock()
        self.budget: tuple[int, int] | None = None

    def check(self) -> None:
        if self.budget is None:
            return
        used, allowed = self.budget
        own = self._usage.total
        if own >= self._share * allowed:
            raise BudgetSpent(
                f"{self._source}: our share of the account's daily requests is used up "
                f"({own} of {allowed}, api_budget {self._share:.0%}). It goes on from here "
                "tomorrow; raise `api_budget` to allow more."
            )
        if used >= (1 - RESERVE) * allowed:
            raise BudgetSpent(
                f"{self._source}: {used} of the account's {allowed} daily requests are used; the "
                f"last {RESERVE:.0%} are left alone. A later run goes on from here."
            )

    def wait(self, status: int, headers: Mapping[str, str], body: bytes) -> float | None:
        if status == 423:
            return 2.0
        name = _error(body).policyName.upper()
        if "TEN_SECONDLY" in name:
            return 10.0
        return 1.0 if "SECONDLY" in name else None

    def stop(self, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        if status != 429 or "DAILY" not in _error(body).policyName.upper():
            return None
        return (
            "the account's daily requests are used up. Not retried. They come back at midnight of "
            "the account's time zone; a later run goes on from here."
        )

    def seen(self, headers: Mapping[str, str]) -> None:
        """Keep the day's allowance, as answers tell it; those of searches and of apps that were
        signed in to by OAuth do not."""
        allowed = headers.get("X-HubSpot-RateLimit-Daily", "")
        left = headers.get("X-HubSpot-RateLimit-Daily-Remaining", "")
        self._usage.add()
        with self._lock:
            if allowed.isdigit() and left.isdigit() and int(allowed):
                self.budget = (max(int(allowed) - int(left), 0), int(allowed))

    def codes(self, body: bytes) -> tuple[tuple[str, ...], str]:
        error = _error(body)
        if not (error.category or error.message):
            return super().codes(body)
        sub = error.subCategory if isinstance(error.subCategory, str) else ""
        codes = tuple(c for c in (error.category, sub, *(e.code for e in error.errors)) if c)
        return tuple(dict.fromkeys(codes)), error.message


def _error(body: bytes) -> _Error:
    try:
        return msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return _Error()
