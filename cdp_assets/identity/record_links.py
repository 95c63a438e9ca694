"""Links of the records with news, and what deleted records held last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from cdp_assets.identity import evidence
from cdp_assets.identity.rules import EntityRules
from cdp_assets.lake import Lake, Table
from cdp_assets.records import RELATION, TOLD, VALUES, entity_table

_RECORD = ("record", "source", "object", "changed_at", "created_at", "deleted", "merged_into")
_told_record = pl.col("source") + "." + pl.col("object") + ":" + pl.col("record_id")
_field_ref = pl.col("source") + "." + pl.col("object") + "." + pl.col("field")


@dataclass(frozen=True)
class RecordLinks:
    """refs: record, those that were looked at. links: theirs, as evidence.SCHEMA. former: record,
    identifier: what those of them held last that were deleted."""

    refs: pl.DataFrame
    links: pl.DataFrame
    former: pl.DataFrame


def record_links(
    lake: Lake, rules: EntityRules, after: Mapping[str, int], upto: Mapping[str, int]
) -> RecordLinks:
    """Links of every record of the entity with news, and of those that were merged into one, since
    whether they count hangs on it.

    after, upto: table → its `_seq`; news are the rows above the first, not above the second.
    """
    records = lake.open(entity_table(rules.entity)).scan().select(_RECORD)
    away = pl.col("deleted") & pl.col("merged_into").is_not_null()
    merged = records.filter(away).select("record", "merged_into").collect()
    news = _news(lake, rules, after, upto)
    refs = _reached(news, merged.select(left="merged_into", right="record"))
    relations = _relations(lake, refs)
    ends = pl.concat([refs["record"], relations["from"], relations["to"]]).unique()
    wanted = _reached(ends.to_frame("record"), merged.select(left="record", right="merged_into"))
    known = records.join(wanted.lazy(), on="record", how="semi").collect()
    mine = known.join(refs, on="record", how="semi")
    counting = evidence.counting(known)
    values, told = _last_values(lake, rules, mine), _what_we_told(lake, rules, refs)
    own = mine.join(counting, on="record", how="semi")
    # A relation whose own end was never pulled says nothing yet.
    pulled = relations.join(known, left_on="from", right_on="record", how="semi")
    links = [
        evidence.from_records(own, values, told, rules),
        evidence.from_relations(pulled, known, counting),
    ]
    gone = mine.filter("deleted", pl.col("merged_into").is_null())
    former = evidence.held(gone, values, told, rules)
    return RecordLinks(refs, pl.concat(links), former)


def _news(
    lake: Lake, rules: EntityRules, after: Mapping[str, int], upto: Mapping[str, int]
) -> pl.DataFrame:
    def changed(table: Table) -> pl.LazyFrame:
        return lake.open(table).changes(after[table.key], upto=upto[table.key])

    relations = changed(RELATION).filter(pl.col("kind").is_in(evidence.RECORD_LINKS))
    told = changed(TOLD).filter(_field_ref.is_in(list(rules.fields)))
    news = [
        changed(VALUES).filter(pl.col("entity") == rules.entity).select("record"),
        changed(entity_table(rules.entity)).select("record"),
        relations.select(record="from"),
        relations.select(record="to"),
        told.select(record=_told_record),
    ]
    return pl.concat(news).unique().collect()


def _reached(start: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """start: record. steps: left, right. Returns `start` and what the steps lead to from it."""
    reach = frontier = start
    while frontier.height:
        onward = steps.join(frontier, left_on="left", right_on="record", how="semi")
        frontier = onward.select(record="right").unique().join(reach, on="record", how="anti")
        reach = pl.concat([reach, frontier])
    return reach


def _relations(lake: Lake, refs: pl.DataFrame) -> pl.DataFrame:
    same = lake.open(RELATION).scan().filter(pl.col("kind").is_in(evidence.RECORD_LINKS))
    sides = [
        same.join(refs.lazy(), left_on=end, right_on="record", how="semi") for end in ("from", "to")
    ]
    return pl.concat(sides).select("from", "kind", "to").unique().collect()


def _last_values(lake: Lake, rules: EntityRules, records: pl.DataFrame) -> pl.DataFrame:
    """The last value of each field of these records; of deleted ones no value is current."""
    mine = (pl.col("entity") == rules.entity) & pl.col("field").is_in(list(rules.fields))
    values = lake.open(VALUES).scan().filter(mine)
    live, gone = (
        values.join(some.select("record").lazy(), on="record", how="semi")
        for some in (records.filter(~pl.col("deleted")), records.filter("deleted"))
    )
    current = live.filter("current").select("record", "field", "value", "changed_at").collect()
    return pl.concat([current, evidence.last_values(gone)])


def _what_we_told(lake: Lake, rules: EntityRules, refs: pl.DataFrame) -> pl.DataFrame:
    return (
        lake.open(TOLD)
        .scan()
        .filter(_field_ref.is_in(list(rules.fields)))
        .select("told_at", "value", record=_told_record, field=_field_ref)
        .join(refs.lazy(), on="record", how="semi")
        .sort("told_at")
        .unique(["record", "field"], keep="last", maintain_order=True)
        .select("record", "field", "value", "told_at")
        .collect()
    )
