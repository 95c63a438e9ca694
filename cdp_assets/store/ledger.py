"""The ledger of syncs: what was about to be sent, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import polars as pl
from sqlalchemy import Connection, Row, bindparam, func, insert, select, text, update

from cdp_assets.store import letters
from cdp_assets.store.models import LedgerRow

if TYPE_CHECKING:
    from cdp_assets.store.database import Store

Outcome = Literal["ok", "failed", "lost", "unknown"]
Texts = Mapping[str, str | None]

_TOLD_SCHEMA: dict[str, Any] = {
    "id": pl.Int64(),
    "source": pl.String(),
    "object": pl.String(),
    "record_id": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "told_at": pl.Datetime("us", "UTC"),
    "outcome": pl.String(),
}
_rows: Any = LedgerRow.__table__
_ANSWER = (
    update(_rows)
    .where(_rows.c.id == bindparam("of"), _rows.c.outcome.is_(None))
    .values(
        outcome=bindparam("said"),
        outcome_at=bindparam("at"),
        created=bindparam("made"),
        error_class=bindparam("class"),
        code=bindparam("code_"),
        record_id=func.coalesce(bindparam("record"), _rows.c.record_id),
    )
)
_INSERT = insert(_rows)
# What AUTOINCREMENT keeps: also of rows that were erased since.
_LAST_ID = text("SELECT seq FROM sqlite_sequence WHERE name = 'sync_ledger'")
_NEXT_IDS = text(
    "SELECT nextval(pg_get_serial_sequence('sync_ledger', 'id')) FROM generate_series(1, :count)"
)
_texts = msgspec.json.Decoder(dict[str, str | None])


@dataclass(frozen=True, kw_only=True)
class Intent:
    """A row about to be sent.

    entity, profile_id: whose values. fields: field → canonical text in the outside system's form.
    asked: what the sync's state keeps besides, by its column. before: what the record showed in
    those fields. digest: of everything asked of this row.
    """

    entity: str
    profile_id: int
    source: str
    object: str
    record_id: str | None
    op: str
    key_field: str | None = None
    key_value: str | None = None
    fields: Texts
    asked: Texts
    before: Texts = field(default_factory=dict)
    digest: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of the ledger row `id`. `message` holds no value of the row."""

    id: int
    outcome: Outcome
    record_id: str | None = None
    created: bool = False
    error_class: str | None = None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A ledger row as it stands. entity: empty where that was not kept yet."""

    id: int
    sync: str
    plan: str
    entity: str
    profile_id: int
    source: str
    object: str
    record_id: str | None
    op: str
    key_field: str | None
    key_value: str | None
    fields: Texts
    asked: Texts
    before: Texts
    digest: str
    intent_at: datetime
    outcome: str | None
    created: bool
    error_class: str | None

    @property
    def record(self) -> str | None:
        """`source.Object:id`, None while the record has no id."""
        return f"{self.source}.{self.object}:{self.record_id}" if self.record_id else None

    @property
    def target(self) -> str:
        """The record's ref, or that of a record still to be created."""
        return self.record or f"{self.source}.{self.object}:(new)"


def announce(
    store: Store, sync: str, plan: str, run_id: str, intents: Sequence[Intent], now: datetime
) -> list[int]:
    """Write intents, all or none, durably; their ledger ids, in the order given."""
    if not intents:
        return []
    rows = [
        {
            "sync": sync,
            "plan": plan,
            "run_id": run_id,
            "entity": i.entity,
            "profile_id": i.profile_id,
            "source": i.source,
            "object": i.object,
            "record_id": i.record_id,
            "op": i.op,
            "key_field": i.key_field,
            "key_value": i.key_value,
            "fields": _json(i.fields),
            "asked": _json(i.asked) if i.asked else None,
            "before": _json(i.before) if i.before else None,
            "digest": i.digest,
            "intent_at": now,
            "created": False,
        }
        for i in intents
    ]
    with store.write_ledger() as connection:
        ids = _next_ids(store, connection, len(rows))
        connection.execute(_INSERT, [row | {"id": i} for row, i in zip(rows, ids, strict=True)])
    return ids


def _next_ids(store: Store, connection: Connection, count: int) -> list[int]:
    """Ids that no row has had, in their order; under the ledger's lock. Asked for beforehand, so
    that rows go in as one statement: answering with each row's id would take one for each."""
    if store.sqlite:
        first = connection.execute(_LAST_ID).scalar() or 0
        return list(range(first + 1, first + count + 1))
    return sorted(int(row[0]) for row in connection.execute(_NEXT_IDS, {"count": count}))


def announced(
    sync: str, plan: str, ids: Sequence[int], intents: Sequence[Intent], now: datetime
) -> list[Entry]:
    """The rows that `announce` has just written under these ids, without reading them back."""
    return [
        Entry(
            id=id_,
            sync=sync,
            plan=plan,
            entity=i.entity,
            profile_id=i.profile_id,
            source=i.source,
            object=i.object,
            record_id=i.record_id,
            op=i.op,
            key_field=i.key_field,
            key_value=i.key_value,
            fields=i.fields,
            asked=i.asked,
            before=i.before,
            digest=i.digest,
            intent_at=now,
            outcome=None,
            created=False,
            error_class=None,
        )
        for id_, i in zip(ids, intents, strict=True)
    ]


