"""Identity as it would have been resolved at a past moment, by today's rules and ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from cdp_assets.identity import evidence
from cdp_assets.identity.graph import components
from cdp_assets.identity.ledger import LEDGER, assign
from cdp_assets.identity.resolution import MEMBER, STORED
from cdp_assets.identity.rules import EntityRules, last_rules
from cdp_assets.identity.tables import IDS, LINKS, TS
from cdp_assets.lake import Lake
from cdp_assets.records import RELATION, VALUES, entity_table


@dataclass(frozen=True)
class Past:
    """members: identifier, profile_id. links: as STORED, judged."""

    members: pl.DataFrame
    links: pl.DataFrame


def resolve_as_of(lake: Lake, entity: str, at: datetime) -> Past:
    """Resolve the links that were known at `at`.

    From events: links first seen by then. From records: the values that had been pulled by then,
    and merges and conversions that had happened. Reads the entity's links and values whole.
    A component that no id of today's ledger belongs to has no profile.
    """
    rules = last_rules(lake, entity)
    links = _links(lake, rules, at)
    found = components(links, rules)
    strong = found.nodes.filter("strong").select("identifier", "component", "rank")
    ids = lake.open(IDS).scan().filter(pl.col("entity") == entity).select(LEDGER.keys()).collect()
    last = ids["minted_seq"].max()
    known = int(last) if isinstance(last, int) else 0
    assigned = assign(strong, ids, pl.DataFrame(schema=MEMBER), known)
    profiles = assigned.profiles.filter(pl.col("profile_id") <= known)
    members = strong.join(profiles, on="component").select(MEMBER.keys())
    return Past(members, found.links.select(STORED))


def members_as_of(lake: Lake, entity: str, at: datetime) -> pl.DataFrame:
    """profile_id Int64, identifier String of every profile as it was at `at`."""
    return resolve_as_of(lake, entity, at).members.select("profile_id", "identifier")


def _links(lake: Lake, rules: EntityRules, at: datetime) -> pl.DataFrame:
    mine = pl.col("entity") == rules.entity
    stored = lake.open(LINKS).scan().filter(mine & (pl.col("first_seen") <= at))
    told = stored.filter(pl.col("source").str.starts_with("events")).select(evidence.SCHEMA.keys())
    seen = evidence.last_values(
        lake.open(VALUES)
        .scan()
        .filter(mine & (pl.col("extracted_at") <= at) & (pl.col("changed_at") <= at))
        .filter(pl.col("field").is_in(list(rules.fields)))
    )
    records = lake.open(entity_table(rules.entity)).scan().collect()
    records = records.with_columns(deleted=pl.col("deleted") & (pl.col("changed_at") <= at))
    since = seen.group_by("record").agg(seen=pl.col("changed_at").min())
    then = records.join(since, on="record", how="left").with_columns(
        born=pl.coalesce("created_at", "seen", "changed_at")
    )
    counting = evidence.counting(records)
    born = (
        then.join(counting, on="record", how="semi")
        .filter(pl.col("born") <= at)
        .select("record", "source", "object", "changed_at", created_at=pl.col("born"))
    )
    none = pl.DataFrame(
        schema={"record": pl.String, "field": pl.String, "value": pl.String, "told_at": TS}
    )
    relations = (
        lake.open(RELATION)
        .scan()
        .filter(pl.col("kind").is_in(evidence.RECORD_LINKS))
        .select("from", "kind", "to")
        .collect()
    )
    happened = records.filter(pl.col("changed_at") <= at).select("record")
    relations = relations.join(happened, left_on="from", right_on="record", how="semi")
    return pl.concat(
        [
            told.collect(),
            evidence.from_records(born, seen, none, rules),
            evidence.from_relations(relations, records, counting),
        ]
    )
