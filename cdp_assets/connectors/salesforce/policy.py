"""What Salesforce's answers mean: its error codes, its daily allowance, and our share of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

import msgspec

from cdp_assets.connectors.base import BudgetSpent
from cdp_assets.connectors.policy import PlainPolicy
from cdp_assets.connectors.usage import DailyUsage

RESERVE = 0.05
_USAGE = re.compile(r"api-usage=(\d+)/(\d+)")
_EXPIRED = (b"INVALID_SESSION_ID", b"INVALID_AUTH_HEADER", b"INVALID_JWT_FORMAT")


class _Error(msgspec.Struct):
    errorCode: str = ""  # noqa: N815
    message: str = ""
    error: str = ""
    error_description: str = ""


class SalesforcePolicy(PlainPolicy):
    """Salesforce's errors, its daily allowance, and our share of it."""

    def __init__(self, source: str, share: float, usage: DailyUsage | None = None) -> None:
        self._source = source
        self._share = share
        self._usage = usage or DailyUsage(source)
        self._lock = threading.Lock()
        self.used: int | None = None
        self.allowed: int | None = None

    def seen(self, headers: Mapping[str, str]) -> None:
        match = _USAGE.search(headers.get("Sforce-Limit-Info", ""))
        self._usage.add()
        with self._lock:
            if match:
                self.used, self.allowed = int(match[1]), int(match[2])

    def check(self) -> None:
        if self.used is None or not self.allowed:
            return
        own = self._usage.total
        if own >= self._share * self.allowed:
            raise BudgetSpent(
                f"{self._source}: our share of the org's daily API requests is used up "
                f"({own} of {self.allowed}, api_budget {self._share:.0%}). The next run goes "
                "on from here; raise `api_budget` to allow more."
            )
        if self.used >= (1 - RESERVE) * self.allowed:
            raise BudgetSpent(
                f"{self._source}: the org has used {self.used} of its {self.allowed} daily API "
                f"requests; the last {RESERVE:.0%} are left alone. A later run goes on from here."
            )

    def expired(self, status: int, body: bytes) -> bool:
        if status == 401:
            return True
        return status in {400, 403} and any(code in body[:500] for code in _EXPIRED)

    def stop(self, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        if b"REQUEST_LIMIT_EXCEEDED" not in body[:1000]:
            return None
        return (
            "the org's daily API requests are used up (REQUEST_LIMIT_EXCEEDED). Not retried. "
            "They come back over 24 hours; a later run goes on from here."
        )

    def codes(self, body: bytes) -> tuple[tuple[str, ...], str]:
        try:
            found = msgspec.json.decode(body, type=list[_Error] | _Error)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return super().codes(body)
        errors = found if isinstance(found, list) else [found]
        codes = tuple(e.errorCode or e.error for e in errors if e.errorCode or e.error)
        return codes, "; ".join(t for e in errors if (t := e.message or e.error_description))
