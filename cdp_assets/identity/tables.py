"""The tables of this room."""

from __future__ import annotations

import polars as pl

from cdp_assets.lake import Table

TS = pl.Datetime("us", "UTC")

LINKS = Table(
    key="identity/links",
    description="Every observation that two identifiers belong to one: taken, or refused with its "
    "reason. A link of an identifier to itself says that it was seen alone.",
    primary_key=("entity", "left", "right", "source"),
    schema={
        "entity": pl.String(),
        "left": pl.String(),
        "right": pl.String(),
        "source": pl.String(),
        "first_seen": TS,
        "last_seen": TS,
        "count": pl.Int64(),
        "example": pl.String(),
        "state": pl.String(),
        "reason": pl.String(),
    },
    personal=("left", "right", "example"),
    column_docs={
        "left": "The identifier that comes first as text.",
        "source": "Where it was observed: events, a field, merged, converted.",
        "first_seen": "Earliest corrected time of an event, or since when the field holds it.",
        "count": "Events, or runs of equal values.",
        "example": "The earliest event's message id, or the record.",
        "state": "accepted or refused.",
        "reason": "Why it was refused: limit:TYPE, device.",
    },
)

IDS = Table(
    key="identity/ids",
    description="The ledger of profile ids: a source of truth, backed up, never rebuilt.",
    primary_key=("entity", "anchor"),
    schema={
        "entity": pl.String(),
        "anchor": pl.String(),
        "profile_id": pl.Int64(),
        "minted_seq": pl.Int64(),
        "redirect_to": pl.Int64(),
    },
    personal=("anchor",),
    column_docs={
        "anchor": "The identifier that the id stays with.",
        "minted_seq": "Rows in the order they were made; where profiles meet, the lowest stays.",
        "redirect_to": "The profile that holds the anchor now, for a retired id.",
    },
)

GRAPH = Table(
    key="identity/graph",
    description="Which profile each identifier belongs to.",
    primary_key=("entity", "identifier"),
    schema={
        "entity": pl.String(),
        "identifier": pl.String(),
        "profile_id": pl.Int64(),
        "type": pl.String(),
    },
    personal=("identifier",),
    column_docs={"identifier": "`type:value`.", "type": "The text before the first colon."},
)

FORMER = Table(
    key="identity/former",
    description="What records held last that were deleted in their system: their people are not "
    "created there anew.",
    primary_key=("entity", "record", "identifier"),
    schema={"entity": pl.String(), "record": pl.String(), "identifier": pl.String()},
    personal=("record", "identifier"),
    column_docs={"record": "`source.Object:id`.", "identifier": "`type:value`."},
)

CHANGES = Table(
    key="identity/changes",
    description="Identifiers that moved from one profile to another, or out of all.",
    schema={
        "entity": pl.String(),
        "identifier": pl.String(),
        "from": pl.Int64(),
        "to": pl.Int64(),
        "cause": pl.String(),
        "at": TS,
    },
    personal=("identifier",),
    column_docs={
        "cause": "merge (its profile went into another), split (it got its own), move (it alone "
        "changed over), removed (no evidence is left).",
    },
)

LOGINS = Table(
    key="identity/logins",
    description="Who was logged in, on devices that several people use.",
    primary_key=("anonymous_id", "from"),
    schema={"anonymous_id": pl.String(), "from": TS, "user_id": pl.String(), "to": TS},
    personal=("anonymous_id", "user_id"),
    column_docs={
        "from": "The first event under this log-in.",
        "user_id": "Null on a device where nobody ever logged in.",
        "to": "The log-out or the next log-in; null while it lasts.",
    },
)

GROUPS = Table(
    key="identity/groups",
    description="People and accounts that events name together.",
    primary_key=("person", "account"),
    schema={
        "person": pl.String(),
        "account": pl.String(),
        "first_seen": TS,
        "last_seen": TS,
        "count": pl.Int64(),
    },
    personal=("person",),
    column_docs={"person": "The user's identifier.", "account": "The group's identifier."},
)

RULES = Table(
    key="identity/rules",
    description="The rules by which the graph was last resolved, a row a type of identifier.",
    primary_key=("entity", "type"),
    schema={
        "entity": pl.String(),
        "type": pl.String(),
        "rank": pl.Int64(),
        "limit": pl.Int64(),
        "weak": pl.Boolean(),
        "sources": pl.List(pl.String()),
        "event_column": pl.String(),
        "region": pl.String(),
        "block": pl.List(pl.String()),
        "logout": pl.List(pl.String()),
        "rules": pl.Int64(),
    },
    column_docs={
        "rank": "Priority, 1 is the strongest; CRM records stand ahead at 0.",
        "weak": "Whether it may join only what is not joined otherwise: a device.",
        "sources": "Fields that hold it.",
        "event_column": "The column of events that holds it, where one does.",
        "rules": "A hash of the entity's rules: other ones resolve everything anew.",
    },
)
