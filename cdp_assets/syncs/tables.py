"""Tables that a sync keeps in the lake."""

from __future__ import annotations

import polars as pl

from cdp_assets.lake import Table

TS = pl.Datetime("us", "UTC")
LEDGER = "store/ledger"
"""Watermark of the state: the highest ledger id folded into it."""
_LAST, _OFFERED = "last_", "offered_"
WRITES = ("update", "upsert", "create", "delete", "add", "remove")
"""Values of the plan's `op` that stand for something to be sent; the others say why not."""

_PLAN_SCHEMA = {
    "plan": pl.String(),
    "profile_id": pl.Int64(),
    "object": pl.String(),
    "record": pl.String(),
    "op": pl.String(),
    "field": pl.String(),
    "old": pl.String(),
    "new": pl.String(),
    "why": pl.String(),
}
_PLAN_DOCS = {
    "plan": "Hash of the plan: what an approval names.",
    "profile_id": "Whose values are written.",
    "object": "Object of the outside system.",
    "record": "`source.Object:id`; `source.Object:(new)` where it would be created.",
    "op": "update, upsert, create, delete; add, remove: member of a list; error: not written, see "
    "why; held: refused before, waits in the dead letters; left: a person's value stays; paused: "
    "the field is gone there.",
    "field": "Field that changes; empty where the whole row is meant.",
    "old": "Value that the record shows now.",
    "new": "Value that would be written; null empties the field.",
    "why": "Which value caused it, or what is in the way.",
}


def plan_table(name: str) -> Table:
    """`syncs/<name>/plan`: what the sync's current plan would write, a row a field."""
    return Table(
        key=f"syncs/{name}/plan",
        schema=_PLAN_SCHEMA,
        primary_key=("profile_id", "record", "field"),
        personal=("profile_id", "record", "old", "new"),
        description="The current plan of the sync, field by field; nothing is written by it.",
        column_docs=_PLAN_DOCS,
    )


PLAN = plan_table("name")
"""The shape of every plan table."""


def state_table(name: str) -> Table:
    """`syncs/<name>`: what each record of the destination was last told.

    A projection of the ledger, and the answers of the planner's own readings: `last_<field>` is
    the profile's value that needs no more telling, since it was told (told_at) or found there
    (checked_at), the empty text where a null emptied the field; `offered_<field>` is the
    same under `if_empty` and `give_way`, which leave another value there.
    """
    return Table(
        key=f"syncs/{name}",
        schema={
            "record": pl.String(),
            "object": pl.String(),
            "entity": pl.String(),
            "profile_id": pl.Int64(),
            "told_at": TS,
            "checked_at": TS,
            "created_at": TS,
            "removed_at": TS,
            "differs": pl.Boolean(),
            "list": pl.String(),
            "put": pl.String(),
            "entry": pl.String(),
            "linked": pl.String(),
        },
        primary_key=("record",),
        personal=("record", "profile_id", "entry", "linked", f"{_LAST}*", f"{_OFFERED}*"),
        stamps=("checked_at",),
        evolves=True,
        description="What each record of the destination was last told, and when.",
        column_docs={
            "record": "`source.Object:id`.",
            "object": "Object of the outside system.",
            "entity": "Entity of that profile; null in rows from before it was kept.",
            "profile_id": "Profile whose values it was last told.",
            "told_at": "When it was last told anything; null: never.",
            "checked_at": "When a plan last read it and found nothing to tell.",
            "created_at": "When this sync created it; null: it was there before.",
            "removed_at": "When this sync deleted it, since its profile had left.",
            "differs": "A resync found another value there than was told; null: not known to.",
            "list": "Id of the list that it was put on or found on; empty: it was taken off.",
            "put": "The same where this sync put it there; of a list itself its name.",
            "entry": "Entry of the audience that it was created for.",
            "linked": "Records that it was linked with when it was created.",
        },
    )


def sought_table(name: str) -> Table:
    """`syncs/<name>/sought`: profiles for which no record was found by key or match, so that each
    plan need not ask for all of them again."""
    return Table(
        key=f"syncs/{name}/sought",
        schema={"profile_id": pl.Int64(), "sought": pl.String(), "at": TS},
        primary_key=("profile_id",),
        personal=("profile_id", "sought"),
        description="Profiles without a record in the destination, and by which values it was "
        "sought in vain.",
        column_docs={
            "sought": "Objects and fields that were searched, and the values of `key` and `match`.",
            "at": "When.",
        },
    )


def last(field: str) -> str:
    """The state's column of what a record was told, or found to hold."""
    return _LAST + field


def offered(field: str) -> str:
    """The state's column of what a record was offered under `if_empty`, taken or not."""
    return _OFFERED + field


def held(field: str) -> str:
    """A plan's own column of what a record was last told, whatever the field's policy."""
    return f"held_{field}"


def settled(field: str, write: str) -> str:
    """The state's column that says which value of a field needs no more telling. What was held
    back under one policy stands apart, so that after a change to another it is news."""
    return offered(field) if write in ("if_empty", "give_way") else last(field)


def field_of(column: str) -> str | None:
    """The field whose values a column of the state holds; None for its other columns."""
    for prefix in (_LAST, _OFFERED):
        if column.startswith(prefix):
            return column.removeprefix(prefix)
    return None


def is_value(column: str) -> bool:
    """Whether a column of the state holds values of a field."""
    return column.startswith((_LAST, _OFFERED))
