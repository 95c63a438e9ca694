"""Dead letters: rows that an outside system refused, held back until something changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from sqlalchemy import Connection, insert, select, update

from cdp_assets.store.models import DeadLetterRow as Letter

if TYPE_CHECKING:
    from cdp_assets.store.database import Store

SCHEMA = {
    "id": pl.Int64(),
    "sync": pl.String(),
    "entity": pl.String(),
    "profile_id": pl.Int64(),
    "target": pl.String(),
    "op": pl.String(),
    "digest": pl.String(),
    "error_class": pl.String(),
    "code": pl.String(),
    "message": pl.String(),
    "attempts": pl.Int64(),
    "first_at": pl.Datetime("us", "UTC"),
    "last_at": pl.Datetime("us", "UTC"),
    "state": pl.String(),
}

_AT_ONCE = 500
"""Values in one condition; a database takes some thousands."""


@dataclass(frozen=True)
class Key:
    """Whose letter it is."""

    sync: str
    entity: str
    profile_id: int
    target: str


def _is(key: Key) -> tuple[object, ...]:
    return (
        Letter.sync == key.sync,
        Letter.entity.in_([key.entity, ""]),
        Letter.profile_id == key.profile_id,
        Letter.target == key.target,
    )


def put(
    connection: Connection,
    key: Key,
    *,
    op: str,
    digest: str,
    error_class: str,
    code: str | None,
    message: str,
    now: datetime,
) -> None:
    """Open the letter of this row, or count one more attempt of it."""
    found = connection.execute(
        select(Letter.id, Letter.attempts, Letter.state)
        .where(*_is(key))  # type: ignore[arg-type]
        .order_by(Letter.entity.desc())
    ).first()
    values: dict[str, Any] = {
        "entity": key.entity,
        "op": op,
        "digest": digest,
        "error_class": error_class,
        "code": code,
        "message": message[:1000],
        "last_at": now,
        "state": "open",
    }
    if found is None:
        values |= {"attempts": 1, "first_at": now}
        connection.execute(
            insert(Letter).values(
                sync=key.sync, profile_id=key.profile_id, target=key.target, **values
            )
        )
        return
    settled = found.state == "settled"
    values |= {"attempts": 1 if settled else found.attempts + 1}
    if settled:
        values |= {"first_at": now}
    connection.execute(update(Letter).where(Letter.id == found.id).values(**values))


def settle(connection: Connection, keys: Sequence[Key], now: datetime) -> None:
    """These rows were written: their letters, where there are any, are done with."""
    syncs = {key.sync for key in keys}
    waiting = select(Letter.id).where(Letter.sync.in_(syncs), Letter.state != "settled").limit(1)
    if connection.execute(waiting).first() is None:
        return
    known = {(k.sync, k.entity, k.profile_id, k.target) for k in keys}
    known |= {(k.sync, "", k.profile_id, k.target) for k in keys}
    for at in range(0, len(keys), _AT_ONCE):
        some = keys[at : at + _AT_ONCE]
        rows = connection.execute(
            select(Letter.id, Letter.sync, Letter.entity, Letter.profile_id, Letter.target).where(
                Letter.sync.in_({key.sync for key in some}),
                Letter.profile_id.in_({key.profile_id for key in some}),
                Letter.state != "settled",
            )
        )
        ids = [row[0] for row in rows if tuple(row[1:]) in known]
        if ids:
            connection.execute(
                update(Letter).where(Letter.id.in_(ids)).values(state="settled", last_at=now)
            )


def close(store: Store, ids: Collection[int], now: datetime) -> None:
    """These rows need no writing any more: their letters are done with."""
    with store.write() as connection:
        connection.execute(
            update(Letter).where(Letter.id.in_(list(ids))).values(state="settled", last_at=now)
        )


def release(store: Store, sync: str, ids: Collection[int] | None = None) -> int:
    """Let the next plan try open letters again, with the day's value; how many."""
    statement = update(Letter).where(Letter.sync == sync, Letter.state == "open")
    if ids is not None:
        statement = statement.where(Letter.id.in_(list(ids)))
    with store.write() as connection:
        return int(connection.execute(statement.values(state="released")).rowcount)


def frame(
    store: Store,
    sync: str | None = None,
    *,
    entity: str | None = None,
    states: Collection[str] = ("open",),
) -> pl.DataFrame:
    """Letters in these states, oldest first (see SCHEMA for the columns). entity: of its profiles
    alone, and those of which that was not kept yet."""
    table = Letter.__table__
    statement = select(*(table.c[name] for name in SCHEMA)).where(Letter.state.in_(list(states)))
    if sync is not None:
        statement = statement.where(Letter.sync == sync)
    if entity is not None:
        statement = statement.where(Letter.entity.in_([entity, ""]))
    with store.read() as connection:
        return store.frame(connection, statement.order_by(Letter.id), SCHEMA)
