"""Server keys of the collector: made, listed, revoked. A key is shown once and not kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, insert, or_, select, update

from cdp_assets.store.models import WriteKeyRow

if TYPE_CHECKING:
    from cdp_assets.store.database import Store

PREFIX = "cdp_"
_SHOWN = 10


@dataclass(frozen=True)
class WriteKey:
    """A server key as far as it is kept. prefix: its first characters."""

    name: str
    source: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None
    digest: str

    def good_at(self, now: datetime) -> bool:
        """Whether it may send."""
        return self.revoked_at is None or now < self.revoked_at


class Ambiguous(ValueError):
    """Several sources have a good key of one name; `sources` are theirs."""

    def __init__(self, sources: list[str]) -> None:
        self.sources = sources
        super().__init__("keys of this name: of " + ", ".join(sources))


def digest(secret: str) -> str:
    """How a key stands in the store: its SHA-256. 256 random bits need no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create(store: Store, name: str, source: str, now: datetime) -> str:
    """Make a key and return it: the only time that anybody sees it."""
    secret = PREFIX + secrets.token_urlsafe(32)
    with store.write() as connection:
        connection.execute(
            insert(WriteKeyRow).values(
                digest=digest(secret),
                name=name,
                source=source,
                prefix=secret[:_SHOWN],
                created_at=now,
            )
        )
    return secret


def every(store: Store) -> list[WriteKey]:
    """All keys, revoked ones too, in the order in which they were made."""
    rows = select(
        WriteKeyRow.name, WriteKeyRow.source, WriteKeyRow.prefix, WriteKeyRow.created_at,
        WriteKeyRow.revoked_at, WriteKeyRow.digest,
    ).order_by(WriteKeyRow.created_at, WriteKeyRow.digest)  # fmt: skip
    with store.read() as connection:
        return [WriteKey(*row) for row in connection.execute(rows)]


def revoke(store: Store, name_or_prefix: str, at: datetime, source: str | None = None) -> int:
    """Revoke the good keys of this name or prefix from `at` on; how many there were.

    source: those of this source alone. Raises Ambiguous where it is left out and several sources
    have such a key; then none is revoked.
    """
    good = and_(
        or_(WriteKeyRow.name == name_or_prefix, WriteKeyRow.prefix == name_or_prefix),
        or_(WriteKeyRow.revoked_at.is_(None), WriteKeyRow.revoked_at > at),
    )
    if source is not None:
        good = and_(good, WriteKeyRow.source == source)
    with store.write() as connection:
        named = select(WriteKeyRow.source).where(good).distinct().order_by(WriteKeyRow.source)
        sources = [str(name) for (name,) in connection.execute(named)]
        if len(sources) > 1:
            raise Ambiguous(sources)
        done = connection.execute(update(WriteKeyRow).where(good).values(revoked_at=at))
        return int(done.rowcount)
