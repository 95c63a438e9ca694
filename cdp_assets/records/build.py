"""From raw versions to records, their relations and their values: one step, safe to kill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

import polars as pl

from cdp_assets.lake import Lake
from cdp_assets.raw.tables import QUARANTINE, raw_table
from cdp_assets.records.bridges import told_across
from cdp_assets.records.config import ObjectSpec
from cdp_assets.records.tables import RELATION, RULES, TOLD, VALUES, entity_table
from cdp_assets.records.told import Told, fold_told
from cdp_assets.records.versions import (
    entity_rows,
    latest,
    own_columns,
    read_versions,
    relation_rows,
    value_rows,
)
from cdp_assets.settings import crash_point

BATCH = 250_000
"""Raw rows that are decoded at once; keeps memory flat over a first build."""

_RAW = ("record_id", "cursor_at", "op", "merged_into", "payload", "payload_hash", "extracted_at")


@dataclass
class BuildResult:
    """What a build did. Counts are rows; `records` by entity: records that were read anew."""

    records: dict[str, int] = field(default_factory=dict)
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    told: int = 0
    unreadable: int = 0


def build(
    lake: Lake, objects: Sequence[ObjectSpec], told: Told | None, now: datetime
) -> BuildResult:
    """Bring records/* up to the raw tables.

    objects: every object that configuration pulls, as an entity.
    told: the ledger's rows after an id (see `told.fold_told`), a frame of all of them, or None.

    A record with news is read anew from all its raw versions, so batches and their order make no
    difference. Where an object's mapping or kept fields change, all its records are. With nothing
    new it commits nothing. Raises LakeError; ValueError for a name that is taken.
    """
    result = BuildResult()
    with lake.step("records"):
        result.told = fold_told(lake, told)
        crash_point("records:after-told")
        known = dict(lake.open(RULES).scan().select(_object_name(), "rules").collect().iter_rows())
        by_entity = sorted(objects, key=lambda s: (s.entity, s.source, s.object))
        for entity, specs in groupby(by_entity, key=lambda s: s.entity):
            group = list(specs)
            table = entity_table(entity, (c for spec in group for c in own_columns(spec)))
            for spec in group:
                step = _Object(lake, spec, table, result, now)
                step.run(anew=known.get(spec.name) != spec.rules())
    return result


def _object_name() -> pl.Expr:
    return pl.col("source") + "." + pl.col("object")


class _Object:
    """The build of one object's records."""

    def __init__(
        self, lake: Lake, spec: ObjectSpec, table: object, result: BuildResult, now: datetime
    ) -> None:
        self.spec = spec
        self.result = result
        self.now = now
        self.lake = lake
        self.raw = lake.open(raw_table(spec.source, spec.object))
        self.entity = lake.open(table)  # type: ignore[arg-type]
        self.relation = lake.open(RELATION)
        self.values = lake.open(VALUES)
        self.told = lake.open(TOLD)

    def run(self, *, anew: bool) -> None:
        raw_name = self.raw.table.key
        told_name = f"{TOLD.key}:{self.spec.name}"
        after = 0 if anew else self.values.watermark(raw_name)
        told_after = self.values.watermark(told_name)
        upto, told_upto = self.raw.seq(), self.told.seq()
        if upto == after and told_upto == told_after and not anew:
            return
        held = self.values.watermark(raw_name)
        late = self._told_late(told_after, told_upto) if told_upto > told_after else None
        for start, end in self._batches(after, upto):
            news = self.raw.changes(start, upto=end).select(_RAW).collect()
            touched = news.select("record_id").unique()
            marks = {raw_name: end} if end >= held else {}
            if end == upto:
                marks[told_name] = told_upto
                touched = touched if late is None else pl.concat([touched, late]).unique()
            self._read_anew(news, touched, start, marks)
        if anew:
            self.lake.open(RULES).merge(
                pl.DataFrame(
                    {
                        "source": [self.spec.source],
                        "object": [self.spec.object],
                        "rules": [self.spec.rules()],
                    }
                )
            )

    def _batches(self, after: int, upto: int) -> list[tuple[int, int]]:
        """The feed from `after` to `upto` in pieces of about BATCH rows; at least one piece."""
        sizes = (
            self.raw.changes(after, upto=upto)
            .group_by("_seq")
            .len()
            .sort("_seq")
            .collect()
            .iter_rows()
        )
        pieces: list[tuple[int, int]] = []
        start, rows = after, 0
        for seq, size in sizes:
            if rows and rows + size > BATCH:
                pieces.append((start, seq - 1))
                start, rows = seq - 1, 0
            rows += size
        return [*pieces, (start, upto)]

    def _told_late(self, after: int, upto: int) -> pl.DataFrame:
        """Records of which we learn only now that we told them something before we last read
        them: their values are judged again."""
        told = self._tells(self.told.changes(after, upto=upto)).select("record_id", "told_at")
        seen = (
            self.entity.scan()
            .filter((pl.col("source") == self.spec.source) & (pl.col("object") == self.spec.object))
            .select("record_id", seen=pl.max_horizontal("changed_at", "extracted_at"))
        )
        return (
            told.join(seen, on="record_id")
            .filter(pl.col("told_at") <= pl.col("seen"))
            .select("record_id")
            .unique()
            .collect()
        )

    def _tells(self, told: pl.LazyFrame) -> pl.LazyFrame:
        """record_id, field, told_at, value of what was told to this object's records, or (across)
        to their other sides, from where a bridge copies it."""
        mine = (pl.col("source") == self.spec.source) & (pl.col("object") == self.spec.object)
        own = told.filter(mine).select(
            "record_id", "field", "told_at", "value", across=pl.lit(value=False)
        )
        if not self.spec.other_sides:
            return own
        across = told_across(told, self.relation.scan(), self.spec)
        return pl.concat([own, across.with_columns(across=pl.lit(value=True))]).unique()

    def _read_anew(
        self, news: pl.DataFrame, touched: pl.DataFrame, after: int, watermarks: dict[str, int]
    ) -> None:
        spec = self.spec
        rows = self._all_versions(news, touched, after)
        versions, refused = read_versions(rows, spec)
        self._quarantine(refused.join(news, on=["record_id", "payload_hash"], how="semi"))
        state = latest(versions, spec)
        key = [
            pl.lit(spec.source).alias("source"),
            pl.lit(spec.object).alias("object"),
            "record_id",
        ]
        done = [self.entity.merge(entity_rows(state, spec))] if state.height else []
        crash_point("records:after-entity")
        if touched.height:
            scope = touched.select((pl.lit(f"{spec.name}:") + pl.col("record_id")).alias("from"))
            done.append(self.relation.replace(relation_rows(state, spec), scope=scope))
        crash_point("records:before-values")
        told = self._tells(self.told.scan()).join(touched.lazy(), on="record_id", how="semi")
        values = value_rows(versions, told.collect(), spec)
        if touched.height:
            done.append(
                self.values.replace(values, scope=touched.select(key), watermarks=watermarks)
            )
        else:
            done.append(self.values.merge(values, watermarks=watermarks))
        result = self.result
        result.records[spec.entity] = result.records.get(spec.entity, 0) + state.height
        result.inserted += sum(c.inserted for c in done)
        result.updated += sum(c.updated for c in done)
        result.deleted += sum(c.deleted for c in done)

    def _all_versions(self, news: pl.DataFrame, touched: pl.DataFrame, after: int) -> pl.DataFrame:
        """The raw rows of these records: the news, and what was read before."""
        if after == 0:
            return news
        before = (
            self.raw.scan(upto=after)
            .join(touched.lazy(), on="record_id", how="semi")
            .select(_RAW)
            .collect()
        )
        return pl.concat([before, news])

    def _quarantine(self, refused: pl.DataFrame) -> None:
        if refused.is_empty():
            return
        self.result.unreadable += refused.height
        self.lake.open(QUARANTINE).merge(
            refused.unique("payload_hash").select(
                step=pl.lit("records"),
                origin=pl.lit(self.raw.table.key + "#") + pl.col("payload_hash"),
                position=pl.lit(1, pl.Int64),
                reason=pl.lit("not_an_object"),
                detail=pl.lit("the payload is no JSON object"),
                payload=pl.col("payload").cast(pl.Binary),
                first_seen=pl.lit(self.now, pl.Datetime("us", "UTC")),
                state=pl.lit("open"),
            )
        )
