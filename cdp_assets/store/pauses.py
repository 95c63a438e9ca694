"""Syncs that somebody has paused: they plan, and write nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from cdp_assets.store.models import PauseRow

if TYPE_CHECKING:
    from cdp_assets.store.database import Store

ALL = "*"
"""In place of a sync's name: every sync, those declared later too."""


@dataclass(frozen=True)
class Pause:
    """Who paused a sync (or `*`, all), when, and why."""

    sync: str
    who: str
    at: datetime
    why: str

    @property
    def of_all(self) -> bool:
        """Whether it holds every sync back."""
        return self.sync == ALL

    @property
    def since(self) -> str:
        """When, by whom and why, as people read it."""
        return f"{self.at:%Y-%m-%d %H:%M} UTC by {self.who}: {self.why}"

    @property
    def cure(self) -> str:
        """The line that lifts it."""
        return f"cdp resume {'--all' if self.of_all else self.sync}"


def pause(store: Store, sync: str, who: str, why: str, now: datetime) -> None:
    """Pause a sync, or `*`. One that is paused keeps its first reason."""
    with store.write() as connection:
        known = select(PauseRow.sync).where(PauseRow.sync == sync)
        if connection.execute(known).first() is None:
            connection.execute(insert(PauseRow).values(sync=sync, who=who, at=now, why=why))


def resume(store: Store, sync: str) -> bool:
    """Lift the pause of a sync, or of `*`; whether there was one."""
    with store.write() as connection:
        return bool(connection.execute(delete(PauseRow).where(PauseRow.sync == sync)).rowcount)


def paused(store: Store, sync: str) -> Pause | None:
    """The pause that holds a sync back: its own, else that of all; None where it may write."""
    found = {p.sync: p for p in pauses(store)}
    return found.get(sync) or found.get(ALL)


def pauses(store: Store) -> list[Pause]:
    """All pauses, oldest first."""
    statement = select(PauseRow.sync, PauseRow.who, PauseRow.at, PauseRow.why)
    with store.read() as connection:
        rows = connection.execute(statement.order_by(PauseRow.at, PauseRow.sync))
        return [Pause(*row) for row in rows]