def answer(
    store: Store, entries: Sequence[Entry], answers: Iterable[Answer], now: datetime
) -> None:
    """Write what became of announced rows, with their dead letters, all or none."""
    by_id = {entry.id: entry for entry in entries}
    found = list(answers)
    rows = [
        {
            "of": item.id,
            "said": item.outcome,
            "at": now,
            "made": item.created,
            "class": item.error_class,
            "code_": item.code,
            "record": item.record_id,
        }
        for item in found
    ]
    if not rows:
        return
    with store.write() as connection:
        # One statement for all rows: built for each it would take longer than the call it answers.
        connection.execute(_ANSWER, rows)
        letters.settle(connection, [_key(by_id[i.id]) for i in found if i.outcome == "ok"], now)
        for item in found:
            if item.outcome in ("failed", "unknown"):
                entry = by_id[item.id]
                letters.put(
                    connection,
                    _key(entry),
                    op=entry.op,
                    digest=entry.digest,
                    error_class=item.error_class or "data",
                    code=item.code,
                    message=item.message or "refused without a reason",
                    now=now,
                )


def _key(entry: Entry) -> letters.Key:
    return letters.Key(entry.sync, entry.entity, entry.profile_id, entry.target)


def pending(store: Store, sync: str) -> list[Entry]:
    """Rows announced and never answered: a run was killed, or no answer came."""
    return _entries(
        store, select(LedgerRow).where(LedgerRow.sync == sync, LedgerRow.outcome.is_(None))
    )


def by_id(store: Store, ids: Sequence[int]) -> list[Entry]:
    """These rows, in the order of their ids."""
    return _entries(store, select(LedgerRow).where(LedgerRow.id.in_(ids)))


def entries(store: Store, sync: str, after: int = 0, *, plan: str | None = None) -> list[Entry]:
    """Rows of a sync with an id above `after`, in the order of their ids."""
    statement = select(LedgerRow).where(LedgerRow.sync == sync, LedgerRow.id > after)
    if plan is not None:
        statement = statement.where(LedgerRow.plan == plan)
    return _entries(store, statement)


def recorded(store: Store, sync: str) -> set[str]:
    """Ids of all records that rows of a sync are known to have written."""
    statement = select(LedgerRow.record_id).where(
        LedgerRow.sync == sync, LedgerRow.outcome == "ok", LedgerRow.record_id.is_not(None)
    )
    with store.read() as connection:
        return {str(row[0]) for row in connection.execute(statement)}


def runs(store: Store, beginning: str) -> list[tuple[str, str]]:
    """(run id, sync) of every run that sent rows and whose id begins so, oldest first."""
    statement = (
        select(LedgerRow.run_id, LedgerRow.sync)
        .where(LedgerRow.run_id.startswith(beginning, autoescape=True))
        .group_by(LedgerRow.run_id, LedgerRow.sync)
        .order_by(func.min(LedgerRow.id))
    )
    with store.read() as connection:
        return [(str(run), str(sync)) for run, sync in connection.execute(statement)]


def of_run(store: Store, sync: str, run_id: str) -> list[Entry]:
    """Rows that a run sent for a sync, in the order of their ids."""
    return _entries(
        store, select(LedgerRow).where(LedgerRow.sync == sync, LedgerRow.run_id == run_id)
    )


def since(store: Store, source: str, object_name: str, after: int) -> list[Entry]:
    """Rows that any sync told records of an object, with an id above `after`."""
    statement = select(LedgerRow).where(
        LedgerRow.source == source, LedgerRow.object == object_name, LedgerRow.id > after
    )
    return _entries(store, statement)


def told(store: Store, after_id: int = 0) -> pl.DataFrame:
    """What syncs told outside systems, a row a field, with ledger ids above `after_id`.

    Columns: id Int64, source, object, record_id (null while a record to be created has none),
    field, value String (canonical text in the system's form, null: cleared), told_at
    Datetime[us, UTC], outcome String: null while nobody knows, `ok`, or `failed` (refused, or it
    never took effect). The fields of one row share its id.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _TOLD_SCHEMA}
    statement = (
        select(
            LedgerRow.id,
            LedgerRow.source,
            LedgerRow.object,
            LedgerRow.record_id,
            LedgerRow.fields,
            LedgerRow.intent_at,
            LedgerRow.outcome,
        )
        .where(LedgerRow.id > after_id)
        .order_by(LedgerRow.id)
    )
    with store.read() as connection:
        for id_, source, object_, record_id, fields, at, outcome in connection.execute(statement):
            said = outcome if outcome in (None, "ok") else "failed"
            for field, value in _texts.decode(fields).items():
                row = (id_, source, object_, record_id, field, value, at, said)
                for name, item in zip(columns, row, strict=True):
                    columns[name].append(item)
    return pl.DataFrame(columns, schema=_TOLD_SCHEMA)


def _entries(store: Store, statement: Any) -> list[Entry]:
    with store.read() as connection:
        rows = connection.execute(statement.order_by(LedgerRow.id)).all()
    return [_entry(row) for row in rows]


def _entry(row: Row[Any]) -> Entry:
    m = row._mapping
    names = [n for n in Entry.__dataclass_fields__ if n not in ("fields", "asked", "before")]
    return Entry(
        fields=_texts.decode(m["fields"]),
        asked=_texts.decode(m["asked"]) if m["asked"] else {},
        before=_texts.decode(m["before"]) if m["before"] else {},
        **{name: m[name] for name in names},
    )


def _json(texts: Texts) -> str:
    return msgspec.json.encode(dict(sorted(texts.items()))).decode()
