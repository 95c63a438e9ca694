"""What a system's answers mean beyond HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

UNAUTHORISED = 401


class Policy(Protocol):
    """What a system's answers mean beyond HTTP; each connector has one."""

    def wait(self, status: int, headers: Mapping[str, str], body: bytes) -> float | None:
        """Seconds to wait before a repeat; None where the answer does not say."""

    def stop(self, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        """Why asking again today is useless (a daily allowance); None where it is not."""

    def expired(self, status: int, body: bytes) -> bool:
        """Whether the token is no longer good."""

    def codes(self, body: bytes) -> tuple[tuple[str, ...], str]:
        """The system's error codes and its text (not yet redacted)."""

    def seen(self, headers: Mapping[str, str]) -> None:
        """Look at an answer's headers (limits)."""

    def check(self) -> None:
        """Raise BudgetSpent where no further request may be made."""


class PlainPolicy:
    """Plain HTTP, for systems without habits of their own; the base of the others."""

    def wait(self, status: int, headers: Mapping[str, str], body: bytes) -> float | None:
        return None

    def stop(self, status: int, headers: Mapping[str, str], body: bytes) -> str | None:
        return None

    def expired(self, status: int, body: bytes) -> bool:
        return status == UNAUTHORISED

    def codes(self, body: bytes) -> tuple[tuple[str, ...], str]:
        return (), body[:2000].decode("utf-8", "replace")

    def seen(self, headers: Mapping[str, str]) -> None:
        return None

    def check(self) -> None:
        return None
