"""Links as observed: from events, from traits told by events, from records.

Every function gives rows (left, right, source, first_seen, last_seen, count, example) with
left ≤ right as text; an identifier seen alone is linked to itself.
"""

from __future__ import annotations

import polars as pl

from cdp_assets.identity.chains import followed
from cdp_assets.identity.rules import EVENT_TRAITS, EntityRules, TypeRules
from cdp_assets.identity.tables import TS

KEY = ("left", "right", "source")
SCHEMA = {
    "left": pl.String(),
    "right": pl.String(),
    "source": pl.String(),
    "first_seen": TS,
    "last_seen": TS,
    "count": pl.Int64(),
    "example": pl.String(),
}
RECORD_LINKS = ("merged", "converted", "bridged")
"""Kinds of records/relation that say that two records are one."""


def event_pairs(events: pl.LazyFrame) -> pl.DataFrame:
    """Distinct ids that stand together in events.

    events: anonymous_id, user_id, group_id, message_id String; timestamp Datetime[us, UTC].
    Returns anonymous_id, user_id, group_id, first_seen, last_seen, count, example (the message id
    of the earliest event, of several the smallest).
    """
    ids = ["anonymous_id", "user_id", "group_id"]
    known = events.filter(pl.col("user_id").is_not_null() | pl.col("group_id").is_not_null())
    pairs = known.group_by(ids).agg(
        first_seen=pl.col("timestamp").min(),
        last_seen=pl.col("timestamp").max(),
        count=pl.len().cast(pl.Int64),
    )
    first = (
        known.select(*ids, "timestamp", "message_id")
        .join(
            pairs.select(*ids, "first_seen"),
            left_on=[*ids, "timestamp"],
            right_on=[*ids, "first_seen"],
            nulls_equal=True,
        )
        .group_by(ids)
        .agg(example=pl.col("message_id").min())
    )
    return pairs.join(first, on=ids, how="left", nulls_equal=True).collect()


def from_events(pairs: pl.DataFrame, rules: EntityRules) -> pl.DataFrame:
    """Links of one entity from `event_pairs`."""
    types = [
        (column, kind)
        for column in ("anonymous_id", "user_id", "group_id")
        if (kind := rules.of_event_column(column)) is not None
    ]
    if all(kind.weak for _, kind in types):
        return pl.DataFrame(schema=SCHEMA)
    spelt = pairs.with_columns(kind.spell(pairs[column]).alias(column) for column, kind in types)
    parts = []
    for place, (column, kind) in enumerate(types):
        for other, _ in types[place + 1 :]:
            parts.append(spelt.select(*_ends(column, other), *_COUNTS).filter(_both))
        if not kind.weak:
            # Alone, or together with nothing but what identifies nobody.
            others = [pl.col(name).is_null() for name, _ in types if name != column]
            alone = spelt.filter(pl.all_horizontal(pl.lit(True), *others))
            parts.append(alone.select(*_ends(column, column), *_COUNTS).filter(_both))
    return fold(pl.concat(parts).with_columns(source=pl.lit("events")).select(SCHEMA.keys()))


_COUNTS = ("first_seen", "last_seen", "count", "example")
_both = pl.col("left").is_not_null() & pl.col("right").is_not_null()


def _ends(one: str, other: str) -> list[pl.Expr]:
    swapped = pl.col(one) > pl.col(other)
    return [
        pl.when(swapped).then(pl.col(other)).otherwise(pl.col(one)).alias("left"),
        pl.when(swapped).then(pl.col(one)).otherwise(pl.col(other)).alias("right"),
    ]


def fold(links: pl.DataFrame) -> pl.DataFrame:
    """Rows of one (left, right, source) added up: earliest, latest, sum, the earliest's example."""
    if links.select(KEY).n_unique() == links.height:
        return links
    return (
        links.sort("first_seen", "example", nulls_last=True)
        .group_by(KEY, maintain_order=True)
        .agg(
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
            pl.col("count").sum(),
            pl.col("example").first(),
        )
        .select(SCHEMA.keys())
    )


def from_event_values(values: pl.DataFrame, rules: EntityRules) -> pl.DataFrame:
    """Links of one entity from traits told by events.

    values: identifier, field, value, message_id String; changed_at; all rows of each identifier.
    """
    own = {
        column: kind
        for column in ("user_id", "anonymous_id", "group_id")
        if (kind := rules.of_event_column(column)) is not None
    }
    fields = {ref: kind for ref, kind in rules.fields.items() if ref.startswith(EVENT_TRAITS)}
    told = values.filter(pl.col("field").is_in(list(fields)) & pl.col("value").is_not_null())
    parts = []
    for column, owner in own.items():
        mine = told.filter(pl.col("identifier").str.starts_with(column + ":"))
        spelt = owner.spell(mine["identifier"].str.strip_prefix(column + ":"))
        mine = mine.with_columns(owner=spelt)
        for ref, kind in fields.items():
            part = mine.filter(pl.col("field") == ref)
            parts.append(
                part.with_columns(other=kind.spell(part["value"]))
                .select(
                    *_ends("owner", "other"),
                    source=pl.lit(ref),
                    first_seen=pl.col("changed_at"),
                    last_seen=pl.col("changed_at"),
                    count=pl.lit(1, pl.Int64),
                    example=pl.col("message_id"),
                )
                .filter(_both)
            )
    return fold(pl.concat(parts)) if parts else pl.DataFrame(schema=SCHEMA)


