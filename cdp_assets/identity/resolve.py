"""The step that brings identity up to events and records; safe to kill at any point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import polars as pl

from cdp_assets.events.tables import EVENTS, by_people
from cdp_assets.events.tables import VALUES as EVENT_VALUES
from cdp_assets.identity import evidence
from cdp_assets.identity.config import IdentityConfig
from cdp_assets.identity.graph import kind_of
from cdp_assets.identity.ledger import LEDGER
from cdp_assets.identity.record_links import RecordLinks, record_links
from cdp_assets.identity.resolution import MEMBER, STORED, Resolution, moves, resolve_links
from cdp_assets.identity.rules import EntityRules, entity_rules
from cdp_assets.identity.tables import CHANGES, FORMER, GRAPH, IDS, LINKS, RULES, TS
from cdp_assets.identity.tracks import track_groups, track_logins
from cdp_assets.lake import Lake
from cdp_assets.records import RELATION, TOLD, VALUES, ObjectSpec, entity_table
from cdp_assets.settings import crash_point

_EVENT_IDS = ("anonymous_id", "user_id", "group_id", "timestamp", "message_id")


@dataclass
class EntityResult:
    """profiles, identifiers, links, refused: how many there are after it. minted: new rows of the
    ledger; moved: identifiers that changed profile; resolved: identifiers looked at anew."""

    profiles: int = 0
    identifiers: int = 0
    links: int = 0
    refused: int = 0
    minted: int = 0
    moved: int = 0
    resolved: int = 0


@dataclass
class ResolveResult:
    """What a resolve did. changed: whether it committed anything."""

    lake: Lake
    done: dict[str, EntityResult] = field(default_factory=dict)
    changed: bool = False

    @cached_property
    def entities(self) -> dict[str, EntityResult]:
        """What was done and how much there is of each entity; counted when first asked for, so
        that a resolve without news costs nothing."""
        return _count(self.lake, self.done)

    @property
    def profiles(self) -> int:
        """Profiles of all entities."""
        return sum(e.profiles for e in self.entities.values())

    @property
    def links(self) -> int:
        """Links of all entities."""
        return sum(e.links for e in self.entities.values())

    @property
    def refused(self) -> int:
        """Refused links of all entities."""
        return sum(e.refused for e in self.entities.values())


def resolve(
    lake: Lake, config: IdentityConfig, specs: Sequence[ObjectSpec], now: datetime
) -> ResolveResult:
    """Bring identity/* up to events and records.

    Reads what is new since the last run, makes its links, and resolves the components that these
    touch anew, over accepted and refused links together: the result is that of resolving
    everything with the same ledger of ids. Other rules resolve everything. With nothing new it
    commits nothing. Raises LakeError.
    """
    result = ResolveResult(lake)
    rules = entity_rules(config, specs)
    with lake.step("identity"):
        lake.open(CHANGES).truncate(lake.open(GRAPH).watermark(CHANGES.key))
        anew = {entity for entity, own in rules.items() if _rules_changed(lake, own)}
        for entity, own in rules.items():
            step = _Entity(lake, own, now, anew=entity in anew)
            result.changed |= step.run()
            result.done[entity] = step.result
        result.changed |= track_groups(lake, rules, anew=bool(anew & {"person", "account"}))
        crash_point("resolve:before-logins")
        result.changed |= track_logins(lake, rules["person"], anew="person" in anew)
        crash_point("resolve:before-rules")
        if anew:
            rows = pl.concat([rules[entity].rows() for entity in sorted(anew)])
            scope = pl.DataFrame({"entity": sorted(anew)})
            lake.open(RULES).replace(rows, scope=scope)
            result.changed = True
    return result


def _count(lake: Lake, done: dict[str, EntityResult]) -> dict[str, EntityResult]:
    found = {entity: replace(result) for entity, result in done.items()}
    graph = lake.open(GRAPH).scan().group_by("entity")
    links = lake.open(LINKS).scan().group_by("entity")
    held = graph.agg(pl.col("profile_id").n_unique(), pl.len()).collect()
    ruled = links.agg(pl.len(), (pl.col("state") == "refused").sum()).collect()
    for entity, profiles, identifiers in held.iter_rows():
        own = found.setdefault(entity, EntityResult())
        own.profiles, own.identifiers = profiles, identifiers
    for entity, count, refused in ruled.iter_rows():
        own = found.setdefault(entity, EntityResult())
        own.links, own.refused = count, refused
    return found


def _rules_changed(lake: Lake, rules: EntityRules) -> bool:
    stored = lake.open(RULES).scan().filter(pl.col("entity") == rules.entity).select("rules")
    return stored.collect()["rules"].unique().to_list() != [rules.digest]


@dataclass
class _Inputs:
    """Watermarks before and after, by their names."""

    after: dict[str, int]
    upto: dict[str, int]

    def new(self, name: str) -> bool:
        return self.upto[name] != self.after[name]

    @property
    def any(self) -> bool:
        return self.after != self.upto


class _Entity:
    """The resolve of one entity."""

    def __init__(self, lake: Lake, rules: EntityRules, now: datetime, *, anew: bool) -> None:
        self.lake = lake
        self.entity = rules.entity
        self.rules = rules
        self.now = now
        self.anew = anew
        self.result = EntityResult()
        self.mine = pl.col("entity") == rules.entity
        self.links = lake.open(LINKS)
        self.graph = lake.open(GRAPH)
        self.ids = lake.open(IDS)
        self.records = lake.open(entity_table(rules.entity))

    def run(self) -> bool:
        """Returns whether anything was committed."""
        inputs = self._inputs()
        if not inputs.any and not self.anew:
            return False
        fresh, stale = self._evidence(inputs)
        ruled = self._resolve(fresh, stale)
        crash_point("resolve:before-links")
        gone = stale.join(fresh, on=evidence.KEY, how="anti").select(
            pl.lit(self.entity).alias("entity"), *evidence.KEY
        )
        marks = {f"{name}:{self.entity}": seq for name, seq in inputs.upto.items()}
        if gone.height:
            scope = pl.concat([ruled.select(LINKS.primary_key), gone])
            self.links.replace(ruled, scope=scope, watermarks=marks)
        else:
            self.links.merge(ruled, watermarks=marks)
        return True

    def _inputs(self) -> _Inputs:
        tables = [VALUES, RELATION, TOLD, self.records.table]
        columns = {t.event_column for t in self.rules.types}
        if columns - {None}:
            tables += [EVENTS, EVENT_VALUES]
        upto = {t.key: self.lake.open(t).seq() for t in tables}
        after = {
            name: 0 if self.anew else self.links.watermark(f"{name}:{self.entity}") for name in upto
        }
        return _Inputs(after, upto)

    # Evidence: the links as they are now, and as they were.

    def _evidence(self, inputs: _Inputs) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Links that were made anew, and the stored ones that they take the place of."""
        stored = self.links.scan().filter(self.mine)
        held = record_links(self.lake, self.rules, inputs.after, inputs.upto)
        self._write_former(held)
        parts = [held.links]
        olds: list[pl.LazyFrame] = []
        if EVENTS.key in inputs.upto:
            added, before = self._from_events(inputs, stored)
            told, owners = self._from_event_values(inputs, stored)
            parts += [added, told]
            olds += [before, owners]
        if self.anew:
            old = stored.collect()
        else:
            refs = held.refs.lazy()
            olds += [
                stored.filter(~pl.col("source").is_in(evidence.RECORD_LINKS)).join(
                    refs, left_on="example", right_on="record", how="semi"
                ),
                *(
                    stored.filter(pl.col("source").is_in(evidence.RECORD_LINKS)).join(
                        refs, left_on=end, right_on="record", how="semi"
                    )
                    for end in ("left", "right")
                ),
            ]
            old = pl.concat([o.select(STORED) for o in olds]).unique(evidence.KEY).collect()
        return pl.concat(parts), old.select(STORED)

    def _from_events(
        self, inputs: _Inputs, stored: pl.LazyFrame
    ) -> tuple[pl.DataFrame, pl.LazyFrame]:
        """Links of new events, added to the stored ones of the same ends."""
        none = stored.clear()
        if not inputs.new(EVENTS.key):
            return pl.DataFrame(schema=evidence.SCHEMA), none
        events = self.lake.open(EVENTS).changes(
            inputs.after[EVENTS.key], upto=inputs.upto[EVENTS.key]
        )
        people = events.filter(by_people()).select(_EVENT_IDS)
        added = evidence.from_events(evidence.event_pairs(people), self.rules)
        if self.anew:
            return added, none
        before = stored.join(added.lazy(), on=evidence.KEY, how="semi")
        known = before.select(evidence.SCHEMA.keys()).collect()
        return evidence.fold(pl.concat([added, known])), before

    def _from_event_values(
        self, inputs: _Inputs, stored: pl.LazyFrame
    ) -> tuple[pl.DataFrame, pl.LazyFrame]:
        """Links of every identifier of which events told something new."""
        table = self.lake.open(EVENT_VALUES)
        if not inputs.new(EVENT_VALUES.key):
            return pl.DataFrame(schema=evidence.SCHEMA), stored.clear()
        news = table.changes(inputs.after[EVENT_VALUES.key], upto=inputs.upto[EVENT_VALUES.key])
        owners = news.select("identifier").unique().collect()
        values = table.scan().join(owners.lazy(), on="identifier", how="semi").collect()
        links = evidence.from_event_values(values, self.rules)
        spelt = owners.with_columns(
            kind=kind_of(pl.col("identifier")),
            value=pl.col("identifier").str.replace(r"^[^:]*:", ""),
        )
        ends = [
            kind.spell(spelt.filter(pl.col("kind") == column)["value"])
            for column in ("user_id", "anonymous_id", "group_id")
            if (kind := self.rules.of_event_column(column)) is not None
        ]
        mine = pl.DataFrame({"end": pl.concat(ends).drop_nulls().unique()}).lazy()
        told = stored.filter(pl.col("source").str.starts_with("events."))
        return links, pl.concat(
            [told.join(mine, left_on=end, right_on="end", how="semi") for end in ("left", "right")]
        )

    def _write_former(self, held: RecordLinks) -> None:
        table = self.lake.open(FORMER)
        if not (held.former.height or table.exists()):
            return
        entity = pl.lit(self.entity).alias("entity")
        known = table.scan().filter(self.mine).select("entity", "record").unique().collect()
        if not self.anew:
            known = known.join(held.refs, on="record", how="semi")
        rows = held.former.select(entity, "record", "identifier")
        table.replace(rows, scope=pl.concat([known, rows.select(known.columns)]).unique())

    # Resolution.

    def _resolve(self, fresh: pl.DataFrame, stale: pl.DataFrame) -> pl.DataFrame:
        """Resolve what is touched; writes ids, changes and graph, returns the rows of links."""
        graph = self.graph.scan().filter(self.mine).select(MEMBER.keys()).collect()
        ids = self.ids.scan().filter(self.mine).select(LEDGER.keys()).collect()
        stored = self.links.scan().filter(self.mine).select(STORED)
        whole = self.anew or not self.graph.exists()
        done = resolve_links(fresh, stale, stored, graph, ids, self.rules, whole=whole)
        self.result.resolved = done.members.height
        self.result.minted = done.ledger.join(ids, on="anchor", how="anti").height
        entity = pl.lit(self.entity).alias("entity")
        if done.ledger.height:
            self.ids.merge(done.ledger.select(entity, *LEDGER))
        crash_point("resolve:after-ids")
        self._write_graph(done)
        return done.links.select(entity, *STORED).select(LINKS.schema.keys())

    def _write_graph(self, done: Resolution) -> None:
        """Log what moves, then bring the graph to it, which also says how far the log holds."""
        if done.members.is_empty() and done.before.is_empty() and self.graph.exists():
            return
        entity = pl.lit(self.entity).alias("entity")
        log = self.lake.open(CHANGES)
        moved = moves(done.before, done.members)
        self.result.moved = moved.height
        if moved.height:
            at = pl.lit(self.now, TS).alias("at")
            log.append(moved.select(entity, *moved.columns, at))
        crash_point("resolve:after-changes")
        kind = kind_of(pl.col("identifier")).alias("type")
        rows = done.members.select(entity, *MEMBER, kind)
        left = done.before.join(done.members, on="identifier", how="anti")
        marks = {CHANGES.key: log.seq()}
        if left.height:
            scope = pl.concat([done.members, left]).select(entity, "identifier")
            self.graph.replace(rows, scope=scope, watermarks=marks)
        else:
            self.graph.merge(rows, watermarks=marks)
        crash_point("resolve:after-graph")
