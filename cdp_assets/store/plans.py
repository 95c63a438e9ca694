"""Plans that syncs made, and who said yes to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, insert, select, update

from cdp_assets.store.models import ApprovalRow, LedgerRow, PlanRow, SyncStateRow

if TYPE_CHECKING:
    from cdp_assets.store.database import Store


@dataclass(frozen=True, kw_only=True)
class PlanHead:
    """What is kept of a plan: its hash (of its content), config (of the sync's configuration),
    sizes, and why it was stopped (None: it was not)."""

    sync: str
    hash: str
    config: str
    made_at: datetime
    creates: int
    updates: int
    fields: int
    errors: int
    stopped: str | None


@dataclass(frozen=True)
class Approval:
    """Somebody's yes to a plan. used: the plan was applied to its end since."""

    sync: str
    plan: str
    config: str
    who: str
    at: datetime
    used: bool = False


def keep(store: Store, head: PlanHead, basis: str | None = None) -> None:
    """Make this the sync's current plan. basis: what it was made from, as the caller spells it."""
    values = {name: getattr(head, name) for name in PlanHead.__dataclass_fields__}
    with store.write() as connection:
        connection.execute(
            delete(PlanRow).where(PlanRow.sync == head.sync, PlanRow.hash == head.hash)
        )
        connection.execute(insert(PlanRow).values(**values))
        _state(connection, head.sync, plan=head.hash, planned_at=head.made_at, basis=basis)


def current(store: Store, sync: str) -> PlanHead | None:
    """The sync's current plan."""
    statement = (
        select(PlanRow.__table__)
        .join(
            SyncStateRow, (SyncStateRow.sync == PlanRow.sync) & (SyncStateRow.plan == PlanRow.hash)
        )
        .where(PlanRow.sync == sync)
    )
    with store.read() as connection:
        row = connection.execute(statement).first()
    return None if row is None else PlanHead(**row._mapping)


def basis(store: Store, sync: str) -> str | None:
    """What the sync's current plan was made from, where it was kept."""
    statement = select(SyncStateRow.basis).where(SyncStateRow.sync == sync)
    with store.read() as connection:
        return connection.execute(statement).scalar()


def find(store: Store, beginning: str) -> list[PlanHead]:
    """Plans whose hash begins so, newest first."""
    statement = (
        select(PlanRow.__table__)
        .where(PlanRow.hash.startswith(beginning, autoescape=True))
        .order_by(PlanRow.made_at.desc())
    )
    with store.read() as connection:
        return [PlanHead(**row._mapping) for row in connection.execute(statement)]


def approve(store: Store, head: PlanHead, who: str, now: datetime) -> Approval:
    """Keep somebody's yes to a plan."""
    found = Approval(head.sync, head.hash, head.config, who, now)
    with store.write() as connection:
        connection.execute(
            insert(ApprovalRow).values(
                sync=found.sync, plan=found.plan, config=found.config, who=who, at=now
            )
        )
    return found


def approvals(store: Store, sync: str) -> list[Approval]:
    """All approvals of a sync, oldest first."""
    statement = (
        select(
            ApprovalRow.sync,
            ApprovalRow.plan,
            ApprovalRow.config,
            ApprovalRow.who,
            ApprovalRow.at,
            ApprovalRow.used_at.is_not(None),
        )
        .where(ApprovalRow.sync == sync)
        .order_by(ApprovalRow.id)
    )
    with store.read() as connection:
        return [Approval(*row) for row in connection.execute(statement)]


def begun(store: Store, sync: str, plan: str) -> bool:
    """Whether rows of this plan were sent."""
    statement = select(LedgerRow.id).where(LedgerRow.sync == sync, LedgerRow.plan == plan).limit(1)
    with store.read() as connection:
        return connection.execute(statement).first() is not None


def finished(store: Store, sync: str) -> str | None:
    """The hash of the plan that the sync applied last, to its end."""
    statement = select(SyncStateRow.applied).where(SyncStateRow.sync == sync)
    with store.read() as connection:
        return connection.execute(statement).scalar()


def applied(store: Store, sync: str, plan: str, now: datetime) -> None:
    """Note that a plan was applied to its end, and with it each yes to it."""
    used = (ApprovalRow.sync == sync, ApprovalRow.plan == plan, ApprovalRow.used_at.is_(None))
    with store.write() as connection:
        connection.execute(update(ApprovalRow).where(*used).values(used_at=now))
        _state(connection, sync, applied=plan, applied_at=now)


def _state(connection: Connection, sync: str, **values: object) -> None:
    changed = connection.execute(
        update(SyncStateRow).where(SyncStateRow.sync == sync).values(**values)
    )
    if not changed.rowcount:
        connection.execute(insert(SyncStateRow).values(sync=sync, **values))
