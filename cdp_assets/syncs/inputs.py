"""Reads what a plan is made from: profiles, the identity graph, the sync's own state."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import narwhals as nw
import polars as pl

from cdp_assets.audiences.read import audience_table, with_memberships
from cdp_assets.audiences.read import members as audience_members
from cdp_assets.identity import (
    FORMER,
    GRAPH,
    IDS,
    followed,
    identifying_fields,
    members,
    related,
)
from cdp_assets.lake import Lake
from cdp_assets.profiles.catalogue import saved_traits
from cdp_assets.profiles.errors import nearest
from cdp_assets.profiles.expressions import Context, parse
from cdp_assets.profiles.kinds import Kind
from cdp_assets.profiles.nodes import member_column
from cdp_assets.profiles.read import columns, evaluated, saved_model
from cdp_assets.records.tables import RULES, entity_table
from cdp_assets.store import Store, letters
from cdp_assets.syncs.check import SyncError
from cdp_assets.syncs.config import ENTERED_AT, ENTRY, SyncConfig
from cdp_assets.syncs.model import Inputs
from cdp_assets.syncs.state import remembered
from cdp_assets.syncs.tables import sought_table

AUDIENCES = "audiences."
_NO_AGE = 2**63 - 1
_STAFF = ("agent", "admin")
"""Zendesk's roles of the people who work in an account; the others are its customers."""


@dataclass(frozen=True)
class Names:
    """What a sync's configuration names: columns of the profile, and audiences."""

    columns: frozenset[str]
    audiences: frozenset[str]


def sync_names(config: SyncConfig) -> Names:
    """All that is named in `from`, `where`, `key`, `match` and `fields`. Raises ExpressionError
    for a `where` that is no expression."""
    columns, audiences = set(config.columns), {config.audience} - {None}
    if config.where is not None:
        where = parse(config.where, Context(open=True, audiences=frozenset(["*"])))
        columns |= set(where.columns)
        audiences |= where.audiences
    told = {column for column in columns if column.startswith(AUDIENCES)}
    audiences |= {column.removeprefix(AUDIENCES) for column in told}
    return Names(frozenset(columns - told), frozenset(filter(None, audiences)))


def gather(
    lake: Lake, store: Store, name: str, config: SyncConfig, entity: str, now: datetime
) -> Inputs:
    """Everything that a plan of this sync reads.

    entity: whose profiles they are. Raises TraitError where profiles or an audience were never
    built, ExpressionError for a wrong `where`, SyncError for a column that is not there.
    """
    redirects = lake.open(IDS).scan().filter(pl.col("entity") == entity)
    return Inputs(
        profiles=_profiles(lake, name, config, entity, now),
        links=links(lake, config.source, entity),
        redirects=followed(redirects.select(old="profile_id", new="redirect_to").collect()),
        state=remembered(lake, name, entity),
        sought=lake.open(sought_table(name)).scan().drop("_seq"),
        letters=letters.frame(store, name, entity=entity, states=("open", "released")),
        pulled=_pulled(lake, config.source),
        identifying=identifying_fields(lake, entity),
        foreign=_foreign(lake, config, entity),
        timeless=_timeless(lake, config, entity),
        users=_users(lake, config),
        associated=_associated(lake, config, entity),
    )


