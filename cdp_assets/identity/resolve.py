"""The step that brings identity up to events and records; safe to kill at any point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from cdp_assets.events.tables import EVENTS
from cdp_assets.events.tables import VALUES as EVENT_VALUES
from cdp_assets.identity import evidence
from cdp_assets.identity.config import IdentityConfig
from cdp_assets.identity.graph import components, kind_of
from cdp_assets.identity.ledger import LEDGER, assign
from cdp_assets.identity.rules import EntityRules, entity_rules
from cdp_assets.identity.tables import CHANGES, GRAPH, IDS, LINKS, RULES
from cdp_assets.identity.tracks import track_groups, track_logins
from cdp_assets.lake import Lake
from cdp_assets.records import RELATION, TOLD, VALUES, ObjectSpec, entity_table
from cdp_assets.settings import crash_point

WHOLE_SHARE = 0.3
"""Share of an entity's identifiers beyond which all of it is resolved anew: closer looks cost more
than they spare."""

_EVENT_IDS = ("anonymous_id", "user_id", "group_id", "timestamp", "message_id")


@dataclass
class EntityResult:
    """What a resolve did for one entity; counts of rows after it, and of what changed."""

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

    entities: dict[str, EntityResult] = field(default_factory=dict)
    changed: bool = False

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
    result = ResolveResult()
    rules = entity_rules(config, specs)
    with lake.step("identity"):
        lake.open(CHANGES).truncate(lake.open(GRAPH).watermark(CHANGES.key))
        anew = {entity for entity, own in rules.items() if _rules_changed(lake, own)}
        for entity, own in rules.items():
            step = _Entity(lake, own, now, anew=entity in anew)
            result.changed |= step.run()
            result.entities[entity] = step.result
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
        ruled = self._resolve(fresh, stale, _touched(fresh, stale))
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
        parts = [self._from_records(inputs)]
        olds: list[pl.LazyFrame] = []
        if EVENTS.key in inputs.upto:
            added, before = self._from_events(inputs, stored)
            told, owners = self._from_event_values(inputs, stored)
            parts += [added, told]
            olds += [before, owners]
        if self.anew:
            old = stored.collect()
        else:
            refs = self._refs.lazy()
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
            old = pl.concat([o.select(_STORED) for o in olds]).unique(evidence.KEY).collect()
        return pl.concat(parts), old.select(_STORED)

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
        added = evidence.from_events(evidence.event_pairs(events.select(_EVENT_IDS)), self.rules)
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

    def _from_records(self, inputs: _Inputs) -> pl.DataFrame:
        """Links of every record with news; leaves these records in `_refs`."""
        news = [
            self._changed(VALUES.key, inputs, "record").filter(self.mine),
            self._changed(self.records.table.key, inputs, "record"),
            self._changed(RELATION.key, inputs, "from"),
            self._changed(RELATION.key, inputs, "to"),
            self._told(inputs),
        ]
        refs = pl.concat([n.select("record") for n in news]).unique()
        records = self.records.scan().join(refs, on="record", how="semi").select(_RECORD).collect()
        self._refs = refs.collect()
        here = self._refs.lazy()
        fields = list(self.rules.fields)
        values = (
            self.lake.open(VALUES)
            .scan()
            .filter(self.mine & pl.col("current") & pl.col("field").is_in(fields))
            .join(here, on="record", how="semi")
            .select("record", "field", "value", "changed_at")
            .collect()
        )
        relations = (
            self.lake.open(RELATION).scan().filter(pl.col("kind").is_in(evidence.RECORD_LINKS))
        )
        near = pl.concat(
            [
                relations.join(here, left_on=end, right_on="record", how="semi")
                for end in ("from", "to")
            ]
        ).unique(["from", "kind", "to"])
        joined = near.select("from", "kind", "to").collect()
        ends = pl.concat([joined["from"], joined["to"]]).unique().alias("record").to_frame()
        known = self.records.scan().join(ends.lazy(), on="record", how="semi").select(_RECORD)
        joined = joined.join(
            known.select(pl.col("record").alias("from")).collect(), on="from", how="semi"
        )
        live = records.filter(~pl.col("deleted"))
        told = self._what_we_told(live)
        return pl.concat(
            [
                evidence.from_records(live, values, told, self.rules),
                evidence.from_relations(joined, known.collect()),
            ]
        )

    def _changed(self, key: str, inputs: _Inputs, column: str) -> pl.LazyFrame:
        table = {VALUES.key: VALUES, RELATION.key: RELATION}.get(key, self.records.table)
        frame = self.lake.open(table).changes(inputs.after[key], upto=inputs.upto[key])
        if table is RELATION:
            frame = frame.filter(pl.col("kind").is_in(evidence.RECORD_LINKS))
        return frame.with_columns(record=pl.col(column))

    def _told(self, inputs: _Inputs) -> pl.LazyFrame:
        told = self.lake.open(TOLD).changes(inputs.after[TOLD.key], upto=inputs.upto[TOLD.key])
        fields = list(self.rules.fields)
        return told.filter(_field_ref.is_in(fields)).with_columns(record=_told_record)

    def _what_we_told(self, live: pl.DataFrame) -> pl.DataFrame:
        return (
            self.lake.open(TOLD)
            .scan()
            .filter(_field_ref.is_in(list(self.rules.fields)))
            .select("told_at", "value", record=_told_record, field=_field_ref)
            .join(live.lazy(), on="record", how="semi")
            .sort("told_at")
            .unique(["record", "field"], keep="last", maintain_order=True)
            .select("record", "field", "value", "told_at")
            .collect()
        )

    # Resolution.

    def _resolve(
        self, fresh: pl.DataFrame, stale: pl.DataFrame, touched: pl.DataFrame
    ) -> pl.DataFrame:
        """Resolve what is touched; writes ids, changes and graph, returns the rows of links."""
        unmoved = fresh.join(
            stale.select(*evidence.KEY, "state", "reason"), on=evidence.KEY, how="left"
        )
        whole = self.anew or not self.graph.exists()
        graph = self.graph.scan().filter(self.mine).select("identifier", "profile_id").collect()
        if not whole and touched.is_empty():
            return self._rows(unmoved.filter(pl.col("state").is_not_null()))
        stored = self.links.scan().filter(self.mine).select(_STORED)
        if not whole:
            reach = self._reach(touched, fresh, graph, stored)
            whole = reach.height > WHOLE_SHARE * max(graph.height, 1_000)
        near = (
            stored
            if whole
            else stored.join(reach.lazy(), left_on="left", right_on="identifier", how="semi")
        )
        gone = stale.select(evidence.KEY)
        kept = (
            near.join(gone.lazy(), on=evidence.KEY, how="anti")
            .join(fresh.lazy(), on=evidence.KEY, how="anti")
            .collect()
        )
        links = pl.concat([kept, unmoved.select(_STORED)])
        if not whole:
            links = links.join(reach, left_on="left", right_on="identifier", how="semi")
        found = components(links, self.rules)
        strong = found.nodes.filter("strong")
        before = graph if whole else graph.join(reach, on="identifier", how="semi")
        profiles = self._mint(strong, before)
        self._write_graph(strong, profiles, before)
        ruled = links.drop("state", "reason").join(found.links, on=["left", "right"])
        same = links.select(*evidence.KEY, old_state="state", old_reason="reason")
        known = fresh.select(*evidence.KEY, new=pl.lit(value=True))
        news = (
            ruled.join(same, on=evidence.KEY)
            .join(known, on=evidence.KEY, how="left")
            .filter(
                pl.col("new").is_not_null()
                | pl.col("state").ne_missing(pl.col("old_state"))
                | pl.col("reason").ne_missing(pl.col("old_reason"))
            )
        )
        rest = unmoved.join(ruled, on=evidence.KEY, how="anti")
        return self._rows(pl.concat([news.select(_STORED), rest.select(_STORED)]))

    def _rows(self, links: pl.DataFrame) -> pl.DataFrame:
        return links.with_columns(entity=pl.lit(self.entity)).select(LINKS.schema.keys())

    def _reach(
        self,
        touched: pl.DataFrame,
        fresh: pl.DataFrame,
        graph: pl.DataFrame,
        stored: pl.LazyFrame,
    ) -> pl.DataFrame:
        """Identifiers of every component that a touched one reaches by links, refused or not.

        Within a profile everything is reached; beyond it by refused links, by links between weak
        identifiers, by new links, and between the anchors of one id.
        """
        weak = [t.name for t in self.rules.types if t.weak]
        loose = stored.filter(
            (pl.col("state") == "refused")
            | (kind_of(pl.col("left")).is_in(weak) & kind_of(pl.col("right")).is_in(weak))
        ).select("left", "right")
        anchors = self.ids.scan().filter(self.mine).select("anchor", "profile_id").collect()
        several = anchors.filter(pl.col("profile_id").is_duplicated())
        twins = several.join(several, on="profile_id").select(left="anchor", right="anchor_right")
        edges = pl.concat([loose.collect(), fresh.select("left", "right"), twins])
        edges = pl.concat([edges, edges.select(left="right", right="left")]).unique()
        reach = touched
        frontier = touched
        while frontier.height:
            profiles = graph.join(frontier, on="identifier", how="semi").select("profile_id")
            members = graph.join(profiles, on="profile_id", how="semi").select("identifier")
            inside = pl.concat([frontier, members]).unique()
            across = edges.join(inside, left_on="left", right_on="identifier", how="semi")
            found = pl.concat([inside, across.select(identifier="right")]).unique()
            frontier = found.join(reach, on="identifier", how="anti")
            reach = pl.concat([reach, frontier])
        return reach

    def _mint(self, strong: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
        ledger = self.ids.scan().filter(self.mine).select(LEDGER.keys()).collect()
        last = ledger["minted_seq"].max()
        concerned = pl.concat(
            [
                ledger.join(strong, left_on="anchor", right_on="identifier", how="semi").select(
                    "profile_id"
                ),
                before.select("profile_id"),
            ]
        ).unique()
        ledger = ledger.join(concerned, on="profile_id", how="semi")
        done = assign(
            strong.select("identifier", "component", "rank"),
            ledger,
            before,
            int(last) if isinstance(last, int) else 0,
        )
        if done.ledger.height:
            rows = done.ledger.with_columns(entity=pl.lit(self.entity))
            self.ids.merge(rows.select(IDS.schema.keys()))
        crash_point("resolve:after-ids")
        return done.profiles

    def _write_graph(
        self, strong: pl.DataFrame, profiles: pl.DataFrame, before: pl.DataFrame
    ) -> None:
        """Log what moves, then bring the graph to it, which also says how far the log holds."""
        members = strong.join(profiles, on="component").select("identifier", "profile_id")
        moves = before.join(members, on="identifier", how="left", suffix="_to").filter(
            pl.col("profile_id").ne_missing(pl.col("profile_id_to"))
        )
        log = self.lake.open(CHANGES)
        if moves.height:
            still = members.select("profile_id").unique().with_columns(lives=pl.lit(value=True))
            was = before.select(pl.col("profile_id").alias("profile_id_to")).unique()
            old = was.with_columns(known=pl.lit(value=True))
            rows = (
                moves.join(still, on="profile_id", how="left")
                .join(old, on="profile_id_to", how="left")
                .select(
                    entity=pl.lit(self.entity),
                    identifier="identifier",
                    **{"from": pl.col("profile_id"), "to": pl.col("profile_id_to")},
                    cause=pl.when(pl.col("profile_id_to").is_null())
                    .then(pl.lit("removed"))
                    .when(pl.col("lives").is_null())
                    .then(pl.lit("merge"))
                    .when(pl.col("known").is_null())
                    .then(pl.lit("split"))
                    .otherwise(pl.lit("move")),
                    at=pl.lit(self.now, pl.Datetime("us", "UTC")),
                )
                .sort("identifier")
            )
            log.append(rows)
        crash_point("resolve:after-changes")
        rows = members.select(
            entity=pl.lit(self.entity),
            identifier="identifier",
            profile_id="profile_id",
            type=kind_of(pl.col("identifier")),
        )
        left = before.join(members, on="identifier", how="anti").select(
            entity=pl.lit(self.entity), identifier="identifier"
        )
        marks = {CHANGES.key: log.seq()}
        if left.height:
            scope = pl.concat([rows.select("entity", "identifier"), left])
            self.graph.replace(rows, scope=scope, watermarks=marks)
        else:
            self.graph.merge(rows, watermarks=marks)
        crash_point("resolve:after-graph")


_RECORD = ("record", "source", "object", "changed_at", "created_at", "deleted", "merged_into")
_STORED = (*evidence.SCHEMA, "state", "reason")
_told_record = pl.col("source") + "." + pl.col("object") + ":" + pl.col("record_id")
_field_ref = pl.col("source") + "." + pl.col("object") + "." + pl.col("field")


def _touched(fresh: pl.DataFrame, stale: pl.DataFrame) -> pl.DataFrame:
    """Identifiers at the ends of links that are new, gone, or seen first at another time."""
    before = stale.select(*evidence.KEY, was="first_seen")
    moved = fresh.join(before, on=evidence.KEY, how="left").filter(
        pl.col("first_seen").ne_missing(pl.col("was"))
    )
    gone = stale.join(fresh, on=evidence.KEY, how="anti")
    ends = [frame[end] for frame in (moved, gone) for end in ("left", "right")]
    return pl.DataFrame({"identifier": pl.concat(ends).unique()})