def counting(records: pl.DataFrame) -> pl.DataFrame:
    """Those records whose values say who somebody is: live ones, and those that were merged, over
    however many steps, into one that is live or was never pulled.

    records: record, deleted, merged_into; the records that they were merged into among them.
    """
    away = records.filter("deleted", pl.col("merged_into").is_not_null())
    last = followed(away.select(old="record", new="merged_into")).collect()
    found = records.select("record").join(last, left_on="record", right_on="old", how="left")
    found = found.select("record", last=pl.coalesce("new", "record"))
    ends = records.select(last="record", gone="deleted")
    alive = ~pl.col("gone").fill_null(value=False)
    return found.join(ends, on="last", how="left").filter(alive).select("record")


def last_values(values: pl.LazyFrame) -> pl.DataFrame:
    """record, field, value, changed_at of each field's last row. values: of records/values."""
    return (
        values.sort("changed_at")
        .unique(["record", "field"], keep="last", maintain_order=True)
        .select("record", "field", "value", "changed_at")
        .collect()
    )


def from_records(
    records: pl.DataFrame, values: pl.DataFrame, told: pl.DataFrame, rules: EntityRules
) -> pl.DataFrame:
    """Links of one entity's records to the values they hold.

    records: record, source, object String; changed_at, created_at; of those that count.
    values: record, field (`source.Object.Field`), value, changed_at of their last values.
    told: record, field, value, told_at: what we last wrote to fields of these records.

    A record without any identifier is linked to itself.
    """
    links = _held(records, values, told, rules)
    since = pl.coalesce("created_at", "changed_at")
    alone = _unlinked(records, links).select(
        left=pl.col("record"),
        right=pl.col("record"),
        source=pl.col("source") + "." + pl.col("object"),
        first_seen=since,
        last_seen=since,
        count=pl.lit(1, pl.Int64),
        example=pl.col("record"),
    )
    return pl.concat([links, alone.select(SCHEMA.keys())])


def held(
    records: pl.DataFrame, values: pl.DataFrame, told: pl.DataFrame, rules: EntityRules
) -> pl.DataFrame:
    """record, identifier: what records hold or, those deleted, held last. Takes what
    `from_records` takes."""
    other = pl.when(pl.col("left") == pl.col("example")).then("right").otherwise("left")
    links = _held(records, values, told, rules)
    return links.select(record="example", identifier=other).unique()


def _held(
    records: pl.DataFrame, values: pl.DataFrame, told: pl.DataFrame, rules: EntityRules
) -> pl.DataFrame:
    """A record that shows no identifier but what we wrote (we created it) is linked to that:
    otherwise it would be a stranger."""
    links = _shown(records, values.rename({"changed_at": "since"}), rules)
    if not told.height:
        return links
    silent = _unlinked(records, links)
    return pl.concat([links, _shown(silent, told.rename({"told_at": "since"}), rules)])


def _unlinked(records: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    return records.join(links.select(record="example"), on="record", how="anti")


def from_relations(
    relations: pl.DataFrame, records: pl.DataFrame, counting: pl.DataFrame
) -> pl.DataFrame:
    """Links between records that are one: merged ones, and leads with what they became.

    relations: from, kind, to; of RECORD_LINKS. records: record, changed_at of their ends (one that
        was never pulled is missing). counting: record, those of them that count.

    A record that counts no more is linked to nothing.
    """
    gone = records.join(counting, on="record", how="anti")["record"].implode()
    return fold(
        relations.filter(
            pl.col("kind").is_in(RECORD_LINKS)
            & ~pl.col("from").is_in(gone)
            & ~pl.col("to").is_in(gone)
            & (pl.col("from") != pl.col("to"))
        )
        .join(records.select(pl.col("record").alias("from"), "changed_at"), on="from")
        .select(
            *_ends("from", "to"),
            source=pl.col("kind"),
            first_seen=pl.col("changed_at"),
            last_seen=pl.col("changed_at"),
            count=pl.lit(1, pl.Int64),
            example=pl.col("from"),
        )
    )


def _shown(records: pl.DataFrame, values: pl.DataFrame, rules: EntityRules) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=SCHEMA)]
    known = values.join(records.select("record"), on="record", how="semi")
    for ref, kind in rules.fields.items():
        part = known.filter((pl.col("field") == ref) & pl.col("value").is_not_null())
        if part.height:
            parts.append(_record_links(part, ref, kind))
    return pl.concat(parts)


def _record_links(part: pl.DataFrame, ref: str, kind: TypeRules) -> pl.DataFrame:
    return (
        part.with_columns(other=kind.spell(part["value"]))
        .select(
            *_ends("record", "other"),
            source=pl.lit(ref),
            first_seen=pl.col("since"),
            last_seen=pl.col("since"),
            count=pl.lit(1, pl.Int64),
            example=pl.col("record"),
        )
        .filter(_both)
        .select(SCHEMA.keys())
    )
