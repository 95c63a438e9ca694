"""The stand-ins' clock: the real one, or one that stands still where a test put it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """Tells the time by which the stand-ins stamp what they store."""

    def __init__(self) -> None:
        self._frozen: datetime | None = None
        self.waited = timedelta(0)
        """How much time callers let pass without waiting, as tests do."""
        self.skew = timedelta(0)
        """By how much the stand-ins' clock is wrong."""

    def now(self) -> datetime:
        """The present moment, UTC."""
        return self._frozen or self.shown()

    def shown(self) -> datetime:
        """What the servers' own clock says (the `Date` of their answers), which nobody stops."""
        return datetime.now(UTC) + self.waited + self.skew

    def freeze(self, at: datetime | None) -> None:
        """Stand still at `at`; None lets the real clock run again."""
        if at is not None and at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        self._frozen = at.astimezone(UTC) if at is not None else None


def salesforce_time(at: datetime) -> str:
    """`at` as Salesforce prints datetimes, to the second: 2026-11-24T10:00:00.000+0000."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def hubspot_time(at: datetime) -> str:
    """`at` as HubSpot prints datetimes, to the millisecond: 2026-11-24T10:00:00.123Z."""
    at = at.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