def _profiles(
    lake: Lake, name: str, config: SyncConfig, entity: str, now: datetime
) -> pl.LazyFrame:
    known = columns(lake, entity)
    entries = {ENTRY, ENTERED_AT} if config.rows == "entered" else set()
    needed = [c for c in config.columns if c != "profile_id" and c not in entries]
    of_audiences = [c for c in needed if c.startswith(AUDIENCES)]
    of_identity = _identifier_types(lake, entity, needed, known, name)
    frame = evaluated(lake, entity, now)
    named = {c.removeprefix(AUDIENCES) for c in of_audiences}
    where = None
    if config.where is not None:
        where = parse(config.where, Context(known, audiences=frozenset(["*"])), want=Kind.BOOLEAN)
        named |= where.audiences
    frame = with_memberships(lake, frame, named)
    if config.audience is not None:
        inside = _audience(lake, config.audience)
        frame = frame.join(inside, on="profile_id", how="semi")
    if config.audience is not None and entries:
        frame = frame.join(_entries(lake, config.audience, entity, name), on="profile_id")
    if where is not None:
        frame = nw.to_native(nw.from_native(frame).filter(where.to_narwhals(now)))
    for kind in of_identity:
        frame = frame.join(_identifier(lake, entity, kind), on="profile_id", how="left")
    plain = [c for c in needed if c not in of_audiences]
    members_of = {c: pl.col(member_column(c.removeprefix(AUDIENCES))) for c in of_audiences}
    return frame.select("profile_id", *plain, *sorted(entries), **members_of)


def _entries(lake: Lake, audience: str, entity: str, name: str) -> pl.LazyFrame:
    """profile_id, entered_at and entry of each present member.

    entry names sync, profile and moment, and stays the same where a profile was merged into
    another: the survivor's stay begins in the build in which the other's ends.
    """
    stays = lake.open(audience_table(audience)).scan()
    redirects = lake.open(IDS).scan().filter(pl.col("entity") == entity)
    merged = followed(redirects.select(old="profile_id", new="redirect_to").collect())
    before = (
        stays.drop_nulls("left_at")
        .join(merged, left_on="profile_id", right_on="old")
        .select(
            pl.col("profile_id").alias("was"), since="entered_at", at="left_at", profile_id="new"
        )
        .sort("since", "was")
        .unique(["profile_id", "at"], keep="first", maintain_order=True)
    )
    now = stays.filter(pl.col("left_at").is_null()).join(
        before, left_on=["profile_id", "entered_at"], right_on=["profile_id", "at"], how="left"
    )
    first = pl.coalesce("since", "entered_at").dt.epoch("us").cast(pl.String)
    whose = pl.coalesce("was", "profile_id").cast(pl.String)
    parts = [pl.lit(name), whose, first]
    return now.select("profile_id", "entered_at", entry=pl.concat_str(parts, separator="-"))


def _users(lake: Lake, config: SyncConfig) -> pl.LazyFrame:
    """email, record_id of the destination's live users, where a field names an owner. Where a
    system keeps its own people among all others, they are known by what kind of person they are.
    """
    if all(field.owner is None for field in config.fields.values()):
        return pl.LazyFrame(schema={"email": pl.String, "record_id": pl.String})
    live = ~pl.col("deleted").fill_null(value=False) & pl.col("email").is_not_null()
    mine = (pl.col("source") == config.source) & live
    users = lake.open(entity_table("user")).scan().filter(mine)
    people = lake.open(entity_table("person")).scan().filter(mine & pl.col("kind").is_in(_STAFF))
    return pl.concat([frame.select("email", "record_id") for frame in (users, people)])


def _associated(lake: Lake, config: SyncConfig, entity: str) -> pl.LazyFrame:
    """profile_id, entity, record: the record of each entity in `link` that a new record belongs
    with; of several the first object's by name, then the oldest."""
    found = []
    for other in config.link:
        records = links(lake, config.source, other).filter("live")
        if other != entity:
            pairs = related(lake, entity, other).rename({f"{entity}_id": "mine"})
            records = pairs.join(records, left_on=f"{other}_id", right_on="profile_id")
            records = records.rename({"mine": "profile_id"})
        one = records.sort("object", "age", "record").unique(
            "profile_id", keep="first", maintain_order=True
        )
        found.append(one.select("profile_id", pl.lit(other).alias("entity"), "record"))
    empty = pl.LazyFrame(schema={"profile_id": pl.Int64, "entity": pl.String, "record": pl.String})
    return pl.concat([empty, *found])


