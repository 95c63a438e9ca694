"""The tables of this room."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from cdp_assets.lake import Table

TS = pl.Datetime("us", "UTC")

COMMON = (
    "name", "first_name", "last_name", "email", "phone", "title", "company", "domain", "website",
    "stage", "status", "amount", "currency", "subject", "kind", "owner", "closed_at",
    "occurred_at",
)  # fmt: skip
"""Columns that records of every entity share; text as the source wrote it."""

_OWN = frozenset(
    {"source", "object", "record_id", "record", "created_at", "changed_at", "deleted",
     "merged_into", "extracted_at", "deleted_at", "_seq"}
)  # fmt: skip

RESERVED_ENTITIES = frozenset({"values", "relation", "told", "rules", "facts", "changes"})


def entity_table(entity: str, columns: Iterable[str] = ()) -> Table:
    """The table of an entity's records.

    columns: names that mappings give to fields, beyond the common ones (a custom object's own).
    Raises ValueError where the entity or a column has a name that is taken.
    """
    if entity in RESERVED_ENTITIES:
        raise ValueError(f"`{entity}` cannot name an entity: records/{entity} is another table")
    own = sorted(set(columns) - {*COMMON, "created_at", "changed_at"})
    if taken := sorted(_OWN & set(own)):
        raise ValueError(f"`{taken[0]}` cannot name a field of {entity}: the record has its own")
    text = (*COMMON, *own)
    return Table(
        key=f"records/{entity}",
        description=f"The latest version of each {entity} record of every source.",
        primary_key=("source", "object", "record_id"),
        schema={
            "source": pl.String(),
            "object": pl.String(),
            "record_id": pl.String(),
            "record": pl.String(),
            **{name: pl.String() for name in text},
            "created_at": TS,
            "changed_at": TS,
            "deleted": pl.Boolean(),
            "merged_into": pl.String(),
            "extracted_at": TS,
        },
        personal=("record_id", "record", "merged_into", *text),
        evolves=True,
        column_docs={
            "record": "`source.Object:id`, the record as an identifier.",
            "created_at": "When the record was created, by its source.",
            "changed_at": "The source's time of this version; where it gives none, of extraction.",
            "deleted": "Whether the source deleted or merged the record away.",
            "merged_into": "The record that took its place, by merge or conversion.",
            "extracted_at": "When this version was pulled.",
        },
    )


RELATION = Table(
    key="records/relation",
    description="How records point at each other: account, owner, converted, merged …",
    primary_key=("from", "kind", "to"),
    schema={
        "from": pl.String(),
        "kind": pl.String(),
        "to": pl.String(),
        "label": pl.String(),
        "primary": pl.Boolean(),
        "source": pl.String(),
    },
    personal=("from", "to"),
    column_docs={
        "from": "The record that points.",
        "to": "The record pointed at.",
        "label": "The field or association it comes from.",
        "primary": "Whether it is the first of its kind, such as a person's main account.",
    },
)

VALUES = Table(
    key="records/values",
    description="Every value that a configured field of a record had, and since when. What we "
    "wrote ourselves is no value of its own.",
    primary_key=("source", "object", "record_id", "field", "changed_at"),
    schema={
        "entity": pl.String(),
        "source": pl.String(),
        "object": pl.String(),
        "record_id": pl.String(),
        "record": pl.String(),
        "field": pl.String(),
        "value": pl.String(),
        "changed_at": TS,
        "extracted_at": TS,
        "current": pl.Boolean(),
    },
    personal=("record_id", "record", "value"),
    column_docs={
        "field": "`source.Object.Field`.",
        "value": "Canonical text; null where the field was emptied.",
        "changed_at": "When this value first appeared in its run of equal values.",
        "extracted_at": "When that version was pulled.",
        "current": "Whether it is the field's last observation and the record is live.",
    },
)

TOLD = Table(
    key="records/told",
    description="What our syncs wrote to each field; folded from the ledger in the store.",
    primary_key=("source", "object", "record_id", "field", "told_at"),
    schema={
        "source": pl.String(),
        "object": pl.String(),
        "record_id": pl.String(),
        "field": pl.String(),
        "told_at": TS,
        "value": pl.String(),
    },
    personal=("record_id", "value"),
    column_docs={"field": "The field's own name.", "told_at": "When the intent was written."},
)

RULES = Table(
    key="records/rules",
    description="By which rules each object's records were last read: other ones read raw anew.",
    primary_key=("source", "object"),
    schema={"source": pl.String(), "object": pl.String(), "rules": pl.Int64()},
    column_docs={"rules": "A hash of the object's mapping and kept fields."},
)
