"""Tables of the operational database: what syncs planned, who approved it, what was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Dialect, Index, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# SQLite numbers rows by itself only where the key is declared INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")


class Moment(TypeDecorator[datetime]):
    """An aware moment in UTC; SQLite keeps it as text without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        found: datetime = value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class Base(DeclarativeBase):
    """All tables of the store."""


class PlanRow(Base):
    """A plan that a sync has made: its hash, its size, and why it was stopped, if it was."""

    __tablename__ = "sync_plan"

    sync: Mapped[str] = mapped_column(String(128), primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    config: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[datetime] = mapped_column(Moment())
    creates: Mapped[int] = mapped_column(BigInteger)
    updates: Mapped[int] = mapped_column(BigInteger)
    fields: Mapped[int] = mapped_column(BigInteger)
    errors: Mapped[int] = mapped_column(BigInteger)
    stopped: Mapped[str | None] = mapped_column(Text)


class ApprovalRow(Base):
    """Somebody's yes to a plan. used_at: when the plan was applied to its end."""

    __tablename__ = "sync_approval"

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    sync: Mapped[str] = mapped_column(String(128), index=True)
    plan: Mapped[str] = mapped_column(String(64))
    config: Mapped[str] = mapped_column(String(64))
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment())
    used_at: Mapped[datetime | None] = mapped_column(Moment())


class SyncStateRow(Base):
    """Where a sync stands: its current plan, and when it last applied one. basis: what the plan
    was made from, where the same would give the same plan (JSON)."""

    __tablename__ = "sync_state"

    sync: Mapped[str] = mapped_column(String(128), primary_key=True)
    plan: Mapped[str | None] = mapped_column(String(64))
    planned_at: Mapped[datetime | None] = mapped_column(Moment())
    basis: Mapped[str | None] = mapped_column(Text)
    applied: Mapped[str | None] = mapped_column(String(64))
    applied_at: Mapped[datetime | None] = mapped_column(Moment())


class LedgerRow(Base):
    """One row sent, or about to be sent, to an outside system.

    entity: whose profile it is; empty in rows from before that was kept.

    Written before the call with outcome null; the outcome follows the answer. `fields` is a JSON
    object field → canonical text told, in the system's own form; `asked` holds what the sync's
    state keeps besides, by its column: the profile's own text where that differs. `before` holds
    what the record showed in those fields when the row was planned; null of rows from before that
    was kept, and of creations. outcome: ok |
    failed | lost (it never took effect) | unknown (nobody can tell; a person has to look).
    """

    __tablename__ = "sync_ledger"
    __table_args__ = (
        Index("sync_ledger_sync_id", "sync", "id"),
        Index("sync_ledger_open", "sync", "outcome"),
        # An id is never given twice, also after the newest rows were erased.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    sync: Mapped[str] = mapped_column(String(128))
    plan: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str] = mapped_column(String(64))
    entity: Mapped[str] = mapped_column(String(128), server_default="")
    profile_id: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str] = mapped_column(String(128))
    object: Mapped[str] = mapped_column(String(128))
    record_id: Mapped[str | None] = mapped_column(String(256))
    op: Mapped[str] = mapped_column(String(16))
    key_field: Mapped[str | None] = mapped_column(String(256))
    key_value: Mapped[str | None] = mapped_column(Text)
    fields: Mapped[str] = mapped_column(Text)
    asked: Mapped[str | None] = mapped_column(Text)
    before: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    intent_at: Mapped[datetime] = mapped_column(Moment())
    outcome: Mapped[str | None] = mapped_column(String(16))
    outcome_at: Mapped[datetime | None] = mapped_column(Moment())
    created: Mapped[bool] = mapped_column(Boolean, default=False)
    error_class: Mapped[str | None] = mapped_column(String(16))
    code: Mapped[str | None] = mapped_column(String(128))


class DeadLetterRow(Base):
    """A row that an outside system refused, until it is written, released or its value changes.

    target: the record's ref, or `source.Object:(new)` for a record still to be created. digest:
    of what was refused, so that another value is tried at once. state: open | released | settled.
    entity: as in the ledger.
    """

    __tablename__ = "sync_dead_letter"
    __table_args__ = (
        Index("sync_dead_letter_target", "sync", "entity", "profile_id", "target", unique=True),
    )

    id: Mapped[int] = mapped_column(RowId, primary_key=True, autoincrement=True)
    sync: Mapped[str] = mapped_column(String(128))
    entity: Mapped[str] = mapped_column(String(128), server_default="")
    profile_id: Mapped[int] = mapped_column(BigInteger)
    target: Mapped[str] = mapped_column(String(400))
    op: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    error_class: Mapped[str] = mapped_column(String(16))
    code: Mapped[str | None] = mapped_column(String(128))
    message: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer)
    first_at: Mapped[datetime] = mapped_column(Moment())
    last_at: Mapped[datetime] = mapped_column(Moment())
    state: Mapped[str] = mapped_column(String(16))


class PauseRow(Base):
    """A sync that writes nothing until somebody resumes it. sync: `*` for all of them."""

    __tablename__ = "sync_pause"

    sync: Mapped[str] = mapped_column(String(128), primary_key=True)
    who: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(Moment())
    why: Mapped[str] = mapped_column(Text)


class WriteKeyRow(Base):
    """A secret key with which a server sends events. Only its digest is kept.

    name: how people speak of it. source: the event source its events are of. prefix: its first
    characters, to tell keys apart. revoked_at: from when on it is no longer good; in the future
    where two keys overlap while one is replaced.
    """

    __tablename__ = "write_key"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    source: Mapped[str] = mapped_column(String(128))
    prefix: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(Moment())
    revoked_at: Mapped[datetime | None] = mapped_column(Moment())