def _timeless(lake: Lake, config: SyncConfig, entity: str) -> bool:
    """Whether nothing that the sync reads depends on the time of reading."""
    if config.where is not None:
        context = Context(columns(lake, entity), audiences=frozenset(["*"]))
        if parse(config.where, context).uses_now:
            return False
    late = {name for name, _ in saved_model(lake, entity).read_time}
    if entity == "person" and "account" in saved_traits(lake):
        late |= {f"account.{name}" for name, _ in saved_model(lake, "account").read_time}
    return not late & sync_names(config).columns


def _audience(lake: Lake, name: str) -> pl.LazyFrame:
    if not lake.open(audience_table(name)).exists():
        raise SyncError(f"audiences/{name} was never built: build it first")
    return audience_members(lake, name).select("profile_id")


def _identifier_types(
    lake: Lake, entity: str, needed: Collection[str], known: Collection[str], name: str
) -> list[str]:
    """Those of `needed` that are no traits but types of identifiers."""
    rest = [c for c in needed if c not in known and not c.startswith(AUDIENCES)]
    if not rest:
        return []
    kinds = pl.col("identifier").str.split_exact(":", 1).struct.field("field_0")
    found = set(members(lake, entity).select(kinds.unique()).collect().to_series())
    for column in rest:
        if column not in found:
            hint = nearest(column, [*known, *(k for k in found if "." not in k)])
            raise SyncError(f"sync {name}: {entity} has no trait `{column}`{hint}")
    return rest


def _identifier(lake: Lake, entity: str, kind: str) -> pl.LazyFrame:
    """profile_id and the one identifier of this type; who has several has none to be told."""
    mine = members(lake, entity).filter(pl.col("identifier").str.starts_with(f"{kind}:"))
    value = pl.col("identifier").str.slice(len(kind) + 1)
    return (
        mine.group_by("profile_id")
        .agg(pl.len().alias("count"), value.min().alias(kind))
        .filter(pl.col("count") == 1)
        .select("profile_id", kind)
    )


def links(lake: Lake, source: str, entity: str) -> pl.LazyFrame:
    """Every record of a system that identity knows: record, object String, profile_id Int64,
    live, dead Boolean, age Int64 (creation in microseconds; the youngest where it is not known).

    A record merged or converted into another is neither live nor dead. A deleted one has a row for
    each profile that has an identifier which it held last; null where nobody has.
    """
    records = lake.open(entity_table(entity)).scan().filter(pl.col("source") == source)
    gone = pl.col("deleted").fill_null(value=False)
    moved = pl.col("merged_into").is_not_null()
    known = records.select(
        "record",
        "object",
        live=~gone & ~moved,
        dead=gone & ~moved,
        age=pl.col("created_at").cast(pl.Int64).fill_null(_NO_AGE),
    )
    found = members(lake, entity)
    linked = found.filter(pl.col("identifier").str.starts_with(f"{source}."))
    former = lake.open(FORMER).scan().filter(pl.col("entity") == entity)
    held = former.select("record", "identifier").join(found, on="identifier").unique()
    return pl.concat(
        [
            known.filter(~pl.col("dead")).join(
                linked.select("profile_id", record="identifier"), on="record"
            ),
            known.filter("dead").join(
                held.select("record", "profile_id").unique(), on="record", how="left"
            ),
        ],
        how="diagonal",
    )


def _foreign(lake: Lake, config: SyncConfig, entity: str) -> pl.LazyFrame:
    """Records of the objects in `to` that are another entity's; one column, record."""
    theirs = lake.open(GRAPH).scan().filter(pl.col("entity") != entity)
    named = pl.col("type").is_in(list(config.targets))
    return theirs.filter(named).select(record="identifier")


def _pulled(lake: Lake, source: str) -> frozenset[str]:
    rules = lake.open(RULES).scan().filter(pl.col("source") == source)
    return frozenset(rules.select("object").collect().to_series())
